//! Who holds the key-encryption keys.

use super::VaultError;
use crate::kernel::{Id, Tenant};
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use zeroize::Zeroizing;

/// The 32 bytes of a key, wiped when dropped.
pub type KeyBytes = Zeroizing<[u8; 32]>;

/// A data key wrapped under a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which key-encryption key: a fingerprint, or the name and version that an external KMS gave it. Not secret.
    pub kek: String,
    /// The wrapped bytes, in the provider's own form.
    pub bytes: Vec<u8>,
}

/// What holds while a key provider outside this process does not answer.
///
/// Opened data keys are used for as long as the provider was heard of within `survives`: then they are forgotten, and
/// nothing is sealed or opened until it answers again. So whoever takes a key away there, or cuts the service off from it,
/// knows when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// How often the provider is asked whether the key may still be used.
    pub asks_every: SignedDuration,
    /// For how long opened keys are used without an answer.
    pub survives: SignedDuration,
}

/// Wraps and unwraps data keys under one tenant's key-encryption keys, of which several may exist at once: the
/// current one wraps, any of them unwraps. [`LocalKeks`](super::LocalKeks) keeps them in this process; a KMS
/// (AWS KMS `Encrypt`/`Decrypt`, Vault Transit, a PKCS #11 module) fits behind the same three calls.
///
/// `context` is what the wrapped key is bound to. A provider passes it as associated data (AWS: encryption context)
/// and refuses to unwrap under another; one that cannot is still safe, because the vault compares a check value.
pub trait KeyProvider: Send + Sync + 'static {
    /// What it is called in messages and settings.
    fn name(&self) -> &'static str;

    /// What holds for `tenant` while the provider does not answer; `None` where it is this process itself.
    fn outage(&self, tenant: Id<Tenant>) -> Option<Outage> {
        let _ = tenant;
        None
    }

    /// Whether something outside this process has to do it: unwrap `wrapped`, or wrap where that is `None`.
    fn asks_outside(&self, tenant: Id<Tenant>, wrapped: Option<&WrappedKey>) -> bool {
        let _ = wrapped;
        self.outage(tenant).is_some()
    }

    /// The key-encryption key that new data keys of `tenant` are wrapped under, as in [`WrappedKey::kek`].
    /// [`VaultError::NoKek`] when the tenant has none.
    fn current_kek(&self, tenant: Id<Tenant>) -> BoxFuture<'_, Result<String, VaultError>>;

    /// Wraps `key` under the current key-encryption key of `tenant`.
    fn wrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        key: &'a KeyBytes,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<WrappedKey, VaultError>>;

    /// Unwraps `wrapped`. [`VaultError::WrongKek`] when its key-encryption key is not there,
    /// [`VaultError::KekRefused`] when it does not open.
    fn unwrap_key<'a>(
        &'a self,
        tenant: Id<Tenant>,
        wrapped: &'a WrappedKey,
        context: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyBytes, VaultError>>;
}
