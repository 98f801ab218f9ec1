//! Planning the reminders of a million known visits: `cargo bench -- sweep`.
//!
//! The limit reads the same visits and bulk-inserts the same rows (`sweep_limit`). While the sweep runs, a small write is
//! made again and again, as a webhook's would be, to see how long it waits.

use crate::load::percentile;
use crate::{
    database::{Database, Engine},
    installation::{Beside, Installation, SLUG},
    memory::Memory,
    report::{self, Arguments, Measured, Round, Subject, rounded},
    sweep_limit::{self, Rows},
    visits,
};
use anyhow::{Context as _, Result, ensure};
use chartwire::{
    app::{App, Running},
    db::{Command, Db, DbError, Tx, sql},
    kernel::{Id, Instruments, Tenant},
    workflow::SWEEP_REMINDERS,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Where nobody listens: nothing of this needs the EHR or the carrier.
const NOWHERE: &str = "http://127.0.0.1:1/";
/// The reminders of a visit by the practice's rules.
const REMINDERS: usize = 2;
/// How often the small write is made.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// One round on a database of its own.
struct OneRound {
    app: App,
    tenant: Id<Tenant>,
    instruments: Instruments,
    now: Timestamp,
    count: usize,
    _installation: Installation,
    _database: Database,
}

impl OneRound {
    async fn prepare(engine: Engine, count: usize) -> Result<Self> {
        let database = Database::new(engine).await?;
        let installation = Installation::new(&Beside { database: &database.url, ehr: NOWHERE, carrier: NOWHERE })?;
        let instruments = Instruments::system();
        let app = App::build(&installation.settings()?, Running::with(instruments.clone())).await?;
        let tenant = app.tenant(SLUG).context("the practice is not there")?;
        let now = instruments.now();
        visits::seed(app.db(), tenant, &instruments, now, count).await?;
        Ok(Self { app, tenant, instruments, now, count, _installation: installation, _database: database })
    }

    async fn limit(&self, rows: Rows) -> Result<Measured> {
        let took = sweep_limit::run(self.app.db(), self.tenant, (&self.instruments, self.now), rows).await?;
        Ok(Measured { count: self.count, took })
    }

    /// A sweep from its beginning to its end.
    async fn sweep(&self) -> Result<Measured> {
        self.app.schedule().await?;
        let started = Instant::now();
        let runs = self.app.worker().run_due_of(&[SWEEP_REMINDERS]).await?;
        let took = started.elapsed();
        ensure!(runs > 0, "the sweep was not due");
        Ok(Measured { count: self.count, took })
    }

    /// How many reminders are planned, and the jobs that look at them.
    async fn planned(&self) -> Result<[usize; 2]> {
        let plans = sql("SELECT COUNT(*) AS n FROM reminder_plan WHERE state = 'planned'");
        let jobs = sql("SELECT COUNT(*) AS n FROM job WHERE kind = 'ReminderDue' AND state = 'ready'");
        let mut counts = [0; 2];
        for (count, query) in counts.iter_mut().zip([plans, jobs]) {
            *count = usize::try_from(self.app.db().one(query).await?.get::<i64>("n")?)?;
        }
        Ok(counts)
    }
}

/// What was seen while a sweep ran.
struct Seen {
    /// When each quarter of the visits was planned, and the memory by then.
    quarters: Vec<(Duration, f64)>,
    /// How long small writes waited, shortest first.
    waits: Vec<Duration>,
}

impl Seen {
    fn told(&self, peak: f64) -> Value {
        let seconds: Vec<f64> = self.quarters.iter().map(|(at, _)| rounded(at.as_secs_f64())).collect();
        let memory: Vec<f64> = self.quarters.iter().map(|(_, memory)| rounded(*memory)).collect();
        let wait = |share| rounded(percentile(&self.waits, share));
        json!({
            "seconds_after_each_quarter": seconds,
            "memory_mb_after_each_quarter": memory,
            "peak_memory_mb": rounded(peak),
            "small_write_meanwhile_ms": { "p50": wait(0.5), "p99": wait(0.99), "longest": wait(1.0) },
        })
    }
}

/// Watches until `stop`.
async fn watch(db: Db, tenant: Id<Tenant>, (first, last): (i64, i64), stop: CancellationToken) -> Result<Seen> {
    let started = Instant::now();
    let mut seen = Seen { quarters: Vec::new(), waits: Vec::new() };
    while !stop.is_cancelled() {
        let before = Instant::now();
        db.execute(SmallWrite { tenant }).await?;
        seen.waits.push(before.elapsed());
        let place = sql("SELECT after_start FROM reminder_sweep WHERE tenant = $1").bind(tenant);
        let place: Option<i64> = db.optional(place).await?.map(|row| row.get("after_start")).transpose()?.flatten();
        let quarter = i64::try_from(seen.quarters.len())? + 1;
        if place.is_some_and(|place| (place - first) * 4 >= (last - first) * quarter) {
            seen.quarters.push((started.elapsed(), Memory::of("self")?.resident));
        }
        tokio::time::sleep(WRITE_EVERY).await;
    }
    seen.quarters.truncate(3);
    seen.quarters.push((started.elapsed(), Memory::of("self")?.resident));
    seen.waits.sort();
    Ok(seen)
}

/// A row is written, as little as can be.
struct SmallWrite {
    tenant: Id<Tenant>,
}

impl Command for SmallWrite {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let query = sql("UPDATE tenant SET created_at = created_at WHERE id = $1");
        tx.execute(query.bind(self.tenant)).await.map(|_| ())
    }
}

