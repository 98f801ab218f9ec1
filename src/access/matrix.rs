//! The permission matrix, as data. Its rendered form is a golden file.
//!
//! Three questions, each with its own table: who may read and answer texts about what ([`Scope`]), who works the
//! tasks of which team ([`Team`]), who may use which part of the program ([`Area`]). The fourth, who may record what
//! patients say about texts, stands in `consenting`.

use super::{Role, Roles};

/// What a text is about, as far as reading it goes. A text that was read as several things has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Symptoms, results, advice, adverse events.
    Clinical,
    /// Not read yet, or not understood: it may be anything.
    Unsorted,
    /// Angry or dissatisfied.
    Complaint,
    /// Payments and the ability to pay.
    Billing,
    /// Prescriptions and refills.
    Refill,
    /// Answers to the questions before a visit.
    Intake,
    /// Finding another time: wishes, offers, choices, cancellations, the way to the clinic.
    Scheduling,
    /// Reminders, confirmations, and the time that stands.
    Confirmation,
    /// Without content: opt-outs, opt-ins, help, introductions.
    Notice,
}

impl Scope {
    /// Every scope, the narrowest first.
    pub const ALL: [Self; 9] = [
        Self::Clinical,
        Self::Unsorted,
        Self::Complaint,
        Self::Billing,
        Self::Refill,
        Self::Intake,
        Self::Scheduling,
        Self::Confirmation,
        Self::Notice,
    ];

    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Clinical => "clinical",
            Self::Unsorted => "unsorted",
            Self::Complaint => "complaint",
            Self::Billing => "billing",
            Self::Refill => "refill",
            Self::Intake => "intake",
            Self::Scheduling => "scheduling",
            Self::Confirmation => "confirmation",
            Self::Notice => "notice",
        }
    }

    /// The scope with this code. What is not known must be taken as [`Scope::Unsorted`].
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.code() == code)
    }

    /// What such a message is called where its text is held back.
    #[must_use]
    pub const fn message_name(self) -> &'static str {
        match self {
            Self::Clinical => "Clinical message",
            Self::Unsorted => "Message not sorted yet",
            Self::Complaint => "Complaint",
            Self::Billing => "Billing message",
            Self::Refill => "Refill message",
            Self::Intake => "Intake answer",
            Self::Scheduling => "Scheduling message",
            Self::Confirmation => "Visit message",
            Self::Notice => "Service message",
        }
    }
}

/// The scope that governs a text read as all of `scopes`: the narrowest of them. None at all counts as not sorted.
#[must_use]
pub fn narrowest(scopes: &[Scope]) -> Scope {
    scopes.iter().copied().min().unwrap_or(Scope::Unsorted)
}

/// What a role may do with texts of a scope. Each includes the ones before it, except that reading by stated
/// reason is not a step to reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Knows that there is something, not what.
    Redacted,
    /// May open texts for a stated reason, for a limited time, audited as such.
    ByReason,
    /// May read.
    Read,
    /// May read and answer.
    Reply,
}

use Permission::{ByReason, Read, Reply};

const MATRIX: &[(Role, &[(Scope, Permission)])] = &[
    (Role::Scheduler, &[(Scope::Scheduling, Reply), (Scope::Confirmation, Reply), (Scope::Notice, Read)]),
    (
        Role::Nurse,
        &[
            (Scope::Clinical, Reply),
            (Scope::Unsorted, Reply),
            (Scope::Refill, Reply),
            (Scope::Confirmation, Reply),
            (Scope::Notice, Read),
        ],
    ),
    (Role::Billing, &[(Scope::Billing, Reply), (Scope::Notice, Read)]),
    (
        Role::Provider,
        &[
            (Scope::Clinical, Reply),
            (Scope::Unsorted, Reply),
            (Scope::Complaint, Read),
            (Scope::Billing, Read),
            (Scope::Refill, Reply),
            (Scope::Intake, Reply),
            (Scope::Scheduling, Reply),
            (Scope::Confirmation, Reply),
            (Scope::Notice, Read),
        ],
    ),
    (Role::Pharmacy, &[(Scope::Refill, Reply), (Scope::Notice, Read)]),
    (Role::Intake, &[(Scope::Intake, Reply), (Scope::Notice, Read)]),
    (Role::Manager, &[(Scope::Complaint, Reply), (Scope::Notice, Read)]),
    (
        Role::Compliance,
        &[
            (Scope::Clinical, ByReason),
            (Scope::Unsorted, ByReason),
            (Scope::Complaint, ByReason),
            (Scope::Billing, ByReason),
            (Scope::Refill, ByReason),
            (Scope::Intake, ByReason),
            (Scope::Scheduling, ByReason),
            (Scope::Confirmation, ByReason),
            (Scope::Notice, ByReason),
        ],
    ),
    (Role::Admin, &[]),
];

