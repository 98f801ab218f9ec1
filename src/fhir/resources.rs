//! The typed reading of concrete resource types by `fhir-sdk`.
//!
//! Kept in one place and behind non-generic functions because it dominates the build. `fhir-sdk` has no R4 of its own;
//! its R4B types stand in: for these types every official R4 example reads, and [`views`](super::views) pins it. It does
//! not look at `resourceType`, and its errors repeat values: both are dealt with here.

use super::element_path::{kind_of, path_of};
use super::error::{ParseFault, ParseFaultKind};
use super::resource::Resource;
use fhir_sdk::r4b::resources as r4b;
use serde::de::DeserializeOwned;

fn typed<T: DeserializeOwned>(resource: &Resource, expected: &'static str) -> Result<T, ParseFault> {
    if resource.resource_type() != expected {
        return Err(ParseFault { expected, path: String::new(), kind: ParseFaultKind::ResourceType });
    }
    serde_json::from_str(resource.json()).map_err(|error| ParseFault {
        expected,
        path: path_of(resource.json(), &error),
        kind: kind_of(&error),
    })
}

macro_rules! readers {
    ($($name:ident => $type:ident),* $(,)?) => {$(
        pub(super) fn $name(resource: &Resource) -> Result<r4b::$type, ParseFault> {
            typed(resource, stringify!($type))
        }
    )*};
}

readers! {
    appointment => Appointment,
    communication => Communication,
    condition => Condition,
    consent => Consent,
    location => Location,
    medication_request => MedicationRequest,
    patient => Patient,
    practitioner => Practitioner,
    practitioner_role => PractitionerRole,
    schedule => Schedule,
    slot => Slot,
    task => Task,
}
