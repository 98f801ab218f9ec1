//! Where in a resource a parse failed: the path of the element, told without the value.

use super::error::ParseFaultKind;
use std::fmt::Write as _;

/// What kind of departure a serde error stands for. Its text repeats values, so only its beginning is looked at.
pub(super) fn kind_of(error: &serde_json::Error) -> ParseFaultKind {
    if !error.is_data() {
        return ParseFaultKind::Syntax;
    }
    let text = error.to_string();
    let begins = |prefix: &str| text.starts_with(prefix);
    if begins("missing field") {
        ParseFaultKind::Missing
    } else if begins("invalid type") {
        ParseFaultKind::WrongType
    } else if begins("duplicate field") {
        ParseFaultKind::Duplicate
    } else {
        ParseFaultKind::BadValue
    }
}

/// The path of the element in `json` at which `error` was raised, such as `telecom[0].system`.
pub(super) fn path_of(json: &str, error: &serde_json::Error) -> String {
    let line_start: usize =
        json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).fold(0, usize::saturating_add);
    let end = line_start.saturating_add(error.column()).min(json.len());
    let mut walk = Walk::default();
    for byte in json.as_bytes().iter().take(end) {
        walk.step(*byte);
    }
    walk.path()
}

/// One open object (with the key last read) or array (with the index reached).
enum Frame {
    Object { key: String },
    Array { index: usize },
}

/// A reading of JSON that knows no more than where it is.
#[derive(Default)]
struct Walk {
    frames: Vec<Frame>,
    /// Inside a string: its text so far, cut at [`MAX_NAME`].
    string: Option<String>,
    escaped: bool,
    /// The last string that ended; a key when a colon follows.
    last: String,
}

/// FHIR element names are shorter than this; a longer key is no element name and is not repeated.
const MAX_NAME: usize = 40;

impl Walk {
    fn step(&mut self, byte: u8) {
        if let Some(text) = &mut self.string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.last = self.string.take().unwrap_or_default(),
                _ if text.len() <= MAX_NAME => text.push(char::from(byte)),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.string = Some(String::new()),
            b'{' => self.frames.push(Frame::Object { key: String::new() }),
            b'[' => self.frames.push(Frame::Array { index: 0 }),
            b'}' | b']' => {
                self.frames.pop();
            }
            b':' => {
                if let Some(Frame::Object { key }) = self.frames.last_mut() {
                    *key = std::mem::take(&mut self.last);
                }
            }
            b',' => {
                if let Some(Frame::Array { index }) = self.frames.last_mut() {
                    *index = index.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match frame {
                Frame::Object { key } if key.is_empty() => {}
                Frame::Object { key } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(if is_element_name(key) { key } else { "?" });
                }
                Frame::Array { index } => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }
}

fn is_element_name(key: &str) -> bool {
    key.len() < MAX_NAME && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the shape matters")]
    struct Shape {
        telecom: Vec<Telecom>,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the shape matters")]
    struct Telecom {
        system: System,
        rank: Option<u32>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum System {
        Phone,
    }

    fn fault(json: &str) -> (String, ParseFaultKind) {
        let error = serde_json::from_str::<Shape>(json).unwrap_err();
        (path_of(json, &error), kind_of(&error))
    }

    #[test]
    fn the_element_is_named_and_the_value_is_not() {
        let json = "{\n \"telecom\": [{\"system\": \"phone\"},\n {\"system\": \"Ana \\\" Lopez\"}]}";
        assert_eq!(fault(json), ("telecom[1].system".to_owned(), ParseFaultKind::BadValue));
        let json = r#"{"telecom":[{"system":"phone","rank":"Ana"}]}"#;
        assert_eq!(fault(json), ("telecom[0].rank".to_owned(), ParseFaultKind::WrongType));
        assert_eq!(fault(r#"{"telecom":[{}]}"#), ("telecom[0]".to_owned(), ParseFaultKind::Missing));
        assert_eq!(fault("{}"), (String::new(), ParseFaultKind::Missing));
    }

    #[test]
    fn keys_that_are_no_element_names_are_not_repeated() {
        let json = r#"{"Ana Lopez": [1, {"b": x}]}"#;
        let error = serde_json::from_str::<serde_json::Value>(json).unwrap_err();
        assert_eq!(path_of(json, &error), "?[1].b");
    }
}
