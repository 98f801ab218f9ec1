//! Key-encryption keys that never leave a KMS: the transit engine of HashiCorp Vault or OpenBao, over its HTTP API
//! (<https://developer.hashicorp.com/vault/api-docs/secret/transit>, <https://openbao.org/api-docs/secret/transit/>).
//!
//! A data key is wrapped by `encrypt` and unwrapped by `decrypt`, with the key's context as `associated_data`. The engine
//! takes that for AEAD keys only: `aes256-gcm96` (its default), `aes128-gcm96` or `chacha20-poly1305`, not derived. Where an
//! engine is too old to know it, the vault's own check value still binds a data key to its row. A new version of the key
//! in the KMS is a new key-encryption key here; `chartwire keys rotate` then wraps the data keys under it, by `decrypt` and
//! `encrypt`, because the engine's `rewrap` takes no associated data.
//!
//! What always holds: the token is read from its file at each call, so whatever renews it there (Vault Agent, a sidecar) is
//! followed; redirects are not; neither keys nor the token stand in an error, a log line or a URL.

mod http;

use super::{KeyBytes, KeyProvider, LocalKeks, Outage, VaultError, WrappedKey};
use crate::kernel::{Id, Tenant};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
pub use http::NoHttpClient;
use http::{Decrypt, Decrypted, Encoded, Encrypt, Encrypted, Engine, KeyRead, Refusal, base64_of};
use reqwest::Method;
use std::{collections::HashMap, path::PathBuf};
use url::Url;

/// What the provider is called.
const PROVIDER: &str = "transit";
/// What [`WrappedKey::kek`] begins with for every key in a KMS.
const SCHEME: &str = "transit:";

/// One tenant's key in the KMS.
#[derive(Debug, Clone)]
pub struct TransitKey {
    /// Where the KMS is, such as `https://vault.example.org:8200/`.
    pub address: Url,
    /// Where the transit engine is mounted, such as `transit`.
    pub mount: String,
    /// The name of the key.
    pub key: String,
    /// The namespace, where the KMS has such.
    pub namespace: Option<String>,
    /// The file that holds the token. It may update `encrypt/KEY` and `decrypt/KEY` and read `keys/KEY`, and needs no more.
    pub token_file: PathBuf,
    /// What holds while the KMS does not answer.
    pub outage: Outage,
    /// On the way out of the KMS: its key still unwraps, and the tenant's local key wraps.
    pub only_unwraps: bool,
}

impl TransitKey {
    /// What [`WrappedKey::kek`] says of a version of this key.
    fn kek(&self, version: u64) -> String {
        format!("{}v{version}", self.prefix())
    }

    /// Whether a version of this key wrapped it.
    fn wraps(&self, wrapped: &WrappedKey) -> bool {
        wrapped.kek.starts_with(&self.prefix())
    }

    fn prefix(&self) -> String {
        format!("{SCHEME}{}/{}:", self.mount, self.key)
    }
}

/// A [`KeyProvider`] that asks a KMS for the tenants that have a key there, and itself for the others. Data keys that are
/// still wrapped under a local key are unwrapped with that, until `chartwire keys rotate` has wrapped them anew.
pub struct TransitKeks {
    tenants: HashMap<Id<Tenant>, Engine>,
    local: LocalKeks,
}

impl TransitKeks {
    /// A provider over local keys, to which keys in a KMS are added by [`TransitKeks::insert`].
    #[must_use]
    pub fn over(local: LocalKeks) -> Self {
        Self { tenants: HashMap::new(), local }
    }

    /// Has `tenant`'s data keys wrapped by the KMS from now on.
    ///
    /// # Errors
    /// [`NoHttpClient`] where the machine's certificates cannot be read.
    pub fn insert(&mut self, tenant: Id<Tenant>, key: TransitKey) -> Result<(), NoHttpClient> {
        self.tenants.insert(tenant, Engine::new(key)?);
        Ok(())
    }

    /// The engine that wraps for `tenant`, if one does.
    fn wrapping(&self, tenant: Id<Tenant>) -> Option<&Engine> {
        self.tenants.get(&tenant).filter(|engine| !engine.key.only_unwraps)
    }
}

