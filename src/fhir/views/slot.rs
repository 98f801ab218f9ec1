//! Slots and the schedules that they belong to (<https://hl7.org/fhir/R4/slot.html>).

use super::datatypes::{ConceptView, PeriodView, concept, concepts, instant, period, reference, references};
use crate::fhir::error::{ParseFault, ParseFaultKind};
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use fhir_sdk::r4b::codes::SlotStatus;
use jiff::Timestamp;

/// A stretch of time that can be booked.
#[derive(Debug, Clone)]
pub struct SlotView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// Free, busy, or held (`BusyTentative`).
    pub status: SlotStatus,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// The schedule that it is part of; `None` where that is not a resource of this server.
    pub schedule: Option<ResourceRef>,
    /// What can be booked.
    pub service_types: Vec<ConceptView>,
    /// The style of visit that it is kept for.
    pub appointment_type: Option<ConceptView>,
    /// Whether more was booked into it than it holds.
    pub overbooked: bool,
}

impl SlotView {
    /// Reads a `Slot`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::slot(resource)?;
        let fault = |path: &str| ParseFault { expected: "Slot", path: path.to_owned(), kind: ParseFaultKind::BadValue };
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            status: it.status,
            start: instant(&it.start).ok_or_else(|| fault("start"))?,
            end: instant(&it.end).ok_or_else(|| fault("end"))?,
            schedule: reference(resource.base(), &it.schedule),
            service_types: concepts(&it.service_type),
            appointment_type: it.appointment_type.as_ref().map(concept),
            overbooked: it.overbooked == Some(true),
        })
    }
}

/// A container of slots: whose time they are.
#[derive(Debug, Clone)]
pub struct ScheduleView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// Whether it is in use; the EHR's silence means yes.
    pub active: bool,
    /// Whose time it is: practitioners, locations, devices.
    pub actors: Vec<ResourceRef>,
    /// What can be booked.
    pub service_types: Vec<ConceptView>,
    /// The stretch of time that it covers.
    pub horizon: PeriodView,
}

impl ScheduleView {
    /// Reads a `Schedule`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::schedule(resource)?;
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            active: it.active != Some(false),
            actors: references(resource.base(), &it.actor),
            service_types: concepts(&it.service_type),
            horizon: period(it.planning_horizon.as_ref()),
        })
    }
}
