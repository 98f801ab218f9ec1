//! Prescriptions (<https://hl7.org/fhir/R4/medicationrequest.html>).

use super::datatypes::{ConceptView, PeriodView, concept, concepts, earliest, period, reference};
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use crate::kernel::Phi;
use fhir_sdk::r4b::resources::MedicationRequestMedication;
use fhir_sdk::r4b::types::Duration;
use jiff::{SignedDuration, Timestamp};

/// A prescription or another order for a medication.
#[derive(Debug, Clone)]
pub struct MedicationRequestView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// `active`, `on-hold`, `cancelled`, `completed`, `entered-in-error`, `stopped`, `draft` or `unknown`.
    pub status: String,
    /// `order`, `plan`, `proposal` and so on.
    pub intent: String,
    /// Whether it forbids instead of asking.
    pub do_not_perform: bool,
    /// What, in codes and words.
    pub medication: Phi<ConceptView>,
    /// What, as a resource of its own.
    pub medication_reference: Option<ResourceRef>,
    /// For whom.
    pub patient: Option<ResourceRef>,
    /// Who prescribed it.
    pub requester: Option<ResourceRef>,
    /// In the hospital, at home and so on.
    pub categories: Vec<ConceptView>,
    /// When it was written.
    pub authored: Option<Timestamp>,
    /// How often it may be filled again after the first time.
    pub repeats_allowed: Option<u32>,
    /// How long one fill lasts.
    pub supply: Option<SignedDuration>,
    /// When it may be filled.
    pub validity: PeriodView,
    /// The pharmacy that it is meant for.
    pub pharmacy: Option<ResourceRef>,
    /// The prescription that it takes the place of.
    pub prior_prescription: Option<ResourceRef>,
}

impl MedicationRequestView {
    /// Reads a `MedicationRequest`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::medication_request(resource)?;
        let base = resource.base();
        let (medication, medication_reference) = match &it.medication {
            MedicationRequestMedication::CodeableConcept(medication) => (concept(medication), None),
            MedicationRequestMedication::Reference(other) => {
                (ConceptView { text: other.display.clone(), ..ConceptView::default() }, reference(base, other))
            }
        };
        let dispense = it.dispense_request.as_ref();
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            status: it.status.clone(),
            intent: it.intent.clone(),
            do_not_perform: it.do_not_perform == Some(true),
            medication: Phi::new(medication),
            medication_reference,
            patient: reference(base, &it.subject).filter(|subject| subject.is("Patient")),
            requester: it.requester.as_ref().and_then(|one| reference(base, one)),
            categories: concepts(&it.category),
            authored: it.authored_on.as_ref().and_then(earliest),
            repeats_allowed: dispense.and_then(|dispense| dispense.number_of_repeats_allowed),
            supply: dispense.and_then(|dispense| duration(dispense.expected_supply_duration.as_ref()?)),
            validity: period(dispense.and_then(|dispense| dispense.validity_period.as_ref())),
            pharmacy: dispense.and_then(|dispense| reference(base, dispense.performer.as_ref()?)),
            prior_prescription: it.prior_prescription.as_ref().and_then(|one| reference(base, one)),
        })
    }
}

/// A duration in UCUM units of time (<https://hl7.org/fhir/R4/datatypes.html#Duration>). Months and years are those of
/// UCUM: a month is 30.4375 days.
fn duration(duration: &Duration) -> Option<SignedDuration> {
    let unit = duration.code.as_deref().or(duration.unit.as_deref())?;
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "wk" | "week" | "weeks" => 604_800.0,
        "mo" | "month" | "months" => 2_629_800.0,
        "a" => 31_557_600.0,
        _ => return None,
    };
    SignedDuration::try_from_secs_f64(duration.value? * seconds).ok().filter(|span| !span.is_negative())
}
