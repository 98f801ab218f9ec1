//! FHIR data types that several resources share (<https://hl7.org/fhir/R4/datatypes.html>).

use crate::fhir::ServerBase;
use crate::fhir::reference::ResourceRef;
use crate::kernel::{Phi, PhoneNumber};
use fhir_sdk::r4b::codes::{ContactPointSystem, ContactPointUse, NameUse};
use fhir_sdk::r4b::types::{CodeableConcept, Coding, ContactPoint, HumanName, Identifier, Period, Reference};
use fhir_sdk::{Date, DateTime, Instant};
use jiff::Timestamp;
use std::fmt;

/// One code. Whether it is PHI depends on what it codes: where it says something about a patient's health, the view
/// wraps the concept in [`Phi`]. `Debug` shows the code and not the words.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CodingView {
    /// The code system's URI.
    pub system: Option<String>,
    /// The code in that system.
    pub code: Option<String>,
    /// The system's words for it.
    pub display: Option<String>,
}

impl fmt::Debug for CodingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodingView").field("system", &self.system).field("code", &self.code).finish_non_exhaustive()
    }
}

/// A concept: the same meaning in one or more code systems, and in words. `Debug` shows codes and no words: people write
/// there what they like.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ConceptView {
    /// The codes.
    pub codings: Vec<CodingView>,
    /// The words that the EHR's user sees.
    pub text: Option<String>,
}

impl fmt::Debug for ConceptView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConceptView").field("codings", &self.codings).finish_non_exhaustive()
    }
}

impl ConceptView {
    /// Whether it has this code of this system.
    #[must_use]
    pub fn is(&self, system: &str, code: &str) -> bool {
        self.codings
            .iter()
            .any(|coding| coding.system.as_deref() == Some(system) && coding.code.as_deref() == Some(code))
    }

    /// Whether both have a code in common.
    #[must_use]
    pub fn shares_code_with(&self, other: &Self) -> bool {
        self.codings
            .iter()
            .any(|a| a.code.is_some() && other.codings.iter().any(|b| a.system == b.system && a.code == b.code))
    }

    /// Words for people: the text, else the first display.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.text.as_deref().or_else(|| self.codings.iter().find_map(|coding| coding.display.as_deref()))
    }
}

/// A stretch of time. A bound given as a date (or month, or year) is its first instant for `start` and the first
/// instant after it for `end`, both in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeriodView {
    /// From then on; open where absent.
    pub start: Option<Timestamp>,
    /// Until then; open where absent.
    pub end: Option<Timestamp>,
}

impl PeriodView {
    /// Whether `instant` lies within.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= instant) && self.end.is_none_or(|end| instant < end)
    }
}

/// A name of a person.
#[derive(Debug, Clone)]
pub struct NameView {
    /// What the name is for; absent means nothing is said.
    pub r#use: Option<NameUse>,
    /// The whole name as it is to be shown, where the EHR gives it.
    pub text: Option<Phi<String>>,
    /// Given names, in order.
    pub given: Vec<Phi<String>>,
    /// Family name.
    pub family: Option<Phi<String>>,
    /// When it is in use.
    pub period: PeriodView,
}

impl NameView {
    /// The name as people write it.
    #[must_use]
    pub fn display(&self) -> Phi<String> {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let parts = self.given.iter().chain(&self.family).map(Phi::as_str);
        Phi::new(parts.collect::<Vec<_>>().join(" "))
    }

    /// Of several names the one to call a person by: usual, then official, then one without a use; nicknames,
    /// maiden and old names only when there is no other, and none that is out of its period.
    pub(super) fn preferred(names: &[Self], now: Timestamp) -> Option<&Self> {
        let order = |name: &&Self| match name.r#use {
            Some(NameUse::Usual) => 0,
            Some(NameUse::Official) => 1,
            None => 2,
            Some(NameUse::Temp) => 3,
            Some(NameUse::Nickname) => 4,
            _ => 5,
        };
        names.iter().filter(|name| name.period.contains(now)).min_by_key(order)
    }
}

/// A way to reach a person by phone or text.
#[derive(Debug, Clone)]
pub struct PhoneView {
    /// The number as the EHR has it.
    pub value: Phi<String>,
    /// The number read; `None` when it is none.
    pub number: Option<PhoneNumber>,
    /// `phone` or `sms`; others are left out of the views.
    pub system: ContactPointSystem,
    /// Home, work, mobile, old, temporary; absent means nothing is said.
    pub r#use: Option<ContactPointUse>,
    /// The order of preference, 1 first; absent ones come last.
    pub rank: Option<u32>,
    /// When it is in use.
    pub period: PeriodView,
}

impl PhoneView {
    /// Whether it may be texted as far as the EHR says: a valid number in use now, marked for texts or as a mobile.
    #[must_use]
    pub fn takes_texts(&self, now: Timestamp) -> bool {
        let mobile = self.system == ContactPointSystem::Sms || self.r#use == Some(ContactPointUse::Mobile);
        self.number.is_some() && mobile && self.r#use != Some(ContactPointUse::Old) && self.period.contains(now)
    }

    /// The numbers that take texts, the preferred first: by rank, then those marked for texts, then the EHR's order.
    pub(super) fn texting(phones: &[Self], now: Timestamp) -> Vec<&Self> {
        let mut texting: Vec<&Self> = phones.iter().filter(|phone| phone.takes_texts(now)).collect();
        texting.sort_by_key(|phone| (phone.rank.unwrap_or(u32::MAX), phone.system != ContactPointSystem::Sms));
        texting
    }
}

