//! What carriers tell about texts that we sent: never regressing, kept as it came.

use super::{
    Attempt, Message, MessagingError,
    carrier_port::{DeliveryStatus, FailureClass, SendOutcome, StatusReport},
    changed::changed_job,
    journal::Journal,
    line, outbound, question,
    rows::AttemptRow,
    settlement::SettleAttempt,
    state,
};
use crate::{
    consent::{self, Source},
    db::{Command, Db, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Tenant, about_text},
    vault::Vault,
};
use jiff::Timestamp;
use tracing::Instrument as _;

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It says something new.
    Changed,
    /// It says nothing new: a duplicate, or older than what is known.
    Known,
    /// It is about a text or an attempt that is not ours.
    NotOurs,
}

/// Takes status reports.
#[derive(Clone)]
pub struct Delivery {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl Delivery {
    /// Over this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Takes a report about `attempt`; it settles the attempt if nothing has yet.
    ///
    /// # Errors
    /// [`MessagingError`] when the vault or the database is away; the carrier must not be given a 2xx then.
    pub async fn told(
        &self,
        tenant: Id<Tenant>,
        carrier: &'static str,
        attempt: Id<Attempt>,
        report: &StatusReport,
    ) -> Result<Told, MessagingError> {
        let Some((message, number_token)) = self.message_of(tenant, attempt).await? else { return Ok(Told::NotOurs) };
        let changed =
            changed_job(&self.instruments, tenant, message, &number_token).map_err(|_| MessagingError::Stored)?;
        let journal = Journal::of(&self.vault, &self.instruments, tenant).await?;
        let settle = SettleAttempt {
            tenant,
            attempt,
            // Whatever is told of a text, the carrier has it; how far it is follows in its own step, with all that
            // hangs on it.
            outcome: SendOutcome::Accepted {
                carrier_id: report.carrier_id.clone(),
                status: DeliveryStatus::Accepted,
                segments: None,
            },
            carrier,
            now: self.instruments.now(),
            changed: changed.clone(),
            settle: None,
            journal: journal.clone(),
        };
        let note = NoteStatus {
            tenant,
            message,
            attempt,
            report: report.clone(),
            now: self.instruments.now(),
            changed,
            settle,
            journal,
        };
        Ok(self.db.execute(note).instrument(about_text("report", message)).await?)
    }

    async fn message_of(
        &self,
        tenant: Id<Tenant>,
        attempt: Id<Attempt>,
    ) -> Result<Option<(Id<Message>, Vec<u8>)>, DbError> {
        let query = sql("SELECT message, number_token FROM attempt WHERE tenant = $1 AND id = $2");
        let row = self.db.optional(query.bind(tenant).bind(attempt)).await?;
        row.map(|row| Ok((row.get("message")?, row.get("number_token")?))).transpose()
    }
}

struct NoteStatus {
    tenant: Id<Tenant>,
    message: Id<Message>,
    attempt: Id<Attempt>,
    report: StatusReport,
    now: Timestamp,
    changed: NewJob,
    settle: SettleAttempt,
    journal: Journal,
}

impl Command for NoteStatus {
    type Output = Told;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Told, DbError> {
        let settled = self.settle.run(tx).await?;
        let Some(attempt) = AttemptRow::locked(tx, self.tenant, self.attempt).await? else { return Ok(Told::NotOurs) };
        let to = state::of_status(&self.report.status);
        let fresh = self.keep(tx).await?;
        if !fresh || state::rank(to) <= state::rank(&attempt.message_state) || self.is_overtaken(&attempt) {
            return Ok(if settled { Told::Changed } else { Told::Known });
        }
        self.advance(tx, &attempt, to).await?;
        if self.report.class == Some(FailureClass::OptedOut) {
            consent::suppress(tx, self.tenant, &attempt.number_token, Source::Carrier, self.now).await?;
            consent::mark_confirmed(tx, self.tenant, &attempt.number_token, self.now).await?;
        }
        self.journal.delivery(tx, self.message, to).await?;
        enqueue(tx, &self.changed).await?;
        outbound::publish(tx, self.tenant, attempt.patient);
        Ok(Told::Changed)
    }
}

impl NoteStatus {
    /// Keeps the report as it came. Answers whether it is the first of its kind about the text.
    async fn keep(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let kept = tx
            .one(
                sql("INSERT INTO delivery_event (tenant, message, status, attempt, code, told_at, times) VALUES ($1, $2, $3, $4, $5, $6, 1) \
                     ON CONFLICT (tenant, message, status) DO UPDATE SET times = delivery_event.times + 1 RETURNING times")
                .bind(self.tenant)
                .bind(self.message)
                .bind(self.report.status.as_str())
                .bind(self.attempt)
                .bind(self.report.error_code.clone())
                .bind(self.now),
            )
            .await?;
        Ok(kept.get::<i64>("times")? == 1)
    }

    /// Whether the report is bad news of an attempt that has ended without the text leaving: another attempt may be
    /// under way, and decides.
    fn is_overtaken(&self, attempt: &AttemptRow) -> bool {
        attempt.state != "accepted" && attempt.state != "person-sent" && self.report.status.is_failure()
    }

    async fn advance(&self, tx: &mut Tx, attempt: &AttemptRow, to: &str) -> Result<(), DbError> {
        let delivered = (to == state::DELIVERED).then_some(self.now);
        tx.execute(
            sql("UPDATE message SET state = $3, state_reason = $4, delivered_at = COALESCE(delivered_at, $5), \
                 carrier_id = COALESCE(carrier_id, $6), sent_at = COALESCE(sent_at, $7) WHERE tenant = $1 AND id = $2")
            .bind(self.tenant)
            .bind(self.message)
            .bind(to)
            .bind(self.report.class.map(FailureClass::as_str))
            .bind(delivered)
            .bind(self.report.carrier_id.clone())
            .bind(attempt.committed_at),
        )
        .await?;
        if self.report.status.is_failure() {
            question::close_of_message(tx, self.tenant, self.message).await?;
            line::wake(tx, self.tenant, &attempt.number_token, Some(self.message), self.now).await?;
        } else if to == state::DELIVERED {
            question::reopen_of_message(tx, self.tenant, self.message).await?;
        }
        Ok(())
    }
}
