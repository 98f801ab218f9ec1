//! A text as a Communication. Pure.

use crate::{
    consent::Category,
    ehr::IDENTIFIER_SYSTEM,
    messaging::{state, thread::TextRecord},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The system of conversations' ids; the same id for all texts of one. Names of systems have to be ours and to stay: these
/// are UUIDs that were made for it (RFC 9562) and mean nothing else. They stand in charts: never change them.
const CONVERSATION: &str = "urn:uuid:754e1ff4-f145-46d7-b3e9-3606e9865843";
/// The system of the ids that carriers give to texts.
pub(super) const CARRIER_MESSAGE: &str = "urn:uuid:efffcea4-73af-44ce-b63f-b67fc7cd3e64";
const NOT_DONE: &str = "http://terminology.hl7.org/CodeSystem/communication-not-done-reason";

/// Whom a Communication names, as references in the EHR.
pub(super) struct Parties {
    pub(super) patient: String,
    /// The practice, or the member of staff who wrote.
    pub(super) practice: Option<String>,
    /// The Communication that it answers.
    pub(super) answers: Option<String>,
}

/// The identifier under which a text is filed, and the ledger's intent.
pub(super) fn identifier(text: &TextRecord) -> String {
    format!("urn:uuid:{}", text.id)
}

/// The Communication's status for a text in its state, and why it was not done.
pub(super) fn status(text: &TextRecord) -> (&'static str, Option<&'static str>) {
    if text.inbound {
        return ("completed", None);
    }
    match text.state.as_str() {
        state::DELIVERED => ("completed", None),
        state::ACCEPTED | state::SENT => ("in-progress", None),
        state::UNDELIVERED | state::FAILED => ("not-done", Some(not_done(text.state_reason.as_deref()))),
        // It was filed while nobody knew whether it had left.
        state::DROPPED => ("not-done", Some(not_let_out(text.state_reason.as_deref()))),
        _ => ("unknown", None),
    }
}

/// The code of `communication-not-done-reason` for what the gate gives as its reason.
fn not_let_out(reason: Option<&str>) -> &'static str {
    match reason {
        Some("stopped" | "no-consent") => "patient-objection",
        _ => "unknown",
    }
}

/// The code of `communication-not-done-reason` for a failure class.
fn not_done(reason: Option<&str>) -> &'static str {
    match reason {
        Some("landline" | "unknown_number") => "invalid-phone-number",
        Some("opted_out" | "blocked") => "patient-objection",
        Some("unreachable") => "recipient-unavailable",
        Some("transient" | "rate_limited" | "configuration" | "unregistered") => "system-error",
        _ => "unknown",
    }
}

/// Why a text was not done, as FHIR writes it.
pub(super) fn status_reason(code: &str) -> Value {
    json!({ "coding": [{ "system": NOT_DONE, "code": code }] })
}

/// The Communication.
pub(super) fn communication(text: &TextRecord, words: &str, parties: &Parties) -> Value {
    let (status, reason) = status(text);
    let mut identifiers = vec![json!({ "system": IDENTIFIER_SYSTEM, "value": identifier(text) })];
    if let Some(conversation) = text.conversation {
        identifiers.push(json!({ "system": CONVERSATION, "value": conversation.to_string() }));
    }
    if let Some(carrier_id) = &text.carrier_id {
        identifiers.push(json!({ "system": CARRIER_MESSAGE, "value": carrier_id }));
    }
    let patient = json!({ "reference": parties.patient });
    let mut resource = json!({
        "resourceType": "Communication",
        "identifier": identifiers,
        "status": status,
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/communication-category",
            "code": if text.template_key.as_deref() == Some("reminder") { "reminder" } else { "notification" },
        }] }],
        "medium": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode",
            "code": "SMSWRIT",
        }] }],
        "subject": patient,
        "payload": [{ "contentString": payload(text, words) }],
    });
    let mut set = |name: &str, value: Value| {
        if let Some(object) = resource.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    let practice = parties.practice.as_ref().map(|reference| json!({ "reference": reference }));
    let (sender, recipient) = if text.inbound { (Some(patient), practice) } else { (practice, Some(patient)) };
    if let Some(sender) = sender {
        set("sender", sender);
    }
    if let Some(recipient) = recipient {
        set("recipient", json!([recipient]));
    }
    if let Some(sent) = if text.inbound { text.received_at } else { text.sent_at } {
        set("sent", instant(sent));
    }
    if let Some(received) = if text.inbound { text.received_at } else { text.delivered_at } {
        set("received", instant(received));
    }
    if let Some(code) = reason {
        set("statusReason", status_reason(code));
    }
    if let Some(topic) = topic(text) {
        let system = "http://terminology.hl7.org/CodeSystem/communication-topic";
        set("topic", json!({ "coding": [{ "system": system, "code": topic }] }));
    }
    if let Some(about) = &text.about {
        set("about", json!([{ "reference": about }]));
    }
    if let Some(answers) = &parties.answers {
        set("inResponseTo", json!([{ "reference": answers }]));
    }
    resource
}

/// FHIR strings are not empty: a picture alone is named as one.
fn payload(text: &TextRecord, words: &str) -> String {
    match (words.trim().is_empty(), text.media_count) {
        (false, 0) => words.to_owned(),
        (false, media) => format!("{words}\n[{media} attachment(s)]"),
        (true, 0) => "[empty text]".to_owned(),
        (true, media) => format!("[{media} attachment(s)]"),
    }
}

fn topic(text: &TextRecord) -> Option<&'static str> {
    match text.category {
        Category::Appointment if !text.inbound && text.about.is_some() => Some("appointment-reminder"),
        Category::Refill => Some("prescription-refill-request"),
        _ => None,
    }
}

/// An instant as FHIR writes it.
pub(super) fn instant(instant: Timestamp) -> Value {
    json!(instant.to_string())
}
