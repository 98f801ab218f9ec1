//! What a client reads before it asks for anything: SMART configuration, OpenID configuration, keys.

use super::Authorization;
use axum::Json;
use axum::extract::State;
use http::header;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where the authorization server's parts are.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The issuer of id tokens and access tokens.
    pub issuer: String,
    /// The authorization endpoint.
    pub authorize: String,
    /// The token endpoint; the audience of client assertions.
    pub token: String,
    /// The JWK set.
    pub jwks: String,
    /// Introspection (RFC 7662).
    pub introspect: String,
    /// Revocation (RFC 7009).
    pub revoke: String,
}

impl Endpoints {
    /// The endpoints of a server at `base`, such as `http://127.0.0.1:8090`.
    #[must_use]
    pub fn at(base: &str) -> Self {
        let part = |name: &str| format!("{base}/auth{name}");
        Self {
            issuer: part(""),
            authorize: part("/authorize"),
            token: part("/token"),
            jwks: part("/jwks"),
            introspect: part("/introspect"),
            revoke: part("/revoke"),
        }
    }
}

const SCOPES: [&str; 11] = [
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "online_access",
    "offline_access",
    "patient/*.rs",
    "user/*.cruds",
    "user/*.rs",
    "system/*.cruds",
    "system/*.rs",
];

/// `{fhir}/.well-known/smart-configuration`
/// (<https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>).
pub(super) async fn smart_configuration(State(server): State<Arc<Authorization>>) -> Json<Value> {
    let at = &server.endpoints;
    Json(json!({
        "issuer": at.issuer,
        "jwks_uri": at.jwks,
        "authorization_endpoint": at.authorize,
        "token_endpoint": at.token,
        "introspection_endpoint": at.introspect,
        "revocation_endpoint": at.revoke,
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": [
            "launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-asymmetric",
            "sso-openid-connect", "context-banner", "context-ehr-patient", "context-ehr-encounter",
            "context-standalone-patient", "permission-offline", "permission-online", "permission-patient",
            "permission-user", "permission-v1", "permission-v2",
        ],
    }))
}

/// `{issuer}/.well-known/openid-configuration` (OpenID Connect Discovery 1.0).
pub(super) async fn openid_configuration(State(server): State<Arc<Authorization>>) -> Json<Value> {
    let at = &server.endpoints;
    Json(json!({
        "issuer": at.issuer,
        "jwks_uri": at.jwks,
        "authorization_endpoint": at.authorize,
        "token_endpoint": at.token,
        "introspection_endpoint": at.introspect,
        "revocation_endpoint": at.revoke,
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": SCOPES,
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "nonce", "acr", "amr", "fhirUser"],
    }))
}

/// The JWK set.
pub(super) async fn jwks(
    State(server): State<Arc<Authorization>>,
) -> ([(header::HeaderName, &'static str); 1], Json<Value>) {
    ([(header::CACHE_CONTROL, "max-age=300")], Json(server.tokens.key.jwks()))
}
