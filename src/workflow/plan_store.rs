//! The rows of planned reminders.
//!
//! Written in the step of the workflow that changes the visit, each with the job that looks at it when it is due.

use super::{
    REMINDER_DUE, ReminderDue,
    plan::{self, Plan, PlanState},
};
use crate::{
    db::{DbError, Query, Row, Tx, Value, sql, sql_rows},
    jobs::{NewJob, enqueue, enqueue_all, withdraw_all},
    kernel::{Id, Instruments, Patient, Tenant},
    messaging,
    practice::Practice,
};
use jiff::Timestamp;
use std::sync::Arc;

/// How many rows a statement writes at most.
const ROWS: usize = 500;

/// Brings the plans of a visit in line with when it is now.
#[derive(Clone)]
pub(super) struct Replan {
    pub(super) practice: Arc<Practice>,
    pub(super) instruments: Instruments,
    pub(super) appointment: String,
    pub(super) patient: Id<Patient>,
    /// When it is; `None`: it is off.
    pub(super) visit: Option<Timestamp>,
}

impl Replan {
    /// Writes what changes, in the step's transaction.
    pub(super) async fn apply(&self, tx: &mut Tx) -> Result<(), DbError> {
        let (tenant, now) = (self.practice.tenant, self.instruments.now());
        let rows = tx.all(plans_of(tenant, &self.appointment)).await?;
        let existing = rows.iter().map(read_plan).collect::<Result<Vec<Plan>, DbError>>()?;
        self.release_joined(tx, &existing).await?;
        let practice = &self.practice;
        let changes = plan::replan(&existing, self.visit, &practice.reminders, &practice.zone, now);
        let change = |plan| PlanChange { appointment: self.appointment.clone(), patient: self.patient, plan };
        let changes = PlanChanges::new(&self.instruments, tenant, changes.into_iter().map(change).collect())?;
        changes.write(tx).await
    }

    /// A text about several visits that has not left says something untrue once one of them moves: the gate drops it, so
    /// the others are reminded of anew.
    async fn release_joined(&self, tx: &mut Tx, existing: &[Plan]) -> Result<(), DbError> {
        let moved = existing.iter().filter(|plan| plan.state == PlanState::Queued && Some(plan.start) != self.visit);
        for plan in moved {
            let rows = tx
                .all(
                    sql("UPDATE reminder_plan SET state = 'planned', message = NULL WHERE tenant = $1 AND appointment <> $2 AND message IN \
                         (SELECT p.message FROM reminder_plan p JOIN message m ON m.tenant = p.tenant AND m.id = p.message \
                          AND (m.state = 'queued' OR (m.state = 'dropped' AND m.state_reason = 'no-longer-true')) \
                          WHERE p.tenant = $1 AND p.appointment = $2 AND p.start_at = $3 AND p.days_before = $4) \
                         RETURNING appointment, start_at, days_before, due_at, state, reason")
                    .bind(self.practice.tenant)
                    .bind(self.appointment.clone())
                    .bind(plan.start)
                    .bind(plan.days_before),
                )
                .await?;
            for row in &rows {
                let (appointment, plan): (String, Plan) = (row.get("appointment")?, read_plan(row)?);
                enqueue(tx, &due_job(&self.instruments, self.practice.tenant, &appointment, &plan)?).await?;
            }
        }
        Ok(())
    }
}

/// What becomes of a plan of an appointment.
#[derive(Debug, Clone)]
pub(super) struct PlanChange {
    pub(super) appointment: String,
    pub(super) patient: Id<Patient>,
    pub(super) plan: Plan,
}

/// Changes of plans with their jobs, to be written together.
pub(super) struct PlanChanges {
    tenant: Id<Tenant>,
    changes: Vec<PlanChange>,
    jobs: Vec<NewJob>,
}

impl PlanChanges {
    pub(super) fn new(
        instruments: &Instruments,
        tenant: Id<Tenant>,
        changes: Vec<PlanChange>,
    ) -> Result<Self, DbError> {
        let planned = changes.iter().filter(|change| change.plan.state == PlanState::Planned);
        let job = |change: &PlanChange| due_job(instruments, tenant, &change.appointment, &change.plan);
        let jobs = planned.map(job).collect::<Result<_, DbError>>()?;
        Ok(Self { tenant, changes, jobs })
    }

