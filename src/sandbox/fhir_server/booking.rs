//! The booking desk's rules: a slot belongs to one appointment, and slots follow their appointments.
//!
//! Called within the store's write, so of two clients who reach for the same slot one gets it and the other a 409.

use super::element::{at_path, local_reference, text_at};
use super::outcome::FhirError;
use super::store::Shelves;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TAKEN: FhirError = FhirError::Conflict("the slot is taken");

/// Slot statuses that follow from a write, to be set once it is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotChanges {
    changes: Vec<(String, &'static str)>,
}

impl SlotChanges {
    /// Sets the statuses; a slot that already has its status keeps its version.
    pub(super) fn apply(&self, shelves: &mut Shelves, now: Timestamp) {
        for (id, status) in &self.changes {
            let Ok(slot) = shelves.current("Slot", id) else { continue };
            if text_at(slot, "status") != Some(status) {
                let mut slot = Value::clone(slot);
                if let Some(members) = slot.as_object_mut() {
                    members.insert("status".into(), json!(status));
                }
                shelves.put("Slot", id, slot, now);
            }
        }
    }
}

/// What a write means for slots.
///
/// # Errors
/// [`FhirError::Conflict`] where a slot is not to be had, [`FhirError::Unprocessable`] where the appointment's time
/// is not that of the slots that it now takes.
pub(super) fn slot_changes(
    shelves: &Shelves,
    base: &str,
    before: Option<&Value>,
    after: &Value,
) -> Result<SlotChanges, FhirError> {
    match text_at(after, "resourceType") {
        Some("Appointment") => appointment_changes(shelves, base, before, after),
        Some("Slot") => slot_status(shelves, base, before, after).map(|()| SlotChanges::default()),
        _ => Ok(SlotChanges::default()),
    }
}

fn appointment_changes(
    shelves: &Shelves,
    base: &str,
    before: Option<&Value>,
    after: &Value,
) -> Result<SlotChanges, FhirError> {
    let own_id = text_at(after, "id");
    let held = before.map(|before| slots_held(before, base)).unwrap_or_default();
    let wanted = slots_held(after, base);
    for slot in wanted.difference(&held) {
        let status = text_at(shelves.current("Slot", slot).map_err(|_| TAKEN)?, "status");
        let is_open = matches!(status, Some("free" | "busy-tentative"));
        if !is_open || is_held(shelves, base, slot, own_id) {
            return Err(TAKEN);
        }
    }
    if wanted != held && !wanted.is_empty() {
        times_agree(shelves, &wanted, after)?;
    }
    let status = if text_at(after, "status") == Some("pending") { "busy-tentative" } else { "busy" };
    let taken = wanted.iter().map(|slot| (slot.clone(), status));
    let left = held.difference(&wanted).filter(|slot| !is_held(shelves, base, slot, own_id));
    let freed = left.map(|slot| (slot.clone(), "free"));
    Ok(SlotChanges { changes: taken.chain(freed).collect() })
}

/// A hold is given once, and a slot that an appointment holds is not freed by hand.
fn slot_status(shelves: &Shelves, base: &str, before: Option<&Value>, after: &Value) -> Result<(), FhirError> {
    let (was, is) = (before.and_then(|before| text_at(before, "status")), text_at(after, "status"));
    let id = text_at(after, "id").unwrap_or_default();
    match (was, is) {
        (Some("busy" | "busy-tentative"), Some("busy-tentative")) => Err(TAKEN),
        (Some(was), Some("free")) if was != "free" && is_held(shelves, base, id, None) => {
            Err(FhirError::Conflict("an appointment holds the slot: move or cancel the appointment"))
        }
        _ => Ok(()),
    }
}

/// The slots that an appointment holds by its status.
fn slots_held(appointment: &Value, base: &str) -> BTreeSet<String> {
    let holds =
        matches!(text_at(appointment, "status"), Some("pending" | "booked" | "arrived" | "checked-in" | "fulfilled"));
    let slots = at_path(appointment, "slot").into_iter().filter(|_| holds);
    slots.filter_map(|slot| local_reference(slot, base)).map(|(_, id)| id.to_owned()).collect()
}

fn is_held(shelves: &Shelves, base: &str, slot: &str, except: Option<&str>) -> bool {
    shelves
        .all("Appointment")
        .any(|(_, other)| text_at(other, "id") != except && slots_held(other, base).contains(slot))
}

fn times_agree(shelves: &Shelves, slots: &BTreeSet<String>, appointment: &Value) -> Result<(), FhirError> {
    let instant = |resource: &Value, name: &str| text_at(resource, name)?.parse::<Timestamp>().ok();
    let resources = || slots.iter().filter_map(|id| shelves.current("Slot", id).ok());
    let start = resources().filter_map(|slot| instant(slot, "start")).min();
    let end = resources().filter_map(|slot| instant(slot, "end")).max();
    if (start, end) == (instant(appointment, "start"), instant(appointment, "end")) {
        return Ok(());
    }
    Err(FhirError::Unprocessable("the appointment's start and end are not those of its slots".into()))
}
