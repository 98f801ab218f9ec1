//! How far a feed has come.

use crate::{
    db::{Command, Db, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Tenant},
};
use jiff::{SignedDuration, Timestamp};

/// How long a run goes on before it puts the rest off to the next: well within a job's lease.
pub(super) const RUN_FOR: SignedDuration = SignedDuration::from_secs(30);

/// Where `feed` is; `None` where it was never put.
pub(super) async fn position(db: &Db, tenant: Id<Tenant>, feed: &str) -> Result<Option<String>, DbError> {
    let query = sql("SELECT position FROM feed_cursor WHERE tenant = $1 AND feed = $2");
    db.optional(query.bind(tenant).bind(feed)).await?.map(|row| row.get("position")).transpose()
}

/// Moves a feed, and announces it only if nobody else has moved it there.
pub(super) struct Advance {
    pub(super) tenant: Id<Tenant>,
    pub(super) feed: String,
    pub(super) position: String,
    pub(super) announce: Option<NewJob>,
    pub(super) now: Timestamp,
}

impl Command for Advance {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let moved = tx
            .execute(
                sql("INSERT INTO feed_cursor (tenant, feed, position, updated_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (tenant, feed) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at \
                     WHERE feed_cursor.position <> excluded.position")
                .bind(self.tenant)
                .bind(self.feed.clone())
                .bind(self.position.clone())
                .bind(self.now),
            )
            .await?;
        match &self.announce {
            Some(job) if moved == 1 => enqueue(tx, job).await,
            _ => Ok(()),
        }
    }
}
