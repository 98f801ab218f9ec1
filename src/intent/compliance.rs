//! STOP, START, HELP and their fixed synonyms: final when they are the whole text.
//!
//! Called first for every reply, and by whoever must decide on a keyword without a conversation at hand.

use super::label::Compliance;
use super::lexicon::READER;
use crate::kernel::words::{Word, WordKind, words};

/// The keyword that `text` is, as a whole; `None` when it says anything else.
///
/// Case, accents, width, outer punctuation and emoji do not matter, nor does repetition ("STOP STOP") or spacing
/// ("S T O P"). `YES` is not among them: it starts texts only on a number that is stopped (see [`super::read`]).
#[must_use]
pub fn compliance_keyword(text: &str) -> Option<Compliance> {
    keyword(&words(text), false)
}

/// As [`compliance_keyword`], over words, with what counts on a stopped number.
pub(super) fn keyword(found: &[Word], number_is_stopped: bool) -> Option<Compliance> {
    let body = whole_body(found)?;
    let known = &READER.compliance;
    if known.opt_out.contains(&body) {
        Some(Compliance::OptOut)
    } else if known.opt_in.contains(&body) || (number_is_stopped && known.opt_in_when_stopped.contains(&body)) {
        Some(Compliance::OptIn)
    } else if known.help.contains(&body) {
        Some(Compliance::Help)
    } else {
        None
    }
}

/// The most words that a keyword text can have, repetition and spelled-out letters included.
const MOST_WORDS: usize = 12;

/// The text as one folded string, without emoji; `None` when it is too long to be a keyword.
pub(super) fn whole_body(found: &[Word]) -> Option<String> {
    let spoken: Vec<&str> =
        found.iter().filter(|word| word.kind != WordKind::Symbol).map(|word| word.text.as_str()).collect();
    let first = spoken.first()?;
    if spoken.len() > MOST_WORDS {
        return None;
    }
    if spoken.iter().all(|word| word == first) {
        return Some((*first).to_owned());
    }
    let spelled_out = spoken.len() > 2 && spoken.iter().all(|word| word.chars().count() == 1);
    Some(spoken.join(if spelled_out { "" } else { " " }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    fn every_synonym_ends_texts(
        #[values(
            "STOP",
            "stop",
            "Stop.",
            " stop\n",
            "“STOP”",
            "STOP!!!",
            "stop 🛑",
            "*STOP*",
            "S T O P",
            "S.T.O.P.",
            "STOP STOP",
            "STOPALL",
            "Stop all",
            "UNSUBSCRIBE",
            "cancel",
            "END",
            "quit",
            "Revoke",
            "OPTOUT",
            "opt out",
            "OPT-OUT",
            "remove",
            "arrêt",
            "TD",
            "alto",
            "PARAR",
            "baja",
            "Cancelar mensajes"
        )]
        text: &str,
    ) {
        assert_eq!(compliance_keyword(text), Some(Compliance::OptOut));
    }

    #[rstest]
    #[case("ＳＴＯＰ", Some(Compliance::OptOut))]
    #[case("START", Some(Compliance::OptIn))]
    #[case("unstop", Some(Compliance::OptIn))]
    #[case("help", Some(Compliance::Help))]
    #[case("Info?", Some(Compliance::Help))]
    #[case("AYUDA", Some(Compliance::Help))]
    #[case("YES", None)]
    #[case("STOP 12345", None)]
    #[case("STOP this pain", None)]
    #[case("stop taking the med?", None)]
    #[case("cancel my appointment", None)]
    #[case("help me", None)]
    #[case("🛑", None)]
    #[case("", None)]
    #[case("c c c", None)]
    fn other_texts_are_what_they_are(#[case] text: &str, #[case] expected: Option<Compliance>) {
        assert_eq!(compliance_keyword(text), expected);
    }

    #[test]
    fn yes_starts_texts_only_on_a_stopped_number() {
        assert_eq!(keyword(&words("Yes"), true), Some(Compliance::OptIn));
        assert_eq!(keyword(&words("Yes"), false), None);
    }
}
