//! Planning the reminders of every known visit anew: handles the job [`SWEEP_REMINDERS`].
//!
//! A visit is planned when it becomes known or changes (`schedule_change`); the practice's rules change without it. The
//! sweep brings the plans in line with the rules: at each start, and daily. Always: it goes through the visits to come page
//! by page, each page in a transaction of its own, so that time grows with their number, memory does not, and live traffic
//! goes in between; where plans are as they should be nothing is written; what was sent stays sent; a sweep that was cut
//! off goes on where it stopped; a process that has older rules than the last one started does not sweep by them.

use super::{
    SWEEP_REMINDERS, Workflows,
    plan::{self, Plan},
    plan_store::{PlanChange, PlanChanges, read_plan},
    relevance::is_on,
};
use crate::{
    db::{Command, DbError, Row, Tx, sql, sql_among},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Patient, Tenant},
    practice::Practice,
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashMap, fmt::Write as _};

/// How many visits a transaction covers: few enough that a webhook's commit hardly waits for it.
const PAGE: u32 = 100;
/// How long a run goes on before it puts the rest off to the next: well within a job's lease.
const RUN_FOR: SignedDuration = SignedDuration::from_secs(30);
/// From the end of a sweep to the next.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How soon a process looks again whose rules are not those of the process that was started last.
const WHILE_OTHERS_SWEEP: SignedDuration = SignedDuration::from_mins(1);

/// The visits to come after a place in their order, and whether a workflow has taken them up.
const VISITS: &str = "SELECT v.fhir_id, v.patient, v.status, v.start_at, (SELECT w.id FROM workflow w WHERE w.tenant = $1 \
    AND w.kind = 'visit' AND w.subject = 'Appointment/' || v.fhir_id) AS workflow FROM appointment v WHERE v.tenant = $1 \
    AND (v.start_at, v.fhir_id) > ($2, $3) ORDER BY v.start_at, v.fhir_id LIMIT $4";
/// The plans of a page of visits.
const PLANS: &str = "SELECT appointment, start_at, days_before, due_at, state, reason FROM reminder_plan \
    WHERE tenant = $1 AND appointment";

/// A place in the order of the visits: the last that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    start: Timestamp,
    appointment: String,
}

/// A visit with its plans.
#[derive(Debug)]
struct KnownVisit {
    place: Place,
    patient: Id<Patient>,
    on: bool,
    /// Where no workflow has taken it up yet, it is planned when one does.
    taken_up: bool,
    plans: Vec<Plan>,
}

impl Workflows {
    /// Has each practice's visits swept by the rules that this process has, now and daily from now on. Called at start.
    ///
    /// # Errors
    /// [`JobError`] when the database is away.
    pub async fn schedule_sweeps(&self) -> Result<(), JobError> {
        for practice in self.practices.all() {
            let job = NewJob::new(&self.instruments, practice.tenant, SWEEP_REMINDERS, &())?;
            let job = job.unique("all").attempts(u32::MAX);
            self.db.execute(Begin { tenant: practice.tenant, rules: rules_of(&practice), job }).await?;
        }
        Ok(())
    }

    /// Handles [`SWEEP_REMINDERS`]: goes on where the last run has stopped, then waits for the next day.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when all is done, when the time of a run is up, and while a process that was started later
    /// has other rules; otherwise as the database is away.
    pub async fn sweep(&self, job: LeasedJob) -> Outcome {
        let practice = self.practice(job.tenant)?;
        let started = self.instruments.now();
        let in_time = |span| started.checked_add(span).unwrap_or(Timestamp::MAX);
        let postponed = |code, span| Err(JobError::Postpone { code, until: in_time(span) });
        let query = sql("SELECT rules, after_start, after_appointment FROM reminder_sweep WHERE tenant = $1");
        let row = self.db.one(query.bind(job.tenant)).await?;
        let rules = rules_of(&practice);
        if row.get::<String>("rules")? != rules {
            return postponed("rules-of-another-process", WHILE_OTHERS_SWEEP);
        }
        let run = Run { flows: self, practice: &practice, rules, started };
        match run.from(Place::read(&row)?).await? {
            Ended::AtTheEnd => postponed("next-sweep", EVERY),
            Ended::TimeIsUp => Err(JobError::Postpone { code: "sweep-goes-on", until: self.instruments.now() }),
            Ended::OtherRules => postponed("rules-of-another-process", WHILE_OTHERS_SWEEP),
        }
    }
}

/// The rules as the sweep tells them apart: what decides when a reminder is due.
fn rules_of(practice: &Practice) -> String {
    let mut rules = practice.zone.iana_name().unwrap_or_default().to_owned();
    for rule in &practice.reminders {
        let _ = write!(rules, " {}@{}", rule.days_before, rule.at);
    }
    rules
}

/// Why a run ended.
enum Ended {
    AtTheEnd,
    TimeIsUp,
    OtherRules,
}

/// One run over the visits of a practice.
struct Run<'a> {
    flows: &'a Workflows,
    practice: &'a Practice,
    rules: String,
    started: Timestamp,
}

