//! Reads what webhooks missed from the carrier's own list (law 1).

use super::{Inbox, MessagingError, PULL_INBOUND, carrier_port::Carrier};
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, PhoneNumber, Tenant},
    practice::Practices,
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How far before the watermark the list is read: carriers stamp a text when they take it and list it a little later.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);
/// How far back a number's list is read the first time.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(24);

/// Pulls every number of a tenant.
#[derive(Clone)]
pub struct Puller {
    db: Db,
    inbox: Inbox,
    instruments: Instruments,
    practices: Arc<Practices>,
    carriers: Arc<HashMap<Id<Tenant>, Arc<dyn Carrier>>>,
    every: Duration,
}

impl Puller {
    /// A puller that comes back after `every`.
    #[must_use]
    pub fn new(
        db: Db,
        inbox: Inbox,
        instruments: Instruments,
        practices: Arc<Practices>,
        carriers: Arc<HashMap<Id<Tenant>, Arc<dyn Carrier>>>,
        every: Duration,
    ) -> Self {
        Self { db, inbox, instruments, practices, carriers, every }
    }

    /// Makes sure that each tenant is pulled from now on. Called at start.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn schedule(&self) -> Result<(), MessagingError> {
        for practice in self.practices.all() {
            let job = NewJob::new(&self.instruments, practice.tenant, PULL_INBOUND, &())
                .map_err(|_| MessagingError::Stored)?
                .unique("all")
                .attempts(u32::MAX);
            self.db.execute(Schedule(job)).await?;
        }
        Ok(())
    }

    /// Handles [`PULL_INBOUND`]: reads every list, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the carrier is away.
    pub async fn pull(&self, job: LeasedJob) -> Outcome {
        let now = self.instruments.now();
        self.pull_tenant(job.tenant).await?;
        let every = SignedDuration::try_from(self.every).unwrap_or(FIRST_LOOK);
        Err(JobError::Postpone { code: "next-pull", until: now.checked_add(every).unwrap_or(Timestamp::MAX) })
    }

    async fn pull_tenant(&self, tenant: Id<Tenant>) -> Result<(), JobError> {
        let practice = self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?;
        let carrier = self.carriers.get(&tenant).ok_or(MessagingError::NotConfigured)?;
        for own in &practice.numbers {
            let started = self.instruments.now();
            let since = self.watermark(tenant, carrier.name(), &own.number).await?;
            let received = carrier
                .received_since(&own.number, since)
                .await
                .map_err(|_| JobError::Retry { code: "carrier-list", after: Some(self.every) })?;
            for text in &received.texts {
                // Known ones cost a look and no write, so that a run that is cut off has come further than the last.
                if self.is_known(tenant, carrier.name(), &text.carrier_id).await? {
                    continue;
                }
                match self.inbox.accept(&practice, carrier.name(), text).await {
                    Ok(_) | Err(MessagingError::NotOurNumber) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if received.unreadable > 0 {
                // What could be read is durable; the rest is asked for again until it can be.
                tracing::error!(
                    carrier = carrier.name(),
                    unreadable = received.unreadable,
                    "entries of the carrier's list cannot be read"
                );
                metrics::counter!("chartwire_carrier_list_unreadable_total", "carrier" => carrier.name())
                    .increment(u64::try_from(received.unreadable).unwrap_or(u64::MAX));
                return Err(JobError::Retry { code: "carrier-list-unreadable", after: Some(self.every) });
            }
            // Only after every text up to here is durable.
            self.db.execute(MoveWatermark(tenant, carrier.name(), own.number.clone(), started)).await?;
        }
        Ok(())
    }

    async fn is_known(&self, tenant: Id<Tenant>, carrier: &str, carrier_id: &str) -> Result<bool, DbError> {
        let query = sql("SELECT 1 AS known FROM message_dedupe WHERE tenant = $1 AND carrier = $2 AND carrier_id = $3");
        Ok(self.db.optional(query.bind(tenant).bind(carrier).bind(carrier_id)).await?.is_some())
    }

    async fn watermark(&self, tenant: Id<Tenant>, carrier: &str, number: &PhoneNumber) -> Result<Timestamp, DbError> {
        let query =
            sql("SELECT read_until FROM carrier_watermark WHERE tenant = $1 AND carrier = $2 AND our_number = $3");
        let row = self.db.optional(query.bind(tenant).bind(carrier).bind(number.as_e164())).await?;
        let (from, back) = match row {
            Some(row) => (row.get("read_until")?, OVERLAP),
            None => (self.instruments.now(), FIRST_LOOK),
        };
        Ok(from.checked_sub(back).unwrap_or(Timestamp::MIN))
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

struct MoveWatermark(Id<Tenant>, &'static str, PhoneNumber, Timestamp);

impl Command for MoveWatermark {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO carrier_watermark (tenant, carrier, our_number, read_until) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, carrier, our_number) DO UPDATE SET read_until = excluded.read_until")
            .bind(self.0)
            .bind(self.1)
            .bind(self.2.as_e164())
            .bind(self.3),
        )
        .await
        .map(|_| ())
    }
}
