//! The applications that the hospital has registered.

use super::scopes::ScopeSet;
use url::Url;

/// One registered application. The EHR knows nothing else of it.
#[derive(Debug, Clone)]
pub enum RegisteredClient {
    /// SMART Backend Services: no person, `private_key_jwt` only.
    Backend {
        /// The client id.
        client_id: String,
        /// Where the application publishes its public keys.
        jwks_url: Url,
        /// The scopes that an administrator has allowed, space-separated.
        scopes: String,
    },
    /// An application launched from the EHR that can keep no secret; PKCE alone protects it.
    LaunchPublic {
        /// The client id.
        client_id: String,
        /// Where it may be sent back to, compared letter for letter.
        redirect_uris: Vec<Url>,
        /// Where a launch starts.
        launch_url: Url,
        /// The scopes that an administrator has allowed, space-separated.
        scopes: String,
    },
    /// An application launched from the EHR that authenticates by `private_key_jwt`.
    LaunchAsymmetric {
        /// The client id.
        client_id: String,
        /// Where the application publishes its public keys.
        jwks_url: Url,
        /// Where it may be sent back to, compared letter for letter.
        redirect_uris: Vec<Url>,
        /// Where a launch starts.
        launch_url: Url,
        /// The scopes that an administrator has allowed, space-separated.
        scopes: String,
    },
}

impl RegisteredClient {
    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match self {
            Self::Backend { client_id, .. }
            | Self::LaunchPublic { client_id, .. }
            | Self::LaunchAsymmetric { client_id, .. } => client_id,
        }
    }

    /// Where its public keys are; `None` for a public client, which has none.
    #[must_use]
    pub const fn jwks_url(&self) -> Option<&Url> {
        match self {
            Self::Backend { jwks_url, .. } | Self::LaunchAsymmetric { jwks_url, .. } => Some(jwks_url),
            Self::LaunchPublic { .. } => None,
        }
    }

    /// Where it may be sent back to.
    #[must_use]
    pub fn redirect_uris(&self) -> &[Url] {
        match self {
            Self::Backend { .. } => &[],
            Self::LaunchPublic { redirect_uris, .. } | Self::LaunchAsymmetric { redirect_uris, .. } => redirect_uris,
        }
    }

    /// Where a launch starts; `None` for a backend service.
    #[must_use]
    pub const fn launch_url(&self) -> Option<&Url> {
        match self {
            Self::Backend { .. } => None,
            Self::LaunchPublic { launch_url, .. } | Self::LaunchAsymmetric { launch_url, .. } => Some(launch_url),
        }
    }

    /// The scopes that it may be granted.
    #[must_use]
    pub fn scopes(&self) -> ScopeSet {
        match self {
            Self::Backend { scopes, .. }
            | Self::LaunchPublic { scopes, .. }
            | Self::LaunchAsymmetric { scopes, .. } => ScopeSet::read(scopes),
        }
    }
}
