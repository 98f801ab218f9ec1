//! Key-encryption keys that never leave a KMS: the transit engine of HashiCorp Vault or OpenBao, over its HTTP API
//! (<https://developer.hashicorp.com/vault/api-docs/secret/transit>).
//!
//! A data key is wrapped by `encrypt` and unwrapped by `decrypt`, with the key's context as `associated_data`, which the
//! engine takes for AEAD keys only: the key must be of type `aes256-gcm96` (its default), `aes128-gcm96` or
//! `chacha20-poly1305`. A new version of the key in the KMS is a new key-encryption key here; `chartwire keys rotate` then
//! wraps the data keys under it. The token is read from its file at each call, so whatever renews it there (Vault Agent,
//! a sidecar) is followed. Neither keys nor the token are logged or repeated in errors.

use super::{KeyBytes, KeyProvider, LocalKeks, Outage, VaultError, WrappedKey};
use crate::kernel::{Id, Tenant};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::{BoxFuture, FutureExt as _};
use reqwest::{Client, Method, StatusCode, header::HeaderValue, redirect::Policy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::HashMap, path::PathBuf, time::Duration};
use url::Url;
use zeroize::Zeroizing;

/// How long the KMS may take to answer: a webhook may be waiting for it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

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
    /// The file that holds the token. It may do `encrypt/KEY`, `decrypt/KEY` and read `keys/KEY`, and needs no more.
    pub token_file: PathBuf,
    /// What holds while the KMS does not answer.
    pub outage: Outage,
}

impl TransitKey {
    /// What [`WrappedKey::kek`] says of a version of this key.
    fn kek(&self, version: u64) -> String {
        format!("{}v{version}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("transit:{}/{}:", self.mount, self.key)
    }
}

/// A [`KeyProvider`] that asks a KMS for the tenants that have a key there, and itself for the others. Data keys that are
/// still wrapped under a local key are unwrapped with that, until `chartwire keys rotate` has wrapped them anew.
pub struct TransitKeks {
    http: Client,
    tenants: HashMap<Id<Tenant>, TransitKey>,
    local: LocalKeks,
}

/// No HTTP client could be made for the KMS.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made for the key provider")]
pub struct NoHttpClient(#[source] reqwest::Error);

impl TransitKeks {
    /// A provider over local keys, to which keys in a KMS are added by [`TransitKeks::insert`].
    ///
    /// # Errors
    /// [`NoHttpClient`] where the machine's certificates cannot be read.
    pub fn over(local: LocalKeks) -> Result<Self, NoHttpClient> {
        let http = Client::builder().redirect(Policy::none()).timeout(ANSWERS_WITHIN).build().map_err(NoHttpClient)?;
        Ok(Self { http, tenants: HashMap::new(), local })
    }

    /// Has `tenant`'s data keys wrapped by the KMS from now on.
    pub fn insert(&mut self, tenant: Id<Tenant>, key: TransitKey) {
        self.tenants.insert(tenant, key);
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        key: &TransitKey,
        method: Method,
        operation: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, Refused> {
        let token = tokio::fs::read(&key.token_file).await.map(Zeroizing::new);
        let token = token.map_err(|_| Refused::away("the token's file cannot be read"))?;
        let mut token = HeaderValue::from_bytes(token.trim_ascii())
            .map_err(|_| Refused::away("the token's file holds no token"))?;
        token.set_sensitive(true);
        let mut url = key.address.clone();
        url.path_segments_mut()
            .map_err(|()| Refused::away("its address is none"))?
            .pop_if_empty()
            .push("v1")
            .extend(key.mount.split('/'))
            .push(operation)
            .push(&key.key);
        let mut request =
            self.http.request(method, url).header("X-Vault-Token", token).header("X-Vault-Request", "true");
        if let Some(namespace) = &key.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|_| Refused::away("it cannot be reached"))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Refused::of(status));
        }
        if answer.content_length().is_some_and(|length| length > LONGEST_ANSWER as u64) {
            return Err(Refused::away("its answer is too long"));
        }
        let body = Zeroizing::new(answer.bytes().await.map_err(|_| Refused::away("its answer broke off"))?.to_vec());
        let answer: Answer<A> =
            serde_json::from_slice(&body).map_err(|_| Refused::away("its answer cannot be read"))?;
        Ok(answer.data)
    }

