//! What must hold for anything that an authorization server, a browser or whoever poses as one says.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a target fails by panicking, and none of this is in what is built for use"
)]

use super::{
    Callback, ClientAuthentication, ClientRegistration, EhrServer, GrantedScopes, Identity, LaunchRegistration,
    LaunchState, SmartConfiguration, SmartError,
    authorization_http::AuthorizationHttp,
    discovery,
    id_token::{self, Announced},
    jwks::{self, WireKeySet},
    launch,
    token_endpoint::{self, Grant, TokenEndpoint},
};
use crate::{
    fhir::{FhirError, Limits, ServerBase, TokenError, reference::is_protected, transport::Answer},
    fuzzing::{MARK, keeps_back, lines, tells_nothing, text_lines},
    kernel::{Instruments, ManualClock, SeededEntropy},
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use url::Url;

const CLIENT: &str = "chartwire-client";
const ISSUER: &str = "https://ehr.example/oauth2";
const STATE: &str = "the-state-of-this-launch";
const NONCE: &str = "the-nonce-of-this-launch";

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn server() -> EhrServer {
    let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
    EhrServer { require_nonce: true, ..EhrServer::new(base) }
}

fn registration() -> LaunchRegistration {
    LaunchRegistration {
        client: ClientRegistration {
            client_id: CLIENT.to_owned(),
            authentication: ClientAuthentication::Public,
            scopes: vec!["launch".to_owned(), "openid".to_owned()],
        },
        server: server(),
        redirect_uri: "https://chartwire.example/smart/callback".parse().unwrap(),
    }
}

fn configuration() -> SmartConfiguration {
    let document = json!({"issuer": ISSUER, "jwks_uri": "https://ehr.example/jwks",
        "authorization_endpoint": "https://ehr.example/authorize?tenant=7",
        "token_endpoint": "https://ehr.example/token", "code_challenge_methods_supported": ["S256"]});
    discovery::checked(&server(), serde_json::from_value(document).unwrap()).unwrap()
}

fn state() -> LaunchState {
    serde_json::from_value(json!({"state": STATE, "nonce": NONCE, "verifier": "v".repeat(43),
        "iss": "https://ehr.example/fhir", "token_endpoint": "https://ehr.example/token",
        "redirect_uri": "https://chartwire.example/smart/callback", "expires_at": "2026-11-22T10:10:00Z"}))
    .unwrap()
}

/// A discovery document: each address that it comes to is protected, without credentials, on a host that may be.
pub(crate) fn discovery(data: &[u8]) {
    let mut named = server();
    named.id_token_issuers = vec!["https://login.example/7".to_owned()];
    for server in [server(), named] {
        let Ok(wire) = serde_json::from_slice(data) else { continue };
        match discovery::checked(&server, wire) {
            Ok(found) => addresses(&server, &found),
            Err(fault) => tells_nothing(&fault),
        }
    }
    let Ok(wire) = serde_json::from_slice(data) else { return };
    match discovery::key_set_address(&server(), Some(ISSUER), ISSUER, wire) {
        Ok(url) => assert!(may_be_asked(&url) && url.host_str() == Some("ehr.example")),
        Err(fault) => tells_nothing(&fault),
    }
}

fn addresses(server: &EhrServer, found: &SmartConfiguration) {
    let host = |address: &str| Url::parse(address).ok()?.host_str().map(str::to_owned);
    let issuers = server.id_token_issuers.iter().map(String::as_str).chain(found.issuer.as_deref());
    let hosts: Vec<String> = issuers.chain([server.base.as_str()]).filter_map(host).collect();
    let endpoints = [
        Some(&found.token_endpoint),
        found.jwks_uri.as_ref(),
        found.authorization_endpoint.as_ref(),
        found.introspection_endpoint.as_ref(),
        found.revocation_endpoint.as_ref(),
    ];
    for url in endpoints.into_iter().flatten() {
        assert!(may_be_asked(url));
        assert!(hosts.iter().any(|host| Some(host.as_str()) == url.host_str()), "a host that nobody named");
    }
    if !server.id_token_issuers.is_empty() {
        assert!(hosts.iter().all(|host| ["login.example", "ehr.example"].contains(&host.as_str())));
    }
}

fn may_be_asked(url: &Url) -> bool {
    is_protected(url) && url.username().is_empty() && url.password().is_none()
}

/// A key set: whatever key is picked from it can be used, and does not verify what another key has signed.
pub(crate) fn jwks(data: &[u8]) {
    let Ok(wire) = serde_json::from_slice::<WireKeySet>(data) else { return };
    let keys = wire.readable();
    let kids: Vec<Option<&str>> = keys.iter().take(4).map(|key| key.common.key_id.as_deref()).collect();
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::ES256, Algorithm::ES384] {
        for kid in kids.iter().copied().chain([None, Some("none")]) {
            match jwks::pick(&keys, kid, algorithm) {
                Ok(key) => {
                    let verified = jsonwebtoken::crypto::verify(&SIGNED.1, SIGNED.0.as_bytes(), &key, algorithm);
                    assert!(!verified.unwrap_or(false), "a key that did not sign verifies");
                }
                Err(fault) => tells_nothing(&fault),
            }
        }
    }
}

