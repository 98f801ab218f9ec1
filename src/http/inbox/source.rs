//! What the inbox shows and does, as the pages see it. The composition root implements [`InboxSource`] over the rooms that
//! own messages, patients, consent and the chart; tests implement it with fixtures.
//!
//! What always holds: the source decides by the session's roles what is shown ([`Body::Redacted`] in place of a text that
//! is out of scope) and audits what it opened; the pages only lay it out.

mod consent;
mod thread;
mod worklist;

pub use consent::{
    CategoryConsent, ConsentRecord, ConsentState, ConsentView, ConsentWording, NumberConsent, NumberStopped,
    PatientsWord, StoppedBy, ToldByPatient,
};
pub use thread::{
    Body, ConsentLine, Delivery, DeliveryState, Filing, FilingState, PatientHeader, Reading, TaskView, TextAuthor,
    TextView, ThreadView, Urgency, Visit,
};
pub use worklist::{Candidate, Waiting, WaitingText, WorklistItem, WorklistSource, WorklistView};

use crate::{
    access::ActiveSession,
    http::RequestId,
    kernel::{Id, Patient, Phi, Tenant},
    routing::InForce,
};
use futures_util::future::BoxFuture;
use jiff::{Timestamp, tz::TimeZone};

/// Marks ids of texts in a thread. The same bytes as the message's own id.
pub enum ThreadText {}

/// Marks ids of tasks beside a thread. The same bytes as the task's own id.
pub enum ThreadTask {}

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The session that the request stands on.
    pub session: ActiveSession,
    /// The request, for the audit rows that it causes.
    pub request: RequestId,
}

impl Viewer {
    /// Where the pages of this launch are. What is asked for under another address does not belong to it.
    #[must_use]
    pub fn address(&self) -> String {
        super::address(self.session.id)
    }

    /// The launched patient.
    ///
    /// # Errors
    /// [`InboxError::NotFound`] when the inbox was launched without one.
    pub fn patient(&self) -> Result<Id<Patient>, InboxError> {
        self.session.patient.ok_or(InboxError::NotFound)
    }
}

/// Where a tenant's inbox may be embedded, and where it lives itself.
#[derive(Debug, Clone, Default)]
pub struct Embedding {
    /// Origins of the EHR, for `frame-ancestors`. Empty: nowhere.
    pub frame_ancestors: Vec<String>,
    /// The origins under which browsers reach us, for the check of `Origin`.
    pub own_origins: Vec<String>,
}

/// Answers of an [`InboxSource`].
pub type Answer<'a, T> = BoxFuture<'a, Result<T, InboxError>>;

/// The rooms below, as the inbox needs them.
pub trait InboxSource: WorklistSource + Send + Sync + 'static {
    /// Where the tenant's inbox may be embedded. Without a tenant (nobody is signed in): wherever any tenant's may.
    fn embedding(&self, tenant: Option<Id<Tenant>>) -> Embedding;

    /// The clinic's zone: every time is shown in it.
    fn zone(&self, tenant: Id<Tenant>) -> TimeZone;

    /// The thread with the launched patient.
    fn thread<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ThreadView>;

    /// What the gate and the guard would say of this reply.
    fn check<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, text: &'a Phi<String>) -> Answer<'a, DraftCheck>;

    /// Queues a reply, if it may leave.
    fn reply<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, reply: &'a NewReply) -> Answer<'a, ReplyOutcome>;

    /// Settles a text of which nobody knows whether it left.
    fn settle<'a>(
        &'a self,
        viewer: &'a Viewer,
        patient: Id<Patient>,
        text: Id<ThreadText>,
        verdict: Verdict,
    ) -> Answer<'a, ()>;

    /// Closes a task of this patient as done.
    fn close_task<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, task: Id<ThreadTask>) -> Answer<'a, ()>;

    /// What the launched patient said about texts.
    fn consent<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ConsentView>;

    /// Records what the patient told the person, and puts it in force.
    fn record_consent<'a>(
        &'a self,
        viewer: &'a Viewer,
        patient: Id<Patient>,
        told: &'a ToldByPatient,
    ) -> Answer<'a, InForce>;
}

/// Why the inbox cannot do as asked.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// There is no such patient, text or task for this session.
    #[error("not found for this session")]
    NotFound,
    /// The session's roles do not allow it.
    #[error("the role does not allow it")]
    NotAllowed,
    /// It has changed meanwhile: settled, closed or stopped by somebody else.
    #[error("it has changed meanwhile")]
    Changed,
    /// It cannot be done now.
    #[error("not available now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A mistake of the program.
    #[error("failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether and how the person may answer.
#[derive(Debug, Clone)]
pub enum Composer {
    /// A reply may be written.
    Open {
        /// Since when quiet hours are on and when they end: a reply waits until then unless the person decides otherwise.
        quiet_until: Option<Timestamp>,
        /// What to be careful about, in a sentence each: unverified number, a reply by somebody else a moment ago.
        warnings: Vec<String>,
    },
    /// No text may leave, whatever is written.
    Blocked(Blocked),
}

/// Why no reply may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// The number said STOP.
    Stopped,
    /// The patient has not agreed to such texts.
    NoConsent,
    /// There is no number that takes texts.
    NoNumber,
    /// The role reads only.
    ReadOnly,
    /// The patient has died.
    Deceased,
    /// The system was restored from a backup, and texts are held until that is recovered.
    Recovering,
}

/// What the gate and the guard would say of a reply.
#[derive(Debug, Clone)]
pub struct DraftCheck {
    /// How many segments the carrier bills.
    pub segments: u32,
    /// In which encoding.
    pub encoding: Encoding,
    /// What must not leave like this.
    pub findings: Vec<DraftFinding>,
    /// The same text in words that may leave, if there are any.
    pub neutral: Option<Phi<String>>,
    /// Why nothing may leave at all.
    pub blocked: Option<Blocked>,
    /// Until when the reply waits unless the person decides otherwise.
    pub quiet_until: Option<Timestamp>,
}

/// How a text is encoded on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 3GPP TS 23.038's default alphabet: 160 characters in one segment.
    Gsm7,
    /// UCS-2: 70 characters in one segment.
    Ucs2,
}

/// Words that must not leave.
#[derive(Debug, Clone)]
pub struct DraftFinding {
    /// The guard's category, such as `medication_name`.
    pub category: &'static str,
    /// Where they begin, in characters (Unicode scalar values).
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// Why, and what to write instead, in a sentence.
    pub advice: String,
}

/// A reply as the person sent it off.
#[derive(Debug, Clone)]
pub struct NewReply {
    /// The text.
    pub text: Phi<String>,
    /// Made with the form: the same reply sent off twice is one reply.
    pub once: String,
    /// The person chose to send in quiet hours.
    pub override_quiet_hours: bool,
}

/// What became of a reply.
#[derive(Debug, Clone)]
pub enum ReplyOutcome {
    /// It is committed and on its way through the gate.
    Queued,
    /// It is committed and waits for the end of quiet hours.
    Waits(Timestamp),
    /// It may not leave as it stands.
    Refused(DraftCheck),
}

/// What a person decides about a text of which nobody knows whether it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It counts as sent; nothing leaves.
    Sent,
    /// It counts as not sent and is sent again.
    NotSent,
}
