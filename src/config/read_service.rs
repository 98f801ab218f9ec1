//! Reads the sections that concern the whole service, and the registrations.

use super::{
    reader::{Section, Stands},
    secret::Secret,
    settings::{
        AuditSettings, ClientAuthentication, DatabaseSettings, JobSettings, LogFormat, LogSettings, Registration,
        ServerSettings, SigningAlgorithm, TraceSettings,
    },
    value::{self, Parsed, Wrong},
};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use toml::Value;
use url::Url;

pub(super) fn server(section: &Section<'_, '_>) -> Option<ServerSettings> {
    let listen = section.required("listen", "write an address and a port: \"127.0.0.1:8080\"", socket_address);
    let public_url =
        section.required("public_url", "write how the service is reached: \"https://texts.example.org\"", base_url);
    let trusted_proxies = section.list("trusted_proxies", value::address);
    let request_body_limit = section.or("request_body_limit", 1 << 20, value::integer(1 << 16..=1 << 24));
    let requests_at_once = section.or("requests_at_once", 512, value::integer(16..=1 << 16));
    let shutdown_grace = section.or("shutdown_grace_seconds", 30, value::integer(1..=300));
    Some(ServerSettings {
        listen: listen?,
        public_url: public_url?,
        trusted_proxies: trusted_proxies?,
        request_body_limit: usize::try_from(request_body_limit?).ok()?,
        requests_at_once: usize::try_from(requests_at_once?).ok()?,
        shutdown_grace: seconds(shutdown_grace?),
    })
}

pub(super) fn database(section: &Section<'_, '_>, folder: &Path) -> Option<DatabaseSettings> {
    const FIX: &str = "write \"sqlite:chartwire.db\", or \"postgres://host/database\", or refer to it as a secret";
    let (url, stands) = section.text_or_secret("url", FIX)?;
    match database_url(&url, stands, folder) {
        Ok(url) => Some(DatabaseSettings { url }),
        Err(wrong) => {
            section.report("url", wrong);
            None
        }
    }
}

fn database_url(url: &Secret, stands: Stands, folder: &Path) -> Parsed<Secret> {
    let text = url.reveal();
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(":memory:") {
            return Err(Wrong::new(
                "this SQLite database would be lost at the end",
                "name a file: \"sqlite:chartwire.db\"",
            ));
        }
        return Ok(Secret::new(format!("sqlite:{}", folder.join(path).display())));
    }
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let Some(parsed) = parsed else {
        return Err(Wrong::new("this is no database URL", "begin it with sqlite: or postgres://"));
    };
    if stands == Stands::InTheFile && parsed.password().is_some() {
        return Err(Wrong::new(
            "a password stands in this file",
            "move the whole URL to the environment or a file of its own: { env = \"NAME\" } or { file = \"path\" }",
        ));
    }
    Ok(url.clone())
}

pub(super) fn jobs(section: &Section<'_, '_>) -> Option<JobSettings> {
    let lease = section.or("lease_seconds", 120, value::integer(15..=600));
    Some(JobSettings { lease: seconds(lease?) })
}

pub(super) fn log(section: &Section<'_, '_>) -> Option<LogSettings> {
    let format =
        section.or("format", LogFormat::Json, value::one_of(&[("json", LogFormat::Json), ("text", LogFormat::Text)]));
    let level = section.or(
        "level",
        tracing::Level::INFO,
        value::one_of(&[
            ("error", tracing::Level::ERROR),
            ("warn", tracing::Level::WARN),
            ("info", tracing::Level::INFO),
            ("debug", tracing::Level::DEBUG),
            ("trace", tracing::Level::TRACE),
        ]),
    );
    Some(LogSettings { format: format?, level: level? })
}

pub(super) fn traces(section: &Section<'_, '_>) -> Option<TraceSettings> {
    const FIX: &str = "write the base URL of an OpenTelemetry collector: \"http://127.0.0.1:4318\"";
    let collector = section.required("collector", FIX, collector);
    let percent = section.or("percent", 100, value::integer(1..=100));
    if cfg!(not(feature = "otel")) {
        section.report(
            "collector",
            Wrong::new("this build makes no traces", "build it with the feature \"otel\", or leave the section out"),
        );
        return None;
    }
    Some(TraceSettings { collector: collector?, percent: u8::try_from(percent?).ok()? })
}

pub(super) fn audit(section: &Section<'_, '_>) -> Option<AuditSettings> {
    let head_folder = section.path("head_folder", "name a folder outside the database: \"audit/heads\"");
    Some(AuditSettings { head_folder: head_folder? })
}

/// All registrations; names that occur twice are reported.
pub(super) fn registrations(sections: Vec<Section<'_, '_>>) -> Vec<Option<Arc<Registration>>> {
    let mut names = Vec::new();
    let mut registrations = Vec::new();
    for section in sections {
        let registration = registration(&section);
        if let Some(registration) = &registration {
            if names.contains(&registration.name) {
                section.report("name", Wrong::new("another registration has this name", "give each a name of its own"));
            }
            names.push(registration.name.clone());
        }
        registrations.push(registration.map(Arc::new));
    }
    registrations
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    PrivateKeyJwt,
    Public,
}

