//! FHIR resources as the pages show them.

use super::super::fhir_server::element::{at_path, text_at};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// An appointment, as a line of the calendar.
pub(super) struct Visit {
    pub(super) id: String,
    pub(super) patient: String,
    pub(super) patient_name: String,
    pub(super) doctor_name: String,
    pub(super) status: String,
    /// Whether the patient has confirmed.
    pub(super) is_confirmed: bool,
    pub(super) day: String,
    pub(super) time: String,
    pub(super) start: Timestamp,
    pub(super) is_open: bool,
}

impl Visit {
    pub(super) fn of(appointment: &Value, now: Timestamp, zone: &TimeZone) -> Option<Self> {
        let start: Timestamp = text_at(appointment, "start")?.parse().ok()?;
        let local = start.to_zoned(zone.clone());
        let participants = at_path(appointment, "participant");
        let with = |kind: &str| {
            let is_kind = |one: &&Value| text_at(one, "actor.reference").is_some_and(|text| text.starts_with(kind));
            participants.iter().copied().find(is_kind)
        };
        let name = |participant: Option<&Value>| {
            participant.and_then(|one| text_at(one, "actor.display")).unwrap_or_default().to_owned()
        };
        let patient = with("Patient/");
        let status = text_at(appointment, "status").unwrap_or_default();
        Some(Self {
            id: text_at(appointment, "id")?.to_owned(),
            patient: text_at(patient?, "actor.reference")?.strip_prefix("Patient/")?.to_owned(),
            patient_name: name(patient),
            doctor_name: name(with("Practitioner/")),
            is_confirmed: patient.and_then(|one| text_at(one, "status")) == Some("accepted") && status == "booked",
            is_open: status == "booked" && start > now,
            status: status.to_owned(),
            day: local.strftime("%A, %B %-d").to_string(),
            time: local.strftime("%-I:%M %p").to_string(),
            start,
        })
    }
}

/// A patient, as the banner shows one.
pub(super) struct Banner {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) gender: String,
    pub(super) born: String,
    pub(super) record_number: String,
    pub(super) phone: String,
    pub(super) language: String,
}

impl Banner {
    pub(super) fn of(patient: &Value) -> Self {
        let text = |path: &str| text_at(patient, path).unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            name: format!("{} {}", text("name.given"), text("name.family")),
            gender: text("gender"),
            born: text("birthDate"),
            record_number: text("identifier.value"),
            phone: text("telecom.value"),
            language: text("communication.language.coding.code"),
        }
    }
}

/// A free slot, as an option of a list.
pub(super) struct FreeSlot {
    pub(super) id: String,
    pub(super) label: String,
}

impl FreeSlot {
    pub(super) fn of(slot: &Value, schedules: &[Value], zone: &TimeZone) -> Option<Self> {
        let start: Timestamp = text_at(slot, "start")?.parse().ok()?;
        let schedule = text_at(slot, "schedule.reference")?.strip_prefix("Schedule/")?;
        let schedule = schedules.iter().find(|one| text_at(one, "id") == Some(schedule));
        let doctor = schedule.and_then(|schedule| text_at(schedule, "actor.display")).unwrap_or_default();
        let label = start.to_zoned(zone.clone()).strftime("%a %b %-d, %-I:%M %p");
        Some(Self { id: text_at(slot, "id")?.to_owned(), label: format!("{label} · {doctor}") })
    }
}

/// A Communication, as the chart shows one.
pub(super) struct Message {
    pub(super) at: Option<Timestamp>,
    pub(super) when: String,
    pub(super) direction: &'static str,
    pub(super) status: String,
    pub(super) text: String,
}

impl Message {
    pub(super) fn of(communication: &Value, zone: &TimeZone) -> Self {
        let text = |path: &str| text_at(communication, path).unwrap_or_default().to_owned();
        let at = text_at(communication, "sent").or_else(|| text_at(communication, "received"));
        let at: Option<Timestamp> = at.and_then(|text| text.parse().ok());
        let local = at.map(|at| at.to_zoned(zone.clone()).strftime("%a %b %-d, %-I:%M %p").to_string());
        let is_from_patient = text("sender.reference").starts_with("Patient/");
        Self {
            at,
            when: local.unwrap_or_default(),
            direction: if is_from_patient { "from the patient" } else { "to the patient" },
            status: text("status"),
            text: text("payload.contentString"),
        }
    }
}

/// A Task, as the chart shows one.
pub(super) struct Duty {
    pub(super) text: String,
    pub(super) status: String,
}

impl Duty {
    pub(super) fn of(task: &Value) -> Self {
        let text = |path: &str| text_at(task, path).map(str::to_owned);
        let code = || text("code.coding.display").or_else(|| text("code.coding.code"));
        Self {
            text: text("description").or_else(|| text("code.text")).or_else(code).unwrap_or_else(|| "Task".to_owned()),
            status: text("status").unwrap_or_default(),
        }
    }
}
