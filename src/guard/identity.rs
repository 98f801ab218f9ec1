//! Numbers that identify a person or an account: by their shape, or by the word that announces them.

use super::lexicon::GuardData;
use crate::kernel::words::{Word, WordKind};

/// The fewest letters and digits of an announced number; four are enough after "ending in".
const SHORTEST: usize = 5;
const SHORTEST_TAIL: usize = 4;

/// Byte ranges of identity numbers in `text`.
pub(super) fn identity_numbers(text: &str, words: &[Word], data: &GuardData) -> Vec<(usize, usize)> {
    let runs = runs(text, words);
    let mut found: Vec<(usize, usize)> =
        runs.iter().filter(|run| run.has_identity_shape()).map(|run| (run.start, run.end)).collect();
    for announced in data.announcing.find(words) {
        found.extend(announced_number(text, words, announced.end, data));
    }
    found
}

/// Groups of letters and digits joined by hyphens or single spaces between digits.
struct Run {
    groups: Vec<String>,
    start: usize,
    end: usize,
}

impl Run {
    fn has_identity_shape(&self) -> bool {
        let joined: String = self.groups.concat();
        self.is_social_security() || is_payment_card(&joined) || is_medicare_beneficiary(&joined)
    }

    /// `123-45-6789`, also with spaces.
    fn is_social_security(&self) -> bool {
        let lengths: Vec<usize> = self.groups.iter().map(String::len).collect();
        lengths == [3, 2, 4] && self.groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_digit()))
    }
}

fn runs(text: &str, words: &[Word]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last_end = 0;
    for word in words.iter().filter(|word| matches!(word.kind, WordKind::Letters | WordKind::Digits)) {
        let between = text.get(last_end..word.start).unwrap_or(" ? ");
        last_end = word.end;
        match runs.last_mut() {
            Some(run) if between.is_empty() => {
                if let Some(group) = run.groups.last_mut() {
                    group.push_str(&word.text);
                }
                run.end = word.end;
            }
            Some(run) if matches!(between, "-" | "‑" | "–") || (between == " " && is_numeric_pair(run, word)) => {
                run.groups.push(word.text.clone());
                run.end = word.end;
            }
            _ => runs.push(Run { groups: vec![word.text.clone()], start: word.start, end: word.end }),
        }
    }
    runs
}

fn is_numeric_pair(run: &Run, word: &Word) -> bool {
    word.kind == WordKind::Digits && run.groups.last().is_some_and(|group| group.bytes().all(|b| b.is_ascii_digit()))
}

/// 13 to 19 digits with the check digit of ISO/IEC 7812-1.
fn is_payment_card(digits: &str) -> bool {
    if !(13..=19).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte.saturating_sub(b'0'));
            match digit.saturating_mul(2) {
                _ if at.is_multiple_of(2) => digit,
                doubled if doubled > 9 => doubled.saturating_sub(9),
                doubled => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A Medicare beneficiary identifier: eleven places, letters and digits in fixed ones (CMS, "Understanding the MBI").
fn is_medicare_beneficiary(joined: &str) -> bool {
    const PLACES: [(bool, bool); 11] = [
        (false, true),
        (true, false),
        (true, true),
        (false, true),
        (true, false),
        (true, true),
        (false, true),
        (true, false),
        (true, false),
        (false, true),
        (false, true),
    ];
    joined.len() == PLACES.len()
        && joined.bytes().zip(PLACES).all(|(byte, (letter, digit))| {
            (letter && byte.is_ascii_alphabetic() && !b"sloibz".contains(&byte)) || (digit && byte.is_ascii_digit())
        })
}

/// The number that follows the announcement that ends before word `from`.
fn announced_number(text: &str, words: &[Word], from: usize, data: &GuardData) -> Option<(usize, usize)> {
    let mut at = from;
    let mut shortest = SHORTEST;
    loop {
        let before = words.get(at.checked_sub(1)?)?;
        let word = words.get(at)?;
        let between = text.get(before.end..word.start)?;
        let abbreviated = before.is_any(&["no", "num", "nr"]);
        if between.contains(['?', '!', ';', '$']) || (between.contains(". ") && !abbreviated) {
            return None;
        }
        if !data.linking.contains(&word.text) {
            break;
        }
        if data.tail.contains(&word.text) {
            shortest = SHORTEST_TAIL;
        }
        at = at.saturating_add(1);
    }
    let rest = words.get(at..)?;
    let run =
        runs(text, rest).into_iter().next().filter(|run| rest.first().is_some_and(|word| word.start == run.start))?;
    let letters: String = run.groups.concat();
    let digits = letters.bytes().filter(u8::is_ascii_digit).count();
    let lengths: Vec<usize> = run.groups.iter().map(String::len).collect();
    let is_phone = matches!(lengths.as_slice(), [3, 3, 4] | [1, 3, 3, 4]);
    (letters.len() >= shortest && digits >= SHORTEST_TAIL && !is_phone).then_some((run.start, run.end))
}
