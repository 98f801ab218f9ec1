//! Quiet hours, in the practice's zone and in whichever else a patient lives.

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

    /// Until when texts must wait, if they must at `now`, for it to be day in every one of `zones`: those of the practice
    /// and of the patient. Where that never is within some days, the last instant that was looked at.
    #[must_use]
    pub fn quiet_until_everywhere(self, now: Timestamp, zones: &[TimeZone]) -> Option<Timestamp> {
        // Each round passes the end of a night somewhere.
        const ROUNDS: usize = 8;
        let mut until = None;
        for _ in 0..ROUNDS {
            let at = until.unwrap_or(now);
            let Some(later) = zones.iter().filter_map(|zone| self.quiet_until(at, zone)).max() else { break };
            until = Some(later);
        }
        until
    }

    /// How long from `now` texts may still be delivered in all of `zones`: until night falls in the first.
    #[must_use]
    pub fn closes_first_at(self, now: Timestamp, zones: &[TimeZone]) -> Option<Timestamp> {
        zones.iter().filter_map(|zone| self.closes_at(now, zone)).min()
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

    fn everywhere(now: &str, zones: &[&str]) -> Option<String> {
        let zones: Vec<TimeZone> = zones.iter().map(|name| TimeZone::get(name).unwrap()).collect();
        HOURS.quiet_until_everywhere(now.parse().unwrap(), &zones).map(|until| until.to_string())
    }

    #[test]
    fn it_must_be_day_for_the_practice_and_for_the_patient() {
        const EAST: &str = "America/New_York";
        const WEST: &str = "America/Los_Angeles";
        assert_eq!(everywhere("2026-11-23T14:00:00Z", &[EAST]), None);
        assert_eq!(everywhere("2026-11-23T14:00:00Z", &[EAST, WEST]).as_deref(), Some("2026-11-23T17:00:00Z"));
        assert_eq!(everywhere("2026-11-23T17:00:00Z", &[EAST, WEST]), None);
        // Evening in the east, and next morning it is not yet nine in the west.
        assert_eq!(everywhere("2026-11-24T01:00:00Z", &[EAST, WEST]).as_deref(), Some("2026-11-24T17:00:00Z"));
        // Day in both for two hours only.
        assert_eq!(
            everywhere("2026-11-23T14:00:00Z", &[EAST, "Pacific/Guam"]).as_deref(),
            Some("2026-11-23T23:00:00Z")
        );
        let zones = [EAST, WEST].map(|name| TimeZone::get(name).unwrap());
        let closes = HOURS.closes_first_at("2026-11-23T20:00:00Z".parse().unwrap(), &zones).unwrap();
        assert_eq!(closes.to_string(), "2026-11-24T01:00:00Z");
    }

    #[test]
    fn where_it_is_never_day_in_both_the_wait_has_no_end_that_could_be_met() {
        let morning = QuietHours { opens: time(9, 0, 0, 0), closes: time(11, 0, 0, 0) };
        let zones = ["America/New_York", "Pacific/Guam"].map(|name| TimeZone::get(name).unwrap());
        let now: Timestamp = "2026-11-23T14:30:00Z".parse().unwrap();
        assert!(morning.quiet_until_everywhere(now, &zones).unwrap() > now + jiff::SignedDuration::from_hours(72));
    }

    #[test]
    fn round_the_clock_is_never_quiet() {
        let always = QuietHours { opens: time(0, 0, 0, 0), closes: time(0, 0, 0, 0) };
        assert_eq!(always.quiet_until("2026-11-24T06:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }
}
