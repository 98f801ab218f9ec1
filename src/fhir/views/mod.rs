//! Resources as plain values: what the rest of the service needs of each, and nothing of FHIR's wire form.
//!
//! Protected fields are [`Phi`](crate::kernel::Phi), instants are [`jiff::Timestamp`], references are to the same server
//! only. Each view is read from a [`Resource`](super::Resource) by its `read`, and carries its reference and version.

mod appointment;
mod chart;
mod consent;
mod datatypes;
mod medication;
mod patient;
mod slot;
mod staff;
#[cfg(test)]
mod tests;

pub use appointment::{AppointmentView, ParticipantView};
pub use chart::{CommunicationView, ConditionView, TaskView};
pub use consent::{ConsentRuleView, ConsentView};
pub use datatypes::{CodingView, ConceptView, IdentifierView, NameView, PeriodView, PhoneView};
pub use fhir_sdk::r4b::codes::{
    AppointmentStatus, ConsentProvisionType, ConsentState, ContactPointSystem, ContactPointUse, EventStatus, LinkType,
    NameUse, ParticipationStatus, SlotStatus, TaskStatus,
};
pub use medication::MedicationRequestView;
pub use patient::{AddressView, ContactView, LanguageView, PatientLinkView, PatientView};
pub use slot::{ScheduleView, SlotView};
pub use staff::{LocationView, PractitionerRoleView, PractitionerView};
