//! Consents (<https://hl7.org/fhir/R4/consent.html>). What they mean for texting is decided elsewhere.

use super::datatypes::{
    CodingView, ConceptView, IdentifierView, PeriodView, coding, concept, concepts, earliest, identifiers, period,
    reference, references,
};
use crate::fhir::ServerBase;
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use fhir_sdk::r4b::codes::{ConsentProvisionType, ConsentState};
use fhir_sdk::r4b::resources::ConsentProvision;
use jiff::Timestamp;

/// A consent on file in the EHR.
#[derive(Debug, Clone)]
pub struct ConsentView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// `meta.lastUpdated`.
    pub last_updated: Option<Timestamp>,
    /// Business identifiers.
    pub identifiers: Vec<IdentifierView>,
    /// Whether it is in force.
    pub status: ConsentState,
    /// Privacy, treatment, research, advance directive.
    pub scope: ConceptView,
    /// What it is a consent to.
    pub categories: Vec<ConceptView>,
    /// Whose.
    pub patient: Option<ResourceRef>,
    /// When it was given or taken back.
    pub given: Option<Timestamp>,
    /// Who gave it.
    pub performers: Vec<ResourceRef>,
    /// The wordings that it refers to.
    pub policy_uris: Vec<String>,
    /// The rule that holds where no policy is named.
    pub policy_rule: Option<ConceptView>,
    /// Whether the patient or a family member confirmed it.
    pub verified: bool,
    /// What it permits or denies, with its exceptions.
    pub rule: Option<ConsentRuleView>,
}

/// A permission or denial, and the exceptions from it.
#[derive(Debug, Clone)]
pub struct ConsentRuleView {
    /// Deny or permit; absent at the top means that only the exceptions say.
    pub kind: Option<ConsentProvisionType>,
    /// When it holds.
    pub period: PeriodView,
    /// Which actions, such as `disclose`.
    pub actions: Vec<ConceptView>,
    /// For which purposes.
    pub purposes: Vec<CodingView>,
    /// Which contents.
    pub codes: Vec<ConceptView>,
    /// For whom, each with what they are in it.
    pub actors: Vec<(ConceptView, Option<ResourceRef>)>,
    /// The exceptions, which turn it around.
    pub exceptions: Vec<ConsentRuleView>,
}

impl ConsentView {
    /// Reads a `Consent`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::consent(resource)?;
        let base = resource.base();
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            last_updated: resource.last_updated(),
            identifiers: identifiers(&it.identifier),
            status: it.status,
            scope: concept(&it.scope),
            categories: concepts(&it.category),
            patient: it.patient.as_ref().and_then(|one| reference(base, one)),
            given: it.date_time.as_ref().and_then(earliest),
            performers: references(base, &it.performer),
            policy_uris: it.policy.iter().flatten().filter_map(|policy| policy.uri.clone()).collect(),
            policy_rule: it.policy_rule.as_ref().map(concept),
            verified: it.verification.iter().flatten().any(|verification| verification.verified),
            rule: it.provision.as_ref().map(|provision| rule(base, provision)),
        })
    }
}

/// The nesting is bounded by the JSON reader's own limit on depth.
fn rule(base: &ServerBase, provision: &ConsentProvision) -> ConsentRuleView {
    let actors = provision.actor.iter().flatten();
    ConsentRuleView {
        kind: provision.r#type,
        period: period(provision.period.as_ref()),
        actions: concepts(&provision.action),
        purposes: provision.purpose.iter().flatten().map(coding).collect(),
        codes: concepts(&provision.code),
        actors: actors.map(|actor| (concept(&actor.role), reference(base, &actor.reference))).collect(),
        exceptions: provision.provision.iter().flatten().map(|exception| rule(base, exception)).collect(),
    }
}
