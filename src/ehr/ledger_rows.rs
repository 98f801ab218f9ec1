//! The ledger's rows: how one is begun, and how it ends.

use super::ledger::{WriteIntent, WrittenRef};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail},
    db::{Command, DbError, Row, Tx, sql},
    kernel::Id,
};
use jiff::Timestamp;

/// Marks ids of rows in the ledger.
pub(super) enum EhrWrite {}

/// The code of a pending row whose last try has certainly not arrived.
pub(super) const NOT_SENT: &str = "not-sent";

/// What the ledger knew before a write was begun.
pub(super) struct Entry {
    pub(super) state: String,
    pub(super) reference: Option<String>,
    pub(super) version: Option<String>,
    /// An earlier try may have arrived, although nobody heard of it.
    pub(super) uncertain: bool,
}

/// Begins a write: pending from now on.
pub(super) struct Begin {
    pub(super) id: Id<EhrWrite>,
    pub(super) intent: WriteIntent,
    pub(super) operation: &'static str,
    pub(super) resource: String,
    pub(super) now: Timestamp,
}

impl Command for Begin {
    type Output = Entry;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Entry, DbError> {
        if let Some(job) = &self.intent.sole_writer
            && !job.is_held_in(tx).await?
        {
            return Err(DbError::NotFound);
        }
        let known = tx
            .optional(
                sql("SELECT state, reference, version, code FROM ehr_write WHERE tenant = $1 AND intent = $2")
                    .bind(self.intent.tenant)
                    .bind(self.intent.words.clone()),
            )
            .await?;
        // What is written stays written, so that a create is not made twice; an edit is tried whenever it is asked for.
        let stays = self.operation == "create" && known.as_ref().is_some_and(|row| is_written(row) == Ok(true));
        let (id, words, resource) = (self.id, self.intent.words.clone(), self.resource.clone());
        if !stays {
            tx.execute(
                sql("INSERT INTO ehr_write (tenant, id, intent, operation, resource, state, attempts, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, 'pending', 1, $6, $6) \
                     ON CONFLICT (tenant, intent) DO UPDATE SET state = 'pending', code = NULL, operation = excluded.operation, \
                     attempts = ehr_write.attempts + 1, updated_at = excluded.updated_at")
                .bind(self.intent.tenant)
                .bind(id)
                .bind(words)
                .bind(self.operation)
                .bind(resource)
                .bind(self.now),
            )
            .await?;
        }
        let Some(row) = known else {
            return Ok(Entry { state: "pending".to_owned(), reference: None, version: None, uncertain: false });
        };
        let state: String = row.get("state")?;
        let not_sent = row.get::<Option<String>>("code")?.as_deref() == Some(NOT_SENT);
        Ok(Entry {
            uncertain: matches!(state.as_str(), "pending" | "unknown") && !not_sent,
            state,
            reference: row.get("reference")?,
            version: row.get("version")?,
        })
    }
}

fn is_written(row: &Row) -> Result<bool, DbError> {
    Ok(row.get::<String>("state")? == "written")
}

/// Notes how a write ended.
pub(super) struct Settle {
    pub(super) intent: WriteIntent,
    pub(super) state: &'static str,
    pub(super) written: Option<WrittenRef>,
    pub(super) code: Option<&'static str>,
    pub(super) now: Timestamp,
    pub(super) signer: AuditSigner,
}

impl Command for Settle {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE ehr_write SET state = $3, reference = COALESCE($4, reference), version = COALESCE($5, version), code = $6, updated_at = $7 \
                 WHERE tenant = $1 AND intent = $2")
            .bind(self.intent.tenant)
            .bind(self.intent.words.clone())
            .bind(self.state)
            .bind(self.written.as_ref().map(|written| written.reference.clone()))
            .bind(self.written.as_ref().and_then(|written| written.version.clone()))
            .bind(self.code)
            .bind(self.now),
        )
        .await?;
        if let ("written", Some(written), Some(_)) = (self.state, &self.written, &self.intent.sole_writer) {
            // They were conditional on a version that has passed: they were made before this one or never will be.
            tx.execute(
                sql("UPDATE ehr_write SET state = 'overtaken', code = NULL, updated_at = $4 \
                     WHERE tenant = $1 AND resource = $2 AND intent <> $3 AND state IN ('pending', 'unknown')")
                .bind(self.intent.tenant)
                .bind(written.reference.clone())
                .bind(self.intent.words.clone())
                .bind(self.now),
            )
            .await?;
        }
        let ended = if self.state == "written" { audit::Outcome::Success } else { audit::Outcome::Failed };
        let entry = AuditEntry::new(Actor::System("ehr"), Action::EhrWrite, "ledger")
            .ended(ended)
            .with_detail(Detail::new().code("state", self.state).foreign_id("intent", &self.intent.words));
        audit::record(tx, &entry, &self.signer).await.map(|_| ())
    }
}
