//! Settling attempts: by the carrier's answer, by its status report, by its list, or by a person (law 4).

use super::{
    Attempt, Message, MessagingError, SETTLE_ATTEMPT,
    attempt::changed_job,
    carrier_port::{Carrier, DeliveryStatus, Refusal, Remedy, SendOutcome},
    delivery::Delivery,
    journal::Journal,
    line, outbound, question, state,
};
use crate::{
    consent::{self, Source},
    db::{Command, Db, DbError, Row, Tx, sql},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Patient, PhoneNumber, Tenant},
    vault::{Place, Sealed, Vault},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc};

/// How often the carrier's list is asked before a person decides.
const LOOKS: u32 = 5;
/// How long between two looks.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(90);

/// How long the carrier's list may be away before a person is asked, too.
const LIST_AWAY: SignedDuration = SignedDuration::from_hours(4);

/// The reason of an unknown text that nothing but a person settles any more.
pub const PERSON_DECIDES: &str = "person-decides";

/// An attempt as it stands.
#[derive(Debug, Clone)]
pub(super) struct AttemptRow {
    pub(super) id: Id<Attempt>,
    pub(super) message: Id<Message>,
    pub(super) number_token: Vec<u8>,
    pub(super) state: String,
    pub(super) send_by: Timestamp,
    pub(super) committed_at: Timestamp,
    pub(super) patient: Option<Id<Patient>>,
    pub(super) message_state: String,
    /// When the text goes stale.
    pub(super) expires_at: Option<Timestamp>,
}

const SELECT: &str = "SELECT a.id, a.message, a.number_token, a.state, a.send_by, a.committed_at, m.patient, m.state AS message_state, \
     m.expires_at FROM attempt a JOIN message m ON m.tenant = a.tenant AND m.id = a.message WHERE a.tenant = $1 AND ";

impl AttemptRow {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            message: row.get("message")?,
            number_token: row.get("number_token")?,
            state: row.get("state")?,
            send_by: row.get("send_by")?,
            committed_at: row.get("committed_at")?,
            patient: row.get("patient")?,
            message_state: row.get("message_state")?,
            expires_at: row.get("expires_at")?,
        })
    }

    async fn by_id(tx: &mut Tx, tenant: Id<Tenant>, id: Id<Attempt>) -> Result<Option<Self>, DbError> {
        let query = crate::db::sql_built(format!("{SELECT} a.id = $2")).bind(tenant).bind(id);
        tx.optional(query).await?.as_ref().map(Self::read).transpose()
    }

    /// The attempt as it stands once the line of its number is locked: nothing changes it from then on.
    pub(super) async fn locked(tx: &mut Tx, tenant: Id<Tenant>, id: Id<Attempt>) -> Result<Option<Self>, DbError> {
        let Some(attempt) = Self::by_id(tx, tenant, id).await? else { return Ok(None) };
        line::lock(tx, tenant, &attempt.number_token).await?;
        Self::by_id(tx, tenant, id).await
    }

    /// The newest attempt to send `message`.
    pub(super) async fn newest(db: &Db, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<Self>, DbError> {
        let query = crate::db::sql_built(format!("{SELECT} a.message = $2 ORDER BY a.id DESC LIMIT 1"));
        db.optional(query.bind(tenant).bind(message)).await?.as_ref().map(Self::read).transpose()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "committed" || self.state == "unknown"
    }
}

/// Writes down what became of an attempt. Settling a settled attempt changes nothing.
pub(super) struct SettleAttempt {
    pub(super) tenant: Id<Tenant>,
    pub(super) attempt: Id<Attempt>,
    pub(super) outcome: SendOutcome,
    pub(super) carrier: &'static str,
    pub(super) now: Timestamp,
    pub(super) changed: NewJob,
    pub(super) settle: NewJob,
    pub(super) journal: Journal,
}

impl Command for SettleAttempt {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let Some(attempt) = AttemptRow::locked(tx, self.tenant, self.attempt).await? else { return Ok(false) };
        if !attempt.is_open() {
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
                enqueue(tx, &self.settle).await?;
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
        .bind(super::delivery::state_of(status))
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
) -> Result<NewJob, JobError> {
    let later = instruments.now().checked_add(BETWEEN_LOOKS).unwrap_or(Timestamp::MAX);
    Ok(NewJob::new(instruments, tenant, SETTLE_ATTEMPT, &AboutAttempt { attempt })?
        .unique(attempt.to_string())
        .at(later)
        .attempts(LOOKS + 1))
}

/// Settles attempts that the carrier did not answer for.
#[derive(Clone)]
pub struct Settler {
    pub(super) db: Db,
    pub(super) vault: Vault,
    pub(super) instruments: Instruments,
    pub(super) carriers: Arc<HashMap<Id<Tenant>, Arc<dyn Carrier>>>,
}

impl Settler {
    /// A settler over these carriers.
    #[must_use]
    pub fn new(
        db: Db,
        vault: Vault,
        instruments: Instruments,
        carriers: Arc<HashMap<Id<Tenant>, Arc<dyn Carrier>>>,
    ) -> Self {
        Self { db, vault, instruments, carriers }
    }

