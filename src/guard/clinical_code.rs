//! Values and codes that are clinical by their shape: blood pressure and ICD-10-CM codes.

use crate::kernel::words::{Word, WordKind};

/// Byte ranges of readings such as `130/85`. Dates have no number above 31 before the slash.
pub(super) fn blood_pressures(words: &[Word]) -> Vec<(usize, usize)> {
    let reading = |window: &[Word]| {
        let [before, systolic, slash, diastolic, after] = window else { return None };
        let value = |word: &Word| word.text.parse::<u16>().ok();
        let plausible = slash.is("/")
            && value(systolic).is_some_and(|value| (70..=260).contains(&value))
            && value(diastolic).is_some_and(|value| (35..=160).contains(&value))
            && !before.is("/")
            && !after.is("/");
        plausible.then_some((systolic.start, diastolic.end))
    };
    let edge = Word { text: String::new(), kind: WordKind::Mark, start: 0, end: 0, glued: false, opens_clause: true };
    let padded: Vec<Word> = std::iter::once(edge.clone()).chain(words.iter().cloned()).chain([edge]).collect();
    padded.windows(5).filter_map(reading).collect()
}

/// Byte ranges of codes such as `E11.9` or `S72.001A` (ICD-10-CM: letter, digit, digit or letter, point, one to four).
pub(super) fn diagnosis_codes(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = None;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    for (at, c) in ends {
        let part = c.is_alphanumeric() || c == '.';
        match (part, start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                let token = text.get(begin..at).unwrap_or_default().trim_end_matches('.');
                if is_diagnosis_code(token) {
                    found.push((begin, begin.saturating_add(token.len())));
                }
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn is_diagnosis_code(token: &str) -> bool {
    let Some((category, detail)) = token.split_once('.') else { return false };
    let mut category = category.bytes();
    category.next().is_some_and(|b| b.is_ascii_alphabetic())
        && category.next().is_some_and(|b| b.is_ascii_digit())
        && category.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && category.next().is_none()
        && (1..=4).contains(&detail.len())
        && detail.bytes().all(|b| b.is_ascii_alphanumeric())
        && detail.bytes().filter(u8::is_ascii_alphabetic).count() <= 1
}
