//! The documents of `smart-launch/registrations/`, as far as they are held against the program.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

pub(super) const LAUNCH: &str = "clinician-launch";
pub(super) const BACKEND: &str = "backend-service";

#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) guide: String,
    pub(super) placeholders: BTreeMap<String, String>,
    pub(super) sources: BTreeMap<String, String>,
    pub(super) apps: Vec<App>,
}

#[derive(Deserialize)]
pub(super) struct App {
    #[serde(rename = "use")]
    pub(super) kind: String,
    pub(super) settings_registration: String,
    pub(super) client_metadata: ClientMetadata,
    pub(super) launch_url: Option<String>,
    pub(super) launch_url_of_one_practice: Option<String>,
    pub(super) scope_version: String,
    pub(super) scopes: Vec<AskedScope>,
    pub(super) not_asked: Vec<ScopeNotAsked>,
    pub(super) vendor_form: Vec<FormField>,
}

/// As RFC 7591 names it.
#[derive(Deserialize)]
pub(super) struct ClientMetadata {
    pub(super) redirect_uris: Vec<String>,
    pub(super) grant_types: Vec<String>,
    pub(super) token_endpoint_auth_method: String,
    pub(super) token_endpoint_auth_signing_alg: Option<String>,
    pub(super) jwks_uri: Option<String>,
    pub(super) scope: String,
}

#[derive(Deserialize)]
pub(super) struct AskedScope {
    pub(super) v2: String,
    pub(super) v1: Vec<String>,
    pub(super) feature: String,
    pub(super) reason: String,
    pub(super) without: String,
}

#[derive(Deserialize)]
pub(super) struct ScopeNotAsked {
    pub(super) scope: String,
    pub(super) reason: String,
    pub(super) instead: String,
}

#[derive(Deserialize)]
pub(super) struct FormField {
    pub(super) field: String,
    pub(super) certainty: String,
    pub(super) source: Option<String>,
}

impl App {
    pub(super) fn is_launch(&self) -> bool {
        match self.kind.as_str() {
            LAUNCH => true,
            BACKEND => false,
            other => panic!("{other} is no kind of app"),
        }
    }

    pub(super) fn asked(&self) -> BTreeSet<&str> {
        self.scopes.iter().map(|asked| asked.v2.as_str()).collect()
    }

    /// What the client is registered with, in the spelling that the document chose.
    pub(super) fn registered(&self) -> BTreeSet<&str> {
        self.client_metadata.scope.split(' ').collect()
    }
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("smart-launch")
}

pub(super) fn registration_text(ehr: &str) -> String {
    fs::read_to_string(folder().join("registrations").join(format!("{ehr}.json"))).unwrap()
}

pub(super) fn document(ehr: &str) -> Document {
    serde_json::from_str(&registration_text(ehr)).unwrap_or_else(|error| panic!("{ehr}: {error}"))
}

pub(super) fn guide(document: &Document) -> String {
    fs::read_to_string(folder().join("registrations").join(&document.guide)).unwrap()
}
