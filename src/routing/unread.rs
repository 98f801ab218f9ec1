//! Texts that the program cannot read: a person reads them, and nothing waits for them any longer.

use super::{NewTask, ReplyReader, StaffTask, TaskReason, open_task};
use crate::{
    access::Team,
    consent::{self, Source},
    db::{Command, DbError, Tx, sql},
    intent::Urgency,
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Patient, Tenant},
    messaging::{self, AboutText, Conversation, state, thread::TextRecord},
};
use jiff::{SignedDuration, Timestamp};

/// How soon handing a text over is tried again.
const HAND_OVER_AGAIN: SignedDuration = SignedDuration::from_mins(1);

impl ReplyReader {
    /// Handles [`messaging::TEXT_RECEIVED`]. What cannot be read, or has not been after many attempts, is left to a
    /// person: the last attempt does nothing else, so that neither a panic nor a time-out can keep a text unseen.
    ///
    /// # Errors
    /// [`JobError::Retry`] when something is away, or another question was opened meanwhile.
    pub async fn read(&self, job: LeasedJob) -> Outcome {
        let outcome =
            if job.is_last_attempt() { Err(JobError::dead("not-read")) } else { self.read_text(job.clone()).await };
        let Err(JobError::Dead { code }) = outcome else { return outcome };
        tracing::error!(job = %job.id, code, "a text cannot be read; a person is asked to");
        match self.leave_to_person(&job).await {
            Err(JobError::Retry { code, .. }) => {
                let until = self.instruments.now().checked_add(HAND_OVER_AGAIN).unwrap_or(Timestamp::MAX);
                Err(JobError::Postpone { code, until })
            }
            handed_over => handed_over,
        }
    }

    async fn leave_to_person(&self, job: &LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let Some(text) = self.thread.find(job.tenant, message).await? else { return Ok(()) };
        // What keeps the text from being read may keep its patients from being found.
        let patients = self.directory.with_number(job.tenant, &text.number_token).await.unwrap_or_default();
        let patient = if let [alone] = patients.as_slice() { Some(alone.id) } else { None };
        let task = NewTask {
            id: self.instruments.new_id::<StaffTask>(),
            tenant: job.tenant,
            patient,
            message: Some(message),
            // It may say anything: nurses may read that.
            team: Team::Nursing,
            reason: TaskReason::NotUnderstood,
            urgency: Urgency::Prompt,
            about: None,
            unique_key: format!("reply:{message}"),
            now: self.instruments.now(),
        };
        let command = LeaveToPerson {
            tenant: job.tenant,
            patient,
            task,
            conversation: self.instruments.new_id(),
            changed: messaging::changed_job(&self.instruments, job.tenant, message, &text.number_token)?,
            text,
            job: job.clone(),
        };
        Ok(self.db.execute(command).await?)
    }
}

struct LeaveToPerson {
    tenant: Id<Tenant>,
    text: TextRecord,
    patient: Option<Id<Patient>>,
    task: NewTask,
    conversation: Id<Conversation>,
    changed: NewJob,
    job: LeasedJob,
}

impl Command for LeaveToPerson {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let Self { tenant, text, patient, task, .. } = self;
        messaging::lock_line(tx, *tenant, &text.number_token).await?;
        let waits = sql("SELECT 1 AS waits FROM message WHERE tenant = $1 AND id = $2 AND state = $3");
        if tx.optional(waits.bind(*tenant).bind(text.id).bind(state::RECEIVED)).await?.is_some() {
            messaging::mark_read(tx, *tenant, text, self.conversation, *patient, text.language, task.now).await?;
            // The carrier has said what the text is: that needs no reading.
            if text.state_reason.as_deref() == Some("stop") {
                consent::suppress(tx, *tenant, &text.number_token, Source::Stop, task.now).await?;
            }
            open_task(tx, task).await?;
            enqueue(tx, &self.changed).await?;
            messaging::note_read(tx, *tenant, &text.number_token, task.now).await?;
        }
        self.job.finish_in(tx).await
    }
}
