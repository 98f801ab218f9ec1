//! The limit of the sweep's benchmark: the visits are read, and the rows that the sweep would write are inserted, in the
//! same pages, into empty tables of the same form. Nothing is compared, no rule is looked at but the two that there are.

use anyhow::Result;
use chartwire::{
    db::{Command, Db, DbError, Tx, Value, sql, sql_built, sql_rows},
    kernel::{Id, Instruments, Tenant},
};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// As many visits as the sweep takes at once.
const PAGE: u32 = 100;
/// The days of the practice's rules.
const DAYS: [i64; 2] = [3, 1];

const READ: &str = "SELECT fhir_id, patient, status, start_at FROM appointment WHERE tenant = $1 \
                    AND (start_at, fhir_id) > ($2, $3) ORDER BY start_at, fhir_id LIMIT $4";
const PLAN: &str =
    "INSERT INTO bare_reminder_plan (tenant, appointment, start_at, days_before, patient, due_at, state)";
const JOB: &str = "INSERT INTO bare_job (tenant, id, kind, unique_key, payload, state, run_at, attempts, max_attempts, again, \
                   created_at)";

/// Which rows are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The plans.
    Plans,
    /// The plans, and the jobs that look at them when they are due.
    PlansAndJobs,
}

/// Kinds of what is written; here only for their ids.
enum Row {}

/// How long it takes for the visits of `tenant` after `now`.
pub(crate) async fn run(
    db: &Db,
    tenant: Id<Tenant>,
    (instruments, now): (&Instruments, Timestamp),
    rows: Rows,
) -> Result<Duration> {
    db.execute(Tables { make: true }).await?;
    let started = Instant::now();
    let mut after = (now, String::new());
    loop {
        let page = sql(READ).bind(tenant).bind(after.0).bind(after.1.as_str()).bind(PAGE);
        let mut visits = Vec::with_capacity(PAGE as usize);
        for row in db.all(page).await? {
            let status: String = row.get("status")?;
            let visit =
                Visit { appointment: row.get("fhir_id")?, patient: row.get("patient")?, start: row.get("start_at")? };
            if status == "booked" {
                visits.push(visit);
            }
        }
        let Some(last) = visits.last() else { break };
        after = (last.start, last.appointment.clone());
        let jobs = if rows == Rows::PlansAndJobs {
            (0..visits.len() * DAYS.len()).map(|_| instruments.new_id()).collect()
        } else {
            Vec::new()
        };
        db.execute(Write { tenant, visits, jobs, now }).await?;
    }
    let took = started.elapsed();
    db.execute(Tables { make: false }).await?;
    Ok(took)
}

struct Visit {
    appointment: String,
    patient: Id<Row>,
    start: Timestamp,
}

struct Write {
    tenant: Id<Tenant>,
    visits: Vec<Visit>,
    jobs: Vec<Id<Row>>,
    now: Timestamp,
}

impl Write {
    /// What each visit is reminded of, and when.
    fn reminders(&self) -> impl Iterator<Item = (&Visit, i64, Timestamp)> {
        let due = |visit: &Visit, days: i64| visit.start - SignedDuration::from_hours(24 * days);
        self.visits.iter().flat_map(move |visit| DAYS.map(|days| (visit, days, due(visit, days))))
    }

    fn plans(&self) -> Vec<Vec<Value>> {
        let plan = |(visit, days, due): (&Visit, i64, Timestamp)| {
            vec![
                self.tenant.into(),
                visit.appointment.as_str().into(),
                visit.start.into(),
                days.into(),
                visit.patient.into(),
                due.into(),
                "planned".into(),
            ]
        };
        self.reminders().map(plan).collect()
    }

    fn jobs(&self) -> Vec<Vec<Value>> {
        let job = |((visit, days, due), id): ((&Visit, i64, Timestamp), &Id<Row>)| {
            let (appointment, start) = (&visit.appointment, visit.start.as_millisecond());
            vec![
                self.tenant.into(),
                (*id).into(),
                "ReminderDue".into(),
                format!("{appointment}/{start}/{days}").into(),
                format!("{{\"appointment\":\"{appointment}\",\"start_at\":{start},\"days_before\":{days}}}").into(),
                "ready".into(),
                due.into(),
                0_i64.into(),
                160_i64.into(),
                0_i64.into(),
                self.now.into(),
            ]
        };
        self.reminders().zip(&self.jobs).map(job).collect()
    }
}

impl Command for Write {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql_rows(PLAN, self.plans(), "", tx.is_postgres())?).await?;
        if !self.jobs.is_empty() {
            tx.execute(sql_rows(JOB, self.jobs(), "", tx.is_postgres())?).await?;
        }
        Ok(())
    }
}

/// Empty tables with the columns, keys and indexes of those that the sweep writes.
struct Tables {
    make: bool,
}

impl Command for Tables {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for table in ["reminder_plan", "job"] {
            if !self.make {
                tx.execute(sql_built(format!("DROP TABLE bare_{table}"))).await?;
            } else if tx.is_postgres() {
                tx.execute(sql_built(format!("CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)"))).await?;
            } else {
                let query = sql("SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql IS NOT NULL").bind(table);
                for made in tx.all(query).await? {
                    let statement: String = made.get("sql")?;
                    tx.execute(sql_built(statement.replace(table, &format!("bare_{table}")))).await?;
                }
            }
        }
        Ok(())
    }
}
