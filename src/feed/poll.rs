//! Reads the schedule at intervals, day by day.
//!
//! Always: a visit that we know and that a complete day does not show is asked for by name; what the EHR refuses is seen by
//! operators; a run ends well within its lease, and the next goes on where it stopped.

use super::{
    Intake, POLL_APPOINTMENTS,
    appointments::known_between,
    cursor::{self, Advance, RUN_FOR},
    quarantine,
    refusals::{self, refusal},
};
use crate::{
    db::{Command, Db, DbError, Tx},
    ehr::{Ehr, EhrError, Ehrs},
    fhir::{Parsed, ResourceRef, SearchMethod, views::AppointmentView},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Tenant, local_instant},
    practice::{Practice, Practices},
};
use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, Time},
};
use std::{collections::HashSet, sync::Arc};

/// How many days of the schedule are read, from yesterday on.
const DAYS_AHEAD: i64 = 14;
/// How many entries a page is asked for.
const PAGE: &str = "100";
/// How cursors and refusals name this feed.
const FEED: &str = "appointments";

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

    /// Handles [`POLL_APPOINTMENTS`]: reads the window day by day, then waits for the next time. What does not fit into
    /// one run goes on in the next.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is read; [`JobError::Retry`] when the EHR is away.
    pub async fn poll(&self, job: LeasedJob) -> Outcome {
        let practice = self.practices.get(job.tenant).ok_or(JobError::retry("tenant-not-configured"))?;
        let started = self.instruments.now();
        if !self.read_window(job.tenant, &practice, started).await? {
            return Err(JobError::Postpone { code: "poll-goes-on", until: self.instruments.now() });
        }
        let every = SignedDuration::try_from(practice.poll_every).unwrap_or(SignedDuration::from_mins(2));
        Err(JobError::Postpone { code: "next-poll", until: started.checked_add(every).unwrap_or(Timestamp::MAX) })
    }

    /// Reads the days of the window from where the last run has stopped. Whether the last of them was read.
    async fn read_window(&self, tenant: Id<Tenant>, practice: &Practice, started: Timestamp) -> Result<bool, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let today = started.to_zoned(practice.zone.clone()).date();
        let stopped_at = cursor::position(&self.db, tenant, FEED).await?.and_then(|day| day.parse::<Date>().ok());
        let mut refused = None;
        for days in -1..DAYS_AHEAD {
            let day = today.saturating_add(days.days());
            if stopped_at
                .is_some_and(|stopped_at| day < stopped_at && stopped_at < today.saturating_add(DAYS_AHEAD.days()))
            {
                continue;
            }
            if self.instruments.now().duration_since(started) > RUN_FOR {
                self.stop_at(tenant, day.to_string()).await?;
                return Ok(false);
            }
            match self.read_day(&ehr, practice, day).await {
                Ok(skipped) => refused = refused.or(skipped),
                // The other days may be told all the same.
                Err(error) => match refusal(&error) {
                    Some(code) => refused = refused.or(Some(code)),
                    None => return Err(error),
                },
            }
        }
        if stopped_at.is_some() {
            self.stop_at(tenant, String::new()).await?;
        }
        refusals::note(&self.db, tenant, FEED, refused, self.instruments.now()).await?;
        Ok(true)
    }

    async fn stop_at(&self, tenant: Id<Tenant>, position: String) -> Result<(), DbError> {
        let (feed, now) = (FEED.to_owned(), self.instruments.now());
        self.db.execute(Advance { tenant, feed, position, announce: None, now }).await
    }

    /// Takes in the visits of a day; then those that should have been among them are asked for by name. What the EHR refused
    /// of single ones.
    async fn read_day(&self, ehr: &Ehr, practice: &Practice, day: Date) -> Result<Option<&'static str>, EhrError> {
        let starts = |day: Date| local_instant(day, Time::midnight(), &practice.zone);
        let (from, until) = (starts(day), starts(day.saturating_add(1.day())));
        let mut seen = HashSet::new();
        let mut refused = None;
        for params in ehr.appointments_of_scope(self.instruments.now()).await? {
            let params =
                params.with("date", format!("ge{from}")).with("date", format!("lt{until}")).with("_count", PAGE);
            let mut pages = ehr.client.search("Appointment", params, SearchMethod::Get)?;
            while let Some(page) = pages.next_page().await? {
                let mut faults: Vec<_> = page.quarantined.iter().map(|entry| entry.fault.clone()).collect();
                let parsed = Parsed::read(&page.matches, AppointmentView::read);
                faults.extend(parsed.quarantined.into_iter().map(|entry| entry.fault));
                quarantine::note(&self.db, ehr.tenant, "Appointment", faults, self.instruments.now()).await?;
                for view in &parsed.good {
                    seen.extend(view.reference.as_ref().map(|reference| reference.id().to_owned()));
                    refused = refused.or(skippable(self.intake.take_appointment(ehr, view).await)?);
                }
            }
        }
        // Moved out of the window, to another practice, or deleted: nothing of that comes in a search.
        for known in known_between(&self.db, ehr.tenant, (from.max(self.instruments.now()), until)).await? {
            if !seen.contains(&known) {
                let reference = ResourceRef::new("Appointment", &known)?;
                refused = refused.or(skippable(self.intake.refresh(ehr.tenant, &reference).await)?);
            }
        }
        Ok(refused)
    }
}

/// One appointment that cannot be taken in does not stop the rest. What the EHR refused of it.
fn skippable(taken: Result<(), EhrError>) -> Result<Option<&'static str>, EhrError> {
    let Err(error) = taken else { return Ok(None) };
    // We have changed it ourselves again and again: the next poll sees how it ended.
    if matches!(error, EhrError::Conflict) {
        return Ok(None);
    }
    // Not this one's fault.
    if matches!(error, EhrError::NotAdmitted) {
        return Err(error);
    }
    let Some(code) = refusal(&error) else { return Err(error) };
    metrics::counter!("chartwire_appointments_skipped_total").increment(1);
    tracing::warn!(%error, "an appointment could not be taken in");
    Ok(Some(code).filter(|_| matches!(error, EhrError::Refused { .. })))
}

struct Schedule(NewJob);

impl Command for Schedule {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}