/// People who share a queue of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Team {
    /// Visits.
    Scheduling,
    /// Clinical questions.
    Nursing,
    /// What only a prescriber decides.
    Provider,
    /// Prescriptions.
    Pharmacy,
    /// Payments.
    Billing,
    /// Preparing visits.
    Intake,
    /// Complaints.
    Management,
}

impl Team {
    /// Every team, in the order in which they are listed to people.
    pub const ALL: [Self; 7] = [
        Self::Scheduling,
        Self::Nursing,
        Self::Provider,
        Self::Pharmacy,
        Self::Billing,
        Self::Intake,
        Self::Management,
    ];

    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Scheduling => "scheduling",
            Self::Nursing => "nursing",
            Self::Provider => "provider",
            Self::Pharmacy => "pharmacy",
            Self::Billing => "billing",
            Self::Intake => "intake",
            Self::Management => "management",
        }
    }

    /// The team with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|team| team.code() == code)
    }

    /// The team's name as people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduling => "Scheduling",
            Self::Nursing => "Nursing",
            Self::Provider => "Provider",
            Self::Pharmacy => "Pharmacy",
            Self::Billing => "Billing",
            Self::Intake => "Intake",
            Self::Management => "Management",
        }
    }
}

const TEAMS: &[(Role, &[Team])] = &[
    (Role::Scheduler, &[Team::Scheduling]),
    (Role::Nurse, &[Team::Nursing]),
    (Role::Billing, &[Team::Billing]),
    (Role::Provider, &[Team::Provider, Team::Nursing, Team::Scheduling, Team::Pharmacy, Team::Intake]),
    (Role::Pharmacy, &[Team::Pharmacy]),
    (Role::Intake, &[Team::Intake]),
    (Role::Manager, &[Team::Management]),
    (Role::Compliance, &[]),
    (Role::Admin, &[]),
];

/// A part of the program that is not about one patient's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// The inbox: threads and tasks, as far as the other two tables go.
    Inbox,
    /// Figures without content.
    Reports,
    /// Who did what.
    Audit,
    /// Templates, routing, hours, numbers, contracts.
    Settings,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Reports, Self::Audit, Self::Settings];
}

const AREAS: &[(Role, &[Area])] = &[
    (Role::Scheduler, &[Area::Inbox]),
    (Role::Nurse, &[Area::Inbox]),
    (Role::Billing, &[Area::Inbox]),
    (Role::Provider, &[Area::Inbox]),
    (Role::Pharmacy, &[Area::Inbox]),
    (Role::Intake, &[Area::Inbox]),
    (Role::Manager, &[Area::Inbox, Area::Reports]),
    (Role::Compliance, &[Area::Audit]),
    (Role::Admin, &[Area::Settings]),
];

