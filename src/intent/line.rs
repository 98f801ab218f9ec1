//! `classify`: one JSON line in, one JSON line out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::label::{Context, Intent, Sentiment};
use super::{Question, read};
use crate::kernel::Language;

/// Why a line cannot be classified. Never repeats the line: it holds a patient's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// Not a JSON object with an `id` and a string `text`.
    #[error("line {line}, column {column}: expected an object {{\"id\", \"context\", \"text\"}}", line = .line, column = .column)]
    Malformed {
        /// Line within the given text, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The reading could not be written as JSON.
    #[error("the reading could not be written as JSON")]
    Unwritable,
}

#[derive(Deserialize)]
struct Input {
    id: Value,
    #[serde(default)]
    context: Option<Context>,
    text: String,
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a Value,
    lang: Language,
    intents: &'a [Intent],
    sentiment: Sentiment,
    urgency: &'static str,
}

/// Reads `{"id","context","text"}` and answers `{"id","lang","intents","sentiment","urgency"}`.
///
/// An unknown or missing context counts as `none`. No times are known here, so an answer to an offer is read as a
/// choice without saying which.
///
/// # Errors
/// [`LineError::Malformed`] where the line is not such an object.
pub fn classify_line(json: &str) -> Result<String, LineError> {
    let input: Input = serde_json::from_str(json)
        .map_err(|error| LineError::Malformed { line: error.line(), column: error.column() })?;
    // Without a list, days are not held against anything, so any date will do.
    let question = Question { context: input.context.unwrap_or_default(), ..Question::none(jiff::civil::Date::ZERO) };
    let reading = read(&input.text, &question, Language::English, false);
    let output = Output {
        id: &input.id,
        lang: reading.language,
        intents: &reading.intents,
        sentiment: reading.sentiment,
        urgency: reading.urgency.label(),
    };
    serde_json::to_string(&output).map_err(|_| LineError::Unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_answered_with_its_id() {
        let line = classify_line(r#"{"id":7,"context":"appointment_reminder","text":"C but my chest hurts"}"#).unwrap();
        assert_eq!(
            line,
            r#"{"id":7,"lang":"en","intents":["confirm","clinical_concern"],"sentiment":"neutral","urgency":"emergency"}"#
        );
    }

    #[test]
    fn unknown_contexts_count_as_none() {
        let line = classify_line(r#"{"id":"a","context":"marketing","text":"cancel"}"#).unwrap();
        assert!(line.contains(r#""intents":["opt_out"]"#), "{line}");
        assert!(classify_line(r#"{"id":"a","text":"gracias"}"#).unwrap().contains(r#""thanks_smalltalk""#));
    }

    #[test]
    fn malformed_lines_are_refused_without_repeating_them() {
        let error = classify_line(r#"{"id":1,"text":["secret"]}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
