//! The example in the docs is the one that is read here, and every mistake in it is made once.

mod keys;

use super::{read, *};
use aws_lc_rs::{
    encoding::AsDer as _,
    rsa,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rstest::rstest;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, LazyLock},
};
use toml::Value;
use zeroize::Zeroizing;

const EXAMPLE: &str = include_str!("../../docs/chartwire.example.toml");
static EC_KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    pem(pair.to_pkcs8v1().unwrap().as_ref())
});
static RSA_KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem(der.as_ref())
});
const KEK: [&str; 3] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
    "AgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICE=",
];

fn pem(pkcs8: &[u8]) -> String {
    let lines = STANDARD
        .encode(pkcs8)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap() + "\n")
        .collect::<String>();
    format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n")
}

/// An environment and a file system of the test's own.
struct Fixed {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
}

impl Fixed {
    fn new() -> Self {
        let variables = [
            ("ELM_BACKEND_KEY", &**RSA_KEY),
            ("ELM_TWILIO_TOKEN", "token-1"),
            ("ELM_TWILIO_TOKEN_2", "token-2"),
            ("ELM_TWILIO_KEY", "key"),
        ];
        let files = [
            ("elm-launch.pem", &**EC_KEY),
            ("elm-launch-next.pem", &**EC_KEY),
            ("elm-street.kek", KEK[0]),
            ("elm-street-old.kek", KEK[1]),
            ("oak-lane.kek", KEK[2]),
            ("oak-twilio-token", "token-3\n"),
        ];
        Self {
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            files: files.map(|(name, text)| (Path::new("/etc/chartwire/secrets").join(name), text.to_owned())).into(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn parse(&self, text: &str) -> Result<Settings, ConfigError> {
        Settings::parse(text, Path::new("/etc/chartwire"), self)
    }

    fn mistakes(&self, text: &str) -> Vec<Mistake> {
        match self.parse(text) {
            Err(ConfigError::Mistakes(mistakes)) => mistakes,
            other => panic!("expected mistakes, got {other:?}"),
        }
    }
}

impl Surroundings for Fixed {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        self.variables.get(name).cloned().map(Zeroizing::new)
    }

    fn overrides(&self) -> Vec<(String, String)> {
        self.variables.clone().into_iter().filter(|(name, _)| name.starts_with("CHARTWIRE__")).collect()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let text = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Zeroizing::new(text.clone().into_bytes()))
    }
}

/// The example with one line exchanged.
fn edited(line: &str, replacement: &str) -> String {
    assert!(EXAMPLE.contains(line), "the example has no line {line}");
    EXAMPLE.replacen(line, replacement, 1)
}

#[test]
fn the_example_is_read() {
    let settings = Fixed::new().parse(EXAMPLE).unwrap();
    assert_eq!(settings.server.public_url.as_str(), "https://texts.example.org/");
    assert_eq!(settings.database.url.reveal(), "sqlite:/etc/chartwire/chartwire.db");
    assert_eq!(settings.audit.head_folder, Path::new("/etc/chartwire/audit/heads"));
    let [elm, oak] = settings.tenants.as_slice() else { panic!("two tenants") };
    assert_eq!(elm.ehr.fhir_base.as_str(), "https://ehr.example.org/fhir/r4/");
    assert_eq!(elm.ehr.launch_issuers, ["https://ehr.example.org/fhir/r4"]);
    assert_eq!(elm.ehr.organization.as_deref(), Some("Organization/elm-street"));
    assert_eq!(elm.ehr.locations, ["Location/elm-street"]);
    assert_eq!(oak.ehr.organization, None);
    assert!(Arc::ptr_eq(&elm.ehr.backend, &oak.ehr.backend));
    assert_eq!(oak.ehr.id_token_issuers, ["https://oak.example.org/api/FHIR/R4"]);
    assert_eq!(oak.policies, Policies::default());
    assert_eq!(oak.reminders.len(), 1);
    let CarrierSettings::Twilio(twilio) = &oak.carrier;
    assert_eq!(twilio.auth_token.reveal(), "token-3");
    assert_eq!(twilio.api_base.as_str(), "https://api.twilio.com/");
}

#[test]
fn every_key_stands_in_the_example() {
    let (result, asked) = read(EXAMPLE, Path::new("/etc/chartwire"), &Fixed::new());
    result.unwrap();
    let mut present = BTreeSet::new();
    collect(&Value::Table(toml::from_str(EXAMPLE).unwrap()), "", &mut present);
    let missing: Vec<_> = asked.difference(&present).collect();
    assert!(missing.is_empty(), "undocumented: {missing:?}");
}

/// What the example says to be the default is the default.
#[test]
fn what_the_example_calls_default_is_what_leaving_out_gives() {
    let mut shorter: Table = toml::from_str(EXAMPLE).unwrap();
    let elm = shorter["tenants"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
    for key in ["poll_seconds", "session_idle_minutes", "texting_hours", "policies"] {
        elm.remove(key).unwrap();
    }
    let ehr = elm["ehr"].as_table_mut().unwrap();
    for key in ["launch_issuers", "launch_scopes", "backend_scopes"] {
        ehr.remove(key).unwrap();
    }
    elm["carrier"].as_table_mut().unwrap().remove("api_base").unwrap();
    let server = shorter["server"].as_table_mut().unwrap();
    server.retain(|key, _| ["listen", "public_url", "trusted_proxies"].contains(&key));
    shorter.remove("log").unwrap();
    let whole = Fixed::new().parse(EXAMPLE).unwrap();
    let short = Fixed::new().parse(&toml::to_string(&shorter).unwrap()).unwrap();
    assert_eq!(format!("{whole:?}"), format!("{short:?}"));
}

fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys.insert(path.clone());
                collect(value, &path, keys);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, &format!("{path}[]"), keys)),
        _ => {}
    }
}

