//! Who has a visit when.

use super::calendar::{DAYS, SERVICES, SLOT_MINUTES, doctors, service_type, slot_id, slot_times};
use super::patients::{Person, patients};
use super::staff::{Colleague, colleagues};
use super::{Day, SYSTEM, persona};
use crate::kernel::{SeededEntropy, entropy};
use serde_json::{Value, json};

/// A visit.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    /// The Appointment's id.
    pub(super) id: String,
    /// The Patient's id.
    pub(super) patient: &'static str,
    /// The Practitioner's id.
    pub(super) doctor: &'static str,
    /// Days from today.
    pub(super) days: i64,
    /// Hour and minute in the clinic's zone.
    pub(super) time: (i8, i8),
    /// What it is for: an index into the kinds of visit.
    service: usize,
    /// What became of it, for visits that are over.
    outcome: &'static str,
}

/// Appointment, patient, doctor, days from today, time.
type Named = (&'static str, &'static str, &'static str, i64, (i8, i8));

/// The visits of those who are called by name.
const NAMED: [Named; 15] = [
    ("appointment-ana-lopez", persona::ANA_LOPEZ, persona::DR_SMITH, 3, (14, 0)),
    ("appointment-rosa-jimenez", persona::ROSA_JIMENEZ, persona::DR_PATEL, 3, (10, 0)),
    ("appointment-helen-ward-1", persona::HELEN_WARD, persona::DR_SMITH, 3, (9, 0)),
    ("appointment-helen-ward-2", persona::HELEN_WARD, persona::DR_PATEL, 3, (11, 0)),
    ("appointment-priya-nair", persona::PRIYA_NAIR, persona::DR_SMITH, 3, (15, 0)),
    ("appointment-tom-becker", persona::TOM_BECKER, persona::DR_SMITH, 3, (15, 30)),
    ("appointment-grace-kim", persona::GRACE_KIM, persona::DR_SMITH, 3, (13, 0)),
    ("appointment-peter-novak", persona::PETER_NOVAK, persona::DR_PATEL, 3, (16, 0)),
    ("appointment-robert-chen", persona::ROBERT_CHEN, persona::DR_PATEL, 3, (8, 30)),
    ("appointment-maria-santos", persona::MARIA_SANTOS, persona::DR_SMITH, 1, (9, 30)),
    ("appointment-mia-santos", persona::MIA_SANTOS, persona::DR_PATEL, 1, (10, 0)),
    ("appointment-walter-brooks", persona::WALTER_BROOKS, persona::DR_PATEL, 1, (11, 0)),
    ("appointment-agnes-cole", persona::AGNES_COLE, persona::DR_PATEL, 1, (14, 30)),
    ("appointment-james-carter", persona::JAMES_CARTER, persona::DR_SMITH, 5, (10, 30)),
    ("appointment-linda-okafor", persona::LINDA_OKAFOR, persona::DR_PATEL, -2, (10, 0)),
];

/// Every visit: those called by name, and one for everybody else somewhere between three days ago and the end of the
/// calendar. Two visits never share a doctor's slot.
pub(super) fn visits(day: &Day) -> Vec<Visit> {
    let mut visits: Vec<Visit> = NAMED
        .iter()
        .map(|(id, patient, doctor, days, time)| Visit {
            id: (*id).to_owned(),
            patient,
            doctor,
            days: *days,
            time: *time,
            service: 0,
            outcome: "fulfilled",
        })
        .collect();
    let draw = SeededEntropy::new(day.seed.wrapping_add(1));
    let others = patients().iter().filter(|person| NAMED.iter().all(|named| named.1 != person.id));
    for person in others.filter(|person| !person.is_replaced()) {
        let open = open_times(&visits);
        let pick = usize::try_from(entropy::below(&draw, open.len() as u64)).unwrap_or(0);
        let Some((doctor, days, time)) = open.get(pick).copied() else { continue };
        visits.push(Visit {
            id: person.id.replacen("patient", "appointment", 1),
            patient: person.id,
            doctor,
            days,
            time,
            service: pick % 2,
            outcome: if pick % 5 == 0 { "noshow" } else { "fulfilled" },
        });
    }
    visits
}

fn open_times(visits: &[Visit]) -> Vec<(&'static str, i64, (i8, i8))> {
    let days = -3..=*DAYS.end();
    let all = doctors().flat_map(move |doctor| {
        days.clone().flat_map(move |days| slot_times().map(move |time| (doctor.id, days, time)))
    });
    all.filter(|open| visits.iter().all(|visit| (visit.doctor, visit.days, visit.time) != *open)).collect()
}

impl Visit {
    pub(super) fn appointment(&self, day: &Day) -> Value {
        let start = day.instant(self.days, self.time);
        let end = start + jiff::SignedDuration::from_mins(SLOT_MINUTES);
        let is_over = end <= day.now;
        let status = if is_over { self.outcome } else { "booked" };
        let service = SERVICES.get(self.service).copied().unwrap_or(("office-visit", "Office visit"));
        let answer = if is_over { "accepted" } else { "needs-action" };
        let mut appointment = json!({
            "resourceType": "Appointment",
            "id": self.id,
            "identifier": [{"system": format!("{SYSTEM}/appointment"), "value": self.id}],
            "status": status,
            "serviceType": [service_type(service)],
            "description": service.1,
            "start": start.to_string(),
            "end": end.to_string(),
            "minutesDuration": SLOT_MINUTES,
            "created": day.date(-14).to_string(),
            "participant": self.participants(answer),
        });
        // The calendar has no slots for days gone by.
        if let (Some(members), true) = (appointment.as_object_mut(), DAYS.contains(&self.days)) {
            let slot = slot_id(day, self.doctor, self.days, self.time);
            members.insert("slot".into(), json!([{"reference": format!("Slot/{slot}")}]));
        }
        appointment
    }

    fn participants(&self, patient_answer: &str) -> Vec<Value> {
        let doctor = colleagues().iter().find(|colleague| colleague.id == self.doctor);
        let patient = patients().iter().find(|person| person.id == self.patient);
        let participant = |reference: String, display: Option<String>, status: &str| {
            let mut actor = json!({"reference": reference});
            if let (Some(members), Some(display)) = (actor.as_object_mut(), display) {
                members.insert("display".into(), json!(display));
            }
            json!({"actor": actor, "required": "required", "status": status})
        };
        let location = doctor.map_or("location-main", |doctor| doctor.location());
        vec![
            participant(format!("Patient/{}", self.patient), patient.map(Person::name), patient_answer),
            participant(format!("Practitioner/{}", self.doctor), doctor.map(Colleague::name), "accepted"),
            participant(format!("Location/{location}"), None, "accepted"),
        ]
    }
}
