//! What waits that is not known to be about one patient, as the pages see it.

use super::{Answer, Body, TaskView, ThreadTask, ThreadText, Urgency, Viewer};
use crate::kernel::{Id, Patient, Phi};
use jiff::Timestamp;

/// The worklist, as the inbox needs it.
pub trait WorklistSource: Send + Sync + 'static {
    /// What waits for the session's roles.
    fn worklist<'a>(&'a self, viewer: &'a Viewer) -> Answer<'a, WorklistView>;

    /// Says whose a text is. The patient is one of its candidates.
    fn assign<'a>(&'a self, viewer: &'a Viewer, task: Id<ThreadTask>, patient: Id<Patient>) -> Answer<'a, ()>;

    /// Closes a task of the worklist as done.
    fn close_waiting<'a>(&'a self, viewer: &'a Viewer, task: Id<ThreadTask>) -> Answer<'a, ()>;
}

/// How much waits on the worklist for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many tasks.
    pub tasks: u32,
    /// The most urgent of them.
    pub urgency: Option<Urgency>,
}

/// The worklist.
#[derive(Debug, Clone)]
pub struct WorklistView {
    /// The clinic's name.
    pub clinic: String,
    /// The most urgent first.
    pub items: Vec<WorklistItem>,
    /// Whether there is more than is shown.
    pub has_more: bool,
}

/// Something that waits.
#[derive(Debug, Clone)]
pub struct WorklistItem {
    /// What is to be done.
    pub task: TaskView,
    /// The text that it is about, if it is about one.
    pub text: Option<WaitingText>,
}

/// A text that nobody knows to be one patient's.
#[derive(Debug, Clone)]
pub struct WaitingText {
    /// Its id.
    pub id: Id<ThreadText>,
    /// When it came.
    pub at: Timestamp,
    /// Its number, as people write it, or as it came where it is none.
    pub number: Phi<String>,
    /// The number for a link that dials it.
    pub dials: Option<Phi<String>>,
    /// The text, or that there is one.
    pub body: Body,
    /// Pictures and files that came with it.
    pub media: u32,
    /// Who has the number.
    pub candidates: Vec<Candidate>,
}

/// A patient who has the number of a text.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Who.
    pub patient: Id<Patient>,
    /// The whole name.
    pub name: Phi<String>,
    /// Sex and age as the clinic writes them, such as `F 41`.
    pub details: Phi<String>,
}
