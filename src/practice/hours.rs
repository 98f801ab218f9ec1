//! Quiet hours in the practice's zone.

use crate::kernel::local_instant;
use jiff::{Timestamp, civil::Time, tz::TimeZone};

/// Texts may go out from `opens` until just before `closes`; both equal means at any hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// The first minute at which texts may go out.
    pub opens: Time,
    /// The first minute at which they may not any more.
    pub closes: Time,
}

impl QuietHours {
    /// Until when texts must wait, if they must at `now`.
    #[must_use]
    pub fn quiet_until(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone());
        let time = local.time();
        let open = match self.opens.cmp(&self.closes) {
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Less => time >= self.opens && time < self.closes,
            std::cmp::Ordering::Greater => time >= self.opens || time < self.closes,
        };
        if open {
            return None;
        }
        let today = local_instant(local.date(), self.opens, zone);
        if today > now {
            return Some(today);
        }
        let tomorrow = local.date().tomorrow().unwrap_or(local.date());
        Some(local_instant(tomorrow, self.opens, zone))
    }

    /// How long from `now` texts may still be delivered: what a carrier's validity period is cut to.
    #[must_use]
    pub fn closes_at(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.opens == self.closes {
            return None;
        }
        let local = now.to_zoned(zone.clone());
        let today = local_instant(local.date(), self.closes, zone);
        if today > now {
            return Some(today);
        }
        Some(local_instant(local.date().tomorrow().unwrap_or(local.date()), self.closes, zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    const HOURS: QuietHours = QuietHours { opens: time(9, 0, 0, 0), closes: time(20, 0, 0, 0) };

    fn quiet_until(now: &str) -> Option<String> {
        let zone = TimeZone::get("America/Chicago").unwrap();
        HOURS.quiet_until(now.parse().unwrap(), &zone).map(|until| until.to_zoned(zone.clone()).to_string())
    }

    #[test]
    fn texts_wait_for_the_morning() {
        assert_eq!(quiet_until("2026-11-23T15:00:00Z"), None, "9:00");
        assert_eq!(quiet_until("2026-11-24T01:59:59Z"), None, "19:59:59");
        assert_eq!(quiet_until("2026-11-24T02:00:00Z").unwrap(), "2026-11-24T09:00:00-06:00[America/Chicago]");
        assert_eq!(quiet_until("2026-11-24T14:59:59Z").unwrap(), "2026-11-24T09:00:00-06:00[America/Chicago]");
    }

    #[test]
    fn the_morning_after_the_clocks_change_is_the_local_one() {
        assert_eq!(quiet_until("2026-03-08T03:00:00Z").unwrap(), "2026-03-08T09:00:00-05:00[America/Chicago]");
    }

    #[test]
    fn round_the_clock_is_never_quiet() {
        let always = QuietHours { opens: time(0, 0, 0, 0), closes: time(0, 0, 0, 0) };
        assert_eq!(always.quiet_until("2026-11-24T06:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }
}
