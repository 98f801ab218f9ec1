//! Reads what webhooks missed from the carrier's own list (law 1).

use super::{
    Inbox, MessagingError, PULL_INBOUND,
    carrier_port::{Carrier, CarrierInbound, Unreadable},
};
use crate::{
    db::{Command, Db, DbError, Tx, sql, sql_built},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, PhoneNumber, Tenant},
    practice::{Practice, Practices},
};
use futures_util::{
    future::FutureExt as _,
    stream::{self, TryStreamExt as _},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How far before the watermark the list is read: carriers stamp a text when they take it and list it a little later.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);
/// How far back a number's list is read the first time.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(24);
/// From how many senders texts are taken in at once.
const SENDERS_AT_ONCE: usize = 32;
/// After how many texts the database is asked in one query.
const ASKED_AT_ONCE: usize = 200;

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
            self.accept_missed(&practice, carrier.name(), &received.texts).await?;
            let unreadable = received.unreadable.count();
            if unreadable > 0 {
                // What could be read is durable; the rest is asked for again until it can be.
                tracing::error!(carrier = carrier.name(), unreadable, "entries of the carrier's list cannot be read");
                metrics::counter!("chartwire_carrier_list_unreadable_total", "carrier" => carrier.name())
                    .increment(u64::try_from(unreadable).unwrap_or(u64::MAX));
                return Err(JobError::Retry { code: "carrier-list-unreadable", after: Some(self.every) });
            }
            // Only after every text up to here is durable.
            self.db.execute(MoveWatermark(tenant, carrier.name(), own.number.clone(), started)).await?;
        }
        Ok(())
    }

    /// Reads again what every number of `tenant` has received since `since`, after a restore: what was acknowledged
    /// then is not here any more. What is known has no effect.
    ///
    /// # Errors
    /// [`MessagingError`] as carrier, vault or database are away; what was taken in stays.
    pub async fn read_back(&self, tenant: Id<Tenant>, since: Timestamp) -> Result<ReceivedBack, MessagingError> {
        let practice = self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?;
        let carrier = self.carriers.get(&tenant).ok_or(MessagingError::NotConfigured)?;
        let mut back = ReceivedBack::default();
        for own in &practice.numbers {
            let received = carrier.received_since(&own.number, since).await?;
            let known = self.known(tenant, carrier.name(), &received.texts).await?;
            back.listed += received.texts.len();
            back.new += received.texts.iter().filter(|text| !known.contains(&text.carrier_id)).count();
            back.unreadable.extend(received.unreadable);
            self.accept_missed(&practice, carrier.name(), &received.texts).await?;
        }
        Ok(back)
    }

    /// Takes in what is not known yet: the texts of one sender in their order, several senders at once, so that their
    /// commits share a transaction. Known ones cost no write: a run that is cut off has come further than the last.
    async fn accept_missed(
        &self,
        practice: &Practice,
        carrier: &'static str,
        texts: &[CarrierInbound],
    ) -> Result<(), MessagingError> {
        let known = self.known(practice.tenant, carrier, texts).await?;
        let mut senders: BTreeMap<&str, Vec<&CarrierInbound>> = BTreeMap::new();
        for text in texts.iter().filter(|text| !known.contains(&text.carrier_id)) {
            senders.entry(text.from.as_str()).or_default().push(text);
        }
        let accepted = stream::iter(senders.into_values().map(Ok)).try_for_each_concurrent(SENDERS_AT_ONCE, |texts| {
            let taking_in = async move {
                for text in texts {
                    match self.inbox.accept(practice, carrier, text).await {
                        Ok(_) | Err(MessagingError::NotOurNumber) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            };
            taking_in.boxed()
        });
        accepted.await
    }

    /// Which of `texts` have come in already, by their carrier ids.
    async fn known(
        &self,
        tenant: Id<Tenant>,
        carrier: &str,
        texts: &[CarrierInbound],
    ) -> Result<HashSet<String>, DbError> {
        let mut known = HashSet::new();
        for some in texts.chunks(ASKED_AT_ONCE) {
            let places: Vec<String> = (0..some.len()).map(|place| format!("${}", place + 3)).collect();
            let query = sql_built(format!(
                "SELECT carrier_id FROM message_dedupe WHERE tenant = $1 AND carrier = $2 AND carrier_id IN ({})",
                places.join(", ")
            ));
            let query = some.iter().fold(query.bind(tenant).bind(carrier), |query, text| query.bind(&*text.carrier_id));
            for row in self.db.all(query).await? {
                known.insert(row.get("carrier_id")?);
            }
        }
        Ok(known)
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

/// What the carrier's list of received texts showed after a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedBack {
    /// Texts on the list.
    pub listed: usize,
    /// Those among them that were not here.
    pub new: usize,
    /// Entries that cannot be read: the list has to be read again.
    pub unreadable: Unreadable,
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
