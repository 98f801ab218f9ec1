use super::super::clinic::persona;
use super::super::rehearsal::{LAUNCH_SCOPES, PUBLIC, REDIRECT, Rehearsal, ec_key, header};
use super::LaunchContext;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn context() -> LaunchContext {
    LaunchContext {
        practitioner: persona::NURSE_REED.into(),
        patient: persona::ANA_LOPEZ.into(),
        encounter: None,
        appointment: Some("appointment-ana-lopez".into()),
    }
}

/// The parameters of a good authorization request; `changed` replaces or removes some.
fn request(rehearsal: &Rehearsal, changed: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let launch = rehearsal.ehr.launch(context(), None).unwrap();
    let launch = launch.query_pairs().find(|(name, _)| name == "launch").unwrap().1.into_owned();
    let fhir_base = rehearsal.ehr.fhir_base().to_string();
    let good = [
        ("response_type", "code"),
        ("client_id", PUBLIC),
        ("redirect_uri", REDIRECT),
        ("launch", &launch),
        ("scope", LAUNCH_SCOPES),
        ("state", "state-1"),
        ("aud", &fhir_base),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("nonce", "nonce-1"),
    ];
    let value = |name: &str, value: &str| match changed.iter().find(|(changed, _)| *changed == name) {
        Some((_, replaced)) => replaced.map(str::to_owned),
        None => Some(value.to_owned()),
    };
    good.iter().filter_map(|(name, good)| Some(((*name).to_owned(), value(name, good)?))).collect()
}

async fn authorize(rehearsal: &Rehearsal, changed: &[(&str, Option<&str>)]) -> reqwest::Response {
    let query = request(rehearsal, changed);
    rehearsal.http.get(&rehearsal.ehr.endpoints().authorize).query(&query).send().await.unwrap()
}

/// Where an answer sends the browser, as the parameters it carries.
fn sent_back(answer: &reqwest::Response) -> Vec<(String, String)> {
    let location: Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    assert!(location.as_str().starts_with(REDIRECT));
    location.query_pairs().into_owned().collect()
}

fn parameter(pairs: &[(String, String)], name: &str) -> String {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn code(rehearsal: &Rehearsal) -> String {
    let pairs = sent_back(&authorize(rehearsal, &[]).await);
    assert_eq!(parameter(&pairs, "state"), "state-1");
    parameter(&pairs, "code")
}

async fn exchange(rehearsal: &Rehearsal, code: &str, verifier: &str) -> (u16, Value) {
    rehearsal
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier),
            ("client_id", PUBLIC),
        ])
        .await
}

#[tokio::test]
async fn a_launch_ends_in_a_token_with_its_context() {
    let rehearsal = Rehearsal::start().await;
    let code = code(&rehearsal).await;
    let (status, answer) = exchange(&rehearsal, &code, VERIFIER).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["patient"], persona::ANA_LOPEZ);
    assert_eq!(answer["fhirContext"][0]["reference"], "Appointment/appointment-ana-lopez");
    assert_eq!(answer["need_patient_banner"], false);
    let claims = id_claims(&rehearsal, answer["id_token"].as_str().unwrap()).await;
    assert_eq!(claims["nonce"], "nonce-1");
    assert_eq!(claims["iss"], rehearsal.ehr.endpoints().issuer.as_str());
    let nurse = format!("{}/Practitioner/{}", rehearsal.ehr.fhir_base(), persona::NURSE_REED);
    assert_eq!(claims["fhirUser"], nurse.as_str());
    let token = answer["access_token"].as_str().unwrap();
    let patient = rehearsal.fhir(Method::GET, "Patient/patient-ana-lopez", token).send().await.unwrap();
    assert_eq!(patient.status(), 200);
    let (again, _) = exchange(&rehearsal, &code, VERIFIER).await;
    assert_eq!(again, 400, "a code is used once");
}

