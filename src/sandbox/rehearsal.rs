//! What the sandbox's own tests stand on: an EHR on a free port, a registered application, its keys.

use super::{EhrOptions, RegisteredClient, RunningEhr};
use crate::kernel::{Instruments, ManualClock, SeededEntropy};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

pub(super) const NOW: &str = "2026-11-22T15:00:00Z";
pub(super) const BACKEND: &str = "backend";
pub(super) const PUBLIC: &str = "public-app";
pub(super) const REDIRECT: &str = "https://app.example/smart/callback";
pub(super) const LAUNCH_SCOPES: &str =
    "launch openid fhirUser offline_access user/Patient.rs user/Communication.cruds patient/Condition.rs";

/// An EHR with an application that has keys and one that has none.
pub(super) struct Rehearsal {
    pub(super) ehr: RunningEhr,
    pub(super) key: EncodingKey,
    pub(super) http: reqwest::Client,
    jtis: AtomicU32,
    _jwks: MockServer,
}

impl Rehearsal {
    pub(super) async fn start() -> Self {
        Self::with_lifetime(Duration::from_mins(5)).await
    }

    pub(super) async fn with_lifetime(token_lifetime: Duration) -> Self {
        let key = ec_key();
        let jwks = MockServer::start().await;
        let body = json!({"keys": [jwk(&key, "key-1")]});
        let answer = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(matchers::path("/jwks.json")).respond_with(answer).mount(&jwks).await;
        let backend = RegisteredClient::Backend {
            client_id: BACKEND.into(),
            jwks_url: format!("{}/jwks.json", jwks.uri()).parse().unwrap(),
            scopes: "system/*.rs system/Communication.cruds system/Appointment.cruds system/Slot.rsu".into(),
        };
        let public = RegisteredClient::LaunchPublic {
            client_id: PUBLIC.into(),
            redirect_uris: vec![REDIRECT.parse().unwrap()],
            launch_url: "https://app.example/smart/launch".parse().unwrap(),
            scopes: format!("{LAUNCH_SCOPES} patient/*.rs"),
        };
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let options = EhrOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            instruments: Instruments::new(clock, Arc::new(SeededEntropy::new(7))),
            seed: 7,
            clinic_zone: jiff::tz::TimeZone::get("America/New_York").unwrap(),
            clients: vec![backend, public],
            external_fhir: None,
            token_lifetime,
        };
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let ehr = RunningEhr::start(options).await.unwrap();
        Self { ehr, key, http, jtis: AtomicU32::new(0), _jwks: jwks }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ehr.base_url().as_str().trim_end_matches('/'))
    }

    /// A FHIR request by staff.
    pub(super) fn staff(&self, method: Method, path: &str) -> RequestBuilder {
        self.fhir(method, path, self.ehr.staff_token())
    }

    pub(super) fn fhir(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, self.url(&format!("/fhir/{path}"))).bearer_auth(token)
    }

    pub(super) async fn read(&self, path: &str) -> Value {
        self.staff(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    /// Good claims of a client assertion, with a `jti` of its own.
    pub(super) fn claims(&self) -> Value {
        let jti = self.jtis.fetch_add(1, Ordering::SeqCst);
        let now = jsonwebtoken::get_current_timestamp();
        json!({
            "iss": BACKEND, "sub": BACKEND, "aud": self.ehr.endpoints().token,
            "exp": now + 240, "iat": now, "jti": format!("jti-{jti}"),
        })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&header(Algorithm::ES384, "key-1"), claims, &self.key).unwrap()
    }

    /// Asks for a backend token.
    pub(super) async fn ask(&self, assertion: &str, scope: &str) -> (u16, Value) {
        self.token(&[
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ])
        .await
    }

    pub(super) async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.http.post(&self.ehr.endpoints().token).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A backend token with this scope.
    pub(super) async fn backend_token(&self, scope: &str) -> String {
        let (status, answer) = self.ask(&self.sign(&self.claims()), scope).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

pub(super) fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

pub(super) fn ec_key() -> EncodingKey {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    EncodingKey::from_ec_der(pkcs8.as_ref())
}

pub(super) fn jwk(key: &EncodingKey, kid: &str) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES384).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    jwk
}
