//! Patients (<https://hl7.org/fhir/R4/patient.html>).

use super::datatypes::{
    ConceptView, IdentifierView, NameView, PeriodView, PhoneView, concepts, identifiers, name, names, period, phones,
    reference, references, whole_date,
};
use crate::fhir::error::ParseFault;
use crate::fhir::reference::ResourceRef;
use crate::fhir::resource::{ETag, Resource};
use crate::fhir::resources;
use crate::kernel::{Language, Phi};
use fhir_sdk::r4b::codes::{AddressUse, AdministrativeGender, LinkType};
use fhir_sdk::r4b::resources::PatientDeceased;
use jiff::Timestamp;

/// A patient's record in the EHR.
#[derive(Debug, Clone)]
pub struct PatientView {
    /// Which one.
    pub reference: Option<ResourceRef>,
    /// Its version, for `If-Match`.
    pub version: Option<ETag>,
    /// `meta.lastUpdated`.
    pub last_updated: Option<Timestamp>,
    /// Whether the record is in use; the EHR's silence means yes.
    pub active: bool,
    /// Whether the patient has died. Nobody may be texted then.
    pub deceased: bool,
    /// All names.
    pub names: Vec<NameView>,
    /// Birth date, where it is known to the day.
    pub birth_date: Option<Phi<jiff::civil::Date>>,
    /// Administrative gender.
    pub gender: Option<AdministrativeGender>,
    /// Phones and text numbers; other ways of contact are left out.
    pub phones: Vec<PhoneView>,
    /// Addresses, as far as they tell which clocks the patient lives by.
    pub addresses: Vec<AddressView>,
    /// Languages that can be used with the patient.
    pub languages: Vec<LanguageView>,
    /// Other records of the same person.
    pub links: Vec<PatientLinkView>,
    /// Business identifiers.
    pub identifiers: Vec<IdentifierView>,
    /// Guardians, partners, emergency contacts.
    pub contacts: Vec<ContactView>,
    /// The patient's own practitioners and their organizations.
    pub general_practitioners: Vec<ResourceRef>,
    /// The organization that keeps the record.
    pub managing_organization: Option<ResourceRef>,
}

/// An address of a patient. Of it only the state is read: PHI all the same.
#[derive(Debug, Clone)]
pub struct AddressView {
    /// The state or territory, as the EHR writes it.
    pub state: Option<Phi<String>>,
    /// The country, as the EHR writes it; absent where it goes without saying.
    pub country: Option<Phi<String>>,
    /// Home, work, temporary, old, billing; absent means nothing is said.
    pub r#use: Option<AddressUse>,
    /// When it is in use.
    pub period: PeriodView,
}

impl AddressView {
    /// Whether the patient may be there at `now`.
    fn is_lived_at(&self, now: Timestamp) -> bool {
        !matches!(self.r#use, Some(AddressUse::Old | AddressUse::Billing)) && self.period.contains(now)
    }

    /// Whether it is in the United States, as far as it says.
    fn is_in_the_states(&self) -> bool {
        let names = ["US", "USA", "U.S.", "U.S.A.", "United States", "United States of America"];
        let country = self.country.as_ref().map(|country| country.as_str().trim());
        country.is_none_or(|country| country.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(country)))
    }
}

/// A language of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanguageView {
    /// The BCP 47 tag, such as `es-MX`.
    pub tag: String,
    /// Whether the patient prefers it.
    pub preferred: bool,
}

/// A link to another record of the same person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientLinkView {
    /// The other record: a `Patient` or a `RelatedPerson`.
    pub other: ResourceRef,
    /// What it is to this one: `ReplacedBy` means that this record is no longer the one to use.
    pub kind: LinkType,
}