/// The issuer's key, its key set and the signature of a message by it.
static KEY: LazyLock<EncodingKey> = LazyLock::new(|| key(&ECDSA_P256_SHA256_FIXED_SIGNING));
static KEYS: LazyLock<Vec<Jwk>> = LazyLock::new(|| {
    let mut public = Jwk::from_encoding_key(&KEY, Algorithm::ES256).unwrap();
    public.common.key_id = Some("k1".to_owned());
    vec![public]
});
static SIGNED: LazyLock<(String, String)> = LazyLock::new(|| {
    let message = "header.payload".to_owned();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEY, Algorithm::ES256).unwrap();
    (message, signature)
});

fn key(algorithm: &'static EcdsaSigningAlgorithm) -> EncodingKey {
    let rng = aws_lc_rs::rand::SystemRandom::new();
    EncodingKey::from_ec_der(EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap().as_ref())
}

/// A header and claims: as a token without a right signature they are refused; signed by the issuer they are taken only
/// where every claim is as it should be.
pub(crate) fn id_token(data: &[u8]) {
    let raw = String::from_utf8_lossy(data);
    assert!(identified(&raw).is_err(), "a token that nobody signed is taken");
    let [header, claims] = lines::<2>(data);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    for forged in ["", "AA", &"A".repeat(86)] {
        assert!(identified(&format!("{message}.{forged}")).is_err(), "a forged signature is taken");
    }
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEY, Algorithm::ES256).unwrap();
    let Ok(identity) = identified(&format!("{message}.{signature}")) else { return };
    let (header, claims): (Value, Value) =
        (serde_json::from_slice(header).unwrap(), serde_json::from_slice(claims).unwrap());
    assert_eq!(header["alg"], "ES256");
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["nonce"], NONCE);
    let audiences = claims["aud"].as_array().cloned().unwrap_or_else(|| vec![claims["aud"].clone()]);
    assert!(audiences.contains(&json!(CLIENT)), "it was issued for another client");
    assert!(claims["exp"].as_i64().unwrap() > now().as_second() - 61, "it has expired");
    assert!(identity.fhir_user.is_none_or(|user| user.is("Practitioner") || user.is("PractitionerRole")));
    assert_eq!(claims["sub"], identity.subject);
    // The signature is for these bytes only.
    let other = format!("{}.{}", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"ES256\"} "), URL_SAFE_NO_PAD.encode("{}"));
    assert!(identified(&format!("{other}.{signature}")).is_err());
}

fn identified(token: &str) -> Result<Identity, SmartError> {
    let registration = registration();
    let identity = Announced::read(&registration, &configuration(), token).map_err(SmartError::from);
    let identity = identity.and_then(|announced| {
        let key = jwks::pick(&KEYS, announced.kid.as_deref(), announced.algorithm)?;
        id_token::verified(&registration, &state(), token, &announced, &key, now().as_second())
    });
    identity.inspect_err(tells_nothing)
}

static HTTP: LazyLock<Result<AuthorizationHttp, FhirError>> =
    LazyLock::new(|| AuthorizationHttp::new(&Limits::default(), Arc::new(ManualClock::at(now()))));

