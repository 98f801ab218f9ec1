//! The vault: every key, and the only code that seals and opens.
//!
//! Owns the key ring. Each tenant has data keys of its own, for sealing one per calendar month (UTC) and retention
//! class, each wrapped under the tenant's key-encryption key. Every room that stores something protected calls
//! [`Vault::seal`] before the write and [`Vault::open`] after the read; every room that must find such a value calls
//! [`Vault::index_token`].
//!
//! What always holds:
//! - A sealed value opens only in the place that it was sealed for (tenant, table, row, column), and names its key.
//! - A data key is retired long before random nonces could collide, counted over all processes ([`SealLimits`]).
//! - Keys are stored wrapped only, and leave this process unwrapped only towards the KMS that wraps them. Key types have no
//!   `Debug`; what this code holds of a key is wiped when dropped (what libraries copy for TLS is theirs).
//! - No key-encryption key, or a wrong one, is an error that says what to do, before anything is written.

mod cipher;
mod encoding;
mod error;
mod key;
mod lease;
mod local_keks;
mod mac;
#[cfg(test)]
pub(crate) mod memory_store;
mod provider;
mod reseal;
mod ring;
mod rotation;
mod seal;
mod sealed;
mod store;
#[cfg(test)]
mod tests;
mod transit;

pub use encoding::length_prefixed;
pub use error::{Cause, VaultError};
pub use key::{DataKey, KeyPurpose, KeyRecord, KeyState, Period, RetentionClass};
pub use local_keks::{Kek, LocalKeks};
pub use mac::{IndexToken, MacKey, MacPurpose};
pub use provider::{KeyBytes, KeyProvider, Outage, WrappedKey};
pub use reseal::{AnyRow, ResealCursor, ResealPlan, ResealStep, RowKey, RowKind, SealedColumn, SealedRow, SealedRows};
pub use ring::{KEYS_FRESH_FOR, SealLimits};
pub use rotation::{KeyCheck, Rotation};
pub use seal::Vault;
pub use sealed::{Place, Sealed};
pub use store::{DataKeyStore, StoreAnswer};
pub use transit::{NoHttpClient, TransitKeks, TransitKey};
