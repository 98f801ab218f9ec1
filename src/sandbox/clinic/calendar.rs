//! Schedules and slots, and the visits that fill them.

use super::appointments::{Visit, visits};
use super::staff::{Colleague, colleagues};
use super::{Day, SYSTEM};
use crate::kernel::{SeededEntropy, entropy};
use serde_json::{Value, json};

/// The first and the last day of the calendar, counted from today.
pub(super) const DAYS: std::ops::RangeInclusive<i64> = 0..=10;
/// A slot's length in minutes.
pub(super) const SLOT_MINUTES: i64 = 30;
/// The kinds of visit that the doctors' slots are for: code and words.
pub(super) const SERVICES: [(&str, &str); 2] = [("follow-up", "Follow-up visit"), ("office-visit", "Office visit")];
/// Of a hundred slots without a visit, so many are blocked for other work.
const BLOCKED_PERCENT: u64 = 30;

/// The times at which slots start: 08:00 to 17:00 with an hour for lunch.
pub(super) fn slot_times() -> impl Iterator<Item = (i8, i8)> {
    (8..17).filter(|hour| *hour != 12).flat_map(|hour| [(hour, 0), (hour, 30)])
}

pub(super) fn doctors() -> impl Iterator<Item = &'static Colleague> {
    colleagues().iter().filter(|colleague| colleague.sees_patients())
}

/// The id of a doctor's slot.
pub(super) fn slot_id(day: &Day, doctor: &str, days: i64, (hour, minute): (i8, i8)) -> String {
    let date = day.date(days).strftime("%Y%m%d");
    format!("{}-{date}-{hour:02}{minute:02}", doctor.replacen("practitioner", "slot", 1))
}

/// A kind of visit as a `CodeableConcept`.
pub(super) fn service_type((code, words): (&str, &str)) -> Value {
    json!({
        "coding": [{"system": format!("{SYSTEM}/CodeSystem/service-type"), "code": code, "display": words}],
        "text": words,
    })
}

pub(super) fn resources(day: &Day) -> Vec<Value> {
    let visits = visits(day);
    let mut resources: Vec<Value> = doctors().map(|doctor| schedule(doctor, day)).collect();
    let draw = SeededEntropy::new(day.seed);
    for doctor in doctors() {
        for (days, time) in DAYS.flat_map(|days| slot_times().map(move |time| (days, time))) {
            let is_blocked = entropy::below(&draw, 100) < BLOCKED_PERCENT;
            let status = slot_status(day, doctor, &visits, (days, time), is_blocked);
            resources.push(slot(doctor, day, (days, time), status));
        }
    }
    resources.extend(visits.iter().map(|visit| visit.appointment(day)));
    resources
}

fn schedule_id(doctor: &Colleague) -> String {
    doctor.id.replacen("practitioner", "schedule", 1)
}

fn schedule(doctor: &Colleague, day: &Day) -> Value {
    json!({
        "resourceType": "Schedule",
        "id": schedule_id(doctor),
        "active": true,
        "serviceType": SERVICES.map(service_type),
        "actor": [
            {"reference": format!("Practitioner/{}", doctor.id), "display": doctor.name()},
            {"reference": format!("Location/{}", doctor.location())},
        ],
        "planningHorizon": {
            "start": day.instant(*DAYS.start(), (0, 0)).to_string(),
            "end": day.instant(*DAYS.end() + 1, (0, 0)).to_string(),
        },
    })
}

fn slot_status(
    day: &Day,
    doctor: &Colleague,
    visits: &[Visit],
    (days, time): (i64, (i8, i8)),
    is_blocked: bool,
) -> &'static str {
    let is_booked = visits.iter().any(|visit| visit.doctor == doctor.id && (visit.days, visit.time) == (days, time));
    if is_booked {
        "busy"
    } else if is_blocked || day.instant(days, time) <= day.now {
        "busy-unavailable"
    } else {
        "free"
    }
}

fn slot(doctor: &Colleague, day: &Day, (days, time): (i64, (i8, i8)), status: &str) -> Value {
    let start = day.instant(days, time);
    json!({
        "resourceType": "Slot",
        "id": slot_id(day, doctor.id, days, time),
        "serviceType": SERVICES.map(service_type),
        "schedule": {"reference": format!("Schedule/{}", schedule_id(doctor))},
        "status": status,
        "start": start.to_string(),
        "end": (start + jiff::SignedDuration::from_mins(SLOT_MINUTES)).to_string(),
    })
}