/// A token response with a status: a bearer token or an error, and no secret in what is shown.
pub(crate) fn token(data: &[u8]) {
    let [status, body] = lines::<2>(data);
    let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or(200);
    let Ok(http) = &*HTTP else { return };
    let (url, client) = ("https://ehr.example/token".parse().unwrap(), registration().client);
    let clock = Arc::new(ManualClock::at(now()));
    let instruments = Instruments::new(clock, Arc::new(SeededEntropy::new(7)));
    let endpoint = TokenEndpoint { http, url: &url, client: &client, instruments: &instruments };
    let answer = |_: oauth2::HttpRequest| -> Result<oauth2::HttpResponse, TokenError> {
        token_endpoint::readable(Answer { status, headers: HeaderMap::new(), body: body.to_vec() })
    };
    match endpoint.grant(endpoint.oauth().exchange_client_credentials().request(&answer)) {
        Ok(grant) => granted(grant),
        Err(error) => tells_nothing(&error),
    }
}

fn granted(grant: Grant) {
    assert!(grant.expires_at >= now());
    let secret = grant.access_token.expose().to_owned();
    let scopes = GrantedScopes::parse(grant.scope.as_deref().unwrap_or_default());
    for scope in scopes.resources() {
        assert!(!scope.interactions.is_empty());
        assert!(scope.resource_type.as_deref().is_none_or(|name| name.chars().all(|c| c.is_ascii_alphanumeric())));
    }
    let identity = Identity {
        issuer: ISSUER.to_owned(),
        subject: "nurse-1".to_owned(),
        fhir_user: None,
        authentication_class: None,
        authentication_methods: Vec::new(),
    };
    match launch::completed(&server().base, grant, identity) {
        Ok(completed) => {
            assert!(completed.patient.as_ref().is_none_or(|patient| patient.is("Patient")));
            assert!(completed.encounter.as_ref().is_none_or(|encounter| encounter.is("Encounter")));
            assert!(completed.smart_style_url.as_ref().is_none_or(is_protected));
            if secret.contains(MARK) && !named(&completed).contains(MARK) {
                keeps_back(&format!("{completed:?}"));
            }
        }
        Err(error) => tells_nothing(&error),
    }
}

/// What a completed launch shows as it came: ids, scopes, field names.
fn named(completed: &launch::LaunchCompleted) -> String {
    let fields = (&completed.scopes, &completed.patient, &completed.encounter, &completed.fhir_context);
    let texts = (&completed.intent, &completed.smart_style_url, &completed.tenant, &completed.vendor);
    format!("{fields:?} {texts:?}")
}

/// What a browser brings to launch and callback: our request says what was asked and nothing else; a callback is taken
/// only for the launch that it belongs to.
pub(crate) fn launch(data: &[u8]) {
    let [iss, launch, given, code, from, error] = text_lines::<6>(data);
    let registration = registration();
    if registration.accepts(&iss) {
        assert_eq!(iss.trim_end_matches('/'), "https://ehr.example/fhir");
    }
    let configuration = configuration();
    let redirect = launch::authorization_request(
        &registration,
        configuration.authorization_endpoint.clone().unwrap(),
        &launch,
        &state(),
    );
    assert_eq!(redirect.origin().ascii_serialization(), "https://ehr.example");
    assert_eq!(redirect.fragment(), None);
    let asked = |name: &str| -> Vec<String> {
        redirect.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(asked("launch"), [launch]);
    assert_eq!((asked("state"), asked("client_id")), (vec![STATE.to_owned()], vec![CLIENT.to_owned()]));
    assert_eq!(asked("redirect_uri"), ["https://chartwire.example/smart/callback"]);
    let some = |text: String| (!text.is_empty()).then_some(text);
    let callback = Callback { state: some(given), code: some(code), iss: some(from), error: some(error) };
    keeps_back(&format!("{callback:?}"));
    match launch::check_callback(&registration, &configuration, &state(), &callback, now()) {
        Ok(code) => {
            assert_eq!(callback.state.as_deref(), Some(STATE));
            assert!(callback.error.is_none() && callback.code.as_deref() == Some(code) && code.len() <= 4_096);
            let issuers = [None, Some(ISSUER), Some("https://ehr.example/fhir")];
            assert!(issuers.contains(&callback.iss.as_deref().map(|iss| iss.trim_end_matches('/'))));
        }
        Err(error) => tells_nothing(&error),
    }
    let late: Timestamp = "2026-11-22T10:10:00Z".parse().unwrap();
    assert!(launch::check_callback(&registration, &configuration, &state(), &callback, late).is_err());
}
