//! Instants as staff read them: in the clinic's zone, in calendar days.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// `9:02 AM`.
pub(super) fn clock(at: &Zoned) -> String {
    at.strftime("%-I:%M %p").to_string()
}

fn days_from_today(at: &Zoned, now: Timestamp, zone: &TimeZone) -> i32 {
    let today = now.to_zoned(zone.clone()).date();
    today.until(at.date()).map_or(i32::MAX, |span| span.get_days())
}

/// `Today`, `Thu, Mar 5`, with the year where it is far.
pub(super) fn day_label(at: &Zoned, now: Timestamp, zone: &TimeZone) -> String {
    match days_from_today(at, now, zone) {
        0 => "Today".to_owned(),
        -1 => "Yesterday".to_owned(),
        1 => "Tomorrow".to_owned(),
        days if days.unsigned_abs() < 300 => at.strftime("%a, %b %-d").to_string(),
        _ => at.strftime("%a, %b %-d, %Y").to_string(),
    }
}

/// `today at 8:00 AM`, `Thu, Mar 5 at 2:00 PM`.
pub(super) fn day_and_time(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let label = day_label(&at, now, zone);
    let day = match label.as_str() {
        "Today" | "Yesterday" | "Tomorrow" => label.to_lowercase(),
        _ => label,
    };
    format!("{day} at {}", clock(&at))
}

/// `today at 8:00 AM`, `Mar 2, 2026 at 9:12 AM`: for what is looked up years later. A midnight stands for the day alone.
pub(super) fn dated(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let day = match days_from_today(&at, now, zone) {
        0 => "today".to_owned(),
        -1 => "yesterday".to_owned(),
        _ => at.strftime("%b %-d, %Y").to_string(),
    };
    if at.time() == jiff::civil::Time::midnight() { day } else { format!("{day} at {}", clock(&at)) }
}

/// `Thu 2:00 PM` within a week, with the date beyond.
pub(super) fn visit_time(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    match days_from_today(&at, now, zone) {
        0 | 1 => format!("{} {}", day_label(&at, now, zone), clock(&at)),
        2..=6 => at.strftime("%a %-I:%M %p").to_string(),
        _ => format!("{}, {}", day_label(&at, now, zone), clock(&at)),
    }
}

/// `4 min`.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(at).as_mins();
    match minutes {
        ..1 => "now".to_owned(),
        1..60 => format!("{minutes} min"),
        60..1440 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn new_york() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    #[test]
    fn times_are_the_clinics_and_days_are_calendar_days() {
        // 00:30 UTC on the 5th is still the 4th in New York.
        let now = at("2026-03-05T00:30:00Z");
        assert_eq!(day_and_time(at("2026-03-04T14:02:00Z"), now, &new_york()), "today at 9:02 AM");
        assert_eq!(day_and_time(at("2026-03-05T13:00:00Z"), now, &new_york()), "tomorrow at 8:00 AM");
        assert_eq!(visit_time(at("2026-03-07T19:00:00Z"), now, &new_york()), "Sat 2:00 PM");
        assert_eq!(visit_time(at("2026-03-17T18:00:00Z"), now, &new_york()), "Tue, Mar 17, 2:00 PM");
        assert_eq!(visit_time(at("2027-03-17T18:00:00Z"), now, &new_york()), "Wed, Mar 17, 2027, 2:00 PM");
    }

    #[test]
    fn what_is_looked_up_years_later_has_its_year() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let now: Timestamp = "2026-03-03T19:10:00Z".parse().unwrap();
        let written = |at: &str| dated(at.parse().unwrap(), now, &zone);
        assert_eq!(written("2026-03-03T18:20:00Z"), "today at 1:20 PM");
        assert_eq!(written("2026-03-02T23:30:00Z"), "yesterday at 6:30 PM");
        assert_eq!(written("2026-03-01T14:12:00Z"), "Mar 1, 2026 at 9:12 AM");
        assert_eq!(written("2019-06-05T04:00:00Z"), "Jun 5, 2019", "a list often knows the day only");
    }

    #[test]
    fn waiting_time_is_told_in_the_largest_unit() {
        let now = at("2026-03-05T12:00:00Z");
        let told = ["2026-03-05T11:59:40Z", "2026-03-05T11:56:00Z", "2026-03-05T09:30:00Z", "2026-03-02T09:30:00Z"];
        assert_eq!(told.map(|instant| since(at(instant), now)), ["now", "4 min", "2 h", "3 d"]);
    }
}
