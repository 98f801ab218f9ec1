use super::*;
use crate::fhir::TokenError;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use jsonwebtoken::{DecodingKey, Validation};
use rstest::rstest;

/// An EHR that has its keys and a good ID token ready for the launch that `begun` began.
async fn ready() -> (Ehr, LaunchRegistration, LaunchBegun) {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let key = IssuerKey::rsa("k1", Algorithm::RS256);
    ehr.put("/jwks", json!({"keys": [key.public()]}));
    ehr.give(&key.sign(&ehr.claims(&begun)));
    (ehr, registration, begun)
}

#[tokio::test]
async fn a_launch_sends_the_browser_with_all_that_smart_asks_for() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let url = &begun.redirect;
    assert!(url.as_str().starts_with(&ehr.at("/authorize?tenant=7&")));
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", "https://chartwire.example/smart/callback"),
        ("launch", "xyz"),
        ("aud", &ehr.at("/fhir")),
        ("scope", "launch openid fhirUser user/Appointment.rs"),
        ("code_challenge_method", "S256"),
        ("state", begun.state.state()),
    ] {
        assert_eq!(parameter(url, name), expected, "{name}");
    }
    let again = ehr.begin(&registration).await;
    for name in ["state", "nonce", "code_challenge"] {
        let (one, other) = (parameter(url, name), parameter(&again.redirect, name));
        assert!(one.len() >= 43 && one != other, "{name} must be long and new: {one}");
    }
}

#[tokio::test]
async fn a_launch_ends_with_a_person_a_patient_and_a_token() {
    let (ehr, registration, begun) = ready().await;
    let challenge = parameter(&begun.redirect, "code_challenge");
    let callback = callback(&begun);
    let done = ehr.smart.complete_launch(&registration, begun.state, &callback).await.unwrap();
    assert_eq!(done.access_token.expose(), "access-secret");
    assert_eq!(done.refresh_token.as_ref().unwrap().expose(), "refresh-secret");
    assert_eq!(done.expires_at, ehr.clock.now() + SignedDuration::from_hours(1));
    assert!(done.scopes.allows("Appointment", Interaction::Search) && done.scopes.has("openid"));
    assert_eq!((done.identity.subject.as_str(), done.identity.issuer), ("nurse-1", ehr.at("/oauth2")));
    assert_eq!(done.identity.fhir_user.as_ref().unwrap().to_string(), "Practitioner/n1");
    assert_eq!(done.patient.as_ref().unwrap().to_string(), "Patient/p1");
    assert_eq!(done.encounter.as_ref().unwrap().id(), "e1");
    let [context] = done.fhir_context.as_slice() else { panic!("{:?}", done.fhir_context) };
    assert_eq!((context.reference.to_string().as_str(), context.role.as_str()), ("Appointment/a1", "launch"));
    assert!(!done.need_patient_banner);
    assert_eq!(done.smart_style_url, None, "not over TLS");
    assert_eq!((done.intent.as_deref(), done.tenant.as_deref()), (Some("thread"), Some("t9")));
    assert_eq!(done.vendor.get("SYSLOGIN"), Some("nurse.jo"));

    let [request] = &ehr.requests("/token").await[..] else { panic!("one token request") };
    assert_eq!(request.url.query(), None, "nothing secret in an address");
    let form = form(request);
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(
        (form["code"].as_str(), form["redirect_uri"].as_str()),
        ("code-secret", registration.redirect_uri.as_str())
    );
    let hashed = digest(&SHA256, form["code_verifier"].as_bytes());
    assert_eq!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hashed), challenge);
    assert!(!form.contains_key("client_id"), "an assertion names the client");
    check_assertion(&ehr, &form);
}

