//! What must hold for any text of a patient's.
#![allow(clippy::unwrap_used, reason = "a target fails by panicking, and none of this is in what is built for use")]

use super::{
    Certainty, Compliance, Context, Intent, OfferedTime, Question, classify_line, compliance_keyword, lexicon::READER,
    read,
};
use crate::{
    fuzzing::{keeps_back, tells_nothing},
    kernel::Language,
};
use jiff::{
    Timestamp,
    civil::{Date, date},
};
use std::sync::LazyLock;

const TODAY: Date = date(2026, 11, 22);
const CONTEXTS: [Context; 8] = [
    Context::AppointmentReminder,
    Context::RescheduleOffer,
    Context::RefillDue,
    Context::LabReady,
    Context::PreVisitIntake,
    Context::PostVisitFollowup,
    Context::PostOpCheck,
    Context::None,
];

/// Every synonym of STOP that stands alone, as it is folded.
static STOPS: LazyLock<Vec<&String>> = LazyLock::new(|| {
    let mut stops: Vec<&String> = READER.compliance.opt_out.iter().collect();
    stops.sort();
    stops
});

/// A text in every context: a reading comes of it, the same each time, an opt-out whatever the question, and nothing of
/// the text stays in it.
pub(crate) fn reading(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let keyword = compliance_keyword(&text);
    let offered = offered();
    for context in CONTEXTS {
        for (cancel_pending, stopped) in [(false, false), (true, false), (false, true)] {
            let times = if context == Context::RescheduleOffer { offered.as_slice() } else { &[] };
            let question = Question { context, cancel_pending, offered: times, today: TODAY };
            let reading = read(&text, &question, Language::English, stopped);
            assert!(!reading.intents.is_empty(), "a reading without an intent");
            keeps_back(&format!("{reading:?}"));
            if keyword == Some(Compliance::OptOut) {
                assert_eq!(reading.compliance, Some(Compliance::OptOut), "STOP that is not in force");
                assert_eq!(reading.certainty, Certainty::Certain);
                // CANCEL alone also asks a person what was meant.
                let meant = [&[Intent::OptOut][..], &[Intent::Cancel, Intent::OptOut][..]];
                assert!(meant.contains(&&*reading.intents), "{:?} besides STOP", reading.intents);
            }
            if reading.compliance == Some(Compliance::OptOut) {
                assert!(reading.intents.contains(&Intent::OptOut));
            }
        }
    }
    let question = Question { context: Context::AppointmentReminder, ..Question::none(TODAY) };
    let twice = [0, 1].map(|_| read(&text, &question, Language::Spanish, false));
    assert_eq!(twice[0], twice[1], "the same text is read in two ways");
    stops(data, &text);
    if let Err(error) = classify_line(&text) {
        tells_nothing(&error);
    }
}

/// A synonym of STOP is one in any case, between any white space and full stops, and next to an emoji.
fn stops(data: &[u8], text: &str) {
    let at = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let Some(stop) = STOPS.get(at % STOPS.len()) else { return };
    let around: String = text.chars().filter(|c| c.is_whitespace() || ".!🛑".contains(*c)).take(40).collect();
    for stop in [(*stop).clone(), stop.to_uppercase()] {
        let written = format!("{around}{stop}{around}");
        assert_eq!(compliance_keyword(&written), Some(Compliance::OptOut), "{written:?} does not stop texts");
    }
}

fn offered() -> Vec<OfferedTime> {
    let starts = ["2026-11-26T15:30:00Z", "2026-11-27T14:00:00Z", "2026-11-30T21:15:00Z"];
    let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
    (1..)
        .zip(starts)
        .map(|(number, start)| {
            let start: Timestamp = start.parse().unwrap();
            OfferedTime { number, start, local: start.to_zoned(zone.clone()).datetime() }
        })
        .collect()
}
