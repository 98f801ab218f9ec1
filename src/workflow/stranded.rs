//! Times that the EHR keeps for a move that was not made: handles the job `SlotStranded`.

use super::{SlotStranded, Workflows, store::Appointment};
use crate::{
    access::Team,
    db::{Command, DbError, Tx},
    intent::Urgency,
    jobs::{LeasedJob, Outcome},
    routing::{NewTask, TaskReason, open_task},
};

impl Workflows {
    /// Asks the front desk to free the slot.
    ///
    /// # Errors
    /// [`JobError`](crate::jobs::JobError) as the database is away.
    pub async fn slot_stranded(&self, job: LeasedJob) -> Outcome {
        let SlotStranded { slot, appointment } = job.payload()?;
        let appointment = self.db.optional(Appointment::with_id(job.tenant, &appointment)).await?;
        let appointment = appointment.as_ref().map(Appointment::read).transpose()?;
        let task = NewTask {
            id: self.instruments.new_id(),
            tenant: job.tenant,
            patient: appointment.map(|appointment| appointment.patient),
            message: None,
            team: Team::Scheduling,
            reason: TaskReason::SlotHeld,
            urgency: Urgency::Prompt,
            unique_key: format!("slot-held:{slot}:{}", job.id),
            about: Some(slot),
            now: self.instruments.now(),
        };
        Ok(self.db.execute(OpenTask(task)).await?)
    }
}

struct OpenTask(NewTask);

impl Command for OpenTask {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        open_task(tx, &self.0).await
    }
}
