//! What the end of an outbound text asks of people. Pure; the table is a golden file (`snapshots/`).
//!
//! Somebody acts where a person's own words, an answer that the patient waits for or news that the patient must have did
//! not arrive, and where the number or the text itself is at fault. Nobody has to where the end is what the practice
//! wants: no reminder for who said STOP or never agreed, none that would come too late, nothing that has become untrue.

use super::TaskReason;
use crate::{
    access::Team,
    consent::Category,
    intent::{EmergencyKind, Urgency},
    messaging::{Author, Class, PERSON_DECIDES, carrier_port::FailureClass, gate::DropReason, state},
    template::TextKey,
};

/// How a text ended that did not reach the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The gate did not let it leave.
    Dropped(DropReason),
    /// The carrier refused it or could not deliver it.
    Failed(FailureClass),
    /// Nobody knows whether it left, and nothing but a person settles that.
    Unknown,
}

impl Ending {
    /// The ending that a stored state means; `None` while the text is on its way or where it has arrived.
    pub(super) fn of(stored: &str, reason: Option<&str>) -> Option<Self> {
        match (stored, reason) {
            // A word of another version of the program: somebody should look.
            (state::DROPPED, why) => {
                Some(Self::Dropped(why.and_then(DropReason::from_code).unwrap_or(DropReason::Unreadable)))
            }
            (state::FAILED | state::UNDELIVERED, why) => {
                Some(Self::Failed(why.and_then(FailureClass::from_code).unwrap_or(FailureClass::Unknown)))
            }
            (state::UNKNOWN, Some(PERSON_DECIDES)) => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Whether it says that texts of the practice as such are in trouble: until an operator has mended that with the
    /// carrier, others end so too.
    pub(super) const fn carrier_trouble(self) -> Option<FailureClass> {
        use FailureClass::{CapWarning, Configuration, DailyCap, Filtered, RateLimited, Unregistered};
        match self {
            Self::Failed(class @ (CapWarning | Configuration | DailyCap | Filtered | RateLimited | Unregistered)) => {
                Some(class)
            }
            _ => None,
        }
    }
}

/// What a text is to the patient who does not get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// A person wrote it.
    Staff,
    /// It says whom to call in danger.
    Emergency,
    /// It answers what the patient has texted.
    Answer,
    /// It tells what has changed.
    News,
    /// It reminds of what stands anyway.
    Reminder,
    /// It is about texting itself: nobody misses it.
    Service,
}

impl Weight {
    /// Every weight, the heaviest first.
    #[cfg(test)]
    const ALL: [Self; 6] = [Self::Staff, Self::Emergency, Self::Answer, Self::News, Self::Reminder, Self::Service];

    /// Whether a person has to act when such a text ends so.
    fn asks_a_person(self, ending: Ending) -> bool {
        use FailureClass as Failure;
        match self {
            // It had left.
            _ if ending == Ending::Dropped(DropReason::SentBefore) => return false,
            Self::Staff | Self::Emergency => return true,
            // Later texts to the number wait until it is settled, whatever it said.
            _ if ending == Ending::Unknown => return true,
            Self::Service => return false,
            Self::Answer | Self::News | Self::Reminder => {}
        }
        match ending {
            // What is true now is told instead; who said STOP gets no text, by their own wish.
            Ending::Dropped(
                DropReason::NoLongerTrue | DropReason::Stopped | DropReason::Deceased | DropReason::SentBefore,
            )
            | Ending::Failed(Failure::OptedOut) => false,
            Ending::Dropped(DropReason::NoConsent | DropReason::Unverified) => self == Self::Answer,
            // A reminder has had its time then. Of the carrier's troubles a day's reminders die together: that is one
            // task for the practice, not one for each patient.
            Ending::Dropped(DropReason::Expired)
            | Ending::Failed(
                Failure::Expired
                | Failure::CapWarning
                | Failure::Configuration
                | Failure::DailyCap
                | Failure::RateLimited
                | Failure::Unregistered,
            ) => self != Self::Reminder,
            Ending::Dropped(
                DropReason::Guard
                | DropReason::Unreadable
                | DropReason::NotTheirNumber
                | DropReason::QuestionOpen
                | DropReason::MaybeSentBefore,
            )
            | Ending::Failed(_)
            | Ending::Unknown => true,
        }
    }
}

/// An outbound text, as far as its ending goes.
#[derive(Debug, Clone)]
pub(super) struct EndedText {
    pub(super) class: Class,
    pub(super) category: Category,
    pub(super) author: Author,
    pub(super) template: Option<TextKey>,
    /// It answers a text.
    pub(super) answers: bool,
    pub(super) ending: Ending,
}

impl EndedText {
    fn weight(&self) -> Weight {
        match (self.class, self.author, self.template) {
            (Class::StaffReply, ..) | (_, Author::Staff(_), _) => Weight::Staff,
            (Class::Emergency, ..) => Weight::Emergency,
            (Class::StopConfirmation | Class::OptInRequest | Class::Help | Class::UnknownSender, ..) => Weight::Service,
            (Class::Answer, ..) => Weight::Answer,
            (Class::Automated, ..) if self.answers => Weight::Answer,
            (Class::Automated, _, Some(TextKey::Reminder | TextKey::ReminderMany | TextKey::RefillDue)) => {
                Weight::Reminder
            }
            (Class::Automated, ..) => Weight::News,
        }
    }

