//! What a short answer means: the open question decides.

use super::label::{Context, Intent, SlotAnswer};
use super::lexicon::Answer;
use super::{OfferedTime, Question};

/// A short answer in the light of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) intent: Intent,
    /// The question asked for this answer, so it may be acted on.
    pub(super) certain: bool,
    /// It yields to anything more definite in the same text ("yes I need to reschedule").
    pub(super) weak: bool,
    pub(super) slot: Option<SlotAnswer>,
}

impl Meaning {
    const fn certain(intent: Intent, answer: Answer) -> Self {
        Self { intent, certain: true, weak: is_weak(answer), slot: None }
    }

    const fn unsure(intent: Intent) -> Self {
        Self { intent, certain: false, weak: true, slot: None }
    }

    fn with_slot(self, slot: SlotAnswer) -> Self {
        Self { slot: Some(slot), ..self }
    }
}

const fn is_weak(answer: Answer) -> bool {
    matches!(answer, Answer::Yes | Answer::No | Answer::Acknowledged)
}

/// What `answer` says to `question`.
pub(super) fn meaning(answer: Answer, question: &Question<'_>) -> Meaning {
    let yes_or_no = |yes: Intent, no: Intent| match answer {
        Answer::Yes => Meaning::certain(yes, answer),
        Answer::No | Answer::LetterN | Answer::None => Meaning::certain(no, answer),
        Answer::NothingNew if no == Intent::IntakeNo => Meaning::certain(no, answer),
        Answer::NothingNew | Answer::Acknowledged | Answer::LetterC | Answer::LetterR => Meaning::unsure(Intent::Other),
    };
    match question.context {
        Context::AppointmentReminder if question.cancel_pending => to_cancel_ask(answer),
        Context::AppointmentReminder => to_reminder(answer),
        Context::RescheduleOffer => to_offer(answer, question.offered),
        Context::RefillDue if answer == Answer::Acknowledged => Meaning::unsure(Intent::Refill),
        Context::RefillDue => yes_or_no(Intent::Refill, Intent::Other),
        Context::PreVisitIntake => yes_or_no(Intent::IntakeYes, Intent::IntakeNo),
        Context::PostVisitFollowup => yes_or_no(Intent::AdherenceYes, Intent::AdherenceNo),
        Context::PostOpCheck => yes_or_no(Intent::ClinicalConcern, Intent::IntakeNo),
        Context::LabReady | Context::None if answer == Answer::Acknowledged => {
            Meaning::certain(Intent::ThanksSmalltalk, answer)
        }
        Context::LabReady | Context::None => Meaning::unsure(Intent::Other),
    }
}

fn to_reminder(answer: Answer) -> Meaning {
    match answer {
        Answer::LetterC | Answer::Yes | Answer::Acknowledged => Meaning::certain(Intent::Confirm, answer),
        Answer::LetterR => Meaning::certain(Intent::Reschedule, answer),
        // Nothing is dropped on it: the workflow asks back first.
        Answer::No | Answer::LetterN => Meaning::certain(Intent::Cancel, answer),
        Answer::None => Meaning::unsure(Intent::Reschedule),
        Answer::NothingNew => Meaning::unsure(Intent::Other),
    }
}

/// "Drop your visit? YES drops it": a no keeps it.
fn to_cancel_ask(answer: Answer) -> Meaning {
    match answer {
        Answer::Yes => Meaning::certain(Intent::Cancel, answer),
        Answer::No | Answer::LetterN => Meaning::certain(Intent::Confirm, answer),
        Answer::LetterR => Meaning::certain(Intent::Reschedule, answer),
        // "C" and "ok" can mean either here.
        Answer::LetterC | Answer::Acknowledged | Answer::None | Answer::NothingNew => Meaning::unsure(Intent::Other),
    }
}

fn to_offer(answer: Answer, offered: &[OfferedTime]) -> Meaning {
    match (answer, offered) {
        (Answer::No | Answer::LetterN | Answer::None | Answer::LetterR, _) => {
            Meaning::certain(Intent::Reschedule, answer).with_slot(SlotAnswer::NoneOfThese)
        }
        (Answer::Yes, [only]) => {
            Meaning::certain(Intent::SlotChoice, answer).with_slot(SlotAnswer::Picked(only.number))
        }
        (Answer::Yes | Answer::Acknowledged, [_, ..]) => {
            let all = offered.iter().map(|offer| offer.number).collect();
            Meaning::unsure(Intent::SlotChoice).with_slot(SlotAnswer::Ambiguous(all))
        }
        (Answer::Yes | Answer::Acknowledged, []) | (Answer::NothingNew, _) => Meaning::unsure(Intent::Other),
        (Answer::LetterC, _) => Meaning::unsure(Intent::Confirm),
    }
}
