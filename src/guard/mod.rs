//! What may not leave over SMS.
//!
//! Owns the check of a text before it goes out: [`check`] is called by the gate for every text, by the composer while a
//! person types, by the template linter; [`guard_line`] by the command line. Pure: no clock, no store, no calls.
//!
//! Allowed are dates, times, places, provider names, generic preparation and payment terms. Not allowed is whatever names
//! a medicine, test, condition, treatment or number of account, even without a value; also whatever the patient's own
//! chart names. What always holds: findings lie on character boundaries, in order, and nothing of the text is kept.

mod category;
mod chart;
mod clinical_code;
mod identity;
mod lexicon;
mod line;
#[cfg(test)]
mod tests;

pub use category::Category;
pub use chart::{ChartTerm, ChartTermKind};
pub use line::{LineError, guard_line};

use crate::kernel::Language;
use crate::kernel::words::{Word, words};
use lexicon::{GUARD, GuardData};

/// Words in a text that may not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Why they may not.
    pub category: Category,
    /// Byte offset of the first of them.
    pub start: usize,
    /// Byte offset after the last of them.
    pub end: usize,
    /// What to write instead, in English; [`Category::advice`] has the other languages.
    pub advice: &'static str,
}

impl Finding {
    /// The same range in UTF-16 code units of `text`, as browsers count.
    #[must_use]
    pub fn utf16_range(&self, text: &str) -> (usize, usize) {
        let units = |end: usize| text.get(..end).map_or(0, |before| before.encode_utf16().count());
        (units(self.start), units(self.end))
    }
}

/// Whether a text may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Nothing was found.
    pub allowed: bool,
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Checks `text` by patterns and by the terms of the patient's own chart.
#[must_use]
pub fn check(text: &str, chart_terms: &[ChartTerm]) -> Verdict {
    let data = &*GUARD;
    let words = words(text);
    let mut spans = pattern_spans(text, &words, data);
    for term in chart_terms {
        let category = chart::category(term, data);
        spans.extend(chart::occurrences(term, &words, data).into_iter().map(|(start, end)| Span {
            category,
            start,
            end,
        }));
    }
    let findings: Vec<Finding> = settle(spans)
        .into_iter()
        .map(|Span { category, start, end }| Finding {
            category,
            start,
            end,
            advice: category.advice(Language::English),
        })
        .collect();
    Verdict { allowed: findings.is_empty(), findings }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    category: Category,
    start: usize,
    end: usize,
}

fn pattern_spans(text: &str, words: &[Word], data: &GuardData) -> Vec<Span> {
    let mut spans = phrase_spans(words, data);
    for found in data.exact.find_iter(text) {
        let (start, end) = (found.start(), found.end());
        let bounded = !text.get(..start).is_some_and(|before| before.ends_with(char::is_alphanumeric))
            && !text.get(end..).is_some_and(|after| after.starts_with(char::is_alphanumeric));
        let category = data.exact_categories.get(found.pattern().as_usize()).copied();
        spans.extend(category.filter(|_| bounded).map(|category| Span { category, start, end }));
    }
    for stems in &data.stems {
        for (at, word) in words.iter().enumerate().filter(|(_, word)| stems.fits(word)) {
            if !is_surname(text, words, at) {
                spans.push(Span { category: stems.category, start: word.start, end: word.end });
            }
        }
    }
    let of = |category: Category| move |(start, end): (usize, usize)| Span { category, start, end };
    spans.extend(clinical_code::blood_pressures(words).into_iter().map(of(Category::LabValue)));
    spans.extend(clinical_code::diagnosis_codes(text).into_iter().map(of(Category::Diagnosis)));
    let allowed = data.allowed.find(words);
    let harmless = |span: &Span| {
        allowed.iter().any(|phrase| {
            let first = words.get(phrase.first).map_or(usize::MAX, |word| word.start);
            let last = words.get(phrase.end.saturating_sub(1)).map_or(0, |word| word.end);
            first <= span.start && span.end <= last
        })
    };
    spans.retain(|span| !harmless(span));
    spans.extend(identity::identity_numbers(text, words, data).into_iter().map(of(Category::FinancialIdentity)));
    spans
}

fn phrase_spans(words: &[Word], data: &GuardData) -> Vec<Span> {
    let mut spans = Vec::new();
    for found in data.phrases.find(words) {
        let category = data.categories.get(found.rule).copied();
        let ends = words.get(found.first).zip(words.get(found.end.saturating_sub(1)));
        let (Some(category), Some((first, last))) = (category, ends) else { continue };
        let surname = found.len() == 1 && follows_title(words, found.first);
        if !surname {
            spans.push(Span { category, start: first.start, end: last.end });
        }
    }
    spans
}

/// "Dr. Parkinson" names a provider.
fn follows_title(words: &[Word], at: usize) -> bool {
    let titles =
        ["dr", "dra", "doctor", "doctora", "mr", "mrs", "ms", "miss", "sr", "sra", "nurse", "np", "pa", "rn", "md"];
    let before = |back: usize| at.checked_sub(back).and_then(|before| words.get(before));
    before(1).is_some_and(|word| word.is_any(&titles))
}

/// A capitalised word after a title, or after a title and a first name.
fn is_surname(text: &str, words: &[Word], at: usize) -> bool {
    let capital = |at: usize| {
        let written = words.get(at).and_then(|word| text.get(word.start..word.end));
        written.is_some_and(|written| written.starts_with(char::is_uppercase))
    };
    let after_first_name = at.checked_sub(1).is_some_and(|before| capital(before) && follows_title(words, before));
    capital(at) && (follows_title(words, at) || after_first_name)
}

/// One finding per stretch of text: what lies within something longer is dropped, lending it its category where it is a
/// sensitive one ("prueba de VIH"); what overlaps within a category is joined.
fn settle(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.category));
    let mut kept: Vec<Span> = Vec::new();
    for span in spans {
        if let Some(other) = kept.iter_mut().rev().find(|other| other.start <= span.start && span.end <= other.end) {
            if span.category.is_sensitive() {
                other.category = other.category.min(span.category);
            }
            continue;
        }
        match kept.iter_mut().rev().find(|other| other.category == span.category && span.start < other.end) {
            Some(other) => other.end = other.end.max(span.end),
            None => kept.push(span),
        }
    }
    kept
}
