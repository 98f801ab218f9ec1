//! Access tokens: signed JWTs that any FHIR server can check against the JWK set.

use super::keys::SigningKey;
use super::scopes::{Context, Permission, ScopeSet};
use crate::kernel::{Clock, Instruments};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The client id of the sandbox's own staff.
const STAFF_CLIENT: &str = "sandbox-staff";

/// What an access token says (RFC 9068 in spirit; SMART leaves the form open).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct AccessClaims {
    /// The issuer.
    pub iss: String,
    /// The practitioner, or the backend service's client id.
    pub sub: String,
    /// The FHIR base URL.
    pub aud: String,
    /// Issued at, seconds.
    pub iat: i64,
    /// Holds before, seconds.
    pub exp: i64,
    /// The token's id.
    pub jti: String,
    /// Granted scopes.
    pub scope: String,
    /// The client.
    pub client_id: String,
    /// The launch's patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The signed-in person, an absolute URL.
    #[serde(rename = "fhirUser", skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
}

/// Whom a token is for.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The practitioner or the client.
    pub subject: String,
    /// The client.
    pub client_id: String,
    /// What is granted.
    pub scopes: ScopeSet,
    /// The launch's patient.
    pub patient: Option<String>,
    /// The signed-in person, an absolute URL.
    pub fhir_user: Option<String>,
}

/// What a verified token lets its bearer reach of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every resource.
    All,
    /// What speaks of this patient.
    Patient(String),
}

/// Issues and checks access tokens.
pub struct AccessTokens {
    pub(super) key: SigningKey,
    issuer: String,
    audience: String,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    instruments: Instruments,
    /// Counts [`AccessTokens::revoke_all`]; tokens of an earlier generation no longer hold.
    generation: AtomicU64,
}

impl AccessTokens {
    /// Tokens of `issuer` for the FHIR server at `audience`. `clock` is real time: a JWT is checked by others too.
    #[must_use]
    pub fn new(
        key: SigningKey,
        (issuer, audience): (String, String),
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        instruments: Instruments,
    ) -> Self {
        Self { key, issuer, audience, lifetime, clock, instruments, generation: AtomicU64::new(0) }
    }

    /// How long a token holds, in seconds.
    #[must_use]
    pub fn lifetime_seconds(&self) -> i64 {
        i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX)
    }

    /// A new token for `bearer`.
    #[must_use]
    pub fn issue(&self, bearer: &Bearer) -> Option<String> {
        self.issue_for(bearer, self.lifetime_seconds())
    }

    /// A new token for `bearer` that holds for so many seconds.
    #[must_use]
    pub fn issue_for(&self, bearer: &Bearer, seconds: i64) -> Option<String> {
        let iat = self.clock.now().as_second();
        self.key.sign(&AccessClaims {
            iss: self.issuer.clone(),
            sub: bearer.subject.clone(),
            aud: self.audience.clone(),
            iat,
            exp: iat.saturating_add(seconds),
            jti: format!("{}.{}", self.generation.load(Ordering::SeqCst), self.instruments.token(16)),
            scope: bearer.scopes.to_string(),
            client_id: bearer.client_id.clone(),
            patient: bearer.patient.clone(),
            fhir_user: bearer.fhir_user.clone(),
        })
    }

    /// The claims of a token that holds now; `None` for every other.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<AccessClaims> {
        let claims: AccessClaims = self.key.verify(token, &self.audience)?;
        let generation: u64 = claims.jti.split_once('.')?.0.parse().ok()?;
        let is_current = generation == self.generation.load(Ordering::SeqCst);
        let holds = claims.iss == self.issuer
            && claims.exp > self.clock.now().as_second()
            && (is_current || claims.client_id == STAFF_CLIENT);
        holds.then_some(claims)
    }

    /// Ends every token issued to clients so far; the sandbox's own staff keep theirs.
    pub fn revoke_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The token of the sandbox's own staff: everything, for ten years.
    #[must_use]
    pub fn staff_token(&self) -> Option<String> {
        let staff = Bearer {
            subject: STAFF_CLIENT.to_owned(),
            client_id: STAFF_CLIENT.to_owned(),
            scopes: ScopeSet::read("system/*.cruds"),
            patient: None,
            fhir_user: None,
        };
        self.issue_for(&staff, 10 * 365 * 24 * 3600)
    }
}

impl AccessClaims {
    /// What the token reaches of `kind`; `None` where its scopes do not cover it.
    #[must_use]
    pub fn reach(&self, kind: &str, permission: Permission) -> Option<Reach> {
        match ScopeSet::read(&self.scope).reach(kind, permission)? {
            Context::User | Context::System => Some(Reach::All),
            Context::Patient => self.patient.clone().map(Reach::Patient),
        }
    }
}
