//! The labels of a reading: contexts, intents, urgency, sentiment, compliance.
//!
//! Their names in serde are the fixed vocabulary that the command line, the database and the reports share.

use serde::{Deserialize, Serialize};

/// What the clinic sent last on this number: the open question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// A visit is coming up: C confirms, R moves it.
    AppointmentReminder,
    /// Up to three open times: 1, 2, 3, or N for none.
    RescheduleOffer,
    /// A prescription is due: YES requests the refill.
    RefillDue,
    /// A result can be read elsewhere.
    LabReady,
    /// Anything new before the visit? YES or NO.
    PreVisitIntake,
    /// Is the treatment being taken? YES or NO.
    PostVisitFollowup,
    /// Any concern after the operation? YES or NO.
    PostOpCheck,
    /// No question is open. Unknown names read as this one.
    #[default]
    #[serde(other)]
    None,
}

/// Something in a reply that somebody must act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Will come.
    Confirm,
    /// Wants or needs another time.
    Reschedule,
    /// Does not want the visit.
    Cancel,
    /// Picks one of the offered times.
    SlotChoice,
    /// When, where, parking, preparation, price, whom to reach.
    LogisticsQuestion,
    /// Asks for a refill or says yes to one.
    Refill,
    /// Is here, on the way or late.
    Arrival,
    /// A symptom, wound, mood, self-harm or danger to life.
    ClinicalConcern,
    /// The same, blamed on a medicine, vaccine or infusion.
    AdverseEvent,
    /// Cannot pay, or cost keeps them away.
    FinancialBarrier,
    /// Wants no more texts.
    OptOut,
    /// Wants texts (again).
    OptIn,
    /// Asks what this is or how to use it.
    Help,
    /// Something is new for the visit.
    IntakeYes,
    /// Nothing is new; after an operation, no concern.
    IntakeNo,
    /// Takes the treatment.
    AdherenceYes,
    /// Does not take it, stopped, ran out.
    AdherenceNo,
    /// What results mean, whether they are there.
    ResultsQuestion,
    /// Is not the patient.
    WrongNumber,
    /// Courtesy, and nothing else.
    ThanksSmalltalk,
    /// Anything else, alone.
    Other,
}

impl Intent {
    /// Whether it speaks of somebody's health; such a text is always seen by a person.
    #[must_use]
    pub const fn is_clinical(self) -> bool {
        matches!(self, Self::ClinicalConcern | Self::AdverseEvent)
    }
}

/// What the law and the carriers want done about texts to this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compliance {
    /// No more texts (47 CFR 64.1200(a)(10)).
    OptOut,
    /// Texts again.
    OptIn,
    /// Who is this and how does it end.
    Help,
}

/// The kind of danger, which decides what the patient is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmergencyKind {
    /// Danger to life or limb: the `emergency` text (911).
    Medical,
    /// Violence: the `emergency` text (911).
    Violence,
    /// Suicide or self-harm: the `crisis` text (988 and 911).
    SelfHarm,
}

/// How soon a person must see the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Urgency {
    /// In its turn.
    #[default]
    Routine,
    /// Clinical or adverse content, non-adherence.
    Prompt,
    /// Acute danger now.
    Emergency(EmergencyKind),
}

impl Urgency {
    /// `routine`, `prompt` or `emergency`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Prompt => "prompt",
            Self::Emergency(_) => "emergency",
        }
    }
}

/// The mood that words, punctuation or emoji show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sentiment {
    /// Thanks, joy.
    Positive,
    /// Nothing shown.
    #[default]
    Neutral,
    /// Worry, fear.
    Anxious,
    /// Anger, complaint.
    Angry,
}

/// Whether a workflow may act on a reading without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Every word was read, and they say one thing that a workflow can do.
    Certain,
    /// A person decides.
    Unsure,
}

/// Which offered time a reply picks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotAnswer {
    /// The time with this number in the list.
    Picked(u8),
    /// None of the offered times will do.
    NoneOfThese,
    /// It could be each of these; a single number means near, but not what was offered ("10" for 10:30).
    Ambiguous(Vec<u8>),
    /// A day or time that was not offered.
    NotOffered,
}
