//! Phone reactions: `Liked “…”`, `👍 to “…”`, `Le encantó “…”`.
//!
//! What stands in the quotes is our own text, often with our own STOP in it: it is never read as the patient's.

use super::lexicon::READER;
use crate::kernel::words::words;

/// A reaction to one of our texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reaction<'a> {
    /// Liked, loved, a thumb up; otherwise any other mood, or a reaction taken back.
    pub(super) approves: bool,
    /// What the patient wrote after the quoted text; usually empty.
    pub(super) rest: &'a str,
}

/// The reaction that `text` is, if it is one. A quote cut off by the phone may lack its closing mark.
pub(super) fn reaction(text: &str) -> Option<Reaction<'_>> {
    let (head, quoted) = text.split_once(['“', '"', '«', '„', '”'])?;
    let spoken = words(head);
    let approving = &READER.reactions.approving;
    let other = &READER.reactions.other;
    let whole = |found: Vec<crate::kernel::phrase::PhraseMatch>| {
        found.iter().any(|found| found.first == 0 && found.end == spoken.len())
    };
    let approves = whole(approving.find(&spoken));
    if !approves && !whole(other.find(&spoken)) {
        return None;
    }
    let rest = quoted.rsplit_once(['”', '"', '»', '“']).map_or("", |(_, rest)| rest);
    Some(Reaction { approves, rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Liked “Oak Clinic: Reply C to confirm. STOP to end texts.”", Some(true))]
    #[case("Loved \"Oak Clinic: Reply C. STOP to end texts.\"", Some(true))]
    #[case("Liked “Oak Clinic: Hi Ana, you have a vis…", Some(true))]
    #[case("👍 to “Oak Clinic: STOP to end texts.”", Some(true))]
    #[case("Reacted ❤️ to “STOP”", Some(true))]
    #[case("Le gustó “STOP para no recibir mensajes.”", Some(true))]
    #[case("Reaccionó con 👍🏽 a “STOP para no recibir mensajes.”", Some(true))]
    #[case("Disliked “STOP to end texts.”", Some(false))]
    #[case("Removed a like from “STOP to end texts.”", Some(false))]
    #[case("Reacted 😮 to “STOP to end texts.”", Some(false))]
    #[case("I liked “the doctor”", None)]
    #[case("STOP", None)]
    #[case("\"STOP\"", None)]
    fn reactions_are_told_from_texts(#[case] text: &str, #[case] approves: Option<bool>) {
        assert_eq!(reaction(text).map(|found| found.approves), approves);
    }

    #[test]
    fn what_follows_the_quote_is_the_patients() {
        assert_eq!(reaction("Liked “STOP to end” my chest hurts").map(|found| found.rest), Some(" my chest hurts"));
    }
}
