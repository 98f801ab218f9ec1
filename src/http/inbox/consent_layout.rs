//! From what stands in the ledger to what the page of consent prints.

use super::{
    clinic_time::dated,
    source::{CategoryConsent, ConsentState, ConsentView, ConsentWording, NumberConsent, NumberStopped, StoppedBy},
};
use crate::{
    consent::{Category, Method},
    kernel::Language,
};
use jiff::{Timestamp, tz::TimeZone};

/// A number with all that stands for it, ready to be printed.
pub(super) struct NumberLines<'a> {
    pub(super) key: &'a str,
    pub(super) written: &'a str,
    pub(super) about: String,
    pub(super) stopped: Option<StopLine>,
    pub(super) shared: Option<String>,
    pub(super) lines: Vec<CategoryLine<'a>>,
}

/// That a number is stopped, and how that is undone.
pub(super) struct StopLine {
    pub(super) what: String,
    pub(super) undone: &'static str,
    /// Only START from the phone undoes it.
    pub(super) needs_start: bool,
}

/// What stands for a kind of texts, ready to be printed.
pub(super) struct CategoryLine<'a> {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) symbol: Option<&'static str>,
    pub(super) state: &'static str,
    pub(super) record: Option<RecordLine<'a>>,
}

/// What it rests on, ready to be printed.
pub(super) struct RecordLine<'a> {
    pub(super) instant: String,
    pub(super) when: String,
    pub(super) how: &'a str,
    pub(super) by: &'a str,
    pub(super) wording: &'a str,
    pub(super) proof: &'a str,
}

/// A wording, ready to be read out.
pub(super) struct WordingLines<'a> {
    pub(super) word: &'a str,
    pub(super) version: &'a str,
    pub(super) language: &'static str,
    pub(super) tag: &'static str,
    pub(super) paragraphs: Vec<&'a str>,
}

/// Something to choose.
pub(super) struct Choice {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) ticked: bool,
}

/// How a patient agrees at the desk.
pub(super) const AGREED_BY: [(Method, &str); 3] = [
    (Method::InPerson, "In person, here"),
    (Method::Phone, "On the phone"),
    (Method::PaperForm, "On a signed paper form"),
];

/// How a patient may say that no texts are wanted: in any way.
pub(super) const TOLD_BY: [(Method, &str); 5] = [
    (Method::InPerson, "In person, here"),
    (Method::Phone, "On the phone"),
    (Method::Portal, "Through the patient portal"),
    (Method::Email, "By e-mail"),
    (Method::Letter, "By letter"),
];

/// What the kinds of texts are called where a patient chooses.
pub(super) const fn topic(category: Category) -> &'static str {
    match category {
        Category::Appointment => "Visits",
        Category::Refill => "Prescription refills",
        Category::Clinical => "Messages from the care team",
        Category::Billing => "Bills",
    }
}

pub(super) fn numbers<'a>(view: &'a ConsentView, now: Timestamp, zone: &TimeZone) -> Vec<NumberLines<'a>> {
    view.numbers.iter().map(|number| number_lines(number, now, zone)).collect()
}

fn number_lines<'a>(number: &'a NumberConsent, now: Timestamp, zone: &TimeZone) -> NumberLines<'a> {
    NumberLines {
        key: &number.key,
        written: number.written.as_str(),
        about: if number.is_texted { format!("{}, texts go here", number.kind) } else { number.kind.to_owned() },
        stopped: number.stopped.map(|stopped| stop_line(stopped, now, zone)),
        shared: match number.shared_with {
            0 => None,
            1 => Some("Shared: another patient has this number too.".to_owned()),
            others => Some(format!("Shared: {others} other patients have this number too.")),
        },
        lines: number.categories.iter().map(|category| category_line(category, now, zone)).collect(),
    }
}

fn stop_line(stopped: NumberStopped, now: Timestamp, zone: &TimeZone) -> StopLine {
    const START: &str = "No text leaves, whatever is agreed to below, and nobody here can undo it: the patient must text \
                         START from this phone.";
    let since = dated(stopped.since, now, zone);
    let (what, undone, needs_start) = match stopped.by {
        StoppedBy::Phone => (format!("STOP from this phone, {since}."), START, true),
        StoppedBy::Carrier => (format!("Blocked by the carrier, {since}."), START, true),
        StoppedBy::List => (format!("Stopped by an imported list, {since}."), START, true),
        StoppedBy::Staff => (
            format!("All texts ended at the patient's word, {since}."),
            "No text leaves. A new agreement, recorded below, opens the number again; so does START from this phone.",
            false,
        ),
    };
    StopLine { what, undone, needs_start }
}

fn category_line<'a>(category: &'a CategoryConsent, now: Timestamp, zone: &TimeZone) -> CategoryLine<'a> {
    let (class, symbol, state) = match category.state {
        ConsentState::Agreed => ("agreed", Some("check"), "Agreed"),
        ConsentState::Denied => ("denied", Some("cross"), "No texts"),
        ConsentState::NotAsked => ("open", None, "Not asked: no texts"),
    };
    CategoryLine {
        name: topic(category.category),
        class,
        symbol,
        state,
        record: category.record.as_ref().map(|record| RecordLine {
            instant: record.at.to_string(),
            when: dated(record.at, now, zone),
            how: &record.how,
            by: record.by.as_str(),
            wording: &record.wording,
            proof: record.proof.as_str(),
        }),
    }
}

pub(super) fn wordings(view: &ConsentView) -> Vec<WordingLines<'_>> {
    view.wordings.iter().map(wording_lines).collect()
}

fn wording_lines(wording: &ConsentWording) -> WordingLines<'_> {
    WordingLines {
        word: &wording.word,
        version: wording.word.split(':').nth(1).unwrap_or_default(),
        language: match wording.language {
            Language::English => "English",
            Language::Spanish => "Spanish",
        },
        tag: wording.language.tag(),
        paragraphs: wording.text.as_str().split("\n\n").map(str::trim).filter(|words| !words.is_empty()).collect(),
    }
}