#[rstest]
#[case::unknown_key("poll_seconds = 120", "pol_seconds = 120", "tenants[0].pol_seconds", "did you mean poll_seconds?")]
#[case::scope("confirm_stop = false", "stop_scope = \"category\"", "tenants[0].policies.stop_scope", "here stand")]
#[case::amounts(
    "confirm_stop = false",
    "amounts_in_texts = true",
    "tenants[0].policies.amounts_in_texts",
    "here stand"
)]
#[case::detail(
    "confirm_stop = false",
    "clinical_detail_after_acceptance = true",
    "tenants[0].policies.clinical_detail_after_acceptance",
    "here stand confirm_stop, first_name_in_texts, opt_out_wording, texts_at_any_hour, texts_before_verification"
)]
#[case::wrong_type("poll_seconds = 120", "poll_seconds = \"often\"", "tenants[0].poll_seconds", "whole number from 5")]
#[case::out_of_range("session_idle_minutes = 5", "session_idle_minutes = 60", "tenants[0].session_idle_minutes", "10")]
#[case::missing("zone = \"America/New_York\"", "", "tenants[0].zone", "time zone")]
#[case::bad_zone("zone = \"America/New_York\"", "zone = \"New York\"", "tenants[0].zone", "IANA")]
#[case::bad_phone("phone = \"+12125550100\"", "phone = \"12\"", "tenants[0].phone", "country code")]
#[case::bad_url(
    "public_url = \"https://texts.example.org\"",
    "public_url = \"texts\"",
    "server.public_url",
    "https://"
)]
#[case::http("fhir_base = \"https://ehr", "fhir_base = \"http://ehr", "tenants[0].ehr.fhir_base", "use https")]
#[case::inline_secret("{ env = \"ELM_TWILIO_TOKEN\" }", "\"canary\"", "tenants[0].carrier.auth_token", "{ env =")]
#[case::unset_variable("\"ELM_TWILIO_TOKEN\"", "\"NOWHERE\"", "tenants[0].carrier.auth_token", "set it")]
#[case::absent_file("secrets/elm-street.kek", "secrets/none", "tenants[0].key_encryption_keys[0]", "check the path")]
#[case::shared_key("oak-lane.kek", "elm-street.kek", "tenants[1].key_encryption_keys[0]", "keys generate")]
#[case::key_of_another_kind("algorithm = \"ES384\"", "algorithm = \"RS384\"", "registrations[0].signing_key", "RSA")]
#[case::client_secret(
    "authentication = \"public\"",
    "authentication = \"client_secret_basic\"",
    "registrations[2].authentication",
    "private_key_jwt"
)]
#[case::unused_key(
    "authentication = \"public\"",
    "authentication = \"public\"\nalgorithm = \"ES384\"",
    "registrations[2].algorithm",
    "take it out"
)]
#[case::same_slug("slug = \"oak-lane\"", "slug = \"elm-street\"", "tenants[1].slug", "a slug of its own")]
#[case::same_number("+13035550123", "+12125550123", "tenants[1].numbers[0].number", "one tenant")]
#[case::no_such_registration(
    "\"elm-backend\"\n# What the",
    "\"elm\"\n# What the",
    "tenants[0].ehr.backend_registration",
    "elm-launch"
)]
#[case::backend_without_key(
    "\"elm-backend\"\n# What the",
    "\"oak-launch\"\n# What the",
    "tenants[0].ehr.backend_registration",
    "signing key"
)]
#[case::no_such_role("roles = [\"provider\"]", "roles = [\"boss\"]", "tenants[0].ehr.roles[1].roles[0]", "scheduler")]
#[case::wide_scope("\"system/Location.rs\"", "\"user/Location.r\"", "tenants[0].ehr.backend_scopes[4]", "system/")]
#[case::no_reference(
    "\"Organization/elm-street\"",
    "\"elm-street\"",
    "tenants[0].ehr.organization",
    "Organization/123"
)]
#[case::no_location(
    "[\"Location/elm-street\"]",
    "[\"Organization/elm-street\"]",
    "tenants[0].ehr.locations[0]",
    "Location/123"
)]
#[case::shared_and_not_said_whose(
    "https://oak.example.org/api/FHIR/R4",
    "https://ehr.example.org/fhir/r4/",
    "tenants[1].ehr.organization",
    "neither texts the other's patients"
)]
#[case::no_id(
    "\"Organization/elm-street\"",
    "\"Organization/elm street\"",
    "tenants[0].ehr.organization",
    "Organization/123"
)]
#[case::unlawful_hours("closes = \"20:00\"", "closes = \"22:00\"", "tenants[0].texting_hours", "texts_at_any_hour")]
#[case::late_reminder("at = \"10:00\"", "at = \"20:00\"", "tenants[0].reminders", "within")]
#[case::password_in_file("sqlite:chartwire.db", "postgres://u:canary@h/d", "database.url", "{ env =")]
#[case::volatile_database("sqlite:chartwire.db", "sqlite::memory:", "database.url", "name a file")]
#[case::not_a_section("[log]", "log = 1\n[other]", "log", "table")]
fn a_mistake_is_named_with_its_key_and_its_fix(
    #[case] line: &str,
    #[case] replacement: &str,
    #[case] key: &str,
    #[case] fix: &str,
) {
    let text =
        if key == "log" { format!("log = 1\n{}", edited("[log]", "[other]")) } else { edited(line, replacement) };
    let mistakes = Fixed::new().mistakes(&text);
    let found = mistakes.iter().find(|mistake| mistake.key == key);
    let found = found.unwrap_or_else(|| panic!("no mistake for {key} in {mistakes:?}"));
    assert!(found.fix.contains(fix), "{found}");
    assert!(!ConfigError::Mistakes(mistakes).to_string().contains("canary"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    insta::assert_snapshot!(Fixed::new().parse("[[registrations]]\n[[tenants]]\nzones = 1").unwrap_err(), @r#"
    the configuration has 25 mistakes:
      audit.head_folder: this is missing; name a folder outside the database: "audit/heads"
      database.url: this is missing; write "sqlite:chartwire.db", or "postgres://host/database", or refer to it as a secret
      registrations[0].authentication: this is missing; write "private_key_jwt", unless the EHR cannot
      registrations[0].client_id: this is missing; write the client id that the EHR gave
      registrations[0].name: this is missing; give it a name that tenants refer to: "epic"
      server.listen: this is missing; write an address and a port: "127.0.0.1:8080"
      server.public_url: this is missing; write how the service is reached: "https://texts.example.org"
      tenants[0].carrier.account_sid: this is missing; copy it from Twilio's console: AC and 32 digits
      tenants[0].carrier.auth_token: this is missing; refer to the account's auth token: { env = "NAME" } or { file = "path" }
      tenants[0].carrier.provider: this is missing; write "twilio"
      tenants[0].ehr.backend_registration: this is missing; write the name of one of the [[registrations]]
      tenants[0].ehr.fhir_base: this is missing; write the FHIR R4 base URL: "https://ehr.example.org/fhir/r4"
      tenants[0].ehr.launch_registration: this is missing; write the name of one of the [[registrations]]
      tenants[0].ehr.roles: nobody would have a role; write [[tenants.ehr.roles]] with system, code and roles
      tenants[0].frame_ancestors: one is needed at least; write the EHR's origin: ["https://ehr.example.org"]
      tenants[0].key_encryption_keys: one is needed at least; make one with `chartwire keys generate` and refer to it: [{ file = "path" }]
      tenants[0].languages: one is needed at least; write ["en", "es"]
      tenants[0].name: this is missing; write the practice's name
      tenants[0].numbers: there is no number to text from; write [[tenants.numbers]] with number and answers_keywords
      tenants[0].phone: this is missing; write the number that patients call: "+12125550100"
      tenants[0].reminders: no reminder would ever leave; write [[tenants.reminders]] with days_before and at
      tenants[0].slug: this is missing; write the practice's short name for URLs: "elm-street"
      tenants[0].text_name: this is missing; write the name that texts begin with; it must not tell the specialty
      tenants[0].zone: this is missing; write the practice's time zone: "America/New_York"
      tenants[0].zones: there is no such key; did you mean zone?
    "#);
}

#[test]
fn mistakes_of_several_tenants_are_reported_together() {
    let text = edited("slug = \"oak-lane\"\nname", "slug = \"elm-street\"\nnames")
        .replacen("America/Denver", "Mars/Base", 1)
        .replacen("\"America/New_York\"", "7", 1);
    let keys: Vec<String> = Fixed::new().mistakes(&text).into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(keys, ["tenants[0].zone", "tenants[1].name", "tenants[1].names", "tenants[1].slug", "tenants[1].zone"]);
}

#[test]
fn tenants_on_one_ehr_have_each_a_part_of_its_own() {
    let with = |locations: &str| {
        let base = format!("fhir_base = \"https://ehr.example.org/fhir/r4\"\nlocations = [\"{locations}\"]");
        edited("fhir_base = \"https://oak.example.org/api/FHIR/R4\"", &base)
    };
    assert!(Fixed::new().parse(&with("Location/oak-lane")).is_ok());
    let keys: Vec<String> =
        Fixed::new().mistakes(&with("Location/elm-street")).into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["tenants[1].ehr.locations"]);
}

#[test]
fn the_environment_overrides_the_file() {
    let surroundings = Fixed::new()
        .with("CHARTWIRE__SERVER__LISTEN", "0.0.0.0:9000")
        .with("CHARTWIRE__SERVER__SHUTDOWN_GRACE_SECONDS", "60")
        .with("CHARTWIRE__TENANTS__1__POLICIES__CONFIRM_STOP", "true")
        .with("CHARTWIRE__TENANTS__0__LANGUAGES", "[\"es\"]")
        .with("DATABASE", "postgres://chartwire:canary@db/chartwire")
        .with("CHARTWIRE__DATABASE__URL", "{ env = \"DATABASE\" }");
    let settings = surroundings.parse(EXAMPLE).unwrap();
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(settings.server.shutdown_grace.as_secs(), 60);
    assert!(settings.tenants[1].policies.confirm_stop);
    assert_eq!(settings.tenants[0].languages, [crate::kernel::Language::Spanish]);
    assert!(settings.database.url.reveal().contains("canary"));
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn a_mistake_from_the_environment_names_its_variable() {
    let mistakes = Fixed::new()
        .with("CHARTWIRE__SERVER__LISTEN", "here")
        .with("CHARTWIRE__SERVER__LISTENS", "127.0.0.1:1")
        .with("CHARTWIRE__TENANTS__7__ZONE", "America/Chicago")
        .with("CHARTWIRE__TENANTS__0__CARRIER__AUTH_TOKEN", "canary")
        .mistakes(EXAMPLE);
    let named: Vec<(&str, &str)> =
        mistakes.iter().map(|mistake| (mistake.key.as_str(), mistake.variable.as_deref().unwrap())).collect();
    assert_eq!(
        named,
        [
            ("server.listen", "CHARTWIRE__SERVER__LISTEN"),
            ("server.listens", "CHARTWIRE__SERVER__LISTENS"),
            ("tenants.7.zone", "CHARTWIRE__TENANTS__7__ZONE"),
            ("tenants[0].carrier.auth_token", "CHARTWIRE__TENANTS__0__CARRIER__AUTH_TOKEN"),
        ]
    );
}

#[test]
fn http_to_this_machine_is_allowed() {
    let text = edited("fhir_base = \"https://ehr.example.org", "fhir_base = \"http://127.0.0.1:9090");
    assert!(Fixed::new().parse(&text).is_ok());
}

#[test]
fn what_is_not_toml_is_placed_without_being_repeated() {
    let error = Fixed::new().parse("[server]\nlisten = canary\n").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { line: 2, .. }), "{error:?}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn a_credential_is_taken_from_the_folder_that_systemd_names() {
    let text = edited("{ env = \"ELM_TWILIO_TOKEN\" }", "{ credential = \"oak-twilio-token\" }");
    let settings = Fixed::new().with("CREDENTIALS_DIRECTORY", "/etc/chartwire/secrets").parse(&text).unwrap();
    let CarrierSettings::Twilio(twilio) = &settings.tenants[0].carrier;
    assert_eq!(twilio.auth_token.reveal(), "token-3");
    assert_eq!(Fixed::new().mistakes(&text).len(), 1);
}
