//! Which team acts on a reading, and whether a workflow may act alone. Pure.

use super::TaskReason;
use crate::{
    access::Team,
    intent::{Certainty, Compliance, Context, Intent, Reading, Sentiment, SlotAnswer, Urgency},
};

/// Where a reading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The workflow that asked answers it.
    Workflow,
    /// A person of this team looks at it.
    Person(Team, TaskReason),
    /// Nothing needs to be done.
    Nobody,
}

/// Routes by precedence: emergency, clinical, opt-out, money, anger, rest. Opting out itself is not routed: it is
/// in force already; what else the text says is. What was not understood may be anything, so it goes to those who may
/// read anything a patient writes: nurses.
pub(super) fn route(reading: &Reading, asked: Option<Context>) -> Route {
    let has = |intent| reading.intents.contains(&intent);
    if matches!(reading.urgency, Urgency::Emergency(_)) {
        return Route::Person(Team::Nursing, TaskReason::Emergency);
    }
    if reading.intents.iter().any(|intent| intent.is_clinical()) || has(Intent::AdherenceNo) {
        return Route::Person(Team::Nursing, TaskReason::Clinical);
    }
    if reading.compliance == Some(Compliance::OptOut) {
        let visit_meant = asked == Some(Context::AppointmentReminder) || has(Intent::Cancel);
        return match (visit_meant, reading.certainty) {
            (true, _) => Route::Person(Team::Scheduling, TaskReason::StoppedOrCancelled),
            (false, Certainty::Certain) if has(Intent::WrongNumber) => {
                Route::Person(Team::Scheduling, TaskReason::WrongNumber)
            }
            (false, Certainty::Certain) => Route::Nobody,
            (false, Certainty::Unsure) => Route::Person(Team::Nursing, TaskReason::NotUnderstood),
        };
    }
    if has(Intent::FinancialBarrier) {
        return Route::Person(Team::Billing, TaskReason::Financial);
    }
    if reading.sentiment == Sentiment::Angry {
        return Route::Person(Team::Management, TaskReason::Complaint);
    }
    if asked == Some(Context::RescheduleOffer) && is_unclear_choice(reading) {
        return Route::Workflow;
    }
    if reading.needs_person() {
        return Route::Person(Team::Nursing, TaskReason::NotUnderstood);
    }
    if reading.compliance.is_some() {
        return Route::Nobody;
    }
    if asked.is_some_and(|context| answers(context, reading)) {
        return Route::Workflow;
    }
    unasked(reading)
}

/// Whether the sender may be saying that the number is not the patient's: until a person has settled that, texts of
/// the program must not go there.
pub(super) fn disputes_number(reading: &Reading) -> bool {
    reading.intents.contains(&Intent::WrongNumber)
}

/// Whether every word was read and the only doubt is which of the offered times is meant: the workflow asks again.
fn is_unclear_choice(reading: &Reading) -> bool {
    let mut doubts = reading.rules.iter().filter(|rule| rule.starts_with("doubt."));
    reading.urgency == Urgency::Routine
        && reading.intents == [Intent::SlotChoice]
        && matches!(reading.slot, Some(SlotAnswer::Ambiguous(_)))
        && doubts.all(|doubt| *doubt == "doubt.needs_person")
}

/// Whether the reading is an answer that the workflow behind `context` can act on.
fn answers(context: Context, reading: &Reading) -> bool {
    let only = |allowed: &[Intent]| reading.intents.iter().all(|intent| allowed.contains(intent));
    match context {
        Context::AppointmentReminder => {
            only(&[Intent::Confirm, Intent::Reschedule, Intent::Cancel]) && reading.intents.len() == 1
        }
        Context::RescheduleOffer => reading.slot.is_some() || only(&[Intent::Reschedule, Intent::Cancel]),
        // A declined refill reads as `other` and ends the notice.
        Context::RefillDue => only(&[Intent::Refill, Intent::Other]),
        _ => false,
    }
}

