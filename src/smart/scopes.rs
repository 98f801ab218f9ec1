//! What a granted scope string allows (SMART App Launch 2.2, "Scopes and Launch Context"), in the spelling of either
//! version. What is granted may be split, widened or narrowed against what was asked: only the union counts.

use std::collections::BTreeSet;

/// Whose data a scope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeLevel {
    /// The patient in context.
    Patient,
    /// What the person may see.
    User,
    /// What the service may see by itself.
    System,
}

/// What a scope lets one do to resources of a type. `PATCH` is an update; history is a read or a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interaction {
    /// Type-level create.
    Create,
    /// Instance-level read.
    Read,
    /// Instance-level update or patch.
    Update,
    /// Instance-level delete.
    Delete,
    /// Type-level search.
    Search,
}

/// The letters of version 2, in the order that the specification asks for.
const LETTERS: [(char, Interaction); 5] = [
    ('c', Interaction::Create),
    ('r', Interaction::Read),
    ('u', Interaction::Update),
    ('d', Interaction::Delete),
    ('s', Interaction::Search),
];

/// One scope over resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceScope {
    /// Whose data.
    pub level: ScopeLevel,
    /// Which type; `None` for all (`*`).
    pub resource_type: Option<String>,
    /// What may be done.
    pub interactions: BTreeSet<Interaction>,
    /// The search parameters that narrow it, such as `category=clinical-note`.
    pub narrowed: Option<String>,
}

impl ResourceScope {
    /// Reads one scope; `None` for what is no scope over resources. Letters out of order are none: a server that
    /// writes them so has not said what it grants.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (level, rest) = text.split_once('/')?;
        let level = match level {
            "patient" => ScopeLevel::Patient,
            "user" => ScopeLevel::User,
            "system" => ScopeLevel::System,
            _ => return None,
        };
        let (rest, narrowed) = match rest.split_once('?') {
            Some((rest, narrowed)) => (rest, Some(narrowed.to_owned()).filter(|narrowed| !narrowed.is_empty())),
            None => (rest, None),
        };
        let (resource_type, permission) = rest.split_once('.')?;
        let is_type = resource_type.starts_with(|c: char| c.is_ascii_uppercase())
            && resource_type.chars().all(|c| c.is_ascii_alphanumeric());
        if resource_type != "*" && !is_type {
            return None;
        }
        let resource_type = (resource_type != "*").then(|| resource_type.to_owned());
        Some(Self { level, resource_type, interactions: interactions(permission)?, narrowed })
    }

    fn covers(&self, resource_type: &str, interaction: Interaction) -> bool {
        self.resource_type.as_deref().is_none_or(|own| own == resource_type) && self.interactions.contains(&interaction)
    }
}

fn interactions(permission: &str) -> Option<BTreeSet<Interaction>> {
    let letters = match permission {
        "read" => "rs",
        "write" => "cud",
        "*" => "cruds",
        letters => letters,
    };
    let mut order = LETTERS.iter();
    let mut found = BTreeSet::new();
    for letter in letters.chars() {
        let (_, interaction) = order.find(|(own, _)| *own == letter)?;
        found.insert(*interaction);
    }
    (!found.is_empty()).then_some(found)
}

/// All that was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantedScopes {
    resources: Vec<ResourceScope>,
    others: BTreeSet<String>,
}

impl GrantedScopes {
    /// Reads a `scope` value: scopes separated by spaces, in any order.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut granted = Self::default();
        for scope in text.split_ascii_whitespace() {
            match ResourceScope::parse(scope) {
                Some(resource) => granted.resources.push(resource),
                None => {
                    granted.others.insert(scope.to_owned());
                }
            }
        }
        granted
    }

    /// Whether `interaction` on every resource of this type is granted, at any level. The server may still refuse it:
    /// a scope never gives a person more than the EHR does.
    #[must_use]
    pub fn allows(&self, resource_type: &str, interaction: Interaction) -> bool {
        self.resources.iter().any(|scope| scope.narrowed.is_none() && scope.covers(resource_type, interaction))
    }

    /// Whether `interaction` on some resources of this type is granted, narrowed by search parameters or not.
    #[must_use]
    pub fn allows_some(&self, resource_type: &str, interaction: Interaction) -> bool {
        self.resources.iter().any(|scope| scope.covers(resource_type, interaction))
    }

    /// Whether a scope that is not over resources was granted, such as `openid` or `offline_access`.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.others.contains(scope)
    }

    /// The scopes over resources.
    #[must_use]
    pub fn resources(&self) -> &[ResourceScope] {
        &self.resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("user/Appointment.read", "Appointment", "rs")]
    #[case("user/Appointment.write", "Appointment", "cud")]
    #[case("patient/*.*", "Slot", "cruds")]
    #[case("system/Appointment.rus", "Appointment", "rus")]
    #[case("user/*.cruds", "Task", "cruds")]
    #[case("user/Appointment.c user/Appointment.r", "Appointment", "cr")]
    #[case("user/Appointment.dus", "Appointment", "")]
    #[case("user/Appointment.rr", "Appointment", "")]
    #[case("user/Appointment.", "Appointment", "")]
    #[case("user/Appointment", "Appointment", "")]
    #[case("user/appointment.rs", "appointment", "")]
    #[case("admin/Appointment.rs", "Appointment", "")]
    #[case("user/Appointment.rs", "AppointmentResponse", "")]
    #[case("", "Appointment", "")]
    fn both_spellings_mean_the_same_set(#[case] granted: &str, #[case] resource_type: &str, #[case] expected: &str) {
        let granted = GrantedScopes::parse(granted);
        let allowed: String =
            LETTERS.iter().filter(|(_, one)| granted.allows(resource_type, *one)).map(|(letter, _)| letter).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn a_narrowed_scope_allows_some_and_not_all() {
        let granted = GrantedScopes::parse("user/DocumentReference.cs?category=clinical-note openid launch/patient");
        assert!(!granted.allows("DocumentReference", Interaction::Create));
        assert!(granted.allows_some("DocumentReference", Interaction::Create));
        assert!(granted.has("openid") && granted.has("launch/patient") && !granted.has("fhirUser"));
    }
}
