//! What a reply means.
//!
//! Owns the reading of one inbound text: [`read`] is called by routing for each text, [`compliance_keyword`] by whoever
//! must know a keyword without a conversation, [`classify_line`] by the command line. Pure: no clock, no store, no calls.
//!
//! A text passes layers, each of which only adds to what the ones before have found:
//! 1. phone reactions, whose quoted text is ours and is not read;
//! 2. compliance keywords: final when they are the whole text;
//! 3. the emergency lexicon: such a text is never only answered automatically;
//! 4. opt-out, opt-in and help in free wording;
//! 5. the answer to the open question;
//! 6. phrases anywhere in the text, each held against the words around it (denied, over, hypothetical);
//! 7. whatever is left unread makes the reading [`Certainty::Unsure`]: a person reads it, nothing is guessed.
//!
//! What always holds: an emergency is an emergency whatever else the text says; a reading is [`Certainty::Certain`] only
//! when every word of the text was read; no input panics; nothing of the text is kept in the [`Reading`].

mod answer;
mod compliance;
mod conclusion;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod label;
mod language;
mod lexicon;
mod line;
mod negation;
mod reaction;
mod reader;
mod slot;
#[cfg(test)]
mod tests;
mod when;

pub use compliance::compliance_keyword;
pub use label::{Certainty, Compliance, Context, EmergencyKind, Intent, Sentiment, SlotAnswer, Urgency};
pub use line::{LineError, classify_line};
pub use slot::OfferedTime;

use crate::kernel::Language;

/// The question that was open when the text arrived.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the clinic sent last.
    pub context: Context,
    /// The last text asked whether to drop the visit: YES drops it, no keeps it.
    pub cancel_pending: bool,
    /// The times offered, in the order of their numbers; empty unless the context is a reschedule offer.
    pub offered: &'a [OfferedTime],
    /// The clinic's calendar day when the text arrived, for "today" and "tomorrow".
    pub today: jiff::civil::Date,
}

impl Question<'_> {
    /// No question is open.
    #[must_use]
    pub const fn none(today: jiff::civil::Date) -> Self {
        Self { context: Context::None, cancel_pending: false, offered: &[], today }
    }
}

/// What a reply means. Holds labels only, never the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What somebody must act on, in the order of [`Intent`]; never empty. `ThanksSmalltalk` and `Other` stand alone.
    pub intents: Vec<Intent>,
    /// Which offered time is meant. To be acted on only when the reading is certain.
    pub slot: Option<SlotAnswer>,
    /// In force whatever the certainty: an opt-out in a text that also says something else is still an opt-out.
    pub compliance: Option<Compliance>,
    /// How soon a person must see it.
    pub urgency: Urgency,
    /// The mood that it shows.
    pub sentiment: Sentiment,
    /// The language that it is written in.
    pub language: Language,
    /// Whether a workflow may act on it.
    pub certainty: Certainty,
    /// The rules that fired and the doubts that remained, in that order; fit for the audit trail.
    pub rules: Vec<&'static str>,
    /// Which reader, with which lexicons, read it.
    pub reader_version: &'static str,
}

impl Reading {
    /// Whether a person must see the text: it is unsure, clinical, urgent, angry or about money.
    ///
    /// Otherwise a workflow may act on it alone.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        self.certainty == Certainty::Unsure
            || self.urgency != Urgency::Routine
            || self.sentiment == Sentiment::Angry
            || self.intents.iter().any(|intent| intent.is_clinical() || *intent == Intent::FinancialBarrier)
    }
}

/// Reads `text` as an answer to `question`.
///
/// `language_hint` is the conversation's language, kept where the text does not show its own. `number_is_stopped` is
/// whether this number has ended texts: only then does YES start them again.
#[must_use]
pub fn read(text: &str, question: &Question<'_>, language_hint: Language, number_is_stopped: bool) -> Reading {
    reader::read(text, question, language_hint, number_is_stopped)
}

/// The version recorded with each reading; it changes with every rule and every lexicon.
#[must_use]
pub fn reader_version() -> &'static str {
    &lexicon::READER.version
}
