//! What one value of a search parameter asks, and whether an element answers it
//! (<https://hl7.org/fhir/R4/search.html>).

use super::element::split_reference;
use super::outcome::FhirError;
use super::resource_types::ParameterKind;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::Value;

/// A range of instants, the end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// A date search's prefix (<https://hl7.org/fhir/R4/search.html#prefix>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Wholly within.
    Within,
    /// Not wholly within.
    NotWithin,
    /// Reaches beyond the end.
    After,
    /// Reaches before the start.
    Before,
    /// Within or after.
    WithinOrAfter,
    /// Within or before.
    WithinOrBefore,
}

/// One value of a parameter, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `[system|]code`; an empty system means "none".
    Token {
        /// The system, where one is asked for.
        system: Option<String>,
        /// The code, where one is asked for.
        code: Option<String>,
    },
    /// A number, compared by its digits.
    Contact {
        /// The contact point's system.
        system: &'static str,
        /// The digits asked for.
        digits: String,
    },
    /// `Type/id` or `id`.
    Reference {
        /// The type, where the value names one.
        kind: Option<String>,
        /// The id.
        id: String,
    },
    /// A date with its prefix.
    Date {
        /// How to compare.
        prefix: Prefix,
        /// With what.
        period: Period,
    },
    /// A text, folded.
    Text(String),
}

impl Wanted {
    /// Reads one value of a parameter of this kind.
    ///
    /// # Errors
    /// [`FhirError::Invalid`] where the value is not of the kind.
    pub(super) fn read(kind: ParameterKind, value: &str, base: &str, zone: &TimeZone) -> Result<Self, FhirError> {
        match kind {
            ParameterKind::Token => Ok(Self::token(value)),
            ParameterKind::Contact(system) => Ok(Self::Contact { system, digits: digits(value) }),
            ParameterKind::Text => Ok(Self::Text(folded(value))),
            ParameterKind::Date => Self::date(value, zone),
            ParameterKind::Reference(_) | ParameterKind::Chain(..) => Ok(Self::reference(value, base)),
        }
    }

    fn token(value: &str) -> Self {
        match value.split_once('|') {
            None => Self::Token { system: None, code: Some(value.to_owned()) },
            Some((system, code)) => {
                Self::Token { system: Some(system.to_owned()), code: (!code.is_empty()).then(|| code.to_owned()) }
            }
        }
    }

    fn reference(value: &str, base: &str) -> Self {
        match split_reference(value, base) {
            Some((kind, id)) => Self::Reference { kind: Some(kind.to_owned()), id: id.to_owned() },
            None => Self::Reference { kind: None, id: value.to_owned() },
        }
    }

    fn date(value: &str, zone: &TimeZone) -> Result<Self, FhirError> {
        let prefixes = [
            ("eq", Prefix::Within),
            ("ne", Prefix::NotWithin),
            ("gt", Prefix::After),
            ("lt", Prefix::Before),
            ("ge", Prefix::WithinOrAfter),
            ("le", Prefix::WithinOrBefore),
        ];
        let named = prefixes.iter().find_map(|(text, prefix)| Some((value.strip_prefix(text)?, *prefix)));
        let (rest, prefix) = named.unwrap_or((value, Prefix::Within));
        let period = period_of(rest, zone).ok_or_else(|| {
            FhirError::Invalid("a date is written like ge2026-03-01 or lt2026-03-01T09:00:00Z".into())
        })?;
        Ok(Self::Date { prefix, period })
    }

    /// Whether the element answers this value. `zone` reads elements that are dates without a time.
    #[must_use]
    pub(super) fn answered_by(&self, element: &Value, base: &str, zone: &TimeZone) -> bool {
        match self {
            Self::Token { system, code } => token_matches(element, system.as_deref(), code.as_deref()),
            Self::Contact { system, digits: wanted } => {
                element.get("system").and_then(Value::as_str) == Some(system)
                    && element.get("value").and_then(Value::as_str).is_some_and(|value| digits(value) == *wanted)
            }
            Self::Reference { kind, id } => {
                let target = element.get("reference").or(Some(element)).and_then(Value::as_str);
                target.and_then(|text| split_reference(text, base)).is_some_and(|(target_kind, target_id)| {
                    target_id == id && kind.as_deref().is_none_or(|kind| kind == target_kind)
                })
            }
            Self::Date { prefix, period } => {
                element_period(element, zone).is_some_and(|element| date_matches(*prefix, *period, element))
            }
            Self::Text(wanted) => any_text(element, &mut |text| folded(text).starts_with(wanted.as_str())),
        }
    }
}

fn token_matches(element: &Value, system: Option<&str>, code: Option<&str>) -> bool {
    let pair_matches = |has_system: Option<&str>, has_code: Option<&str>| {
        let system_matches = match system {
            None => true,
            Some("") => has_system.is_none(),
            Some(system) => has_system == Some(system),
        };
        system_matches && code.is_none_or(|code| has_code == Some(code))
    };
    match element {
        // A `code` element has its system by definition, not in the data: any system that is asked for is taken as it.
        Value::String(text) => code.is_none_or(|code| code == text),
        Value::Bool(value) => code == Some(if *value { "true" } else { "false" }),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            if let Some(Value::Array(codings)) = members.get("coding") {
                return codings.iter().any(|coding| token_matches(coding, system, code));
            }
            pair_matches(text("system"), text("code").or_else(|| text("value")))
        }
        _ => false,
    }
}

