//! One TOML file, read whole, checked all at once.
//!
//! Owns the settings' types, their file format, logging, traces and the metrics recorder. Called by the composition root at
//! start, and by `check`. Always: there are settings only if nothing is wrong; every mistake is named with its key and
//! its fix; secrets come from the environment or files of their own, never from this file; nothing here repeats a
//! value.

pub mod logging;
pub mod metrics;
mod mistake;
mod overrides;
mod read_ehr;
mod read_service;
mod read_tenant;
mod reader;
mod secret;
mod settings;
mod surroundings;
#[cfg(feature = "otel")]
pub mod traces;
mod value;

#[cfg(test)]
mod tests;

pub use mistake::{ConfigError, Mistake};
pub use secret::Secret;
pub use settings::{
    AuditSettings, CarrierSettings, ClientAuthentication, DatabaseSettings, EhrSettings, JobSettings, LogFormat,
    LogSettings, MfaAttestation, MfaSettings, Policies, Registration, RoleRule, ServerSettings, Settings,
    SigningAlgorithm, TenantSettings, TraceSettings, TwilioApiKey, TwilioSettings,
};
pub use surroundings::{ProcessSurroundings, Surroundings};

use read_tenant::Taken;
use reader::{Reader, Section};
use std::{collections::BTreeSet, path::Path};
use toml::Table;
use value::Wrong;

impl Settings {
    /// Reads the file at `path`, lays the environment's overrides over it and resolves its secrets.
    ///
    /// # Errors
    /// [`ConfigError`]: unreadable, not TOML, or every mistake in it.
    pub fn load(path: &Path, surroundings: &dyn Surroundings) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), kind: error.kind() })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self::parse(&text, &folder, surroundings)
    }

    /// The same from text; relative paths in it start at `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] and [`ConfigError::Mistakes`].
    pub fn parse(text: &str, folder: &Path, surroundings: &dyn Surroundings) -> Result<Self, ConfigError> {
        read(text, folder, surroundings).0
    }
}

/// The settings, and every key that was asked for.
fn read(
    text: &str,
    folder: &Path,
    surroundings: &dyn Surroundings,
) -> (Result<Settings, ConfigError>, BTreeSet<String>) {
    let mut table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => return (Err(syntax(text, &error)), BTreeSet::new()),
    };
    let (origins, mistakes) = overrides::apply(&mut table, surroundings);
    let reader = Reader::new(surroundings, folder, origins, mistakes);
    let settings = sections(&reader.root(&table), folder);
    let (mut mistakes, asked) = reader.finish();
    let result = match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => {
            mistakes.sort_by(|one, other| one.key.cmp(&other.key));
            Err(ConfigError::Mistakes(mistakes))
        }
    };
    (result, asked)
}

fn sections(root: &Section<'_, '_>, folder: &Path) -> Option<Settings> {
    let server = read_service::server(&root.section("server"));
    let database = read_service::database(&root.section("database"), folder);
    let jobs = read_service::jobs(&root.section("jobs"));
    let log = read_service::log(&root.section("log"));
    let traces = root.section_if_there("traces", read_service::traces);
    let audit = read_service::audit(&root.section("audit"));
    let registrations = read_service::registrations(root.sections("registrations"));
    let sections = root.sections("tenants");
    if sections.is_empty() {
        root.report("tenants", Wrong::new("there is no practice to serve", "write [[tenants]] with its keys"));
    }
    let mut taken = Taken::default();
    let tenants: Vec<_> =
        sections.iter().map(|section| read_tenant::tenant(section, &registrations, &mut taken)).collect();
    read_ehr::check_shared(&sections, &tenants);
    Some(Settings {
        server: server?,
        database: database?,
        jobs: jobs?,
        log: log?,
        traces: traces?,
        audit: audit?,
        registrations: registrations.into_iter().collect::<Option<_>>()?,
        tenants: tenants.into_iter().collect::<Option<_>>()?,
    })
}

/// Where the text stops being TOML. The line itself may hold a secret and is left out.
fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ConfigError::Syntax { line, column, problem: error.message().to_owned() }
}
