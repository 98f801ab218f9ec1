//! Calendar arithmetic in a clinic's or a patient's IANA zone (law 10).

use jiff::{Timestamp, civil, tz::TimeZone};

/// The instant at which `zone`'s clocks show `date` and `time`.
///
/// A time that a change to summer time skips moves forward by the gap; one that occurs twice means the first.
/// Out of the calendar's range saturates.
#[must_use]
pub fn local_instant(date: civil::Date, time: civil::Time, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    fn new_york() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    #[test]
    fn a_skipped_time_moves_forward() {
        let instant = local_instant(date(2026, 3, 8), time(2, 30, 0, 0), &new_york());
        assert_eq!(instant.to_zoned(new_york()).time(), time(3, 30, 0, 0));
    }

    #[test]
    fn a_repeated_time_means_the_first() {
        let instant = local_instant(date(2026, 11, 1), time(1, 30, 0, 0), &new_york());
        assert_eq!(instant.to_string(), "2026-11-01T05:30:00Z");
    }
}
