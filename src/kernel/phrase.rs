//! Phrases over [`words`](super::words), and lexicons that find them in a text.
//!
//! Owns the small pattern language that the lexicon files under `data/lexicons/` are written in. `intent` and `guard`
//! build lexicons once and search with them. A search never backtracks over more than a handful of words: at most
//! [`GAP`] words per gap and one word per optional element, so it is linear in the length of the text.
//!
//! A phrase is a row of elements parted by spaces: a word (`chest`), alternatives (`visit|appt`), a stem (`bleed*`), any
//! number (`#`), an optional element (`my?`), or a gap of up to three words (`..`). A phrase never crosses punctuation.

use std::collections::HashMap;

use super::words::{Word, WordKind, words};

/// The most words that a `..` stands for.
pub const GAP: usize = 3;

/// One element of a phrase.
#[derive(Debug, Clone)]
enum Element {
    OneOf { words: Vec<Spelling>, glued: bool, optional: bool },
    Gap,
}

#[derive(Debug, Clone)]
enum Spelling {
    Exact(String),
    Stem(String),
    Number,
}

impl Spelling {
    fn fits(&self, word: &Word) -> bool {
        match self {
            Self::Exact(text) => word.is(text),
            Self::Stem(stem) => word.kind == WordKind::Letters && word.text.starts_with(stem.as_str()),
            Self::Number => word.kind == WordKind::Digits,
        }
    }
}

/// Why a phrase in a lexicon file is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PhraseError {
    /// It has no word, or begins or ends with a gap or an optional element.
    #[error("phrase {0:?} must begin and end with a word that is required")]
    Open(String),
    /// An alternative or an optional element is more than one word once folded.
    #[error("phrase {0:?}: alternatives, stems and optional elements must be single words")]
    Compound(String),
}

/// A phrase, ready to be searched for.
#[derive(Debug, Clone)]
pub struct Phrase(Vec<Element>);

impl Phrase {
    /// Reads the pattern language described at the top of this module.
    ///
    /// # Errors
    /// [`PhraseError`] for what is not a phrase in it.
    pub fn parse(pattern: &str) -> Result<Self, PhraseError> {
        let mut elements = Vec::new();
        for part in pattern.split_whitespace() {
            elements.extend(parse_element(part, pattern)?);
        }
        let required = |element: Option<&Element>| matches!(element, Some(Element::OneOf { optional: false, .. }));
        if required(elements.first()) && required(elements.last()) {
            Ok(Self(elements))
        } else {
            Err(PhraseError::Open(pattern.to_owned()))
        }
    }

    /// The index after the last word when the phrase stands at `at`.
    fn end_at(&self, found: &[Word], at: usize) -> Option<usize> {
        fit(&self.0, found, at, true)
    }
}

fn parse_element(part: &str, pattern: &str) -> Result<Vec<Element>, PhraseError> {
    let compound = || PhraseError::Compound(pattern.to_owned());
    if part == ".." {
        return Ok(vec![Element::Gap]);
    }
    let (part, optional) = part.strip_suffix('?').map_or((part, false), |bare| (bare, true));
    let mut spellings = Vec::new();
    for alternative in part.split('|') {
        if alternative == "#" {
            spellings.push(Spelling::Number);
            continue;
        }
        let (bare, stem) = alternative.strip_suffix('*').map_or((alternative, false), |bare| (bare, true));
        let mut folded = words(bare);
        if folded.len() == 1 {
            spellings.extend(folded.pop().map(|w| if stem { Spelling::Stem(w.text) } else { Spelling::Exact(w.text) }));
        } else if stem || optional || part.contains('|') || folded.is_empty() {
            return Err(compound());
        } else {
            let row = |word: Word| Element::OneOf {
                words: vec![Spelling::Exact(word.text)],
                glued: word.glued,
                optional: false,
            };
            return Ok(folded.into_iter().map(row).collect());
        }
    }
    Ok(vec![Element::OneOf { words: spellings, glued: false, optional }])
}

