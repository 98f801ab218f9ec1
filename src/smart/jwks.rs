//! Other parties' public keys, by the address of their key set.

use super::authorization_http::AuthorizationHttp;
use super::error::{DiscoveryFault, IdTokenFault};
use crate::kernel::Clock;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// How long a key set is used before it is fetched again: a key that was withdrawn is good for no longer.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// How soon after a fetch an unknown `kid` may cause another, so that made-up ones cannot cause a flood.
const REFETCH: SignedDuration = SignedDuration::from_secs(10);

#[derive(Deserialize)]
pub(super) struct WireKeySet {
    keys: Vec<serde_json::Value>,
}

/// Key sets, fetched when needed. Its callers hand in only addresses that the operator or a trusted document names.
pub struct JwksCache {
    http: AuthorizationHttp,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Url, KeySet>>,
}

/// A key set as it was at a time.
#[derive(Clone)]
struct KeySet {
    fetched: Timestamp,
    keys: Arc<Vec<Jwk>>,
}

impl WireKeySet {
    /// The keys of kinds that we know: another must not cost these.
    pub(super) fn readable(self) -> Vec<Jwk> {
        self.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()
    }
}

impl std::fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwksCache").finish_non_exhaustive()
    }
}

impl JwksCache {
    pub(super) fn new(http: AuthorizationHttp, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, known: Mutex::default() }
    }

    /// The key with this `kid` for this algorithm from the key set at `address`, which the caller trusts. Without a `kid`,
    /// the only key that fits. An unknown `kid` has the set fetched once more.
    ///
    /// # Errors
    /// [`IdTokenFault::UnknownKey`], [`IdTokenFault::KeysUnreachable`] or [`IdTokenFault::Keys`].
    pub async fn key(
        &self,
        address: &Url,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, IdTokenFault> {
        let set = match self.cached(address) {
            Some(set) => set,
            None => self.fetch(address).await?,
        };
        match pick(&set.keys, kid, algorithm) {
            Err(IdTokenFault::UnknownKey) if self.clock.now().duration_since(set.fetched) >= REFETCH => {
                pick(&self.fetch(address).await?.keys, kid, algorithm)
            }
            picked => picked,
        }
    }

    fn cached(&self, address: &Url) -> Option<KeySet> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let set = known.get(address)?;
        (self.clock.now().duration_since(set.fetched) < FRESH).then(|| set.clone())
    }

    async fn fetch(&self, address: &Url) -> Result<KeySet, IdTokenFault> {
        let fetched = self.clock.now();
        let wire: WireKeySet = self.http.get(address).await.map_err(|fault| match fault {
            DiscoveryFault::Unreachable => IdTokenFault::KeysUnreachable,
            _ => IdTokenFault::Keys,
        })?;
        let set = KeySet { fetched, keys: Arc::new(wire.readable()) };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone(), set.clone());
        Ok(set)
    }
}

pub(super) fn pick(keys: &[Jwk], kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, IdTokenFault> {
    let mut fitting = keys
        .iter()
        .filter(|key| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid)))
        .filter(|key| fits(key, algorithm));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => DecodingKey::from_jwk(key).map_err(|_| IdTokenFault::Keys),
        _ => Err(IdTokenFault::UnknownKey),
    }
}

/// Whether the key is one that this algorithm verifies with: its kind, its curve, its declared use and algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let (kind, declared) = match (algorithm, &key.algorithm) {
        (Algorithm::RS256, AlgorithmParameters::RSA(_)) => (true, KeyAlgorithm::RS256),
        (Algorithm::RS384, AlgorithmParameters::RSA(_)) => (true, KeyAlgorithm::RS384),
        (Algorithm::ES256, AlgorithmParameters::EllipticCurve(key)) => {
            (key.curve == EllipticCurve::P256, KeyAlgorithm::ES256)
        }
        (Algorithm::ES384, AlgorithmParameters::EllipticCurve(key)) => {
            (key.curve == EllipticCurve::P384, KeyAlgorithm::ES384)
        }
        _ => return false,
    };
    let for_signatures = key.common.public_key_use.as_ref().is_none_or(|own| *own == PublicKeyUse::Signature);
    kind && for_signatures && key.common.key_algorithm.is_none_or(|own| own == declared)
}
