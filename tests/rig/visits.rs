//! The schedule against what patients were told of it.

use crate::{
    outside::{Outside, list, text},
    stored::StoredText,
};
use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The schedule as it was before the service ran: the visits that were on, and the slots that were free.
pub(crate) struct Before {
    starts: HashMap<String, String>,
    free: HashSet<String>,
}

impl Before {
    pub(crate) async fn read(outside: &Outside) -> Result<Self> {
        let appointments = outside.search("Appointment?status=booked&_count=200").await?;
        let slots = outside.search("Slot?status=free&_count=200").await?;
        Ok(Self {
            starts: appointments
                .iter()
                .map(|one| (text(one, "/id").to_owned(), text(one, "/start").to_owned()))
                .collect(),
            free: slots.iter().map(|one| text(one, "/id").to_owned()).collect(),
        })
    }
}

/// How the visits ended.
#[derive(Default)]
pub(crate) struct Visits {
    pub(crate) moved: usize,
    pub(crate) cancelled: usize,
    pub(crate) confirmed: usize,
}

/// Holds the schedule against the texts; what does not agree goes to `wrong`.
pub(crate) async fn check(
    outside: &Outside,
    before: &Before,
    texts: &[StoredText],
    zone: &TimeZone,
    wrong: &mut Vec<String>,
) -> Result<Visits> {
    let appointments = outside.search("Appointment?_count=200").await?;
    let mut visits = Visits::default();
    for appointment in &appointments {
        check_visit(appointment, before, texts, zone, (&mut visits, wrong))?;
    }
    check_slots(&appointments, before, &outside.search("Slot?status=busy&_count=200").await?, wrong);
    Ok(visits)
}

/// The outbound texts that reached the patient, about one appointment, oldest first.
fn told<'a>(texts: &'a [StoredText], id: &str) -> Vec<&'a StoredText> {
    let about = format!("Appointment/{id}");
    let reached = |one: &&StoredText| matches!(one.state.as_str(), "delivered" | "sent" | "accepted");
    texts.iter().filter(|one| !one.inbound && one.about.as_ref() == Some(&about)).filter(reached).collect()
}

fn check_visit(
    appointment: &Value,
    before: &Before,
    texts: &[StoredText],
    zone: &TimeZone,
    (visits, wrong): (&mut Visits, &mut Vec<String>),
) -> Result<()> {
    let (id, status, start) = (text(appointment, "/id"), text(appointment, "/status"), text(appointment, "/start"));
    let start: Timestamp = start.parse()?;
    let told = told(texts, id);
    let template = |one: &StoredText| one.template.clone().unwrap_or_default();
    let last = told
        .iter()
        .rev()
        .find(|one| matches!(template(one).as_str(), "moved" | "changed" | "confirmed" | "kept" | "cancelled"));
    let time = start.to_zoned(zone.clone()).strftime("%-I:%M %p").to_string();
    let has_time = |one: &StoredText| one.words.as_ref().is_some_and(|words| words.contains(&time));
    let accepted = list(appointment, "/participant").iter().any(|participant| {
        text(participant, "/actor/reference").starts_with("Patient/") && text(participant, "/status") == "accepted"
    });
    match last.map(|one| (template(one), *one)) {
        Some((key, one)) if (key == "moved" || key == "changed") && (status != "booked" || !has_time(one)) => {
            wrong.push(format!("Appointment/{id} is {status} at {time}, and the patient was told another time"));
        }
        Some((key, _)) if key == "cancelled" && status != "cancelled" => {
            wrong.push(format!("Appointment/{id} is {status}, and the patient was told that it is cancelled"));
        }
        Some((key, _)) if key == "confirmed" && (status != "booked" || !accepted) => {
            wrong.push(format!("Appointment/{id} is {status}, and the patient was told that it is confirmed"));
        }
        _ => {}
    }
    let about = format!("Appointment/{id}");
    let ours = || texts.iter().filter(|one| !one.inbound && one.about.as_ref() == Some(&about));
    let ended = || ours().map(|one| format!("{} {}", template(one), one.state)).collect::<Vec<_>>();
    // The gate may not have let a text leave: whoever says STOP is told nothing more.
    visits.confirmed += usize::from(last.is_some_and(|one| template(one) == "confirmed"));
    if status == "cancelled" && before.starts.contains_key(id) {
        visits.cancelled += 1;
        let dropped = |one: &StoredText| one.state == "dropped" && one.about.as_ref() == Some(&about);
        let held_back = texts.iter().any(|one| dropped(one) && template(one) == "cancelled");
        if !held_back && !told.iter().any(|one| template(one) == "cancelled") {
            let ended = ended();
            wrong.push(format!("{about} was cancelled, and the patient was not told: {ended:?}"));
        }
    }
    let moved = before.starts.get(id).is_some_and(|was| was.parse::<Timestamp>().ok() != Some(start));
    if moved {
        visits.moved += 1;
        let held_back = texts.iter().any(|one| {
            one.state == "dropped"
                && one.about.as_ref() == Some(&about)
                && matches!(template(one).as_str(), "moved" | "changed")
        });
        let is_told = told.iter().any(|one| matches!(template(one).as_str(), "moved" | "changed") && has_time(one));
        if !is_told && !held_back {
            let ended = ended();
            wrong.push(format!("{about} was moved to {time}, and the patient was not told: {ended:?}"));
        }
    }
    Ok(())
}

/// No slot holds two visits, and none that was free is kept without a visit.
fn check_slots(appointments: &[Value], before: &Before, busy: &[Value], wrong: &mut Vec<String>) {
    let on = appointments.iter().filter(|one| matches!(text(one, "/status"), "booked" | "arrived" | "pending"));
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for slot in on.flat_map(|one| list(one, "/slot")) {
        *taken.entry(text(slot, "/reference").trim_start_matches("Slot/")).or_default() += 1;
    }
    wrong.extend(
        taken.iter().filter(|(_, count)| **count > 1).map(|(slot, count)| format!("Slot/{slot} holds {count} visits")),
    );
    let kept =
        busy.iter().map(|slot| text(slot, "/id")).filter(|id| before.free.contains(*id) && !taken.contains_key(id));
    wrong.extend(kept.map(|slot| format!("Slot/{slot} is kept and holds no visit")));
}
