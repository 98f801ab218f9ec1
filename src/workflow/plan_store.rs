//! The rows of planned reminders.
//!
//! Written in the step of the workflow that changes the visit, each with the job that looks at it when it is due.

use super::{
    REMINDER_DUE, ReminderDue,
    plan::{self, Plan, PlanState},
};
use crate::{
    db::{DbError, Query, Row, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Patient, Tenant},
    messaging,
    practice::Practice,
};
use jiff::Timestamp;
use std::sync::Arc;

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
        for plan in plan::replan(&existing, self.visit, &practice.reminders, &practice.zone, now) {
            tx.execute(
                sql("INSERT INTO reminder_plan (tenant, appointment, start_at, days_before, patient, due_at, state, reason) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, appointment, start_at, days_before) DO UPDATE SET \
                     patient = excluded.patient, due_at = excluded.due_at, state = excluded.state, reason = excluded.reason, message = NULL")
                .bind(tenant)
                .bind(self.appointment.clone())
                .bind(plan.start)
                .bind(plan.days_before)
                .bind(self.patient)
                .bind(plan.due)
                .bind(plan.state.code())
                .bind(plan.reason),
            )
            .await?;
            if plan.state == PlanState::Planned {
                enqueue(tx, &due_job(&self.instruments, tenant, &self.appointment, &plan)?).await?;
            }
        }
        Ok(())
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

/// The job that looks at a planned reminder when it is due.
pub(super) fn due_job(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    appointment: &str,
    plan: &Plan,
) -> Result<NewJob, DbError> {
    let due = ReminderDue {
        appointment: appointment.to_owned(),
        start_at: plan.start.as_millisecond(),
        days_before: plan.days_before,
    };
    let job = NewJob::new(instruments, tenant, REMINDER_DUE, &due);
    let job = job.map_err(|_| DbError::Decode { column: "payload" })?;
    Ok(job.unique(format!("{appointment}/{}/{}", due.start_at, due.days_before)).at(plan.due))
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
