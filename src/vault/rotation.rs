//! Checking keys at start, and replacing them.

use super::{
    DataKey, KEYS_FRESH_FOR, KeyPurpose, KeyRecord, KeyState, Period, Place, Sealed, Vault, VaultError,
    seal::open_under,
};
use crate::kernel::{Id, Tenant};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// How often data keys that are under another key-encryption key are looked for.
const ROUNDS: usize = 100;

/// What [`Vault::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCheck {
    /// The key-encryption key that wraps new data keys.
    pub current_kek: String,
    /// Key-encryption keys that wrap stored data keys.
    pub keks_in_use: BTreeSet<String>,
    /// How many data keys are stored.
    pub data_keys: usize,
}

/// What [`Vault::rotate_data_keys`] and [`Vault::rotate_search_key`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// How many keys were replaced.
    pub keys: usize,
    /// From when on no process uses the replaced keys for new values: the background work starts then.
    pub settled_at: Timestamp,
}

impl Vault {
    /// Proves that the tenant's keys can be used: that there is a key-encryption key, that it wraps and unwraps, and
    /// that it (or one behind it) unwraps what is stored. Called at start, so that a wrong key is refused before
    /// anything is written under it.
    ///
    /// # Errors
    /// [`VaultError::NoKek`], [`VaultError::WrongKek`], [`VaultError::DamagedKey`]; otherwise as the store and the
    /// provider fail.
    pub async fn check(&self, tenant: Id<Tenant>) -> Result<KeyCheck, VaultError> {
        let ring = &self.0;
        let asked = async {
            let current_kek = ring.probe(tenant).await?;
            let (keks_in_use, data_keys) = ring.unwraps_stored(tenant).await?;
            Ok(KeyCheck { current_kek, keks_in_use, data_keys })
        };
        let asked = asked.await;
        ring.heard(tenant, &asked.as_ref().map(drop).map_err(VaultError::clone));
        asked
    }

    /// Asks the tenant's key provider whether its keys may still be used, where that is due, and forgets them where they may
    /// not. To be called every now and then: whoever takes a key away there knows when it stops, also of a process that
    /// nobody uses.
    ///
    /// # Errors
    /// As the provider fails.
    pub async fn ask_key_provider(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        self.0.admitted(tenant).await
    }

    /// For how many tenants the key provider did not answer, or refused, when it was last asked. Asks nobody.
    #[must_use]
    pub fn failing_key_providers(&self) -> usize {
        self.0.failing()
    }

