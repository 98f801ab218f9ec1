//! The launched patient's thread, as the pages see it.

use super::{Composer, ThreadTask, ThreadText, Waiting};
use crate::{
    access::{Scope, Team},
    kernel::{Id, Language, Phi},
};
use jiff::Timestamp;

/// The whole page, as data.
#[derive(Debug, Clone)]
pub struct ThreadView {
    /// The clinic's name.
    pub clinic: String,
    /// Whose thread it is.
    pub patient: PatientHeader,
    /// The next visit, if there is one.
    pub next_visit: Option<Visit>,
    /// What the patient agreed to.
    pub consent: ConsentLine,
    /// How many other patients have the same number.
    pub shared_with: u32,
    /// The newest texts, oldest first.
    pub texts: Vec<TextView>,
    /// Whether there are older ones that are not shown.
    pub has_older: bool,
    /// Open tasks about this patient that the session's roles serve.
    pub tasks: Vec<TaskView>,
    /// What waits on the worklist for the session's roles.
    pub waiting: Waiting,
    /// Whether and how the person may answer.
    pub composer: Composer,
    /// The instant as of which the system was restored from a backup, while texts are held for that.
    pub restored_as_of: Option<Timestamp>,
}

/// Whose thread it is.
#[derive(Debug, Clone)]
pub struct PatientHeader {
    /// The whole name.
    pub name: Phi<String>,
    /// What the person is called in the thread.
    pub first_name: Phi<String>,
    /// Sex and age as the clinic writes them, such as `F 41`.
    pub details: Phi<String>,
    /// The language that the patient is texted in.
    pub language: Language,
    /// The number's last two digits.
    pub number_ends: Option<String>,
}

/// A visit to come.
#[derive(Debug, Clone)]
pub struct Visit {
    /// When it begins.
    pub at: Timestamp,
    /// With whom, as staff call them.
    pub with: Phi<String>,
    /// Whether the patient has confirmed.
    pub confirmed: bool,
}

/// What the patient agreed to, in a line.
#[derive(Debug, Clone, Default)]
pub struct ConsentLine {
    /// Kinds of texts that are granted, in words.
    pub granted: Vec<String>,
    /// Since when the number says STOP.
    pub stopped_since: Option<Timestamp>,
}

/// A text in the thread.
#[derive(Debug, Clone)]
pub struct TextView {
    /// Its id.
    pub id: Id<ThreadText>,
    /// Who wrote it.
    pub author: TextAuthor,
    /// When it was received, sent, or is to be sent.
    pub at: Timestamp,
    /// The text, or that there is one.
    pub body: Body,
    /// Pictures and files that came with it.
    pub media: u32,
    /// How far an outbound text is.
    pub delivery: Option<Delivery>,
    /// Whether it stands in the chart.
    pub filing: Filing,
    /// How the machine read an inbound text.
    pub reading: Option<Reading>,
}

/// Who wrote a text.
#[derive(Debug, Clone)]
pub enum TextAuthor {
    /// The patient, or whoever holds the phone.
    Patient,
    /// A member of staff, by name.
    Staff(Phi<String>),
    /// The program, by which template, in words (`reminder`).
    System(String),
}

/// The text, or that there is one.
#[derive(Debug, Clone)]
pub enum Body {
    /// It may be read.
    Text(Phi<String>),
    /// It is out of the roles' scope.
    Redacted(Scope),
    /// It is not written yet: a template that is rendered when it leaves.
    ToBeRendered,
}

/// How far an outbound text is. `words` say more where there is more to say.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// How far.
    pub state: DeliveryState,
    /// What that means here, in a sentence.
    pub words: String,
}

/// How far an outbound text is, as far as the person must tell states apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It waits: for quiet hours, for an earlier text, for its time.
    Waiting,
    /// It is on its way to the carrier, or the carrier has it.
    Sending,
    /// The carrier has passed it on.
    Sent,
    /// The phone has it.
    Delivered,
    /// It did not arrive.
    NotDelivered,
    /// It was held back for good, and never left.
    Dropped,
    /// Nobody knows whether it left; a person must decide.
    Unknown,
}

/// Whether a text stands in the chart.
#[derive(Debug, Clone)]
pub struct Filing {
    /// Whether it does.
    pub state: FilingState,
    /// What that means here, in a sentence.
    pub words: String,
}

/// Whether a text stands in the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilingState {
    /// It does.
    Filed,
    /// It will: the EHR is slow or away.
    Waiting,
    /// The EHR refused it.
    Refused,
}

/// How the machine read a text.
#[derive(Debug, Clone)]
pub struct Reading {
    /// In a few words, such as `clinical, worse`.
    pub label: Phi<String>,
    /// How urgent.
    pub urgency: Urgency,
    /// Why it was read so.
    pub reason: Phi<String>,
}

/// How urgent something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In its turn.
    Routine,
    /// Today, before routine work.
    Prompt,
    /// Now.
    Emergency,
}

/// Work for a person.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Its id.
    pub id: Id<ThreadTask>,
    /// Whose work.
    pub team: Team,
    /// What is to be done, in a few words.
    pub reason: Phi<String>,
    /// How urgent.
    pub urgency: Urgency,
    /// Since when.
    pub since: Timestamp,
    /// The text that it is about.
    pub about: Option<Id<ThreadText>>,
}
