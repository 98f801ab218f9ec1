//! What listeners are told after a commit: on this node at once, on the other nodes through PostgreSQL's NOTIFY.
//!
//! `NOTIFY` inside a transaction takes a lock that is global to the database until the commit, so it is sent after the
//! commit, coalesced, from one connection. A lost notification costs time, never work: whoever listens also polls.

use super::{DbError, connection::ANSWERS_WITHIN, loan::Loan};
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::{broadcast, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Jobs have become due.
    Jobs,
    /// Audit rows wait for the sealer.
    Audit,
    /// A thread has changed; the key is `tenant/patient`.
    Thread,
    /// Work that is not known to be about one patient has changed; the key is the tenant.
    Worklist,
}

impl Topic {
    const fn code(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Audit => "audit",
            Self::Thread => "thread",
            Self::Worklist => "worklist",
        }
    }

    fn from_code(code: &str) -> Option<Self> {
        [Self::Jobs, Self::Audit, Self::Thread, Self::Worklist].into_iter().find(|topic| topic.code() == code)
    }
}

/// Something that was committed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// What it is about.
    pub topic: Topic,
    /// Which one: ids only.
    pub key: String,
}

const CHANNEL: &str = "chartwire";
const BACKLOG: usize = 4096;
/// After so long without a word the listener's connection is asked whether it is still there.
const QUIET: Duration = Duration::from_mins(1);

/// Hands events to local listeners and, on PostgreSQL, to the other nodes.
#[derive(Clone)]
pub(super) struct Events {
    local: broadcast::Sender<Event>,
    remote: Option<mpsc::Sender<Event>>,
}

impl Events {
    pub(super) fn local_only() -> Self {
        Self { local: broadcast::channel(BACKLOG).0, remote: None }
    }

    pub(super) fn through_postgres(pool: &PgPool, stop: &CancellationToken) -> Self {
        let local = broadcast::channel(BACKLOG).0;
        let (remote, outbox) = mpsc::channel(BACKLOG);
        tokio::spawn(notify(pool.clone(), outbox));
        let listener = listen(pool.clone(), local.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listener => {}
            }
        });
        Self { local, remote: Some(remote) }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.local.subscribe()
    }

    pub(super) fn committed(&self, events: Vec<Event>) {
        for event in events {
            if let Some(remote) = &self.remote {
                // Where the database does not take them, they are dropped: every listener also polls.
                let _ = remote.try_send(event.clone());
            }
            // Nobody listening is fine.
            let _ = self.local.send(event);
        }
    }
}

/// Sends what has gathered in the outbox, one round trip at a time.
async fn notify(pool: PgPool, mut outbox: mpsc::Receiver<Event>) {
    while let Some(first) = outbox.recv().await {
        let mut batch = BTreeSet::from([first]);
        while let Ok(next) = outbox.try_recv() {
            batch.insert(next);
        }
        let payloads: Vec<String> = batch.iter().map(|event| format!("{}:{}", event.topic.code(), event.key)).collect();
        // A failure is not retried: every listener also polls.
        let _ = tell(&pool, payloads).await;
    }
}

async fn tell(pool: &PgPool, payloads: Vec<String>) -> Result<(), DbError> {
    let mut loan = Loan::from(pool).await?;
    let told = sqlx::query("SELECT pg_notify($1, payload) FROM UNNEST($2::text[]) AS payload")
        .bind(CHANNEL)
        .bind(payloads)
        .execute(loan.raw());
    if let Ok(Ok(_)) = timeout(ANSWERS_WITHIN, told).await {
        loan.rest();
    }
    Ok(())
}

async fn listen(pool: PgPool, local: broadcast::Sender<Event>) {
    loop {
        // On a connection outside the pool: one that is lost without a word must not keep a place there.
        let alone = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let alone = alone.connect_lazy_with((*pool.connect_options()).clone());
        if let Ok(Ok(mut listener)) = timeout(ANSWERS_WITHIN, PgListener::connect_with(&alone)).await
            && matches!(timeout(ANSWERS_WITHIN, listener.listen(CHANNEL)).await, Ok(Ok(())))
        {
            hear(&mut listener, &local).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Passes on what the other nodes tell, until the connection is lost.
async fn hear(listener: &mut PgListener, local: &broadcast::Sender<Event>) {
    loop {
        match timeout(QUIET, listener.recv()).await {
            Ok(Ok(notification)) => {
                if let Some((code, key)) = notification.payload().split_once(':')
                    && let Some(topic) = Topic::from_code(code)
                {
                    let _ = local.send(Event { topic, key: key.to_owned() });
                }
            }
            Ok(Err(_)) => return,
            // It may be quiet, or the connection may be gone without a word.
            Err(_elapsed) => {
                let asked = sqlx::query("SELECT 1").execute(&mut *listener);
                if !matches!(timeout(ANSWERS_WITHIN, asked).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