/// A person who stands in for or beside the patient.
#[derive(Debug, Clone)]
pub struct ContactView {
    /// What the person is to the patient.
    pub relationships: Vec<ConceptView>,
    /// Their name.
    pub name: Option<NameView>,
    /// Their phones and text numbers.
    pub phones: Vec<PhoneView>,
    /// When they may be turned to.
    pub period: PeriodView,
}

impl PatientView {
    /// Reads a `Patient`.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let it = resources::patient(resource)?;
        let base = resource.base();
        let languages = it.communication.iter().flatten().filter_map(|communication| {
            let tag = communication.language.coding.iter().flatten().find_map(|coding| coding.code.clone());
            let tag = tag.or_else(|| communication.language.text.clone())?;
            Some(LanguageView { tag, preferred: communication.preferred == Some(true) })
        });
        let links = it
            .link
            .iter()
            .flatten()
            .filter_map(|link| Some(PatientLinkView { other: reference(base, &link.other)?, kind: link.r#type }));
        let contacts = it.contact.iter().flatten().map(|contact| ContactView {
            relationships: concepts(&contact.relationship),
            name: contact.name.as_ref().map(name),
            phones: phones(&contact.telecom),
            period: period(contact.period.as_ref()),
        });
        let addresses = it.address.iter().flatten().map(|address| AddressView {
            state: address.state.clone().map(Phi::new),
            country: address.country.clone().map(Phi::new),
            r#use: address.r#use,
            period: period(address.period.as_ref()),
        });
        Ok(Self {
            reference: resource.reference(),
            version: resource.version().cloned(),
            last_updated: resource.last_updated(),
            active: it.active != Some(false),
            deceased: matches!(it.deceased, Some(PatientDeceased::Boolean(true) | PatientDeceased::DateTime(_))),
            names: names(&it.name),
            birth_date: it.birth_date.as_ref().and_then(whole_date).map(Phi::new),
            gender: it.gender,
            phones: phones(&it.telecom),
            addresses: addresses.collect(),
            languages: languages.collect(),
            links: links.collect(),
            identifiers: identifiers(&it.identifier),
            contacts: contacts.collect(),
            general_practitioners: references(base, &it.general_practitioner),
            managing_organization: it.managing_organization.as_ref().and_then(|one| reference(base, one)),
        })
    }

    /// The name to call the patient by at `now`.
    #[must_use]
    pub fn name(&self, now: Timestamp) -> Option<&NameView> {
        NameView::preferred(&self.names, now)
    }

    /// The numbers that take texts at `now`, the preferred first.
    #[must_use]
    pub fn texting_phones(&self, now: Timestamp) -> Vec<&PhoneView> {
        PhoneView::texting(&self.phones, now)
    }

    /// The states of the United States that the patient may be in at `now`, by the addresses in use, as the EHR writes them.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = &Phi<String>> {
        let current =
            self.addresses.iter().filter(move |address| address.is_lived_at(now) && address.is_in_the_states());
        current.filter_map(|address| address.state.as_ref())
    }

    /// The language to text in: the preferred one that there are templates for, else the first such; `None` when the EHR
    /// names none.
    #[must_use]
    pub fn language(&self) -> Option<Language> {
        let known = |language: &&LanguageView| Language::from_tag(&language.tag).is_some();
        let preferred = self.languages.iter().filter(known).find(|language| language.preferred);
        preferred.or_else(|| self.languages.iter().find(known)).and_then(|language| Language::from_tag(&language.tag))
    }

    /// The record that has taken this one's place after a merge.
    #[must_use]
    pub fn replaced_by(&self) -> Option<&ResourceRef> {
        let link = self.links.iter().find(|link| link.kind == LinkType::ReplacedBy && link.other.is("Patient"));
        link.map(|link| &link.other)
    }

    /// The medical record number: the identifier of kind `MR`, else `None`.
    #[must_use]
    pub fn medical_record_number(&self) -> Option<&IdentifierView> {
        const KINDS: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
        self.identifiers.iter().find(|identifier| identifier.kind.is(KINDS, "MR"))
    }
}
