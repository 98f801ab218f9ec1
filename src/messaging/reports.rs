//! Asks the carrier how texts have ended whose status reports did not come.
//!
//! Carriers give up on a report within seconds, so what they tell while we are away is lost. Always: a text that the
//! carrier has is asked about until its end is known or it is too old for one to come, each time after twice as long.

use super::{
    ASK_FOR_REPORTS, Attempt, Delivery, Message, MessagingError, Settler,
    carrier_port::{Carrier, CarrierError},
};
use crate::{
    db::{Command, DbError, Tx, sql},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Tenant},
    practice::Practices,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// How many texts are asked about in one run.
const AT_ONCE: i64 = 200;
/// How long a run goes on before it puts the rest off to the next: well within a job's lease.
const RUN_FOR: SignedDuration = SignedDuration::from_secs(5);
/// A text that is older keeps what is known of it: not every network tells of deliveries.
const ASKED_FOR: SignedDuration = SignedDuration::from_hours(72);

/// Asks for the reports of every tenant's texts.
#[derive(Clone)]
pub struct LateReports {
    settler: Settler,
    practices: Arc<Practices>,
}

/// A text whose end nobody has told.
struct UnderWay {
    message: Id<Message>,
    attempt: Id<Attempt>,
    carrier_id: String,
}

impl LateReports {
    /// Asks the carriers of `settler`.
    #[must_use]
    pub const fn new(settler: Settler, practices: Arc<Practices>) -> Self {
        Self { settler, practices }
    }

    /// Makes sure that each tenant's texts are looked after from now on. Called at start.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn schedule(&self) -> Result<(), MessagingError> {
        for practice in self.practices.all() {
            let job = NewJob::new(&self.settler.instruments, practice.tenant, ASK_FOR_REPORTS, &())
                .map_err(|_| MessagingError::Stored)?
                .unique("all")
                .attempts(u32::MAX);
            self.settler.db.execute(Schedule(job)).await?;
        }
        Ok(())
    }

    /// Handles [`ASK_FOR_REPORTS`]: asks about the texts whose turn it is, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all are asked about; [`JobError::Retry`] when the carrier is away.
    pub async fn ask(&self, job: LeasedJob) -> Outcome {
        let Settler { db, vault, instruments, carriers } = &self.settler;
        let carrier = carriers.get(&job.tenant).ok_or(MessagingError::NotConfigured)?;
        let started = instruments.now();
        let pause = carrier.listed_within() / 2;
        let delivery = Delivery::new(db.clone(), vault.clone(), instruments.clone());
        let texts = self.due(job.tenant, &**carrier, started).await?;
        let mut rest = i64::try_from(texts.len()).unwrap_or(AT_ONCE) >= AT_ONCE;
        for text in texts {
            if instruments.now().duration_since(started) > RUN_FOR {
                rest = true;
                break;
            }
            match carrier.status_of(&text.carrier_id).await {
                Ok(found) => {
                    delivery.told(job.tenant, carrier.name(), text.attempt, &found.report).await?;
                }
                Err(CarrierError::Unreachable | CarrierError::Throttled { .. } | CarrierError::Failed(_)) => {
                    return Err(JobError::Retry { code: "carrier-status", after: Some(pause) });
                }
                Err(error) => {
                    tracing::warn!(%error, text = %text.message, "the carrier does not tell how a text ended");
                }
            }
            db.execute(MarkAsked { tenant: job.tenant, message: text.message, now: instruments.now() }).await?;
        }
        let pause = if rest { SignedDuration::ZERO } else { SignedDuration::try_from(pause).unwrap_or(ASKED_FOR) };
        let until = instruments.now().checked_add(pause).unwrap_or(Timestamp::MAX);
        Err(JobError::Postpone { code: "next-reports", until })
    }

    /// The texts whose turn it is, oldest first.
    async fn due(&self, tenant: Id<Tenant>, carrier: &dyn Carrier, now: Timestamp) -> Result<Vec<UnderWay>, DbError> {
        let before = |span: SignedDuration| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        let first = SignedDuration::try_from(carrier.listed_within()).unwrap_or(ASKED_FOR);
        let query = sql("SELECT m.id, a.id AS attempt, m.carrier_id FROM message m \
             JOIN attempt a ON a.tenant = m.tenant AND a.message = m.id AND a.carrier_id = m.carrier_id \
             WHERE m.tenant = $1 AND m.direction = 'out' AND m.state IN ('accepted', 'sent') AND m.sent_at > $2 AND m.sent_at <= $3 \
             AND (m.reports_asked_at IS NULL OR $4 - m.sent_at >= 2 * (m.reports_asked_at - m.sent_at)) \
             ORDER BY m.sent_at LIMIT $5");
        let query = query.bind(tenant).bind(before(ASKED_FOR)).bind(before(first)).bind(now).bind(AT_ONCE);
        let rows = self.settler.db.all(query).await?;
        rows.iter()
            .map(|row| {
                Ok(UnderWay {
                    message: row.get("id")?,
                    attempt: row.get("attempt")?,
                    carrier_id: row.get("carrier_id")?,
                })
            })
            .collect()
    }
}

struct Schedule(NewJob);

impl Command for Schedule {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

/// Notes that the carrier was asked about a text.
struct MarkAsked {
    tenant: Id<Tenant>,
    message: Id<Message>,
    now: Timestamp,
}

impl Command for MarkAsked {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE message SET reports_asked_at = $3 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant)
                .bind(self.message)
                .bind(self.now),
        )
        .await
        .map(|_| ())
    }
}
