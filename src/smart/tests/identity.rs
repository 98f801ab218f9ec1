use super::*;
use jiff::SignedDuration;
use rstest::rstest;

/// Completes a launch with this ID token.
async fn completed(
    ehr: &Ehr,
    registration: &LaunchRegistration,
    begun: LaunchBegun,
    id_token: &str,
) -> Result<Identity, SmartError> {
    ehr.give(id_token);
    let callback = callback(&begun);
    ehr.smart.complete_launch(registration, begun.state, &callback).await.map(|done| done.identity)
}

/// Completes a launch with an ID token whose claims `change` has changed.
async fn with_claims(change: impl FnOnce(&mut Value)) -> Result<Identity, SmartError> {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let key = IssuerKey::p384("k1");
    ehr.put("/jwks", json!({"keys": [key.public()]}));
    let mut claims = ehr.claims(&begun);
    change(&mut claims);
    completed(&ehr, &registration, begun, &key.sign(&claims)).await
}

#[rstest]
#[case::rs256(|| IssuerKey::rsa("k1", Algorithm::RS256))]
#[case::rs384(|| IssuerKey::rsa("k1", Algorithm::RS384))]
#[case::es256(|| IssuerKey::p256("k1"))]
#[case::es384(|| IssuerKey::p384("k1"))]
#[tokio::test]
async fn the_accepted_algorithms_verify(#[case] key: fn() -> IssuerKey) {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let key = key();
    let strange = json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "k0", "pub": "x"});
    ehr.put("/jwks", json!({"keys": [strange, key.public()]}));
    let id_token = key.sign(&ehr.claims(&begun));
    completed(&ehr, &registration, begun, &id_token).await.unwrap();
}

#[rstest]
#[case::other_issuer("iss", json!("https://evil.example"), IdTokenFault::Issuer)]
#[case::other_audience("aud", json!("another-client"), IdTokenFault::Audience)]
#[case::two_audiences("aud", json!([CLIENT, "another-client"]), IdTokenFault::Audience)]
#[case::other_presenter("azp", json!("another-client"), IdTokenFault::Audience)]
#[case::expired("exp", json!(1_795_341_540), IdTokenFault::Expired)]
#[case::future("iat", json!(1_795_341_661), IdTokenFault::FromTheFuture)]
#[case::other_nonce("nonce", json!("another-launch"), IdTokenFault::Nonce)]
#[case::no_subject("sub", json!(""), IdTokenFault::Malformed)]
#[case::long_subject("sub", json!("x".repeat(256)), IdTokenFault::Malformed)]
#[case::no_audience("aud", Value::Null, IdTokenFault::Malformed)]
#[case::no_expiry("exp", Value::Null, IdTokenFault::Malformed)]
#[tokio::test]
async fn a_claim_that_is_wrong_ends_the_launch(#[case] claim: &str, #[case] value: Value, #[case] fault: IdTokenFault) {
    let now: jiff::Timestamp = NOW.parse().unwrap();
    assert_eq!(now.as_second(), 1_795_341_600, "the cases stand around this second");
    let identity = with_claims(|claims| {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value;
        }
    });
    assert_eq!(identity.await.unwrap_err(), SmartError::IdToken(fault));
}

#[tokio::test]
async fn several_audiences_need_a_presenter() {
    let both = |claims: &mut Value| {
        claims["aud"] = json!([CLIENT, "another-client"]);
        claims["azp"] = json!(CLIENT);
    };
    with_claims(both).await.unwrap();
}

#[tokio::test]
async fn a_missing_nonce_is_up_to_the_servers_registration() {
    let without = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("nonce");
    };
    with_claims(without).await.unwrap();
    let ehr = Ehr::start().await;
    let mut registration = ehr.registration();
    registration.server.require_nonce = true;
    let begun = ehr.begin(&registration).await;
    let key = IssuerKey::p384("k1");
    ehr.put("/jwks", json!({"keys": [key.public()]}));
    let mut claims = ehr.claims(&begun);
    without(&mut claims);
    let identity = completed(&ehr, &registration, begun, &key.sign(&claims)).await;
    assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::Nonce));
}

#[rstest]
#[case::relative("Practitioner/n1", Some("Practitioner/n1"))]
#[case::role("PractitionerRole/r1", Some("PractitionerRole/r1"))]
#[case::patient("Patient/p1", None)]
#[case::related("RelatedPerson/r1", None)]
#[case::other_server("https://elsewhere.example/fhir/Practitioner/n1", None)]
#[case::nonsense("nobody", None)]
#[tokio::test]
async fn only_a_practitioner_of_this_ehr_is_staff(#[case] fhir_user: &str, #[case] expected: Option<&str>) {
    let identity = with_claims(|claims| claims["fhirUser"] = json!(fhir_user)).await;
    match expected {
        Some(expected) => assert_eq!(identity.unwrap().fhir_user.unwrap().to_string(), expected),
        None => assert_eq!(identity.unwrap_err(), SmartError::NotStaff),
    }
}

#[tokio::test]
async fn a_person_without_fhir_user_is_known_by_subject_alone() {
    let identity = with_claims(|claims| {
        claims.as_object_mut().unwrap().remove("fhirUser");
        claims["profile"] = json!("https://people.example/jo");
        claims["acr"] = json!("silver");
        claims["amr"] = json!(["pwd", "mfa"]);
    });
    let identity = identity.await.unwrap();
    assert_eq!(identity.fhir_user, None);
    assert_eq!((identity.authentication_class.as_deref(), identity.authentication_methods.len()), (Some("silver"), 2));
}

