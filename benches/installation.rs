//! A practice as an operator would set it up: a configuration file, and secrets in files of their own.

use crate::settings_file::SettingsFile;
use anyhow::Result;
use chartwire::{
    config::{ProcessSurroundings, Settings},
    kernel::SystemEntropy,
    smart::{SigningAlgorithm, SigningKey},
    vault::Kek,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

pub(crate) const SLUG: &str = "riverside";
/// The number that texts come from and go to.
pub(crate) const CLINIC: &str = "+12125550199";
/// What the carrier signs its webhooks with.
pub(crate) const AUTH_TOKEN: &str = "a-token-that-only-benchmarks-know";
/// How the carrier knows the service; webhooks are signed over it.
pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1/";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// Automated texts leave around the clock, so that a benchmark may run at any hour.
const POLICIES: &str = r#"texts_before_verification = true
texts_at_any_hour = true

[tenants.texting_hours]
opens = "00:00"
closes = "00:00""#;

pub(crate) struct Installation {
    folder: TempDir,
}

/// What the practice stands on and beside.
pub(crate) struct Beside<'a> {
    pub(crate) database: &'a str,
    pub(crate) ehr: &'a str,
    pub(crate) carrier: &'a str,
}

impl Installation {
    pub(crate) fn new(beside: &Beside<'_>) -> Result<Self> {
        let installation = Self { folder: tempfile::tempdir()? };
        installation.write("database", beside.database)?;
        installation.write("kek", &Kek::generate(&SystemEntropy).to_base64())?;
        installation.write("token", AUTH_TOKEN)?;
        installation.write("key.pem", &SigningKey::generate_pem(SigningAlgorithm::Es384)?)?;
        installation.write("chartwire.toml", &configuration(beside))?;
        Ok(installation)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("chartwire.toml")
    }

    pub(crate) fn settings(&self) -> Result<Settings> {
        Ok(Settings::load(&self.file(), &ProcessSurroundings)?)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join(name), text)?)
    }
}

fn configuration(beside: &Beside<'_>) -> String {
    SettingsFile {
        slug: SLUG,
        text_name: "Riverside Clinic",
        public_url: PUBLIC_URL,
        database: "{ file = \"database\" }",
        signing_key: "{ file = \"key.pem\" }",
        key_encryption_key: "{ file = \"kek\" }",
        auth_token: "{ file = \"token\" }",
        number: CLINIC,
        answers_keywords: "chartwire",
        reminders: &[3, 1],
        policies: POLICIES,
        fhir_base: beside.ehr,
        ehr: "",
        roles: "",
        account: ACCOUNT,
        api_base: beside.carrier,
    }
    .text()
}
