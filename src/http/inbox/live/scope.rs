//! What a text is about, for the access matrix. Pure. Whatever is not known is [`Scope::Unsorted`]: it may be anything.

use crate::{
    access::{Roles, Scope, may_read, may_reply, narrowest},
    consent::Category,
    intent::{Intent, Sentiment},
    messaging::{Author, thread::TextRecord},
    template::TextKey,
};

/// How a text was read, as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredReading {
    /// What the text says; `None` when this version of the program cannot read it.
    pub(super) intents: Option<Vec<Intent>>,
    /// Its mood.
    pub(super) sentiment: Option<Sentiment>,
    /// `routine`, `prompt` or `emergency`.
    pub(super) urgency: String,
    /// Every word was understood.
    pub(super) certain: bool,
    /// The rules that read it so, by name.
    pub(super) rules: String,
}

/// The scope of `text`. `reading_of` finds how an inbound text was read.
pub(super) fn scope_of<'a>(
    text: &TextRecord,
    reading_of: impl Fn(&crate::kernel::Id<crate::messaging::Message>) -> Option<&'a StoredReading>,
) -> Scope {
    if text.inbound {
        return scope_of_reading(reading_of(&text.id));
    }
    match (&text.template_key, text.author) {
        (Some(key), _) => key.parse().map_or(Scope::Unsorted, scope_of_template),
        (None, Author::Staff(_)) => {
            let answered = text.in_response_to.map(|id| scope_of_reading(reading_of(&id)));
            scope_of_reply(text.category, answered)
        }
        (None, _) => Scope::Unsorted,
    }
}

/// The scope of an inbound text that was read so, or not yet.
pub(super) fn scope_of_reading(reading: Option<&StoredReading>) -> Scope {
    let Some(StoredReading { intents: Some(intents), sentiment: Some(sentiment), urgency, certain, .. }) = reading
    else {
        return Scope::Unsorted;
    };
    let mut scopes: Vec<Scope> = intents.iter().copied().map(scope_of_intent).collect();
    if urgency != "routine" {
        scopes.push(Scope::Clinical);
    }
    if *sentiment == Sentiment::Angry {
        scopes.push(Scope::Complaint);
    }
    if !certain {
        scopes.push(Scope::Unsorted);
    }
    narrowest(&scopes)
}

const fn scope_of_intent(intent: Intent) -> Scope {
    match intent {
        Intent::ClinicalConcern
        | Intent::AdverseEvent
        | Intent::AdherenceYes
        | Intent::AdherenceNo
        | Intent::ResultsQuestion => Scope::Clinical,
        Intent::FinancialBarrier => Scope::Billing,
        Intent::Refill => Scope::Refill,
        Intent::IntakeYes | Intent::IntakeNo => Scope::Intake,
        Intent::Reschedule
        | Intent::Cancel
        | Intent::SlotChoice
        | Intent::LogisticsQuestion
        | Intent::Arrival
        | Intent::WrongNumber => Scope::Scheduling,
        Intent::Confirm => Scope::Confirmation,
        Intent::OptOut | Intent::OptIn | Intent::Help | Intent::ThanksSmalltalk => Scope::Notice,
        Intent::Other => Scope::Unsorted,
    }
}

const fn scope_of_template(key: TextKey) -> Scope {
    match key {
        // That such an answer went out says what the patient wrote.
        TextKey::Emergency | TextKey::Crisis | TextKey::DetailLink => Scope::Clinical,
        TextKey::RefillDue
        | TextKey::RefillSent
        | TextKey::RefillApproved
        | TextKey::RefillDeclined
        | TextKey::RefillReady => Scope::Refill,
        TextKey::Offer
        | TextKey::Moved
        | TextKey::Requested
        | TextKey::Taken
        | TextKey::NoSlots
        | TextKey::Changed
        | TextKey::CancelAsk
        | TextKey::Cancelled => Scope::Scheduling,
        TextKey::Reminder | TextKey::ReminderMany | TextKey::Confirmed | TextKey::Kept | TextKey::LateAnswer => {
            Scope::Confirmation
        }
        TextKey::Stopped
        | TextKey::Started
        | TextKey::OptInAsk
        | TextKey::ArchivingNotice
        | TextKey::Help
        | TextKey::Who
        | TextKey::Which
        | TextKey::Person
        | TextKey::ConsentForm => Scope::Notice,
    }
}

/// The scope of what a person writes: that of the consent that it needs, or of what it answers if that is narrower.
pub(super) fn scope_of_reply(category: Category, answered: Option<Scope>) -> Scope {
    let own = match category {
        Category::Clinical => Scope::Clinical,
        Category::Refill => Scope::Refill,
        Category::Billing => Scope::Billing,
        Category::Appointment => Scope::Scheduling,
    };
    answered.map_or(own, |answered| narrowest(&[own, answered]))
}

