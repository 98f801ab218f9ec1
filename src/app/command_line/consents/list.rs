//! A list of consents as CSV (RFC 4180): read whole, every mistake at once, none of its values repeated.

use crate::{
    consent::{Category, Decision, Method},
    kernel::PhoneNumber,
    template::FormWord,
};
use jiff::{Timestamp, civil, tz::TimeZone};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    io::Read,
};

/// The columns, in the order in which they are explained. A file may have them in any order.
pub(super) const COLUMNS: [&str; 10] = [
    "patient",
    "phone",
    "categories",
    "decision",
    "wording",
    "wording_text",
    "obtained_at",
    "method",
    "proof",
    "recorded_by",
];
/// Lines in one file at most: they are committed together.
const MOST_LINES: usize = 10_000;
/// The longest note, in characters.
const LONGEST_NOTE: usize = 200;
/// The longest wording, in characters.
const LONGEST_WORDING: usize = 10_000;

/// One decision of one patient about one number, as the list has it.
pub(super) struct Listed {
    /// The line that it begins on.
    pub(super) line: u64,
    /// The patient's FHIR id.
    pub(super) patient: String,
    pub(super) phone: PhoneNumber,
    pub(super) categories: BTreeSet<Category>,
    pub(super) decision: Decision,
    /// The wording's name; empty only for a denial.
    pub(super) wording: String,
    pub(super) wording_text: String,
    pub(super) obtained_at: Timestamp,
    pub(super) method: Method,
    pub(super) proof: String,
    pub(super) recorded_by: String,
}

/// What is wrong with a line, and how to put it right.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    pub(super) line: u64,
    /// The column; empty where the line as a whole is meant.
    pub(super) column: &'static str,
    pub(super) fix: Cow<'static, str>,
}

impl Mistake {
    pub(super) fn new(line: u64, column: &'static str, fix: impl Into<Cow<'static, str>>) -> Self {
        Self { line, column, fix: fix.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            "" => write!(f, "line {}: {}", self.line, self.fix),
            column => write!(f, "line {}, {column}: {}", self.line, self.fix),
        }
    }
}

/// By what a list is judged.
pub(super) struct Terms<'a> {
    pub(super) now: Timestamp,
    /// The practice's zone, for dates without a time.
    pub(super) zone: &'a TimeZone,
    /// Whether the program has a form of this name.
    pub(super) knows_form: &'a dyn Fn(FormWord) -> bool,
}

/// Reads a list.
///
/// # Errors
/// Every mistake in it, in the order of its lines.
pub(super) fn read(source: impl Read, terms: &Terms<'_>) -> Result<Vec<Listed>, Vec<Mistake>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(source);
    let mut records = reader.byte_records();
    let mut mistakes = Vec::new();
    let header = if let Some(Ok(record)) = records.next() {
        Header::read(&record, &mut mistakes)
    } else {
        mistakes.push(Mistake::new(1, "", format!("the first line names the columns: {}", COLUMNS.join(","))));
        None
    };
    let Some(header) = header else {
        mistakes.sort();
        return Err(mistakes);
    };
    let (mut listed, mut spelled) = (Vec::new(), Vec::new());
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                mistakes.push(Mistake::new(line, "", "this is not CSV"));
                break;
            }
        };
        if listed.len() + mistakes.len() > MOST_LINES {
            mistakes.push(Mistake::new(line_of(&record), "", "a list may have 10000 lines; split it"));
            break;
        }
        if let Some(mut fields) = Fields::of(&record, &header, &mut mistakes) {
            spelled.extend(fields.spelled());
            listed.extend(fields.listed(terms));
        }
    }
    wordings(&mut listed, &spelled, &mut mistakes);
    contradictions(&listed, &mut mistakes);
    mistakes.sort();
    if mistakes.is_empty() { Ok(listed) } else { Err(mistakes) }
}

