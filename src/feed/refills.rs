//! Finds prescriptions that run out, and follows the Tasks that ask for refills.

use super::{Intake, POLL_REFILLS, POLL_TASKS, REFILL_DUE, REFILL_TASK_CHANGED, quarantine};
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    ehr::{self, DueRefill, Ehr, EhrError, Ehrs},
    fhir::{ResourceRef, views::TaskStatus},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Patient, Tenant},
    practice::Practices,
};
use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How often prescriptions are looked through.
const REFILLS_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// The payload of [`REFILL_DUE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefillDue {
    /// The FHIR id of the prescription.
    pub medication_request: String,
    /// Whose.
    pub patient: Id<Patient>,
    /// The day on which the supply runs out.
    pub due_on: Date,
}

/// The payload of [`REFILL_TASK_CHANGED`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefillTaskChanged {
    /// The Task, as `Task/1`.
    pub task: String,
    /// Its status now, in FHIR's word.
    pub status: String,
}

/// Polls every tenant's EHR for what refills need.
#[derive(Clone)]
pub struct RefillPoller {
    db: Db,
    instruments: Instruments,
    practices: Arc<Practices>,
    ehrs: Ehrs,
    intake: Intake,
}

impl RefillPoller {
    /// A poller that takes patients in by `intake`.
    #[must_use]
    pub const fn new(db: Db, instruments: Instruments, practices: Arc<Practices>, ehrs: Ehrs, intake: Intake) -> Self {
        Self { db, instruments, practices, ehrs, intake }
    }

    /// Makes sure that each tenant is polled from now on. Called at start.
    ///
    /// # Errors
    /// [`JobError`] when the database is away.
    pub async fn schedule(&self) -> Result<(), JobError> {
        for practice in self.practices.all() {
            for kind in [POLL_REFILLS, POLL_TASKS] {
                let job = NewJob::new(&self.instruments, practice.tenant, kind, &())?.unique("all").attempts(u32::MAX);
                self.db.execute(Schedule(job)).await?;
            }
        }
        Ok(())
    }

    /// Handles [`POLL_REFILLS`]: announces each refill once, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll_refills(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        let today = started.to_zoned(practice.zone.clone()).date();
        passing(self.announce_refills(job.tenant, today).await)?;
        Err(again(started, REFILLS_EVERY))
    }

    /// Handles [`POLL_TASKS`]: announces each change of a Task of ours, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll_tasks(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        passing(self.announce_tasks(job.tenant).await)?;
        Err(again(started, SignedDuration::try_from(practice.poll_every).unwrap_or(REFILLS_EVERY)))
    }

    async fn announce_refills(&self, tenant: Id<Tenant>, today: Date) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let found = ehr::due_refills(&ehr, today).await?;
        quarantine::note(&self.db, tenant, "MedicationRequest", found.faults, self.instruments.now()).await?;
        for refill in &found.due {
            match self.announce_refill(&ehr, refill).await {
                // One patient who cannot be taken in does not stop the rest.
                Err(error @ (EhrError::Unreadable | EhrError::NotFound | EhrError::Refused { .. })) => {
                    metrics::counter!("chartwire_refills_skipped_total").increment(1);
                    tracing::warn!(%error, "a due refill could not be taken in");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn announce_refill(&self, ehr: &Ehr, refill: &DueRefill) -> Result<(), EhrError> {
        let medication_request = refill.medication_request.id().to_owned();
        let feed = format!("refill {medication_request}");
        if self.position(ehr.tenant, &feed).await?.as_deref() == Some(refill.due_on.to_string().as_str()) {
            return Ok(());
        }
        let patient = self.intake.take_patient(ehr, &refill.patient).await?;
        let due = RefillDue { medication_request, patient, due_on: refill.due_on };
        let job = NewJob::new(&self.instruments, ehr.tenant, REFILL_DUE, &due).map_err(|_| EhrError::Unreadable)?;
        self.advance(ehr.tenant, feed, refill.due_on.to_string(), job).await
    }

    async fn announce_tasks(&self, tenant: Id<Tenant>) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        for task in self.open_tasks(tenant).await? {
            let Ok(reference) = task.parse::<ResourceRef>() else { continue };
            let status = match ehr::task_status(&ehr, &reference).await {
                Ok(status) => status,
                // Deleted: nobody will act on it any more.
                Err(EhrError::NotFound) => TaskStatus::EnteredInError,
                Err(EhrError::Unreadable) => continue,
                Err(error) => return Err(error),
            };
            let status = serde_json::to_value(status).ok();
            let Some(status) = status.as_ref().and_then(|status| status.as_str()) else { continue };
            let feed = format!("task {task}");
            let known = self.position(tenant, &feed).await?;
            if known.as_deref().unwrap_or("requested") == status {
                continue;
            }
            let changed = RefillTaskChanged { task: task.clone(), status: status.to_owned() };
            let job = NewJob::new(&self.instruments, tenant, REFILL_TASK_CHANGED, &changed);
            let job = job.map_err(|_| EhrError::Unreadable)?.in_lane(feed.clone());
            self.advance(tenant, feed, status.to_owned(), job).await?;
        }
        Ok(())
    }

    /// The Tasks that we made and that are not over as far as we know.
    async fn open_tasks(&self, tenant: Id<Tenant>) -> Result<Vec<String>, DbError> {
        let rows = self
            .db
            .all(
                sql("SELECT w.reference FROM ehr_write w \
                     LEFT JOIN feed_cursor f ON f.tenant = w.tenant AND f.feed = 'task ' || w.reference \
                     WHERE w.tenant = $1 AND w.resource = 'Task' AND w.state = 'written' AND w.reference IS NOT NULL \
                     AND (f.position IS NULL OR f.position NOT IN \
                     ('rejected', 'cancelled', 'failed', 'completed', 'entered-in-error')) ORDER BY w.id")
                .bind(tenant),
            )
            .await?;
        rows.iter().map(|row| row.get("reference")).collect()
    }

    async fn position(&self, tenant: Id<Tenant>, feed: &str) -> Result<Option<String>, DbError> {
        let query = sql("SELECT position FROM feed_cursor WHERE tenant = $1 AND feed = $2");
        self.db.optional(query.bind(tenant).bind(feed)).await?.map(|row| row.get("position")).transpose()
    }

    async fn advance(
        &self,
        tenant: Id<Tenant>,
        feed: String,
        position: String,
        announce: NewJob,
    ) -> Result<(), EhrError> {
        let command = Advance { tenant, feed, position, announce, now: self.instruments.now() };
        Ok(self.db.execute(command).await?)
    }
}

/// A refusal does not end the polling: somebody will mend the registration.
fn passing(outcome: Result<(), EhrError>) -> Result<(), JobError> {
    match outcome {
        Ok(()) | Err(EhrError::Refused { .. } | EhrError::Unreadable | EhrError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn again(started: Timestamp, every: SignedDuration) -> JobError {
    JobError::Postpone { code: "next-poll", until: started.checked_add(every).unwrap_or(Timestamp::MAX) }
}

struct Schedule(NewJob);

impl Command for Schedule {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

/// Moves a cursor, and announces it only if nobody else has moved it there.
struct Advance {
    tenant: Id<Tenant>,
    feed: String,
    position: String,
    announce: NewJob,
    now: Timestamp,
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
        if moved == 1 { enqueue(tx, &self.announce).await } else { Ok(()) }
    }
}
