//! What a client may not write: a resource that lacks what R4 requires, or that points at nothing.
//!
//! Not a whole validator: the elements, codes and invariants that a client of this clinic writes.

use super::element::{at_path, each_reference, is_id, local_reference, text_at};
use super::outcome::FhirError;
use super::resource_types::{ResourceType, resource_type};
use super::store::Shelves;
use serde_json::Value;

/// Checks a resource that a client sends, before it is stored.
///
/// # Errors
/// [`FhirError::Invalid`] where it is not a resource of the type, [`FhirError::Unprocessable`] where it breaks a
/// rule of the type.
pub(super) fn check(kind: &ResourceType, resource: &Value, shelves: &Shelves, base: &str) -> Result<(), FhirError> {
    if resource.get("resourceType").and_then(Value::as_str) != Some(kind.name) {
        return Err(FhirError::Invalid(format!("the body is not a {} resource", kind.name)));
    }
    for name in kind.required {
        if at_path(resource, name).iter().all(|value| value.is_null()) {
            return Err(FhirError::Unprocessable(format!("{}.{name} is required", kind.name)));
        }
    }
    if let Some(status) = resource.get("status")
        && !kind.statuses.is_empty()
        && !status.as_str().is_some_and(|status| kind.statuses.contains(&status))
    {
        return Err(FhirError::Unprocessable(format!("{}.status is not one of its codes", kind.name)));
    }
    no_empty_elements(resource)?;
    invariants(kind, resource)?;
    references_resolve(resource, shelves, base)
}

/// FHIR JSON has no nulls outside primitive extensions, no empty strings, objects or lists
/// (<https://hl7.org/fhir/R4/json.html>).
fn no_empty_elements(value: &Value) -> Result<(), FhirError> {
    let empty = || FhirError::Invalid("FHIR JSON has no empty strings, objects or lists".into());
    match value {
        Value::String(text) if text.trim().is_empty() => Err(empty()),
        Value::Array(items) if items.is_empty() => Err(empty()),
        Value::Object(members) if members.is_empty() => Err(empty()),
        Value::Array(items) => items.iter().try_for_each(no_empty_elements),
        Value::Object(members) => members.values().try_for_each(no_empty_elements),
        _ => Ok(()),
    }
}

fn invariants(kind: &ResourceType, resource: &Value) -> Result<(), FhirError> {
    match kind.name {
        "Appointment" => appointment(resource),
        "Communication" => each_has(resource, "payload", &["contentString", "contentAttachment", "contentReference"]),
        "Consent" => consent(resource),
        "DocumentReference" => each_has(resource, "content", &["attachment"]),
        "MedicationRequest" => {
            let medication = ["medicationCodeableConcept", "medicationReference"];
            has_one(resource, "MedicationRequest.medication[x]", &medication)
        }
        "Provenance" | "AuditEvent" => each_has(resource, "agent", &["who", "requestor"]),
        _ => Ok(()),
    }
}

/// app-1 (a participant has a type or an actor), app-2 (start and end, or neither) and app-3 (who may lack them).
fn appointment(resource: &Value) -> Result<(), FhirError> {
    each_has(resource, "participant", &["status"])?;
    each_has(resource, "participant", &["actor", "type"])?;
    let (start, end) = (resource.get("start"), resource.get("end"));
    if start.is_some() != end.is_some() {
        return Err(FhirError::Unprocessable("app-2: Appointment.start and end stand together or not at all".into()));
    }
    let may_lack_times = matches!(text_at(resource, "status"), Some("proposed" | "cancelled" | "waitlist"));
    if start.is_none() && !may_lack_times {
        return Err(FhirError::Unprocessable("app-3: an Appointment of this status has start and end".into()));
    }
    for time in [start, end].into_iter().flatten() {
        if time.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) {
            return Err(FhirError::Unprocessable("Appointment.start and end are instants with a zone".into()));
        }
    }
    Ok(())
}

/// ppc-1 (a policy or a policy rule) and ppc-2 (privacy consents name a patient).
fn consent(resource: &Value) -> Result<(), FhirError> {
    has_one(resource, "ppc-1: Consent.policy or policyRule", &["policy", "policyRule"])?;
    let is_privacy = at_path(resource, "scope.coding.code").iter().any(|code| code.as_str() == Some("patient-privacy"));
    if is_privacy && resource.get("patient").is_none() {
        return Err(FhirError::Unprocessable("ppc-2: a privacy Consent names its patient".into()));
    }
    Ok(())
}

fn has_one(element: &Value, shown: &str, names: &[&str]) -> Result<(), FhirError> {
    let present = names.iter().any(|name| element.get(*name).is_some());
    present.then_some(()).ok_or_else(|| FhirError::Unprocessable(format!("{shown} is required")))
}

fn each_has(resource: &Value, path: &str, names: &[&str]) -> Result<(), FhirError> {
    let shown = format!("{path}.{}", names.join(" or "));
    at_path(resource, path).into_iter().try_for_each(|element| has_one(element, &shown, names))
}

/// A reference to this server must point at something that is there.
fn references_resolve(resource: &Value, shelves: &Shelves, base: &str) -> Result<(), FhirError> {
    let mut dangling = false;
    each_reference(resource, &mut |reference| {
        if let Some((kind, id)) = local_reference(reference, base) {
            dangling |= resource_type(kind).is_some() && shelves.current(kind, id).is_err();
        }
    });
    if dangling {
        return Err(FhirError::Unprocessable("a reference points at a resource that is not here".into()));
    }
    Ok(())
}

/// Checks an id that a client chose.
///
/// # Errors
/// [`FhirError::Invalid`] where it is no FHIR id.
pub(super) fn check_id(id: &str) -> Result<(), FhirError> {
    is_id(id).then_some(()).ok_or_else(|| FhirError::Invalid("an id is 1 to 64 letters, digits, '-' and '.'".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn checked(resource: &Value) -> Result<(), FhirError> {
        let kind = resource_type(resource["resourceType"].as_str().unwrap()).unwrap();
        check(kind, resource, &Shelves::default(), "http://x/fhir")
    }

    #[rstest]
    #[case::no_status(json!({"resourceType": "Communication"}))]
    #[case::unknown_status(json!({"resourceType": "Communication", "status": "sent"}))]
    #[case::no_times(json!({"resourceType": "Appointment", "status": "booked", "participant": [{"type": [{"text": "x"}], "status": "accepted"}]}))]
    #[case::half_a_time(json!({"resourceType": "Appointment", "status": "proposed", "start": "2026-01-01T09:00:00Z", "participant": [{"type": [{"text": "x"}], "status": "accepted"}]}))]
    #[case::participant_without_status(json!({"resourceType": "Appointment", "status": "proposed", "participant": [{"type": [{"text": "x"}]}]}))]
    #[case::dangling(json!({"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/nobody"}}))]
    #[case::no_policy(json!({"resourceType": "Consent", "status": "active", "scope": {"text": "x"}, "category": [{"text": "x"}]}))]
    fn what_breaks_a_rule_is_refused(#[case] resource: Value) {
        assert!(matches!(checked(&resource), Err(FhirError::Unprocessable(_))));
    }

    #[test]
    fn a_minimal_resource_is_taken() {
        checked(&json!({"resourceType": "Task", "status": "requested", "intent": "order"})).unwrap();
        checked(&json!({"resourceType": "Communication", "status": "completed"})).unwrap();
    }

    #[test]
    fn refusals_do_not_repeat_what_was_sent() {
        let error = checked(&json!({"resourceType": "Communication", "status": "Ana Lopez"})).unwrap_err();
        assert!(!error.to_string().contains("Ana"));
    }
}
