//! Answers that no attempt could deal with: a person does, and the workflow is free again.

use super::{
    Workflows,
    claim::Memory,
    store::{REFILL, VISIT, WorkflowRow},
};
use crate::{
    access::Team,
    db::{Command, DbError, Tx, sql},
    intent::Urgency,
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Patient},
    messaging::{AboutText, Message},
    routing::{NewTask, TaskReason, open_task},
};
use jiff::{SignedDuration, Timestamp};

/// How soon handing an answer over is tried again.
const HAND_OVER_AGAIN: SignedDuration = SignedDuration::from_mins(1);

impl Workflows {
    /// The last resort of [`crate::routing::REPLY_READ`]: an answer that cannot be dealt with, or has not been after the
    /// last attempt, is left to a person, and what was claimed for it is let go.
    ///
    /// # Errors
    /// [`JobError::Postpone`] while the database is away.
    pub async fn reply_given_up(&self, job: LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let task = NewTask {
            id: self.instruments.new_id(),
            tenant: job.tenant,
            patient: None,
            message: Some(message),
            team: Team::Scheduling,
            reason: TaskReason::NotUnderstood,
            urgency: Urgency::Prompt,
            about: None,
            unique_key: format!("answer:{message}:given-up"),
            now: self.instruments.now(),
        };
        self.db.execute(GiveUp { message, task }).await.map_err(|error| {
            let until = self.instruments.now().checked_add(HAND_OVER_AGAIN).unwrap_or(Timestamp::MAX);
            JobError::Postpone { code: JobError::from(error).code(), until }
        })
    }
}

/// Leaves an answer to a person and lets go what was claimed for it.
struct GiveUp {
    message: Id<Message>,
    task: NewTask,
}

impl Command for GiveUp {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let mut task = self.task.clone();
        let asked = tx
            .optional(
                sql("SELECT q.patient, q.workflow FROM reading r JOIN question q ON q.tenant = r.tenant AND q.id = r.question \
                     WHERE r.tenant = $1 AND r.message = $2")
                .bind(task.tenant)
                .bind(self.message),
            )
            .await?;
        if let Some(asked) = asked {
            task.patient = Some(asked.get::<Id<Patient>>("patient")?);
            let row = tx.optional(WorkflowRow::with_id(task.tenant, asked.get("workflow")?)).await?;
            if let Some(row) = row.as_ref().map(WorkflowRow::read).transpose()? {
                task.about = (row.kind == VISIT).then(|| row.subject.clone());
                if row.kind == REFILL {
                    task.team = Team::Pharmacy;
                }
                if self.let_go(tx, row).await? {
                    // What was asked of the EHR before it failed, nobody here can tell.
                    task.reason = TaskReason::EhrUnknown;
                }
            }
        }
        open_task(tx, &task).await
    }
}

impl GiveUp {
    /// Ends the claim of the answer on its workflow. Answers whether there was one.
    async fn let_go(&self, tx: &mut Tx, mut row: WorkflowRow) -> Result<bool, DbError> {
        let mut memory = Memory::of(&row)?;
        if *memory.acting() != Some(self.message) {
            return Ok(false);
        }
        *memory.acting() = None;
        memory.with_staff().clone_into(&mut row.state);
        row.deadline = None;
        row.data = memory.written()?;
        if row.write(tx, self.task.now).await? { Ok(true) } else { Err(DbError::NotFound) }
    }
}
