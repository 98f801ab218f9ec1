//! Finds prescriptions that run out, and follows the Tasks that ask for refills.

use super::{
    Intake, POLL_REFILLS, POLL_TASKS, REFILL_DUE, REFILL_TASK_CHANGED,
    appointments::GONE,
    cursor::{self, Advance, RUN_FOR},
    quarantine,
    refusals::{self, refusal},
};
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
/// How cursors and refusals name the two feeds.
const REFILLS: &str = "refills";
const TASKS: &str = "tasks";

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

    /// Handles [`POLL_REFILLS`]: announces each refill once, then waits for the next time. What does not fit into one run
    /// goes on in the next.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll_refills(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        let today = started.to_zoned(practice.zone.clone()).date();
        let whole = match self.announce_refills(job.tenant, today, started).await {
            Ok(Some(skipped)) => self.note(job.tenant, REFILLS, skipped).await.map(|()| true)?,
            Ok(None) => false,
            Err(error) => {
                let Some(code) = refusal(&error) else { return Err(error.into()) };
                self.note(job.tenant, REFILLS, Some(code)).await?;
                // Let in again, it goes on at once: the next poll is an hour away.
                if matches!(error, EhrError::NotAdmitted) {
                    return Err(error.into());
                }
                true
            }
        };
        let until = self.instruments.now();
        Err(if whole { again(started, REFILLS_EVERY) } else { JobError::Postpone { code: "poll-goes-on", until } })
    }

    /// Handles [`POLL_TASKS`]: announces each change of a Task of ours, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll_tasks(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        let refused = match self.announce_tasks(job.tenant).await {
            Ok(()) => None,
            Err(error) => Some(refusal(&error).ok_or(error)?),
        };
        self.note(job.tenant, TASKS, refused).await?;
        Err(again(started, SignedDuration::try_from(practice.poll_every).unwrap_or(REFILLS_EVERY)))
    }

    async fn note(&self, tenant: Id<Tenant>, feed: &'static str, refused: Option<&'static str>) -> Result<(), DbError> {
        refusals::note(&self.db, tenant, feed, refused, self.instruments.now()).await
    }

    /// Reads prescriptions page by page from where the last run has stopped. `None`: there is more; else what the EHR
    /// refused of single ones.
    async fn announce_refills(
        &self,
        tenant: Id<Tenant>,
        today: Date,
        started: Timestamp,
    ) -> Result<Option<Option<&'static str>>, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let mut next = cursor::position(&self.db, tenant, REFILLS).await?.filter(|link| !link.is_empty());
        let mut refused = None;
        loop {
            let found = match ehr::due_refills(&ehr, today, next.as_deref()).await {
                // The EHR does not keep its pages for ever: from the first one again, after a pause.
                Err(error) if next.is_some() && refusal(&error).is_some() => {
                    self.stop_at(tenant, String::new()).await?;
                    return Err(EhrError::Unavailable { code: "ehr-page-gone", retry_after: None });
                }
                found => found?,
            };
            quarantine::note(&self.db, tenant, "MedicationRequest", found.faults, self.instruments.now()).await?;
            for refill in &found.due {
                match self.announce_refill(&ehr, refill).await {
                    Ok(()) => {}
                    // One patient who cannot be taken in does not stop the rest.
                    Err(error) => {
                        let code = refusal(&error);
                        refused = refused.or(code.filter(|_| matches!(error, EhrError::Refused { .. })));
                        if code.is_none() || matches!(error, EhrError::NotAdmitted) {
                            return Err(error);
                        }
                        metrics::counter!("chartwire_refills_skipped_total").increment(1);
                        tracing::warn!(%error, "a due refill could not be taken in");
                    }
                }
            }
            let going_on = next.is_some();
            next = found.next;
            let late = self.instruments.now().duration_since(started) > RUN_FOR;
            match &next {
                None if going_on => self.stop_at(tenant, String::new()).await?,
                Some(link) if late => self.stop_at(tenant, link.clone()).await?,
                _ => {}
            }
            if next.is_none() || late {
                return Ok(next.is_none().then_some(refused));
            }
        }
    }

    async fn stop_at(&self, tenant: Id<Tenant>, position: String) -> Result<(), DbError> {
        let (feed, now) = (REFILLS.to_owned(), self.instruments.now());
        self.db.execute(Advance { tenant, feed, position, announce: None, now }).await
    }

    /// Whether a prescription is the practice's: on an EHR that it shares, one of its own prescribers wrote it, and where
    /// that person may work for others too, the patient is known to the practice by a visit.
    async fn is_ours(&self, ehr: &Ehr, refill: &DueRefill) -> Result<bool, EhrError> {
        let Some(prescribers) = ehr.prescribers(self.instruments.now()).await? else { return Ok(true) };
        match &refill.prescriber {
            Some(prescriber) if !prescribers.contains(prescriber) => return Ok(false),
            Some(prescriber) if prescriber.is("PractitionerRole") => return Ok(true),
            _ => {}
        }
        let query = sql(
            "SELECT 1 AS visited FROM patient_ehr_id e JOIN appointment a ON a.tenant = e.tenant AND a.patient = e.patient \
                         WHERE e.tenant = $1 AND e.fhir_id = $2 AND a.status <> $3 LIMIT 1",
        );
        let query = query.bind(ehr.tenant).bind(refill.patient.id()).bind(GONE);
        Ok(self.db.optional(query).await?.is_some())
    }

    async fn announce_refill(&self, ehr: &Ehr, refill: &DueRefill) -> Result<(), EhrError> {
        let medication_request = refill.medication_request.id().to_owned();
        let feed = format!("refill {medication_request}");
        if cursor::position(&self.db, ehr.tenant, &feed).await?.as_deref() == Some(refill.due_on.to_string().as_str()) {
            return Ok(());
        }
        if !self.is_ours(ehr, refill).await? {
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
            let known = cursor::position(&self.db, tenant, &feed).await?;
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

    async fn advance(
        &self,
        tenant: Id<Tenant>,
        feed: String,
        position: String,
        announce: NewJob,
    ) -> Result<(), EhrError> {
        let command = Advance { tenant, feed, position, announce: Some(announce), now: self.instruments.now() };
        Ok(self.db.execute(command).await?)
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
