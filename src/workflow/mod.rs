//! Workflows over appointments and prescriptions, durable.
//!
//! Owns the conversation about each visit and each refill: a row per workflow, whose every step is one transaction from
//! the revision that it was decided on, together with the texts, the work for people and the jobs that it causes. Called
//! by jobs that `app` binds: `AppointmentChanged` ([`Workflows::appointment_changed`]), [`REMINDER_DUE`], `ReplyRead`
//! ([`Workflows::reply_read`], [`Workflows::reply_given_up`]), `SlotStranded` ([`Workflows::slot_stranded`]),
//! `TextChanged` ([`Workflows::text_changed`]), [`WORKFLOW_TIMEOUT`], [`SWEEP_REMINDERS`] ([`Workflows::sweep`]),
//! `RefillDue` and `RefillTaskChanged`. What it needs of
//! the EHR is in [`ports`](Scheduling). Always: a handler may run twice; before an answer is acted on the appointment is
//! read again; nothing is said to be done that the EHR has not confirmed (law 6).

mod answer;
mod cancel;
mod claim;
mod give_up;
mod plan;
mod plan_store;
mod ports;
mod refill;
mod relevance;
mod reminded;
mod reminder;
mod reschedule;
mod schedule_change;
mod store;
mod stranded;
mod sweep;
#[cfg(test)]
mod tests;
mod texts;
mod visit;

pub use crate::messaging::Workflow;
pub use ports::{
    AppointmentState, ChangeOutcome, EhrTrouble, FreeSlot, Move, MoveOutcome, RefillStatus, RefillWish, Refills,
    RequestOutcome, Scheduling, SlotWish, VisitChange,
};
pub use relevance::AppointmentRelevance;

use crate::{
    db::{Command, Db},
    jobs::JobError,
    kernel::{Id, Instruments, Patient, Tenant},
    messaging::{MessagingError, NewText, Outbox, PreparedText, thread::Thread},
    patient::Directory,
    practice::{Practice, Practices},
    vault::Vault,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A planned reminder may be due; the payload is [`ReminderDue`].
pub const REMINDER_DUE: &str = "ReminderDue";
/// A workflow's deadline may have passed; the payload is [`WorkflowTimeout`].
pub const WORKFLOW_TIMEOUT: &str = "WorkflowTimeout";

/// Every known visit is to be planned anew; carries nothing.
pub const SWEEP_REMINDERS: &str = "SweepReminders";

/// The payload of the job `AppointmentChanged`, as far as it is needed here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppointmentChanged {
    /// The appointment's FHIR id.
    pub appointment: String,
}

/// The payload of [`REMINDER_DUE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReminderDue {
    /// The appointment's FHIR id.
    pub appointment: String,
    /// The start that the reminder is for, in unix milliseconds.
    pub start_at: i64,
    /// The rule's days.
    pub days_before: u32,
}

impl ReminderDue {
    /// The unique key of its job.
    fn key(&self) -> String {
        format!("{}/{}/{}", self.appointment, self.start_at, self.days_before)
    }
}

/// The payload of [`WORKFLOW_TIMEOUT`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct WorkflowTimeout {
    /// The workflow.
    pub workflow: Id<Workflow>,
}

/// The payload of the job `RefillDue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefillDue {
    /// The FHIR id of the prescription.
    pub medication_request: String,
    /// Whose it is.
    pub patient: Id<Patient>,
    /// The day on which it falls due, as `2026-12-01`.
    pub due_on: String,
}

/// The payload of the job `RefillTaskChanged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefillTaskChanged {
    /// The task, as `Task/123`.
    pub task: String,
}

/// The payload of the job `SlotStranded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStranded {
    /// The slot, as `Slot/1`.
    pub slot: String,
    /// The appointment that was to be moved there, by its FHIR id.
    pub appointment: String,
}

/// Every workflow of every tenant.
#[derive(Clone)]
pub struct Workflows {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    practices: Arc<Practices>,
    directory: Directory,
    thread: Thread,
    outbox: Outbox,
    scheduling: Arc<dyn Scheduling>,
    refills: Arc<dyn Refills>,
    /// Held while a page of a sweep is written.
    sweeping: Arc<Mutex<()>>,
}

impl Workflows {
    /// Workflows over these rooms and this EHR.
    #[must_use]
    pub fn new(
        db: Db,
        vault: Vault,
        instruments: Instruments,
        practices: Arc<Practices>,
        directory: Directory,
        scheduling: Arc<dyn Scheduling>,
        refills: Arc<dyn Refills>,
    ) -> Self {
        let thread = Thread::new(db.clone(), vault.clone(), instruments.clone());
        let outbox = Outbox::new(vault.clone(), instruments.clone());
        Self {
            db,
            vault,
            instruments,
            practices,
            directory,
            thread,
            outbox,
            scheduling,
            refills,
            sweeping: Arc::default(),
        }
    }

    fn practice(&self, tenant: Id<Tenant>) -> Result<Arc<Practice>, JobError> {
        Ok(self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?)
    }

    /// Seals `texts`, which a step then queues.
    async fn prepare(&self, texts: Vec<NewText>) -> Result<Vec<PreparedText>, JobError> {
        let mut prepared = Vec::with_capacity(texts.len());
        for text in texts {
            prepared.push(self.outbox.prepare(text).await?);
        }
        Ok(prepared)
    }

    /// Writes a step, or has the job judge anew when somebody else was faster.
    async fn commit<C>(&self, step: C) -> Result<(), JobError>
    where
        C: Command<Output = bool>,
        JobError: From<C::Error>,
    {
        if self.db.execute(step).await? { Ok(()) } else { Err(JobError::retry("workflow-moved-on")) }
    }
}
