//! What a text is filled in with.
//!
//! Built by workflows, stored sealed with the message, read again by the gate when the text is rendered. All of it is
//! taken for protected. Names are cleaned on the way in (see `value`), instants are written out only at rendering.

use super::value::{LONGEST_LABEL, LONGEST_NAME, cleaned};
use crate::kernel::{Phi, PhoneNumber};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::fmt;
use url::Url;

/// The name of a parameter. No text can ask for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Param {
    /// The clinic's neutral label.
    Clinic,
    /// The patient's first name, if it may be used.
    First,
    /// With whom the visit is, if it is with somebody.
    Provider,
    /// Where the visit is, if that is to be told.
    Place,
    /// When the visit is.
    When,
    /// Several visits on one day: `visits.count`, `visits.day`, `visits.listed`.
    Visits,
    /// One to three open times: `slots.count`, `slots.listed`, `slots.choices`.
    Slots,
    /// Where the clinic can be called.
    Phone,
    /// Until when a person will have answered.
    By,
    /// A secure link of ours.
    Link,
}

impl Param {
    /// Every parameter.
    pub const ALL: [Self; 10] = [
        Self::Clinic,
        Self::First,
        Self::Provider,
        Self::Place,
        Self::When,
        Self::Visits,
        Self::Slots,
        Self::Phone,
        Self::By,
        Self::Link,
    ];

    /// The name by which a text calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clinic => "clinic",
            Self::First => "first",
            Self::Provider => "provider",
            Self::Place => "place",
            Self::When => "when",
            Self::Visits => "visits",
            Self::Slots => "slots",
            Self::Phone => "phone",
            Self::By => "by",
            Self::Link => "link",
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of several visits on a day.
#[derive(Debug, Clone)]
pub struct Visit {
    /// When it is.
    pub at: Timestamp,
    /// With whom, if with somebody.
    pub provider: Option<Phi<String>>,
}

/// What a text is filled in with.
#[derive(Debug, Clone)]
pub struct Params(Phi<Given>);

/// The parameters as they are stored. An empty name is one that was given and is not there.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) zone: String,
    pub(super) clinic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) when: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) visits: Option<Vec<GivenVisit>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slots: Option<Vec<Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<Url>,
}

/// One of several visits, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct GivenVisit {
    pub(super) at: Timestamp,
    pub(super) provider: String,
}

impl Params {
    /// The parameters that every text has: the clinic's neutral label, and the zone in which instants are told.
    #[must_use]
    pub fn new(clinic: &str, zone: &TimeZone) -> Self {
        let zone = zone.iana_name().unwrap_or_default().to_owned();
        Self(Phi::new(Given { zone, clinic: cleaned(clinic, LONGEST_LABEL), ..Given::default() }))
    }

    /// The patient's first name; `None` where it is not known or must not be used.
    #[must_use]
    pub fn first(self, name: Option<&Phi<String>>) -> Self {
        self.with(|given| given.first = Some(name_of(name)))
    }

    /// With whom the visit is; `None` where it is with nobody in particular.
    #[must_use]
    pub fn provider(self, name: Option<&Phi<String>>) -> Self {
        self.with(|given| given.provider = Some(name_of(name)))
    }

    /// Where the visit is; `None` where that is not to be told.
    #[must_use]
    pub fn place(self, name: Option<&Phi<String>>) -> Self {
        self.with(|given| given.place = Some(name_of(name)))
    }

    /// When the visit is.
    #[must_use]
    pub fn when(self, instant: Timestamp) -> Self {
        self.with(|given| given.when = Some(instant))
    }

    /// Several visits on one day of the clinic.
    #[must_use]
    pub fn visits(self, visits: &[Visit]) -> Self {
        let stored = |visit: &Visit| GivenVisit { at: visit.at, provider: name_of(visit.provider.as_ref()) };
        self.with(|given| given.visits = Some(visits.iter().map(stored).collect()))
    }

    /// One to three open times, in the order in which they are numbered.
    #[must_use]
    pub fn slots(self, slots: &[Timestamp]) -> Self {
        self.with(|given| given.slots = Some(slots.to_vec()))
    }

    /// Where the clinic can be called.
    #[must_use]
    pub fn phone(self, number: &PhoneNumber) -> Self {
        self.with(|given| given.phone = Some(number.as_e164().to_owned()))
    }

    /// Until when a person will have answered.
    #[must_use]
    pub fn by(self, instant: Timestamp) -> Self {
        self.with(|given| given.by = Some(instant))
    }

    /// A secure link of ours.
    #[must_use]
    pub fn link(self, link: Url) -> Self {
        self.with(|given| given.link = Some(link))
    }

    /// As JSON, to be sealed.
    ///
    /// # Errors
    /// [`super::TemplateError::Params`] when they cannot be written.
    pub fn encode(&self) -> Result<Phi<Vec<u8>>, super::TemplateError> {
        serde_json::to_vec(self.0.expose()).map(Phi::new).map_err(|_| super::TemplateError::Params)
    }

    /// Reads what [`Params::encode`] wrote.
    ///
    /// # Errors
    /// [`super::TemplateError::Params`] when it is something else.
    pub fn decode(json: &[u8]) -> Result<Self, super::TemplateError> {
        serde_json::from_slice(json).map(|given| Self(Phi::new(given))).map_err(|_| super::TemplateError::Params)
    }

    pub(super) const fn given(&self) -> &Given {
        self.0.expose()
    }

    fn with(self, change: impl FnOnce(&mut Given)) -> Self {
        Self(self.0.map(|mut given| {
            change(&mut given);
            given
        }))
    }
}

impl Given {
    /// Whether `param` was given, be it as "there is none".
    pub(super) const fn has(&self, param: Param) -> bool {
        match param {
            Param::Clinic => true,
            Param::First => self.first.is_some(),
            Param::Provider => self.provider.is_some(),
            Param::Place => self.place.is_some(),
            Param::When => self.when.is_some(),
            Param::Visits => self.visits.is_some(),
            Param::Slots => self.slots.is_some(),
            Param::Phone => self.phone.is_some(),
            Param::By => self.by.is_some(),
            Param::Link => self.link.is_some(),
        }
    }
}

fn name_of(name: Option<&Phi<String>>) -> String {
    name.map(|name| cleaned(name.as_str(), LONGEST_NAME)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_being_stored() {
        let zone = TimeZone::get("America/Chicago").unwrap();
        let at: Timestamp = "2026-11-26T19:00:00Z".parse().unwrap();
        let params = Params::new("Cedar Clinic", &zone)
            .first(Some(&Phi::new("Ana".into())))
            .provider(None)
            .slots(&[at])
            .visits(&[Visit { at, provider: None }])
            .phone(&PhoneNumber::parse("+12125550123").unwrap())
            .link("https://texts.example.org/l/x".parse().unwrap());
        let stored = params.encode().unwrap();
        let again = Params::decode(stored.expose()).unwrap();
        assert_eq!(again.encode().unwrap().expose(), stored.expose());
        assert!(again.given().has(Param::Provider) && !again.given().has(Param::When));
        assert!(Params::decode(b"{}").is_err());
    }

    #[test]
    fn nothing_of_them_is_printed() {
        let params = Params::new("Cedar Clinic", &TimeZone::UTC).first(Some(&Phi::new("Ana".into())));
        assert_eq!(format!("{params:?}"), "Params(Phi(…))");
    }
}
