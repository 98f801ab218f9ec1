//! Introspection (RFC 7662) and revocation (RFC 7009).

use super::super::fhir_server::outcome::FhirError;
use super::Authorization;
use axum::Json;
use axum::extract::{Form, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct TokenForm {
    token: String,
}

/// `POST /auth/introspect`, by the bearer of any token that holds.
pub(super) async fn introspect(
    State(server): State<Arc<Authorization>>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Result<Json<Value>, FhirError> {
    server.bearer(&headers)?;
    let Some(claims) = server.tokens.verify(&form.token) else { return Ok(Json(json!({"active": false}))) };
    let mut answer = serde_json::to_value(&claims).unwrap_or_default();
    if let Some(members) = answer.as_object_mut() {
        members.insert("active".into(), json!(true));
    }
    Ok(Json(answer))
}

/// `POST /auth/revoke`: ends a refresh token. Whoever holds it may end it; an unknown one is no error.
pub(super) async fn revoke(State(server): State<Arc<Authorization>>, Form(form): Form<TokenForm>) -> StatusCode {
    server.grants.revoke_refresh(&form.token);
    StatusCode::OK
}
