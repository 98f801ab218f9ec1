//! What an audit row says, in types that cannot carry protected information by accident.

use crate::kernel::{Id, Patient, StaffUser};
use std::{collections::BTreeMap, net::IpAddr};

/// The kind that request ids name: one request over HTTP, or one run of a command.
pub enum Request {}

/// The kind that ids of audit rows name.
pub enum AuditRow {}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A part of the program, by its name.
    System(&'static str),
    /// A member of staff.
    Staff(Id<StaffUser>),
    /// A patient.
    Patient(Id<Patient>),
    /// Someone at the command line, by the account name that the operating system gave.
    Operator(String),
}

impl Actor {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::System(_) => "system",
            Self::Staff(_) => "staff",
            Self::Patient(_) => "patient",
            Self::Operator(_) => "operator",
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::System(component) => (*component).to_owned(),
            Self::Staff(id) => id.to_string(),
            Self::Patient(id) => id.to_string(),
            Self::Operator(account) => opaque(account),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Protected information was opened and shown.
    Read,
    /// A text was sent, or released to be sent.
    Send,
    /// A text was received.
    Receive,
    /// Something stored was changed.
    Edit,
    /// Something stored was deleted.
    Delete,
    /// Protected information left the system as a file.
    Export,
    /// A search was made.
    Search,
    /// Someone signed in (a launch from the EHR).
    SignIn,
    /// Someone signed out, or a session ended.
    SignOut,
    /// Something was refused: a forged signature, a missing role.
    Refusal,
    /// A rule was overridden by a person who may.
    Override,
    /// Keys were made, rotated or retired.
    KeyRotation,
    /// Settings or policy were changed.
    ConfigChange,
    /// Stored values were sealed anew.
    Seal,
    /// A consent was given, withdrawn or corrected.
    Consent,
    /// Something was written to the EHR.
    EhrWrite,
    /// Two patients were merged, or a merge was followed.
    Merge,
}

impl Action {
    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Export => "export",
            Self::Search => "search",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::Refusal => "refusal",
            Self::Override => "override",
            Self::KeyRotation => "key_rotation",
            Self::ConfigChange => "config_change",
            Self::Seal => "seal",
            Self::Consent => "consent",
            Self::EhrWrite => "ehr_write",
            Self::Merge => "merge",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As asked.
    Success,
    /// It was not allowed.
    Refused,
    /// It was allowed and did not work.
    Failed,
}

impl Outcome {
    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Something that the action was about, by its kind and id.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Subject {
    kind: &'static str,
    id: uuid::Uuid,
}

/// Codes, counts and ids that say more about an action. There is no way to put text of a person into it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Detail(BTreeMap<&'static str, serde_json::Value>);

impl Detail {
    /// No detail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A code of this program.
    #[must_use]
    pub fn code(self, name: &'static str, code: &'static str) -> Self {
        self.with(name, code.into())
    }

    /// A number.
    #[must_use]
    pub fn count(self, name: &'static str, count: i64) -> Self {
        self.with(name, count.into())
    }

    /// An id of ours.
    #[must_use]
    pub fn id<K>(self, name: &'static str, id: Id<K>) -> Self {
        self.with(name, id.to_string().into())
    }

    /// A network address that a request came from.
    #[must_use]
    pub fn address(self, name: &'static str, address: IpAddr) -> Self {
        self.with(name, address.to_string().into())
    }

    /// An opaque id of another system: a FHIR reference, a carrier's message id, a key's fingerprint. What could not
    /// stand in such an id is replaced by `?`, and only 128 characters are kept.
    #[must_use]
    pub fn foreign_id(self, name: &'static str, id: &str) -> Self {
        self.with(name, opaque(id).into())
    }

    fn with(mut self, name: &'static str, value: serde_json::Value) -> Self {
        self.0.insert(name, value);
        self
    }
}

fn opaque(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/|@".contains(c);
    text.chars().take(128).map(|c| if allowed(c) { c } else { '?' }).collect()
}

/// One thing that was done, for one row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// Why, as a code: `treatment`, `payment`, `operations`, or the part of the program that it served.
    pub purpose: &'static str,
    /// The request that it was part of.
    pub request: Option<Id<Request>>,
    /// What it was about.
    pub subjects: Vec<Subject>,
    /// How it ended.
    pub outcome: Outcome,
    /// More about it.
    pub detail: Detail,
}

impl AuditEntry {
    /// Something that was done as asked.
    #[must_use]
    pub fn new(actor: Actor, action: Action, purpose: &'static str) -> Self {
        Self {
            actor,
            action,
            purpose,
            request: None,
            subjects: Vec::new(),
            outcome: Outcome::Success,
            detail: Detail::new(),
        }
    }

    /// Adds something that it was about.
    #[must_use]
    pub fn about<K>(mut self, kind: &'static str, id: Id<K>) -> Self {
        self.subjects.push(Subject { kind, id: uuid::Uuid::from_bytes(*id.as_bytes()) });
        self
    }

    /// Names the request that it was part of.
    #[must_use]
    pub const fn in_request(mut self, request: Id<Request>) -> Self {
        self.request = Some(request);
        self
    }

    /// Says how it ended.
    #[must_use]
    pub const fn ended(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Says more about it.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_ids_cannot_carry_text() {
        let detail = Detail::new().foreign_id("wrote", "Appointment/12-a").foreign_id("sid", "Ana Lopez, 2 pills");
        let json = serde_json::to_string(&detail).unwrap();
        assert_eq!(json, r#"{"sid":"Ana?Lopez??2?pills","wrote":"Appointment/12-a"}"#);
        assert_eq!(opaque(&"x".repeat(500)).len(), 128);
    }
}
