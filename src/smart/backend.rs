//! Tokens of the service's own (SMART Backend Services), kept until shortly before they end and fetched once for all who
//! wait.

use super::SmartClient;
use super::error::{DiscoveryFault, SmartError};
use super::registration::{ClientRegistration, EhrServer};
use super::scopes::GrantedScopes;
use super::token_endpoint::TokenEndpoint;
use crate::fhir::{AccessTokenSource, BoxFuture, SecretToken, TokenError};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When a token is fetched again.
#[derive(Debug, Clone, Copy)]
pub struct RefreshPolicy {
    /// This long before a token ends the next one is fetched, or in the last quarter of its life if that is later.
    pub early: SignedDuration,
    /// The least time between two tokens, even if the EHR refuses the first. Some EHRs throttle quicker clients.
    pub least_interval: SignedDuration,
    /// How long a failure stands for all who ask meanwhile.
    pub failure_stands: SignedDuration,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            early: SignedDuration::from_secs(60),
            least_interval: SignedDuration::from_secs(10),
            failure_stands: SignedDuration::from_secs(1),
        }
    }
}

/// The token source of one client at one EHR.
pub struct BackendServices {
    smart: SmartClient,
    server: EhrServer,
    client: ClientRegistration,
    policy: RefreshPolicy,
    held: Mutex<Held>,
    /// Held while a token is fetched, so that one request serves all who wait.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    token: Option<HeldToken>,
    scopes: GrantedScopes,
    /// When the last token came, whether or not it is still good.
    obtained: Option<Timestamp>,
    failure: Option<(Timestamp, TokenError)>,
}

struct HeldToken {
    token: SecretToken,
    renew_at: Timestamp,
}

impl fmt::Debug for BackendServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendServices").field("server", &self.server.base).finish_non_exhaustive()
    }
}

impl BackendServices {
    /// A source that fetches its first token when first asked.
    #[must_use]
    pub fn new(smart: SmartClient, server: EhrServer, client: ClientRegistration, policy: RefreshPolicy) -> Self {
        Self { smart, server, client, policy, held: Mutex::default(), flight: tokio::sync::Mutex::default() }
    }

    /// What was granted with the last token; nothing before the first.
    #[must_use]
    pub fn granted(&self) -> GrantedScopes {
        self.held().scopes.clone()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be said without asking: a good token, or that asking must wait.
    fn ready(&self) -> Option<Result<SecretToken, TokenError>> {
        let now = self.smart.instruments.now();
        let held = self.held();
        if let Some(token) = held.token.as_ref().filter(|token| now < token.renew_at) {
            return Some(Ok(token.token.clone()));
        }
        if let Some((at, error)) = &held.failure
            && now.duration_since(*at) < self.policy.failure_stands
        {
            return Some(Err(error.clone()));
        }
        let wait = self.policy.least_interval - now.duration_since(held.obtained?);
        wait.is_positive().then(|| Err(TokenError::Throttled { retry_after: Duration::try_from(wait).ok() }))
    }

    async fn fetch(&self) -> Result<SecretToken, TokenError> {
        let result = self.request().await;
        let now = self.smart.instruments.now();
        let mut held = self.held();
        match result {
            Ok((token, renew_at, scopes)) => {
                let held_token = HeldToken { token: token.clone(), renew_at };
                *held = Held { token: Some(held_token), scopes, obtained: Some(now), failure: None };
                Ok(token)
            }
            Err(error) => {
                held.failure = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    async fn request(&self) -> Result<(SecretToken, Timestamp, GrantedScopes), TokenError> {
        let configuration = self.smart.smart_configuration(&self.server).await.map_err(|error| match error {
            SmartError::Discovery(DiscoveryFault::Unreachable) => TokenError::Unreachable,
            _ => TokenError::Malformed,
        })?;
        let endpoint = TokenEndpoint {
            http: &self.smart.http,
            url: &configuration.token_endpoint,
            client: &self.client,
            instruments: &self.smart.instruments,
        };
        let grant = endpoint.client_credentials().await?;
        let now = self.smart.instruments.now();
        // RFC 6749 section 5.1: a server that does not name the scopes granted all that were asked for.
        let scope = grant.scope.unwrap_or_else(|| self.client.scopes.join(" "));
        let scopes = GrantedScopes::parse(&scope);
        Ok((grant.access_token, renew_at(now, grant.expires_at, self.policy.early), scopes))
    }
}

/// `early` before the end, but never before three quarters of the token's life.
fn renew_at(now: Timestamp, expires_at: Timestamp, early: SignedDuration) -> Timestamp {
    let life = expires_at.duration_since(now);
    let margin = early.min(life / 4);
    expires_at.checked_sub(margin).unwrap_or(expires_at)
}

impl AccessTokenSource for BackendServices {
    fn token(&self) -> BoxFuture<'_, Result<SecretToken, TokenError>> {
        Box::pin(async move {
            if let Some(ready) = self.ready() {
                return ready;
            }
            let _flight = self.flight.lock().await;
            // Another may have fetched it meanwhile.
            match self.ready() {
                Some(ready) => ready,
                None => self.fetch().await,
            }
        })
    }

    fn invalidate(&self, rejected: &SecretToken) {
        let mut held = self.held();
        if held.token.as_ref().is_some_and(|token| token.token.is(rejected)) {
            held.token = None;
        }
    }
}
