//! Own small resources, each read as R4B and pinned.

use super::*;
use crate::fhir::{ParseFaultKind, Resource, ServerBase};
use crate::kernel::{Language, Phi};
use jiff::Timestamp;
use serde_json::{Value, json};

fn resource(value: &Value) -> Resource {
    let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
    Resource::from_json(&base, &value.to_string()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

#[test]
fn an_appointment_tells_who_when_and_what() {
    let view = AppointmentView::read(&resource(&json!({
        "resourceType": "Appointment", "id": "a1", "meta": {"versionId": "4", "lastUpdated": "2026-11-20T08:00:00Z"},
        "status": "booked", "start": "2026-11-26T10:30:00-05:00", "end": "2026-11-26T11:00:00-05:00",
        "serviceType": [{"coding": [{"system": "urn:svc", "code": "follow-up", "display": "Follow-up"}]}],
        "reasonCode": [{"text": "Migraine"}],
        "slot": [{"reference": "Slot/s1"}],
        "participant": [
            {"actor": {"reference": "https://ehr.example/fhir/Patient/p1", "display": "Ana Lopez"}, "status": "needs-action"},
            {"actor": {"reference": "Practitioner/d1"}, "status": "accepted"},
            {"actor": {"reference": "https://elsewhere.example/fhir/Location/l1"}, "status": "accepted"}],
    })))
    .unwrap();
    assert_eq!(view.status, AppointmentStatus::Booked);
    assert_eq!(view.start, Some("2026-11-26T15:30:00Z".parse().unwrap()));
    assert_eq!(view.version.as_ref().unwrap().as_str(), "W/\"4\"");
    assert_eq!(view.patient().unwrap().to_string(), "Patient/p1");
    assert_eq!(view.patient_participation(), Some((0, ParticipationStatus::NeedsAction)));
    assert_eq!(view.practitioner().unwrap().id(), "d1");
    assert_eq!(view.location(), None, "a location of another server is none of ours");
    assert_eq!(view.slots[0].to_string(), "Slot/s1");
    assert!(view.service_types[0].is("urn:svc", "follow-up"));
    let shown = format!("{view:?}");
    assert!(!shown.contains("Lopez") && !shown.contains("Migraine"), "{shown}");
}

#[test]
fn a_group_visit_has_no_one_patient() {
    let view = AppointmentView::read(&resource(&json!({
        "resourceType": "Appointment", "status": "booked", "participant": [
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
            {"actor": {"reference": "Patient/p2"}, "status": "accepted"}],
    })))
    .unwrap();
    assert_eq!(view.patient(), None);
    assert_eq!(view.actors("Patient").map(|(index, _)| index).collect::<Vec<_>>(), [0, 1]);
}

fn ana() -> Value {
    json!({
        "resourceType": "Patient", "id": "p1",
        "identifier": [
            {"system": "urn:ssn", "value": "000-00-0000"},
            {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}, "system": "urn:mrn", "value": "MRN-7"}],
        "name": [
            {"use": "maiden", "family": "Ruiz"},
            {"use": "official", "family": "Lopez", "given": ["Ana", "María"]},
            {"use": "usual", "text": "Ana Lopez", "period": {"end": "2025"}}],
        "birthDate": "1980-03-04",
        "telecom": [
            {"system": "phone", "use": "home", "value": "+12125550101"},
            {"system": "phone", "use": "mobile", "rank": 2, "value": "+12125550102"},
            {"system": "sms", "rank": 1, "value": "(212) 555-0103"},
            {"system": "sms", "rank": 1, "value": "+12125550104", "period": {"end": "2026-11-21"}},
            {"system": "sms", "use": "old", "value": "+12125550105"},
            {"system": "phone", "use": "mobile", "value": "call my sister"},
            {"system": "email", "value": "ana@example.org"}],
        "communication": [
            {"language": {"coding": [{"code": "en"}]}},
            {"language": {"coding": [{"code": "es-MX"}]}, "preferred": true}],
        "link": [{"other": {"reference": "Patient/p9"}, "type": "replaced-by"}],
        "contact": [{"relationship": [{"text": "Mother"}], "name": {"family": "Ruiz"}, "telecom": [{"system": "sms", "value": "+12125550109"}]}],
    })
}

#[test]
fn a_patient_tells_names_numbers_and_language() {
    let view = PatientView::read(&resource(&ana())).unwrap();
    assert_eq!(view.name(now()).unwrap().display().as_str(), "Ana María Lopez", "the usual name has run out");
    let before: Timestamp = "2025-12-31T23:00:00Z".parse().unwrap();
    assert_eq!(view.name(before).unwrap().display().as_str(), "Ana Lopez");
    let numbers: Vec<_> =
        view.texting_phones(now()).iter().map(|phone| phone.number.as_ref().unwrap().as_e164().to_owned()).collect();
    assert_eq!(numbers, ["+12125550103", "+12125550102"]);
    assert_eq!(view.language(), Some(Language::Spanish));
    assert_eq!(view.replaced_by().unwrap().id(), "p9");
    assert_eq!(view.medical_record_number().unwrap().value.as_str(), "MRN-7");
    assert_eq!(view.birth_date.as_ref().unwrap().expose().to_string(), "1980-03-04");
    assert_eq!(view.contacts[0].phones.len(), 1);
    assert!(view.active && !view.deceased);
}

#[test]
fn a_patient_is_not_told_by_debug_output() {
    let shown = format!("{:?}", PatientView::read(&resource(&ana())).unwrap());
    for secret in ["Ana", "Lopez", "Ruiz", "1980", "5550101", "MRN-7", "sister"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn death_is_noticed_in_both_forms() {
    for (key, value) in [("deceasedBoolean", json!(true)), ("deceasedDateTime", json!("2026-01"))] {
        let mut patient = ana();
        patient[key] = value;
        assert!(PatientView::read(&resource(&patient)).unwrap().deceased, "{key}");
    }
    let mut patient = ana();
    patient["deceasedBoolean"] = json!(false);
    assert!(!PatientView::read(&resource(&patient)).unwrap().deceased);
}

#[test]
fn slots_and_schedules_are_read() {
    let slot = json!({
        "resourceType": "Slot", "id": "s1", "schedule": {"reference": "Schedule/x"}, "status": "busy-tentative",
        "start": "2026-11-26T15:00:00.000Z", "end": "2026-11-26T15:30:00+00:00",
    });
    let view = SlotView::read(&resource(&slot)).unwrap();
    assert_eq!((view.status, view.schedule.unwrap().id()), (SlotStatus::BusyTentative, "x"));
    assert_eq!(view.end.duration_since(view.start).as_mins(), 30);
    let schedule = json!({
        "resourceType": "Schedule", "id": "x", "actor": [{"reference": "Practitioner/d1"}], "planningHorizon": {"start": "2026-11-01"},
    });
    let view = ScheduleView::read(&resource(&schedule)).unwrap();
    assert!(view.active && view.horizon.contains(now()));
    let fault = SlotView::read(&resource(&schedule)).unwrap_err();
    assert_eq!(fault.kind, ParseFaultKind::ResourceType);
}

#[test]
fn a_prescription_tells_repeats_and_supply() {
    let view = MedicationRequestView::read(&resource(&json!({
        "resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order",
        "medicationCodeableConcept": {"text": "Lisinopril 10 mg"}, "subject": {"reference": "Patient/p1"},
        "requester": {"reference": "Practitioner/d1"}, "authoredOn": "2026-10-01",
        "dispenseRequest": {"numberOfRepeatsAllowed": 2, "expectedSupplyDuration": {"value": 30, "unit": "days", "code": "d"},
            "validityPeriod": {"start": "2026-10-01", "end": "2027-10-01"}},
    })))
    .unwrap();
    assert_eq!(view.medication.expose().words(), Some("Lisinopril 10 mg"));
    assert_eq!((view.repeats_allowed, view.supply.unwrap().as_hours()), (Some(2), 720));
    assert!(view.validity.contains(now()) && view.patient.is_some());
    assert!(!format!("{view:?}").contains("Lisinopril"));
    let by_reference = MedicationRequestView::read(&resource(&json!({
        "resourceType": "MedicationRequest", "status": "active", "intent": "order",
        "medicationReference": {"reference": "Medication/7", "display": "Metformin"}, "subject": {"reference": "Patient/p1"},
    })))
    .unwrap();
    assert_eq!(by_reference.medication.expose().words(), Some("Metformin"));
    assert_eq!(by_reference.medication_reference.unwrap().id(), "7");
}

#[test]
fn of_addresses_only_the_states_of_those_in_use_are_read() {
    let mut patient = ana();
    patient["address"] = json!([
        {"use": "home", "line": ["12 Main St"], "city": "Austin", "state": "TX", "postalCode": "78701", "country": "US"},
        {"use": "temp", "state": "Arizona", "period": {"start": "2026-11-01", "end": "2027-03-01"}},
        {"use": "temp", "state": "FL", "period": {"end": "2026-03-01"}},
        {"use": "old", "state": "NY"},
        {"use": "home", "state": "ON", "country": "CA"},
        {"city": "Somewhere"}]);
    let view = PatientView::read(&resource(&patient)).unwrap();
    assert_eq!(view.states(now()).map(Phi::as_str).collect::<Vec<_>>(), ["TX", "Arizona"]);
    let shown = format!("{view:?}");
    assert!(!shown.contains("Main St") && !shown.contains("TX") && !shown.contains("78701"), "{shown}");
}

#[test]
fn staff_and_places_are_read() {
    let role = json!({
        "resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/d1"}, "period": {"end": "2026-11-21"},
        "code": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/practitioner-role", "code": "nurse"}]}],
    });
    let view = PractitionerRoleView::read(&resource(&role)).unwrap();
    assert!(view.codes[0].is("http://terminology.hl7.org/CodeSystem/practitioner-role", "nurse"));
    assert!(!view.is_held(now()), "its period is over");
    let practitioner = json!({"resourceType": "Practitioner", "id": "d1", "name": [{"text": "Dr. Ng"}]});
    let view = PractitionerView::read(&resource(&practitioner)).unwrap();
    assert_eq!(view.name(now()).unwrap().display().as_str(), "Dr. Ng");
    let location = json!({
        "resourceType": "Location", "id": "l1", "status": "active", "name": "Main Street Clinic",
        "address": {"line": ["12 Main St"], "city": "Springfield"}, "telecom": [{"system": "phone", "value": "+12125550100"}],
    });
    let view = LocationView::read(&resource(&location)).unwrap();
    assert_eq!(view.address.as_deref(), Some("12 Main St, Springfield"));
}

#[test]
fn the_chart_is_read() {
    let communication = json!({
        "resourceType": "Communication", "id": "c1", "status": "in-progress", "identifier": [{"system": "urn:ours", "value": "m1"}],
        "subject": {"reference": "Patient/p1"}, "sent": "2026-11-22T10:00:00Z", "payload": [{"contentString": "See you Thursday"}],
        "medium": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "SMSWRIT"}]}],
        "inResponseTo": [{"reference": "Communication/c0"}],
    });
    let view = CommunicationView::read(&resource(&communication)).unwrap();
    assert_eq!((view.status, view.texts[0].as_str()), (EventStatus::InProgress, "See you Thursday"));
    assert!(!format!("{view:?}").contains("Thursday"));
    let task = json!({
        "resourceType": "Task", "id": "t1", "status": "rejected", "intent": "order", "statusReason": {"text": "Needs a visit"},
        "focus": {"reference": "MedicationRequest/m1"}, "for": {"reference": "Patient/p1"},
    });
    let view = TaskView::read(&resource(&task)).unwrap();
    assert_eq!((view.status, view.focus.unwrap().id()), (TaskStatus::Rejected, "m1"));
    let condition = json!({"resourceType": "Condition", "id": "x", "subject": {"reference": "Patient/p1"}, "code": {"text": "HIV"}});
    let view = ConditionView::read(&resource(&condition)).unwrap();
    assert_eq!(view.code.as_ref().unwrap().expose().words(), Some("HIV"));
    assert!(!format!("{view:?}").contains("HIV"));
}

