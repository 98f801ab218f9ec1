//! What is written when it becomes known what became of an attempt, or that nobody knows.

use super::{
    Attempt, SETTLE_ATTEMPT,
    carrier_port::{Carrier, DeliveryStatus, Refusal, Remedy, SendOutcome},
    journal::Journal,
    line, outbound, question,
    rows::AttemptRow,
    state,
};
use crate::{
    consent::{self, Source},
    db::{Command, DbError, Tx, sql},
    jobs::{JobError, NewJob, enqueue},
    kernel::{Id, Instruments, Tenant},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How often the carrier's list is asked before a person decides, evenly over the time that the list may take.
pub(super) const LOOKS: u32 = 5;

/// How long between two looks.
pub(super) fn between_looks(carrier: &dyn Carrier) -> SignedDuration {
    SignedDuration::try_from(carrier.listed_within() / LOOKS).unwrap_or(SignedDuration::from_mins(1))
}

/// Writes down what became of an attempt. Settling a settled attempt changes nothing.
pub(super) struct SettleAttempt {
    pub(super) tenant: Id<Tenant>,
    pub(super) attempt: Id<Attempt>,
    pub(super) outcome: SendOutcome,
    pub(super) carrier: &'static str,
    pub(super) now: Timestamp,
    pub(super) changed: NewJob,
    /// The look into the carrier's list, should the outcome be unknown.
    pub(super) settle: Option<NewJob>,
    pub(super) journal: Journal,
}

impl Command for SettleAttempt {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let Some(attempt) = AttemptRow::locked(tx, self.tenant, self.attempt).await? else { return Ok(false) };
        if !attempt.is_open() {
            self.note_late_departure(tx, &attempt).await?;
            return Ok(false);
        }
        match &self.outcome {
            SendOutcome::Accepted { carrier_id, status, segments } => {
                accepted(tx, self, &attempt, carrier_id, status, *segments).await?;
            }
            SendOutcome::Refused(refusal) => self.refused(tx, &attempt, refusal).await?,
            SendOutcome::NotSent { .. } => {
                self.close(tx, &attempt, "not-sent", None, None).await?;
                self.text(tx, &attempt, state::QUEUED, Some("not-sent")).await?;
            }
            SendOutcome::Unknown { .. } if attempt.state == "committed" => {
                tx.execute(
                    sql("UPDATE attempt SET state = 'unknown' WHERE tenant = $1 AND id = $2")
                        .bind(self.tenant)
                        .bind(self.attempt),
                )
                .await?;
                self.text(tx, &attempt, state::UNKNOWN, Some("no-answer")).await?;
                if let Some(settle) = &self.settle {
                    enqueue(tx, settle).await?;
                }
            }
            SendOutcome::Unknown { .. } => return Ok(false),
        }
        self.journal.settled(tx, &attempt, &self.outcome).await?;
        enqueue(tx, &self.changed).await?;
        outbound::publish(tx, self.tenant, attempt.patient);
        Ok(true)
    }
}