    /// What is to be written, for those who count.
    pub(super) fn all(&self) -> &[PlanChange] {
        &self.changes
    }

    /// Writes them, some hundred rows with each statement. What has left or is about to is not written over, whoever was
    /// faster.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), DbError> {
        for changes in self.changes.chunks(ROWS) {
            let rows = changes.iter().map(|change| self.columns(change)).collect();
            let upsert = sql_rows(
                "INSERT INTO reminder_plan (tenant, appointment, start_at, days_before, patient, due_at, state, reason)",
                rows,
                "ON CONFLICT (tenant, appointment, start_at, days_before) DO UPDATE SET patient = excluded.patient, \
                 due_at = excluded.due_at, state = excluded.state, reason = excluded.reason, message = NULL \
                 WHERE reminder_plan.state IN ('planned', 'dropped', 'skipped')",
                tx.is_postgres(),
            )?;
            tx.execute(upsert).await?;
        }
        let jobs: Vec<&NewJob> = self.jobs.iter().collect();
        for jobs in jobs.chunks(ROWS) {
            enqueue_all(tx, jobs).await?;
        }
        let dropped = self.changes.iter().filter(|change| change.plan.state == PlanState::Dropped);
        let keys: Vec<String> = dropped.map(|change| due_of(&change.appointment, &change.plan).key()).collect();
        for keys in keys.chunks(ROWS) {
            withdraw_all(tx, self.tenant, REMINDER_DUE, keys).await?;
        }
        Ok(())
    }

    fn columns(&self, PlanChange { appointment, patient, plan }: &PlanChange) -> Vec<Value> {
        vec![
            self.tenant.into(),
            appointment.as_str().into(),
            plan.start.into(),
            plan.days_before.into(),
            (*patient).into(),
            plan.due.into(),
            plan.state.code().into(),
            plan.reason.into(),
        ]
    }
}

fn due_of(appointment: &str, plan: &Plan) -> ReminderDue {
    ReminderDue {
        appointment: appointment.to_owned(),
        start_at: plan.start.as_millisecond(),
        days_before: plan.days_before,
    }
}

/// The job that looks at a planned reminder when it is due.
pub(super) fn due_job(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    appointment: &str,
    plan: &Plan,
) -> Result<NewJob, DbError> {
    let due = due_of(appointment, plan);
    let job = NewJob::new(instruments, tenant, REMINDER_DUE, &due);
    let job = job.map_err(|_| DbError::Decode { column: "payload" })?;
    Ok(job.unique(due.key()).at(plan.due))
}

/// Every plan of an appointment.
pub(super) fn plans_of(tenant: Id<Tenant>, appointment: &str) -> Query {
    sql(
        "SELECT start_at, days_before, due_at, state, reason FROM reminder_plan WHERE tenant = $1 AND appointment = $2 \
         ORDER BY start_at, due_at",
    )
    .bind(tenant)
    .bind(appointment)
}

pub(super) fn read_plan(row: &Row) -> Result<Plan, DbError> {
    Ok(Plan {
        start: row.get("start_at")?,
        days_before: row.get("days_before")?,
        due: row.get("due_at")?,
        state: PlanState::from_code(&row.get::<String>("state")?).ok_or(DbError::Decode { column: "state" })?,
        reason: None,
    })
}

/// Ends a planned reminder, or notes the text that it became. `false`: it is not planned any more.
pub(super) async fn end_plan(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    due: &ReminderDue,
    state: PlanState,
    reason: Option<&'static str>,
    message: Option<Id<messaging::Message>>,
) -> Result<bool, DbError> {
    let ended = tx
        .execute(
            sql("UPDATE reminder_plan SET state = $5, reason = $6, message = $7 \
                 WHERE tenant = $1 AND appointment = $2 AND start_at = $3 AND days_before = $4 AND state = 'planned'")
            .bind(tenant)
            .bind(due.appointment.clone())
            .bind(due.start_at)
            .bind(due.days_before)
            .bind(state.code())
            .bind(reason)
            .bind(message),
        )
        .await?;
    Ok(ended == 1)
}
