//! The words that the carrier itself acts on (Twilio's default opt-out handling).
//!
//! Pure. A word counts only when it is the whole text, in any case: "Stop please" is an ordinary text.

/// What a keyword asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    /// No more texts from this number.
    Stop,
    /// Texts from this number again.
    Start,
    /// Who is texting, and how to stop it.
    Help,
}

const STOP: [&str; 8] = ["STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"];
const START: [&str; 2] = ["START", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];

impl Keyword {
    /// Reads a whole text; `stopped` says whether its sender has stopped the number that it was sent to, for only
    /// then is YES a keyword.
    pub(super) fn read(text: &str, stopped: bool) -> Option<Self> {
        let word = text.trim().to_uppercase();
        match word.as_str() {
            word if STOP.contains(&word) => Some(Self::Stop),
            word if START.contains(&word) => Some(Self::Start),
            "YES" if stopped => Some(Self::Start),
            word if HELP.contains(&word) => Some(Self::Help),
            _ => None,
        }
    }

    /// The value of the webhook's `OptOutType`.
    pub(super) const fn opt_out_type(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Start => "START",
            Self::Help => "HELP",
        }
    }

    /// What the carrier texts back.
    pub(super) const fn confirmation(self) -> &'static str {
        match self {
            Self::Stop => {
                "You have successfully been unsubscribed. You will not receive any more messages from this number. Reply START to resubscribe."
            }
            Self::Start => {
                "You have successfully been re-subscribed to messages from this number. Reply HELP for help. Reply STOP to unsubscribe. Msg&Data Rates May Apply."
            }
            Self::Help => "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("stop", false, Some(Keyword::Stop))]
    #[case(" StopAll\n", false, Some(Keyword::Stop))]
    #[case("cancel", false, Some(Keyword::Stop))]
    #[case("Stop please", false, None)]
    #[case("STOP.", false, None)]
    #[case("unstop", false, Some(Keyword::Start))]
    #[case("yes", false, None)]
    #[case("yes", true, Some(Keyword::Start))]
    #[case("Info", false, Some(Keyword::Help))]
    #[case("", true, None)]
    fn only_a_whole_text_is_a_keyword(#[case] text: &str, #[case] stopped: bool, #[case] expected: Option<Keyword>) {
        assert_eq!(Keyword::read(text, stopped), expected);
    }
}