fn method(value: &Value) -> Parsed<Method> {
    if value.as_str() == Some("client_secret_basic") {
        return Err(Wrong::new(
            "client_secret_basic is not supported",
            "register the client with a public key and write \"private_key_jwt\", or, for launches only, as a public client and write \"public\"",
        ));
    }
    value::one_of(&[("private_key_jwt", Method::PrivateKeyJwt), ("public", Method::Public)])(value)
}

fn registration(section: &Section<'_, '_>) -> Option<Registration> {
    let name = section.required("name", "give it a name that tenants refer to: \"epic\"", value::slug);
    let client_id = section.required("client_id", "write the client id that the EHR gave", value::text);
    let method = section.required("authentication", "write \"private_key_jwt\", unless the EHR cannot", method);
    let algorithm = section.optional(
        "algorithm",
        value::one_of(&[("ES384", SigningAlgorithm::Es384), ("RS384", SigningAlgorithm::Rs384)]),
    );
    let signing_key = section.optional_secret("signing_key");
    let also_published_keys = section.optional_secrets("also_published_keys");
    let (name, client_id, method) = (name?, client_id?, method?);
    let (algorithm, signing_key, published) = (algorithm?, signing_key?, also_published_keys?);
    let keys = Keys { algorithm, signing_key, published };
    if method != Method::PrivateKeyJwt {
        keys.unused(section);
    }
    let authentication = match method {
        Method::PrivateKeyJwt => keys.private_key_jwt(section)?,
        Method::Public => ClientAuthentication::Public,
    };
    Some(Registration { name, client_id, authentication })
}

struct Keys {
    algorithm: Option<SigningAlgorithm>,
    signing_key: Option<Secret>,
    published: Vec<Secret>,
}

impl Keys {
    fn unused(&self, section: &Section<'_, '_>) {
        let given = [
            ("algorithm", self.algorithm.is_some()),
            ("signing_key", self.signing_key.is_some()),
            ("also_published_keys", !self.published.is_empty()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            section.report(key, not_used("private_key_jwt"));
        }
    }

    fn private_key_jwt(self, section: &Section<'_, '_>) -> Option<ClientAuthentication> {
        let algorithm = needed(section, "algorithm", self.algorithm, "private_key_jwt");
        let signing_key = needed(section, "signing_key", self.signing_key, "private_key_jwt");
        let (algorithm, signing_key) = (algorithm?, signing_key?);
        let published =
            self.published.iter().enumerate().map(|(index, key)| (format!("also_published_keys[{index}]"), key));
        let mut sound = true;
        for (key, secret) in [("signing_key".to_owned(), &signing_key)].into_iter().chain(published) {
            if let Err(wrong) = can_sign(algorithm, secret) {
                section.report(&key, wrong);
                sound = false;
            }
        }
        sound.then_some(ClientAuthentication::PrivateKeyJwt {
            algorithm,
            signing_key,
            also_published_keys: self.published,
        })
    }
}

/// Signs once, so that a key of another kind is found now and not at the first launch.
fn can_sign(algorithm: SigningAlgorithm, key: &Secret) -> Parsed<()> {
    let pem = key.reveal().as_bytes();
    let (algorithm, key, command) = match algorithm {
        SigningAlgorithm::Es384 => (
            jsonwebtoken::Algorithm::ES384,
            jsonwebtoken::EncodingKey::from_ec_pem(pem),
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        ),
        SigningAlgorithm::Rs384 => (
            jsonwebtoken::Algorithm::RS384,
            jsonwebtoken::EncodingKey::from_rsa_pem(pem),
            "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        ),
    };
    let signed = key.and_then(|key| jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &(), &key));
    signed.map(drop).map_err(|_| {
        Wrong::new(
            format!("this is no private key for {algorithm:?} in PEM form"),
            format!("make one with `{command}`"),
        )
    })
}

fn needed<T>(section: &Section<'_, '_>, key: &str, value: Option<T>, method: &str) -> Option<T> {
    if value.is_none() {
        section.report(key, Wrong::new("this is missing", format!("{method} needs it")));
    }
    value
}

fn not_used(method: &str) -> Wrong {
    Wrong::new("this is not used by the registration's authentication", format!("take it out, or choose {method}"))
}

pub(super) fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

/// A URL that others are built under: its path ends in `/`.
pub(super) fn base_url(value: &Value) -> Parsed<Url> {
    let mut url = value::url(value)?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Spans hold no patient data, so that plain HTTP inside a cluster will do.
fn collector(value: &Value) -> Parsed<Url> {
    let wrong = || Wrong::new("this is no collector's base URL", "write it like \"http://otel-collector:4318\"");
    let mut url = Url::parse(&value::text(value)?).map_err(|_| wrong())?;
    let plain = url.has_host() && url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn socket_address(value: &Value) -> Parsed<SocketAddr> {
    let wrong = |_| Wrong::new("this is no address with a port", "write it like \"127.0.0.1:8080\" or \"[::1]:8080\"");
    value::text(value)?.parse().map_err(wrong)
}
