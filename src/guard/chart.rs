//! The patient's own medicines and conditions, looked for in a text.
//!
//! A term is found as a whole and by each of its telling words ("Metformin 500 MG Oral Tablet" by `metformin`), whatever
//! the case, accents and endings.

use super::category::Category;
use super::lexicon::GuardData;
use crate::kernel::Phi;
use crate::kernel::words::{Word, WordKind, words};

/// What a chart term names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartTermKind {
    /// From a `MedicationRequest` or `MedicationStatement`.
    Medication,
    /// From a `Condition`.
    Condition,
}

/// The name of a medicine or condition in the patient's chart.
#[derive(Debug, Clone)]
pub struct ChartTerm {
    /// What it names.
    pub kind: ChartTermKind,
    /// Its text, as the chart has it.
    pub name: Phi<String>,
}

impl ChartTerm {
    /// A medicine of the chart.
    #[must_use]
    pub fn medication(name: impl Into<String>) -> Self {
        Self { kind: ChartTermKind::Medication, name: Phi::new(name.into()) }
    }

    /// A condition of the chart.
    #[must_use]
    pub fn condition(name: impl Into<String>) -> Self {
        Self { kind: ChartTermKind::Condition, name: Phi::new(name.into()) }
    }
}

/// The fewest letters of a word that tells by itself.
const TELLING: usize = 4;
/// How many letters two forms of a condition share at least ("diabetes", "diabetic").
const SHARED: usize = 6;
/// How many letters the end of such a form may have of its own.
const ENDING: usize = 4;

/// Byte ranges of `term` in the text that `found` are the words of.
pub(super) fn occurrences(term: &ChartTerm, found: &[Word], data: &GuardData) -> Vec<(usize, usize)> {
    let written_name = words(term.name.as_str());
    // The name proper ends where a strength, a qualifier or a code system's tag begins.
    let proper = written_name.iter().skip(1).position(|word| word.opens_clause || word.kind == WordKind::Digits);
    let proper = proper.map_or(written_name.len(), |at| at.saturating_add(1));
    let name: Vec<&Word> = written_name.iter().take(proper).filter(|word| word.kind == WordKind::Letters).collect();
    let same = |written: &Word, named: &Word| match term.kind {
        ChartTermKind::Medication => same_medicine(&written.text, &named.text),
        ChartTermKind::Condition => same_condition(&written.text, &named.text),
    };
    let mut spans = Vec::new();
    if !name.is_empty() {
        for window in found.windows(name.len()) {
            if window.iter().zip(&name).all(|(written, named)| same(written, named)) {
                spans.extend(window.first().zip(window.last()).map(|(first, last)| (first.start, last.end)));
            }
        }
    }
    let telling = |word: &&Word| word.text.chars().count() >= TELLING && !data.generic.contains(&word.text);
    for named in written_name.iter().filter(|word| word.kind == WordKind::Letters).filter(telling) {
        let written = found.iter().filter(|written| same(written, named) && !data.generic.contains(&written.text));
        spans.extend(written.map(|written| (written.start, written.end)));
    }
    spans
}

/// The category that a finding of `term` has: the sensitive one that its name belongs to, or the plain one of its kind.
pub(super) fn category(term: &ChartTerm, data: &GuardData) -> Category {
    let plain = match term.kind {
        ChartTermKind::Medication => Category::MedicationName,
        ChartTermKind::Condition => Category::Diagnosis,
    };
    let found = data.phrases.find(&words(term.name.as_str()));
    let categories = found.iter().filter_map(|found| data.categories.get(found.rule).copied());
    categories.filter(|category| category.is_sensitive()).min().unwrap_or(plain)
}

fn same_medicine(written: &str, named: &str) -> bool {
    let (short, long) = if written.len() <= named.len() { (written, named) } else { (named, written) };
    let rest = long.strip_prefix(short);
    short == long || (short.len() >= TELLING && matches!(rest, Some("s" | "es" | "a" | "o" | "e")))
}

fn same_condition(written: &str, named: &str) -> bool {
    if same_medicine(written, named) {
        return true;
    }
    let shared = written.chars().zip(named.chars()).take_while(|(a, b)| a == b).count();
    let own = |word: &str| word.chars().count().saturating_sub(shared);
    shared >= SHARED && own(written) <= ENDING && own(named) <= ENDING
}
