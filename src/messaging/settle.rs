//! Attempts that the carrier did not answer for: its list is asked, and in the end a person (law 4).

use super::{
    Attempt, Message, MessagingError,
    carrier_port::{Carrier, SendOutcome},
    changed::changed_job,
    delivery::Delivery,
    journal::Journal,
    rows::AttemptRow,
    settlement::{AboutAttempt, LOOKS, SettleAttempt, between_looks, settle_job},
};
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, PhoneNumber, Tenant},
    vault::{Place, Sealed, Vault},
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashMap, sync::Arc};

/// How long the carrier's list may be away before a person is asked, too.
const LIST_AWAY: SignedDuration = SignedDuration::from_hours(4);

/// The reason of an unknown text that nothing but a person settles any more.
pub const PERSON_DECIDES: &str = "person-decides";

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
            let until = now.checked_add(between_looks(&**carrier)).unwrap_or(Timestamp::MAX);
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
            return Err(look_again(&**carrier));
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
        carrier: &dyn Carrier,
    ) -> Outcome {
        let journal = Journal::of(&self.vault, &self.instruments, tenant).await.map_err(MessagingError::from)?;
        self.db
            .execute(SettleAttempt {
                tenant,
                attempt: attempt.id,
                outcome,
                carrier: carrier.name(),
                now: self.instruments.now(),
                changed: changed_job(&self.instruments, tenant, attempt.message, &attempt.number_token)?,
                settle: Some(settle_job(&self.instruments, tenant, attempt.id, between_looks(carrier))?),
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

fn look_again(carrier: &dyn Carrier) -> JobError {
    JobError::Retry { code: "not-listed-yet", after: between_looks(carrier).try_into().ok() }
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