    async fn wrap(&self, key: &TransitKey, bytes: &KeyBytes, context: &[u8]) -> Result<WrappedKey, VaultError> {
        let request = Encrypt {
            plaintext: Zeroizing::new(STANDARD.encode(bytes.as_slice())),
            associated_data: STANDARD.encode(context),
        };
        let answer: Encrypted = self
            .ask(key, Method::POST, "encrypt", Some(&request))
            .await
            .map_err(|refused| refused.into_error(key, "any version"))?;
        let version = version_of(&answer.ciphertext)
            .ok_or_else(|| Refused::away("its answer is no ciphertext").into_error(key, ""))?;
        Ok(WrappedKey { kek: key.kek(version), bytes: answer.ciphertext.into_bytes() })
    }

    async fn unwrap(&self, key: &TransitKey, wrapped: &WrappedKey, context: &[u8]) -> Result<KeyBytes, VaultError> {
        let refused = || VaultError::KekRefused { kek: wrapped.kek.clone() };
        let ciphertext = std::str::from_utf8(&wrapped.bytes).map_err(|_| refused())?;
        if version_of(ciphertext).map(|version| key.kek(version)).as_ref() != Some(&wrapped.kek) {
            return Err(refused());
        }
        let request = Decrypt { ciphertext, associated_data: STANDARD.encode(context) };
        let answer: Decrypted = self
            .ask(key, Method::POST, "decrypt", Some(&request))
            .await
            .map_err(|refused| refused.into_error(key, &wrapped.kek))?;
        let opened = Zeroizing::new(STANDARD.decode(answer.plaintext.as_bytes()).map_err(|_| refused())?);
        let mut bytes = KeyBytes::default();
        if opened.len() != bytes.len() {
            return Err(refused());
        }
        bytes.copy_from_slice(&opened);
        Ok(bytes)
    }

    async fn latest(&self, key: &TransitKey) -> Result<String, VaultError> {
        let answer: KeyState = self
            .ask(key, Method::GET, "keys", None::<&()>)
            .await
            .map_err(|refused| refused.into_error(key, "any version"))?;
        Ok(key.kek(answer.latest_version))
    }
}

impl KeyProvider for TransitKeks {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    fn outage(&self, tenant: Id<Tenant>) -> Option<Outage> {
        self.tenants.get(&tenant).map(|key| key.outage)
    }

    fn current_kek(&self, tenant: Id<Tenant>) -> BoxFuture<'_, Result<String, VaultError>> {
        match self.tenants.get(&tenant) {
            Some(key) => self.latest(key).boxed(),
            None => self.local.current_kek(tenant),
        }
    }

    fn wrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        key: &'a KeyBytes,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<WrappedKey, VaultError>> {
        match self.tenants.get(&tenant) {
            Some(transit) => self.wrap(transit, key, context).boxed(),
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
            Some(transit) if wrapped.kek.starts_with(&transit.prefix()) => {
                self.unwrap(transit, wrapped, context).boxed()
            }
            _ => self.local.unwrap_key(tenant, wrapped, context),
        }
    }
}

const PROVIDER: &str = "transit";

/// The version that a ciphertext names: `vault:v3:…`.
fn version_of(ciphertext: &str) -> Option<u64> {
    ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
}

#[derive(Deserialize)]
struct Answer<A> {
    data: A,
}

#[derive(Serialize)]
struct Encrypt {
    plaintext: Zeroizing<String>,
    associated_data: String,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    associated_data: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: Zeroizing<String>,
}

#[derive(Deserialize)]
struct KeyState {
    latest_version: u64,
}

/// Why the KMS did not do it.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// It may do so later.
    #[error("{0}")]
    Away(&'static str),
    /// It answers, and says no.
    #[error("it refuses with HTTP status {0}")]
    Status(u16),
}

impl Refused {
    const fn away(why: &'static str) -> Self {
        Self::Away(why)
    }

    /// The statuses of <https://developer.hashicorp.com/vault/api-docs#http-status-codes>.
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            // The token has run out or may not do this: whoever renews it, or its policy, may mend that.
            403 => Self::away("it does not allow this to the token: see its policy, and what renews it"),
            429 | 472 | 473 | 500..=599 => Self::away("it is sealed, a standby, or overloaded"),
            status => Self::Status(status),
        }
    }

    fn into_error(self, key: &TransitKey, kek: &str) -> VaultError {
        match self {
            Self::Away(_) => VaultError::ProviderUnavailable { provider: PROVIDER, cause: Box::new(self) },
            Self::Status(_) => {
                VaultError::KekRefused { kek: format!("{}{}", key.prefix(), kek.trim_start_matches(&key.prefix())) }
            }
        }
    }
}
