//! A key store in memory, for tests.

use super::{DataKey, DataKeyStore, KeyPurpose, KeyRecord, KeyState, Period, StoreAnswer, WrappedKey};
use crate::kernel::{Id, Tenant};
use futures_util::future::{FutureExt as _, ready};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Keeps data keys in a list. Counts calls, so that tests can show what asks nobody.
#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) records: Mutex<Vec<KeyRecord>>,
    pub(crate) calls: AtomicUsize,
}

impl MemoryStore {
    fn with<'a, T: Send + 'a>(&'a self, work: impl FnOnce(&mut Vec<KeyRecord>) -> T) -> StoreAnswer<'a, T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(work(&mut self.records.lock().unwrap()))).boxed()
    }
}

impl DataKeyStore for MemoryStore {
    fn by_id(&self, tenant: Id<Tenant>, id: Id<DataKey>) -> StoreAnswer<'_, Option<KeyRecord>> {
        self.with(|records| records.iter().find(|key| key.tenant == tenant && key.id == id).cloned())
    }

    fn versions(&self, tenant: Id<Tenant>, purpose: KeyPurpose, period: Period) -> StoreAnswer<'_, Vec<KeyRecord>> {
        self.with(|records| {
            let mut found: Vec<KeyRecord> = records
                .iter()
                .filter(|key| (key.tenant, key.purpose, key.period) == (tenant, purpose, period))
                .cloned()
                .collect();
            found.sort_by_key(|key| std::cmp::Reverse(key.version));
            found
        })
    }

    fn list(&self, tenant: Id<Tenant>) -> StoreAnswer<'_, Vec<KeyRecord>> {
        self.with(|records| records.iter().filter(|key| key.tenant == tenant).cloned().collect())
    }

    fn insert_if_absent(&self, record: KeyRecord) -> StoreAnswer<'_, ()> {
        self.with(|records| {
            let line = |key: &KeyRecord| (key.tenant, key.purpose, key.period, key.version);
            if !records.iter().any(|key| line(key) == line(&record)) {
                records.push(record);
            }
        })
    }

    fn reserve(&self, tenant: Id<Tenant>, id: Id<DataKey>, seals: i64, limit: i64) -> StoreAnswer<'_, bool> {
        self.with(|records| {
            records
                .iter_mut()
                .find(|key| {
                    (key.tenant, key.id, key.state) == (tenant, id, KeyState::Live) && key.reserved + seals <= limit
                })
                .is_some_and(|key| {
                    key.reserved += seals;
                    true
                })
        })
    }

    fn retire(&self, tenant: Id<Tenant>, id: Id<DataKey>, state: KeyState) -> StoreAnswer<'_, ()> {
        self.with(|records| {
            for key in records.iter_mut().filter(|key| (key.tenant, key.id) == (tenant, id)) {
                if key.state == KeyState::Live || (state == KeyState::Rotated && key.state == KeyState::Full) {
                    key.state = state;
                }
            }
        })
    }

    fn rewrap(
        &self,
        tenant: Id<Tenant>,
        id: Id<DataKey>,
        previous_kek: String,
        wrapped: WrappedKey,
    ) -> StoreAnswer<'_, bool> {
        self.with(|records| {
            records
                .iter_mut()
                .find(|key| (key.tenant, key.id) == (tenant, id) && key.wrapped.kek == previous_kek)
                .is_some_and(|key| {
                    key.wrapped = wrapped;
                    true
                })
        })
    }
}
