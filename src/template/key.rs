//! The names of the house's texts, and what each is to the gate and to consent.

use std::fmt;
use std::str::FromStr;

macro_rules! text_keys {
    ($($(#[$meaning:meta])* $name:ident = $word:literal,)+) => {
        /// A text of the house. Stored by its word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum TextKey { $($(#[$meaning])* $name,)+ }

        impl TextKey {
            /// Every key.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word under which it is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

text_keys! {
    /// A visit is coming; asks to confirm or reschedule.
    Reminder = "reminder",
    /// Several visits on one day are coming.
    ReminderMany = "reminder_many",
    /// The patient has confirmed.
    Confirmed = "confirmed",
    /// One to three open times to choose from.
    Offer = "offer",
    /// The EHR has the visit at its new time.
    Moved = "moved",
    /// The EHR cannot book by itself: the front desk was asked.
    Requested = "requested",
    /// The chosen time was taken meanwhile; others are open.
    Taken = "taken",
    /// Nothing is open: a person will answer.
    NoSlots = "no_slots",
    /// Staff have changed the visit's time or place.
    Changed = "changed",
    /// Asks whether the visit is really to be dropped.
    CancelAsk = "cancel_ask",
    /// The visit was dropped.
    Cancelled = "cancelled",
    /// The visit was not dropped after all.
    Kept = "kept",
    /// The answer came after the visit.
    LateAnswer = "late_answer",
    /// A prescription can be renewed; asks whether to request it.
    RefillDue = "refill_due",
    /// The refill request is with the care team.
    RefillSent = "refill_sent",
    /// The refill request was approved.
    RefillApproved = "refill_approved",
    /// The refill request was not approved.
    RefillDeclined = "refill_declined",
    /// The refill can be picked up.
    RefillReady = "refill_ready",
    /// Something to read behind a secure link.
    DetailLink = "detail_link",
    /// An answer to what may be an emergency. Only after the staff's alert is committed.
    Emergency = "emergency",
    /// An answer to a person in crisis. Only after the staff's alert is committed.
    Crisis = "crisis",
    /// Confirms STOP.
    Stopped = "stopped",
    /// Confirms START.
    Started = "started",
    /// Asks for consent by text (double opt-in).
    OptInAsk = "opt_in_ask",
    /// Tells that replies are read and kept, before the first is asked for.
    ArchivingNotice = "archiving_notice",
    /// The answer to HELP.
    Help = "help",
    /// Tells an unknown sender who we are.
    Who = "who",
    /// Asks which of several patients on a number is meant.
    Which = "which",
    /// A person will answer.
    Person = "person",
    /// What a patient reads before agreeing on a form or at the desk. Not texted.
    ConsentForm = "consent_form",
}

impl fmt::Display for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no text has this key")]
pub struct UnknownKey;

impl FromStr for TextKey {
    type Err = UnknownKey;
    fn from_str(word: &str) -> Result<Self, UnknownKey> {
        Self::ALL.iter().copied().find(|key| key.as_str() == word).ok_or(UnknownKey)
    }
}

impl<'de> serde::Deserialize<'de> for TextKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(|_| serde::de::Error::custom(format!("no text has the key {word:?}")))
    }
}

/// What a text is to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextClass {
    /// Leaves by itself; says how to stop.
    Automated,
    /// Answers a text that the patient has just sent.
    Answer,
    /// Confirms STOP.
    StopConfirmation,
    /// Asks for consent, or tells what was agreed to.
    OptIn,
    /// Answers HELP.
    Help,
    /// Answers a possible emergency.
    Emergency,
    /// Answers an unknown number.
    UnknownSender,
    /// Read on paper or screen; never texted.
    Form,
}

/// What a patient's consent must cover for a text: the consent ledger's categories, and one that needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextCategory {
    /// Visits.
    Appointment,
    /// Prescription refills.
    Refill,
    /// Care: what clinical staff have to say.
    Clinical,
    /// The texting itself: needs no category's consent.
    Service,
}

impl TextCategory {
    /// The word under which it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Appointment => "appointment",
            Self::Refill => "refill",
            Self::Clinical => "clinical",
            Self::Service => "service",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_key() {
        for key in TextKey::ALL {
            assert_eq!(key.as_str().parse(), Ok(*key));
        }
        assert_eq!("cancel".parse::<TextKey>(), Err(UnknownKey));
    }
}