/// What one round found.
struct Found {
    ours: Measured,
    again: Measured,
    plans: Measured,
    plans_and_jobs: Measured,
    more: Value,
    peak: f64,
}

async fn one_round(engine: Engine, count: usize) -> Result<Found> {
    let round = OneRound::prepare(engine, count).await?;
    let plans = round.limit(Rows::Plans).await?;
    let plans_and_jobs = round.limit(Rows::PlansAndJobs).await?;
    Memory::forget_peak()?;
    let stop = CancellationToken::new();
    let first = round.now.checked_add(visits::FIRST_IN)?.as_millisecond();
    let span = (first, first + i64::try_from(visits::WITHIN.as_millis())?);
    let watching = tokio::spawn(watch(round.app.db().clone(), round.tenant, span, stop.clone()));
    let ours = round.sweep().await?;
    stop.cancel();
    let (seen, peak) = (watching.await??, Memory::of("self")?.peak);
    let wanted = [count * REMINDERS; 2];
    ensure!(round.planned().await? == wanted, "not every visit has its reminders");
    let again = round.sweep().await?;
    ensure!(round.planned().await? == wanted, "the second sweep has written");
    round.app.close().await;
    Ok(Found { ours, again, plans, plans_and_jobs, more: seen.told(peak), peak })
}

async fn measure(arguments: &Arguments, engine: Engine) -> Result<()> {
    let count = arguments.size(arguments.appointments, 1_000);
    let mut found = Vec::new();
    for _ in 0..arguments.rounds() {
        found.push(Box::pin(one_round(engine, count)).await?);
    }
    let rounds = |ours: fn(&Found) -> Measured, limit: fn(&Found) -> Measured| -> Vec<Round> {
        found.iter().map(|found| Round { ours: ours(found), limit: limit(found) }).collect()
    };
    let subject = |what, limit, goal| Subject { name: "sweep", database: engine, what, limit, unit: "visits/s", goal };
    let what = "visits planned by two rules, none of them planned before";
    let more: Vec<&Value> = found.iter().map(|found| &found.more).collect();
    let limit = "reading the same visits and bulk-inserting the same plans";
    report::compare(&subject(what, limit, Some(0.5)), &rounds(|one| one.ours, |one| one.plans), &json!(more));
    let limit = "the same, with the job of each plan";
    report::compare(&subject(what, limit, None), &rounds(|one| one.ours, |one| one.plans_and_jobs), &json!({}));
    let what = "the second sweep: visits found to be planned";
    report::compare(&subject(what, limit, None), &rounds(|one| one.again, |one| one.plans_and_jobs), &json!({}));
    let peak = found.iter().map(|found| found.peak).fold(0.0, f64::max);
    report::print(&json!({
        "name": "sweep",
        "database": engine.to_string(),
        "what": "resident memory while visits are planned, with the benchmark's own, peak",
        "unit": "MB",
        "measured": rounded(peak),
        "goal": "< 200",
        "met": peak < 200.0,
        "count": count,
    }));
    Ok(())
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    for engine in arguments.engines() {
        measure(arguments, engine).await?;
    }
    Ok(())
}