async fn accepted(
    tx: &mut Tx,
    settle: &SettleAttempt,
    attempt: &AttemptRow,
    carrier_id: &str,
    status: &DeliveryStatus,
    segments: Option<u32>,
) -> Result<(), DbError> {
    settle.close(tx, attempt, "accepted", Some(carrier_id), None).await?;
    tx.execute(
        sql("UPDATE message SET state = CASE WHEN state IN ('sending', 'unknown') THEN $3 ELSE state END, state_reason = NULL, \
             carrier_id = $4, segments = COALESCE($5, segments), sent_at = COALESCE(sent_at, $6) WHERE tenant = $1 AND id = $2")
        .bind(settle.tenant)
        .bind(attempt.message)
        .bind(state::of_status(status))
        .bind(carrier_id)
        .bind(segments)
        .bind(attempt.committed_at),
    )
    .await?;
    tx.execute(
        sql("INSERT INTO message_dedupe (tenant, carrier, carrier_id, message) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(settle.tenant)
            .bind(settle.carrier)
            .bind(carrier_id)
            .bind(attempt.message),
    )
    .await
    .map(|_| ())
}

impl SettleAttempt {
    async fn refused(&self, tx: &mut Tx, attempt: &AttemptRow, refusal: &Refusal) -> Result<(), DbError> {
        self.close(tx, attempt, "refused", None, Some(&refusal.code)).await?;
        let reason = Some(refusal.class.as_str());
        match refusal.class.remedy(self.now, refusal.retry_after) {
            // The sender comes back for it, through the gate again, while it has not gone stale.
            Remedy::RetryAt(at) if attempt.expires_at.is_none_or(|expires| at < expires) => {
                self.text(tx, attempt, state::QUEUED, reason).await
            }
            Remedy::Suppress => {
                // The carrier blocks the number: what it knows holds here too.
                consent::suppress(tx, self.tenant, &attempt.number_token, Source::Carrier, self.now).await?;
                consent::mark_confirmed(tx, self.tenant, &attempt.number_token, self.now).await?;
                self.text(tx, attempt, state::FAILED, reason).await
            }
            _ => self.text(tx, attempt, state::FAILED, reason).await,
        }
    }

    /// Of an attempt that had ended without leaving the carrier says that it has it: it left after its time, out of a
    /// node or a network that stood still. It may have been sent anew meanwhile.
    async fn note_late_departure(&self, tx: &mut Tx, attempt: &AttemptRow) -> Result<(), DbError> {
        let SendOutcome::Accepted { carrier_id, .. } = &self.outcome else { return Ok(()) };
        let late = sql("UPDATE attempt SET state = 'left-late', carrier_id = $3 WHERE tenant = $1 AND id = $2 \
             AND state IN ('person-not-sent', 'not-sent', 'refused')");
        if tx.execute(late.bind(self.tenant).bind(self.attempt).bind(carrier_id.as_str())).await? == 0 {
            return Ok(());
        }
        metrics::counter!("chartwire_texts_left_late_total", "carrier" => self.carrier).increment(1);
        tracing::error!(attempt = %self.attempt, "a text left that had been taken for not sent");
        self.journal.left_late(tx, attempt).await
    }

    async fn close(
        &self,
        tx: &mut Tx,
        attempt: &AttemptRow,
        how: &str,
        carrier_id: Option<&str>,
        code: Option<&str>,
    ) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE attempt SET state = $3, settled_at = $4, carrier_id = $5, code = $6 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant)
                .bind(self.attempt)
                .bind(how)
                .bind(self.now)
                .bind(carrier_id)
                .bind(code),
        )
        .await?;
        line::note_settled(tx, self.tenant, &attempt.number_token, attempt.id, attempt.message, self.now).await
    }

    async fn text(&self, tx: &mut Tx, attempt: &AttemptRow, to: &str, reason: Option<&str>) -> Result<(), DbError> {
        // Only what this attempt left behind: a status report may have been faster.
        let left_behind = tx
            .execute(
            sql("UPDATE message SET state = $3, state_reason = $4 WHERE tenant = $1 AND id = $2 AND state IN ('sending', 'unknown')")
                .bind(self.tenant)
                .bind(attempt.message)
                .bind(to)
                .bind(reason),
        )
        .await?;
        if left_behind == 1 && to != state::UNKNOWN {
            question::close_of_message(tx, self.tenant, attempt.message).await?;
        }
        Ok(())
    }
}

/// The payload of [`SETTLE_ATTEMPT`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct AboutAttempt {
    /// The attempt.
    pub attempt: Id<Attempt>,
}

/// The job that looks an attempt up in the carrier's list, a while after it was made.
pub(super) fn settle_job(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    attempt: Id<Attempt>,
    after: SignedDuration,
) -> Result<NewJob, JobError> {
    let later = instruments.now().checked_add(after).unwrap_or(Timestamp::MAX);
    Ok(NewJob::new(instruments, tenant, SETTLE_ATTEMPT, &AboutAttempt { attempt })?
        .unique(attempt.to_string())
        .at(later)
        .attempts(LOOKS + 1))
}
