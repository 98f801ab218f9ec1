//! The conversation about one visit: what is remembered of it, and what an answer leads to. Pure.
//!
//! One workflow per appointment, from the moment it becomes known. Always: an answer is taken for what was asked by the
//! question that it binds to; what is not clear twice, or declined twice, goes to a person.

use crate::{
    intent::{Context, Intent, SlotAnswer},
    kernel::Id,
    messaging::{Message, NewQuestion, Offered},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How often times are offered before a person takes over.
pub(super) const MOST_OFFERS: u8 = 2;
/// How often a chosen time may turn out to be taken before a person takes over.
pub(super) const MOST_TAKEN: u8 = 3;

macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),* $(,)?) => {
        /// Where the conversation stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum VisitState { $($(#[$doc])* $variant),* }

        impl VisitState {
            /// The stored word.
            pub(super) const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The state with this stored word.
            pub(super) fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

states! {
    /// The visit is known; nothing has been asked.
    Known = "known",
    /// A reminder asks to confirm or reschedule.
    Asked = "asked",
    /// The patient will come, and the EHR knows.
    Confirmed = "confirmed",
    /// Times were offered.
    Offered = "offered",
    /// Whether to drop the visit was asked back.
    CancelAsked = "cancel-asked",
    /// A move was asked for, and nobody knows yet whether the EHR took it.
    Requested = "requested",
    /// A person has it.
    WithStaff = "with-staff",
    /// The patient dropped the visit.
    Cancelled = "cancelled",
    /// The patient answered after the visit, and was told so.
    Passed = "passed",
}

/// What a reply was read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) intents: Vec<Intent>,
    pub(super) slot: Option<SlotAnswer>,
}

impl Answer {
    pub(super) fn says(&self, intent: Intent) -> bool {
        self.intents.contains(&intent)
    }

    /// Whether it asks for something to be changed.
    pub(super) fn wants_another_time(&self) -> bool {
        self.slot.is_some() || self.says(Intent::Reschedule)
    }
}

/// A text of ours that may still be waiting, and what held before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Announcing {
    pub(super) message: Id<Message>,
    pub(super) start: Timestamp,
    pub(super) location: Option<String>,
}

/// Another visit that a reminder spoke of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Beside {
    /// The appointment's FHIR id.
    pub(super) appointment: String,
    /// When it was said to be.
    pub(super) start: Timestamp,
}

/// A move of which nobody knows whether it happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) message: Id<Message>,
    pub(super) offered: Offered,
    pub(super) looked: u8,
}

/// An answer that has been dealt with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Handled {
    pub(super) message: Id<Message>,
    pub(super) answer: Answer,
}

/// What is remembered of the conversation: ids, codes and instants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Visit {
    /// When the visit is, as the patient has been told or will be.
    pub(super) start: Timestamp,
    /// Where, as a reference.
    pub(super) location: Option<String>,
    /// Other visits that the last reminder spoke of.
    #[serde(default)]
    pub(super) together: Vec<Beside>,
    /// The last text that told of a change by the staff.
    #[serde(default)]
    pub(super) announcing: Option<Announcing>,
    /// How often times were offered.
    #[serde(default)]
    pub(super) offers: u8,
    /// How often a chosen time was taken.
    #[serde(default)]
    pub(super) taken: u8,
    /// What was not clear was asked again.
    #[serde(default)]
    pub(super) asked_again: bool,
    /// Every slot that was offered.
    #[serde(default)]
    pub(super) shown: Vec<String>,
    /// A move of which nobody knows.
    #[serde(default)]
    pub(super) wanted: Option<Wanted>,
    /// The answer that is being dealt with.
    #[serde(default)]
    pub(super) acting: Option<Id<Message>>,
    /// The answer that was dealt with last.
    #[serde(default)]
    pub(super) handled: Option<Handled>,
}

impl Visit {
    /// A visit of which nothing was said yet.
    pub(super) fn known(start: Timestamp, location: Option<String>) -> Self {
        Self {
            start,
            location,
            together: Vec::new(),
            announcing: None,
            offers: 0,
            taken: 0,
            asked_again: false,
            shown: Vec::new(),
            wanted: None,
            acting: None,
            handled: None,
        }
    }

