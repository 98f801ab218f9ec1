//! A sealed value and the place that it is bound to.

use super::{DataKey, VaultError, encoding::length_prefixed};
use crate::kernel::{Id, Tenant};
use std::fmt;

/// The only layout so far: version, data key id, nonce, ciphertext and tag.
const VERSION: u8 = 1;
/// Bytes of an AES-GCM nonce (NIST SP 800-38D section 5.2.1.1: 96 bits).
pub(super) const NONCE_BYTES: usize = 12;
/// Bytes of an AES-GCM tag.
const TAG_BYTES: usize = 16;

/// Where a value stands. A value opens only in the place that it was sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    table: &'static str,
    row: &'a [u8],
    column: &'static str,
}

impl<'a> Place<'a> {
    /// The place in `column` of the row `row` of `table`.
    #[must_use]
    pub const fn new<K>(table: &'static str, row: &'a Id<K>, column: &'static str) -> Self {
        Self { table, row: row.as_bytes(), column }
    }

    /// The place in `column` of the row of `table` that another key than an id of ours names (a FHIR id, say). The key
    /// must stay the same for as long as the row lives.
    #[must_use]
    pub const fn keyed(table: &'static str, row: &'a str, column: &'static str) -> Self {
        Self { table, row: row.as_bytes(), column }
    }
}

/// A sealed value as it is stored: version (1 byte), data key id (16), nonce (12), ciphertext and tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    key: Id<DataKey>,
    bytes: Vec<u8>,
}

/// The parts of a sealed value.
pub(super) struct Parts<'a> {
    pub(super) key: Id<DataKey>,
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) ciphertext: &'a [u8],
}

impl Sealed {
    /// A value as read from a column.
    ///
    /// # Errors
    /// [`VaultError::NotSealed`] when the bytes are too few or of an unknown version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, VaultError> {
        let key = split(&bytes)?.key;
        Ok(Self { key, bytes })
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes to store.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The data key that it was sealed under.
    #[must_use]
    pub const fn key_id(&self) -> Id<DataKey> {
        self.key
    }

    pub(super) fn assemble(key: Id<DataKey>, nonce: &[u8; NONCE_BYTES], ciphertext: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(1 + 16 + NONCE_BYTES + ciphertext.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(ciphertext);
        Self { key, bytes }
    }

    pub(super) fn parts(&self) -> Result<Parts<'_>, VaultError> {
        split(&self.bytes)
    }
}

fn split(bytes: &[u8]) -> Result<Parts<'_>, VaultError> {
    let (version, rest) = bytes.split_first().ok_or(VaultError::NotSealed)?;
    let (key, rest) = rest.split_first_chunk::<16>().ok_or(VaultError::NotSealed)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::NotSealed)?;
    if *version != VERSION || ciphertext.len() < TAG_BYTES {
        return Err(VaultError::NotSealed);
    }
    Ok(Parts { key: Id::from_bytes(*key), nonce: *nonce, ciphertext })
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes.len())
    }
}

/// The associated data of a sealed value: layout, key, tenant, table, row and column.
pub(super) fn associated_data(tenant: Id<Tenant>, key: Id<DataKey>, place: Place<'_>) -> Vec<u8> {
    length_prefixed(&[
        &[VERSION],
        key.as_bytes(),
        tenant.as_bytes(),
        place.table.as_bytes(),
        place.row,
        place.column.as_bytes(),
    ])
}