    /// Every data key of the tenant, wrapped, for `chartwire keys list`.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn list_keys(&self, tenant: Id<Tenant>) -> Result<Vec<KeyRecord>, VaultError> {
        self.0.store.list(tenant).await
    }

    /// Wraps every data key under the current key-encryption key and gives the number of those that were under
    /// another. Values are not touched; once this has returned, the older key-encryption keys are not needed.
    ///
    /// # Errors
    /// As the store and the provider fail, [`VaultError::Contended`] while others keep adding keys under another one. What
    /// is done stays done: call again.
    pub async fn rotate_kek(&self, tenant: Id<Tenant>) -> Result<usize, VaultError> {
        let ring = &self.0;
        let mut rewrapped = 0;
        // Another process that still has the old key first may add a data key meanwhile, and the KMS may get one more
        // version of its key: look again until none is left.
        for _ in 0..ROUNDS {
            let current = ring.provider.current_kek(tenant).await?;
            let mut left: Vec<KeyRecord> = ring.store.list(tenant).await?;
            left.retain(|record| record.wrapped.kek != current);
            if left.is_empty() {
                return Ok(rewrapped);
            }
            for record in left {
                let bytes = ring.unwrap(&record).await?;
                let wrapped = ring.provider.wrap_key(tenant, &bytes, &record.wrapping_context()).await?;
                if wrapped.kek != record.wrapped.kek
                    && ring.store.rewrap(tenant, record.id, record.wrapped.kek, wrapped).await?
                {
                    rewrapped += 1;
                }
            }
        }
        Err(VaultError::Contended)
    }

    /// Replaces every key that seals values. New values use new keys (in other processes after
    /// [`KEYS_FRESH_FOR`] at most); what the replaced keys sealed stays readable and is sealed anew by
    /// [`ResealPlan`](super::ResealPlan).
    ///
    /// # Errors
    /// As the store fails. What is done stays done: call again.
    pub async fn rotate_data_keys(&self, tenant: Id<Tenant>) -> Result<Rotation, VaultError> {
        let ring = &self.0;
        let mut keys = 0;
        let records = ring.store.list(tenant).await?;
        let this_month = Period::month_of(ring.instruments.now());
        let mut newest: BTreeMap<_, i64> = BTreeMap::new();
        for record in records.iter().filter(|record| record.purpose.seals() && record.period >= this_month) {
            let version = newest.entry((record.purpose, record.period)).or_default();
            *version = record.version.max(*version);
        }
        // Their successors first: should the key provider be away a moment later, there are keys to seal with.
        for ((purpose, period), version) in newest {
            ring.add_version((tenant, purpose, period), version + 1, ring.instruments.now()).await?;
        }
        for record in records {
            if record.purpose.seals() && record.state != KeyState::Rotated {
                ring.store.retire(tenant, record.id, KeyState::Rotated).await?;
                keys += 1;
            }
        }
        ring.forget_current();
        Ok(Rotation { keys, settled_at: self.settled_at() })
    }

    /// Adds a version of the search key. Look-ups use it at once beside the older ones, new rows only from
    /// `settled_at` on, when every process looks for it. Then the rooms that own indexed columns write their tokens
    /// anew, and [`Vault::retire_search_keys`] ends the older versions.
    ///
    /// # Errors
    /// As the store and the provider fail.
    pub async fn rotate_search_key(&self, tenant: Id<Tenant>) -> Result<Rotation, VaultError> {
        let ring = &self.0;
        let newest = ring.mac_keys(tenant, KeyPurpose::Search).await?.first().map_or(0, |key| key.version);
        let settled_at = self.settled_at();
        ring.add_version((tenant, KeyPurpose::Search, Period::Any), newest + 1, settled_at).await?;
        ring.forget_current();
        Ok(Rotation { keys: 1, settled_at })
    }

    /// Ends the versions of the search key before `version`: look-ups no longer use them. To be called when no row
    /// carries them any more. The version that is in force stays, whatever `version` is. Gives the number of those ended.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn retire_search_keys(&self, tenant: Id<Tenant>, version: i64) -> Result<usize, VaultError> {
        let ring = &self.0;
        let keys = ring.mac_keys(tenant, KeyPurpose::Search).await?;
        let version = version.min(self.in_force(&keys)?.version);
        let mut retired = 0;
        for record in ring.store.versions(tenant, KeyPurpose::Search, Period::Any).await? {
            if record.version < version && record.state == KeyState::Live {
                ring.store.retire(tenant, record.id, KeyState::Rotated).await?;
                retired += 1;
            }
        }
        ring.forget_current();
        Ok(retired)
    }

    /// The keys whose values are to be sealed anew.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn rotated_keys(&self, tenant: Id<Tenant>) -> Result<HashSet<Id<DataKey>>, VaultError> {
        let records = self.0.store.list(tenant).await?;
        let rotated = |record: &KeyRecord| record.purpose.seals() && record.state == KeyState::Rotated;
        Ok(records.iter().filter(|record| rotated(record)).map(|record| record.id).collect())
    }

    /// The value sealed anew, or `None` when its key has not been replaced. It keeps its retention class and its month,
    /// so that it can still be destroyed with its like.
    ///
    /// # Errors
    /// As [`Vault::open`] and [`Vault::seal`].
    pub async fn reseal(
        &self,
        tenant: Id<Tenant>,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, VaultError> {
        let rotated = self.rotated_keys(tenant).await?;
        self.reseal_if(&rotated, tenant, place, sealed).await
    }

    pub(super) async fn reseal_if(
        &self,
        rotated: &HashSet<Id<DataKey>>,
        tenant: Id<Tenant>,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, VaultError> {
        if !rotated.contains(&sealed.key_id()) {
            return Ok(None);
        }
        let key = self.0.key(tenant, sealed.key_id()).await?;
        let plaintext = open_under(&key, tenant, place, sealed)?;
        self.seal_in_line((tenant, key.purpose, key.period), place, &plaintext).await.map(Some)
    }

    /// Twice the time after which every process has asked the store again.
    fn settled_at(&self) -> Timestamp {
        let now = self.0.instruments.now();
        now.saturating_add(KEYS_FRESH_FOR.saturating_mul(2)).unwrap_or(now)
    }
}
