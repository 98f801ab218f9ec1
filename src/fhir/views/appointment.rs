//! Appointments (<https://hl7.org/fhir/R4/appointment.html>).

use super::datatypes::{ConceptView, concept, concepts, instant, reference, references};
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use crate::kernel::Phi;
use fhir_sdk::r4b::codes::{AppointmentStatus, ParticipationStatus};
use jiff::Timestamp;

/// An appointment.
#[derive(Debug, Clone)]
pub struct AppointmentView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// `meta.lastUpdated`.
    pub last_updated: Option<Timestamp>,
    /// Proposed, booked, cancelled and so on.
    pub status: AppointmentStatus,
    /// When it begins; absent only while it is proposed, waitlisted or cancelled.
    pub start: Option<Timestamp>,
    /// When it ends.
    pub end: Option<Timestamp>,
    /// How long it takes, in minutes, where that is not the time between start and end.
    pub minutes: Option<u32>,
    /// What is done.
    pub service_types: Vec<ConceptView>,
    /// The style of visit, such as a walk-in or a follow-up.
    pub appointment_type: Option<ConceptView>,
    /// The specialties involved.
    pub specialties: Vec<ConceptView>,
    /// Why, in codes or words.
    pub reasons: Vec<Phi<ConceptView>>,
    /// The subject line that staff see.
    pub description: Option<Phi<String>>,
    /// Instructions written for the patient.
    pub patient_instruction: Option<Phi<String>>,
    /// Why it was cancelled.
    pub cancelation_reason: Option<ConceptView>,
    /// The slots that it fills.
    pub slots: Vec<ResourceRef>,
    /// Who and what takes part, in the EHR's order: positions are those of JSON Patch paths.
    pub participants: Vec<Option<ParticipantView>>,
}

/// A participant of an appointment.
#[derive(Debug, Clone)]
pub struct ParticipantView {
    /// The patient, practitioner, location or other; `None` where it is not a resource of this server.
    pub actor: Option<ResourceRef>,
    /// The words that the EHR shows for the actor.
    pub display: Option<Phi<String>>,
    /// Whether the actor has agreed.
    pub status: ParticipationStatus,
}

impl AppointmentView {
    /// Reads an `Appointment`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::appointment(resource)?;
        let base = resource.base();
        let participant = |participant: &fhir_sdk::r4b::resources::AppointmentParticipant| ParticipantView {
            actor: participant.actor.as_ref().and_then(|actor| reference(base, actor)),
            display: participant.actor.as_ref().and_then(|actor| actor.display.clone()).map(Phi::new),
            status: participant.status,
        };
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            last_updated: resource.last_updated(),
            status: it.status,
            start: it.start.as_ref().and_then(instant),
            end: it.end.as_ref().and_then(instant),
            minutes: it.minutes_duration.map(std::num::NonZeroU32::get),
            service_types: concepts(&it.service_type),
            appointment_type: it.appointment_type.as_ref().map(concept),
            specialties: concepts(&it.specialty),
            reasons: concepts(&it.reason_code).into_iter().map(Phi::new).collect(),
            description: it.description.clone().map(Phi::new),
            patient_instruction: it.patient_instruction.clone().map(Phi::new),
            cancelation_reason: it.cancelation_reason.as_ref().map(concept),
            slots: references(base, &it.slot),
            participants: it.participant.iter().map(|one| one.as_ref().map(participant)).collect(),
        })
    }

    /// The participants whose actor is a `resource_type`, each with its place in the list.
    pub fn actors<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = (usize, &'a ResourceRef)> + 'a {
        let actor = |(index, participant): (usize, &'a Option<ParticipantView>)| {
            Some((index, participant.as_ref()?.actor.as_ref()?))
        };
        self.participants.iter().enumerate().filter_map(actor).filter(move |(_, actor)| actor.is(resource_type))
    }

    /// The patient; `None` when there is none or more than one (a group visit).
    #[must_use]
    pub fn patient(&self) -> Option<&ResourceRef> {
        self.only("Patient")
    }

    /// The practitioner, where there is exactly one.
    #[must_use]
    pub fn practitioner(&self) -> Option<&ResourceRef> {
        self.only("Practitioner")
    }

    /// The place, where there is exactly one.
    #[must_use]
    pub fn location(&self) -> Option<&ResourceRef> {
        self.only("Location")
    }

    fn only(&self, resource_type: &str) -> Option<&ResourceRef> {
        let mut actors = self.participants.iter().flatten().filter_map(|one| one.actor.as_ref());
        let first = actors.by_ref().find(|actor| actor.is(resource_type))?;
        actors.all(|actor| !actor.is(resource_type) || actor == first).then_some(first)
    }

    /// The patient's place in the list and whether the patient has agreed.
    #[must_use]
    pub fn patient_participation(&self) -> Option<(usize, ParticipationStatus)> {
        let patient = self.patient()?;
        self.participants.iter().enumerate().find_map(|(index, participant)| {
            let participant = participant.as_ref()?;
            (participant.actor.as_ref() == Some(patient)).then_some((index, participant.status))
        })
    }
}
