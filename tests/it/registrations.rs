//! What `smart-launch/` tells EHRs and their analysts holds: its paths are the service's, its scopes are those that the
//! service asks for and reads, and its settings are read.

mod document;

use self::document::{
    App, AskedScope, BACKEND, FormField, LAUNCH, ScopeNotAsked, document, folder, guide, registration_text,
};
use chartwire::{
    config::{ClientAuthentication, Registration, Settings, Surroundings, TenantSettings},
    http::smart::{CALLBACK_PATH, JWKS_PATH, LAUNCH_OF_TENANT_PATH, LAUNCH_PATH},
    kernel::SeededEntropy,
    smart::{GrantedScopes, ResourceScope, ScopeLevel, SigningAlgorithm, SigningKey},
    vault::Kek,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use zeroize::Zeroizing;

/// The EHRs that there are documents for; of the first, any server, all is asked that is asked by default.
const EHRS: [&str; 4] = ["generic", "athenahealth", "epic", "oracle-health"];
/// What every URL of ours begins with.
const HOST: &str = "https://{host}";
/// Scopes that are not over resources.
const WORDS: [&str; 3] = ["openid", "fhirUser", "launch"];
/// How sure a field of a vendor's form is.
const CERTAINTIES: [&str; 3] = ["fact", "second-hand", "to-verify"];
/// What the settings in the guides stand beside.
const PRACTICE: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "https://texts.example.org"

[database]
url = "sqlite:chartwire.db"

[audit]
head_folder = "heads"

[[tenants]]
slug = "elm-street"
name = "Elm Street Family Medicine"
text_name = "Elm Street Clinic"
zone = "America/New_York"
languages = ["en"]
phone = "+12125550100"
frame_ancestors = ["https://ehr.example.org"]
key_encryption_keys = [{ env = "KEK" }]
reminders = [{ days_before = 1, at = "10:00" }]
numbers = [{ number = "+12125550123", answers_keywords = "carrier" }]

[tenants.carrier]
provider = "twilio"
account_sid = "AC00000000000000000000000000000000"
auth_token = { env = "TOKEN" }

"#;

/// A registration alone, with which the scopes are the defaults.
const REGISTRATION: &str = r#"
[[registrations]]
name = "ehr"
client_id = "chartwire"
authentication = "private_key_jwt"
algorithm = "ES384"
signing_key = { file = "secrets/ehr.pem" }
"#;

static ES384: LazyLock<String> =
    LazyLock::new(|| SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap().as_str().to_owned());
static RS384: LazyLock<String> =
    LazyLock::new(|| SigningKey::generate_pem(SigningAlgorithm::Rs384).unwrap().as_str().to_owned());

/// Every text in a document, however deep.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(members) => members.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The words in braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word)
}

/// Whether a URL of ours, with its placeholders, is one that the service answers.
fn is_answered(url: &str) -> bool {
    let path = url.strip_prefix(HOST).unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    [LAUNCH_PATH, LAUNCH_OF_TENANT_PATH, CALLBACK_PATH, JWKS_PATH].contains(&path)
}

fn ours(path: &str) -> String {
    format!("{HOST}{path}")
}

fn union<'a>(scopes: impl IntoIterator<Item = &'a str>) -> GrantedScopes {
    GrantedScopes::parse(&scopes.into_iter().collect::<Vec<_>>().join(" "))
}

fn covers(granted: &GrantedScopes, scope: &str) -> bool {
    let Some(asked) = ResourceScope::parse(scope) else { return granted.has(scope) };
    let name = asked.resource_type.unwrap_or_else(|| panic!("{scope} is over all types"));
    asked.interactions.iter().all(|interaction| granted.allows(&name, *interaction))
}

fn is_read(scope: &str, level: ScopeLevel) -> bool {
    ResourceScope::parse(scope).map_or_else(|| WORDS.contains(&scope), |parsed| parsed.level == level)
}

