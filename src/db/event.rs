//! What listeners are told after a commit: on this node at once, on the other nodes through PostgreSQL's NOTIFY.
//!
//! `NOTIFY` inside a transaction takes a lock that is global to the database until the commit, so it is sent after the
//! commit, coalesced, from one connection. A lost notification costs time, never work: whoever listens also polls.

use sqlx::{PgPool, postgres::PgListener};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::{broadcast, mpsc};
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

/// Hands events to local listeners and, on PostgreSQL, to the other nodes.
#[derive(Clone)]
pub(super) struct Events {
    local: broadcast::Sender<Event>,
    remote: Option<mpsc::UnboundedSender<Event>>,
}

impl Events {
    pub(super) fn local_only() -> Self {
        Self { local: broadcast::channel(BACKLOG).0, remote: None }
    }

    pub(super) fn through_postgres(pool: &PgPool, stop: &CancellationToken) -> Self {
        let local = broadcast::channel(BACKLOG).0;
        let (remote, outbox) = mpsc::unbounded_channel();
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
                let _ = remote.send(event.clone());
            }
            // Nobody listening is fine.
            let _ = self.local.send(event);
        }
    }
}

/// Sends what has gathered in the outbox, one round trip at a time.
async fn notify(pool: PgPool, mut outbox: mpsc::UnboundedReceiver<Event>) {
    while let Some(first) = outbox.recv().await {
        let mut batch = BTreeSet::from([first]);
        while let Ok(next) = outbox.try_recv() {
            batch.insert(next);
        }
        let payloads: Vec<String> = batch.iter().map(|event| format!("{}:{}", event.topic.code(), event.key)).collect();
        // A failure is not retried: every listener also polls.
        let _ = sqlx::query("SELECT pg_notify($1, payload) FROM UNNEST($2::text[]) AS payload")
            .bind(CHANNEL)
            .bind(payloads)
            .execute(&pool)
            .await;
    }
}

async fn listen(pool: PgPool, local: broadcast::Sender<Event>) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            while let Ok(notification) = listener.recv().await {
                if let Some((code, key)) = notification.payload().split_once(':')
                    && let Some(topic) = Topic::from_code(code)
                {
                    let _ = local.send(Event { topic, key: key.to_owned() });
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
