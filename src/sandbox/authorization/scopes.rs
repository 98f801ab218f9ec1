//! SMART scopes, in the spelling of version 1 and of version 2
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html>).

use std::collections::BTreeSet;
use std::fmt;

/// Whose data a resource scope reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// The launch's patient.
    Patient,
    /// What the signed-in person may see.
    User,
    /// What the backend service may see.
    System,
}

/// What a scope lets its bearer do, one letter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `c`
    Create,
    /// `r`
    Read,
    /// `u`, patch included
    Update,
    /// `d`
    Delete,
    /// `s`
    Search,
}

impl Permission {
    const IN_ORDER: [(char, Self); 5] =
        [('c', Self::Create), ('r', Self::Read), ('u', Self::Update), ('d', Self::Delete), ('s', Self::Search)];
}

/// A resource scope such as `user/Patient.rs`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ResourceScope {
    context: Context,
    /// `*` for every type.
    kind: String,
    permissions: BTreeSet<Permission>,
}

impl ResourceScope {
    /// `None` for what is not a resource scope, for letters out of order, and for scopes narrowed by a query
    /// (`?category=…`), which this server does not enforce and therefore does not grant.
    fn read(text: &str) -> Option<Self> {
        let (context, rest) = text.split_once('/')?;
        let context = match context {
            "patient" => Context::Patient,
            "user" => Context::User,
            "system" => Context::System,
            _ => return None,
        };
        let (kind, letters) = rest.split_once('.')?;
        let letters = match letters {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => letters,
        };
        let is_kind = kind == "*" || kind.bytes().all(|byte| byte.is_ascii_alphabetic()) && !kind.is_empty();
        is_kind.then_some(())?;
        Some(Self { context, kind: kind.to_owned(), permissions: permissions(letters)? })
    }

    fn covers(&self, other: &Self) -> bool {
        self.context == other.context
            && (self.kind == "*" || self.kind == other.kind)
            && self.permissions.is_superset(&other.permissions)
    }
}

fn permissions(letters: &str) -> Option<BTreeSet<Permission>> {
    let mut rest = letters.chars().peekable();
    let mut found = BTreeSet::new();
    for (letter, permission) in Permission::IN_ORDER {
        if rest.next_if_eq(&letter).is_some() {
            found.insert(permission);
        }
    }
    (rest.next().is_none() && !found.is_empty()).then_some(found)
}

/// A set of scopes as the token carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet {
    texts: BTreeSet<String>,
    resources: Vec<ResourceScope>,
}

impl ScopeSet {
    /// Reads a space-separated list.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self::from_texts(text.split_whitespace().map(str::to_owned))
    }

    fn from_texts(texts: impl Iterator<Item = String>) -> Self {
        let texts: BTreeSet<String> = texts.collect();
        let resources = texts.iter().filter_map(|text| ResourceScope::read(text)).collect();
        Self { texts, resources }
    }

    /// Whether this very scope is in the set.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.texts.contains(text)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// What of `requested` this set covers: the grant to a client that is registered with this set.
    #[must_use]
    pub fn covered(&self, requested: &Self) -> Self {
        let covers = |text: &String| match ResourceScope::read(text) {
            Some(wanted) => self.resources.iter().any(|held| held.covers(&wanted)),
            None => self.texts.contains(text),
        };
        Self::from_texts(requested.texts.iter().filter(|text| covers(text)).cloned())
    }

    /// The widest context in which the set allows this.
    #[must_use]
    pub fn reach(&self, kind: &str, permission: Permission) -> Option<Context> {
        let allowing = self
            .resources
            .iter()
            .filter(|scope| (scope.kind == "*" || scope.kind == kind) && scope.permissions.contains(&permission));
        allowing.map(|scope| scope.context).max()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        f.write_str(&texts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("system/*.cruds", "system/Patient.rs", true)]
    #[case("system/Patient.read", "system/Patient.rs", true)]
    #[case("system/Patient.rs", "system/Patient.read", true)]
    #[case("system/Patient.rs", "system/Patient.cruds", false)]
    #[case("user/Patient.rs", "system/Patient.rs", false)]
    #[case("system/*.cruds", "system/Patient.sr", false)]
    #[case("system/*.cruds", "system/Patient.rs?active=true", false)]
    #[case("openid launch", "launch", true)]
    #[case("openid", "offline_access", false)]
    fn grants_are_what_the_registration_covers(#[case] held: &str, #[case] wanted: &str, #[case] granted: bool) {
        let grant = ScopeSet::read(held).covered(&ScopeSet::read(wanted));
        assert_eq!(!grant.is_empty(), granted);
    }

    #[test]
    fn the_widest_context_counts() {
        let scopes = ScopeSet::read("patient/*.rs user/Appointment.rs");
        assert_eq!(scopes.reach("Appointment", Permission::Search), Some(Context::User));
        assert_eq!(scopes.reach("Condition", Permission::Read), Some(Context::Patient));
        assert_eq!(scopes.reach("Condition", Permission::Create), None);
    }
}