impl Engine {
    async fn wrap(&self, bytes: &KeyBytes, context: &[u8]) -> Result<WrappedKey, VaultError> {
        let request = Encrypt { plaintext: Encoded::of(bytes), associated_data: base64_of(context) };
        let answer: Encrypted =
            self.ask(Method::POST, "encrypt", Some(&request)).await.map_err(|refusal| self.refused(refusal))?;
        let Some(version) = version_of(&answer.ciphertext) else {
            return Err(self.refused(Refusal::Unreadable));
        };
        Ok(WrappedKey { kek: self.key.kek(version), bytes: answer.ciphertext.into_bytes() })
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<KeyBytes, VaultError> {
        let damaged = || VaultError::KekRefused { kek: wrapped.kek.clone() };
        let ciphertext = str::from_utf8(&wrapped.bytes).map_err(|_| damaged())?;
        if version_of(ciphertext).map(|version| self.key.kek(version)).as_ref() != Some(&wrapped.kek) {
            return Err(damaged());
        }
        let request = Decrypt { ciphertext, associated_data: base64_of(context) };
        let answer: Decrypted =
            self.ask(Method::POST, "decrypt", Some(&request)).await.map_err(|refusal| match refusal {
                // It opens nothing with this: the ciphertext, what it is bound to, or the version of the key.
                Refusal::Invalid => damaged(),
                refusal => self.refused(refusal),
            })?;
        answer.plaintext.key().ok_or_else(damaged)
    }

    /// The latest version of the key, which is the one that wraps.
    async fn latest(&self) -> Result<String, VaultError> {
        let answer: KeyRead =
            self.ask(Method::GET, "keys", None::<&()>).await.map_err(|refusal| self.refused(refusal))?;
        if !answer.is_fit() {
            return Err(self.refused(Refusal::Unfit));
        }
        Ok(self.key.kek(answer.latest_version))
    }

    fn refused(&self, refusal: Refusal) -> VaultError {
        let cause = std::sync::Arc::new(refusal);
        if refusal.may_pass() {
            return VaultError::ProviderUnavailable { provider: PROVIDER, cause };
        }
        let key = format!("{}/{}", self.key.mount, self.key.key);
        VaultError::ProviderRefuses { provider: PROVIDER, key, cause }
    }
}

impl KeyProvider for TransitKeks {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    fn outage(&self, tenant: Id<Tenant>) -> Option<Outage> {
        self.wrapping(tenant).map(|engine| engine.key.outage)
    }

    fn asks_outside(&self, tenant: Id<Tenant>, wrapped: Option<&WrappedKey>) -> bool {
        match wrapped {
            Some(wrapped) => self.tenants.get(&tenant).is_some_and(|engine| engine.key.wraps(wrapped)),
            None => self.wrapping(tenant).is_some(),
        }
    }

    fn current_kek(&self, tenant: Id<Tenant>) -> BoxFuture<'_, Result<String, VaultError>> {
        match self.wrapping(tenant) {
            Some(engine) => engine.latest().boxed(),
            None => self.local.current_kek(tenant),
        }
    }

    fn wrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        key: &'a KeyBytes,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<WrappedKey, VaultError>> {
        match self.wrapping(tenant) {
            Some(engine) => engine.wrap(key, context).boxed(),
            None => self.local.wrap_key(tenant, key, context),
        }
    }

    fn unwrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        wrapped: &'a WrappedKey,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyBytes, VaultError>> {
        match self.tenants.get(&tenant) {
            Some(engine) if engine.key.wraps(wrapped) => engine.unwrap(wrapped, context).boxed(),
            Some(engine) if wrapped.kek.starts_with(SCHEME) => {
                let given = format!("only {} is", engine.key.prefix().trim_end_matches(':'));
                ready(Err(VaultError::WrongKek { tenant, needed: wrapped.kek.clone(), given })).boxed()
            }
            _ => self.local.unwrap_key(tenant, wrapped, context),
        }
    }
}

/// The version that a ciphertext names: `vault:v3:…`.
fn version_of(ciphertext: &str) -> Option<u64> {
    ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
}