fn date_matches(prefix: Prefix, wanted: Period, element: Period) -> bool {
    let within = element.start >= wanted.start && element.end <= wanted.end;
    match prefix {
        Prefix::Within => within,
        Prefix::NotWithin => !within,
        Prefix::After => element.end > wanted.end,
        Prefix::Before => element.start < wanted.start,
        Prefix::WithinOrAfter => within || element.end > wanted.end,
        Prefix::WithinOrBefore => within || element.start < wanted.start,
    }
}

/// The period that an element covers: an instant, a date, or a `Period` open at either end.
#[must_use]
pub(super) fn element_period(element: &Value, zone: &TimeZone) -> Option<Period> {
    match element {
        Value::String(text) => period_of(text, zone),
        Value::Object(members) => {
            let side = |name: &str| members.get(name).and_then(Value::as_str).and_then(|text| period_of(text, zone));
            let start = side("start").map_or(Timestamp::MIN, |period| period.start);
            Some(Period { start, end: side("end").map_or(Timestamp::MAX, |period| period.end) })
        }
        _ => None,
    }
}

/// The period that a FHIR date, dateTime or instant means; without a zone, in `zone`.
#[must_use]
pub(super) fn period_of(text: &str, zone: &TimeZone) -> Option<Period> {
    let whole = |start: DateTime, length: Span| -> Option<Period> {
        let end = start.checked_add(length).ok()?;
        let instant = |at: DateTime| Some(zone.to_ambiguous_zoned(at).compatible().ok()?.timestamp());
        Some(Period { start: instant(start)?, end: instant(end)? })
    };
    let date = |text: &str| text.parse::<Date>().ok().map(|date| date.to_datetime(jiff::civil::Time::midnight()));
    match text.len() {
        4 => whole(date(&format!("{text}-01-01"))?, Span::new().years(1)),
        7 => whole(date(&format!("{text}-01"))?, Span::new().months(1)),
        10 => whole(date(text)?, Span::new().days(1)),
        _ => {
            let length = if text.contains('.') { Span::new().milliseconds(1) } else { Span::new().seconds(1) };
            if let Ok(start) = text.parse::<Timestamp>() {
                return Some(Period { start, end: start.checked_add(length).ok()? });
            }
            let length = if text.len() == 16 { Span::new().minutes(1) } else { length };
            whole(text.parse::<DateTime>().ok()?, length)
        }
    }
}

fn digits(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('1') {
        Some(national) if national.len() == 10 => national.to_owned(),
        _ => digits,
    }
}

/// Lower case without accents, as string search wants it.
#[must_use]
pub(super) fn folded(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    text.nfd()
        .filter(|letter| !unicode_normalization::char::is_combining_mark(*letter))
        .collect::<String>()
        .to_lowercase()
}

fn any_text(element: &Value, matches: &mut impl FnMut(&str) -> bool) -> bool {
    match element {
        Value::String(text) => matches(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, matches)),
        // `use` is a code of HumanName, not a part of the name.
        Value::Object(members) => members.iter().any(|(name, member)| name != "use" && any_text(member, matches)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn zone() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    fn answers(kind: ParameterKind, value: &str, element: &Value) -> bool {
        Wanted::read(kind, value, "http://x/fhir", &zone()).unwrap().answered_by(element, "http://x/fhir", &zone())
    }

    #[rstest]
    #[case("2026-03-10", true)]
    #[case("ge2026-03-10", true)]
    #[case("le2026-03-10", true)]
    #[case("gt2026-03-10", false)]
    #[case("gt2026-03-09", true)]
    #[case("lt2026-03-10", false)]
    #[case("ne2026-03-10", false)]
    #[case("ge2026-03-10T14:00:00Z", true)]
    #[case("gt2026-03-10T14:00:00Z", false)]
    #[case("lt2026-03-10T14:00:01Z", true)]
    #[case("2026-03", true)]
    fn dates_compare_as_ranges(#[case] value: &str, #[case] expected: bool) {
        assert_eq!(answers(ParameterKind::Date, value, &json!("2026-03-10T14:00:00Z")), expected);
    }

    #[rstest]
    #[case("http://loinc.org|59284-0", true)]
    #[case("59284-0", true)]
    #[case("http://loinc.org|", true)]
    #[case("http://other|59284-0", false)]
    #[case("|59284-0", false)]
    fn tokens_compare_system_and_code(#[case] value: &str, #[case] expected: bool) {
        let concept = json!({"coding": [{"system": "http://loinc.org", "code": "59284-0"}]});
        assert_eq!(answers(ParameterKind::Token, value, &concept), expected);
    }

    #[test]
    fn names_ignore_case_and_accents_and_phones_ignore_writing() {
        let name = json!({"family": "López", "given": ["Ana"]});
        assert!(answers(ParameterKind::Text, "lopez", &name));
        assert!(!answers(ParameterKind::Text, "opez", &name));
        let phone = json!({"system": "phone", "value": "(212) 555-0101"});
        assert!(answers(ParameterKind::Contact("phone"), "+12125550101", &phone));
    }
}
