//! The words that Twilio's default opt-out handling acts on.
//!
//! Pure. A word counts only when it is the whole text, in any case: "Stop please" is an ordinary text. The parameter
//! `OptOutType` says the same, but only where Advanced Opt-Out is switched on, and never in the message list.

use crate::messaging::carrier_port::OptOutType;

const STOP: [&str; 8] = ["STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"];
const START: [&str; 3] = ["START", "UNSTOP", "YES"];
const HELP: [&str; 2] = ["HELP", "INFO"];

/// The keyword that the whole text is to Twilio.
pub(super) fn keyword(text: &str) -> Option<OptOutType> {
    let word = text.trim().to_uppercase();
    [(STOP.as_slice(), OptOutType::Stop), (START.as_slice(), OptOutType::Start), (HELP.as_slice(), OptOutType::Help)]
        .into_iter()
        .find_map(|(words, keyword)| words.contains(&word.as_str()).then_some(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(" StopAll\n", Some(OptOutType::Stop))]
    #[case("cancel", Some(OptOutType::Stop))]
    #[case("unstop", Some(OptOutType::Start))]
    #[case("Info", Some(OptOutType::Help))]
    #[case("Stop please", None)]
    #[case("STOP.", None)]
    #[case("alto", None)]
    #[case("", None)]
    fn only_a_whole_text_is_a_keyword(#[case] text: &str, #[case] expected: Option<OptOutType>) {
        assert_eq!(keyword(text), expected);
    }
}