    /// What somebody has to do about it in the conversation, if anything.
    pub(super) fn work(&self) -> Option<(Team, TaskReason, Urgency)> {
        let weight = self.weight();
        if !weight.asks_a_person(self.ending) {
            return None;
        }
        let reason = if self.ending == Ending::Unknown { TaskReason::DeliveryUnknown } else { TaskReason::Undelivered };
        let urgency = match weight {
            Weight::Emergency if self.template == Some(TextKey::Crisis) => Urgency::Emergency(EmergencyKind::SelfHarm),
            Weight::Emergency => Urgency::Emergency(EmergencyKind::Medical),
            Weight::Staff | Weight::Answer => Urgency::Prompt,
            Weight::News | Weight::Reminder | Weight::Service => Urgency::Routine,
        };
        let team = match (weight, self.category) {
            (Weight::Emergency, _) | (_, Category::Clinical) => Team::Nursing,
            (_, Category::Appointment) => Team::Scheduling,
            (_, Category::Refill) => Team::Pharmacy,
            (_, Category::Billing) => Team::Billing,
        };
        Some((team, reason, urgency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn reminder(ending: Ending) -> EndedText {
        EndedText {
            class: Class::Automated,
            category: Category::Appointment,
            author: Author::System,
            template: Some(TextKey::Reminder),
            answers: false,
            ending,
        }
    }

    #[test]
    fn the_table() {
        let dropped = DropReason::ALL.iter().copied().map(Ending::Dropped);
        let failed = FailureClass::ALL.into_iter().map(Ending::Failed);
        let endings = dropped.chain(failed).chain([Ending::Unknown]);
        let row = |ending| {
            let asked: Vec<String> = Weight::ALL
                .into_iter()
                .filter(|weight| weight.asks_a_person(ending))
                .map(|weight| format!("{weight:?}"))
                .collect();
            let practice = if ending.carrier_trouble().is_some() { " + the practice" } else { "" };
            format!("{ending:?}: {}{practice}", asked.join(" "))
        };
        insta::assert_snapshot!(endings.map(row).collect::<Vec<_>>().join("\n"));
    }

    #[rstest]
    #[case("sent", None)]
    #[case("delivered", None)]
    #[case("queued", Some("unreachable"))]
    #[case("unknown", Some("no-answer"))]
    fn what_has_not_ended_asks_nothing(#[case] stored: &str, #[case] reason: Option<&str>) {
        assert_eq!(Ending::of(stored, reason), None);
    }

    #[test]
    fn stored_words_mean_their_endings_and_words_of_other_versions_the_worst() {
        assert_eq!(Ending::of("dropped", Some("stopped")), Some(Ending::Dropped(DropReason::Stopped)));
        assert_eq!(Ending::of("undelivered", Some("landline")), Some(Ending::Failed(FailureClass::Landline)));
        assert_eq!(Ending::of("unknown", Some(PERSON_DECIDES)), Some(Ending::Unknown));
        for (stored, reason) in [("dropped", Some("moonlight")), ("failed", None), ("failed", Some("moonlight"))] {
            let ending = Ending::of(stored, reason).unwrap();
            assert!(reminder(ending).work().is_some(), "{stored} {reason:?}");
        }
    }

    #[rstest]
    #[case::reminder(reminder(Ending::Unknown), Team::Scheduling, Urgency::Routine)]
    #[case::refill(EndedText { category: Category::Refill, ..reminder(Ending::Unknown) }, Team::Pharmacy, Urgency::Routine)]
    #[case::answer(EndedText { answers: true, ..reminder(Ending::Unknown) }, Team::Scheduling, Urgency::Prompt)]
    #[case::nurse(
        EndedText { class: Class::StaffReply, category: Category::Clinical, ..reminder(Ending::Unknown) },
        Team::Nursing,
        Urgency::Prompt
    )]
    #[case::crisis(
        EndedText { class: Class::Emergency, template: Some(TextKey::Crisis), ..reminder(Ending::Unknown) },
        Team::Nursing,
        Urgency::Emergency(EmergencyKind::SelfHarm)
    )]
    fn the_team_of_the_matter_is_asked(#[case] text: EndedText, #[case] team: Team, #[case] urgency: Urgency) {
        assert_eq!(text.work(), Some((team, TaskReason::DeliveryUnknown, urgency)));
    }
}
