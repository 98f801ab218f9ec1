//! Who we are to an EHR, and which EHR may send launches.

use super::error::SmartError;
use super::keys::{SigningAlgorithm, SigningKeys};
use crate::fhir::ServerBase;
use std::sync::Arc;
use url::Url;

/// A client as an EHR's authorization server knows it.
#[derive(Debug, Clone)]
pub struct ClientRegistration {
    /// The id that the EHR gave it.
    pub client_id: String,
    /// How it proves who it is.
    pub authentication: ClientAuthentication,
    /// The scopes asked for; for a launch these hold `launch`, `openid` and `fhirUser`.
    pub scopes: Vec<String>,
}

/// How a client proves who it is at the token endpoint.
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// It does not (PKCE alone protects the code).
    Public,
    /// By a signed assertion (`private_key_jwt`, SMART asymmetric authentication).
    PrivateKeyJwt {
        /// The algorithm registered at the EHR.
        algorithm: SigningAlgorithm,
        /// The keys whose public halves the EHR knows by our JWKS.
        keys: Arc<SigningKeys>,
    },
}

/// One EHR's FHIR server, and what of its authorization is trusted. Comes from the operator, never from a request.
#[derive(Debug, Clone)]
pub struct EhrServer {
    /// The FHIR base address.
    pub base: ServerBase,
    /// The issuers whose ID tokens are accepted. Empty: the one that the server's own smart-configuration names.
    pub id_token_issuers: Vec<String>,
    /// Hosts beside the base's and the issuers' where endpoints and keys may be.
    pub endpoint_hosts: Vec<String>,
    /// Whether an ID token without our nonce is refused (OpenID Connect says that it comes back; not every EHR sends it).
    pub require_nonce: bool,
}

impl EhrServer {
    /// A server about which nothing more is known than its base address.
    #[must_use]
    pub const fn new(base: ServerBase) -> Self {
        Self { base, id_token_issuers: Vec::new(), endpoint_hosts: Vec::new(), require_nonce: false }
    }
}

/// A tenant's registration for launches.
#[derive(Debug, Clone)]
pub struct LaunchRegistration {
    /// The client.
    pub client: ClientRegistration,
    /// The EHR that launches it.
    pub server: EhrServer,
    /// Where the EHR sends the browser back to, exactly as registered.
    pub redirect_uri: Url,
}

impl LaunchRegistration {
    /// Whether a launch's `iss` is this registration's EHR. A trailing slash makes no difference; all else does.
    #[must_use]
    pub fn accepts(&self, iss: &str) -> bool {
        let base = self.server.base.as_str();
        // A URL parser would forgive what a look-alike needs: upper case, default ports, dot segments.
        iss.strip_suffix('/').unwrap_or(iss) == base
    }
}

/// The registrations that accept `iss`; more than one when tenants share an EHR.
///
/// # Errors
/// [`SmartError::UnknownIssuer`] when there is none.
pub fn admit<'a>(
    registrations: impl IntoIterator<Item = &'a LaunchRegistration>,
    iss: &str,
) -> Result<Vec<&'a LaunchRegistration>, SmartError> {
    let admitted: Vec<_> = registrations.into_iter().filter(|registration| registration.accepts(iss)).collect();
    if admitted.is_empty() { Err(SmartError::UnknownIssuer) } else { Ok(admitted) }
}
