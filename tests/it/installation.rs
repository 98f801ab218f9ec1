//! A folder as an operator would set it up: a configuration file, secrets in files of their own, a SQLite database.

use crate::settings_file::SettingsFile;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chartwire::{
    app::command_line::{self, CommandLine, Ended, Streams},
    config::{ProcessSurroundings, Settings},
    kernel::{Instruments, ManualClock, SystemEntropy},
    vault::Kek,
};
use clap::Parser as _;
use std::{fs, sync::Arc};
use tempfile::TempDir;

pub(crate) const SLUG: &str = "elm-street";

pub(crate) struct Installation {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) instruments: Instruments,
}

/// What a command wrote, and how it ended.
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Where the practice's peers are.
pub(crate) struct Peers<'a> {
    pub(crate) ehr: &'a str,
    pub(crate) carrier: &'a str,
}

impl Installation {
    /// One whose peers cannot be reached.
    pub(crate) fn new() -> Self {
        Self::beside(&Peers { ehr: "http://127.0.0.1:1/fhir", carrier: "http://127.0.0.1:1/" })
    }

    pub(crate) fn beside(peers: &Peers<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-23T17:00:00Z".parse().unwrap()));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let installation = Self { folder, clock, instruments };
        installation.write("kek", &Kek::generate(&SystemEntropy).to_base64());
        installation.write("token", "a-token-that-only-tests-know-0123");
        installation.write("key.pem", &signing_key());
        installation.write("chartwire.toml", &configuration(peers));
        installation
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Exchanges a part of the configuration.
    pub(crate) fn edit(&self, part: &str, replacement: &str) {
        let path = self.folder.path().join("chartwire.toml");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(part), "the configuration has no {part}");
        self.write("chartwire.toml", &text.replacen(part, replacement, 1));
    }

    pub(crate) fn settings(&self) -> Settings {
        let path = self.folder.path().join("chartwire.toml");
        Settings::load(&path, &ProcessSurroundings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a command that needs no settings.
    pub(crate) async fn run_alone(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let command_line = CommandLine::try_parse_from(["chartwire"].iter().chain(arguments)).unwrap();
        let (mut input, mut out, mut err) = (input, Vec::new(), Vec::new());
        let streams = Streams { input: &mut input, out: &mut out, err: &mut err };
        let ended = command_line::run(command_line, streams, &self.instruments).await;
        Ran { ended, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
    }

    /// Runs a command with this installation's settings.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let config = self.folder.path().join("chartwire.toml");
        let config = ["--config", config.to_str().unwrap()];
        self.run_alone(&[arguments, &config].concat(), b"").await
    }
}

/// A fresh P-384 key in PEM form (PKCS #8).
fn signing_key() -> String {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let body = STANDARD.encode(key.to_pkcs8v1().unwrap().as_ref());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn configuration(Peers { ehr, carrier }: &Peers<'_>) -> String {
    SettingsFile {
        slug: SLUG,
        text_name: "Elm Street Clinic",
        public_url: "http://127.0.0.1/",
        database: "\"sqlite:chartwire.db\"",
        signing_key: "{ file = \"key.pem\" }",
        key_encryption_key: "{ file = \"kek\" }",
        auth_token: "{ file = \"token\" }",
        number: "+12125550199",
        answers_keywords: "chartwire",
        reminders: &[3],
        policies: "",
        fhir_base: ehr,
        ehr: "",
        roles: "",
        account: "AC0123456789abcdef0123456789abcdef",
        api_base: carrier,
    }
    .text()
}