    /// Forgets what was offered: the next wish for another time starts anew.
    pub(super) fn forget_offers(&mut self) {
        self.offers = 0;
        self.taken = 0;
        self.asked_again = false;
        self.shown.clear();
        self.wanted = None;
    }
}

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Tell the EHR that the patient comes.
    Confirm,
    /// Offer times that were not offered yet.
    Offer,
    /// Move the visit there.
    Take(Offered),
    /// Offer the same times again, because the answer fits several.
    AskAgain,
    /// Ask back whether the visit is really to be dropped.
    AskCancel,
    /// Drop the visit.
    Cancel,
    /// Leave it as it is.
    Keep,
    /// A person arranges it.
    HandOver,
    /// It was said already.
    Nothing,
}

/// What `answer` to `asked` leads to.
pub(super) fn next_step(asked: &NewQuestion, answer: &Answer, state: VisitState, visit: &Visit) -> Step {
    let step = match asked.context {
        Context::RescheduleOffer => answer_to_offer(asked, answer, visit),
        Context::AppointmentReminder if asked.cancel_pending => answer_to_cancel_ask(answer),
        Context::AppointmentReminder => answer_to_reminder(answer, state),
        _ => Step::HandOver,
    };
    match step {
        // Which of several visits is meant cannot be told from a letter.
        Step::Offer | Step::AskCancel if !visit.together.is_empty() => Step::HandOver,
        Step::Offer if visit.offers >= MOST_OFFERS => Step::HandOver,
        step => step,
    }
}

fn answer_to_reminder(answer: &Answer, state: VisitState) -> Step {
    match answer.intents.as_slice() {
        [Intent::Confirm] if state == VisitState::Confirmed => Step::Nothing,
        [Intent::Confirm] => Step::Confirm,
        [Intent::Reschedule] => Step::Offer,
        [Intent::Cancel] => Step::AskCancel,
        _ => Step::HandOver,
    }
}

fn answer_to_cancel_ask(answer: &Answer) -> Step {
    match answer.intents.as_slice() {
        [Intent::Cancel] => Step::Cancel,
        [Intent::Reschedule] => Step::Offer,
        [Intent::Confirm] => Step::Keep,
        _ => Step::HandOver,
    }
}

fn answer_to_offer(asked: &NewQuestion, answer: &Answer, visit: &Visit) -> Step {
    let numbered = |number: u8| asked.offered.iter().find(|offered| offered.number == number);
    let unclear = if visit.asked_again { Step::HandOver } else { Step::AskAgain };
    match &answer.slot {
        Some(SlotAnswer::Picked(number)) => numbered(*number).cloned().map_or(unclear, Step::Take),
        Some(SlotAnswer::Ambiguous(_)) => unclear,
        Some(SlotAnswer::NoneOfThese | SlotAnswer::NotOffered) => Step::Offer,
        None if answer.intents == [Intent::Reschedule] => Step::Offer,
        None if answer.intents == [Intent::Cancel] => Step::AskCancel,
        None => Step::HandOver,
    }
}

/// How the visit in the EHR compares with what the answer was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// It is on, when the patient was told.
    AsTold,
    /// It is at the time that this very answer chose: our own move has arrived.
    Landed,
    /// Staff have moved it.
    Moved,
    /// It is off.
    Off,
    /// It is over, or under way.
    Past,
}