    /// Looks an unknown attempt up in the carrier's list. What stands there is accepted; what still does not after the
    /// last look stays unknown, and a person decides.
    ///
    /// # Errors
    /// [`JobError`] when the carrier or the database is away, or the text does not stand in the list yet.
    pub async fn settle(&self, job: LeasedJob) -> Outcome {
        let AboutAttempt { attempt: id } = job.payload()?;
        let Some((attempt, ours, number)) = self.open_attempt(job.tenant, id).await? else { return Ok(()) };
        let carrier = self.carriers.get(&job.tenant).ok_or(MessagingError::NotConfigured)?;
        let since = attempt.committed_at.checked_sub(SignedDuration::from_secs(60)).unwrap_or(Timestamp::MIN);
        // A look that shows nothing is not one of the looks: what kept the answer back may keep the list back for hours.
        let Ok(listed) = carrier.sent_to(&ours, &number, since).await else {
            let now = self.instruments.now();
            if now.duration_since(attempt.committed_at) > LIST_AWAY {
                self.leave_to_person(job.tenant, &attempt).await?;
            }
            let until = now.checked_add(BETWEEN_LOOKS).unwrap_or(Timestamp::MAX);
            return Err(JobError::Postpone { code: "carrier-list", until });
        };
        let wanted = self.content_hash(job.tenant, attempt.message).await?;
        let mut candidates = Vec::new();
        for text in listed {
            let hash = self.vault.content_hash(job.tenant, text.body.as_str().as_bytes()).await;
            let same = hash.map_err(MessagingError::from)?.as_slice() == wanted;
            if same && !self.is_known(job.tenant, carrier.name(), &text.carrier_id).await? {
                candidates.push(text);
            }
        }
        // Equal texts cannot be told apart in the list: only a single one settles it.
        if let [found] = candidates.as_slice() {
            let delivery = Delivery::new(self.db.clone(), self.vault.clone(), self.instruments.clone());
            delivery.told(job.tenant, carrier.name(), id, &found.report).await?;
            return Ok(());
        }
        if job.attempt < LOOKS {
            return Err(look_again());
        }
        self.leave_to_person(job.tenant, &attempt).await
    }

    async fn leave_to_person(&self, tenant: Id<Tenant>, attempt: &AttemptRow) -> Outcome {
        let changed = changed_job(&self.instruments, tenant, attempt.message, &attempt.number_token)?;
        Ok(self.db.execute(LeaveToPerson { tenant, message: attempt.message, changed }).await?)
    }

    pub(super) async fn write(
        &self,
        tenant: Id<Tenant>,
        attempt: &AttemptRow,
        outcome: SendOutcome,
        carrier: &'static str,
    ) -> Outcome {
        let journal = Journal::of(&self.vault, &self.instruments, tenant).await.map_err(MessagingError::from)?;
        self.db
            .execute(SettleAttempt {
                tenant,
                attempt: attempt.id,
                outcome,
                carrier,
                now: self.instruments.now(),
                changed: changed_job(&self.instruments, tenant, attempt.message, &attempt.number_token)?,
                settle: settle_job(&self.instruments, tenant, attempt.id)?,
                journal,
            })
            .await?;
        Ok(())
    }

    async fn open_attempt(
        &self,
        tenant: Id<Tenant>,
        id: Id<Attempt>,
    ) -> Result<Option<(AttemptRow, PhoneNumber, PhoneNumber)>, MessagingError> {
        let query = sql(
            "SELECT a.id, a.message, a.number_token, a.state, a.send_by, a.committed_at, m.patient, m.state AS message_state, \
             m.expires_at, m.our_number, m.number FROM attempt a JOIN message m ON m.tenant = a.tenant AND m.id = a.message \
             WHERE a.tenant = $1 AND a.id = $2",
        );
        let Some(row) = self.db.optional(query.bind(tenant).bind(id)).await? else { return Ok(None) };
        let attempt = AttemptRow::read(&row)?;
        if !attempt.is_open() {
            return Ok(None);
        }
        let sealed = Sealed::from_bytes(row.get("number")?)?;
        let number = self.vault.open_text(tenant, Place::new("message", &attempt.message, "number"), &sealed).await?;
        let number = PhoneNumber::parse(number.as_str()).map_err(|_| MessagingError::Stored)?;
        let ours = PhoneNumber::parse(&row.get::<String>("our_number")?).map_err(|_| MessagingError::Stored)?;
        Ok(Some((attempt, ours, number)))
    }

    async fn content_hash(&self, tenant: Id<Tenant>, message: Id<Message>) -> Result<Vec<u8>, DbError> {
        self.db
            .one(sql("SELECT content_hash FROM message WHERE tenant = $1 AND id = $2").bind(tenant).bind(message))
            .await?
            .get("content_hash")
    }

    async fn is_known(&self, tenant: Id<Tenant>, carrier: &str, carrier_id: &str) -> Result<bool, DbError> {
        let query = sql("SELECT 1 AS known FROM message_dedupe WHERE tenant = $1 AND carrier = $2 AND carrier_id = $3");
        Ok(self.db.optional(query.bind(tenant).bind(carrier).bind(carrier_id)).await?.is_some())
    }
}

fn look_again() -> JobError {
    JobError::Retry { code: "not-listed-yet", after: BETWEEN_LOOKS.try_into().ok() }
}

/// Says of a text that a person has to settle it, as long as nothing else does.
struct LeaveToPerson {
    tenant: Id<Tenant>,
    message: Id<Message>,
    changed: NewJob,
}

impl Command for LeaveToPerson {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let left = tx
            .execute(
                sql("UPDATE message SET state_reason = $3 WHERE tenant = $1 AND id = $2 AND state = 'unknown' AND state_reason <> $3")
                    .bind(self.tenant)
                    .bind(self.message)
                    .bind(PERSON_DECIDES),
            )
            .await?;
        if left == 1 { enqueue(tx, &self.changed).await } else { Ok(()) }
    }
}
