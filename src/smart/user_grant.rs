//! A person's grant that can be refreshed: one refresh at a time, and no refresh token used twice.

use super::SmartClient;
use super::error::{DiscoveryFault, SmartError};
use super::registration::LaunchRegistration;
use super::token_endpoint::TokenEndpoint;
use crate::fhir::{AccessTokenSource, BoxFuture, SecretToken, TokenError};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::Arc;

/// This long before a token ends the next one is fetched.
const EARLY: SignedDuration = SignedDuration::from_secs(30);

/// A person's tokens as they are kept.
#[derive(Debug, Clone)]
pub struct StoredGrant {
    /// The token to act with.
    pub access_token: SecretToken,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The token to get the next one with; `None` when there is none, or when it was spent.
    pub refresh_token: Option<SecretToken>,
}

/// The store failed; the person signs in again rather than risk that a refresh token is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the grant could not be read or written")]
pub struct StoreFault;

/// Keeps one person's grant, sealed. On several nodes it is what makes a refresh happen once.
pub trait GrantStore: Send + Sync + 'static {
    /// The grant as it is now.
    fn load(&self) -> BoxFuture<'_, Result<Option<StoredGrant>, StoreFault>>;

    /// Takes the refresh token out, in one step: whoever gets it may use it, and nobody else gets it. `None` when it is
    /// taken.
    fn take_refresh_token(&self) -> BoxFuture<'_, Result<Option<SecretToken>, StoreFault>>;

    /// Puts the new grant in the place of the old.
    fn replace(&self, grant: StoredGrant) -> BoxFuture<'_, Result<(), StoreFault>>;
}

/// The token source of one person's grant.
pub struct UserGrant {
    smart: SmartClient,
    registration: LaunchRegistration,
    store: Arc<dyn GrantStore>,
    refused: std::sync::Mutex<Option<SecretToken>>,
    flight: tokio::sync::Mutex<()>,
}

impl fmt::Debug for UserGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserGrant").field("server", &self.registration.server.base).finish_non_exhaustive()
    }
}

impl UserGrant {
    /// A source over the grant that `store` keeps.
    #[must_use]
    pub fn new(smart: SmartClient, registration: LaunchRegistration, store: Arc<dyn GrantStore>) -> Self {
        Self { smart, registration, store, refused: std::sync::Mutex::default(), flight: tokio::sync::Mutex::default() }
    }

    async fn current(&self) -> Result<SecretToken, TokenError> {
        let _flight = self.flight.lock().await;
        let stored = self.store.load().await.map_err(|StoreFault| TokenError::SignInAgain)?;
        let stored = stored.ok_or(TokenError::SignInAgain)?;
        let now = self.smart.instruments.now();
        let refused = self.is_refused(&stored.access_token);
        let last_chance = stored.refresh_token.is_none() && now < stored.expires_at;
        if !refused && (now < stored.expires_at.checked_sub(EARLY).unwrap_or(stored.expires_at) || last_chance) {
            return Ok(stored.access_token);
        }
        self.refresh(stored).await
    }

    async fn refresh(&self, stored: StoredGrant) -> Result<SecretToken, TokenError> {
        let configuration = self.smart.smart_configuration(&self.registration.server).await;
        let configuration = configuration.map_err(|error| match error {
            SmartError::Discovery(DiscoveryFault::Unreachable) => TokenError::Unreachable,
            _ => TokenError::Malformed,
        })?;
        let taken = self.store.take_refresh_token().await.map_err(|StoreFault| TokenError::SignInAgain)?;
        let refresh_token = taken.ok_or(TokenError::SignInAgain)?;
        let endpoint = TokenEndpoint {
            http: &self.smart.http,
            url: &configuration.token_endpoint,
            client: &self.registration.client,
            instruments: &self.smart.instruments,
        };
        let grant = match endpoint.refresh(&refresh_token).await {
            Ok(grant) => grant,
            Err(error) if was_not_looked_at(&error) => {
                let kept = StoredGrant { refresh_token: Some(refresh_token), ..stored };
                self.store.replace(kept).await.map_err(|StoreFault| TokenError::SignInAgain)?;
                return Err(error);
            }
            // It may be spent, and using it twice would cost the person the whole grant: it is not put back.
            Err(_) => return Err(TokenError::SignInAgain),
        };
        let kept = StoredGrant {
            access_token: grant.access_token.clone(),
            expires_at: grant.expires_at,
            // A server that sends no new one lets the old one be used again (RFC 6749 section 6).
            refresh_token: grant.refresh_token.or(Some(refresh_token)),
        };
        self.store.replace(kept).await.map_err(|StoreFault| TokenError::SignInAgain)?;
        Ok(grant.access_token)
    }

    fn is_refused(&self, token: &SecretToken) -> bool {
        let refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        refused.as_ref().is_some_and(|refused| refused.is(token))
    }
}

/// Whether the server turned the request away, or never got it, so that the refresh token is still good.
fn was_not_looked_at(error: &TokenError) -> bool {
    matches!(
        error,
        TokenError::Throttled { .. }
            | TokenError::Key
            | TokenError::Refused { code: "invalid_client" | "unauthorized_client" }
    )
}

impl AccessTokenSource for UserGrant {
    fn token(&self) -> BoxFuture<'_, Result<SecretToken, TokenError>> {
        Box::pin(self.current())
    }

    fn invalidate(&self, rejected: &SecretToken) {
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *refused = Some(rejected.clone());
    }
}
