//! Against an authorization server that answers over HTTP, with keys made for the test.

mod backend;
mod identity;
mod launch;

use super::*;
use crate::fhir::ServerBase;
use crate::kernel::{Clock, ManualClock, SeededEntropy};
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const CLIENT: &str = "chartwire-client";
const NOW: &str = "2026-11-22T10:00:00Z";

/// Making an RSA key takes long: one for all tests.
static RSA: LazyLock<String> =
    LazyLock::new(|| SigningKey::generate_pem(SigningAlgorithm::Rs384).unwrap().as_str().to_owned());
static P384: LazyLock<String> =
    LazyLock::new(|| SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap().as_str().to_owned());

/// A key that the authorization server signs ID tokens with.
struct IssuerKey {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl IssuerKey {
    fn rsa(kid: &'static str, algorithm: Algorithm) -> Self {
        Self { kid, algorithm, key: EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap() }
    }

    fn p384(kid: &'static str) -> Self {
        Self { kid, algorithm: Algorithm::ES384, key: EncodingKey::from_ec_pem(P384.as_bytes()).unwrap() }
    }

    fn p256(kid: &'static str) -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Self { kid, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der.as_ref()) }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// An EHR: FHIR base `/fhir`, authorization endpoints and keys beside it. Documents can be changed while it runs.
struct Ehr {
    server: MockServer,
    documents: Arc<Mutex<HashMap<String, ResponseTemplate>>>,
    clock: Arc<ManualClock>,
    smart: SmartClient,
}

/// Serves whatever stands under the path now.
struct Documents(Arc<Mutex<HashMap<String, ResponseTemplate>>>);

impl Respond for Documents {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let documents = self.0.lock().unwrap();
        documents.get(request.url.path()).cloned().unwrap_or_else(|| ResponseTemplate::new(404))
    }
}

impl Ehr {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let documents = Arc::new(Mutex::new(HashMap::new()));
        Mock::given(wiremock::matchers::any()).respond_with(Documents(Arc::clone(&documents))).mount(&server).await;
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let instruments = Instruments::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SeededEntropy::new(7)));
        let smart = SmartClient::new(&Limits::default(), instruments).unwrap();
        let ehr = Self { server, documents, clock, smart };
        ehr.put("/fhir/.well-known/smart-configuration", ehr.smart_configuration());
        ehr
    }

    fn put(&self, path: &str, document: Value) {
        self.answer(path, ResponseTemplate::new(200).set_body_json(document));
    }

    fn answer(&self, path: &str, answer: ResponseTemplate) {
        self.documents.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.server.uri())
    }

    fn smart_configuration(&self) -> Value {
        json!({
            "issuer": self.at("/oauth2"), "jwks_uri": self.at("/jwks"),
            "authorization_endpoint": self.at("/authorize?tenant=7"), "token_endpoint": self.at("/token"),
            "capabilities": ["launch-ehr"], "code_challenge_methods_supported": ["S256"],
        })
    }

    fn server(&self) -> EhrServer {
        EhrServer::new(ServerBase::new(self.at("/fhir").parse().unwrap()).unwrap())
    }

    fn registration(&self) -> LaunchRegistration {
        LaunchRegistration {
            client: client(["launch", "openid", "fhirUser", "user/Appointment.rs"]),
            server: self.server(),
            redirect_uri: "https://chartwire.example/smart/callback".parse().unwrap(),
        }
    }

    /// The requests that reached `path`.
    async fn requests(&self, path: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter().filter(|request| request.url.path() == path).collect()
    }

    async fn begin(&self, registration: &LaunchRegistration) -> LaunchBegun {
        self.smart.begin_launch(registration, &self.at("/fhir"), "xyz").await.unwrap()
    }

    /// The claims of a good ID token for this launch.
    fn claims(&self, begun: &LaunchBegun) -> Value {
        let now = self.clock.now().as_second();
        json!({
            "iss": self.at("/oauth2"), "sub": "nurse-1", "aud": CLIENT, "exp": now + 300, "iat": now,
            "nonce": parameter(&begun.redirect, "nonce"), "fhirUser": self.at("/fhir/Practitioner/n1"),
        })
    }

    fn give(&self, id_token: &str) {
        self.put("/token", token_response(id_token));
    }
}

fn client<const N: usize>(scopes: [&str; N]) -> ClientRegistration {
    let key = SigningKey::from_pem(&P384, SigningAlgorithm::Es384).unwrap();
    ClientRegistration {
        client_id: CLIENT.to_owned(),
        authentication: ClientAuthentication::PrivateKeyJwt {
            algorithm: SigningAlgorithm::Es384,
            keys: Arc::new(SigningKeys::new(vec![key]).unwrap()),
        },
        scopes: scopes.map(str::to_owned).into(),
    }
}

fn token_response(id_token: &str) -> Value {
    json!({
        "access_token": "access-secret", "token_type": "Bearer", "expires_in": 3600, "scope": "launch openid fhirUser user/Appointment.rs",
        "refresh_token": "refresh-secret", "id_token": id_token, "patient": "p1", "encounter": "e1",
        "fhirContext": [{"reference": "Appointment/a1"}, {"reference": "https://elsewhere.example/x/Appointment/a2"}, {"canonical": "x"}],
        "need_patient_banner": false, "intent": "thread", "smart_style_url": "http://styles.example/s.json", "tenant": "t9", "SYSLOGIN": "nurse.jo",
    })
}

fn parameter(url: &url::Url, name: &str) -> String {
    let mut found = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let value = found.next().unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(found.next(), None, "{name} occurs twice");
    value
}

fn form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn callback(begun: &LaunchBegun) -> Callback {
    Callback {
        state: Some(begun.state.state().to_owned()),
        code: Some("code-secret".to_owned()),
        ..Callback::default()
    }
}

/// The claims of a JWT, unchecked.
fn read_claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