#[tokio::test]
async fn an_unsigned_or_symmetrically_signed_token_is_refused() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let key = IssuerKey::rsa("k1", Algorithm::RS256);
    ehr.put("/jwks", json!({"keys": [key.public()]}));
    let begun = ehr.begin(&registration).await;
    let encode = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = ehr.claims(&begun);
    for alg in ["none", "None", "nOnE"] {
        let unsigned = format!("{}.{}.", encode(&json!({"alg": alg, "typ": "JWT"})), encode(&claims));
        let state = LaunchBegun { redirect: begun.redirect.clone(), state: begun.state.clone() };
        let identity = completed(&ehr, &registration, state, &unsigned).await;
        assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::Algorithm), "{alg}");
    }
    // The public key taken for a shared secret.
    let public = key.public()["n"].as_str().unwrap().to_owned();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
    let identity = completed(&ehr, &registration, begun, &forged).await;
    assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::Algorithm));
}

#[tokio::test]
async fn another_key_under_the_right_name_does_not_verify() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    ehr.put("/jwks", json!({"keys": [IssuerKey::p256("k1").public()]}));
    let forged = IssuerKey::p256("k1").sign(&ehr.claims(&begun));
    let identity = completed(&ehr, &registration, begun, &forged).await;
    assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::Signature));
}

#[tokio::test]
async fn a_key_for_encryption_is_no_key_for_signatures() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let key = IssuerKey::p384("k1");
    let mut public = key.public();
    public["use"] = json!("enc");
    ehr.put("/jwks", json!({"keys": [public]}));
    let identity = completed(&ehr, &registration, begun, &key.sign(&json!({"iss": ehr.at("/oauth2")}))).await;
    assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::UnknownKey));
}

#[tokio::test]
async fn the_key_set_is_named_by_the_issuer_and_not_by_the_token() {
    let (ehr, evil) = (Ehr::start().await, Ehr::start().await);
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let key = IssuerKey::p384("k1");
    ehr.put("/jwks", json!({"keys": []}));
    evil.put("/jwks", json!({"keys": [key.public()]}));
    let mut header = Header::new(Algorithm::ES384);
    header.kid = Some("k1".to_owned());
    header.jku = Some(evil.at("/jwks"));
    header.jwk = Some(serde_json::from_value(key.public()).unwrap());
    let forged = jsonwebtoken::encode(&header, &ehr.claims(&begun), &key.key).unwrap();
    let identity = completed(&ehr, &registration, begun, &forged).await;
    assert_eq!(identity.unwrap_err(), SmartError::IdToken(IdTokenFault::UnknownKey));
    assert!(evil.server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_key_is_found_by_fetching_once_and_a_withdrawn_one_is_forgotten() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let (old, new) = (IssuerKey::p384("old"), IssuerKey::p256("new"));
    ehr.put("/jwks", json!({"keys": [old.public()]}));
    let launch = async |key: &IssuerKey| {
        let begun = ehr.begin(&registration).await;
        let id_token = key.sign(&ehr.claims(&begun));
        completed(&ehr, &registration, begun, &id_token).await
    };
    launch(&old).await.unwrap();
    ehr.put("/jwks", json!({"keys": [new.public()]}));
    let unknown = Err(SmartError::IdToken(IdTokenFault::UnknownKey));
    assert_eq!(launch(&new).await, unknown, "the set was fetched a moment ago");
    assert_eq!(ehr.requests("/jwks").await.len(), 1);
    ehr.clock.advance(SignedDuration::from_secs(10));
    launch(&new).await.unwrap();
    assert_eq!(ehr.requests("/jwks").await.len(), 2);
    ehr.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(launch(&old).await, unknown, "a withdrawn key");
    assert_eq!(ehr.requests("/jwks").await.len(), 3, "fetched once more, and not again and again");
}

#[tokio::test]
async fn keys_are_found_by_openid_discovery_when_the_issuer_is_another() {
    let ehr = Ehr::start().await;
    let issuer = ehr.at("/idsps/1/");
    let mut registration = ehr.registration();
    registration.server.id_token_issuers = vec![issuer.clone()];
    let key = IssuerKey::p384("k1");
    let discovered = json!({"issuer": issuer, "jwks_uri": ehr.at("/idsp-jwks")});
    ehr.put("/idsps/1/.well-known/openid-configuration", discovered);
    ehr.put("/idsp-jwks", json!({"keys": [key.public()]}));
    let begun = ehr.begin(&registration).await;
    let mut claims = ehr.claims(&begun);
    claims["iss"] = json!(issuer);
    completed(&ehr, &registration, begun, &key.sign(&claims)).await.unwrap();
    assert!(ehr.requests("/jwks").await.is_empty());

    let elsewhere = json!({"issuer": issuer, "jwks_uri": "https://169.254.169.254/keys"});
    ehr.put("/idsps/1/.well-known/openid-configuration", elsewhere);
    ehr.clock.advance(SignedDuration::from_mins(11));
    let begun = ehr.begin(&registration).await;
    let mut claims = ehr.claims(&begun);
    claims["iss"] = json!(issuer);
    let identity = completed(&ehr, &registration, begun, &key.sign(&claims)).await;
    assert_eq!(identity.unwrap_err(), SmartError::Discovery(DiscoveryFault::Endpoint("jwks_uri")));
}

#[tokio::test]
async fn without_an_id_token_nobody_is_let_in() {
    let ehr = Ehr::start().await;
    let registration = ehr.registration();
    let begun = ehr.begin(&registration).await;
    let mut response = token_response("");
    response.as_object_mut().unwrap().remove("id_token");
    ehr.put("/token", response);
    let callback = callback(&begun);
    let done = ehr.smart.complete_launch(&registration, begun.state, &callback).await;
    assert_eq!(done.unwrap_err(), SmartError::IdToken(IdTokenFault::Missing));
}
