//! What is wrong with a configuration, said so that it can be mended without reading the source.

use std::{fmt, path::PathBuf};

/// One mistake: where it is, what is wrong and what to write instead. Never repeats the value, which may be a secret
/// in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key's path, such as `tenants[0].ehr.fhir_base`.
    pub key: String,
    /// The environment variable that set it, when it was not the file.
    pub variable: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(variable) = &self.variable {
            write!(f, " (set by {variable})")?;
        }
        write!(f, ": {}; {}", self.problem, self.fix)
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read ({kind}); name another with --config or CHARTWIRE_CONFIG", path.display())]
    Unreadable {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// It is not TOML, so no key of it could be looked at.
    #[error("the configuration is not valid TOML at line {line}, column {column}: {problem}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser expected. The line itself is left out: it may hold a secret.
        problem: String,
    },
    /// It was read to the end, and these are all the mistakes in it.
    #[error("{}", list(.0))]
    Mistakes(Vec<Mistake>),
}

fn list(mistakes: &[Mistake]) -> String {
    let count = mistakes.len();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    mistakes
        .iter()
        .fold(format!("the configuration has {count} {noun}:"), |text, mistake| format!("{text}\n  {mistake}"))
}
