//! What the EHR refuses to a feed.
//!
//! A refusal does not end the polling: somebody will mend the registration. Until then the practice is not told of changes,
//! so operators have to see it: each refusal is counted and logged by feed and kind, and stands in the database until the
//! feed gets through.

use crate::{
    db::{Command, Db, DbError, Tx, sql},
    ehr::{EhrError, NOT_ADMITTED},
    kernel::{Id, Tenant},
};
use jiff::Timestamp;

/// The constant word of a refusal; `None`: no refusal, trying again is right.
pub(super) const fn refusal(error: &EhrError) -> Option<&'static str> {
    match error {
        EhrError::Refused { code } => Some(code),
        EhrError::NotAdmitted => Some(NOT_ADMITTED),
        EhrError::NotFound => Some("ehr-not-found"),
        EhrError::Unreadable => Some("ehr-unreadable"),
        _ => None,
    }
}

/// Notes how a run of `feed` has ended: with a refusal, or without.
pub(super) async fn note(
    db: &Db,
    tenant: Id<Tenant>,
    feed: &'static str,
    refused: Option<&'static str>,
    now: Timestamp,
) -> Result<(), DbError> {
    if let Some(code) = refused {
        metrics::counter!("chartwire_feed_refusals_total", "feed" => feed, "code" => code).increment(1);
        tracing::error!(feed, code, "the EHR refuses what a feed asks for: changes there are not noticed");
    }
    db.execute(Note { tenant, feed, refused, now }).await
}

/// How many feeds the EHRs refuse as of their last runs.
///
/// # Errors
/// [`DbError`] when the database is away.
pub async fn refused_feeds(db: &Db) -> Result<i64, DbError> {
    db.one(sql("SELECT COUNT(*) AS refused FROM feed_refusal")).await?.get("refused")
}

struct Note {
    tenant: Id<Tenant>,
    feed: &'static str,
    refused: Option<&'static str>,
    now: Timestamp,
}

impl Command for Note {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let Some(code) = self.refused else {
            let query = sql("DELETE FROM feed_refusal WHERE tenant = $1 AND feed = $2");
            return tx.execute(query.bind(self.tenant).bind(self.feed)).await.map(|_| ());
        };
        tx.execute(
            sql("INSERT INTO feed_refusal (tenant, feed, code, times, first_at, last_at) VALUES ($1, $2, $3, 1, $4, $4) \
                 ON CONFLICT (tenant, feed) DO UPDATE SET code = excluded.code, times = feed_refusal.times + 1, \
                 last_at = excluded.last_at")
            .bind(self.tenant)
            .bind(self.feed)
            .bind(code)
            .bind(self.now),
        )
        .await
        .map(|_| ())
    }
}