fn line_of(record: &csv::ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// Where each column stands.
struct Header {
    places: HashMap<&'static str, usize>,
    width: usize,
}

impl Header {
    fn read(record: &csv::ByteRecord, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut places = HashMap::new();
        for (place, name) in record.iter().enumerate() {
            let known = COLUMNS.into_iter().find(|column| column.as_bytes() == name.trim_ascii());
            // The first line may be a patient's: what stands there is not repeated.
            match known {
                Some(column) if places.insert(column, place).is_none() => {}
                Some(column) => mistakes.push(Mistake::new(1, column, "this column is named twice")),
                None => {
                    let fix = format!("column {} has a name that is not known", place + 1);
                    mistakes.push(Mistake::new(1, "", fix));
                }
            }
        }
        for column in COLUMNS.into_iter().filter(|column| !places.contains_key(column)) {
            mistakes.push(Mistake::new(1, column, "this column is missing"));
        }
        mistakes.is_empty().then(|| Self { places, width: record.len() })
    }
}

/// The fields of a line, with the mistakes found in them.
struct Fields<'a> {
    line: u64,
    values: HashMap<&'static str, &'a str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Fields<'a> {
    fn of(record: &'a csv::ByteRecord, header: &Header, mistakes: &'a mut Vec<Mistake>) -> Option<Self> {
        let line = line_of(record);
        if record.len() != header.width {
            let fix = format!("there are {} fields, and the first line names {}", record.len(), header.width);
            mistakes.push(Mistake::new(line, "", fix));
            return None;
        }
        let mut values = HashMap::new();
        for (column, place) in &header.places {
            match str::from_utf8(record.get(*place).unwrap_or_default()) {
                Ok(value) => {
                    values.insert(*column, value.trim());
                }
                Err(_) => mistakes.push(Mistake::new(line, column, "this is not UTF-8; save the file as UTF-8")),
            }
        }
        (values.len() == COLUMNS.len()).then_some(Self { line, values, mistakes })
    }

    fn value(&self, column: &'static str) -> &'a str {
        self.values.get(column).copied().unwrap_or_default()
    }

    fn spelled(&self) -> Option<Spelled> {
        let (wording, text) = (self.value("wording").to_owned(), self.value("wording_text").to_owned());
        (!text.is_empty()).then_some(Spelled { line: self.line, wording, text })
    }

    /// Notes what is wrong with a column.
    fn wrong<T>(&mut self, column: &'static str, fix: impl Into<Cow<'static, str>>) -> Option<T> {
        self.mistakes.push(Mistake::new(self.line, column, fix));
        None
    }

    /// The whole line, if all of it can be read; every column is looked at before one is missed.
    fn listed(&mut self, terms: &Terms<'_>) -> Option<Listed> {
        let decision = self.decision();
        let patient = self.patient();
        let phone = self.phone();
        let categories = self.categories(decision);
        let wording = self.wording(decision, terms);
        let wording_text = self.text("wording_text", LONGEST_WORDING, false);
        let obtained_at = self.obtained_at(terms);
        let method = self.method();
        let proof = self.text("proof", LONGEST_NOTE, decision == Some(Decision::Granted));
        let recorded_by = self.text("recorded_by", LONGEST_NOTE, true);
        Some(Listed {
            line: self.line,
            patient: patient?,
            phone: phone?,
            categories: categories?,
            decision: decision?,
            wording: wording?,
            wording_text: wording_text?,
            obtained_at: obtained_at?,
            method: method?,
            proof: proof?,
            recorded_by: recorded_by?,
        })
    }

    fn decision(&mut self) -> Option<Decision> {
        let decision = Decision::from_code(self.value("decision"));
        decision.or_else(|| self.wrong("decision", "write granted or denied"))
    }

    fn patient(&mut self) -> Option<String> {
        let id = self.value("patient");
        match crate::fhir::ResourceRef::new("Patient", id) {
            Ok(_) => Some(id.to_owned()),
            Err(_) => self.wrong("patient", "write the patient's FHIR id, as in Patient/{id}"),
        }
    }

    fn phone(&mut self) -> Option<PhoneNumber> {
        match PhoneNumber::parse(self.value("phone")) {
            Ok(number) => Some(number),
            Err(error) => self.wrong("phone", error.to_string()),
        }
    }

    fn categories(&mut self, decision: Option<Decision>) -> Option<BTreeSet<Category>> {
        let words: Vec<&str> = self.value("categories").split([';', ' ']).filter(|word| !word.is_empty()).collect();
        if words == ["all"] && decision == Some(Decision::Denied) {
            return Some(Category::ALL.iter().copied().collect());
        }
        let found: Option<BTreeSet<Category>> = words.iter().map(|word| Category::from_code(word)).collect();
        found.filter(|found| !found.is_empty()).or_else(|| {
            let known: Vec<&str> = Category::ALL.iter().map(|category| category.code()).collect();
            let known = known.join(";");
            self.wrong("categories", format!("write some of {known}, with semicolons between; or all, for a denial"))
        })
    }

    fn wording(&mut self, decision: Option<Decision>, terms: &Terms<'_>) -> Option<String> {
        const NAME: &str = "name the wording that the patient agreed to, with its version, in up to 64 letters, digits and \
                            . _ : / -";
        let name = self.value("wording");
        if name.is_empty() && decision != Some(Decision::Granted) {
            return Some(String::new());
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return self.wrong("wording", NAME);
        }
        if !is_ours(name) {
            return Some(name.to_owned());
        }
        let known = name.parse::<FormWord>().is_ok_and(|word| (terms.knows_form)(word));
        if !known {
            return self.wrong("wording", "the program has no such form; name one like consent_form:1:en");
        }
        if !self.value("wording_text").is_empty() {
            return self.wrong("wording_text", "leave this empty: the program knows the words of its own forms");
        }
        Some(name.to_owned())
    }

    fn obtained_at(&mut self, terms: &Terms<'_>) -> Option<Timestamp> {
        let text = self.value("obtained_at");
        let day = || text.parse::<civil::Date>().ok()?.to_zoned(terms.zone.clone()).ok().map(|day| day.timestamp());
        // A bare date parses as no instant, an instant as no bare date of ten characters.
        let instant = if text.len() == 10 { day() } else { text.parse::<Timestamp>().ok() };
        match instant {
            Some(instant) if instant <= terms.now => Some(instant),
            Some(_) => self.wrong("obtained_at", "this lies in the future"),
            None => {
                self.wrong("obtained_at", "write a date like 2026-03-02, or an instant like 2026-03-02T09:12:00-05:00")
            }
        }
    }

    fn method(&mut self) -> Option<Method> {
        Method::from_code(self.value("method")).or_else(|| {
            let known: Vec<&str> = Method::ALL.iter().map(|method| method.code()).collect();
            self.wrong("method", format!("write one of {}", known.join(", ")))
        })
    }

    fn text(&mut self, column: &'static str, longest: usize, needed: bool) -> Option<String> {
        let text = self.value(column);
        if needed && text.is_empty() {
            let fix = if column == "proof" {
                "say where the proof is kept: without one there is no consent"
            } else {
                "say who recorded it"
            };
            return self.wrong(column, fix);
        }
        if text.chars().count() > longest {
            return self.wrong(column, format!("shorten this to {longest} characters"));
        }
        Some(text.to_owned())
    }
}

/// Whether a wording has a name that the program keeps for its own.
fn is_ours(name: &str) -> bool {
    name.split(':').next().is_some_and(|key| key.parse::<crate::template::TextKey>().is_ok())
}

/// A wording that a line writes out, whatever else is wrong with the line.
struct Spelled {
    line: u64,
    wording: String,
    text: String,
}

/// Gives every line the words of its wording, which stand once in the list at least.
fn wordings(listed: &mut [Listed], spelled: &[Spelled], mistakes: &mut Vec<Mistake>) {
    let mut words: HashMap<&str, &Spelled> = HashMap::new();
    for spelled in spelled {
        let first = *words.entry(&spelled.wording).or_insert(spelled);
        if first.text != spelled.text {
            let fix = format!(
                "line {} has other words for the same wording; give each version a name of its own",
                first.line
            );
            mistakes.push(Mistake::new(spelled.line, "wording_text", fix));
        }
    }
    for line in listed.iter_mut().filter(|line| line.wording_text.is_empty() && !line.wording.is_empty()) {
        if is_ours(&line.wording) {
            continue;
        }
        match words.get(line.wording.as_str()) {
            Some(spelled) => line.wording_text.clone_from(&spelled.text),
            None => mistakes.push(Mistake::new(
                line.line,
                "wording_text",
                "write the words of this wording out, here or on another line of the list",
            )),
        }
    }
}

/// Yes and no of the same instant: nobody could say which came later.
fn contradictions(listed: &[Listed], mistakes: &mut Vec<Mistake>) {
    let mut seen: HashMap<(&str, &PhoneNumber, Category, Timestamp), (u64, Decision)> = HashMap::new();
    for line in listed {
        for category in &line.categories {
            let key = (line.patient.as_str(), &line.phone, *category, line.obtained_at);
            let (first, decision) = *seen.entry(key).or_insert((line.line, line.decision));
            if decision != line.decision {
                let fix = format!("line {first} says the opposite for the same instant; say which came later");
                mistakes.push(Mistake::new(line.line, "decision", fix));
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