/// The settings in a text: each block that is marked as TOML.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line.trim() {
            "```toml" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            _ if inside => {
                let block = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

/// Keys of the one algorithm, and what else the settings refer to.
struct Given(&'static str);

impl Given {
    fn for_block(block: &str) -> Self {
        Self(if block.contains("\"ES384\"") { ES384.as_str() } else { RS384.as_str() })
    }
}

impl Surroundings for Given {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        match name {
            "KEK" => Some(Kek::generate(&SeededEntropy::new(5)).to_base64()),
            "TOKEN" => Some(Zeroizing::new("a-token-that-only-tests-know-0123".to_owned())),
            _ => None,
        }
    }

    fn overrides(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        if path.extension().is_some_and(|extension| extension == "pem") {
            Ok(Zeroizing::new(self.0.as_bytes().to_vec()))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// The settings of a practice with this block; one that has registrations only gets an EHR that refers to the first.
fn settings(block: &str, whose: &str) -> Settings {
    let mut text = format!("{PRACTICE}{block}");
    if !block.contains("[tenants.ehr]") {
        let name = block.lines().find_map(|line| line.trim().strip_prefix("name = "));
        let name = name.unwrap_or_else(|| panic!("{whose}: no registration has a name"));
        let ehr = format!(
            r#"
[tenants.ehr]
fhir_base = "https://ehr.example.org/fhir/r4"
launch_registration = {name}
backend_registration = {name}
roles = [{{ system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "nurse", roles = ["nurse"] }}]
"#
        );
        text.push_str(&ehr);
    }
    Settings::parse(&text, Path::new("/etc/chartwire"), &Given::for_block(block))
        .unwrap_or_else(|error| panic!("{whose}: {error}"))
}

/// What an app is in a practice's settings.
fn configured<'a>(tenant: &'a TenantSettings, app: &App) -> (&'a Registration, BTreeSet<&'a str>) {
    let (registration, scopes) = if app.is_launch() {
        (&tenant.ehr.launch, &tenant.ehr.launch_scopes)
    } else {
        (&tenant.ehr.backend, &tenant.ehr.backend_scopes)
    };
    (registration.as_ref(), scopes.iter().map(String::as_str).collect())
}

#[test]
fn there_is_a_document_and_a_guide_for_each_ehr() {
    let names = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let expected: BTreeSet<String> = EHRS.map(str::to_owned).into();
    assert_eq!(names(folder().join("registrations")), expected);
    assert_eq!(names(folder().join("guides")), expected);
    let overview = fs::read_to_string(folder().join("README.md")).unwrap();
    for ehr in EHRS {
        let document = document(ehr);
        assert_eq!(document.guide, format!("../guides/{ehr}.md"));
        assert!(guide(&document).contains(&format!("registrations/{ehr}.json")), "{ehr}: the guide names no document");
        for link in [format!("registrations/{ehr}.json"), format!("guides/{ehr}.md")] {
            assert!(overview.contains(&format!("({link})")), "README.md does not link {link}");
        }
        let kinds: Vec<&str> = document.apps.iter().map(|app| app.kind.as_str()).collect();
        assert_eq!(kinds, [LAUNCH, BACKEND], "{ehr}");
    }
}

#[test]
fn every_url_is_one_that_the_service_answers() {
    for ehr in EHRS {
        let document = document(ehr);
        for app in &document.apps {
            let metadata = &app.client_metadata;
            let callback = app.is_launch().then(|| ours(CALLBACK_PATH));
            assert_eq!(metadata.redirect_uris, callback.into_iter().collect::<Vec<_>>(), "{ehr}");
            let grant = if app.is_launch() { "authorization_code" } else { "client_credentials" };
            assert_eq!(metadata.grant_types, [grant], "{ehr}");
            let signs = metadata.token_endpoint_auth_method == "private_key_jwt";
            assert_eq!(metadata.jwks_uri, signs.then(|| ours(JWKS_PATH)), "{ehr}");
            let launched_at = [ours(LAUNCH_PATH), ours(LAUNCH_OF_TENANT_PATH)];
            assert!(app.launch_url.as_ref().is_none_or(|url| launched_at.contains(url)), "{ehr}");
            assert_eq!(app.launch_url.is_some(), app.is_launch(), "{ehr}");
            let of_one = app.is_launch().then(|| ours(LAUNCH_OF_TENANT_PATH));
            assert_eq!(app.launch_url_of_one_practice, of_one, "{ehr}");
        }
        let value: Value = serde_json::from_str(&registration_text(ehr)).unwrap();
        let mut all = Vec::new();
        texts(&value, &mut all);
        for url in all.iter().filter(|text| text.starts_with(HOST)) {
            assert!(is_answered(url), "{ehr}: nothing answers {url}");
        }
        let used: BTreeSet<&str> = all.iter().flat_map(|text| placeholders(text)).collect();
        let explained: BTreeSet<&str> = document.placeholders.keys().map(String::as_str).collect();
        assert_eq!(used, explained, "{ehr}: placeholders that are used, and those that are explained");
        assert!(document.placeholders.values().all(|meaning| !meaning.is_empty()), "{ehr}");
    }
}

#[test]
fn the_guides_name_no_other_urls_of_ours() {
    let guides = EHRS.map(|ehr| guide(&document(ehr)));
    let overview = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut seen = 0;
    for text in guides.iter().chain([&overview]) {
        for url in text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with(HOST)) {
            assert!(is_answered(url), "nothing answers {url}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} URLs are named");
}

#[test]
fn every_scope_is_read_in_both_spellings_and_has_its_reason() {
    for ehr in EHRS {
        for app in document(ehr).apps {
            let level = if app.is_launch() { ScopeLevel::User } else { ScopeLevel::System };
            let mut chosen: BTreeSet<&str> = BTreeSet::new();
            for asked in &app.scopes {
                let AskedScope { v2, v1, feature, reason, without } = asked;
                assert!(is_read(v2, level), "{ehr}: {v2} is no scope of this app");
                assert!(v1.iter().all(|scope| is_read(scope, level)), "{ehr}: {v1:?} are no scopes of this app");
                assert!(covers(&union(v1.iter().map(String::as_str)), v2), "{ehr}: {v1:?} is less than {v2}");
                assert!(![feature, reason, without].iter().any(|text| text.is_empty()), "{ehr}: {v2} is not explained");
                match app.scope_version.as_str() {
                    "v1" => chosen.extend(v1.iter().map(String::as_str)),
                    "v2" => chosen.extend([v2.as_str()]),
                    other => panic!("{ehr}: there is no version {other}"),
                }
            }
            assert_eq!(chosen, app.registered(), "{ehr}: explained, and registered");
            let granted = union(app.asked());
            for ScopeNotAsked { scope, reason, instead } in &app.not_asked {
                assert!(is_read(scope, level), "{ehr}: {scope} is no scope of this app");
                assert!(!covers(&granted, scope), "{ehr}: {scope} is asked for");
                assert!(!reason.is_empty() && !instead.is_empty(), "{ehr}: {scope} is not explained");
            }
        }
    }
}

#[test]
fn what_the_service_asks_for_by_default_is_asked_for_or_explained() {
    let defaults = settings(REGISTRATION, "the defaults");
    let tenant = defaults.tenants.first().unwrap();
    for ehr in EHRS {
        for app in document(ehr).apps {
            let (_, default) = configured(tenant, &app);
            if ehr == EHRS[0] {
                assert_eq!(app.asked(), default, "{ehr}");
            }
            let explained = app.not_asked.iter().map(|not_asked| not_asked.scope.as_str());
            let known = union(app.asked().into_iter().chain(explained));
            for scope in &default {
                assert!(covers(&known, scope), "{ehr}: {scope} is neither asked for nor explained");
            }
            let default = union(default);
            for scope in app.asked() {
                assert!(covers(&default, scope), "{ehr}: the service does not ask for {scope} by default");
            }
        }
    }
}

#[test]
fn the_settings_in_the_guides_are_read_and_are_those_of_the_documents() {
    for ehr in EHRS {
        let document = document(ehr);
        let blocks = blocks(&guide(&document));
        let whole: Vec<&String> = blocks.iter().filter(|block| block.contains("[tenants.ehr]")).collect();
        let [block] = whole.as_slice() else { panic!("{ehr}: {} blocks have an EHR", whole.len()) };
        let settings = settings(block, ehr);
        let tenant = settings.tenants.first().unwrap();
        for app in &document.apps {
            let metadata = &app.client_metadata;
            let (registration, scopes) = configured(tenant, app);
            assert_eq!(registration.name, app.settings_registration, "{ehr}");
            assert_eq!(scopes, app.registered(), "{ehr}: set, and registered");
            let (method, algorithm) = match &registration.authentication {
                ClientAuthentication::Public => ("none", None),
                ClientAuthentication::PrivateKeyJwt { algorithm, .. } => {
                    ("private_key_jwt", Some(format!("{algorithm:?}").to_uppercase()))
                }
            };
            assert_eq!(metadata.token_endpoint_auth_method, method, "{ehr}");
            assert_eq!(metadata.token_endpoint_auth_signing_alg, algorithm, "{ehr}");
        }
    }
}

#[test]
fn every_block_of_settings_is_read() {
    let overview = fs::read_to_string(folder().join("README.md")).unwrap();
    let texts = EHRS.map(|ehr| (ehr, guide(&document(ehr))));
    let texts = texts.into_iter().chain([("README.md", overview)]);
    let mut seen = 0;
    for (whose, text) in texts {
        for block in blocks(&text) {
            settings(&block, whose);
            seen += 1;
        }
    }
    assert!(seen > EHRS.len(), "only {seen} blocks");
}

#[test]
fn what_a_vendors_form_is_said_to_ask_has_its_certainty_and_its_source() {
    for ehr in EHRS {
        let document = document(ehr);
        for FormField { field, certainty, source } in document.apps.iter().flat_map(|app| &app.vendor_form) {
            assert!(CERTAINTIES.contains(&certainty.as_str()), "{ehr}: {field} is {certainty}");
            assert!(certainty != "fact" || source.is_some(), "{ehr}: {field} is a fact without a source");
            let known = source.as_ref().is_none_or(|source| document.sources.contains_key(source));
            assert!(known, "{ehr}: the source of {field} is not listed");
        }
    }
}
