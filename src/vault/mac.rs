//! Keyed hashes: blind index tokens, content hashes, and MAC keys for the audit log.

use super::{KeyPurpose, Vault, VaultError, cipher, length_prefixed, ring::HashingKey};
use crate::kernel::{Id, Tenant};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::sync::Arc;

/// What stands in a column in a value's place so that rows can be found by the value: equal values of a field give
/// equal tokens, and without the tenant's search key nothing can be told from one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IndexToken {
    /// The first 128 bits of HMAC-SHA-256 over field and value.
    pub bytes: [u8; 16],
    /// The search key's version, stored beside the token.
    pub key_version: i64,
}

impl std::fmt::Debug for IndexToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IndexToken(key version {})", self.key_version)
    }
}

/// What a [`MacKey`] signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacPurpose {
    /// Rows of the audit log.
    AuditRow,
    /// The chain over the audit log and its head.
    AuditHead,
}

impl MacPurpose {
    const fn key_purpose(self) -> KeyPurpose {
        match self {
            Self::AuditRow => KeyPurpose::AuditRow,
            Self::AuditHead => KeyPurpose::AuditHead,
        }
    }
}

/// A key that signs for one purpose of one tenant (HMAC-SHA-256). Held in memory: signing waits for nothing.
#[derive(Clone)]
pub struct MacKey(Arc<HashingKey>);

impl MacKey {
    /// The key's version, stored beside what it signs.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.0.version
    }

    /// The MAC of the list `parts`.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        mac_under(&self.0, parts)
    }

    /// Whether `tag` is the MAC of the list `parts`. Takes the same time whatever `tag` is.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        verify_slices_are_equal(&mac_under(&self.0, parts), tag).is_ok()
    }
}

impl Vault {
    /// The token to store for `value` in `field`. The caller brings the value into one form first (E.164, lower case).
    ///
    /// # Errors
    /// [`VaultError`] when no search key can be had.
    pub async fn index_token(
        &self,
        tenant: Id<Tenant>,
        field: &'static str,
        value: &str,
    ) -> Result<IndexToken, VaultError> {
        let keys = self.0.mac_keys(tenant, KeyPurpose::Search).await?;
        Ok(token(self.in_force(&keys)?, field, value))
    }

    /// The tokens to look `value` up by: one for each version of the search key that rows may still carry, newest
    /// first.
    ///
    /// # Errors
    /// [`VaultError`] when no search key can be had.
    pub async fn index_tokens(
        &self,
        tenant: Id<Tenant>,
        field: &'static str,
        value: &str,
    ) -> Result<Vec<IndexToken>, VaultError> {
        let keys = self.0.mac_keys(tenant, KeyPurpose::Search).await?;
        Ok(keys.iter().map(|key| token(key, field, value)).collect())
    }

    /// HMAC-SHA-256 of `value` under the tenant's hash key, which is never replaced: equal contents give equal hashes
    /// for as long as the tenant exists.
    ///
    /// # Errors
    /// [`VaultError`] when the hash key cannot be had.
    pub async fn content_hash(&self, tenant: Id<Tenant>, value: &[u8]) -> Result<[u8; 32], VaultError> {
        let keys = self.0.mac_keys(tenant, KeyPurpose::ContentHash).await?;
        Ok(mac_under(self.in_force(&keys)?, &[b"content", value]))
    }

    /// The key that signs for `purpose` now.
    ///
    /// # Errors
    /// [`VaultError`] when it cannot be had.
    pub async fn mac_key(&self, tenant: Id<Tenant>, purpose: MacPurpose) -> Result<MacKey, VaultError> {
        let keys = self.0.mac_keys(tenant, purpose.key_purpose()).await?;
        self.in_force(&keys).map(|key| MacKey(Arc::clone(key)))
    }

    /// Every key that ever signed for `purpose`, newest first.
    ///
    /// # Errors
    /// [`VaultError`] when they cannot be had.
    pub async fn mac_keys(&self, tenant: Id<Tenant>, purpose: MacPurpose) -> Result<Vec<MacKey>, VaultError> {
        let keys = self.0.mac_keys(tenant, purpose.key_purpose()).await?;
        Ok(keys.iter().map(|key| MacKey(Arc::clone(key))).collect())
    }

    /// Every key that ever signed for `purpose`, newest first; none where nothing was ever signed. Makes no key: for
    /// whoever only verifies.
    ///
    /// # Errors
    /// [`VaultError`] when they cannot be had.
    pub async fn stored_mac_keys(&self, tenant: Id<Tenant>, purpose: MacPurpose) -> Result<Vec<MacKey>, VaultError> {
        let keys = self.0.stored_mac_keys(tenant, purpose.key_purpose()).await?;
        Ok(keys.iter().map(|key| MacKey(Arc::clone(key))).collect())
    }

    /// The newest version that is in force; the oldest where the clock says that none is yet.
    pub(super) fn in_force<'a>(&self, newest_first: &'a [Arc<HashingKey>]) -> Result<&'a Arc<HashingKey>, VaultError> {
        let now = self.0.instruments.now();
        newest_first.iter().find(|key| key.active_from <= now).or(newest_first.last()).ok_or(VaultError::Contended)
    }
}

fn token(key: &HashingKey, field: &'static str, value: &str) -> IndexToken {
    let mut bytes = [0_u8; 16];
    for (byte, computed) in bytes.iter_mut().zip(mac_under(key, &[b"index", field.as_bytes(), value.as_bytes()])) {
        *byte = computed;
    }
    IndexToken { bytes, key_version: key.version }
}

fn mac_under(key: &HashingKey, parts: &[&[u8]]) -> [u8; 32] {
    cipher::mac(&key.material, &length_prefixed(parts))
}
