//! The lexicon files of `data/lexicons/guard/`, compiled in and read once.
//!
//! A file that cannot be read is a defect of the build: the tests of this module read every file, and a process that
//! carries a broken one stops at its first use instead of letting texts pass with half a guard.

use std::collections::HashSet;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use serde::Deserialize;

use super::category::Category;
use crate::kernel::phrase::{Lexicon, PhraseError};
use crate::kernel::words::{Word, WordKind};

const FILES: [&str; 8] = [
    include_str!("../../data/lexicons/guard/hiv_sti.toml"),
    include_str!("../../data/lexicons/guard/substance_use.toml"),
    include_str!("../../data/lexicons/guard/mental_health.toml"),
    include_str!("../../data/lexicons/guard/genetic.toml"),
    include_str!("../../data/lexicons/guard/medication.toml"),
    include_str!("../../data/lexicons/guard/diagnosis.toml"),
    include_str!("../../data/lexicons/guard/lab_value.toml"),
    include_str!("../../data/lexicons/guard/clinical_note.toml"),
];
const IDENTITY: &str = include_str!("../../data/lexicons/guard/financial_identity.toml");
const CHART: &str = include_str!("../../data/lexicons/guard/chart_terms.toml");

/// Everything that the guard knows.
pub(super) static GUARD: LazyLock<GuardData> = LazyLock::new(|| match GuardData::load() {
    Ok(data) => data,
    Err(error) => panic!("a lexicon in data/lexicons/guard is malformed: {error}"),
});

/// Why a lexicon file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LexiconError {
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    #[error(transparent)]
    ExactCase(#[from] BuildError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryFile {
    category: Category,
    phrases: Vec<String>,
    /// Compared as written.
    #[serde(default)]
    exact_case: Vec<String>,
    /// Phrases that are harmless though a part of them is not.
    #[serde(default)]
    allowed_phrases: Vec<String>,
    /// Endings of names.
    #[serde(default)]
    stems: Vec<String>,
    #[serde(default)]
    stem_min: usize,
    #[serde(default)]
    stem_exceptions: HashSet<String>,
}

/// Words around identity numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    announcing: Vec<String>,
    linking: HashSet<String>,
    tail: HashSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChartFile {
    generic: HashSet<String>,
}

/// Endings that names of one category share.
pub(super) struct Stems {
    pub(super) category: Category,
    endings: Vec<String>,
    shortest: usize,
    exceptions: HashSet<String>,
}

impl Stems {
    /// Whether `word` is a name by its ending.
    pub(super) fn fits(&self, word: &Word) -> bool {
        word.kind == WordKind::Letters
            && word.text.chars().count() >= self.shortest
            && !self.exceptions.contains(&word.text)
            && self.endings.iter().any(|ending| word.text.ends_with(ending.as_str()))
    }
}

pub(super) struct GuardData {
    /// Rule number to category.
    pub(super) categories: Vec<Category>,
    pub(super) phrases: Lexicon,
    pub(super) allowed: Lexicon,
    pub(super) exact: AhoCorasick,
    /// Pattern number of `exact` to category.
    pub(super) exact_categories: Vec<Category>,
    pub(super) stems: Vec<Stems>,
    pub(super) announcing: Lexicon,
    pub(super) linking: HashSet<String>,
    pub(super) tail: HashSet<String>,
    pub(super) generic: HashSet<String>,
}

impl GuardData {
    fn load() -> Result<Self, LexiconError> {
        let mut categories = Vec::new();
        let mut phrases = Lexicon::new();
        let mut allowed = Lexicon::new();
        let mut exact = Vec::new();
        let mut exact_categories = Vec::new();
        let mut stems = Vec::new();
        for (rule, file) in FILES.iter().enumerate() {
            let file: CategoryFile = toml::from_str(file)?;
            categories.push(file.category);
            for phrase in &file.phrases {
                phrases.add(phrase, rule)?;
            }
            for phrase in &file.allowed_phrases {
                allowed.add(phrase, rule)?;
            }
            exact_categories.extend(file.exact_case.iter().map(|_| file.category));
            exact.extend(file.exact_case);
            stems.push(Stems {
                category: file.category,
                endings: file.stems,
                shortest: file.stem_min,
                exceptions: file.stem_exceptions,
            });
        }
        let identity: IdentityFile = toml::from_str(IDENTITY)?;
        let mut announcing = Lexicon::new();
        for phrase in &identity.announcing {
            announcing.add(phrase, 0)?;
        }
        let chart: ChartFile = toml::from_str(CHART)?;
        Ok(Self {
            categories,
            phrases,
            allowed,
            exact: AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(exact)?,
            exact_categories,
            stems,
            announcing,
            linking: identity.linking,
            tail: identity.tail,
            generic: chart.generic,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::words::folded;

    #[test]
    fn every_file_is_read() {
        if let Err(error) = GuardData::load() {
            panic!("{error}");
        }
    }

    #[test]
    fn single_words_in_sets_are_folded_as_texts_are() {
        for word in GUARD.linking.iter().chain(&GUARD.tail).chain(&GUARD.generic) {
            assert_eq!(&folded(word), word, "write it folded, without accents");
        }
    }
}
