//! Instants and lists in the patient's language, in the clinic's zone.
//!
//! English: `Thu Nov 26 at 2:00 PM`. Spanish: `el jue 26 nov a las 2:00 PM`: the day before the month, the month by
//! name so that 11/12 cannot be misread in the United States, the twelve-hour clock that is used there, and no letter
//! outside the GSM-7 alphabet (so `sab` without its accent, but `mié` with it).

use crate::kernel::Language;
use jiff::{Timestamp, Zoned, civil::Weekday, tz::TimeZone};

/// Writes for one reader: language and clinic zone.
pub(super) struct Wording<'a> {
    pub(super) language: Language,
    pub(super) zone: &'a TimeZone,
}

impl Wording<'_> {
    /// Date and time within a sentence.
    pub(super) fn instant(&self, instant: Timestamp) -> String {
        let at = self.local(instant);
        match self.language {
            Language::English => at.strftime("%a %b %-d at %-I:%M %p").to_string(),
            Language::Spanish => format!("{} {}", self.day(instant), spanish_hour(&at, "a las", "a la")),
        }
    }

    /// Date and time in a list, as short as can be.
    pub(super) fn listed_instant(&self, instant: Timestamp) -> String {
        let at = self.local(instant);
        match self.language {
            Language::English => at.strftime("%a %b %-d %-I:%M %p").to_string(),
            Language::Spanish => {
                format!("{} {} {} {}", weekday(&at), at.day(), month(&at), at.strftime("%-I:%M %p"))
            }
        }
    }

    /// A date within a sentence.
    pub(super) fn day(&self, instant: Timestamp) -> String {
        let at = self.local(instant);
        match self.language {
            Language::English => at.strftime("%a %b %-d").to_string(),
            Language::Spanish => format!("el {} {} {}", weekday(&at), at.day(), month(&at)),
        }
    }

    /// A time of day alone.
    pub(super) fn time(&self, instant: Timestamp) -> String {
        self.local(instant).strftime("%-I:%M %p").to_string()
    }

    /// The latest instant at which something happens.
    pub(super) fn deadline(&self, instant: Timestamp) -> String {
        let at = self.local(instant);
        match self.language {
            Language::English => format!("by {}", self.instant(instant)),
            Language::Spanish => {
                let hour = spanish_hour(&at, "antes de las", "antes de la");
                format!("{hour} del {} {} {}", weekday(&at), at.day(), month(&at))
            }
        }
    }

    /// `a visit at 9 with a provider` as part of a list.
    pub(super) fn visit(&self, instant: Timestamp, provider: &str) -> String {
        let time = self.time(instant);
        match (provider, self.language) {
            ("", _) => time,
            (name, Language::English) => format!("{time} with {name}"),
            (name, Language::Spanish) => format!("{time} con {name}"),
        }
    }

    /// `a, b and c`.
    pub(super) fn all_of(&self, items: &[String]) -> String {
        joined(items, if self.language == Language::Spanish { " y " } else { " and " })
    }

    /// `a, b or c`.
    pub(super) fn one_of(&self, items: &[String]) -> String {
        joined(items, if self.language == Language::Spanish { " o " } else { " or " })
    }

    fn local(&self, instant: Timestamp) -> Zoned {
        instant.to_zoned(self.zone.clone())
    }
}

fn joined(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., tail] => format!("{}{last}{tail}", head.join(", ")),
    }
}

fn spanish_hour(at: &Zoned, many: &str, one: &str) -> String {
    let article = if at.hour() % 12 == 1 { one } else { many };
    format!("{article} {}", at.strftime("%-I:%M %p"))
}

fn weekday(at: &Zoned) -> &'static str {
    match at.weekday() {
        Weekday::Monday => "lun",
        Weekday::Tuesday => "mar",
        Weekday::Wednesday => "mié",
        Weekday::Thursday => "jue",
        Weekday::Friday => "vie",
        Weekday::Saturday => "sab",
        Weekday::Sunday => "dom",
    }
}

fn month(at: &Zoned) -> &'static str {
    const MONTHS: [&str; 12] = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"];
    usize::try_from(at.month() - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Encoding;
    use crate::template::Segments;

    fn zone() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn instants_are_told_in_the_clinics_zone_and_the_patients_language() {
        let zone = zone();
        let english = Wording { language: Language::English, zone: &zone };
        let spanish = Wording { language: Language::Spanish, zone: &zone };
        let afternoon = at("2026-11-26T19:00:00Z");
        assert_eq!(english.instant(afternoon), "Thu Nov 26 at 2:00 PM");
        assert_eq!(spanish.instant(afternoon), "el jue 26 nov a las 2:00 PM");
        assert_eq!(spanish.instant(at("2026-11-28T18:30:00Z")), "el sab 28 nov a la 1:30 PM");
        assert_eq!(english.listed_instant(afternoon), "Thu Nov 26 2:00 PM");
        assert_eq!(spanish.listed_instant(afternoon), "jue 26 nov 2:00 PM");
        assert_eq!(english.deadline(afternoon), "by Thu Nov 26 at 2:00 PM");
        assert_eq!(spanish.deadline(afternoon), "antes de las 2:00 PM del jue 26 nov");
        // The evening before by UTC's date; after the change to winter time.
        assert_eq!(english.instant(at("2026-11-02T04:30:00Z")), "Sun Nov 1 at 11:30 PM");
    }

    #[test]
    fn no_spanish_date_leaves_the_cheap_alphabet() {
        let zone = zone();
        let spanish = Wording { language: Language::Spanish, zone: &zone };
        let mut instant = at("2026-01-01T13:00:00Z");
        for _ in 0..400 {
            for text in [spanish.instant(instant), spanish.listed_instant(instant), spanish.deadline(instant)] {
                assert_eq!(Segments::of(&text).encoding, Encoding::Gsm7, "{text}");
            }
            instant += jiff::SignedDuration::from_hours(23);
        }
    }
}