/// Compares `current` (the start in the EHR, where the visit is on) with the visit and the step.
pub(super) fn truth(current: Option<Timestamp>, visit: &Visit, step: &Step, now: Timestamp) -> Truth {
    match current {
        Some(start) if start > now && start == visit.start => Truth::AsTold,
        Some(start) if start > now => {
            let chosen = matches!(step, Step::Take(offered) if offered.start == start);
            if chosen { Truth::Landed } else { Truth::Moved }
        }
        Some(_) => Truth::Past,
        None if visit.start <= now => Truth::Past,
        None => Truth::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    fn asked(context: Context, cancel_pending: bool) -> NewQuestion {
        let offered = |number: u8| Offered { number, slot: format!("Slot/{number}"), start: at(i64::from(number)) };
        let offered = if context == Context::RescheduleOffer { [1, 2, 3].map(offered).to_vec() } else { Vec::new() };
        NewQuestion { context, cancel_pending, offered, expires_at: at(48) }
    }

    fn answer(intent: Intent, slot: Option<SlotAnswer>) -> Answer {
        Answer { intents: vec![intent], slot }
    }

    const REMINDER: Context = Context::AppointmentReminder;
    const OFFER: Context = Context::RescheduleOffer;

    #[rstest]
    #[case::confirm(REMINDER, false, Intent::Confirm, None, Step::Confirm)]
    #[case::reschedule(REMINDER, false, Intent::Reschedule, None, Step::Offer)]
    #[case::cancel_is_asked_back(REMINDER, false, Intent::Cancel, None, Step::AskCancel)]
    #[case::yes_drops(REMINDER, true, Intent::Cancel, None, Step::Cancel)]
    #[case::no_keeps(REMINDER, true, Intent::Confirm, None, Step::Keep)]
    #[case::another_time_after_all(REMINDER, true, Intent::Reschedule, None, Step::Offer)]
    #[case::none_of_these(OFFER, false, Intent::Reschedule, Some(SlotAnswer::NoneOfThese), Step::Offer)]
    #[case::not_offered(OFFER, false, Intent::SlotChoice, Some(SlotAnswer::NotOffered), Step::Offer)]
    #[case::two_fit(OFFER, false, Intent::SlotChoice, Some(SlotAnswer::Ambiguous(vec![1, 2])), Step::AskAgain)]
    #[case::not_in_the_list(OFFER, false, Intent::SlotChoice, Some(SlotAnswer::Picked(9)), Step::AskAgain)]
    #[case::drop_instead(OFFER, false, Intent::Cancel, None, Step::AskCancel)]
    #[case::something_else(REMINDER, false, Intent::LogisticsQuestion, None, Step::HandOver)]
    fn an_answer_is_taken_for_what_was_asked(
        #[case] context: Context,
        #[case] cancel_pending: bool,
        #[case] intent: Intent,
        #[case] slot: Option<SlotAnswer>,
        #[case] expected: Step,
    ) {
        let visit = Visit::known(at(40), None);
        let step = next_step(&asked(context, cancel_pending), &answer(intent, slot), VisitState::Asked, &visit);
        assert_eq!(step, expected);
    }

    #[test]
    fn a_number_takes_the_time_under_it() {
        let asked = asked(OFFER, false);
        let picked = answer(Intent::SlotChoice, Some(SlotAnswer::Picked(2)));
        let step = next_step(&asked, &picked, VisitState::Offered, &Visit::known(at(40), None));
        assert_eq!(step, Step::Take(asked.offered[1].clone()));
    }

    #[test]
    fn what_goes_round_twice_goes_to_a_person() {
        let mut visit = Visit::known(at(40), None);
        visit.offers = MOST_OFFERS;
        visit.asked_again = true;
        let none = answer(Intent::Reschedule, Some(SlotAnswer::NoneOfThese));
        let unclear = answer(Intent::SlotChoice, Some(SlotAnswer::Ambiguous(vec![1, 2])));
        for said in [none, unclear] {
            assert_eq!(next_step(&asked(OFFER, false), &said, VisitState::Offered, &visit), Step::HandOver);
        }
    }

    #[test]
    fn a_wish_about_one_of_several_visits_goes_to_a_person() {
        let mut visit = Visit::known(at(40), None);
        visit.together = vec![Beside { appointment: "2".into(), start: at(41) }];
        let reschedule = answer(Intent::Reschedule, None);
        assert_eq!(next_step(&asked(REMINDER, false), &reschedule, VisitState::Asked, &visit), Step::HandOver);
    }

    #[test]
    fn thanks_for_a_confirmation_confirm_nothing_anew() {
        let visit = Visit::known(at(40), None);
        let thanks = answer(Intent::Confirm, None);
        assert_eq!(next_step(&asked(REMINDER, false), &thanks, VisitState::Confirmed, &visit), Step::Nothing);
    }

    #[rstest]
    #[case::as_told(Some(10), Step::Confirm, Truth::AsTold)]
    #[case::moved_by_staff(Some(12), Step::Confirm, Truth::Moved)]
    #[case::our_own_move(Some(12), Step::Take(Offered { number: 1, slot: "Slot/1".into(), start: at(12) }), Truth::Landed)]
    #[case::off(None, Step::Confirm, Truth::Off)]
    #[case::moved_into_the_past(Some(-1), Step::Confirm, Truth::Past)]
    fn the_ehr_knows_best(#[case] current: Option<i64>, #[case] step: Step, #[case] expected: Truth) {
        let visit = Visit::known(at(10), None);
        assert_eq!(truth(current.map(at), &visit, &step, at(0)), expected);
        assert_eq!(truth(None, &visit, &step, at(11)), Truth::Past);
    }
}