fn unasked(reading: &Reading) -> Route {
    let team = reading.intents.iter().find_map(|intent| match intent {
        Intent::Refill => Some((Team::Pharmacy, TaskReason::Refill)),
        Intent::Reschedule => Some((Team::Scheduling, TaskReason::Reschedule)),
        Intent::Cancel => Some((Team::Scheduling, TaskReason::Cancel)),
        Intent::ResultsQuestion => Some((Team::Nursing, TaskReason::Results)),
        Intent::Arrival => Some((Team::Scheduling, TaskReason::Arrival)),
        Intent::WrongNumber => Some((Team::Scheduling, TaskReason::WrongNumber)),
        Intent::LogisticsQuestion => Some((Team::Scheduling, TaskReason::Question)),
        Intent::IntakeYes | Intent::IntakeNo => Some((Team::Intake, TaskReason::NotUnderstood)),
        _ => None,
    });
    match team {
        Some((team, reason)) => Route::Person(team, reason),
        None if reading.intents.iter().all(|intent| *intent == Intent::ThanksSmalltalk) => Route::Nobody,
        None => Route::Person(Team::Nursing, TaskReason::NotUnderstood),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        intent::{OfferedTime, Question, read},
        kernel::Language,
    };
    use jiff::civil::date;

    fn routed(text: &str, context: Context) -> Route {
        let question = Question { context, ..Question::none(date(2026, 11, 23)) };
        let asked = (context != Context::None).then_some(context);
        route(&read(text, &question, Language::English, false), asked)
    }

    #[test]
    fn plain_answers_go_to_the_workflow() {
        for text in ["C", "yes", "R", "can't make it"] {
            assert_eq!(routed(text, Context::AppointmentReminder), Route::Workflow, "{text}");
        }
        assert_eq!(routed("YES", Context::RefillDue), Route::Workflow);
    }

    #[test]
    fn a_choice_that_fits_several_times_is_asked_about_again() {
        let at = |day, hour| date(2026, 11, day).at(hour, 0, 0, 0);
        let offer = |number, local: jiff::civil::DateTime| OfferedTime {
            number,
            start: local.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp(),
            local,
        };
        let offered = [offer(1, at(30, 10)), offer(2, at(30, 14)), offer(3, date(2026, 12, 1).at(10, 0, 0, 0))];
        let question =
            Question { context: Context::RescheduleOffer, offered: &offered, ..Question::none(date(2026, 11, 23)) };
        let routed = |text| route(&read(text, &question, Language::English, false), Some(Context::RescheduleOffer));
        assert_eq!(routed("monday"), Route::Workflow);
        assert!(matches!(routed("monday or whenever the moon is blue"), Route::Person(..)));
    }

    #[test]
    fn danger_and_symptoms_go_to_the_nurse_whatever_else_is_said() {
        let emergency = Route::Person(Team::Nursing, TaskReason::Emergency);
        assert_eq!(routed("C but I have chest pain right now", Context::AppointmentReminder), emergency);
        assert_eq!(routed("STOP my chest hurts and I can't breathe", Context::None), emergency);
    }

    #[test]
    fn what_is_not_understood_goes_to_a_person() {
        for text in ["", "purple elephants", "maybe", "🤷"] {
            let nurses = Route::Person(Team::Nursing, TaskReason::NotUnderstood);
            assert_eq!(routed(text, Context::AppointmentReminder), nurses, "{text}");
        }
        assert!(matches!(routed("YES", Context::None), Route::Person(..)));
    }

    #[test]
    fn a_stop_after_a_reminder_is_also_looked_at() {
        let task = Route::Person(Team::Scheduling, TaskReason::StoppedOrCancelled);
        assert_eq!(routed("CANCEL", Context::AppointmentReminder), task);
        assert_eq!(routed("STOP", Context::None), Route::Nobody);
    }

    #[test]
    fn thanks_need_nobody() {
        assert_eq!(routed("thank you!", Context::None), Route::Nobody);
    }
}
