//! Whether somebody else has the time of a slot, as far as the EHR's appointments tell.
//!
//! Asked where the EHR does not let us hold the slot: then nobody arbitrates between us and its own bookers, some of
//! whom book a practitioner's time without naming a slot.

use super::{Scheduling, hold::SlotHolder, slot::hold_intent};
use crate::{
    ehr::{Ehr, EhrError},
    fhir::{
        Resource, ResourceRef, SearchMethod, SearchParams,
        views::{AppointmentStatus, AppointmentView, SlotView},
    },
    kernel::Id,
};
use jiff::{SignedDuration, Timestamp};

/// The longest visit that is looked for: an appointment is found by its start.
const LONGEST_VISIT: SignedDuration = SignedDuration::from_hours(12);

impl Scheduling {
    /// Whether the EHR has taken our hold of the slot, and thereby keeps others off.
    pub(super) async fn is_arbitrated(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<bool, EhrError> {
        let hold = self.ledger.last(&hold_intent(ehr, slot, holder)).await?;
        Ok(hold.is_some_and(|(state, _)| state == "written"))
    }

    /// Whether another appointment fills the slot, or takes the practitioner of `ours` at its time.
    ///
    /// # Errors
    /// [`EhrError::Refused`] where the EHR's appointments cannot be searched; otherwise as the EHR says.
    pub(super) async fn is_taken_by_another(
        &self,
        ehr: &Ehr,
        slot: &SlotView,
        ours: &AppointmentView,
    ) -> Result<bool, EhrError> {
        let can = ehr.capabilities(self.instruments.now()).await?;
        let mut searches = Vec::new();
        if let Some(slot) = slot.reference.as_ref().filter(|_| can.searches_by("Appointment", "slot")) {
            searches.push(SearchParams::new().with("slot", slot.to_string()));
        }
        if can.searches_by("Appointment", "date") {
            let from = slot.start.checked_sub(LONGEST_VISIT).unwrap_or(Timestamp::MIN);
            let mut around =
                SearchParams::new().with("date", format!("ge{from}")).with("date", format!("lt{}", slot.end));
            let by = ["practitioner", "actor"].into_iter().find(|by| can.searches_by("Appointment", by));
            if let Some((by, practitioner)) = by.zip(ours.practitioner()) {
                around = around.with(by, practitioner.to_string());
            }
            searches.push(around);
        }
        if searches.is_empty() {
            return Err(EhrError::Refused { code: "ehr-appointments-not-searchable" });
        }
        for search in searches {
            let page = ehr.client.search("Appointment", search, SearchMethod::Get)?.all().await?;
            if page.matches.iter().any(|found| is_in_the_way(found, slot, ours)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A server may ignore a parameter: each appointment is looked at. One that cannot be read may well be in the way.
fn is_in_the_way(found: &Resource, slot: &SlotView, ours: &AppointmentView) -> bool {
    found.reference() != ours.reference
        && AppointmentView::read(found).map_or(true, |other| takes(&other, slot, ours.practitioner()))
}

/// Whether an appointment fills the slot, or takes the practitioner's time.
fn takes(appointment: &AppointmentView, slot: &SlotView, practitioner: Option<&ResourceRef>) -> bool {
    if !takes_time(appointment.status) {
        return false;
    }
    let fills = slot.reference.as_ref().is_some_and(|slot| appointment.slots.contains(slot));
    let same = practitioner.is_some_and(|ours| appointment.actors("Practitioner").any(|(_, theirs)| theirs == ours));
    let overlaps =
        appointment.start.zip(appointment.end).is_some_and(|(start, end)| start < slot.end && end > slot.start);
    fills || (same && overlaps)
}

/// Whether an appointment of this status takes its time: it is agreed on, and not off.
const fn takes_time(status: AppointmentStatus) -> bool {
    !matches!(
        status,
        AppointmentStatus::Proposed
            | AppointmentStatus::Waitlist
            | AppointmentStatus::Cancelled
            | AppointmentStatus::Noshow
            | AppointmentStatus::EnteredInError
    )
}
