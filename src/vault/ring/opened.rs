//! Opened sealing keys, kept in memory.
//!
//! Owned by the key ring. Always: there are not many more of them than stated, and none makes room for another while it
//! could not be opened again.

use super::{Named, SealingKey};
use crate::{
    kernel::{Id, Tenant},
    vault::{KeyPurpose, Period},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

/// Opened keys in memory at most, those aside that may not make room.
const AT_MOST: usize = 10_000;
/// How many make room at once, so that room is not looked for with every key.
const MAKE_ROOM: usize = 100;

/// Opened sealing keys.
#[derive(Default)]
pub(super) struct Opened(RwLock<HashMap<Named, Arc<SealingKey>>>);

impl Opened {
    pub(super) fn get(&self, place: Named) -> Option<Arc<SealingKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&place).map(Arc::clone)
    }

    /// Keeps `key`. Where there are too many, some others go, but none of the tenants that `spared` names.
    pub(super) fn keep(
        &self,
        place: Named,
        key: SealingKey,
        spared: impl FnOnce() -> HashSet<Id<Tenant>>,
    ) -> Arc<SealingKey> {
        let key = Arc::new(key);
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= AT_MOST {
            let spared = spared();
            // In no order: whichever is needed again is opened again.
            let leaving = keys.keys().filter(|(tenant, _)| !spared.contains(tenant));
            let leaving: Vec<Named> = leaving.take(MAKE_ROOM).copied().collect();
            for named in leaving {
                keys.remove(&named);
            }
        }
        keys.insert(place, Arc::clone(&key));
        key
    }

    /// What the tenant's opened keys of `period` are for.
    pub(super) fn purposes(&self, tenant: Id<Tenant>, period: Period) -> BTreeSet<KeyPurpose> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_it = keys.iter().filter(|((of, _), key)| *of == tenant && key.period == period);
        of_it.map(|(_, key)| key.purpose).collect()
    }

    pub(super) fn forget(&self, tenant: Id<Tenant>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{KeyBytes, RetentionClass, cipher};
    use jiff::Timestamp;

    fn keep(opened: &Opened, tenant: u8, number: usize, spared: &[Id<Tenant>]) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let key = SealingKey {
            id: Id::from_bytes(id),
            purpose: KeyPurpose::Seal(RetentionClass::Clinical),
            period: Period::Any,
            version: 1,
            active_from: Timestamp::UNIX_EPOCH,
            material: cipher::aes(&KeyBytes::default()),
        };
        opened.keep((Id::from_bytes([tenant; 16]), key.id), key, || spared.iter().copied().collect());
    }

    #[test]
    fn keys_that_could_not_be_opened_again_do_not_make_room_for_others() {
        let opened = Opened::default();
        let count =
            |tenant: u8| opened.0.read().unwrap().keys().filter(|(of, _)| *of == Id::from_bytes([tenant; 16])).count();
        (0..50).for_each(|number| keep(&opened, 1, number, &[]));
        (0..AT_MOST + 500).for_each(|number| keep(&opened, 2, number, &[Id::from_bytes([1; 16])]));
        assert_eq!(count(1), 50, "the tenant whose provider is failing keeps every key");
        assert!(count(2) > AT_MOST - MAKE_ROOM - 50 && count(2) <= AT_MOST - 50, "{}", count(2));
    }
}
