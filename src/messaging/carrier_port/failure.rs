//! What a carrier's error means for us, and what is done about it.

use crate::kernel::local_instant;
use jiff::{Timestamp, ToSpan, civil::Time, tz::TimeZone};
use std::time::Duration;

/// What a carrier's error code means for us. Carriers' tables map their codes to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The patient has told the carrier to stop.
    OptedOut,
    /// The patient or the network blocks us; possibly an opt-out.
    Blocked,
    /// The number is a landline.
    Landline,
    /// The number does not exist or is out of service.
    UnknownNumber,
    /// The handset is off or out of reach.
    Unreachable,
    /// A network took the text for spam.
    Filtered,
    /// Our number is not registered for what it sends.
    Unregistered,
    /// We send faster than we may.
    RateLimited,
    /// The day's allowance is used up; it starts anew at midnight Pacific.
    DailyCap,
    /// Nothing failed yet: an allowance is being used up.
    CapWarning,
    /// Our account or settings are wrong; every text fails alike.
    Configuration,
    /// The text itself cannot be sent.
    Content,
    /// The text's validity ended before it could be delivered.
    Expired,
    /// A passing trouble on the way.
    Transient,
    /// The carrier gives no reason, or one that is not in the table.
    Unknown,
}

/// What is done about a failed text. Whatever leads to another attempt goes through the gate again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: the text has had its time.
    Drop,
    /// Another attempt at this instant, if the text is still true then.
    RetryAt(Timestamp),
    /// Record the number as stopped.
    Suppress,
    /// The number cannot receive texts: put it on the worklist with another channel to try.
    TryAnotherChannel,
    /// Tell the operator; texts like it will fail too.
    AlertOperator,
    /// A person looks at it.
    PersonDecides,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 15] = [
        Self::OptedOut,
        Self::Blocked,
        Self::Landline,
        Self::UnknownNumber,
        Self::Unreachable,
        Self::Filtered,
        Self::Unregistered,
        Self::RateLimited,
        Self::DailyCap,
        Self::CapWarning,
        Self::Configuration,
        Self::Content,
        Self::Expired,
        Self::Transient,
        Self::Unknown,
    ];

    /// The word under which it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::Blocked => "blocked",
            Self::Landline => "landline",
            Self::UnknownNumber => "unknown_number",
            Self::Unreachable => "unreachable",
            Self::Filtered => "filtered",
            Self::Unregistered => "unregistered",
            Self::RateLimited => "rate_limited",
            Self::DailyCap => "daily_cap",
            Self::CapWarning => "cap_warning",
            Self::Configuration => "configuration",
            Self::Content => "content",
            Self::Expired => "expired",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
        }
    }

    /// The class with this stored word.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == code)
    }

    /// What is done about a text that failed so at `now`; `asked` is the wait that the carrier asked for.
    #[must_use]
    pub fn remedy(self, now: Timestamp, asked: Option<Duration>) -> Remedy {
        match self {
            Self::OptedOut => Remedy::Suppress,
            Self::Landline | Self::UnknownNumber => Remedy::TryAnotherChannel,
            Self::Unreachable => Remedy::RetryAt(later(now, asked, Duration::from_hours(1))),
            Self::Transient => Remedy::RetryAt(later(now, asked, Duration::from_mins(15))),
            Self::RateLimited => Remedy::RetryAt(later(now, asked, Duration::from_mins(1))),
            Self::DailyCap => Remedy::RetryAt(next_pacific_midnight(now)),
            Self::CapWarning | Self::Filtered | Self::Unregistered | Self::Configuration => Remedy::AlertOperator,
            Self::Blocked | Self::Content | Self::Unknown => Remedy::PersonDecides,
            Self::Expired => Remedy::Drop,
        }
    }
}

/// `now` plus the wait that was asked for, or `usual`.
fn later(now: Timestamp, asked: Option<Duration>, usual: Duration) -> Timestamp {
    now.checked_add(asked.unwrap_or(usual)).unwrap_or(Timestamp::MAX)
}

/// When the networks' daily allowances start anew (T-Mobile's rule for registered campaigns).
fn next_pacific_midnight(now: Timestamp) -> Timestamp {
    let zone = TimeZone::get("America/Los_Angeles").unwrap_or(TimeZone::UTC);
    let today = now.to_zoned(zone.clone()).date();
    today.checked_add(1.day()).map_or(Timestamp::MAX, |tomorrow| local_instant(tomorrow, Time::midnight(), &zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_daily_cap_waits_for_midnight_in_the_pacific_zone() {
        let evening = at("2026-11-22T03:00:00Z");
        assert_eq!(FailureClass::DailyCap.remedy(evening, None), Remedy::RetryAt(at("2026-11-22T08:00:00Z")));
        let summer = at("2026-07-01T07:00:00Z");
        assert_eq!(FailureClass::DailyCap.remedy(summer, None), Remedy::RetryAt(at("2026-07-02T07:00:00Z")));
    }

    #[test]
    fn the_wait_that_the_carrier_asks_for_goes_before_ours() {
        let now = at("2026-11-22T12:00:00Z");
        let asked = Some(Duration::from_secs(7));
        assert_eq!(FailureClass::RateLimited.remedy(now, asked), Remedy::RetryAt(at("2026-11-22T12:00:07Z")));
        assert_eq!(FailureClass::RateLimited.remedy(now, None), Remedy::RetryAt(at("2026-11-22T12:01:00Z")));
    }

    #[test]
    fn only_passing_troubles_lead_to_another_attempt() {
        use FailureClass::{DailyCap, RateLimited, Transient, Unreachable};
        for class in FailureClass::ALL {
            let retried = matches!(class.remedy(at("2026-11-22T12:00:00Z"), None), Remedy::RetryAt(_));
            assert_eq!(retried, matches!(class, DailyCap | RateLimited | Transient | Unreachable), "{class:?}");
        }
    }

    #[test]
    fn stored_words_are_those_of_the_tables() {
        for class in FailureClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
            assert_eq!(FailureClass::from_code(class.as_str()), Some(class));
        }
    }
}
