//! SQLite: one writer that commits up to 256 commands at once, and a pool of readers.
//!
//! A commit costs a wait for the disk (`synchronous=FULL`), so the writer takes whatever has gathered while the last
//! commit was under way, runs each command in a savepoint and pays for one commit. There is no timer: a lone command is
//! committed at once.

use super::{
    DbError,
    command::{Erased, GroupRunner},
    event::Events,
    tx::{Backend, Tx},
};
use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::time::Duration;
use tokio::sync::mpsc;

/// The largest group that one commit carries.
const GROUP: usize = 256;
/// Commands that may wait for the writer before callers wait too.
const BACKLOG: usize = 4096;
const READERS: u32 = 4;

/// The two sides of an open SQLite database.
pub(super) struct SqliteDatabase {
    pub(super) readers: SqlitePool,
    pub(super) writer: mpsc::Sender<Box<dyn Erased>>,
}

pub(super) async fn open(options: SqliteConnectOptions, events: Events) -> Result<SqliteDatabase, DbError> {
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    let connection = options.connect().await?;
    let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
    let (writer, inbox) = mpsc::channel(BACKLOG);
    tokio::spawn(write(Tx::new(Backend::Sqlite(connection)), inbox, events));
    Ok(SqliteDatabase { readers, writer })
}

/// The writer. Ends when every `Db` is gone and the inbox is empty.
async fn write(mut tx: Tx, mut inbox: mpsc::Receiver<Box<dyn Erased>>, events: Events) {
    let mut waiting = Vec::with_capacity(GROUP);
    while inbox.recv_many(&mut waiting, GROUP).await > 0 {
        let group = std::mem::take(&mut waiting);
        commit_group(&mut tx, group, &events).await;
    }
}

async fn commit_group(tx: &mut Tx, group: Vec<Box<dyn Erased>>, events: &Events) {
    tx.events.clear();
    let (done, committed) = if let Err(error) = tx.raw("BEGIN IMMEDIATE").await {
        (group, Err(error))
    } else {
        let (done, ran) = run_group(tx, group).await;
        let committed = match ran {
            Ok(()) => tx.raw("COMMIT").await,
            Err(error) => Err(error),
        };
        if committed.is_err() {
            let _ = tx.raw("ROLLBACK").await;
        }
        (done, committed)
    };
    if committed.is_ok() {
        events.committed(std::mem::take(&mut tx.events));
    }
    for pending in done {
        pending.answer(committed.clone());
    }
}

/// Runs every command of the group, those with a multi-row form together. An error here means that the whole
/// transaction is lost.
async fn run_group(tx: &mut Tx, group: Vec<Box<dyn Erased>>) -> (Vec<Box<dyn Erased>>, Result<(), DbError>) {
    let mut done = Vec::with_capacity(group.len());
    let mut rest = group;
    let mut outcome = Ok(());
    while let Some(first) = rest.first() {
        let runner = first.group_runner();
        let (mut same, others): (Vec<_>, Vec<_>) = if let Some(runner) = runner {
            rest.into_iter()
                .partition(|pending| pending.group_runner().is_some_and(|other| std::ptr::fn_addr_eq(other, runner)))
        } else {
            let mut rest = rest.into_iter();
            (rest.next().into_iter().collect(), rest.collect())
        };
        rest = others;
        if outcome.is_ok() {
            let together = match runner {
                Some(runner) if same.len() > 1 => in_savepoint(tx, runner, &mut same).await,
                _ => Ok(false),
            };
            outcome = match together {
                Ok(true) => Ok(()),
                Ok(false) => one_by_one(tx, &mut same).await,
                Err(error) => Err(error),
            };
        }
        done.append(&mut same);
    }
    (done, outcome)
}

async fn one_by_one(tx: &mut Tx, group: &mut [Box<dyn Erased>]) -> Result<(), DbError> {
    for pending in group {
        let events = tx.events.len();
        tx.raw("SAVEPOINT command").await?;
        if !pending.run(tx).await {
            tx.raw("ROLLBACK TO command").await?;
            tx.events.truncate(events);
        }
        tx.raw("RELEASE command").await?;
    }
    Ok(())
}

/// Runs the multi-row form in a savepoint; `false` when it failed and was rolled back.
async fn in_savepoint(tx: &mut Tx, runner: GroupRunner, group: &mut [Box<dyn Erased>]) -> Result<bool, DbError> {
    let events = tx.events.len();
    tx.raw("SAVEPOINT many").await?;
    let worked = runner(group, tx).await.is_ok();
    if !worked {
        tx.raw("ROLLBACK TO many").await?;
        tx.events.truncate(events);
    }
    tx.raw("RELEASE many").await?;
    Ok(worked)
}
