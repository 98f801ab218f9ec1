//! PostgreSQL: each command in a transaction of its own; commands with a multi-row form are gathered while the last
//! group of their type is under way. No connection is waited for without end, and none goes back to the pool on which an
//! answer may still come.

use super::{
    DbError,
    command::{Erased, GroupRunner},
    event::Events,
    loan::Loan,
    tx::{Backend, Tx},
};
use sqlx::{
    ConnectOptions as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const CONNECTIONS: u32 = 16;
const GROUP: usize = 256;
const BACKLOG: usize = 4096;
/// How long a transaction of a node that does nothing any more, as one that is frozen, keeps its locks: the server then
/// ends it. Between two statements of a command lie microseconds.
const ABANDONED_AFTER: &str = "10s";
/// How often a command is run again after a deadlock or a serialization failure.
const RERUNS: u32 = 5;

/// An open PostgreSQL database.
pub(super) struct PostgresDatabase {
    pub(super) pool: PgPool,
    pub(super) events: Events,
    gatherers: Mutex<HashMap<usize, mpsc::Sender<Box<dyn Erased>>>>,
    in_hand: TaskTracker,
}

pub(super) async fn open(
    options: PgConnectOptions,
    stop: &CancellationToken,
) -> Result<Arc<PostgresDatabase>, DbError> {
    let options =
        options.disable_statement_logging().options([("idle_in_transaction_session_timeout", ABANDONED_AFTER)]);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await?;
    let events = Events::through_postgres(&pool, stop);
    Ok(Arc::new(PostgresDatabase { pool, events, gatherers: Mutex::new(HashMap::new()), in_hand: TaskTracker::new() }))
}

impl PostgresDatabase {
    /// Hands a command over. It runs in a task of its own, so a caller that goes away cannot leave it half done.
    pub(super) async fn submit(self: &Arc<Self>, pending: Box<dyn Erased>) -> Result<(), Box<dyn Erased>> {
        let Some(runner) = pending.group_runner() else {
            let database = Arc::clone(self);
            self.in_hand.spawn(async move { database.run_alone(pending).await });
            return Ok(());
        };
        self.gatherer(runner).send(pending).await.map_err(|refused| refused.0)
    }

    /// Waits until nothing is in hand.
    pub(super) async fn drained(&self) {
        self.gatherers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.in_hand.close();
        self.in_hand.wait().await;
    }

    fn gatherer(self: &Arc<Self>, runner: GroupRunner) -> mpsc::Sender<Box<dyn Erased>> {
        let mut gatherers = self.gatherers.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = gatherers.entry(runner as usize).or_insert_with(|| {
            let (sender, inbox) = mpsc::channel(BACKLOG);
            let database = Arc::clone(self);
            self.in_hand.spawn(async move { database.gather(runner, inbox).await });
            sender
        });
        sender.clone()
    }

    async fn gather(self: Arc<Self>, runner: GroupRunner, mut inbox: mpsc::Receiver<Box<dyn Erased>>) {
        let mut waiting = Vec::with_capacity(GROUP);
        while inbox.recv_many(&mut waiting, GROUP).await > 0 {
            let mut group = std::mem::take(&mut waiting);
            match self.run_together(runner, &mut group).await {
                Ok(()) => group.into_iter().for_each(|pending| pending.answer(Ok(()))),
                // Nobody's row is to blame: one by one each would wait for the server in turn, the last for hours.
                Err(error) if error.is_transient() => {
                    for pending in group {
                        pending.answer(Err(error.clone()));
                    }
                }
                Err(_) => {
                    for pending in group {
                        self.run_alone(pending).await;
                    }
                }
            }
        }
    }

    async fn run_together(&self, runner: GroupRunner, group: &mut [Box<dyn Erased>]) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        let worked = runner(group, &mut tx).await;
        let ended = self.end(tx, worked.is_ok()).await;
        worked.and(ended)
    }

    async fn run_alone(&self, mut pending: Box<dyn Erased>) {
        let mut reruns = 0;
        let committed = loop {
            let mut tx = match self.begin().await {
                Ok(tx) => tx,
                Err(error) => break Err(error),
            };
            let stays = pending.run(&mut tx).await;
            let deadlocked = tx.wants_rerun;
            match self.end(tx, stays && !deadlocked).await {
                Ok(()) if !deadlocked || reruns >= RERUNS => break Ok(()),
                Err(error) if !error.wants_rerun() || reruns >= RERUNS => break Err(error),
                _ => reruns += 1,
            }
        };
        pending.answer(committed);
    }

    /// A connection for one statement that only reads.
    pub(super) async fn reading(&self) -> Result<Loan, DbError> {
        Loan::from(&self.pool).await
    }

    async fn begin(&self) -> Result<Tx, DbError> {
        let mut tx = Tx::new(Backend::Postgres(Loan::from(&self.pool).await?));
        tx.raw("BEGIN").await?;
        Ok(tx)
    }

    /// Commits or rolls back, as told.
    async fn end(&self, mut tx: Tx, commit: bool) -> Result<(), DbError> {
        if tx.unanswered {
            // Its connection is closed with it, and the server rolls back.
            return if commit { Err(DbError::NO_ANSWER) } else { Ok(()) };
        }
        tx.raw(if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        tx.rest();
        if commit {
            self.events.committed(std::mem::take(&mut tx.events));
        }
        Ok(())
    }
}