async fn id_claims(rehearsal: &Rehearsal, id_token: &str) -> Value {
    let jwks: jsonwebtoken::jwk::JwkSet =
        rehearsal.http.get(&rehearsal.ehr.endpoints().jwks).send().await.unwrap().json().await.unwrap();
    let kid = jsonwebtoken::decode_header(id_token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(jwks.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[PUBLIC]);
    jsonwebtoken::decode::<Value>(id_token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn the_verifier_must_answer_the_challenge() {
    let rehearsal = Rehearsal::start().await;
    let code = code(&rehearsal).await;
    let (status, answer) = exchange(&rehearsal, &code, "not-the-verifier-of-this-challenge-at-all-000").await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
}

#[rstest]
#[case::no_pkce(&[("code_challenge", None)], "invalid_request")]
#[case::plain_pkce(&[("code_challenge_method", Some("plain"))], "invalid_request")]
#[case::another_server(&[("aud", Some("https://evil.example/fhir"))], "invalid_request")]
#[case::unknown_launch(&[("launch", Some("guessed"))], "invalid_request")]
#[case::no_launch(&[("launch", None)], "invalid_request")]
#[case::no_state(&[("state", None)], "invalid_request")]
#[case::foreign_scope(&[("scope", Some("system/*.cruds"))], "invalid_scope")]
#[case::implicit(&[("response_type", Some("token"))], "unsupported_response_type")]
#[tokio::test]
async fn a_bad_request_is_told_to_the_client(#[case] changed: &[(&str, Option<&str>)], #[case] error: &str) {
    let rehearsal = Rehearsal::start().await;
    let pairs = sent_back(&authorize(&rehearsal, changed).await);
    assert_eq!(parameter(&pairs, "error"), error);
    assert_eq!(parameter(&pairs, "code"), "");
}

#[rstest]
#[case(&[("redirect_uri", Some("https://app.example/smart/callback/"))])]
#[case(&[("client_id", Some("nobody"))])]
#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered(#[case] changed: &[(&str, Option<&str>)]) {
    let rehearsal = Rehearsal::start().await;
    let answer = authorize(&rehearsal, changed).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.headers().get("location").is_none());
}

#[tokio::test]
async fn without_a_launch_a_person_chooses() {
    let rehearsal = Rehearsal::start().await;
    let standalone = [("launch", None), ("scope", Some("openid fhirUser patient/Condition.rs"))];
    let page = authorize(&rehearsal, &standalone).await.text().await.unwrap();
    assert!(page.contains("Carla Reed") && page.contains("Ana Lopez"));
    let key = page.split("name=\"request\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = [
        ("request", key.as_str()),
        ("practitioner", persona::NURSE_REED),
        ("patient", persona::MIA_SANTOS),
        ("choice", "allow"),
    ];
    let answer = rehearsal.http.post(rehearsal.url("/auth/decision")).form(&form).send().await.unwrap();
    let code = parameter(&sent_back(&answer), "code");
    let (_, token) = exchange(&rehearsal, &code, VERIFIER).await;
    assert_eq!(token["patient"], persona::MIA_SANTOS);
    // `patient/` scopes reach that patient only.
    let token = token["access_token"].as_str().unwrap();
    let found: Value = rehearsal.fhir(Method::GET, "Condition", token).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (found["total"].as_u64(), found["entry"][0]["resource"]["code"]["text"].as_str()),
        (Some(1), Some("Asthma"))
    );
    assert_eq!(rehearsal.fhir(Method::GET, "Patient", token).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_theft_ends_the_family() {
    let rehearsal = Rehearsal::start().await;
    let (_, first) = exchange(&rehearsal, &code(&rehearsal).await, VERIFIER).await;
    let refresh = async |token: &Value| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str().unwrap()), ("client_id", PUBLIC)];
        rehearsal.token(&form).await
    };
    let (status, second) = refresh(&first["refresh_token"]).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(refresh(&first["refresh_token"]).await.0, 400);
    assert_eq!(refresh(&second["refresh_token"]).await.0, 400);
}

#[tokio::test]
async fn a_backend_service_gets_what_it_is_registered_for() {
    let rehearsal = Rehearsal::start().await;
    let (status, answer) =
        rehearsal.ask(&rehearsal.sign(&rehearsal.claims()), "system/Appointment.rs system/Task.cruds").await;
    assert_eq!((status, answer["scope"].as_str()), (200, Some("system/Appointment.rs")));
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(rehearsal.fhir(Method::GET, "Appointment?_count=1", token).send().await.unwrap().status(), 200);
    let refused = rehearsal.fhir(Method::GET, "Task", token).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
    let (status, answer) = rehearsal.ask(&rehearsal.sign(&rehearsal.claims()), "system/Task.cruds").await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_scope")));
}

