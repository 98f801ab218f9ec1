//! The rules that patient texts keep, as checks.
//!
//! The house's texts are held by a test; texts that a practice writes itself are checked before they are put in use. An
//! [`Severity::Error`] forbids a text; a [`Severity::Warning`] is a cost that somebody accepts knowingly.

use super::catalogue::{Catalogue, Text};
use super::key::{TextClass, TextKey};
use super::params::{Given, GivenVisit, Param, Params};
use super::segments::{Encoding, Segments, outside_gsm7};
use crate::kernel::Language;
use jiff::{Timestamp, tz::TimeZone};

/// How much of a text a locked screen shows at the least, in characters.
const LOCK_SCREEN: usize = 40;

/// Stands for a value that a stranger must not read.
const PRIVATE: char = '\u{e000}';

/// Answers at which carriers or we ourselves block a number. None may be offered as an answer.
const STOP_WORDS: &[&str] = &[
    "STOP",
    "STOPALL",
    "UNSUBSCRIBE",
    "CANCEL",
    "END",
    "QUIT",
    "REVOKE",
    "OPTOUT",
    "REMOVE",
    "ARRET",
    "ALTO",
    "PARAR",
    "BAJA",
    "CANCELAR",
];

/// Every other word in capitals that a text may hold: answers that we understand, and common signs.
const CAPITALS: &[&str] = &["A", "C", "R", "N", "YES", "NO", "SI", "START", "STOP", "HELP", "AYUDA"];

/// How a sentence begins that asks for an answer.
const ASKING: &[&str] = &["reply", "answer", "text", "responda", "conteste", "mande", "envie"];

/// Parts of words that tell a stranger too much; a space is the edge of a word.
const TELLING: &[&str] = &[
    "result", " lab ", " test", "diagnos", "cancer", "hiv", "vih", "pregnan", "embaraz", "psych", "psic", "therap",
    "terapia", "mental", "surger", "cirug", "addict", "adicci", "overdue", "balance", "deuda", "saldo", " exam ",
    " examen",
];

/// A rule of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The clinic's name comes first.
    ClinicFirst,
    /// The first 40 characters say nothing that a stranger may not read.
    LockScreen,
    /// No word that stops texts is offered as an answer.
    StopWordOffered,
    /// Words in capitals are answers that we understand.
    UnknownAnswer,
    /// No exclamation marks.
    Exclamation,
    /// What leaves by itself, and what asks for consent, says how to stop.
    OptOutMissing,
    /// No addresses but our own links, given as a parameter.
    LiteralLink,
    /// The words stay within the GSM-7 alphabet.
    OutsideGsm7,
    /// One segment, filled in with ordinary values.
    SeveralSegments,
    /// The text can be filled in.
    Broken,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The text must not be used.
    Error,
    /// The text may be used by one who knows.
    Warning,
}

/// A rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which text.
    pub key: TextKey,
    /// In which language.
    pub language: Language,
    /// Which rule.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what to do.
    pub advice: String,
}

/// Checks every text in use.
#[must_use]
pub fn lint(catalogue: &Catalogue) -> Vec<Finding> {
    catalogue.current().flat_map(|(language, text)| lint_text(text, language, catalogue.opt_out(language))).collect()
}

/// Checks one text; `opt_out` is what its language puts after automated texts.
#[must_use]
pub fn lint_text(text: &Text, language: Language, opt_out: &str) -> Vec<Finding> {
    let finding = |(rule, severity, advice)| Finding { key: text.key, language, rule, severity, advice };
    let words = literal_words(&text.source);
    // A form is read at leisure, not on a lock screen, and costs nothing by length.
    if text.class == TextClass::Form {
        return exclamation(&words).into_iter().map(finding).collect();
    }
    let mut found = Vec::new();
    found.extend(clinic_first(&text.source));
    found.extend(lock_screen(text, language));
    found.extend(stop_word_offered(&words));
    found.extend(unknown_answer(&words));
    found.extend(exclamation(&words));
    found.extend(literal_link(&words));
    found.extend(opt_out_missing(text, &words, opt_out));
    found.extend(size(text, language, &words, opt_out));
    found.into_iter().map(finding).collect()
}

type Broken = (Rule, Severity, String);

fn clinic_first(source: &str) -> Option<Broken> {
    let first = source.starts_with("{{ clinic }}: ");
    (!first).then(|| (Rule::ClinicFirst, Severity::Error, "begin with `{{ clinic }}: `".into()))
}

fn lock_screen(text: &Text, language: Language) -> Option<Broken> {
    // With the shortest of names most of the text comes into view. Dates and times may be seen: "a visit" is already
    // told by who writes.
    let Ok(filled) = text.fill(language, &sample(text, "ABC", "", &PRIVATE.to_string())) else {
        return Some((Rule::Broken, Severity::Error, "it cannot be filled in with ordinary values".into()));
    };
    let seen = filled.chars().take(LOCK_SCREEN).collect::<String>().to_lowercase();
    if seen.contains(PRIVATE) {
        return Some((
            Rule::LockScreen,
            Severity::Error,
            "a name or place comes within the first 40 characters".into(),
        ));
    }
    let telling = TELLING.iter().find(|word| seen.split_once(':').is_some_and(|(_, words)| words.contains(**word)))?;
    Some((Rule::LockScreen, Severity::Error, format!("`{telling}` comes within the first 40 characters")))
}

