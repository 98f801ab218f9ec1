//! Visits to come that are known and not planned, in no order that an index would like.

use anyhow::Result;
use chartwire::{
    db::{Command, Db, DbError, Tx, Value, sql_rows},
    kernel::{Id, Instruments, Tenant},
};
use jiff::{SignedDuration, Timestamp};

/// How many are written at once.
const BATCH: usize = 1_000;
/// How long sealed names of provider and place are.
const LABELS: usize = 96;

const VISIT: &str = "INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, version, practitioner, \
                     location, slots, labels, seen_at)";
const WORKFLOW: &str = "INSERT INTO workflow (tenant, id, kind, state, patient, our_number, number_token, subject, data, \
                        revision, created_at, updated_at)";

/// The first visit and the time between the first and the last: every reminder is still to come.
pub(crate) const FIRST_IN: SignedDuration = SignedDuration::from_hours(5 * 24);
pub(crate) const WITHIN: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Kinds of what is written; here only for their ids.
enum Row {}

/// Makes `count` visits of `tenant`, evenly over the time, from `now`.
pub(crate) async fn seed(
    db: &Db,
    tenant: Id<Tenant>,
    instruments: &Instruments,
    now: Timestamp,
    count: usize,
) -> Result<()> {
    for from in (0..count).step_by(BATCH) {
        let mut visits = Vec::with_capacity(BATCH);
        for rank in from..(from + BATCH).min(count) {
            visits.push(Visit {
                appointment: appointment(rank),
                patient: instruments.new_id(),
                workflow: instruments.new_id(),
                start: start(now, rank, count)?,
            });
        }
        db.execute(Write { tenant, visits, now }).await?;
    }
    Ok(())
}

/// As an EHR would name it: ids tell nothing of the time.
fn appointment(rank: usize) -> String {
    format!("e{:016x}", (rank as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Several at each full minute.
fn start(now: Timestamp, rank: usize, count: usize) -> Result<Timestamp> {
    let minutes = i64::try_from(rank)? * WITHIN.as_mins() / i64::try_from(count)?;
    Ok(now.checked_add(FIRST_IN)?.checked_add(SignedDuration::from_mins(minutes))?)
}

struct Visit {
    appointment: String,
    patient: Id<Row>,
    workflow: Id<Row>,
    start: Timestamp,
}

struct Write {
    tenant: Id<Tenant>,
    visits: Vec<Visit>,
    now: Timestamp,
}

impl Write {
    fn visit(&self, visit: &Visit) -> Vec<Value> {
        vec![
            self.tenant.into(),
            visit.appointment.as_str().into(),
            visit.patient.into(),
            "booked".into(),
            visit.start.into(),
            visit.start.into(),
            "1".into(),
            "Practitioner/practitioner-1".into(),
            "Location/location-1".into(),
            "[]".into(),
            vec![7; LABELS].into(),
            self.now.into(),
        ]
    }

    fn workflow(&self, visit: &Visit) -> Vec<Value> {
        vec![
            self.tenant.into(),
            visit.workflow.into(),
            "visit".into(),
            "known".into(),
            visit.patient.into(),
            "+12125550199".into(),
            Vec::new().into(),
            format!("Appointment/{}", visit.appointment).into(),
            format!("{{\"start\":\"{}\",\"location\":\"Location/location-1\",\"together\":[]}}", visit.start).into(),
            1_i64.into(),
            self.now.into(),
            self.now.into(),
        ]
    }
}

impl Command for Write {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let (visits, workflows) = self.visits.iter().map(|visit| (self.visit(visit), self.workflow(visit))).unzip();
        tx.execute(sql_rows(VISIT, visits, "", tx.is_postgres())?).await?;
        tx.execute(sql_rows(WORKFLOW, workflows, "", tx.is_postgres())?).await?;
        Ok(())
    }
}
