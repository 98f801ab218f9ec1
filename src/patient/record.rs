//! What we know of a patient, and what the EHR tells.

use crate::kernel::{Id, Language, Patient, Phi, PhoneNumber};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A person's name as texts and staff use it.
#[derive(Clone, Serialize, Deserialize)]
pub struct PersonName {
    /// The first given name.
    pub given: String,
    /// The family name.
    pub family: String,
}

/// What kind of phone a number is, as the EHR says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NumberKind {
    /// Named for texts (`system = sms`).
    Sms,
    /// A mobile phone.
    Mobile,
    /// The EHR does not say.
    Unspecified,
    /// At home.
    Home,
    /// At work.
    Work,
}

impl NumberKind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Sms, "sms"),
        (Self::Mobile, "mobile"),
        (Self::Unspecified, "unspecified"),
        (Self::Home, "home"),
        (Self::Work, "work"),
    ];

    pub(super) fn code(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("unspecified", |(_, code)| code)
    }

    pub(super) fn from_code(code: &str) -> Self {
        Self::ALL.iter().find(|(_, known)| *known == code).map_or(Self::Unspecified, |(kind, _)| *kind)
    }
}

/// A number of a patient in the EHR.
#[derive(Debug, Clone)]
pub struct Telecom {
    /// The number.
    pub number: PhoneNumber,
    /// What kind of phone it is.
    pub kind: NumberKind,
    /// The EHR's rank; 1 is preferred.
    pub rank: u32,
}

/// A patient as the EHR tells.
#[derive(Debug, Clone)]
pub struct EhrPatient {
    /// The FHIR id.
    pub fhir_id: String,
    /// The version read.
    pub version: Option<String>,
    /// The name.
    pub name: Phi<PersonName>,
    /// The birth date, as the EHR writes it.
    pub birth_date: Phi<Option<String>>,
    /// Administrative gender.
    pub gender: Phi<Option<String>>,
    /// The preferred language, where we have templates for it.
    pub language: Option<Language>,
    /// The patient has died.
    pub deceased: bool,
    /// The IANA zones that current addresses leave open ([`zones_of_state`](super::zones_of_state)).
    pub zones: Vec<&'static str>,
    /// Current numbers.
    pub telecom: Vec<Telecom>,
    /// The FHIR id of the patient that replaces this one (`Patient.link`, `replaced-by`).
    pub replaced_by: Option<String>,
    /// FHIR ids of patients that this one replaces.
    pub replaces: Vec<String>,
}

/// A number of ours on file for a patient.
#[derive(Debug, Clone)]
pub struct PatientNumber {
    /// The number.
    pub number: PhoneNumber,
    /// Its blind index.
    pub token: Vec<u8>,
    /// What kind of phone it is.
    pub kind: NumberKind,
    /// The EHR's rank.
    pub rank: u32,
}

/// A patient as the rooms above see one.
#[derive(Debug, Clone)]
pub struct PatientRecord {
    /// Our id.
    pub id: Id<Patient>,
    /// The FHIR id to write to.
    pub fhir_id: String,
    /// The name.
    pub name: Phi<PersonName>,
    /// The birth date.
    pub birth_date: Phi<Option<String>>,
    /// Administrative gender.
    pub gender: Phi<Option<String>>,
    /// The language to write in, where the EHR names one.
    pub language: Option<Language>,
    /// The patient has died: nothing automated goes out.
    pub deceased: bool,
    /// The zones that the patient's address leaves open; none where it tells nothing.
    pub zones: Vec<TimeZone>,
    /// Current numbers.
    pub numbers: Vec<PatientNumber>,
}

/// The number that the patient is texted on: one named for texts before mobile ones, before unspecified ones, then by
/// rank. A number that the EHR calls a home or work phone is not texted.
#[must_use]
pub fn texting_number(patient: &PatientRecord) -> Option<&PatientNumber> {
    patient
        .numbers
        .iter()
        .filter(|number| number.kind <= NumberKind::Unspecified)
        .min_by_key(|number| (number.kind, number.rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(last: &str, kind: NumberKind, rank: u32) -> PatientNumber {
        PatientNumber { number: PhoneNumber::parse(&format!("+1212555{last}")).unwrap(), token: vec![], kind, rank }
    }

    fn texted(numbers: Vec<PatientNumber>) -> Option<String> {
        let patient = PatientRecord {
            id: Id::from_bytes([1; 16]),
            fhir_id: "p".into(),
            name: Phi::new(PersonName { given: "A".into(), family: "B".into() }),
            birth_date: Phi::new(None),
            gender: Phi::new(None),
            language: None,
            deceased: false,
            zones: vec![],
            numbers,
        };
        texting_number(&patient).map(|number| number.number.as_e164().to_owned())
    }

    #[test]
    fn a_mobile_goes_before_what_the_ehr_does_not_name_and_a_home_phone_is_not_texted() {
        let numbers = vec![
            number("0101", NumberKind::Unspecified, 1),
            number("0102", NumberKind::Mobile, 2),
            number("0103", NumberKind::Home, 1),
        ];
        assert_eq!(texted(numbers).as_deref(), Some("+12125550102"));
        assert_eq!(texted(vec![number("0103", NumberKind::Home, 1)]), None);
    }
}
