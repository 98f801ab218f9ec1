//! Who may record what patients say about texts, as data. Its rendered form stands in the golden file of the matrix.

use super::{Role, Roles};

/// What a role may do with the consent of a patient whose inbox it may open. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConsentRight {
    /// Sees what stands.
    See,
    /// May record that a patient wants no texts: whomever the patient tells, it counts (47 CFR 64.1200(a)(10)).
    Withdraw,
    /// May record that a patient agreed to the wording shown.
    Grant,
}

const RIGHTS: &[(Role, Option<ConsentRight>)] = &[
    (Role::Scheduler, Some(ConsentRight::Grant)),
    (Role::Nurse, Some(ConsentRight::Grant)),
    (Role::Billing, Some(ConsentRight::Withdraw)),
    (Role::Provider, Some(ConsentRight::Grant)),
    (Role::Pharmacy, Some(ConsentRight::Withdraw)),
    (Role::Intake, Some(ConsentRight::Grant)),
    (Role::Manager, Some(ConsentRight::Withdraw)),
    (Role::Compliance, None),
    (Role::Admin, None),
];

pub(super) fn right(role: Role) -> Option<ConsentRight> {
    RIGHTS.iter().find(|(of, _)| *of == role).and_then(|(_, right)| *right)
}

/// What somebody with these roles may do with a patient's consent; `None`: nothing at all.
#[must_use]
pub fn consent_right(roles: &Roles) -> Option<ConsentRight> {
    roles.iter().filter_map(right).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_add_up_and_without_one_there_is_nothing() {
        assert_eq!(consent_right(&Roles::none()), None);
        assert_eq!(consent_right(&Roles::from([Role::Billing])), Some(ConsentRight::Withdraw));
        assert_eq!(consent_right(&Roles::from([Role::Billing, Role::Scheduler])), Some(ConsentRight::Grant));
        assert_eq!(consent_right(&Roles::from([Role::Admin, Role::Compliance])), None);
    }

    #[test]
    fn whoever_reads_a_thread_may_record_that_its_patient_wants_no_texts() {
        use crate::access::{Area, may_use};
        for role in Role::ALL.into_iter().filter(|role| may_use(&Roles::from([*role]), Area::Inbox)) {
            assert!(right(role) >= Some(ConsentRight::Withdraw), "{role:?}");
        }
    }
}
