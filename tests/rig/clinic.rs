//! The patients who take part, and the visits that the rig books for them so that reminders fall due all along the run.

use crate::outside::{Outside, list, text};
use anyhow::Result;
use chartwire::sandbox::clinic::{Person, Texting, patients, persona};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Reminders leave so many days before a visit, each number of days at a time of its own.
const DAYS: std::ops::RangeInclusive<i64> = 1..=10;
/// When the first reminders fall due, counted from the start: the schedule has been read by then.
pub(crate) const FIRST_DUE: SignedDuration = SignedDuration::from_secs(12);

/// Those whose texts are theirs alone: a mobile of their own, and a yes to texts.
pub(crate) fn participants() -> Vec<&'static Person> {
    let own = |person: &&Person| {
        let number = person.phone;
        let alone = patients().iter().filter(|other| other.phone == number && !other.is_replaced()).count() == 1;
        alone && !number.is_empty() && person.phone_use == "mobile" && matches!(person.texting, Texting::Permitted(_))
    };
    patients().iter().filter(|person| !person.is_replaced()).filter(own).collect()
}

/// Takes the visits of those off the schedule who share a phone: of two the second's reminder waits for as long as the
/// first's question stands, which may be days.
pub(crate) async fn clear_shared_phone(outside: &Outside) -> Result<()> {
    for patient in [persona::MARIA_SANTOS, persona::MIA_SANTOS] {
        for mut visit in outside.search(&format!("Appointment?patient=Patient/{patient}&status=booked")).await? {
            visit["status"] = json!("cancelled");
            outside.update(&visit).await?;
        }
    }
    Ok(())
}

/// A zone in which it is morning, so that no midnight of the clinic falls into a run.
pub(crate) fn morning_zone(now: Timestamp) -> String {
    let utc = i64::from(now.to_zoned(TimeZone::UTC).hour());
    let ahead = (7 - utc + 12).rem_euclid(24) - 12;
    // The signs of these names are those of POSIX: west is positive.
    format!("Etc/GMT{:+}", -ahead)
}

/// The reminder rules as a TOML value: each day's visits are reminded of at another moment of a run that takes `lasts`.
pub(crate) fn reminders(now: Timestamp, zone: &TimeZone, lasts: SignedDuration) -> String {
    let steps = i32::try_from(DAYS.end() - DAYS.start()).unwrap_or(1);
    let rule = |days: i64| {
        let at = now + FIRST_DUE + lasts / steps * i32::try_from(days - DAYS.start()).unwrap_or(0);
        format!(r#"{{ days_before = {days}, at = "{}" }}"#, at.to_zoned(zone.clone()).strftime("%H:%M:%S"))
    };
    format!("[{}]", DAYS.map(rule).collect::<Vec<_>>().join(", "))
}

/// Books a visit every other day for every participant.
pub(crate) async fn book(outside: &Outside, now: Timestamp, zone: &TimeZone) -> Result<usize> {
    let schedules: HashMap<String, Value> = outside
        .search("Schedule?_count=50")
        .await?
        .into_iter()
        .map(|schedule| (format!("Schedule/{}", text(&schedule, "/id")), schedule))
        .collect();
    let mut free: BTreeMap<Date, Vec<Value>> = BTreeMap::new();
    for slot in outside.search("Slot?status=free&_count=200").await? {
        let start: Timestamp = text(&slot, "/start").parse()?;
        free.entry(start.to_zoned(zone.clone()).date()).or_default().push(slot);
    }
    let today = now.to_zoned(zone.clone()).date();
    let mut booked = 0;
    for (index, person) in participants().iter().enumerate() {
        for days in DAYS.skip(index % 2).step_by(2) {
            let day = today.saturating_add(jiff::Span::new().days(days));
            let Some(slots) = free.get_mut(&day).filter(|slots| slots.len() > 6) else { continue };
            let slot = slots.swap_remove(index % slots.len());
            let schedule = &schedules[text(&slot, "/schedule/reference")];
            outside.create(&appointment(person, &slot, schedule)).await?;
            booked += 1;
        }
    }
    Ok(booked)
}

fn appointment(person: &Person, slot: &Value, schedule: &Value) -> Value {
    let mut participants = vec![json!({
        "actor": { "reference": format!("Patient/{}", person.id) }, "required": "required", "status": "needs-action",
    })];
    let attendant = |actor: &Value| json!({ "actor": actor, "required": "required", "status": "accepted" });
    participants.extend(list(schedule, "/actor").iter().map(attendant));
    json!({
        "resourceType": "Appointment",
        "status": "booked",
        "serviceType": list(slot, "/serviceType").iter().take(1).collect::<Vec<_>>(),
        "start": slot.get("start"),
        "end": slot.get("end"),
        "slot": [{ "reference": format!("Slot/{}", text(slot, "/id")) }],
        "participant": participants,
    })
}
