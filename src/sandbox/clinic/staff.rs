//! The practice, its places and its staff.

use super::{NAME, ORGANIZATION, PHONE, SYSTEM, persona};
use crate::sandbox::authorization::Choice;
use serde_json::{Value, json};

/// HL7's codes of roles (<http://terminology.hl7.org/CodeSystem/practitioner-role>).
const HL7_ROLES: &str = "http://terminology.hl7.org/CodeSystem/practitioner-role";

/// Someone who works at the practice.
#[derive(Debug, Clone, Copy)]
pub struct Colleague {
    /// The Practitioner's id.
    pub id: &'static str,
    /// Before the name, or empty.
    pub prefix: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Family name.
    pub family: &'static str,
    /// The role's code; empty for someone without a role.
    pub role: &'static str,
    /// The role in words.
    pub role_text: &'static str,
}

impl Colleague {
    /// The name as people say it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {} {}", self.prefix, self.given, self.family).trim().to_owned()
    }

    pub(super) fn choice(&self) -> Choice {
        Choice { id: self.id.to_owned(), label: format!("{} · {}", self.name(), self.role_text) }
    }

    /// Whether patients book visits with this person.
    #[must_use]
    pub fn sees_patients(&self) -> bool {
        self.role == "doctor"
    }

    /// The place where this person works.
    #[must_use]
    pub fn location(&self) -> &'static str {
        if self.id == persona::DR_PATEL { "location-annex" } else { "location-main" }
    }
}

const fn colleague(
    id: &'static str,
    (prefix, given, family): (&'static str, &'static str, &'static str),
    (role, role_text): (&'static str, &'static str),
) -> Colleague {
    Colleague { id, prefix, given, family, role, role_text }
}

/// Everyone who works at the practice.
#[must_use]
pub const fn colleagues() -> &'static [Colleague] {
    const ALL: [Colleague; 6] = [
        colleague(persona::DR_SMITH, ("Dr.", "John", "Smith"), ("doctor", "Doctor")),
        colleague(persona::DR_PATEL, ("Dr.", "Anjali", "Patel"), ("doctor", "Doctor")),
        colleague(persona::NURSE_REED, ("", "Carla", "Reed"), ("nurse", "Nurse")),
        colleague(persona::SCHEDULER_DIAZ, ("", "Luis", "Diaz"), ("scheduler", "Scheduler")),
        colleague(persona::PHARMACIST_HALL, ("", "Omar", "Hall"), ("pharmacist", "Pharmacist")),
        colleague(persona::WITHOUT_ROLE, ("", "Sam", "Lee"), ("", "No role")),
    ];
    &ALL
}

pub(super) fn resources() -> Vec<Value> {
    let mut resources = vec![
        json!({
            "resourceType": "Organization",
            "id": ORGANIZATION,
            "active": true,
            "identifier": [{"system": format!("{SYSTEM}/organization"), "value": "RFM"}],
            "type": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/organization-type",
                "code": "prov",
                "display": "Healthcare Provider",
            }]}],
            "name": NAME,
            "telecom": [{"system": "phone", "value": PHONE, "use": "work"}],
        }),
        location("location-main", "Riverside Main Clinic", "100 River Street"),
        location("location-annex", "Riverside Annex", "12 Mill Lane"),
    ];
    for colleague in colleagues() {
        resources.push(practitioner(colleague));
        if !colleague.role.is_empty() {
            resources.push(role(colleague));
        }
    }
    resources
}

fn location(id: &str, name: &str, street: &str) -> Value {
    json!({
        "resourceType": "Location",
        "id": id,
        "status": "active",
        "name": name,
        "mode": "instance",
        "telecom": [{"system": "phone", "value": PHONE, "use": "work"}],
        "address": {"use": "work", "line": [street], "city": "New York", "state": "NY", "postalCode": "10001", "country": "US"},
        "managingOrganization": {"reference": format!("Organization/{ORGANIZATION}"), "display": NAME},
    })
}

fn practitioner(colleague: &Colleague) -> Value {
    let mut name = json!({"use": "official", "family": colleague.family, "given": [colleague.given]});
    if let (Some(members), false) = (name.as_object_mut(), colleague.prefix.is_empty()) {
        members.insert("prefix".into(), json!([colleague.prefix]));
    }
    json!({
        "resourceType": "Practitioner",
        "id": colleague.id,
        "active": true,
        "identifier": [{"system": format!("{SYSTEM}/staff"), "value": colleague.id}],
        "name": [name],
    })
}

fn role(colleague: &Colleague) -> Value {
    // HL7's code system has no code for a scheduler.
    let own = colleague.role == "scheduler";
    let system = if own { format!("{SYSTEM}/CodeSystem/staff-role") } else { HL7_ROLES.to_owned() };
    let mut role = json!({
        "resourceType": "PractitionerRole",
        "id": colleague.id.replacen("practitioner", "role", 1),
        "active": true,
        "practitioner": {"reference": format!("Practitioner/{}", colleague.id), "display": colleague.name()},
        "organization": {"reference": format!("Organization/{ORGANIZATION}"), "display": NAME},
        "code": [{
            "coding": [{"system": system, "code": colleague.role, "display": colleague.role_text}],
            "text": colleague.role_text,
        }],
        "location": [{"reference": format!("Location/{}", colleague.location())}],
    });
    if let (Some(members), true) = (role.as_object_mut(), colleague.sees_patients()) {
        let specialty = json!([{"coding": [{
            "system": "http://snomed.info/sct", "code": "419772000", "display": "Family practice",
        }]}]);
        members.insert("specialty".into(), specialty);
    }
    role
}
