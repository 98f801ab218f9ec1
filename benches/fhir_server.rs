//! A FHIR server that answers at once and keeps nothing.

use crate::peer::{self, Tally};
use anyhow::Result;
use axum::{
    Json, Router,
    body::Bytes,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::json;

pub(crate) struct FhirServer {
    /// For `fhir_base`.
    pub(crate) base: String,
    pub(crate) created: Tally,
}

impl FhirServer {
    pub(crate) fn start() -> Result<Self> {
        let created = Tally::default();
        let tally = created.clone();
        let address = peer::serve(|address| {
            let base = format!("http://{address}/fhir");
            let create = async move |_body: Bytes| {
                let location = format!("{base}/Communication/c{}/_history/1", tally.add());
                let headers = [(header::LOCATION, location), (header::ETAG, "W/\"1\"".to_owned())];
                (StatusCode::CREATED, headers).into_response()
            };
            let configuration = json!({ "token_endpoint": format!("http://{address}/token"), "capabilities": [] });
            let token = json!({ "access_token": "a-token", "token_type": "bearer", "expires_in": 3600, "scope": "system/*.cruds" });
            let capabilities = json!({
                "resourceType": "CapabilityStatement",
                "rest": [{ "mode": "server", "resource": [{
                    "type": "Communication",
                    "interaction": [{ "code": "create" }, { "code": "read" }, { "code": "patch" }],
                    "conditionalCreate": true,
                }] }],
            });
            Router::new()
                .route("/fhir/.well-known/smart-configuration", get(async move || Json(configuration)))
                .route("/token", post(async move |_body: Bytes| Json(token)))
                .route("/fhir/metadata", get(async move || Json(capabilities)))
                .route("/fhir/Communication", post(create))
        })?;
        Ok(Self { base: format!("http://{address}/fhir"), created })
    }
}