#[rstest]
#[case::another_audience("aud", json!("https://elsewhere.example/token"))]
#[case::another_issuer("iss", json!("public-app"))]
#[case::another_subject("sub", json!("someone"))]
#[case::no_jti("jti", Value::Null)]
#[case::expired("exp", json!(1))]
#[case::too_long("exp", json!(jsonwebtoken::get_current_timestamp() + 3600))]
#[tokio::test]
async fn an_assertion_with_a_bad_claim_is_refused(#[case] name: &str, #[case] value: Value) {
    let rehearsal = Rehearsal::start().await;
    let mut claims = rehearsal.claims();
    claims[name] = value;
    let (status, answer) = rehearsal.ask(&rehearsal.sign(&claims), "system/*.rs").await;
    assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")), "{answer}");
}

#[tokio::test]
async fn an_assertion_is_used_once() {
    let rehearsal = Rehearsal::start().await;
    let assertion = rehearsal.sign(&rehearsal.claims());
    assert_eq!(rehearsal.ask(&assertion, "system/*.rs").await.0, 200);
    assert_eq!(rehearsal.ask(&assertion, "system/*.rs").await.0, 401);
}

#[tokio::test]
async fn an_assertion_of_another_key_or_algorithm_is_refused() {
    let rehearsal = Rehearsal::start().await;
    let sign = |algorithm, kid, key: &EncodingKey| {
        jsonwebtoken::encode(&header(algorithm, kid), &rehearsal.claims(), key).unwrap()
    };
    let stranger = sign(Algorithm::ES384, "key-1", &ec_key());
    let unknown_kid = sign(Algorithm::ES384, "key-2", &rehearsal.key);
    let symmetric = sign(Algorithm::HS256, "key-1", &EncodingKey::from_secret(b"secret"));
    let [_, body, _] = stranger.split('.').collect::<Vec<_>>()[..] else { panic!("a JWT has three parts") };
    // {"alg":"none","typ":"JWT","kid":"key-1"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoia2V5LTEifQ.{body}.");
    for assertion in [stranger.as_str(), &unknown_kid, &symmetric, &unsigned, "nonsense"] {
        assert_eq!(rehearsal.ask(assertion, "system/*.rs").await.0, 401);
    }
}

#[tokio::test]
async fn tokens_expire_and_can_be_revoked() {
    let short = Rehearsal::with_lifetime(Duration::ZERO).await;
    let token = short.backend_token("system/*.rs").await;
    let refused = short.fhir(Method::GET, "Patient", &token).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));

    let long = Rehearsal::start().await;
    let token = long.backend_token("system/*.rs").await;
    assert_eq!(long.fhir(Method::GET, "Patient", &token).send().await.unwrap().status(), 200);
    long.ehr.revoke_tokens();
    assert_eq!(long.fhir(Method::GET, "Patient", &token).send().await.unwrap().status(), 401);
    assert_eq!(long.staff(Method::GET, "Patient").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn discovery_says_what_smart_requires() {
    let rehearsal = Rehearsal::start().await;
    let found: Value = rehearsal
        .http
        .get(rehearsal.url("/fhir/.well-known/smart-configuration"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(found["token_endpoint"], rehearsal.ehr.endpoints().token.as_str());
    assert_eq!(found["code_challenge_methods_supported"], json!(["S256"]));
    let issuer = found["issuer"].as_str().unwrap();
    let openid: Value = rehearsal
        .http
        .get(format!("{issuer}/.well-known/openid-configuration"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!((openid["issuer"].as_str(), &openid["jwks_uri"]), (Some(issuer), &found["jwks_uri"]));
}

#[tokio::test]
async fn a_launch_can_be_ordered_over_http() {
    let rehearsal = Rehearsal::start().await;
    let order = json!({"practitioner": persona::DR_SMITH, "patient": persona::ANA_LOPEZ});
    let answer = rehearsal.http.post(rehearsal.url("/sandbox/launches")).json(&order).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let launch: Value = answer.json().await.unwrap();
    let url: Url = launch["launch_url"].as_str().unwrap().parse().unwrap();
    assert!(url.as_str().starts_with("https://app.example/smart/launch?iss="));
    assert!(url.query_pairs().any(|(name, value)| name == "launch" && value == launch["launch"].as_str().unwrap()));
}
