//! The key ring: which data key is used now, and opened keys kept in memory.

mod admission;
mod opened;

use super::{
    DataKey, DataKeyStore, KeyBytes, KeyProvider, KeyPurpose, KeyRecord, KeyState, Period, VaultError, cipher,
    lease::Leases,
};
use crate::kernel::{Id, Instruments, Tenant};
use aes_gcm::Aes256Gcm;
use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use opened::Opened;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// For how long a process goes on with the keys that it knows before it asks the store again. What another process
/// changes is therefore in force everywhere after this time.
pub const KEYS_FRESH_FOR: SignedDuration = SignedDuration::from_mins(1);

/// How often a key is looked for while other processes change the ring.
const ATTEMPTS: usize = 16;

/// How many values one data key seals.
#[derive(Debug, Clone, Copy)]
pub struct SealLimits {
    /// Seals that a process reserves at once. What it does not use is lost to the key.
    pub block: i64,
    /// Seals after which a key is retired.
    pub per_key: i64,
}

impl Default for SealLimits {
    /// Blocks of 2^16. A key is retired at 2^27: with random 96-bit nonces, NIST SP 800-38D section 8.3 allows 2^32,
    /// and the collision risk at 2^27 is below 2^-43.
    fn default() -> Self {
        Self { block: 1 << 16, per_key: 1 << 27 }
    }
}

/// A data key that is out of its wrapping. No `Debug`; its material is wiped when it is dropped.
pub(super) struct OpenKey<M> {
    pub(super) id: Id<DataKey>,
    pub(super) purpose: KeyPurpose,
    pub(super) period: Period,
    pub(super) version: i64,
    pub(super) active_from: Timestamp,
    pub(super) material: M,
}

/// A key that seals values.
pub(super) type SealingKey = OpenKey<Aes256Gcm>;

/// A key that makes MACs.
pub(super) type HashingKey = OpenKey<hmac::Key>;

/// A data key of a tenant.
type Named = (Id<Tenant>, Id<DataKey>);

/// Held by whoever does what the others wait for.
type Gate = Arc<tokio::sync::Mutex<()>>;

/// One line of keys: versions follow each other in it.
pub(super) type Line = (Id<Tenant>, KeyPurpose, Period);

/// The key that a line seals with now, and what is left of the block reserved under it.
struct Current {
    key: Arc<SealingKey>,
    remaining: AtomicI64,
    checked_at: AtomicI64,
}

#[derive(Default)]
struct SealingLine {
    current: RwLock<Option<Arc<Current>>>,
    /// Held while the store is asked, so that a process asks once however many values wait.
    renewing: tokio::sync::Mutex<()>,
}

impl SealingLine {
    /// The key that is used now, while seals are left under it.
    fn left(&self) -> Option<Arc<Current>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|current| current.remaining.load(Ordering::Acquire) > 0)
    }
}

struct Versions {
    newest_first: Arc<[Arc<HashingKey>]>,
    checked_at: Timestamp,
}

/// The key ring of a process.
pub(super) struct Ring {
    pub(super) store: Arc<dyn DataKeyStore>,
    pub(super) provider: Arc<dyn KeyProvider>,
    pub(super) instruments: Instruments,
    limits: SealLimits,
    opened: Opened,
    sealing: Mutex<HashMap<Line, Arc<SealingLine>>>,
    versions: Mutex<HashMap<Line, Versions>>,
    /// Held while a sealing key is unwrapped, and while a line of MAC keys is read: a KMS is asked once for each, however
    /// many values wait.
    opening: Mutex<HashMap<Named, Gate>>,
    reading: Mutex<HashMap<Line, Gate>>,
    leases: Leases,
    /// When it was last looked whether a tenant's keys were destroyed.
    looked: Mutex<HashMap<Id<Tenant>, Timestamp>>,
}

impl Ring {
    pub(super) fn new(
        store: Arc<dyn DataKeyStore>,
        provider: Arc<dyn KeyProvider>,
        instruments: Instruments,
        limits: SealLimits,
    ) -> Self {
        Self {
            store,
            provider,
            instruments,
            limits: SealLimits { block: limits.block.clamp(1, limits.per_key.max(1)), ..limits },
            opened: Opened::default(),
            sealing: Mutex::default(),
            versions: Mutex::default(),
            opening: Mutex::default(),
            reading: Mutex::default(),
            leases: Leases::default(),
            looked: Mutex::default(),
        }
    }

    /// The key for one more seal in `line`. Asks nobody while the key in memory has seals left and is fresh.
    pub(super) async fn sealing_key(&self, line: Line) -> Result<Arc<SealingKey>, VaultError> {
        self.admitted(line.0).await?;
        self.taken(line).await
    }

