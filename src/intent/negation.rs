//! Whether a phrase means what it says: denied, over, hypothetical, or about somebody else.
//!
//! Called for each phrase found. Errs towards taking a phrase at its word: a denied emergency that is read as one costs a
//! call, the opposite costs more.

use super::lexicon::Negation;
use crate::kernel::phrase::PhraseMatch;
use crate::kernel::words::Word;

/// How far before a phrase a negation reaches, in words.
const REACH: usize = 4;
/// How far before a phrase a condition or another person reaches.
const FRAME: usize = 7;
/// How far after a phrase its end may be told.
const AFTER: usize = 7;

/// What the words around a phrase make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It means what it says.
    Stands,
    /// "No chest pain."
    Denied,
    /// "The chest pain is gone."
    Over,
    /// "What should I do if I get chest pain?"
    Hypothetical,
    /// "My neighbor had chest pain."
    OtherPerson,
}

impl Negation {
    /// How `found` stands in `words`; `negatable` is false for phrases that hold a negation themselves.
    pub(super) fn standing(&self, words: &[Word], found: PhraseMatch, negatable: bool) -> Standing {
        if negatable && self.negator_before(words, found.first).is_some() {
            return Standing::Denied;
        }
        if self.is_over(words, found) {
            return Standing::Over;
        }
        let frame = words.get(found.first.saturating_sub(FRAME)..found.first).unwrap_or_default();
        let including = words.get(found.first.saturating_sub(FRAME)..found.end).unwrap_or_default();
        if self.hypothetical.find(frame).iter().any(|cue| !self.turned(frame, cue.end)) {
            return Standing::Hypothetical;
        }
        if self.other_person.find(including).iter().any(|cue| !self.turned(including, cue.end)) {
            return Standing::OtherPerson;
        }
        Standing::Stands
    }

    /// The index of the word that denies what begins at `first`, in the same clause.
    pub(super) fn negator_before(&self, words: &[Word], first: usize) -> Option<usize> {
        let mut next = first;
        for _ in 0..REACH {
            if words.get(next)?.opens_clause {
                return None;
            }
            let at = next.checked_sub(1)?;
            let word = words.get(at)?;
            if self.turns.contains(&word.text) {
                return None;
            }
            if self.negators.contains(&word.text) && self.denies(word, words.get(next)) {
                return Some(at);
            }
            next = at;
        }
        None
    }

    fn denies(&self, negator: &Word, follower: Option<&Word>) -> bool {
        let Some(follower) = follower else { return false };
        if self.not_denying.contains(&follower.text) {
            return false;
        }
        !(negator.is("no") && self.answer_followers.contains(&follower.text))
    }

    fn is_over(&self, words: &[Word], found: PhraseMatch) -> bool {
        let last = words.len().min(found.end.saturating_add(AFTER));
        let after = words.get(found.end..last).unwrap_or_default();
        let sentence = after.iter().position(|word| word.opens_clause).unwrap_or(after.len());
        let told = after.get(..sentence).unwrap_or_default();
        let rest = words.get(found.end..).unwrap_or_default();
        self.resolved.occurs(told) && !self.continuing.occurs(rest)
    }

    /// Whether a clause begins in `words` at or after `from`, so that what stood before no longer frames the phrase.
    fn turned(&self, words: &[Word], from: usize) -> bool {
        let rest = words.get(from..).unwrap_or_default();
        rest.iter().any(|word| word.opens_clause || self.turns.contains(&word.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::READER;
    use super::*;
    use crate::kernel::phrase::Lexicon;
    use crate::kernel::words::words;
    use rstest::rstest;

    #[rstest]
    #[case("I have chest pain", Standing::Stands)]
    #[case("no chest pain", Standing::Denied)]
    #[case("I don't have any chest pain", Standing::Denied)]
    #[case("no tengo chest pain", Standing::Denied)]
    #[case("No I have chest pain", Standing::Stands)]
    #[case("No, chest pain", Standing::Stands)]
    #[case("not feeling well but chest pain", Standing::Stands)]
    #[case("not only chest pain", Standing::Stands)]
    #[case("not sure if I have chest pain", Standing::Stands)]
    #[case("the chest pain is gone", Standing::Over)]
    #[case("the chest pain went away but came back", Standing::Stands)]
    #[case("chest pain is not gone", Standing::Stands)]
    #[case("what should I do if I get chest pain", Standing::Hypothetical)]
    #[case("my neighbor had chest pain", Standing::OtherPerson)]
    #[case("my mom has chest pain", Standing::Stands)]
    fn phrases_stand_or_fall(#[case] text: &str, #[case] expected: Standing) {
        let mut lexicon = Lexicon::new();
        lexicon.add("chest pain", 0).unwrap();
        let found = words(text);
        let phrase = lexicon.find(&found)[0];
        assert_eq!(READER.negation.standing(&found, phrase, true), expected);
    }
}
