//! `classify` and `guard`: JSON lines in, JSON lines out.

use super::{CommandError, Ended, Streams};
use crate::{guard, intent};

pub(super) fn classify(streams: &mut Streams<'_>) -> Result<Ended, CommandError> {
    answer_each(streams, |line| {
        intent::classify_line(line).map_err(|error| match error {
            intent::LineError::Malformed { column, .. } => malformed(column, r#"{"id", "context", "text"}"#),
            intent::LineError::Unwritable => error.to_string(),
        })
    })
}

pub(super) fn guard(streams: &mut Streams<'_>) -> Result<Ended, CommandError> {
    answer_each(streams, |line| {
        guard::guard_line(line).map_err(|error| match error {
            guard::LineError::Malformed { column, .. } => malformed(column, r#"{"id", "text"[, "chart_terms"]}"#),
            guard::LineError::Unwritable => error.to_string(),
        })
    })
}

fn malformed(column: usize, shape: &str) -> String {
    format!("column {column}: expected an object {shape}")
}

/// Answers every line that is not empty. One that cannot be answered is named on standard error, without its words, and
/// the rest is answered all the same.
fn answer_each(
    streams: &mut Streams<'_>,
    answer: impl Fn(&str) -> Result<String, String>,
) -> Result<Ended, CommandError> {
    let (mut number, mut bad) = (0_u64, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        if streams.input.read_until(b'\n', &mut line).map_err(CommandError::Input)? == 0 {
            return Ok(if bad == 0 { Ended::Well } else { Ended::FoundWrong });
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answered = match str::from_utf8(line.trim_ascii()) {
            Ok(text) => answer(text),
            Err(_) => Err("this is not UTF-8".to_owned()),
        };
        match answered {
            Ok(answered) => writeln!(streams.out, "{answered}")?,
            Err(why) => {
                bad += 1;
                writeln!(streams.err, "line {number}: {why}")?;
            }
        }
    }
}
