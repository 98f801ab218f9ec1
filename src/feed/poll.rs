//! Reads the schedule at intervals.

use super::{Intake, POLL_APPOINTMENTS, quarantine};
use crate::{
    db::{Command, Db, DbError, Tx},
    ehr::{Ehr, EhrError, Ehrs},
    fhir::{Parsed, SearchMethod, SearchParams, views::AppointmentView},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Tenant},
    practice::{Practice, Practices},
};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use std::sync::Arc;

/// How many days of the schedule are read, from yesterday on.
const DAYS_AHEAD: i64 = 14;
/// How many entries a page is asked for.
const PAGE: &str = "100";

/// Polls every tenant's EHR.
#[derive(Clone)]
pub struct Poller {
    db: Db,
    instruments: Instruments,
    practices: Arc<Practices>,
    ehrs: Ehrs,
    intake: Intake,
}

impl Poller {
    /// A poller that hands what it finds to `intake`.
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
            let job = NewJob::new(&self.instruments, practice.tenant, POLL_APPOINTMENTS, &())?
                .unique("all")
                .attempts(u32::MAX);
            self.db.execute(Schedule(job)).await?;
        }
        Ok(())
    }

    /// Handles [`POLL_APPOINTMENTS`]: reads the window, then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        match self.read_window(job.tenant, &practice).await {
            // A refusal does not end the polling: somebody will mend the registration.
            Ok(()) | Err(EhrError::Refused { .. } | EhrError::Unreadable | EhrError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let every = SignedDuration::try_from(practice.poll_every).unwrap_or(SignedDuration::from_mins(2));
        Err(JobError::Postpone { code: "next-poll", until: started.checked_add(every).unwrap_or(Timestamp::MAX) })
    }

    async fn read_window(&self, tenant: Id<Tenant>, practice: &Practice) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let today = self.instruments.now().to_zoned(practice.zone.clone()).date();
        let day = |days: i64| today.checked_add(days.days()).unwrap_or(today);
        let params = SearchParams::new()
            .with("date", format!("ge{}", day(-1)))
            .with("date", format!("lt{}", day(DAYS_AHEAD)))
            .with("_count", PAGE);
        let mut pages = ehr.client.search("Appointment", params, SearchMethod::Get)?;
        while let Some(page) = pages.next_page().await? {
            let mut faults: Vec<_> = page.quarantined.iter().map(|entry| entry.fault.clone()).collect();
            let parsed = Parsed::read(&page.matches, AppointmentView::read);
            faults.extend(parsed.quarantined.into_iter().map(|entry| entry.fault));
            quarantine::note(&self.db, tenant, "Appointment", faults, self.instruments.now()).await?;
            for view in &parsed.good {
                self.take(&ehr, view).await?;
            }
        }
        Ok(())
    }

    /// One appointment that cannot be taken in does not stop the rest.
    async fn take(&self, ehr: &Ehr, view: &AppointmentView) -> Result<(), EhrError> {
        match self.intake.take_appointment(ehr, view).await {
            Err(error @ (EhrError::Unreadable | EhrError::NotFound | EhrError::Refused { .. })) => {
                metrics::counter!("chartwire_appointments_skipped_total").increment(1);
                tracing::warn!(%error, "an appointment could not be taken in");
                Ok(())
            }
            other => other,
        }
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