/// The consent that a reply of somebody with these roles needs: what clinical staff write may be clinical.
pub(super) fn category_of_reply(roles: &Roles) -> Category {
    if may_reply(roles, Scope::Clinical) {
        Category::Clinical
    } else if may_reply(roles, Scope::Refill) {
        Category::Refill
    } else {
        Category::Appointment
    }
}

/// Whether somebody with these roles may write, in answer to a text of this scope where there is one.
pub(super) fn may_write(roles: &Roles, answered: Option<Scope>) -> bool {
    may_reply(roles, scope_of_reply(category_of_reply(roles), answered))
}

/// Whether somebody with these roles may decide what became of a text of this scope: what did not leave is sent again,
/// so it takes who may read it and may write.
pub(super) fn may_settle(roles: &Roles, scope: Scope) -> bool {
    may_read(roles, scope) && may_write(roles, Some(scope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    fn read_as(intents: &[Intent]) -> StoredReading {
        StoredReading {
            intents: Some(intents.to_vec()),
            sentiment: Some(Sentiment::Neutral),
            urgency: "routine".to_owned(),
            certain: true,
            rules: String::new(),
        }
    }

    #[test]
    fn a_text_takes_the_narrowest_scope_of_what_it_says() {
        assert_eq!(scope_of_reading(Some(&read_as(&[Intent::Confirm]))), Scope::Confirmation);
        let mixed = read_as(&[Intent::Confirm, Intent::ClinicalConcern]);
        assert_eq!(scope_of_reading(Some(&mixed)), Scope::Clinical);
        let angry = StoredReading { sentiment: Some(Sentiment::Angry), ..read_as(&[Intent::Reschedule]) };
        assert_eq!(scope_of_reading(Some(&angry)), Scope::Complaint);
        let urgent = StoredReading { urgency: "emergency".to_owned(), ..read_as(&[Intent::Confirm]) };
        assert_eq!(scope_of_reading(Some(&urgent)), Scope::Clinical);
    }

    #[test]
    fn what_nobody_understood_may_be_anything() {
        let scheduler = Roles::from([Role::Scheduler]);
        for reading in [
            None,
            Some(StoredReading { intents: None, ..read_as(&[]) }),
            Some(StoredReading { certain: false, ..read_as(&[Intent::Confirm]) }),
            Some(read_as(&[Intent::Other])),
            Some(read_as(&[])),
        ] {
            let scope = scope_of_reading(reading.as_ref());
            assert_eq!(scope, Scope::Unsorted);
            assert!(!may_read(&scheduler, scope));
        }
    }

    #[test]
    fn an_answer_to_an_emergency_is_not_for_everybody() {
        assert_eq!(scope_of_template(TextKey::Crisis), Scope::Clinical);
        assert_eq!("no_such_text".parse::<TextKey>().map_or(Scope::Unsorted, scope_of_template), Scope::Unsorted);
    }

    #[test]
    fn whoever_writes_may_read_what_they_wrote() {
        let answers = Scope::ALL.into_iter().map(Some).chain([None]);
        for (role, answered) in Role::ALL.into_iter().flat_map(|role| answers.clone().map(move |one| (role, one))) {
            let roles = Roles::from([role]);
            if may_write(&roles, answered) {
                assert!(may_read(&roles, scope_of_reply(category_of_reply(&roles), answered)), "{role:?} {answered:?}");
            }
        }
        assert!(may_write(&Roles::from([Role::Nurse]), Some(Scope::Confirmation)));
        assert!(may_write(&Roles::from([Role::Pharmacy]), Some(Scope::Refill)));
        assert!(may_write(&Roles::from([Role::Billing]), Some(Scope::Billing)));
        assert!(!may_write(&Roles::from([Role::Billing]), None), "a billing clerk answers, and begins nothing");
        assert!(!may_write(&Roles::from([Role::Compliance]), None));
    }

    #[test]
    fn who_only_reads_does_not_send_again() {
        for role in [Role::Billing, Role::Intake, Role::Pharmacy, Role::Manager, Role::Compliance] {
            let roles = Roles::from([role]);
            let writes = may_write(&roles, Some(Scope::Notice));
            assert_eq!(may_settle(&roles, Scope::Notice), writes && may_read(&roles, Scope::Notice), "{role:?}");
        }
        let manager = Roles::from([Role::Manager]);
        assert!(may_read(&manager, Scope::Notice) && !may_settle(&manager, Scope::Notice));
        let nurse = Roles::from([Role::Nurse]);
        assert!(may_settle(&nurse, Scope::Confirmation) && !may_settle(&nurse, Scope::Complaint));
    }
}
