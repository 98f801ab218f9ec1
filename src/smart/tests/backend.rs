use super::*;
use crate::fhir::{AccessTokenSource, FhirClient, TokenError, TokioPacer};
use jiff::SignedDuration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Gives `token-1`, `token-2` and so on, each for five minutes.
struct Numbered(AtomicUsize);

impl Respond for Numbered {
    fn respond(&self, _request: &Request) -> ResponseTemplate {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({"access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": 300, "scope": "system/*.rs"});
        ResponseTemplate::new(200).set_body_json(body).set_delay(Duration::from_millis(20))
    }
}

async fn start() -> (Ehr, Arc<BackendServices>) {
    let ehr = Ehr::start().await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .respond_with(Numbered(AtomicUsize::new(0)))
        .with_priority(1)
        .mount(&ehr.server)
        .await;
    let source = source(&ehr);
    (ehr, source)
}

fn source(ehr: &Ehr) -> Arc<BackendServices> {
    let client = client(["system/Appointment.rs", "system/Patient.rs"]);
    Arc::new(BackendServices::new(ehr.smart.clone(), ehr.server(), client, RefreshPolicy::default()))
}

async fn token(source: &BackendServices) -> String {
    source.token().await.unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_as_backend_services_do() {
    let (ehr, source) = start().await;
    assert_eq!(token(&source).await, "token-1");
    assert!(source.granted().allows("Slot", Interaction::Search), "what was granted counts, not what was asked for");
    let form = form(&ehr.requests("/token").await[0]);
    let mut names: Vec<_> = form.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["client_assertion", "client_assertion_type", "grant_type", "scope"]);
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "system/Appointment.rs system/Patient.rs");
}

#[tokio::test]
async fn a_token_serves_until_shortly_before_its_end() {
    let (ehr, source) = start().await;
    assert_eq!(token(&source).await, "token-1");
    ehr.clock.advance(SignedDuration::from_secs(239));
    assert_eq!(token(&source).await, "token-1");
    ehr.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(token(&source).await, "token-2");
    let requests = ehr.requests("/token").await;
    let jti = |index: usize| read_claims(&form(&requests[index])["client_assertion"])["jti"].clone();
    assert_ne!(jti(0), jti(1), "an assertion is used once");
}

#[tokio::test]
async fn one_request_serves_all_who_wait() {
    let (ehr, source) = start().await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { token(&source).await })
        })
        .collect();
    for one in waiting {
        assert_eq!(one.await.unwrap(), "token-1");
    }
    assert_eq!(ehr.requests("/token").await.len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_but_not_in_a_hurry() {
    let (ehr, source) = start().await;
    let first = source.token().await.unwrap();
    source.invalidate(&first);
    let throttled = TokenError::Throttled { retry_after: Some(Duration::from_secs(10)) };
    assert_eq!(source.token().await.unwrap_err(), throttled);
    ehr.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(token(&source).await, "token-2");
    source.invalidate(&first);
    assert_eq!(token(&source).await, "token-2", "a late refusal of the old one does not cost the new one");
}

#[tokio::test]
async fn a_failure_stands_for_a_moment_and_is_told_by_kind() {
    let ehr = Ehr::start().await;
    let source = source(&ehr);
    ehr.answer("/token", ResponseTemplate::new(400).set_body_json(json!({"error": "invalid_client"})));
    let refused = TokenError::Refused { code: "invalid_client" };
    assert_eq!(source.token().await.unwrap_err(), refused);
    assert_eq!(source.token().await.unwrap_err(), refused);
    assert_eq!(ehr.requests("/token").await.len(), 1);
    ehr.clock.advance(SignedDuration::from_secs(1));
    ehr.answer("/token", ResponseTemplate::new(429).insert_header("Retry-After", "30"));
    let throttled = TokenError::Throttled { retry_after: Some(Duration::from_secs(30)) };
    assert_eq!(source.token().await.unwrap_err(), throttled);
}

#[tokio::test]
async fn a_client_without_the_registered_key_says_so() {
    let ehr = Ehr::start().await;
    let mut client = client(["system/*.rs"]);
    let ClientAuthentication::PrivateKeyJwt { algorithm, .. } = &mut client.authentication else { panic!() };
    *algorithm = SigningAlgorithm::Rs384;
    let source = BackendServices::new(ehr.smart.clone(), ehr.server(), client, RefreshPolicy::default());
    assert_eq!(source.token().await.unwrap_err(), TokenError::Key);
}

#[tokio::test]
async fn the_fhir_client_works_through_a_token_that_ran_out_early() {
    let (ehr, source) = start().await;
    token(&source).await;
    ehr.clock.advance(SignedDuration::from_secs(60));
    Mock::given(path("/fhir/Slot/s1"))
        .and(wiremock::matchers::header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(401))
        .with_priority(1)
        .mount(&ehr.server)
        .await;
    ehr.put("/fhir/Slot/s1", json!({"resourceType": "Slot", "id": "s1"}));
    let clock = Arc::clone(&ehr.clock) as Arc<dyn Clock>;
    let fhir = FhirClient::new(ehr.server().base, source, Limits::default(), Arc::new(TokioPacer), clock).unwrap();
    fhir.read(&"Slot/s1".parse().unwrap()).await.unwrap();
    let requests = ehr.requests("/fhir/Slot/s1").await;
    assert_eq!(requests[1].headers["authorization"], "Bearer token-2");
}
