//! A FHIR R4 server: versioned resources in memory, strict search, a booking desk that arbitrates races.
//!
//! Owns the clinic's resources. Its callers are whoever speaks FHIR to it over HTTP with a token of
//! [`super::authorization`]. What always holds: every answer is FHIR JSON, every error an `OperationOutcome`; a
//! write is checked and done in one step; what the `CapabilityStatement` says is what is done.

mod booking;
mod capability;
mod comparison;
pub mod element;
mod interactions;
pub mod outcome;
mod paging;
pub mod resource_types;
mod search;
mod searching;
pub mod store;
#[cfg(test)]
mod tests;
mod validation;

use super::authorization::Authorization;
use super::authorization::scopes::Permission;
use super::authorization::tokens::{AccessClaims, Reach};
use crate::kernel::Instruments;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use element::{at_path, local_reference};
use http::{HeaderMap, StatusCode, header};
use jiff::tz::TimeZone;
use outcome::{FhirError, fhir_json};
use paging::Pages;
use resource_types::{ResourceType, resource_type};
use search::Frame;
use serde_json::Value;
use std::sync::Arc;
use store::{Shelves, Store};

/// The largest body that is taken, in bytes.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// The server's state.
pub struct FhirServer {
    frame: Frame,
    store: Store,
    pages: Pages,
    authorization: Arc<Authorization>,
    instruments: Instruments,
}

impl FhirServer {
    /// A server at `base` over `resources`, which are stored in this order without the rules for clients.
    #[must_use]
    pub fn new(
        base: &str,
        zone: TimeZone,
        resources: Vec<Value>,
        authorization: Arc<Authorization>,
        instruments: Instruments,
    ) -> Self {
        let store = Store::new(instruments.clone());
        store.write(|shelves, now| {
            for resource in resources {
                let name = |member: &str| resource.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (kind, id) = (name("resourceType"), name("id"));
                shelves.put(&kind, &id, resource, now);
            }
        });
        let frame = Frame { base: base.to_owned(), zone };
        Self { frame, store, pages: Pages::default(), authorization, instruments }
    }

    /// The routes below the base path `/fhir`.
    pub fn routes(self: &Arc<Self>) -> Router {
        let instance =
            get(interactions::read).put(interactions::update).patch(interactions::patch).delete(interactions::delete);
        Router::new()
            .route("/fhir/metadata", get(metadata))
            .route("/fhir/{type}", get(searching::by_query).post(interactions::create))
            .route("/fhir/{type}/_search", post(searching::by_form))
            .route("/fhir/{type}/{id}", instance)
            .route("/fhir/{type}/{id}/_history/{version}", get(interactions::read_version))
            .route("/fhir", any(async || FhirError::NotSupported))
            .fallback(async || FhirError::NotFound)
            .method_not_allowed_fallback(async || FhirError::NotSupported)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(self))
    }

    fn base(&self) -> &str {
        &self.frame.base
    }

    /// Who calls, and how far they reach in this type.
    fn admit(&self, headers: &HeaderMap, kind: &str, permission: Permission) -> Result<Admitted, FhirError> {
        acceptable(headers)?;
        let claims = self.authorization.bearer(headers)?;
        let kind = resource_type(kind).ok_or(FhirError::NotFound)?;
        let reach = claims.reach(kind.name, permission).ok_or(FhirError::InsufficientScope)?;
        Ok(Admitted { kind, reach, claims, base: self.base().to_owned() })
    }
}

/// A caller who was let in to one type.
struct Admitted {
    kind: &'static ResourceType,
    reach: Reach,
    claims: AccessClaims,
    base: String,
}

impl Admitted {
    /// Whether the caller's scopes reach this resource: with `patient/` scopes, only what speaks of that patient and
    /// what speaks of none.
    fn reaches(&self, resource: &Value) -> bool {
        let Reach::Patient(patient) = &self.reach else { return true };
        let is_patient = |reference: &Value| local_reference(reference, &self.base) == Some(("Patient", patient));
        match self.kind.compartment {
            [] => true,
            ["."] => resource.get("id").and_then(Value::as_str) == Some(patient),
            paths => paths.iter().flat_map(|path| at_path(resource, path)).any(is_patient),
        }
    }

    /// Whether the caller may read resources of another type, as `_include` adds them.
    fn may_read(&self, resource: &Value) -> bool {
        let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        self.claims.reach(kind, Permission::Read).is_some()
    }

    fn current<'a>(&self, shelves: &'a Shelves, id: &str) -> Result<&'a Arc<Value>, FhirError> {
        let resource = shelves.current(self.kind.name, id)?;
        self.reaches(resource).then_some(resource).ok_or(FhirError::NotFound)
    }
}

/// FHIR JSON of 4.0 must be among what the caller accepts.
fn acceptable(headers: &HeaderMap) -> Result<(), FhirError> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return Ok(()) };
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let version = parts.find_map(|part| part.strip_prefix("fhirVersion="));
        ["application/fhir+json", "application/json", "application/*", "*/*"].contains(&media)
            && version.is_none_or(|version| version.starts_with("4.0"))
    };
    accept.split(',').any(|range| takes(range.trim())).then_some(()).ok_or(FhirError::NotAcceptable)
}

async fn metadata(State(server): State<Arc<FhirServer>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = acceptable(&headers) {
        return refusal.into_response();
    }
    let endpoints = server.authorization.endpoints();
    let today = server.instruments.now().to_zoned(server.frame.zone.clone()).date().to_string();
    let statement = capability::capability_statement(server.base(), &endpoints.authorize, &endpoints.token, &today);
    fhir_json(StatusCode::OK, &statement)
}
