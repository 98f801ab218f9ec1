//! What can go wrong with keys and sealed values.

use super::{DataKey, SealedColumn};
use crate::kernel::{Id, Tenant};
use std::sync::Arc;

/// What a key store or a key provider reports as the cause. It must not hold key material or row values.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// An error of the vault. Names keys and tenants by id, never a value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// The tenant has no key-encryption key at all.
    #[error("tenant {tenant} has no key-encryption key; make one with `chartwire keys generate` and configure it")]
    NoKek {
        /// The tenant.
        tenant: Id<Tenant>,
    },
    /// Data keys of the tenant are wrapped under a key-encryption key that is not among those configured.
    #[error(
        "tenant {tenant} has data keys under key-encryption key {needed}, but {given} configured; configure {needed} too (a new key goes before it, not in its place)"
    )]
    WrongKek {
        /// The tenant.
        tenant: Id<Tenant>,
        /// The fingerprint of the key that is needed.
        needed: String,
        /// The fingerprints of those that are there, in words.
        given: String,
    },
    /// The tenant's data keys were destroyed on purpose.
    #[error(
        "the data keys of tenant {tenant} were destroyed by `chartwire keys destroy`; take the practice out of the settings"
    )]
    Destroyed {
        /// The tenant.
        tenant: Id<Tenant>,
    },
    /// A configured key-encryption key is not 32 bytes in base64.
    #[error("a key-encryption key must be 32 random bytes in base64; make one with `chartwire keys generate`")]
    BadKek,
    /// A stored data key does not come out of its wrapping: it was changed, its row was, or what wrapped it was destroyed.
    #[error(
        "data key {key} cannot be unwrapped: its row was changed, or the key-encryption key that wrapped it is gone; restore either from a backup"
    )]
    DamagedKey {
        /// The data key.
        key: Id<DataKey>,
    },
    /// A value names a data key that the tenant does not have.
    #[error("data key {key} does not exist for this tenant; restore it from a backup, or the value belongs elsewhere")]
    UnknownKey {
        /// The data key.
        key: Id<DataKey>,
    },
    /// A value does not open: it was changed, or stands in another place than the one it was sealed for.
    #[error("a value sealed under data key {key} cannot be opened: it was changed or moved")]
    NotOpenable {
        /// The data key.
        key: Id<DataKey>,
    },
    /// These bytes are not a sealed value: too short, or of an unknown version.
    #[error("not a sealed value: cut short, or written by a newer version of chartwire")]
    NotSealed,
    /// An opened value is not text.
    #[error("a value sealed under data key {key} is not UTF-8 text")]
    NotText {
        /// The data key.
        key: Id<DataKey>,
    },
    /// A value is larger than AES-GCM allows for one message.
    #[error("the value is too large to be sealed")]
    TooLarge,
    /// A re-sealing cursor points at a column that the plan does not list.
    #[error("the re-sealing plan has no column number {number}; start it from the beginning")]
    NoSuchColumn {
        /// The number in the cursor.
        number: usize,
    },
    /// A value met while re-sealing cannot be opened. The walk stops there: going on would hide it.
    #[error("{column} of row {row} cannot be re-sealed")]
    NotResealable {
        /// Where it stands.
        column: SealedColumn,
        /// Its row: an opaque id.
        row: String,
        /// Why.
        #[source]
        reason: Box<VaultError>,
    },
    /// The store of data keys cannot be used now.
    #[error("the store of data keys is not available")]
    StoreUnavailable(#[source] Cause),
    /// A row in the store of data keys holds something that the program does not know.
    #[error("data key {key} is stored with an unknown {column}; a newer version of chartwire may have written it")]
    UnreadableKey {
        /// The data key.
        key: Id<DataKey>,
        /// The column.
        column: &'static str,
    },
    /// The key provider (an external KMS) cannot be reached now.
    #[error("the key provider {provider} is not available: {cause}")]
    ProviderUnavailable {
        /// Which one.
        provider: &'static str,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The key provider (an external KMS) answers, and does not let the tenant's key be used: it was taken away, or the
    /// settings name another, or what renews the access failed.
    #[error("the key provider {provider} refuses the use of key {key}: {cause}")]
    ProviderRefuses {
        /// Which one.
        provider: &'static str,
        /// What it calls the key.
        key: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The key provider refuses to unwrap a key under this key-encryption key.
    #[error("key-encryption key {kek} does not open a data key that was wrapped under it")]
    KekRefused {
        /// The fingerprint or the provider's name of the key-encryption key.
        kek: String,
    },
    /// Other processes kept changing the tenant's keys while one was being chosen.
    #[error("the tenant's data keys change too fast; try again")]
    Contended,
}

impl VaultError {
    /// Whether the same call may succeed a little later. Access to a key in a KMS may be given back.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::StoreUnavailable(_) | Self::ProviderRefuses { .. } | Self::Contended)
            || self.is_provider_away()
    }

    /// Whether it is the key provider that does not let keys be used: it is away, or says no. What is wrong with keys or
    /// settings here is not.
    #[must_use]
    pub const fn is_of_provider(&self) -> bool {
        matches!(self, Self::ProviderRefuses { .. }) || self.is_provider_away()
    }

    /// Whether the key provider did not answer, so that nothing is known of its keys.
    pub(super) const fn is_provider_away(&self) -> bool {
        matches!(self, Self::ProviderUnavailable { .. })
    }
}
