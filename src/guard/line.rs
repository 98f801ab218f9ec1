//! `guard`: one JSON line in, one JSON line out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chart::{ChartTerm, ChartTermKind};
use super::{Category, Finding, check};

/// Why a line cannot be checked. Never repeats the line: it may hold PHI.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// Not a JSON object with an `id` and a string `text`.
    #[error("line {line}, column {column}: expected an object {{\"id\", \"text\"[, \"chart_terms\"]}}")]
    Malformed {
        /// Line within the given text, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The verdict could not be written as JSON.
    #[error("the verdict could not be written as JSON")]
    Unwritable,
}

#[derive(Deserialize)]
struct Input {
    id: Value,
    text: String,
    #[serde(default)]
    chart_terms: Option<Vec<Term>>,
}

/// A bare name, or a name that says what it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Term {
    Bare(String),
    Kinded { kind: Kind, name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Medication,
    Condition,
}

impl From<Term> for ChartTerm {
    fn from(term: Term) -> Self {
        match term {
            Term::Kinded { kind: Kind::Medication, name } => Self::medication(name),
            Term::Kinded { kind: Kind::Condition, name } => Self::condition(name),
            Term::Bare(name) => {
                let names_medicine = |finding: &Finding| finding.category == Category::MedicationName;
                let medicine = check(&name, &[]).findings.iter().any(names_medicine);
                let kind = if medicine { ChartTermKind::Medication } else { ChartTermKind::Condition };
                Self { kind, name: name.into() }
            }
        }
    }
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a Value,
    allowed: bool,
    findings: Vec<Finding>,
}

/// Checks `{"id","text"[,"chart_terms":[…]]}` and answers `{"id","allowed","findings":[{"category","start","end","advice"}]}`.
///
/// A chart term is a name, or `{"kind":"medication"|"condition","name"}`. Offsets are bytes of UTF-8.
///
/// # Errors
/// [`LineError::Malformed`] where the line is not such an object.
pub fn guard_line(json: &str) -> Result<String, LineError> {
    let input: Input = serde_json::from_str(json)
        .map_err(|error| LineError::Malformed { line: error.line(), column: error.column() })?;
    let terms: Vec<ChartTerm> = input.chart_terms.unwrap_or_default().into_iter().map(ChartTerm::from).collect();
    let verdict = check(&input.text, &terms);
    let output = Output { id: &input.id, allowed: verdict.allowed, findings: verdict.findings };
    serde_json::to_string(&output).map_err(|_| LineError::Unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_answered_with_its_id() {
        let line = guard_line(r#"{"id":"a","text":"Your visit is Friday at 10."}"#).unwrap();
        assert_eq!(line, r#"{"id":"a","allowed":true,"findings":[]}"#);
        let line: Value = serde_json::from_str(&guard_line(r#"{"id":2,"text":"Your A1c is 7.2"}"#).unwrap()).unwrap();
        assert_eq!(line["findings"][0]["category"], "lab_value");
        assert_eq!((line["findings"][0]["start"].as_u64(), line["findings"][0]["end"].as_u64()), (Some(5), Some(8)));
        assert!(line["findings"][0]["advice"].as_str().is_some_and(|advice| !advice.is_empty()));
    }

    #[test]
    fn chart_terms_come_with_or_without_a_kind() {
        let line = r#"{"id":1,"text":"Xolvimax and the Blount are on file","chart_terms":["Xolvimax 5 mg",{"kind":"condition","name":"Blount"}]}"#;
        let line: Value = serde_json::from_str(&guard_line(line).unwrap()).unwrap();
        assert_eq!(line["findings"][0]["category"], "medication_name");
        assert_eq!(line["findings"][1]["category"], "diagnosis");
    }

    #[test]
    fn malformed_lines_are_refused_without_repeating_them() {
        let error = guard_line(r#"{"id":1,"text":{"secret":1}}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