    async fn taken(&self, line: Line) -> Result<Arc<SealingKey>, VaultError> {
        let slot = Arc::clone(self.sealing.lock().unwrap_or_else(PoisonError::into_inner).entry(line).or_default());
        for _ in 0..ATTEMPTS {
            if let Some(key) = self.take_seal(&slot) {
                return Ok(key);
            }
            let _renewing = slot.renewing.lock().await;
            if let Some(key) = self.take_seal(&slot) {
                return Ok(key);
            }
            match self.renew(line, &slot).await {
                // The next key is not open, and the KMS is away: the one that is open goes on with what it has reserved.
                Err(error) if error.is_provider_away() => match slot.left() {
                    Some(current) => current.checked_at.store(self.now_millis(), Ordering::Release),
                    None => return Err(error),
                },
                renewed => renewed?,
            }
        }
        Err(VaultError::Contended)
    }

    fn take_seal(&self, slot: &SealingLine) -> Option<Arc<SealingKey>> {
        let current = slot.current.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let age = self.now_millis().saturating_sub(current.checked_at.load(Ordering::Acquire));
        // A clock that was set back makes the age negative: ask the store rather than trust it.
        let fresh = (0..i64::try_from(KEYS_FRESH_FOR.as_millis()).unwrap_or(i64::MAX)).contains(&age);
        (fresh && current.remaining.fetch_sub(1, Ordering::AcqRel) > 0).then(|| Arc::clone(&current.key))
    }

