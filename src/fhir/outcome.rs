//! `OperationOutcome` without PHI: severity, code, detail codes and element paths. `diagnostics` and every `text` are left
//! where they are, because servers repeat names and values in them.

use serde::Deserialize;
use std::fmt;

/// One issue of an `OperationOutcome` (<https://hl7.org/fhir/R4/operationoutcome.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// `fatal`, `error`, `warning` or `information`.
    pub severity: String,
    /// A code of the issue-type value set, such as `conflict` or `throttled`.
    pub code: String,
    /// The codes of `details.coding`, such as a vendor's error number.
    pub details: Vec<String>,
    /// The elements concerned, from `expression` (or the older `location`).
    pub elements: Vec<String>,
}

/// The issues of an answer; none when it had no `OperationOutcome`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issues(Vec<Issue>);

/// Issues beyond this many are dropped: the first ones tell.
const MAX_ISSUES: usize = 16;
/// Codes and element paths per issue beyond this many are dropped.
const MAX_PER_ISSUE: usize = 8;

impl Issues {
    /// Reads an `OperationOutcome`; anything else gives none.
    #[must_use]
    pub fn from_json(body: &[u8]) -> Self {
        let Ok(wire) = serde_json::from_slice::<WireOutcome>(body) else {
            return Self::default();
        };
        if wire.resource_type != "OperationOutcome" {
            return Self::default();
        }
        Self(wire.issue.iter().take(MAX_ISSUES).filter_map(issue).collect())
    }

    /// The issues, in the server's order.
    #[must_use]
    pub fn as_slice(&self) -> &[Issue] {
        &self.0
    }

    /// Whether any issue, or any of its detail codes, has this code.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.0.iter().any(|issue| issue.code == code || issue.details.iter().any(|detail| detail == code))
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no details");
        }
        for (index, issue) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", issue.severity, issue.code)?;
            for detail in &issue.details {
                write!(f, " {detail}")?;
            }
            if !issue.elements.is_empty() {
                write!(f, " at {}", issue.elements.join(", "))?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct WireOutcome {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    issue: Vec<serde_json::Value>,
}

/// A lenient reading: what does not have the expected shape is left out, so that the status still reaches the caller.
fn issue(value: &serde_json::Value) -> Option<Issue> {
    let code = value.get("code").and_then(as_code)?;
    let severity = value.get("severity").and_then(as_code).unwrap_or_default();
    let details = value.pointer("/details/coding").and_then(serde_json::Value::as_array);
    let details = details
        .into_iter()
        .flatten()
        .filter_map(|coding| coding.get("code").and_then(as_code))
        .take(MAX_PER_ISSUE)
        .collect();
    let elements = value.get("expression").or_else(|| value.get("location")).and_then(serde_json::Value::as_array);
    let elements = elements.into_iter().flatten().filter_map(as_element_path).take(MAX_PER_ISSUE).collect();
    Some(Issue { severity, code, details, elements })
}

/// A code as codes are: short, without spaces. Servers that put prose there are not repeated.
fn as_code(value: &serde_json::Value) -> Option<String> {
    let text = value.as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    (!text.is_empty() && text.len() <= 64 && text.chars().all(plain)).then(|| text.to_owned())
}

/// An element path such as `Patient.name[0].family`; paths with filter expressions may quote values and are cut there.
fn as_element_path(value: &serde_json::Value) -> Option<String> {
    let text = value.as_str()?;
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '_');
    let path: String = text.chars().take_while(plain).take(128).collect();
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kept_and_texts_are_not() {
        let issues = Issues::from_json(
            br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"conflict","diagnostics":"Ana Lopez, born 1980",
                "details":{"text":"Ana Lopez","coding":[{"code":"59133","display":"Ana Lopez"},{"code":"Ana Lopez"}]},
                "expression":["Patient.name.where(text='Ana Lopez')"]}, {"severity":"error"}, 7]}"#,
        );
        assert_eq!(issues.to_string(), "error conflict 59133 at Patient.name.where");
        assert!(!format!("{issues:?}").contains("Ana"));
        assert!(issues.has_code("59133"));
    }

    #[test]
    fn what_is_no_outcome_gives_none() {
        for body in [&b"<html>"[..], b"", br#"{"resourceType":"Patient"}"#, br#"{"issue":[]}"#] {
            assert_eq!(Issues::from_json(body), Issues::default());
        }
    }
}