/// A business identifier, such as a medical record number.
#[derive(Debug, Clone)]
pub struct IdentifierView {
    /// Its namespace.
    pub system: Option<String>,
    /// Its value.
    pub value: Phi<String>,
    /// What kind it is (`MR` of `http://terminology.hl7.org/CodeSystem/v2-0203` is the medical record number).
    pub kind: ConceptView,
}

pub(super) fn instant(Instant(instant): &Instant) -> Option<Timestamp> {
    Timestamp::from_nanosecond(instant.unix_timestamp_nanos()).ok()
}

/// The first instant that a dateTime can mean.
pub(super) fn earliest(date_time: &DateTime) -> Option<Timestamp> {
    match date_time {
        DateTime::DateTime(moment) => instant(moment),
        DateTime::Date(date) => midnight(first_day(date)?),
    }
}

/// The first instant after all that a dateTime can mean; the instant itself where it is one.
fn after(date_time: &DateTime) -> Option<Timestamp> {
    use jiff::ToSpan;
    let (first, span) = match date_time {
        DateTime::DateTime(moment) => return instant(moment),
        DateTime::Date(date @ Date::Year(_)) => (first_day(date)?, 1.year()),
        DateTime::Date(date @ Date::YearMonth(..)) => (first_day(date)?, 1.month()),
        DateTime::Date(date @ Date::Date(_)) => (first_day(date)?, 1.day()),
    };
    midnight(first.checked_add(span).ok()?)
}

fn first_day(date: &Date) -> Option<jiff::civil::Date> {
    let (year, month, day) = match date {
        Date::Year(year) => (*year, 1, 1),
        Date::YearMonth(year, month) => (*year, u8::from(*month), 1),
        Date::Date(date) => (date.year(), u8::from(date.month()), date.day()),
    };
    jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn midnight(day: jiff::civil::Date) -> Option<Timestamp> {
    day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A date that is known to the day.
pub(super) fn whole_date(date: &Date) -> Option<jiff::civil::Date> {
    matches!(date, Date::Date(_)).then(|| first_day(date)).flatten()
}

pub(super) fn period(period: Option<&Period>) -> PeriodView {
    let Some(period) = period else {
        return PeriodView::default();
    };
    PeriodView { start: period.start.as_ref().and_then(earliest), end: period.end.as_ref().and_then(after) }
}

pub(super) fn concept(concept: &CodeableConcept) -> ConceptView {
    ConceptView { codings: concept.coding.iter().flatten().map(coding).collect(), text: concept.text.clone() }
}

pub(super) fn coding(coding: &Coding) -> CodingView {
    CodingView { system: coding.system.clone(), code: coding.code.clone(), display: coding.display.clone() }
}

pub(super) fn concepts(list: &[Option<CodeableConcept>]) -> Vec<ConceptView> {
    list.iter().flatten().map(concept).collect()
}

pub(super) fn reference(base: &ServerBase, reference: &Reference) -> Option<ResourceRef> {
    base.reference(reference.reference.as_deref()?)
}

pub(super) fn references(base: &ServerBase, list: &[Option<Reference>]) -> Vec<ResourceRef> {
    list.iter().flatten().filter_map(|one| reference(base, one)).collect()
}

pub(super) fn names(list: &[Option<HumanName>]) -> Vec<NameView> {
    list.iter().flatten().map(name).collect()
}

pub(super) fn name(name: &HumanName) -> NameView {
    NameView {
        r#use: name.r#use,
        text: name.text.clone().map(Phi::new),
        given: name.given.iter().flatten().cloned().map(Phi::new).collect(),
        family: name.family.clone().map(Phi::new),
        period: period(name.period.as_ref()),
    }
}

pub(super) fn phones(list: &[Option<ContactPoint>]) -> Vec<PhoneView> {
    list.iter().flatten().filter_map(phone).collect()
}

fn phone(point: &ContactPoint) -> Option<PhoneView> {
    let system = point.system.filter(|s| matches!(s, ContactPointSystem::Phone | ContactPointSystem::Sms))?;
    let value = point.value.clone()?;
    Some(PhoneView {
        number: PhoneNumber::parse(&value).ok(),
        value: Phi::new(value),
        system,
        r#use: point.r#use,
        rank: point.rank.map(std::num::NonZeroU32::get),
        period: period(point.period.as_ref()),
    })
}

pub(super) fn identifiers(list: &[Option<Identifier>]) -> Vec<IdentifierView> {
    let view = |identifier: &Identifier| {
        Some(IdentifierView {
            system: identifier.system.clone(),
            value: Phi::new(identifier.value.clone()?),
            kind: identifier.r#type.as_ref().map(concept).unwrap_or_default(),
        })
    };
    list.iter().flatten().filter_map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")]
    #[case("2026-02", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")]
    #[case("2026-12-31", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z")]
    #[case("2026-12-31T10:00:00-05:00", "2026-12-31T15:00:00Z", "2026-12-31T15:00:00Z")]
    fn a_date_covers_all_of_itself(#[case] text: &str, #[case] start: &str, #[case] end: &str) {
        let date_time: DateTime = text.parse().unwrap();
        assert_eq!(earliest(&date_time), Some(start.parse().unwrap()));
        assert_eq!(after(&date_time), Some(end.parse().unwrap()));
    }
}
