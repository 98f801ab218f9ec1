//! What must hold for any answer of a FHIR server.
#![allow(clippy::unwrap_used, reason = "a target fails by panicking, and none of this is in what is built for use")]

use super::{
    ETag, Issues, Page, ParseFault, Parsed, Resource, ResourceRef, ServerBase,
    transport::Answer,
    transport::{etag, location},
    views::{
        AppointmentView, CommunicationView, ConditionView, ConsentView, LocationView, MedicationRequestView,
        PatientView, PractitionerRoleView, PractitionerView, ScheduleView, SlotView, TaskView,
    },
};
use crate::fuzzing::{MARK, keeps_back, lines, tells_nothing};
use http::{
    HeaderValue,
    header::{ETAG, HeaderMap, LOCATION, RETRY_AFTER},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Debug;

fn base() -> ServerBase {
    ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

/// A page of a search: entries are kept or set aside, and `next` stays below the base.
pub(crate) fn bundle(data: &[u8]) {
    let base = base();
    let page = match Page::from_json(&base, "Patient", data) {
        Ok(page) => page,
        Err(fault) => return tells_nothing(&fault),
    };
    assert_eq!(page.entries(), page.matches.len() + page.included.len() + page.quarantined.len());
    assert!(page.matches.iter().all(|found| found.resource_type() == "Patient"));
    for aside in &page.quarantined {
        tells_nothing(&aside.fault);
    }
    if let Some(next) = &page.next {
        match base.follow("Patient", next) {
            Ok(url) => {
                assert_eq!(url.origin(), base.url().origin());
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(url.path() == "/fhir" || url.path().starts_with("/fhir/"), "it leads outside the base");
            }
            Err(fault) => tells_nothing(&fault),
        }
    }
    let found: Vec<Resource> = page.matches.into_iter().chain(page.included).collect();
    let parsed = Parsed::read(&found, PatientView::read);
    assert_eq!(parsed.good.len() + parsed.quarantined.len(), found.len());
    found.iter().for_each(views);
}

/// One resource, as every view.
pub(crate) fn resource(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let resource = match Resource::from_json(&base(), json) {
        Ok(resource) => resource,
        Err(fault) => return tells_nothing(&fault),
    };
    assert_eq!(resource.json(), json.trim_matches([' ', '\t', '\r', '\n']), "the JSON is kept as it came");
    match resource.to_value() {
        Ok(tree) => assert!(tree.is_object(), "a resource is an object"),
        Err(fault) => tells_nothing(&fault),
    }
    if let Some(reference) = resource.reference() {
        assert_eq!(reference.to_string().parse::<ResourceRef>(), Ok(reference.clone()));
        assert_eq!(base().reference(&reference.to_string()), Some(reference));
    }
    views(&resource);
}

/// Reads `resource` as every view, and asks each what callers ask.
fn views(resource: &Resource) {
    if let Some(view) = read(resource, PatientView::read) {
        let _ =
            (view.name(now()).map(super::views::NameView::display), view.texting_phones(now()).len(), view.language());
        let _ = (view.states(now()).count(), view.replaced_by(), view.medical_record_number());
    }
    if let Some(view) = read(resource, AppointmentView::read) {
        let patients = view.actors("Patient").count();
        assert!(view.patient().is_none() || patients == 1);
        let _ = (view.practitioner(), view.location(), view.patient_participation());
    }
    if let Some(view) = read(resource, PractitionerView::read) {
        let _ = view.name(now()).map(super::views::NameView::display);
    }
    if let Some(view) = read(resource, PractitionerRoleView::read) {
        let _ = view.is_held(now());
    }
    read(resource, CommunicationView::read);
    read(resource, ConditionView::read);
    read(resource, ConsentView::read);
    read(resource, LocationView::read);
    read(resource, MedicationRequestView::read);
    read(resource, ScheduleView::read);
    read(resource, SlotView::read);
    read(resource, TaskView::read);
}

fn read<T: Debug>(resource: &Resource, read: fn(&Resource) -> Result<T, ParseFault>) -> Option<T> {
    match read(resource) {
        Ok(view) => {
            let _ = format!("{view:?}");
            Some(view)
        }
        Err(fault) => {
            tells_nothing(&fault);
            None
        }
    }
}

/// Any words where a chart has a patient's: a view's `Debug` keeps them back.
pub(crate) fn phi(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut words = text.lines().map(|line| format!("{MARK} {line}")).cycle();
    let mut word = || words.next().unwrap_or_else(|| MARK.to_owned());
    for value in charts(&mut word) {
        let resource = Resource::from_json(&base(), &value.to_string()).unwrap();
        keeps_back(&format!("{resource:?}"));
        for shown in shown(&resource) {
            match shown {
                Ok(shown) => keeps_back(&shown),
                Err(fault) => tells_nothing(&fault),
            }
        }
    }
}

fn shown(resource: &Resource) -> Vec<Result<String, ParseFault>> {
    fn of<T: Debug>(resource: &Resource, read: fn(&Resource) -> Result<T, ParseFault>) -> Result<String, ParseFault> {
        read(resource).map(|view| format!("{view:?}"))
    }
    match resource.resource_type() {
        "Patient" => vec![of(resource, PatientView::read)],
        "Appointment" => vec![of(resource, AppointmentView::read)],
        "Communication" => vec![of(resource, CommunicationView::read)],
        "Condition" => vec![of(resource, ConditionView::read)],
        "Consent" => vec![of(resource, ConsentView::read)],
        "MedicationRequest" => vec![of(resource, MedicationRequestView::read)],
        "Practitioner" => vec![of(resource, PractitionerView::read)],
        _ => vec![of(resource, TaskView::read)],
    }
}

/// Resources with the words of `word` where patients' data stand.
fn charts(word: &mut impl FnMut() -> String) -> [Value; 8] {
    let patient = json!({"resourceType": "Patient", "id": "p1",
        "name": [{"text": word(), "family": word(), "given": [word(), word()], "prefix": [word()]}],
        "telecom": [{"system": "phone", "use": "mobile", "value": word()}, {"system": "email", "value": word()}],
        "identifier": [{"system": "urn:mrn", "value": word(), "type": {"text": word(), "coding": [{"code": "MR"}]}}],
        "address": [{"text": word(), "line": [word()], "city": word(), "state": word(), "postalCode": word()}],
        "birthDate": "1980-02-03", "text": {"status": "generated", "div": word()},
        "contact": [{"name": {"text": word()}, "telecom": [{"system": "sms", "value": word()}]}]});
    let appointment = json!({"resourceType": "Appointment", "id": "a1", "status": "booked",
        "description": word(), "comment": word(), "patientInstruction": word(),
        "reasonCode": [{"text": word(), "coding": [{"system": "urn:s", "code": "c", "display": word()}]}],
        "participant": [{"actor": {"reference": "Patient/p1", "display": word()}, "status": "accepted"}]});
    let about = json!({"reference": "Patient/p1", "display": word()});
    [
        patient,
        appointment,
        json!({"resourceType": "Communication", "id": "c1", "status": "completed", "subject": about,
            "payload": [{"contentString": word()}], "note": [{"text": word()}]}),
        json!({"resourceType": "Condition", "id": "d1", "subject": about,
            "code": {"text": word(), "coding": [{"display": word()}]}, "note": [{"text": word()}]}),
        json!({"resourceType": "Consent", "id": "n1", "status": "active", "patient": about,
            "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"coding": [{"code": "59284-0"}]}],
            "performer": [about], "text": {"status": "generated", "div": word()}}),
        json!({"resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order", "subject": about,
            "medicationCodeableConcept": {"text": word(), "coding": [{"display": word()}]},
            "dosageInstruction": [{"text": word()}], "note": [{"text": word()}]}),
        json!({"resourceType": "Practitioner", "id": "h1", "name": [{"text": word(), "family": word()}]}),
        json!({"resourceType": "Task", "id": "t1", "status": "requested", "intent": "order", "for": about,
            "description": word(), "statusReason": {"text": word()}, "note": [{"text": word()}]}),
    ]
}

/// A status, headers and an `OperationOutcome`: what it comes to holds codes, never prose.
pub(crate) fn outcome(data: &[u8]) {
    let [status, version, place, wait, body] = lines::<5>(data);
    let mut headers = HeaderMap::new();
    for (name, value) in [(ETAG, version), (LOCATION, place), (RETRY_AFTER, wait)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let _ = location(&headers).map(|place| base().reference(place));
    if let Some(tag) = etag(&headers) {
        assert_eq!(ETag::from_header(tag.as_str()), tag);
        assert!(HeaderValue::from_str(tag.as_str()).is_ok(), "it can be sent back");
    }
    let issues = Issues::from_json(body);
    let shown = format!("{issues} {issues:?}");
    assert!(shown.len() < 64 * 1024, "a server fills our logs");
    assert!(shown.is_ascii() && !shown.contains(['\n', '<']), "prose or markup is repeated");
    let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or(500);
    let answer = Answer { status, headers, body: body.to_vec() };
    if !answer.is_success() {
        let _ = format!("{}", answer.to_error(now()));
    }
}