    /// One step towards a usable key: confirms the current one, reserves a block, retires a full key or makes a new one.
    async fn renew(&self, line: Line, slot: &SealingLine) -> Result<(), VaultError> {
        let (tenant, purpose, period) = line;
        let newest = self.store.versions(tenant, purpose, period).await?.into_iter().next();
        let Some(record) = newest else {
            return self.add_version(line, 1, self.instruments.now()).await;
        };
        if record.state == KeyState::Destroyed {
            return Err(VaultError::Destroyed { tenant });
        }
        if record.state != KeyState::Live {
            return self.add_version(line, record.version + 1, self.instruments.now()).await;
        }
        if let Some(current) = slot.left().filter(|current| current.key.id == record.id) {
            current.checked_at.store(self.now_millis(), Ordering::Release);
            return Ok(());
        }
        // Before seals are reserved under it: one that cannot be opened is not to be used up by the tries.
        let key = self.open_record(&record).await?;
        if !self.store.reserve(tenant, record.id, self.limits.block, self.limits.per_key).await? {
            return self.store.retire(tenant, record.id, KeyState::Full).await;
        }
        let current = Current {
            key,
            remaining: AtomicI64::new(self.limits.block),
            checked_at: AtomicI64::new(self.now_millis()),
        };
        *slot.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(current));
        Ok(())
    }

    /// Every version of a line of MAC keys, newest first; makes the first one where there is none.
    pub(super) async fn mac_keys(
        &self,
        tenant: Id<Tenant>,
        purpose: KeyPurpose,
    ) -> Result<Arc<[Arc<HashingKey>]>, VaultError> {
        let keys = self.stored_mac_keys(tenant, purpose).await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        self.add_version((tenant, purpose, Period::Any), 1, self.instruments.now()).await?;
        self.stored_mac_keys(tenant, purpose).await
    }

    /// Every version of a line of MAC keys that there is, newest first. Makes none.
    pub(super) async fn stored_mac_keys(
        &self,
        tenant: Id<Tenant>,
        purpose: KeyPurpose,
    ) -> Result<Arc<[Arc<HashingKey>]>, VaultError> {
        self.admitted(tenant).await?;
        let line = (tenant, purpose, Period::Any);
        if let Some(keys) = self.fresh_versions(&line) {
            return Ok(keys);
        }
        let gate = Arc::clone(self.reading.lock().unwrap_or_else(PoisonError::into_inner).entry(line).or_default());
        let _reading = gate.lock().await;
        if let Some(keys) = self.fresh_versions(&line) {
            return Ok(keys);
        }
        let now = self.instruments.now();
        let known = self.known_versions(&line);
        let records = self.store.versions(tenant, purpose, Period::Any).await?;
        let known = known.map(|(keys, _)| keys).unwrap_or_default();
        let mut keys = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| record.state == KeyState::Live) {
            keys.push(match known.iter().find(|key| key.id == record.id) {
                Some(key) => Arc::clone(key),
                None => Arc::new(opened(record, cipher::hmac(&self.unwrap(record).await?))),
            });
        }
        let newest_first: Arc<[Arc<HashingKey>]> = keys.into();
        // That there is none is not kept: whoever makes the first one finds it at once.
        if !newest_first.is_empty() {
            let versions = Versions { newest_first: Arc::clone(&newest_first), checked_at: now };
            self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(line, versions);
        }
        Ok(newest_first)
    }

    fn fresh_versions(&self, line: &Line) -> Option<Arc<[Arc<HashingKey>]>> {
        let (keys, checked_at) = self.known_versions(line)?;
        let age = self.instruments.now().duration_since(checked_at);
        (SignedDuration::ZERO..KEYS_FRESH_FOR).contains(&age).then_some(keys)
    }

    fn known_versions(&self, line: &Line) -> Option<(Arc<[Arc<HashingKey>]>, Timestamp)> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(line).map(|known| (Arc::clone(&known.newest_first), known.checked_at))
    }

    /// The sealing key with this id, whatever its state.
    pub(super) async fn key(&self, tenant: Id<Tenant>, id: Id<DataKey>) -> Result<Arc<SealingKey>, VaultError> {
        self.admitted(tenant).await?;
        if let Some(key) = self.opened.get((tenant, id)) {
            return Ok(key);
        }
        let record = self.store.by_id(tenant, id).await?.ok_or(VaultError::UnknownKey { key: id })?;
        if record.state == KeyState::Destroyed {
            return Err(VaultError::Destroyed { tenant });
        }
        if !record.purpose.seals() {
            return Err(VaultError::NotOpenable { key: id });
        }
        self.open_record(&record).await
    }

    /// Makes a key and offers it as `version` of `line`. Where another process was faster, theirs stays.
    pub(super) async fn add_version(&self, line: Line, version: i64, active_from: Timestamp) -> Result<(), VaultError> {
        let (tenant, purpose, period) = line;
        // Rare enough: a tenant whose keys were destroyed gets no others.
        if self.store.list(tenant).await?.iter().any(|record| record.state == KeyState::Destroyed) {
            return Err(VaultError::Destroyed { tenant });
        }
        let mut bytes = KeyBytes::default();
        self.instruments.entropy.fill(bytes.as_mut_slice());
        let mut record = KeyRecord {
            tenant,
            id: self.instruments.new_id(),
            purpose,
            period,
            version,
            state: KeyState::Live,
            wrapped: super::WrappedKey { kek: String::new(), bytes: Vec::new() },
            check_value: Vec::new(),
            created_at: self.instruments.now(),
            active_from,
            reserved: 0,
        };
        let context = record.wrapping_context();
        let outside = self.provider.asks_outside(tenant, None);
        record.wrapped = self.asked(tenant, outside, self.provider.wrap_key(tenant, &bytes, &context)).await?;
        record.check_value = cipher::check_value(&bytes, &context);
        self.store.insert_if_absent(record).await
    }

    /// Takes the key of `record` out of its wrapping and checks that it is the right one.
    pub(super) async fn unwrap(&self, record: &KeyRecord) -> Result<KeyBytes, VaultError> {
        let (tenant, outside) = (record.tenant, self.provider.asks_outside(record.tenant, Some(&record.wrapped)));
        match self.asked(tenant, outside, self.checked(record)).await {
            Err(error @ VaultError::DamagedKey { .. }) if outside => {
                // Its row, or every key: the key-encryption key may have been taken away since it was last asked for.
                let (asks, now) = (self.provider.outage(tenant).is_some(), self.instruments.now());
                if asks && !self.leases.asked_just_now(tenant, now) {
                    self.ask(tenant).await?;
                }
                Err(error)
            }
            answered => answered,
        }
    }

    /// The same, whatever is known of the provider.
    async fn checked(&self, record: &KeyRecord) -> Result<KeyBytes, VaultError> {
        let context = record.wrapping_context();
        match self.unwrapped(record.tenant, &record.wrapped, &context).await {
            Ok(bytes) if cipher::is_checked_by(&bytes, &context, &record.check_value) => Ok(bytes),
            Ok(_) | Err(VaultError::KekRefused { .. }) => Err(VaultError::DamagedKey { key: record.id }),
            Err(error) => Err(error),
        }
    }

    /// Forgets what is known of which keys are in use, so that the next value asks the store.
    pub(super) fn forget_current(&self) {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The sealing key of `record`, kept in memory from now on.
    pub(super) async fn open_record(&self, record: &KeyRecord) -> Result<Arc<SealingKey>, VaultError> {
        let place = (record.tenant, record.id);
        let gate = Arc::clone(self.opening.lock().unwrap_or_else(PoisonError::into_inner).entry(place).or_default());
        let _opening = gate.lock().await;
        let key = match self.opened.get(place) {
            Some(key) => Ok(key),
            None => self.unwrap(record).await.map(|bytes| {
                self.opened.keep(place, opened(record, cipher::aes(&bytes)), || self.leases.failing_tenants())
            }),
        };
        self.opening.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        key
    }

    fn now_millis(&self) -> i64 {
        self.instruments.now().as_millisecond()
    }
}

fn opened<M>(record: &KeyRecord, material: M) -> OpenKey<M> {
    OpenKey {
        id: record.id,
        purpose: record.purpose,
        period: record.period,
        version: record.version,
        active_from: record.active_from,
        material,
    }
}
