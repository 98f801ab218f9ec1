//! What stands in the chart: communications, tasks, conditions.

use super::datatypes::{ConceptView, IdentifierView, concept, concepts, earliest, identifiers, reference, references};
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use crate::kernel::Phi;
use fhir_sdk::r4b::codes::{EventStatus, TaskStatus};
use fhir_sdk::r4b::resources::CommunicationPayloadContent;
use jiff::Timestamp;

/// A text as it stands in the chart (<https://hl7.org/fhir/R4/communication.html>).
#[derive(Debug, Clone)]
pub struct CommunicationView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// Business identifiers: ours and the carrier's.
    pub identifiers: Vec<IdentifierView>,
    /// How far it got.
    pub status: EventStatus,
    /// Why it got no further.
    pub status_reason: Option<ConceptView>,
    /// Alert, notification, reminder, instruction.
    pub categories: Vec<ConceptView>,
    /// By which means.
    pub media: Vec<ConceptView>,
    /// On which topic.
    pub topic: Option<ConceptView>,
    /// Whom it is about.
    pub subject: Option<ResourceRef>,
    /// Who sent it.
    pub sender: Option<ResourceRef>,
    /// Who got it.
    pub recipients: Vec<ResourceRef>,
    /// What it speaks of.
    pub about: Vec<ResourceRef>,
    /// What it answers.
    pub in_response_to: Vec<ResourceRef>,
    /// When it was sent.
    pub sent: Option<Timestamp>,
    /// When it arrived.
    pub received: Option<Timestamp>,
    /// Its texts; attachments and references are left out.
    pub texts: Vec<Phi<String>>,
}

impl CommunicationView {
    /// Reads a `Communication`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::communication(resource)?;
        let base = resource.base();
        let texts = it.payload.iter().flatten().filter_map(|payload| match &payload.content {
            CommunicationPayloadContent::String(text) => Some(Phi::new(text.clone())),
            _ => None,
        });
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            identifiers: identifiers(&it.identifier),
            status: it.status,
            status_reason: it.status_reason.as_ref().map(concept),
            categories: concepts(&it.category),
            media: concepts(&it.medium),
            topic: it.topic.as_ref().map(concept),
            subject: it.subject.as_ref().and_then(|one| reference(base, one)),
            sender: it.sender.as_ref().and_then(|one| reference(base, one)),
            recipients: references(base, &it.recipient),
            about: references(base, &it.about),
            in_response_to: references(base, &it.in_response_to),
            sent: it.sent.as_ref().and_then(earliest),
            received: it.received.as_ref().and_then(earliest),
            texts: texts.collect(),
        })
    }
}

/// Something asked of staff (<https://hl7.org/fhir/R4/task.html>).
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// `meta.lastUpdated`.
    pub last_updated: Option<Timestamp>,
    /// Business identifiers.
    pub identifiers: Vec<IdentifierView>,
    /// How far it got.
    pub status: TaskStatus,
    /// Why it has this status: for a rejected one, the reason for the refusal.
    pub status_reason: Option<Phi<ConceptView>>,
    /// What the practice calls its state.
    pub business_status: Option<ConceptView>,
    /// What is asked for.
    pub code: Option<ConceptView>,
    /// What it is about, such as a `MedicationRequest`.
    pub focus: Option<ResourceRef>,
    /// For which patient.
    pub patient: Option<ResourceRef>,
    /// Who asked.
    pub requester: Option<ResourceRef>,
    /// Who is to do it.
    pub owner: Option<ResourceRef>,
    /// When it was written.
    pub authored: Option<Timestamp>,
}

impl TaskView {
    /// Reads a `Task`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::task(resource)?;
        let base = resource.base();
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            last_updated: resource.last_updated(),
            identifiers: identifiers(&it.identifier),
            status: it.status,
            status_reason: it.status_reason.as_ref().map(concept).map(Phi::new),
            business_status: it.business_status.as_ref().map(concept),
            code: it.code.as_ref().map(concept),
            focus: it.focus.as_ref().and_then(|one| reference(base, one)),
            patient: it.r#for.as_ref().and_then(|one| reference(base, one)),
            requester: it.requester.as_ref().and_then(|one| reference(base, one)),
            owner: it.owner.as_ref().and_then(|one| reference(base, one)),
            authored: it.authored_on.as_ref().and_then(earliest),
        })
    }
}

/// A diagnosis or problem (<https://hl7.org/fhir/R4/condition.html>).
#[derive(Debug, Clone)]
pub struct ConditionView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// Whose.
    pub patient: Option<ResourceRef>,
    /// What, in codes and words.
    pub code: Option<Phi<ConceptView>>,
    /// Active, recurrence, remission, resolved and so on.
    pub clinical_status: Option<ConceptView>,
    /// Confirmed, refuted, entered in error and so on.
    pub verification_status: Option<ConceptView>,
}

impl ConditionView {
    /// Reads a `Condition`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::condition(resource)?;
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            patient: reference(resource.base(), &it.subject),
            code: it.code.as_ref().map(concept).map(Phi::new),
            clinical_status: it.clinical_status.as_ref().map(concept),
            verification_status: it.verification_status.as_ref().map(concept),
        })
    }
}
