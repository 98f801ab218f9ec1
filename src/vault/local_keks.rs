//! Key-encryption keys that this process was given, from files or the environment.

use super::{
    KeyBytes, KeyProvider, VaultError, WrappedKey,
    cipher::{self, fingerprint},
    sealed::NONCE_BYTES,
};
use crate::kernel::{Entropy, Id, Tenant};
use aes_gcm::Aes256Gcm;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::{collections::HashMap, sync::Arc};
use zeroize::Zeroizing;

/// A key-encryption key. No `Debug`, wiped when dropped.
pub struct Kek {
    bytes: KeyBytes,
    id: String,
}

impl Kek {
    /// A fresh key. `entropy` must be the system's.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = KeyBytes::default();
        entropy.fill(bytes.as_mut_slice());
        Self::from_key(bytes)
    }

    /// A key from its base64 form, surrounding white space ignored.
    ///
    /// # Errors
    /// [`VaultError::BadKek`] when it is not the base64 form of 32 bytes, or all bytes are the same.
    pub fn from_base64(text: &str) -> Result<Self, VaultError> {
        let decoded = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| VaultError::BadKek)?);
        let mut bytes = KeyBytes::default();
        if decoded.len() != bytes.len() || decoded.iter().all(|byte| Some(byte) == decoded.first()) {
            return Err(VaultError::BadKek);
        }
        bytes.copy_from_slice(&decoded);
        Ok(Self::from_key(bytes))
    }

    /// The base64 form, for the file or the environment variable that keeps it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.bytes.as_slice()))
    }

    /// A fingerprint by which data keys name the key that they are wrapped under. Tells nothing of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What an operator does with a fresh key, for `chartwire keys generate`.
    #[must_use]
    pub fn placement(&self) -> String {
        format!(
            "This is key-encryption key {}. Keep it in a file that only the service may read (mode 0600) or in an \
             environment variable from your secret store, and refer to it FIRST in the tenant's list of \
             key-encryption keys; older keys stay in the list behind it. Then run `chartwire keys rotate`, which \
             wraps the tenant's data keys under it; after that the older keys may go. Keep a copy away from the \
             backups of the database: without it nothing that was sealed can be read again.",
            self.id
        )
    }

    fn from_key(bytes: KeyBytes) -> Self {
        let id = fingerprint(&bytes);
        Self { bytes, id }
    }
}

struct Held {
    id: String,
    cipher: Aes256Gcm,
}

/// A [`KeyProvider`] over keys in this process: AES-256-GCM, the data key's context as associated data.
pub struct LocalKeks {
    entropy: Arc<dyn Entropy>,
    tenants: HashMap<Id<Tenant>, Arc<[Held]>>,
}

impl LocalKeks {
    /// A provider without any tenant. Nonces come from `entropy`, which must be the system's.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, tenants: HashMap::new() }
    }

    /// Gives `tenant` its keys: the first wraps, any unwraps. Replaces what the tenant had.
    ///
    /// # Errors
    /// [`VaultError::NoKek`] when `keks` is empty.
    pub fn insert(&mut self, tenant: Id<Tenant>, keks: Vec<Kek>) -> Result<(), VaultError> {
        if keks.is_empty() {
            return Err(VaultError::NoKek { tenant });
        }
        let held = keks.into_iter().map(|kek| Held { cipher: cipher::aes(&kek.bytes), id: kek.id }).collect();
        self.tenants.insert(tenant, held);
        Ok(())
    }

    fn keks(&self, tenant: Id<Tenant>) -> Result<&[Held], VaultError> {
        self.tenants.get(&tenant).map(|keks| &**keks).ok_or(VaultError::NoKek { tenant })
    }

    fn current(&self, tenant: Id<Tenant>) -> Result<&Held, VaultError> {
        self.keks(tenant)?.first().ok_or(VaultError::NoKek { tenant })
    }

    fn wrap_now(&self, tenant: Id<Tenant>, key: &KeyBytes, context: &[u8]) -> Result<WrappedKey, VaultError> {
        let kek = self.current(tenant)?;
        let mut nonce = [0_u8; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let ciphertext = cipher::seal(&kek.cipher, &nonce, context, key.as_slice()).ok_or(VaultError::TooLarge)?;
        Ok(WrappedKey { kek: kek.id.clone(), bytes: [nonce.as_slice(), &ciphertext].concat() })
    }

    fn unwrap_now(&self, tenant: Id<Tenant>, wrapped: &WrappedKey, context: &[u8]) -> Result<KeyBytes, VaultError> {
        let keks = self.keks(tenant)?;
        let kek = keks.iter().find(|kek| kek.id == wrapped.kek).ok_or_else(|| VaultError::WrongKek {
            tenant,
            needed: wrapped.kek.clone(),
            given: given(keks),
        })?;
        let refused = || VaultError::KekRefused { kek: wrapped.kek.clone() };
        let (nonce, ciphertext) = wrapped.bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        let opened = cipher::open(&kek.cipher, nonce, context, ciphertext).ok_or_else(refused)?;
        let mut key = KeyBytes::default();
        if opened.len() != key.len() {
            return Err(refused());
        }
        key.copy_from_slice(&opened);
        Ok(key)
    }
}

fn given(keks: &[Held]) -> String {
    let ids: Vec<&str> = keks.iter().map(|kek| kek.id.as_str()).collect();
    format!("only {} {}", ids.join(" and "), if ids.len() == 1 { "is" } else { "are" })
}

impl KeyProvider for LocalKeks {
    fn name(&self) -> &'static str {
        "local"
    }

    fn current_kek(&self, tenant: Id<Tenant>) -> BoxFuture<'_, Result<String, VaultError>> {
        ready(self.current(tenant).map(|kek| kek.id.clone())).boxed()
    }

    fn wrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        key: &'a KeyBytes,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<WrappedKey, VaultError>> {
        ready(self.wrap_now(tenant, key, context)).boxed()
    }

    fn unwrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        wrapped: &'a WrappedKey,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyBytes, VaultError>> {
        ready(self.unwrap_now(tenant, wrapped, context)).boxed()
    }
}