fn check_assertion(ehr: &Ehr, form: &HashMap<String, String>) {
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let jwt = &form["client_assertion"];
    let key = SigningKey::from_pem(&P384, SigningAlgorithm::Es384).unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    assert_eq!(
        (header.typ.as_deref(), header.kid.as_deref(), header.alg),
        (Some("JWT"), Some(key.kid()), Algorithm::ES384)
    );
    let keys = SigningKeys::new(vec![key]).unwrap().jwks();
    let public = DecodingKey::from_jwk(&serde_json::from_value(keys["keys"][0].clone()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES384);
    validation.validate_exp = false;
    validation.set_audience(&[ehr.at("/token")]);
    validation.set_issuer(&[CLIENT]);
    let claims = jsonwebtoken::decode::<Value>(jwt, &public, &validation).unwrap().claims;
    assert_eq!(claims["sub"], CLIENT);
    let lifetime = claims["exp"].as_i64().unwrap() - ehr.clock.now().as_second();
    assert!((60..=300).contains(&lifetime), "{lifetime}");
    assert!((22..=151).contains(&claims["jti"].as_str().unwrap().len()));
}

#[tokio::test]
async fn a_public_client_names_itself() {
    let (ehr, mut registration, begun) = ready().await;
    registration.client.authentication = ClientAuthentication::Public;
    let callback = callback(&begun);
    ehr.smart.complete_launch(&registration, begun.state, &callback).await.unwrap();
    let form = form(&ehr.requests("/token").await[0]);
    assert_eq!(form["client_id"], CLIENT);
    assert!(!form.contains_key("client_assertion"));
}

#[rstest]
#[case::another_host("https://ehr.example.evil.example/fhir")]
#[case::upper_case("https://EHR.example/fhir")]
#[case::another_scheme("http://ehr.example/fhir")]
#[case::another_port("https://ehr.example:8443/fhir")]
#[case::another_path("https://ehr.example/fhir/../evil")]
#[case::longer_path("https://ehr.example/fhir/x")]
#[case::credentials("https://ehr.example@evil.example/fhir")]
#[case::query("https://ehr.example/fhir?x=1")]
#[case::two_slashes("https://ehr.example/fhir//")]
#[case::homoglyph("https://ehr.ехample/fhir")]
#[case::space(" https://ehr.example/fhir")]
#[case::empty("")]
fn a_look_alike_issuer_is_unknown(#[case] iss: &str) {
    let registration = LaunchRegistration {
        client: client([]),
        server: EhrServer::new(ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap()),
        redirect_uri: "https://chartwire.example/smart/callback".parse().unwrap(),
    };
    assert_eq!(admit([&registration], iss).unwrap_err(), SmartError::UnknownIssuer);
    for iss in ["https://ehr.example/fhir", "https://ehr.example/fhir/"] {
        assert_eq!(admit([&registration], iss).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_fetched_for_an_unknown_issuer() {
    let (ehr, stranger) = (Ehr::start().await, Ehr::start().await);
    let begun = ehr.smart.begin_launch(&ehr.registration(), &stranger.at("/fhir"), "xyz").await;
    assert_eq!(begun.unwrap_err(), SmartError::UnknownIssuer);
    assert!(stranger.server.received_requests().await.unwrap().is_empty());
    assert!(ehr.server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_without_s256_gets_no_launch() {
    let ehr = Ehr::start().await;
    for methods in [json!(["plain"]), json!([])] {
        let mut document = ehr.smart_configuration();
        document["code_challenge_methods_supported"] = methods;
        ehr.put("/fhir/.well-known/smart-configuration", document);
        let begun = ehr.smart.begin_launch(&ehr.registration(), &ehr.at("/fhir"), "xyz").await;
        assert_eq!(begun.unwrap_err(), SmartError::Discovery(DiscoveryFault::NoS256));
        ehr.clock.advance(SignedDuration::from_hours(1));
    }
}

#[rstest]
#[case("")]
#[case("a\r\nSet-Cookie: x")]
#[tokio::test]
async fn a_launch_parameter_must_be_one(#[case] launch: &str) {
    let ehr = Ehr::start().await;
    let begun = ehr.smart.begin_launch(&ehr.registration(), &ehr.at("/fhir"), launch).await;
    assert_eq!(begun.unwrap_err(), SmartError::BadLaunchRequest);
}

#[tokio::test]
async fn a_callback_of_another_launch_is_refused_before_its_code_is_used() {
    let (ehr, registration, begun) = ready().await;
    let other = ehr.begin(&registration).await;
    let attackers = callback(&other);
    let missing = Callback { state: None, ..callback(&begun) };
    let cut = Callback { state: Some(begun.state.state()[..42].to_owned()), ..callback(&begun) };
    for callback in [attackers, missing, cut] {
        let done = ehr.smart.complete_launch(&registration, begun.state.clone(), &callback).await;
        assert_eq!(done.unwrap_err(), SmartError::StateMismatch);
    }
    assert!(ehr.requests("/token").await.is_empty());
}

#[tokio::test]
async fn a_launch_does_not_wait_for_ever() {
    let (ehr, registration, begun) = ready().await;
    let callback = callback(&begun);
    ehr.clock.set(begun.state.expires_at());
    let done = ehr.smart.complete_launch(&registration, begun.state, &callback).await;
    let error = done.unwrap_err();
    assert_eq!((error.advice(), error), (Advice::OpenFromEhrAgain, SmartError::LaunchExpired));
    assert!(ehr.requests("/token").await.is_empty());
}

#[tokio::test]
async fn a_code_is_never_sent_to_another_server_than_the_launch_went_to() {
    let (ehr, registration, begun) = ready().await;
    let evil = Ehr::start().await;
    // The browser comes back to the right launch with the wrong server's name.
    let named = Callback { iss: Some(evil.at("/oauth2")), ..callback(&begun) };
    let done = ehr.smart.complete_launch(&registration, begun.state.clone(), &named).await;
    assert_eq!(done.unwrap_err(), SmartError::MixUp);
    // The launch of one EHR is completed under the registration of another.
    let done = ehr.smart.complete_launch(&evil.registration(), begun.state.clone(), &callback(&begun)).await;
    assert_eq!(done.unwrap_err(), SmartError::MixUp);
    // The token endpoint moves between the two halves of the launch.
    let mut document = ehr.smart_configuration();
    document["token_endpoint"] = json!(ehr.at("/elsewhere"));
    ehr.put("/fhir/.well-known/smart-configuration", document);
    let fresh = SmartClient::new(&Limits::default(), ehr.smart.instruments.clone()).unwrap();
    let done = fresh.complete_launch(&registration, begun.state.clone(), &callback(&begun)).await;
    assert_eq!(done.unwrap_err(), SmartError::MixUp);
    assert!(ehr.requests("/token").await.is_empty() && evil.requests("/token").await.is_empty());
    let named = Callback { iss: Some(ehr.at("/oauth2")), ..callback(&begun) };
    ehr.smart.complete_launch(&registration, begun.state, &named).await.unwrap();
}

#[tokio::test]
async fn a_refusal_at_the_callback_is_told_by_its_code_only() {
    let (ehr, registration, begun) = ready().await;
    for (error, code) in [("access_denied", "access_denied"), ("<script>", "other")] {
        let callback = Callback { error: Some(error.to_owned()), ..callback(&begun) };
        let done = ehr.smart.complete_launch(&registration, begun.state.clone(), &callback).await.unwrap_err();
        assert_eq!((done.advice(), done), (Advice::NotAllowed, SmartError::Denied { code }));
    }
}

#[rstest]
#[case("patient", json!("../Practitioner/1"))]
#[case("patient", json!({"reference": "Patient/1"}))]
#[case("encounter", json!(""))]
#[tokio::test]
async fn a_context_that_is_none_ends_the_launch(#[case] name: &'static str, #[case] value: Value) {
    let (ehr, registration, begun) = ready().await;
    let key = IssuerKey::rsa("k1", Algorithm::RS256);
    let mut response = token_response(&key.sign(&ehr.claims(&begun)));
    response[name] = value;
    ehr.put("/token", response);
    let callback = callback(&begun);
    let done = ehr.smart.complete_launch(&registration, begun.state, &callback).await;
    assert_eq!(done.unwrap_err(), SmartError::BadContext(name));
}

#[rstest]
#[case::page(200, "<html>access-secret</html>", TokenError::Malformed)]
#[case::other_type(200, r#"{"access_token":"access-secret","token_type":"mac"}"#, TokenError::Malformed)]
#[case::no_type(200, r#"{"access_token":"access-secret"}"#, TokenError::Malformed)]
#[case::used_code(400, r#"{"error":"invalid_grant","error_description":"code-secret"}"#, TokenError::Refused { code: "invalid_grant" })]
#[case::own_code(400, r#"{"error":"code-secret"}"#, TokenError::Refused { code: "other" })]
#[case::empty(401, "", TokenError::Refused { code: "other" })]
#[case::down(502, "", TokenError::Unreachable)]
#[tokio::test]
async fn a_token_endpoint_that_fails_tells_nothing_secret(
    #[case] status: u16,
    #[case] body: &str,
    #[case] expected: TokenError,
) {
    let (ehr, registration, begun) = ready().await;
    ehr.answer("/token", ResponseTemplate::new(status).set_body_raw(body.as_bytes().to_vec(), "application/json"));
    let callback = callback(&begun);
    let error = ehr.smart.complete_launch(&registration, begun.state, &callback).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert_eq!(error, SmartError::Token(expected));
    assert_eq!(ehr.requests("/token").await.len(), 1, "a code is sent once");
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let (ehr, registration, begun) = ready().await;
    let callback = callback(&begun);
    let kept = serde_json::to_value(&begun.state).unwrap();
    let shown = format!("{:?} {callback:?}", begun.state);
    for secret in ["state", "nonce", "verifier"] {
        assert!(!shown.contains(kept[secret].as_str().unwrap()), "{secret}");
    }
    let done = ehr.smart.complete_launch(&registration, begun.state, &callback).await.unwrap();
    let shown = format!("{done:?} {registration:?} {:?}", ehr.smart);
    assert!(!shown.contains("secret") && !shown.contains("nurse.jo"), "{shown}");
}

#[tokio::test]
async fn documents_are_fetched_once_while_they_are_fresh_and_redirects_are_not_followed() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    ehr.begin(&registration).await;
    ehr.clock.advance(SignedDuration::from_mins(9));
    ehr.begin(&registration).await;
    assert_eq!(ehr.requests("/fhir/.well-known/smart-configuration").await.len(), 1);
    ehr.clock.advance(SignedDuration::from_mins(2));
    let inside = ResponseTemplate::new(302).insert_header("Location", ehr.at("/jwks"));
    ehr.answer("/fhir/.well-known/smart-configuration", inside);
    let begun = ehr.smart.begin_launch(&registration, &ehr.at("/fhir"), "xyz").await;
    assert_eq!(begun.unwrap_err(), SmartError::Discovery(DiscoveryFault::NotFound));
    assert!(ehr.requests("/jwks").await.is_empty());
    let huge = ResponseTemplate::new(200).set_body_string("[".repeat(600_000));
    ehr.answer("/fhir/.well-known/smart-configuration", huge);
    let begun = ehr.smart.begin_launch(&registration, &ehr.at("/fhir"), "xyz").await;
    assert_eq!(begun.unwrap_err(), SmartError::Discovery(DiscoveryFault::Malformed));
}
