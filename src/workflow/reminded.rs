//! What became of the text of a reminder or a notice: handles messaging's `TextChanged`, as far as workflows go.
//!
//! Always: a planned reminder ends as its text has ended; visits whose joint text became untrue because of one of them
//! are reminded of anew.

use super::{
    Workflows,
    plan::{Plan, PlanState},
    plan_store::{due_job, read_plan},
    store::Appointment,
};
use crate::{
    db::{Command, DbError, Row, Tx, sql},
    jobs::{Outcome, enqueue},
    kernel::{Id, Instruments, Tenant},
    messaging::{Message, gate::DropReason, state},
};

impl Workflows {
    /// Takes notice of a text that has changed. Nothing happens the second time.
    ///
    /// # Errors
    /// [`JobError`](crate::jobs::JobError) when the database is away, or while the workflow has moved on meanwhile.
    pub async fn text_changed(&self, tenant: Id<Tenant>, message: Id<Message>) -> Outcome {
        self.notice_changed(tenant, message).await?;
        let query = sql("SELECT 1 AS planned FROM reminder_plan WHERE tenant = $1 AND message = $2 LIMIT 1");
        if self.db.optional(query.bind(tenant).bind(message)).await?.is_none() {
            return Ok(());
        }
        let end = EndWithText { tenant, message, instruments: self.instruments.clone() };
        Ok(self.db.execute(end).await?)
    }
}

/// What a text in this state means for the reminder that it is; `None`: it is still under way.
fn plan_state(stored: &str) -> Option<PlanState> {
    match stored {
        state::ACCEPTED | state::SENT | state::DELIVERED => Some(PlanState::Sent),
        state::UNDELIVERED | state::FAILED | state::DROPPED => Some(PlanState::Failed),
        _ => None,
    }
}

/// Brings the reminders that a text stands for in line with it.
struct EndWithText {
    tenant: Id<Tenant>,
    message: Id<Message>,
    instruments: Instruments,
}

impl Command for EndWithText {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let query = sql("SELECT state, state_reason FROM message WHERE tenant = $1 AND id = $2");
        let text = tx.one(query.bind(self.tenant).bind(self.message)).await?;
        let (stored, reason): (String, Option<String>) = (text.get("state")?, text.get("state_reason")?);
        if stored == state::DROPPED && reason.as_deref() == Some(DropReason::NoLongerTrue.code()) {
            return self.untrue(tx).await;
        }
        let had_left = stored == state::DROPPED && reason.as_deref() == Some(DropReason::SentBefore.code());
        let ended = if had_left { Some(PlanState::Sent) } else { plan_state(&stored) };
        let Some(ended) = ended else { return Ok(()) };
        tx.execute(
            sql("UPDATE reminder_plan SET state = $3, reason = $4 WHERE tenant = $1 AND message = $2")
                .bind(self.tenant)
                .bind(self.message)
                .bind(ended.code())
                .bind(reason.filter(|_| ended == PlanState::Failed)),
        )
        .await
        .map(|_| ())
    }
}

impl EndWithText {
    /// One of the visits is not when the text says. The others still are, and nobody has been reminded of them.
    async fn untrue(&self, tx: &mut Tx) -> Result<(), DbError> {
        let rows = tx
            .all(
                sql("SELECT appointment, start_at, days_before, due_at, state, reason FROM reminder_plan \
                     WHERE tenant = $1 AND message = $2 ORDER BY appointment, start_at, days_before")
                .bind(self.tenant)
                .bind(self.message),
            )
            .await?;
        for row in &rows {
            self.plan_anew(tx, row).await?;
        }
        Ok(())
    }

    async fn plan_anew(&self, tx: &mut Tx, row: &Row) -> Result<(), DbError> {
        let (appointment, plan): (String, Plan) = (row.get("appointment")?, read_plan(row)?);
        let visit = tx.optional(Appointment::with_id(self.tenant, &appointment)).await?;
        let visit = visit.as_ref().map(Appointment::read).transpose()?.and_then(|visit| visit.visit());
        let stands = visit == Some(plan.start);
        let (state, reason) =
            if stands { (PlanState::Planned, None) } else { (PlanState::Dropped, Some("visit-changed")) };
        tx.execute(
            sql("UPDATE reminder_plan SET state = $5, reason = $6, message = NULL \
                 WHERE tenant = $1 AND appointment = $2 AND start_at = $3 AND days_before = $4")
            .bind(self.tenant)
            .bind(appointment.clone())
            .bind(plan.start)
            .bind(plan.days_before)
            .bind(state.code())
            .bind(reason),
        )
        .await?;
        if stands { enqueue(tx, &due_job(&self.instruments, self.tenant, &appointment, &plan)?).await } else { Ok(()) }
    }
}