fn granted<T: Copy>(table: &[(Role, &'static [T])], role: Role) -> &'static [T] {
    table.iter().find(|(of, _)| *of == role).map_or(&[], |(_, granted)| granted)
}

fn permission(role: Role, scope: Scope) -> Permission {
    granted(MATRIX, role)
        .iter()
        .find(|(of, _)| *of == scope)
        .map_or(Permission::Redacted, |(_, permission)| *permission)
}

/// Whether somebody with these roles may read a text of this scope.
#[must_use]
pub fn may_read(roles: &Roles, scope: Scope) -> bool {
    roles.iter().any(|role| permission(role, scope) >= Read)
}

/// Whether somebody with these roles may read a text of this scope after stating a reason.
#[must_use]
pub fn may_read_by_reason(roles: &Roles, scope: Scope) -> bool {
    roles.iter().any(|role| permission(role, scope) >= ByReason)
}

/// Whether somebody with these roles may answer a text of this scope.
#[must_use]
pub fn may_reply(roles: &Roles, scope: Scope) -> bool {
    roles.iter().any(|role| permission(role, scope) >= Reply)
}

/// Whether somebody with these roles may see and close the tasks of this team.
#[must_use]
pub fn may_serve(roles: &Roles, team: Team) -> bool {
    roles.iter().any(|role| granted(TEAMS, role).contains(&team))
}

/// Whether somebody with these roles may use this part of the program.
#[must_use]
pub fn may_use(roles: &Roles, area: Area) -> bool {
    roles.iter().any(|role| granted(AREAS, role).contains(&area))
}

/// The roles that read texts of this scope, to say who can where a text is held back.
#[must_use]
pub fn readers(scope: Scope) -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| permission(*role, scope) >= Read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::consenting;
    use std::fmt::Write as _;

    /// The four tables as a person reviews them.
    fn rendered() -> String {
        let mut text = String::new();
        let header: String = Role::ALL.iter().fold(String::new(), |line, role| line + &format!("{:<11}", role.code()));
        let _ = writeln!(text, "{:<14}{header}", "texts about");
        for scope in Scope::ALL {
            let cells = Role::ALL.map(|role| match permission(role, scope) {
                Permission::Redacted => "-",
                ByReason => "by reason",
                Read => "read",
                Reply => "reply",
            });
            let line: String = cells.iter().fold(String::new(), |line, cell| line + &format!("{cell:<11}"));
            let _ = writeln!(text, "{:<14}{}", scope.code(), line.trim_end());
        }
        let _ = writeln!(text, "\n{:<14}{header}", "tasks of");
        for team in Team::ALL {
            let cells = Role::ALL.map(|role| if may_serve(&Roles::from([role]), team) { "work" } else { "-" });
            let line: String = cells.iter().fold(String::new(), |line, cell| line + &format!("{cell:<11}"));
            let _ = writeln!(text, "{:<14}{}", team.code(), line.trim_end());
        }
        let _ = writeln!(text, "\n{:<14}{header}", "area");
        for area in Area::ALL {
            let cells = Role::ALL.map(|role| if may_use(&Roles::from([role]), area) { "use" } else { "-" });
            let line: String = cells.iter().fold(String::new(), |line, cell| line + &format!("{cell:<11}"));
            let _ = writeln!(text, "{:<14}{}", format!("{area:?}").to_lowercase(), line.trim_end());
        }
        let cells = Role::ALL.map(|role| consenting::right(role).map_or("-".to_owned(), |right| format!("{right:?}")));
        let line: String = cells.iter().fold(String::new(), |line, cell| line + &format!("{cell:<11}"));
        let _ = writeln!(text, "\n{:<14}{}", "consent", line.trim_end().to_lowercase());
        text
    }

    #[test]
    fn the_matrix_is_the_reviewed_one() {
        insta::assert_snapshot!("permission_matrix", rendered());
    }

    #[test]
    fn nobody_without_a_role_sees_anything() {
        for scope in Scope::ALL {
            assert!(!may_read(&Roles::none(), scope) && !may_read_by_reason(&Roles::none(), scope));
        }
        assert!(Team::ALL.into_iter().all(|team| !may_serve(&Roles::none(), team)));
        assert!(Area::ALL.into_iter().all(|area| !may_use(&Roles::none(), area)));
    }

    #[test]
    fn roles_add_up_and_a_mixed_text_takes_the_narrowest_scope() {
        let both = Roles::from([Role::Scheduler, Role::Billing]);
        assert!(may_reply(&both, Scope::Billing) && may_reply(&both, Scope::Scheduling));
        let mixed = narrowest(&[Scope::Scheduling, Scope::Clinical]);
        assert!(!may_read(&both, mixed));
        assert!(may_read(&Roles::from([Role::Nurse]), mixed));
        assert_eq!(narrowest(&[]), Scope::Unsorted);
    }

    #[test]
    fn a_stated_reason_does_not_make_a_reader() {
        let compliance = Roles::from([Role::Compliance]);
        assert!(may_read_by_reason(&compliance, Scope::Clinical) && !may_read(&compliance, Scope::Clinical));
    }

    #[test]
    fn everything_has_somebody() {
        assert!(Scope::ALL.into_iter().all(|scope| !readers(scope).is_empty()));
        assert!(
            Team::ALL.into_iter().all(|team| Role::ALL.into_iter().any(|role| may_serve(&Roles::from([role]), team)))
        );
        for scope in Scope::ALL {
            assert_eq!(Scope::from_code(scope.code()), Some(scope));
        }
        for team in Team::ALL {
            assert_eq!(Team::from_code(team.code()), Some(team));
        }
    }
}
