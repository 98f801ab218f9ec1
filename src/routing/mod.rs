//! Reading replies into answers for workflows and work for people.
//!
//! Owns what an inbound text was read as and which team must act on what. Called by the job `TextReceived`; hands
//! certain answers up as [`REPLY_READ`]. Always: whatever is not understood goes to a person, never to a guess; STOP is
//! in force before anything else that waits for the number can leave, because the same transaction reads and
//! suppresses; a text that names danger reaches a person whatever else it says; what did not reach the patient reaches a
//! person where one has to act.

mod asked;
mod assign;
mod compliance;
mod ending;
mod endings;
mod reply;
mod task;
mod told;
mod triage;
mod unassigned;
mod unread;
mod whose;

pub use assign::{AssignText, Assigned};
pub use endings::TextEndings;
pub use reply::ReplyReader;
pub use task::{CloseTask, NewTask, StaffTask, TaskReason, TaskView, open_task, open_tasks, tell_pages};
pub use told::{InForce, ToldConsent};
pub use unassigned::{Unassigned, how_many_unassigned, is_unassigned, unassigned};

/// A reply has been read and answers what a workflow asked; the payload is [`crate::messaging::AboutText`].
pub const REPLY_READ: &str = "ReplyRead";