fn stop_word_offered(words: &str) -> Option<Broken> {
    let offered = words.split(['.', '?', ':']).filter(|sentence| {
        let first = sentence.split_whitespace().next().unwrap_or_default().to_lowercase();
        ASKING.contains(&first.as_str())
    });
    let in_answers = offered.flat_map(bare_words).find(|word| STOP_WORDS.contains(&word.to_uppercase().as_str()));
    let shouted = bare_words(words).find(|word| *word != "STOP" && STOP_WORDS.contains(word));
    let word = in_answers.or(shouted)?;
    Some((
        Rule::StopWordOffered,
        Severity::Error,
        format!("`{word}` stops all texts: offer C, R, N, a number, YES or NO"),
    ))
}

fn unknown_answer(words: &str) -> Option<Broken> {
    let capital = |word: &&str| word.chars().any(char::is_alphabetic) && !word.chars().any(char::is_lowercase);
    let word = bare_words(words).filter(capital).find(|word| !CAPITALS.contains(word) && !STOP_WORDS.contains(word))?;
    Some((Rule::UnknownAnswer, Severity::Error, format!("`{word}` looks like an answer that nobody understands")))
}

fn exclamation(words: &str) -> Option<Broken> {
    words.contains(['!', '¡']).then(|| (Rule::Exclamation, Severity::Error, "leave out exclamation marks".into()))
}

fn literal_link(words: &str) -> Option<Broken> {
    let address = |word: &str| {
        let word = word.trim_end_matches(['.', ',', '?']).to_lowercase();
        word.contains("://") || word.starts_with("www.") || word.contains('@') || has_domain(&word)
    };
    words
        .split_whitespace()
        .any(address)
        .then(|| (Rule::LiteralLink, Severity::Error, "give links as `{{ link }}`".into()))
}

/// `bit.ly`, `example.com/x`: a dot between a letter or digit and two letters.
fn has_domain(word: &str) -> bool {
    let host = word.split('/').next().unwrap_or_default();
    host.split_once('.').is_some_and(|(name, rest)| {
        name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && rest.chars().take_while(char::is_ascii_alphabetic).count() >= 2
    })
}

fn opt_out_missing(text: &Text, words: &str, opt_out: &str) -> Option<Broken> {
    let says = |words: &str| bare_words(words).any(|word| word == "STOP");
    let missing = match text.class {
        TextClass::Automated => !says(words) && !says(opt_out),
        TextClass::OptIn | TextClass::Help => !says(words),
        _ => false,
    };
    missing.then(|| (Rule::OptOutMissing, Severity::Error, "say how to stop, with the word STOP".into()))
}

fn size(text: &Text, language: Language, words: &str, opt_out: &str) -> Vec<Broken> {
    let mut found = Vec::new();
    let outside = outside_gsm7(&words.replace(PRIVATE, ""));
    if !outside.is_empty() {
        let letters: String = outside.into_iter().collect();
        let advice = format!("`{letters}` make every segment 70 characters instead of 160: use other words");
        found.push((Rule::OutsideGsm7, Severity::Warning, advice));
    }
    let Ok(mut filled) = text.fill(language, &sample(text, "Cedar Clinic", "Maria", "Dr. Lee")) else { return found };
    if text.class == TextClass::Automated && !filled.contains("STOP") {
        filled = format!("{filled} {opt_out}");
    }
    let size = Segments::of(&filled);
    if size.count > 1 && size.encoding == Encoding::Gsm7 {
        let advice = format!("{} segments ({} of 160) with ordinary values: shorten it", size.count, size.units);
        found.push((Rule::SeveralSegments, Severity::Warning, advice));
    }
    found
}

/// The words of the text without its template code; a value becomes [`PRIVATE`], other code a space.
fn literal_words(source: &str) -> String {
    let mut words = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, code)) = rest.split_once('{') {
        words.push_str(before);
        let (close, stands_for) = if code.starts_with('{') { ("}}", PRIVATE) } else { ("%}", ' ') };
        words.push(stands_for);
        rest = code.split_once(close).map_or("", |(_, after)| after);
    }
    words.push_str(rest);
    words
}

/// The words without the signs around them.
fn bare_words(words: &str) -> impl Iterator<Item = &str> {
    words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Ordinary values for everything that `text` asks for.
fn sample(text: &Text, clinic: &str, first: &str, name: &str) -> Given {
    let at = |hours: i64| Timestamp::from_second(1_795_719_600 + hours * 3600).unwrap_or_default();
    let zone = TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC);
    let mut given = Params::new(clinic, &zone).given().clone();
    let visit = |at| GivenVisit { at, provider: name.to_owned() };
    for param in &text.params {
        match param {
            Param::Clinic => {}
            Param::First => given.first = Some(first.to_owned()),
            Param::Provider => given.provider = Some(name.to_owned()),
            Param::Place => given.place = Some(name.to_owned()),
            Param::When => given.when = Some(at(0)),
            Param::By => given.by = Some(at(2)),
            Param::Visits => given.visits = Some(vec![visit(at(0)), visit(at(1))]),
            Param::Slots => given.slots = Some(vec![at(0), at(22), at(93)]),
            Param::Phone => given.phone = Some("+12125550123".into()),
            Param::Link => given.link = "https://texts.example.org/l/hV3kQ9sB2xTn".parse().ok(),
        }
    }
    given
}

#[cfg(test)]
mod tests;
