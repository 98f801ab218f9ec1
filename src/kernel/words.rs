//! The words of a short text, folded so that case, accents, width and emoji variants do not matter.
//!
//! Owns the one tokeniser of the program; `intent` reads replies with it and `guard` checks texts with it. Every word
//! keeps the byte range that it came from, so a finding can be marked in the text as written. Pure, linear in the
//! length of the text, and defined for every string: control characters separate words, what cannot be read is left out.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// What a [`Word`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind {
    /// Letters of any script.
    Letters,
    /// ASCII digits (other widths are folded to them).
    Digits,
    /// One emoji or pictograph, without skin tone or variation.
    Symbol,
    /// A mark that has a meaning of its own: `%` and `$` anywhere, `. : /` between digits.
    Mark,
}

/// One word of a text.
///
/// `Debug` leaves the text out: words of a patient's text are PHI.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    /// The folded text: lower case, no accents, no apostrophes (`can’t` is `cant`).
    pub text: String,
    /// What it is made of.
    pub kind: WordKind,
    /// Byte offset of its first character in the text as written.
    pub start: usize,
    /// Byte offset after its last character in the text as written.
    pub end: usize,
    /// Nothing stands between the word before and this one (`2pm` is `2` and a glued `pm`).
    pub glued: bool,
    /// Punctuation or a line break stands before it, or it is the first word.
    pub opens_clause: bool,
}

impl Word {
    /// Whether the folded text equals `text`.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// Whether the folded text is one of `texts`.
    #[must_use]
    pub fn is_any(&self, texts: &[&str]) -> bool {
        texts.contains(&self.text.as_str())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("kind", &self.kind)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Splits `text` into its folded words.
///
/// A change between letters and digits ends a word (`26th` is two words), as does every hyphen, so that `opt-out` and
/// `opt out` read the same.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let mut splitter = Splitter { found: Vec::new(), open: None, apart: true, clause: true };
    let mut before = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, written)) = rest.next() {
        let end = at.saturating_add(written.len_utf8());
        let after = rest.peek().map(|&(_, next)| next);
        match class_of_mark(written, before, after) {
            Class::Folded => {
                for folded in std::iter::once(written).nfkd().flat_map(char::to_lowercase) {
                    splitter.take(folded, at, end);
                }
            }
            Class::Silent => {}
            Class::Mark => splitter.mark(written, at, end),
            Class::Space => splitter.separate(false),
            Class::Break => splitter.separate(true),
        }
        if !is_invisible(written) {
            before = Some(written);
        }
    }
    splitter.close();
    splitter.found
}

/// Joins the folded words of `text` with single spaces: a key for comparing whole texts.
#[must_use]
pub fn folded(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for word in words(text) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&word.text);
    }
    joined
}

/// What is done with a character as written, given its neighbours.
enum Class {
    Folded,
    Silent,
    Mark,
    Space,
    Break,
}

fn class_of_mark(written: char, before: Option<char>, after: Option<char>) -> Class {
    let digit = |c: Option<char>| c.is_some_and(char::is_numeric);
    let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    match written {
        _ if is_invisible(written) || is_combining_mark(written) => Class::Silent,
        '\'' | '’' | '‘' | 'ʼ' | '`' | '´' if letter(before) && letter(after) => Class::Silent,
        '.' | ':' | '/' if digit(before) && digit(after) => Class::Mark,
        '.' if letter(before) && letter(after) => Class::Space,
        '%' | '$' => Class::Mark,
        '.' | ',' | ';' | ':' | '!' | '?' | '¿' | '¡' | '…' | '\n' | '\r' | '—' | '–' | '(' | ')' | '"' | '“' | '”' => {
            Class::Break
        }
        _ if written.is_alphanumeric() || is_symbol(written) => Class::Folded,
        _ => Class::Space,
    }
}

/// Characters without a width: joiners, variation selectors, skin tones, direction marks, the keycap frame.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}'
        | '\u{20e3}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '\u{203c}' | '\u{2049}' | '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

struct Splitter {
    found: Vec<Word>,
    open: Option<Word>,
    /// Something separated the next word from the last one.
    apart: bool,
    /// A clause ended since the last word.
    clause: bool,
}

impl Splitter {
    fn take(&mut self, c: char, start: usize, end: usize) {
        let kind = if c.is_ascii_digit() {
            WordKind::Digits
        } else if c.is_alphanumeric() {
            WordKind::Letters
        } else if is_symbol(c) {
            WordKind::Symbol
        } else {
            return;
        };
        match &mut self.open {
            Some(word) if word.kind == kind && kind != WordKind::Symbol => {
                word.text.push(c);
                word.end = end;
            }
            _ => self.begin(c, kind, start, end),
        }
    }

    fn begin(&mut self, c: char, kind: WordKind, start: usize, end: usize) {
        self.close();
        let glued = !self.apart;
        let opens_clause = self.clause;
        self.open = Some(Word { text: c.to_string(), kind, start, end, glued, opens_clause });
        self.apart = false;
        self.clause = false;
    }

    fn mark(&mut self, c: char, start: usize, end: usize) {
        self.begin(c, WordKind::Mark, start, end);
        self.close();
    }

    fn separate(&mut self, ends_clause: bool) {
        self.close();
        self.apart = true;
        self.clause = self.clause || ends_clause;
    }

    fn close(&mut self) {
        self.found.extend(self.open.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn case_accents_width_and_apostrophes_fold() {
        assert_eq!(texts("Can’t  ＭＡＫＥ it, Mañana"), ["cant", "make", "it", "manana"]);
        assert_eq!(folded("opt-OUT"), "opt out");
    }

    #[test]
    fn numbers_part_from_letters_and_times_keep_their_mark() {
        assert_eq!(
            texts("thu10 2pm 10:30 26th 7/26"),
            ["thu", "10", "2", "pm", "10", ":", "30", "26", "th", "7", "/", "26"]
        );
        assert_eq!(texts("1️⃣"), ["1"]);
    }

    #[test]
    fn emoji_lose_tone_and_variation() {
        assert_eq!(texts("👍🏽❤️"), ["👍", "❤"]);
    }

    #[test]
    fn clauses_open_after_punctuation_but_not_within_am() {
        let found = words("C, at 10 a.m. ok");
        let opens: Vec<bool> = found.iter().map(|word| word.opens_clause).collect();
        assert_eq!(opens, [true, true, false, false, false, true]);
    }

    proptest! {
        #[test]
        fn any_text_splits_on_character_boundaries(text in any::<String>()) {
            let mut last = 0;
            for word in words(&text) {
                prop_assert!(text.get(word.start..word.end).is_some_and(|written| !written.is_empty()));
                prop_assert!(word.start >= last || word.glued);
                last = word.start;
            }
        }
    }
}
