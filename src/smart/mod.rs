//! SMART App Launch 2.2: how the service and its users are authorized at an EHR.
//!
//! Owns discovery, registrations and signing keys, the EHR launch with its identity check, Backend Services tokens, and
//! what granted scopes mean. `http` calls the launch, `ehr` and `chart` get their tokens here (through
//! [`AccessTokenSource`](crate::fhir::AccessTokenSource)); nothing is stored here: states, grants and keys are handed in.
//!
//! What always holds:
//! - nothing is fetched for an `iss` that no registration names;
//! - PKCE is S256, `state` and `nonce` have 256 bits, and a launch ends at the server that it began at;
//! - an identity is an ID token that was signed by a key of an issuer allowed for that server, for this client, now; it is
//!   a practitioner of that same server or nobody;
//! - no token, code, verifier or key is shown by `Debug`, errors or logs.

mod assertion;
mod authorization_http;
mod backend;
mod discovery;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod id_token;
mod jwks;
mod keys;
mod launch;
mod registration;
mod scopes;
#[cfg(test)]
mod tests;
mod token_endpoint;

pub use backend::{BackendServices, RefreshPolicy};
pub use discovery::SmartConfiguration;
pub use error::{Advice, DiscoveryFault, IdTokenFault, KeyFault, SmartError};
pub use id_token::Identity;
pub use jwks::JwksCache;
pub use keys::{SigningAlgorithm, SigningKey, SigningKeys};
pub use launch::{Callback, FhirContext, LaunchBegun, LaunchCompleted, LaunchState, VendorFields};
pub use registration::{ClientAuthentication, ClientRegistration, EhrServer, LaunchRegistration, admit};
pub use scopes::{GrantedScopes, Interaction, ResourceScope, ScopeLevel};

use crate::fhir::{FhirError, Limits};
use crate::kernel::Instruments;
use authorization_http::AuthorizationHttp;
use discovery::Discovery;
use std::sync::Arc;

/// The client side of SMART: discovery and key caches over one HTTP client. Cheap to clone; one for the whole process.
#[derive(Clone)]
pub struct SmartClient {
    pub(in crate::smart) http: AuthorizationHttp,
    pub(in crate::smart) discovery: Arc<Discovery>,
    pub(in crate::smart) jwks: Arc<JwksCache>,
    pub(in crate::smart) instruments: Instruments,
}

impl std::fmt::Debug for SmartClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartClient").finish_non_exhaustive()
    }
}

impl SmartClient {
    /// A client with empty caches. Protocol time is real: `instruments` hold the system's clock outside tests.
    ///
    /// # Errors
    /// [`FhirError::Unreachable`] when the TLS stack cannot be set up.
    pub fn new(limits: &Limits, instruments: Instruments) -> Result<Self, FhirError> {
        let http = AuthorizationHttp::new(limits, Arc::clone(&instruments.clock))?;
        let discovery = Arc::new(Discovery::new(http.clone(), Arc::clone(&instruments.clock)));
        let jwks = Arc::new(JwksCache::new(http.clone(), Arc::clone(&instruments.clock)));
        Ok(Self { http, discovery, jwks, instruments })
    }

    /// What the server at `server` says about its authorization, from the cache while that is fresh.
    ///
    /// # Errors
    /// [`SmartError::Discovery`].
    pub async fn smart_configuration(&self, server: &EhrServer) -> Result<Arc<SmartConfiguration>, SmartError> {
        Ok(self.discovery.smart_configuration(server).await?)
    }

    /// The key sets of issuers, for whoever else checks signatures (CDS Hooks).
    #[must_use]
    pub fn jwks(&self) -> &Arc<JwksCache> {
        &self.jwks
    }
}