#[test]
fn a_consent_tells_its_rule_and_exceptions() {
    let view = ConsentView::read(&resource(&json!({
        "resourceType": "Consent", "id": "k1", "status": "active", "dateTime": "2026-11-01",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": "Patient/p1"},
        "policy": [{"uri": "https://clinic.example/sms/v3"}], "verification": [{"verified": true}],
        "provision": {"type": "permit", "code": [{"coding": [{"code": "appointment"}]}], "provision": [{"type": "deny"}]},
    })))
    .unwrap();
    let rule = view.rule.unwrap();
    assert_eq!((view.status, rule.kind), (ConsentState::Active, Some(ConsentProvisionType::Permit)));
    assert_eq!(rule.exceptions[0].kind, Some(ConsentProvisionType::Deny));
    assert_eq!(
        (view.policy_uris.as_slice(), view.verified),
        (["https://clinic.example/sms/v3".to_owned()].as_slice(), true)
    );
}

#[test]
fn a_fault_names_the_element_and_not_the_value() {
    let mut patient = ana();
    patient["telecom"][2]["system"] = json!("Ana Lopez");
    let fault = PatientView::read(&resource(&patient)).unwrap_err();
    assert!(fault.path.starts_with("telecom[2]"), "{fault}");
    assert!(!format!("{fault} {fault:?}").contains("Ana"));
}
