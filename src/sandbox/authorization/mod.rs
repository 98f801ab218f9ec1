//! SMART authorization: discovery, authorize, token, and the bearer tokens that the FHIR server asks for.
//!
//! Owns the registered clients, the signing key and every grant. Called over HTTP by the applications that are
//! launched, and by [`super::fhir_server`] for each request that bears a token. What always holds: PKCE S256 or no
//! code, an exact redirect URI or no redirect, an assertion once or not at all, a grant never wider than the
//! registration. Protocol time (tokens, codes, assertions) is real time (law 10).

mod assertion;
mod authorize;
mod clients;
mod discovery;
mod grants;
mod introspection;
mod keys;
mod launches;
pub mod scopes;
#[cfg(test)]
mod tests;
mod token_endpoint;
pub mod tokens;

pub use clients::RegisteredClient;
pub use discovery::Endpoints;
pub use grants::LaunchContext;

use super::SandboxError;
use super::fhir_server::outcome::FhirError;
use crate::kernel::{Clock, Instruments};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use grants::Grants;
use http::{HeaderMap, StatusCode, header};
use keys::SigningKey;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokens::{AccessClaims, AccessTokens};

/// Someone who can be chosen in the picker.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The resource's id.
    pub id: String,
    /// What a person reads.
    pub label: String,
}

/// Who can sign in, and about whom.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Practitioners.
    pub practitioners: Vec<Choice>,
    /// Patients.
    pub patients: Vec<Choice>,
}

/// The authorization server.
pub struct Authorization {
    endpoints: Endpoints,
    fhir_base: String,
    clients: Vec<RegisteredClient>,
    directory: Directory,
    grants: Grants,
    tokens: AccessTokens,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
}

impl Authorization {
    /// A server at `base` that protects the FHIR server at `fhir_base`. `clock` is real time.
    ///
    /// # Errors
    /// [`SandboxError`] where no key or no HTTP client can be made.
    pub fn new(
        base: &str,
        fhir_base: &str,
        (clients, directory): (Vec<RegisteredClient>, Directory),
        token_lifetime: Duration,
        clock: Arc<dyn Clock>,
        instruments: Instruments,
    ) -> Result<Self, SandboxError> {
        let endpoints = Endpoints::at(base);
        let key = SigningKey::generate()?;
        let names = (endpoints.issuer.clone(), fhir_base.to_owned());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Self {
            tokens: AccessTokens::new(key, names, token_lifetime, Arc::clone(&clock), instruments.clone()),
            grants: Grants::new(Arc::clone(&clock), instruments),
            fhir_base: fhir_base.to_owned(),
            endpoints,
            clients,
            directory,
            clock,
            http,
        })
    }

    /// The routes: those that a fault may hit, and the sandbox's own.
    pub fn routes(self: &Arc<Self>) -> (Router, Router) {
        let protocol = Router::new()
            .route("/fhir/.well-known/smart-configuration", get(discovery::smart_configuration))
            .route("/auth/.well-known/openid-configuration", get(discovery::openid_configuration))
            .route("/auth/jwks", get(discovery::jwks))
            .route("/auth/authorize", get(authorize::by_query).post(authorize::by_form))
            .route("/auth/decision", post(authorize::decide))
            .route("/auth/token", post(token_endpoint::token))
            .route("/auth/introspect", post(introspection::introspect))
            .route("/auth/revoke", post(introspection::revoke))
            .with_state(Arc::clone(self));
        let sandbox = Router::new()
            .route("/sandbox/launches", post(launches::create))
            .route("/sandbox/tokens", delete(launches::revoke_all))
            .with_state(Arc::clone(self));
        (protocol, sandbox)
    }

    /// Where its parts are.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Access tokens.
    #[must_use]
    pub const fn tokens(&self) -> &AccessTokens {
        &self.tokens
    }

    /// Who can sign in, and about whom.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The claims of the token that a request bears.
    ///
    /// # Errors
    /// [`FhirError::Unauthenticated`] where there is none that holds.
    pub fn bearer(&self, headers: &HeaderMap) -> Result<AccessClaims, FhirError> {
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            header.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let (_, token) =
            token.ok_or(FhirError::Unauthenticated("an access token is required: Authorization: Bearer"))?;
        self.tokens.verify(token.trim()).ok_or(FhirError::Unauthenticated("the access token does not hold (any more)"))
    }

    fn client(&self, client_id: &str) -> Option<&RegisteredClient> {
        self.clients.iter().find(|client| client.client_id() == client_id)
    }

    /// The first registered application that can be launched.
    #[must_use]
    pub fn launchable(&self) -> Option<&RegisteredClient> {
        self.clients.iter().find(|client| client.launch_url().is_some())
    }
}

/// The `iss` of an assertion that nobody has verified: it says whose keys to verify it by, and nothing else.
fn unverified_issuer(assertion: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Issuer {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Issuer>(assertion).ok().map(|claims| claims.iss)
}

/// A refusal of the token endpoint (RFC 6749 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// A parameter is missing.
    #[error("{0} is required")]
    Missing(&'static str),
    /// The request cannot be read.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The client has not proven who it is.
    #[error("{0}")]
    InvalidClient(&'static str),
    /// The code or refresh token does not hold.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// The client may not use this grant type.
    #[error("this client may not use this grant type")]
    UnauthorizedClient,
    /// No such grant type.
    #[error("the grant_type is authorization_code, refresh_token or client_credentials")]
    UnsupportedGrantType,
    /// Nothing of what was asked for may be granted.
    #[error("none of these scopes may be granted to this client, or they are more than was granted before")]
    InvalidScope,
    /// The server could not make a token.
    #[error("the server could not make a token")]
    ServerError,
}

impl OAuthError {
    const fn codes(self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing(_) | Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient(_) => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnauthorizedClient => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope"),
            Self::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let (status, error) = self.codes();
        let body = json!({"error": error, "error_description": self.to_string()});
        token_endpoint::uncached((status, axum::Json(body)).into_response())
    }
}
