//! Practitioners, their roles, and places.

use super::datatypes::{
    ConceptView, IdentifierView, NameView, PeriodView, PhoneView, concepts, identifiers, names, period, phones,
    reference, references,
};
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use fhir_sdk::r4b::codes::LocationStatus;
use jiff::Timestamp;

/// A person who provides care (<https://hl7.org/fhir/R4/practitioner.html>).
#[derive(Debug, Clone)]
pub struct PractitionerView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// Whether the record is in use; the EHR's silence means yes.
    pub active: bool,
    /// All names.
    pub names: Vec<NameView>,
    /// Business identifiers, such as a user name.
    pub identifiers: Vec<IdentifierView>,
}

impl PractitionerView {
    /// Reads a `Practitioner`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::practitioner(resource)?;
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            active: it.active != Some(false),
            names: names(&it.name),
            identifiers: identifiers(&it.identifier),
        })
    }

    /// The name to show at `now`.
    #[must_use]
    pub fn name(&self, now: Timestamp) -> Option<&NameView> {
        NameView::preferred(&self.names, now)
    }
}

/// What a practitioner does where (<https://hl7.org/fhir/R4/practitionerrole.html>).
#[derive(Debug, Clone)]
pub struct PractitionerRoleView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// Whether the record is in use; the EHR's silence means yes. See also `period`.
    pub active: bool,
    /// When the practitioner has this role.
    pub period: PeriodView,
    /// Who.
    pub practitioner: Option<ResourceRef>,
    /// For whom.
    pub organization: Option<ResourceRef>,
    /// The roles, such as `nurse`.
    pub codes: Vec<ConceptView>,
    /// The specialties.
    pub specialties: Vec<ConceptView>,
    /// Where.
    pub locations: Vec<ResourceRef>,
}

impl PractitionerRoleView {
    /// Reads a `PractitionerRole`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::practitioner_role(resource)?;
        let base = resource.base();
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            active: it.active != Some(false),
            period: period(it.period.as_ref()),
            practitioner: it.practitioner.as_ref().and_then(|one| reference(base, one)),
            organization: it.organization.as_ref().and_then(|one| reference(base, one)),
            codes: concepts(&it.code),
            specialties: concepts(&it.specialty),
            locations: references(base, &it.location),
        })
    }

    /// Whether the role is held at `now`.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.active && self.period.contains(now)
    }
}

/// A place (<https://hl7.org/fhir/R4/location.html>). What is said of it is not about any patient.
#[derive(Debug, Clone)]
pub struct LocationView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version.
    pub version: Option<ETag>,
    /// Whether it is in use; the EHR's silence means yes.
    pub active: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its street address in one line.
    pub address: Option<String>,
    /// Its phones.
    pub phones: Vec<PhoneView>,
    /// The place that it is a part of.
    pub part_of: Option<ResourceRef>,
}

impl LocationView {
    /// Reads a `Location`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::location(resource)?;
        let address = it.address.as_ref().map(|address| {
            let lines = address.line.iter().flatten();
            let parts = lines.chain(&address.city).chain(&address.state).map(String::as_str);
            address.text.clone().unwrap_or_else(|| parts.collect::<Vec<_>>().join(", "))
        });
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            active: !matches!(it.status, Some(LocationStatus::Inactive | LocationStatus::Suspended)),
            name: it.name.clone(),
            address: address.filter(|address| !address.is_empty()),
            phones: phones(&it.telecom),
            part_of: it.part_of.as_ref().and_then(|one| reference(resource.base(), one)),
        })
    }
}
