use super::super::fhir_server::element::{at_path, text_at};
use super::*;
use crate::kernel::PhoneNumber;
use std::collections::{BTreeMap, BTreeSet};

fn clinic(now: &str, seed: u64) -> Clinic {
    Clinic::at(now.parse().unwrap(), &TimeZone::get("America/New_York").unwrap(), seed)
}

fn of_kind<'a>(clinic: &'a Clinic, kind: &str) -> Vec<&'a Value> {
    clinic.resources.iter().filter(|one| text_at(one, "resourceType") == Some(kind)).collect()
}

#[test]
fn the_same_clock_and_seed_give_the_same_clinic() {
    assert_eq!(clinic("2026-11-22T15:00:00Z", 1).resources, clinic("2026-11-22T15:00:00Z", 1).resources);
    assert_ne!(clinic("2026-11-22T15:00:00Z", 1).resources, clinic("2026-11-22T15:00:00Z", 2).resources);
}

#[test]
fn every_reference_points_at_something_written_before_it() {
    let clinic = clinic("2026-11-22T15:00:00Z", 1);
    let mut written = BTreeSet::new();
    for resource in &clinic.resources {
        super::super::fhir_server::element::each_reference(resource, &mut |reference| {
            let target = text_at(reference, "reference").unwrap();
            assert!(written.contains(target), "{target}");
        });
        let reference = format!("{}/{}", text_at(resource, "resourceType").unwrap(), text_at(resource, "id").unwrap());
        assert!(written.insert(reference.clone()), "{reference} is there twice");
    }
}

#[test]
fn the_register_has_the_people_that_are_called_by_name() {
    assert!(patients().len() >= 22);
    for person in patients().iter().filter(|person| !person.phone.is_empty()) {
        assert_eq!(PhoneNumber::parse(person.phone).unwrap().as_e164(), person.phone);
    }
    let mut by_phone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for person in patients().iter().filter(|person| !person.is_replaced() && !person.phone.is_empty()) {
        by_phone.entry(person.phone).or_default().push(person.id);
    }
    let shared: Vec<_> = by_phone.values().filter(|people| people.len() > 1).collect();
    assert_eq!(shared, [&vec![persona::MARIA_SANTOS, persona::MIA_SANTOS]]);
}

/// At night, at noon, on the days on which the clocks change, on the last day of the year.
#[rstest::rstest]
#[case("2026-11-22T04:30:00Z")]
#[case("2026-03-07T17:00:00Z")]
#[case("2026-10-31T23:59:00Z")]
#[case("2026-12-31T18:00:00Z")]
fn slots_and_visits_agree_whenever_it_is(#[case] now: &str) {
    let clinic = clinic(now, 9);
    let now: Timestamp = now.parse().unwrap();
    let slots: BTreeMap<&str, &Value> =
        of_kind(&clinic, "Slot").into_iter().map(|slot| (text_at(slot, "id").unwrap(), slot)).collect();
    let mut taken = BTreeSet::new();
    for appointment in of_kind(&clinic, "Appointment") {
        for slot in at_path(appointment, "slot.reference") {
            let id = slot.as_str().unwrap().strip_prefix("Slot/").unwrap();
            assert!(taken.insert(id), "{id} is booked twice");
            assert_eq!(text_at(slots[id], "status"), Some("busy"));
            assert_eq!(text_at(slots[id], "start"), text_at(appointment, "start"));
            assert_eq!(text_at(slots[id], "end"), text_at(appointment, "end"));
        }
    }
    let free: Vec<_> = slots.values().filter(|slot| text_at(slot, "status") == Some("free")).collect();
    assert!(free.len() > 100, "{}", free.len());
    assert!(free.iter().all(|slot| text_at(slot, "start").unwrap().parse::<Timestamp>().unwrap() > now));
    assert!(
        slots
            .values()
            .filter(|slot| text_at(slot, "status") == Some("busy"))
            .all(|slot| taken.contains(text_at(slot, "id").unwrap()))
    );
}

#[test]
fn ana_has_a_visit_in_three_calendar_days() {
    let clinic = clinic("2026-11-22T15:00:00Z", 1);
    let visit =
        of_kind(&clinic, "Appointment").into_iter().find(|one| text_at(one, "id") == Some("appointment-ana-lopez"));
    assert_eq!(text_at(visit.unwrap(), "start"), Some("2026-11-25T19:00:00Z"));
}
