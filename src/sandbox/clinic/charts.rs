//! Conditions, prescriptions and consents.

use super::patients::{Person, Texting, patients};
use super::{Day, NAME, ORGANIZATION, SYSTEM, TEXTING_CONSENT, persona};
use jiff::civil::Date;
use serde_json::{Value, json};

/// A diagnosis on the problem list: patient, SNOMED CT code, words.
const CONDITIONS: [(&str, &str, &str); 8] = [
    (persona::ANA_LOPEZ, "38341003", "Hypertension"),
    (persona::JAMES_CARTER, "44054006", "Type 2 diabetes mellitus"),
    (persona::JAMES_CARTER, "38341003", "Hypertension"),
    (persona::LINDA_OKAFOR, "55822004", "Hyperlipidemia"),
    (persona::ROSA_JIMENEZ, "44054006", "Type 2 diabetes mellitus"),
    (persona::MIA_SANTOS, "195967001", "Asthma"),
    (persona::PRIYA_NAIR, "35489007", "Depressive disorder"),
    (persona::GRACE_KIM, "38341003", "Hypertension"),
];

/// A running prescription.
struct Prescription {
    patient: &'static str,
    prescriber: &'static str,
    /// The drug's code in `RxNorm`.
    code: &'static str,
    drug: &'static str,
    directions: &'static str,
    /// Days until the last supply runs out.
    runs_out_in: i64,
    repeats: u32,
}

/// The days that one supply lasts.
const SUPPLY_DAYS: i64 = 30;

const fn prescription(
    (patient, prescriber): (&'static str, &'static str),
    (code, drug, directions): (&'static str, &'static str, &'static str),
    (runs_out_in, repeats): (i64, u32),
) -> Prescription {
    Prescription { patient, prescriber, code, drug, directions, runs_out_in, repeats }
}

const LISINOPRIL: (&str, &str, &str) = ("314076", "lisinopril 10 MG Oral Tablet", "Take one tablet daily");
const METFORMIN: (&str, &str, &str) =
    ("861007", "metformin hydrochloride 500 MG Oral Tablet", "Take one tablet twice daily");
const ATORVASTATIN: (&str, &str, &str) = ("617310", "atorvastatin 20 MG Oral Tablet", "Take one tablet at night");
const SERTRALINE: (&str, &str, &str) = ("312941", "sertraline 50 MG Oral Tablet", "Take one tablet daily");

const PRESCRIPTIONS: [Prescription; 6] = [
    prescription((persona::ANA_LOPEZ, persona::DR_SMITH), LISINOPRIL, (20, 3)),
    prescription((persona::JAMES_CARTER, persona::DR_SMITH), METFORMIN, (3, 2)),
    prescription((persona::JAMES_CARTER, persona::DR_SMITH), LISINOPRIL, (18, 2)),
    prescription((persona::LINDA_OKAFOR, persona::DR_PATEL), ATORVASTATIN, (1, 0)),
    prescription((persona::ROSA_JIMENEZ, persona::DR_PATEL), METFORMIN, (2, 1)),
    prescription((persona::PRIYA_NAIR, persona::DR_SMITH), SERTRALINE, (12, 1)),
];

pub(super) fn resources(day: &Day) -> Vec<Value> {
    let conditions = CONDITIONS.iter().enumerate().map(|(index, condition)| problem(index, *condition, day));
    let prescriptions = PRESCRIPTIONS.iter().enumerate().map(|(index, one)| medication_request(index, one, day));
    let consents = patients().iter().filter_map(|person| consent(person, day));
    conditions.chain(prescriptions).chain(consents).collect()
}

fn problem(index: usize, (patient, code, words): (&str, &str, &str), day: &Day) -> Value {
    let coded = |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}]});
    json!({
        "resourceType": "Condition",
        "id": format!("condition-{:02}", index + 1),
        "clinicalStatus": coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
        "verificationStatus": coded("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"),
        "category": [coded("http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item")],
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code, "display": words}], "text": words},
        "subject": {"reference": format!("Patient/{patient}")},
        "recordedDate": day.date(-400).to_string(),
    })
}

fn medication_request(index: usize, prescription: &Prescription, day: &Day) -> Value {
    let authored: Date = day.date(prescription.runs_out_in - SUPPLY_DAYS);
    let last = authored.saturating_add(jiff::Span::new().days(SUPPLY_DAYS * (i64::from(prescription.repeats) + 1)));
    json!({
        "resourceType": "MedicationRequest",
        "id": format!("medication-request-{:02}", index + 1),
        "identifier": [{"system": format!("{SYSTEM}/prescription"), "value": format!("RX-{:04}", index + 1)}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {
            "coding": [{
                "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                "code": prescription.code,
                "display": prescription.drug,
            }],
            "text": prescription.drug,
        },
        "subject": {"reference": format!("Patient/{}", prescription.patient)},
        "authoredOn": authored.to_string(),
        "requester": {"reference": format!("Practitioner/{}", prescription.prescriber)},
        "dosageInstruction": [{"text": prescription.directions}],
        "dispenseRequest": {
            "validityPeriod": {"start": authored.to_string(), "end": last.to_string()},
            "numberOfRepeatsAllowed": prescription.repeats,
            "quantity": {"value": SUPPLY_DAYS, "unit": "tablet"},
            "expectedSupplyDuration": {
                "value": SUPPLY_DAYS, "unit": "days", "system": "http://unitsofmeasure.org", "code": "d",
            },
        },
    })
}

fn consent(person: &Person, day: &Day) -> Option<Value> {
    let (kind, classes): (&str, &[&str]) = match person.texting {
        Texting::Permitted(classes) => ("permit", classes),
        Texting::Denied => ("deny", &["appointment", "refill", "clinical"]),
        Texting::NotAsked => return None,
    };
    let asked = day.instant(-60, (9, 0));
    let own = |name: &str, code: &str| json!({"system": format!("{SYSTEM}/CodeSystem/{name}"), "code": code});
    let classes: Vec<Value> = classes.iter().map(|class| json!({"coding": [own("message-class", class)]})).collect();
    Some(json!({
        "resourceType": "Consent",
        "id": person.id.replacen("patient", "consent", 1),
        "status": "active",
        "scope": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy",
        }]},
        "category": [
            {"coding": [{"system": "http://loinc.org", "code": "59284-0", "display": "Patient Consent"}]},
            {"coding": [own("consent-category", TEXTING_CONSENT)]},
        ],
        "patient": {"reference": format!("Patient/{}", person.id)},
        "dateTime": asked.to_string(),
        "performer": [{"reference": format!("Patient/{}", person.id)}],
        "organization": [{"reference": format!("Organization/{ORGANIZATION}"), "display": NAME}],
        "policy": [{"uri": format!("{SYSTEM}/texting-consent/2026-01/{}", person.language)}],
        "verification": [{"verified": true, "verificationDate": asked.to_string()}],
        "provision": {"type": kind, "code": classes},
    }))
}
