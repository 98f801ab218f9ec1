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

/// What [`Vault::rotate_data_keys`] did.
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
        let asked = ring.probe(tenant).await;
        ring.heard(tenant, &asked.clone().map(drop));
        let current_kek = asked?;
        let records = ring.store.list(tenant).await?;
        if records.iter().any(|record| record.state == KeyState::Destroyed) {
            return Err(VaultError::Destroyed { tenant });
        }
        let mut keks_in_use = BTreeSet::new();
        for record in &records {
            // One key for each key-encryption key shows that it is the right one; unwrapping all of them may mean
            // thousands of calls to a KMS.
            if keks_in_use.insert(record.wrapped.kek.clone()) {
                ring.unwrap(record).await?;
            }
        }
        Ok(KeyCheck { current_kek, keks_in_use, data_keys: records.len() })
    }

    /// Opens what new values of `tenant` are sealed and signed with, and makes nothing: a process that has just started then
    /// goes on without its KMS as one does that has been running. Called at start, after [`Vault::check`].
    ///
    /// # Errors
    /// As the store and the provider fail; [`VaultError::DamagedKey`].
    pub async fn open_keys_in_use(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        let ring = &self.0;
        let this_month = Period::month_of(ring.instruments.now());
        for record in ring.store.list(tenant).await? {
            if record.purpose.seals() && record.period == this_month && record.state == KeyState::Live {
                ring.open_record(&record).await?;
            }
        }
        for purpose in KeyPurpose::ALL.into_iter().filter(|purpose| !purpose.seals()) {
            ring.stored_mac_keys(tenant, purpose).await?;
        }
        Ok(())
    }

    /// Asks the tenant's key provider whether open keys may still be used, where that is due, and the store whether they
    /// were destroyed, and forgets them where they may not be used. Called every few seconds by each process: one that has nothing to do forgets in time, too.
    ///
    /// # Errors
    /// Why the tenant's keys may not be used now.
    pub async fn ask_where_due(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        self.0.forget_where_destroyed(tenant).await?;
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
    /// As the store and the provider fail: where a successor cannot be made, nothing is replaced. What is done stays done:
    /// call again.
    pub async fn rotate_data_keys(&self, tenant: Id<Tenant>) -> Result<Rotation, VaultError> {
        let ring = &self.0;
        let now = ring.instruments.now();
        let mut replaced = ring.store.list(tenant).await?;
        replaced.retain(|record| record.purpose.seals() && record.state != KeyState::Rotated);
        let (this_month, mut newest) = (Period::month_of(now), BTreeMap::new());
        // The codes of months sort as the months do.
        let serves = |record: &&KeyRecord| record.period.to_string() >= this_month.to_string();
        for record in replaced.iter().filter(serves) {
            let version = newest.entry((record.purpose, record.period.to_string())).or_insert((record.period, 0));
            version.1 = version.1.max(record.version);
        }
        for ((purpose, _), (period, version)) in newest {
            ring.add_version((tenant, purpose, period), version + 1, now).await?;
        }
        for record in &replaced {
            ring.store.retire(tenant, record.id, KeyState::Rotated).await?;
        }
        ring.forget_current();
        Ok(Rotation { keys: replaced.len(), settled_at: self.settled_at() })
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
