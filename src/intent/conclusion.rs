//! How the findings of the layers become one reading, and what leaves it unsure.

use super::Reading;
use super::label::{Certainty, Intent, Urgency};
use super::language::language;
use super::reader::{Draft, Saying};
use crate::kernel::Language;
use crate::kernel::words::{Word, WordKind};

impl Draft<'_> {
    /// The reading of `text`, in `hint`'s language where it shows none.
    pub(super) fn finish(mut self, hint: Language, text: &str) -> Reading {
        self.yield_weak();
        let mut intents: Vec<Intent> = self.sayings.iter().map(|saying| saying.intent).collect();
        intents.sort_unstable();
        intents.dedup();
        if intents.contains(&Intent::AdverseEvent) {
            intents.retain(|intent| *intent != Intent::ClinicalConcern);
        }
        if intents.iter().any(|intent| !matches!(intent, Intent::Other | Intent::ThanksSmalltalk)) {
            intents.retain(|intent| !matches!(intent, Intent::Other | Intent::ThanksSmalltalk));
        }
        self.look_for_doubt(&intents, text);
        if intents.is_empty() {
            intents.push(Intent::Other);
        }
        if intents.len() > 1 {
            intents.retain(|intent| *intent != Intent::ThanksSmalltalk);
        }
        let urgency = match self.emergency {
            Some(kind) => Urgency::Emergency(kind),
            None if intents.iter().any(|intent| intent.is_clinical() || *intent == Intent::AdherenceNo) => {
                Urgency::Prompt
            }
            None => Urgency::Routine,
        };
        let certainty = if self.doubts.is_empty() { Certainty::Certain } else { Certainty::Unsure };
        self.rules.extend(&self.doubts);
        Reading {
            slot: self.slot,
            compliance: self.compliance,
            urgency,
            sentiment: self.sentiment,
            language: language(self.words, hint),
            certainty,
            rules: self.rules,
            reader_version: &self.data.version,
            intents,
        }
    }

    /// "Yes" and "no" give way to anything more definite beside them.
    fn yield_weak(&mut self) {
        let definite = |saying: &Saying| {
            use Intent::{
                AdherenceNo, AdherenceYes, Cancel, Confirm, IntakeNo, IntakeYes, OptOut, Refill, Reschedule,
                SlotChoice, WrongNumber,
            };
            let decides = matches!(
                saying.intent,
                Confirm
                    | Reschedule
                    | Cancel
                    | SlotChoice
                    | Refill
                    | IntakeYes
                    | IntakeNo
                    | AdherenceYes
                    | AdherenceNo
                    | OptOut
                    | WrongNumber
            );
            decides && !saying.weak
        };
        if self.sayings.iter().any(definite) {
            self.sayings.retain(|saying| !saying.weak);
        }
    }

    fn look_for_doubt(&mut self, intents: &[Intent], text: &str) {
        if intents.is_empty() {
            self.doubt("doubt.nothing_read");
        }
        if self.sayings.iter().any(|saying| !saying.certain && saying.intent != Intent::Cancel) || self.unsure_cancel()
        {
            self.doubt("doubt.needs_person");
        }
        let plans = [Intent::Confirm, Intent::Reschedule, Intent::Cancel, Intent::SlotChoice];
        if intents.iter().filter(|intent| plans.contains(intent)).count() > 1 {
            self.doubt("doubt.contradiction");
        }
        let may_ask =
            [Intent::Reschedule, Intent::SlotChoice, Intent::Cancel, Intent::OptOut, Intent::Help, Intent::Refill];
        if text.contains(['?', '¿']) && intents.iter().any(|intent| !may_ask.contains(intent)) {
            self.doubt("doubt.question");
        }
        if self.has_unread_words(intents) {
            self.doubt("doubt.words_not_read");
        }
    }

    /// A cancellation outside a reminder needs a person; beside a bare CANCEL it is a task that staff gets anyway.
    fn unsure_cancel(&self) -> bool {
        let keyword = self.compliance.is_some();
        self.sayings.iter().any(|saying| saying.intent == Intent::Cancel && !saying.certain && !keyword)
    }

    fn has_unread_words(&self, intents: &[Intent]) -> bool {
        let fillers = &self.data.fillers;
        let refuses = [Intent::IntakeNo, Intent::AdherenceNo, Intent::Other].iter().any(|no| intents.contains(no));
        let idle = |word: &Word| {
            fillers.always.contains(&word.text)
                || (!refuses && fillers.affirmative.contains(&word.text))
                || intents.iter().any(|intent| match intent {
                    Intent::Reschedule => {
                        fillers.reschedule.contains(&word.text)
                            || matches!(word.kind, WordKind::Digits | WordKind::Mark)
                    }
                    Intent::SlotChoice => fillers.slot_choice.contains(&word.text),
                    Intent::Cancel => fillers.cancel.contains(&word.text),
                    Intent::Refill => fillers.refill.contains(&word.text),
                    Intent::OptOut => fillers.opt_out.contains(&word.text),
                    Intent::IntakeNo | Intent::IntakeYes | Intent::AdherenceYes | Intent::AdherenceNo => {
                        fillers.answer.contains(&word.text)
                    }
                    _ => false,
                })
        };
        let surname = |at: usize| {
            at.checked_sub(1).and_then(|at| self.words.get(at)).is_some_and(|word| word.is_any(&["dr", "dra"]))
        };
        let read = |at: usize, word: &Word, covered: bool| covered || idle(word) || surname(at);
        let nothing_at_all = self.words.is_empty() && !self.reacted;
        nothing_at_all
            || !self.words.iter().zip(&self.covered).enumerate().all(|(at, (word, covered))| read(at, word, *covered))
    }
}
