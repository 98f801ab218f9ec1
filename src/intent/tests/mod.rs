mod answers;
mod offers;
mod safety;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::*;
use Context::RescheduleOffer as Offer;

/// A Monday.
const TODAY: Date = date(2026, 7, 20);

/// 1) Thu Jul 23 10:00  2) Fri Jul 24 2:30 pm  3) Mon Jul 27 9:00
fn offered() -> Vec<OfferedTime> {
    let zone = TimeZone::get("America/Chicago").unwrap();
    [date(2026, 7, 23).at(10, 0, 0, 0), date(2026, 7, 24).at(14, 30, 0, 0), date(2026, 7, 27).at(9, 0, 0, 0)]
        .into_iter()
        .zip(1..)
        .map(|(local, number)| OfferedTime { number, local, start: zone.to_timestamp(local).unwrap() })
        .collect()
}

fn reply(context: Context, text: &str) -> Reading {
    let offered = if context == Offer { offered() } else { Vec::new() };
    let question = Question { context, cancel_pending: false, offered: &offered, today: TODAY };
    read(text, &question, Language::English, false)
}
