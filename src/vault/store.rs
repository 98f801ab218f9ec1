//! Where wrapped data keys are kept, as the vault sees it. The database implements it.

use super::{DataKey, KeyPurpose, KeyRecord, KeyState, Period, VaultError, WrappedKey};
use crate::kernel::{Id, Tenant};
use futures_util::future::BoxFuture;

/// What a [`DataKeyStore`] answers.
pub type StoreAnswer<'a, T> = BoxFuture<'a, Result<T, VaultError>>;

/// The store of wrapped data keys, shared by every process of an installation. Each call is one atomic step; every
/// one may fail with [`VaultError::StoreUnavailable`], and reading with [`VaultError::UnreadableKey`].
pub trait DataKeyStore: Send + Sync + 'static {
    /// The key `id` of `tenant`.
    fn by_id(&self, tenant: Id<Tenant>, id: Id<DataKey>) -> StoreAnswer<'_, Option<KeyRecord>>;

    /// Every version of one purpose and period, newest first.
    fn versions(&self, tenant: Id<Tenant>, purpose: KeyPurpose, period: Period) -> StoreAnswer<'_, Vec<KeyRecord>>;

    /// Every key of `tenant`, in a stable order.
    fn list(&self, tenant: Id<Tenant>) -> StoreAnswer<'_, Vec<KeyRecord>>;

    /// Adds `record` unless tenant, purpose, period and version exist. Of two processes that add the same version
    /// one wins; both then read the winner.
    fn insert_if_absent(&self, record: KeyRecord) -> StoreAnswer<'_, ()>;

    /// Reserves `seals` more seals under a live key whose total then stays within `limit`; says whether it did.
    fn reserve(&self, tenant: Id<Tenant>, id: Id<DataKey>, seals: i64, limit: i64) -> StoreAnswer<'_, bool>;

    /// Takes a live key out of use for new values. A key that is not live keeps its state, except that a full one
    /// may become rotated. Keys are destroyed elsewhere, together with the note of it in the audit log.
    fn retire(&self, tenant: Id<Tenant>, id: Id<DataKey>, state: KeyState) -> StoreAnswer<'_, ()>;

    /// Replaces the wrapping of a key, if it is still wrapped under `previous_kek`; says whether it was.
    fn rewrap(
        &self,
        tenant: Id<Tenant>,
        id: Id<DataKey>,
        previous_kek: String,
        wrapped: WrappedKey,
    ) -> StoreAnswer<'_, bool>;
}