fn fit(elements: &[Element], found: &[Word], at: usize, first: bool) -> Option<usize> {
    let Some((element, rest)) = elements.split_first() else { return Some(at) };
    match element {
        Element::OneOf { words, glued, optional } => {
            let here = found.get(at).filter(|word| {
                (first || !word.opens_clause)
                    && (!glued || word.glued)
                    && words.iter().any(|spelling| spelling.fits(word))
            });
            here.and_then(|_| fit(rest, found, at.saturating_add(1), false))
                .or_else(|| if *optional { fit(rest, found, at, first) } else { None })
        }
        Element::Gap => {
            for skipped in 0..=GAP {
                let next = at.saturating_add(skipped);
                if let Some(end) = fit(rest, found, next, false) {
                    return Some(end);
                }
                if found.get(next).is_none_or(|word| word.opens_clause) {
                    return None;
                }
            }
            None
        }
    }
}

/// A phrase found in a text: `words[first..end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhraseMatch {
    /// Which rule of the lexicon it belongs to.
    pub rule: usize,
    /// Index of its first word.
    pub first: usize,
    /// Index after its last word.
    pub end: usize,
}

impl PhraseMatch {
    /// How many words it spans.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end.saturating_sub(self.first)
    }

    /// Whether it spans no word; a match always spans one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every word of `other` is one of this match's words.
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.end <= self.end
    }
}

/// Phrases grouped into numbered rules, indexed by their first word.
#[derive(Debug, Default)]
pub struct Lexicon {
    phrases: Vec<(Phrase, usize)>,
    by_word: HashMap<String, Vec<usize>>,
    /// Phrases that begin with a stem or a number: tried at every word.
    unindexed: Vec<usize>,
}

impl Lexicon {
    /// An empty lexicon.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one pattern under `rule`.
    ///
    /// # Errors
    /// [`PhraseError`] for a pattern that cannot be read.
    pub fn add(&mut self, pattern: &str, rule: usize) -> Result<(), PhraseError> {
        let phrase = Phrase::parse(pattern)?;
        let index = self.phrases.len();
        if let Some(Element::OneOf { words, .. }) = phrase.0.first() {
            if words.iter().all(|spelling| matches!(spelling, Spelling::Exact(_))) {
                for spelling in words {
                    if let Spelling::Exact(text) = spelling {
                        self.by_word.entry(text.clone()).or_default().push(index);
                    }
                }
            } else {
                self.unindexed.push(index);
            }
        }
        self.phrases.push((phrase, rule));
        Ok(())
    }

    /// Every phrase that stands somewhere in `found`, in the order of their first words.
    #[must_use]
    pub fn find(&self, found: &[Word]) -> Vec<PhraseMatch> {
        let mut matches = Vec::new();
        for (at, word) in found.iter().enumerate() {
            let indexed = self.by_word.get(&word.text).map(Vec::as_slice).unwrap_or_default();
            for &index in indexed.iter().chain(&self.unindexed) {
                let Some((phrase, rule)) = self.phrases.get(index) else { continue };
                if let Some(end) = phrase.end_at(found, at) {
                    matches.push(PhraseMatch { rule: *rule, first: at, end });
                }
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("chest .. hurt*", "My chest really does hurt", Some((1, 5)))]
    #[case("chest .. hurt*", "my chest. it hurts", None)]
    #[case("cancel my? visit|appt", "please cancel appt", Some((1, 3)))]
    #[case("cancel my? visit|appt", "cancel my appt now", Some((0, 3)))]
    #[case("a1c", "your A1c is", Some((1, 4)))]
    #[case("a1c", "a 1 c", None)]
    #[case("can't make it", "I can’t make it", Some((1, 4)))]
    #[case("# mg", "take 10mg", Some((1, 3)))]
    fn phrases_fit(#[case] pattern: &str, #[case] text: &str, #[case] span: Option<(usize, usize)>) {
        let mut lexicon = Lexicon::new();
        lexicon.add(pattern, 7).unwrap();
        let found = lexicon.find(&words(text));
        assert_eq!(found.first().map(|found| (found.first, found.end)), span);
        assert!(found.iter().all(|found| found.rule == 7));
    }

    #[rstest]
    #[case("")]
    #[case(".. pain")]
    #[case("pain ..")]
    #[case("my?")]
    #[case("opt-out|stop")]
    fn malformed_phrases_are_refused(#[case] pattern: &str) {
        assert!(Phrase::parse(pattern).is_err());
    }
}
