//! The roles of staff, mirrored from the EHR at each launch.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// What a member of staff does here. A person may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Books and moves visits.
    Scheduler,
    /// Answers clinical questions.
    Nurse,
    /// Works with payments.
    Billing,
    /// Treats and prescribes.
    Provider,
    /// Works with prescriptions.
    Pharmacy,
    /// Prepares visits.
    Intake,
    /// Hears complaints and reads reports.
    Manager,
    /// Reviews who did what.
    Compliance,
    /// Keeps the settings; sees no content.
    Admin,
}

impl Role {
    /// Every role, in the order in which they are listed to people.
    pub const ALL: [Self; 9] = [
        Self::Scheduler,
        Self::Nurse,
        Self::Billing,
        Self::Provider,
        Self::Pharmacy,
        Self::Intake,
        Self::Manager,
        Self::Compliance,
        Self::Admin,
    ];

    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Nurse => "nurse",
            Self::Billing => "billing",
            Self::Provider => "provider",
            Self::Pharmacy => "pharmacy",
            Self::Intake => "intake",
            Self::Manager => "manager",
            Self::Compliance => "compliance",
            Self::Admin => "admin",
        }
    }

    /// The role with this code; `None` for one that we do not have.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    /// The role as people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "Scheduler",
            Self::Nurse => "Nurse",
            Self::Billing => "Billing",
            Self::Provider => "Provider",
            Self::Pharmacy => "Pharmacy",
            Self::Intake => "Intake",
            Self::Manager => "Manager",
            Self::Compliance => "Compliance",
            Self::Admin => "Administrator",
        }
    }

    /// People of this role, in words that begin a sentence.
    #[must_use]
    pub const fn people(self) -> &'static str {
        match self {
            Self::Scheduler => "Schedulers",
            Self::Nurse => "Nurses",
            Self::Billing => "Billing staff",
            Self::Provider => "Providers",
            Self::Pharmacy => "Pharmacy staff",
            Self::Intake => "Intake staff",
            Self::Manager => "Managers",
            Self::Compliance => "Compliance staff",
            Self::Admin => "Administrators",
        }
    }

    /// Whether what such a person writes to a patient may be clinical advice.
    #[must_use]
    pub const fn is_clinical(self) -> bool {
        matches!(self, Self::Nurse | Self::Provider | Self::Pharmacy)
    }
}

/// The roles of one person. Stored as codes separated by commas, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// No role: nothing may be seen or done.
    #[must_use]
    pub const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `role` is one of them.
    #[must_use]
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// Those that `other` has too.
    #[must_use]
    pub fn also_in(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl<const N: usize> From<[Role; N]> for Roles {
    fn from(roles: [Role; N]) -> Self {
        roles.into_iter().collect()
    }
}

impl fmt::Display for Roles {
    /// The stored form, such as `nurse,provider`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<&str> = self.iter().map(Role::code).collect();
        f.write_str(&codes.join(","))
    }
}

impl FromStr for Roles {
    type Err = std::convert::Infallible;

    /// Reads the stored form. A code that is not known grants nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.split(',').filter_map(Role::from_code).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_reads_back_and_unknown_codes_grant_nothing() {
        let roles = Roles::from([Role::Provider, Role::Nurse]);
        assert_eq!(roles.to_string(), "nurse,provider");
        assert_eq!("nurse,provider".parse(), Ok(roles));
        assert_eq!("root,Nurse,".parse(), Ok(Roles::none()));
    }
}