impl Run<'_> {
    /// Goes on after the place where the last run has stopped.
    async fn from(&self, stopped_at: Option<Place>) -> Result<Ended, DbError> {
        // Where the next run would begin.
        let mut kept = stopped_at.clone();
        let from = stopped_at.unwrap_or(Place { start: self.started, appointment: String::new() });
        let mut page = self.read(&from).await?;
        while let Some(last) = page.last().map(|visit| visit.place.clone()) {
            let now = self.flows.instruments.now();
            let changes = self.changes(page, now)?;
            // The next page is read while this one is written.
            let (written, next) = if changes.all().is_empty() {
                (true, self.read(&last).await?)
            } else {
                let (written, next) = tokio::join!(self.write(changes, &last), self.read(&last));
                kept = Some(last.clone());
                (written?, next?)
            };
            if !written {
                return Ok(Ended::OtherRules);
            }
            page = next;
            if !page.is_empty() && now.duration_since(self.started) > RUN_FOR {
                let moved = kept.as_ref() == Some(&last) || self.store(None, Some(last)).await?;
                return Ok(if moved { Ended::TimeIsUp } else { Ended::OtherRules });
            }
        }
        let ended = kept.is_none() || self.store(None, None).await?;
        Ok(if ended { Ended::AtTheEnd } else { Ended::OtherRules })
    }

    /// The page after this place. Two simple statements: what a database makes of them does not depend on what it
    /// believes to know of the tables.
    async fn read(&self, after: &Place) -> Result<Vec<KnownVisit>, DbError> {
        let (db, tenant) = (&self.flows.db, self.practice.tenant);
        let query = sql(VISITS).bind(tenant).bind(after.start).bind(after.appointment.as_str()).bind(PAGE);
        let rows = db.all(query).await?;
        let mut visits = rows.iter().map(KnownVisit::read).collect::<Result<Vec<_>, DbError>>()?;
        if visits.is_empty() {
            return Ok(visits);
        }
        let ids = visits.iter().map(|visit| visit.place.appointment.clone()).collect();
        let mut plans: HashMap<String, Vec<Plan>> = HashMap::new();
        for row in db.all(sql_among(PLANS, vec![tenant.into()], ids, db.is_postgres())).await? {
            plans.entry(row.get("appointment")?).or_default().push(read_plan(&row)?);
        }
        for visit in &mut visits {
            visit.plans = plans.remove(&visit.place.appointment).unwrap_or_default();
        }
        Ok(visits)
    }

    fn changes(&self, visits: Vec<KnownVisit>, now: Timestamp) -> Result<PlanChanges, DbError> {
        let Practice { tenant, reminders, zone, .. } = self.practice;
        let mut changes = Vec::new();
        for KnownVisit { place, patient, on, plans, .. } in visits.into_iter().filter(|visit| visit.taken_up) {
            let takes_place = on.then_some(place.start);
            for plan in plan::replan(&plans, takes_place, reminders, zone, now) {
                changes.push(PlanChange { appointment: place.appointment.clone(), patient, plan });
            }
        }
        PlanChanges::new(&self.flows.instruments, *tenant, changes)
    }

    /// Writes what changes on a page, and that all up to `last` is done. `false`: others have begun by other rules.
    async fn write(&self, changes: PlanChanges, last: &Place) -> Result<bool, DbError> {
        let states: Vec<&'static str> = changes.all().iter().map(|change| change.plan.state.code()).collect();
        // Of several practices' pages one waits for the database's writer, and live traffic behind no more than that.
        let alone = self.flows.sweeping.lock().await;
        let written = self.store(Some(changes), Some(last.clone())).await?;
        drop(alone);
        if written {
            for state in states {
                metrics::counter!("chartwire_reminders_swept_total", "state" => state).increment(1);
            }
        }
        Ok(written)
    }

    async fn store(&self, changes: Option<PlanChanges>, place: Option<Place>) -> Result<bool, DbError> {
        let page = Page { tenant: self.practice.tenant, rules: self.rules.clone(), place, changes };
        self.flows.db.execute(page).await
    }
}

impl Place {
    fn read(row: &Row) -> Result<Option<Self>, DbError> {
        let start: Option<Timestamp> = row.get("after_start")?;
        let appointment: Option<String> = row.get("after_appointment")?;
        Ok(start.zip(appointment).map(|(start, appointment)| Self { start, appointment }))
    }
}

impl KnownVisit {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            place: Place { start: row.get("start_at")?, appointment: row.get("fhir_id")? },
            patient: row.get("patient")?,
            on: is_on(&row.get::<String>("status")?),
            taken_up: row.get::<Option<Vec<u8>>>("workflow")?.is_some(),
            plans: Vec::new(),
        })
    }
}

/// Says by which rules visits are swept from now on; new ones begin at the first visit.
struct Begin {
    tenant: Id<Tenant>,
    rules: String,
    job: NewJob,
}

impl Command for Begin {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO reminder_sweep (tenant, rules) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET \
                 rules = excluded.rules, after_start = NULL, after_appointment = NULL \
                 WHERE reminder_sweep.rules <> excluded.rules")
            .bind(self.tenant)
            .bind(self.rules.clone()),
        )
        .await?;
        enqueue(tx, &self.job).await
    }
}

/// A page of changes, and where the next run begins: the first visit, where it is nowhere.
struct Page {
    tenant: Id<Tenant>,
    rules: String,
    place: Option<Place>,
    changes: Option<PlanChanges>,
}

impl Command for Page {
    /// Whether these still are the rules that visits are swept by.
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let (start, appointment) = self.place.as_ref().map(|place| (place.start, place.appointment.clone())).unzip();
        let moved = tx
            .execute(
                sql("UPDATE reminder_sweep SET after_start = $3, after_appointment = $4 WHERE tenant = $1 AND rules = $2")
                    .bind(self.tenant)
                    .bind(self.rules.clone())
                    .bind(start)
                    .bind(appointment),
            )
            .await?;
        if moved == 0 {
            return Ok(false);
        }
        if let Some(changes) = &self.changes {
            changes.write(tx).await?;
        }
        Ok(true)
    }
}
