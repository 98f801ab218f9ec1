//! Whether a provider outside this process still allows the use of opened keys.
//!
//! Owned by the key ring, asked by it before each use of a key. Always: keys that may not be used any more are forgotten,
//! and whoever runs the service is told.

use super::{KEYS_FRESH_FOR, Ring};
use crate::{
    kernel::{Id, Tenant},
    vault::{
        KeyBytes, KeyState, Outage, Period, VaultError, WrappedKey,
        lease::{Due, Standing},
    },
};
use jiff::{SignedDuration, Timestamp};
use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, PoisonError},
};

/// What a key that only proves that the provider is there is bound to.
const PROBE: &[u8] = b"chartwire check";

/// Of how many data keys one has to open, so that the key-encryption key that wrapped them is taken for the right one.
const PROOFS: usize = 3;

impl Ring {
    /// Whether the tenant's keys may be used: always where they are this process's own, otherwise for as long as the
    /// provider was heard of lately ([`Outage`](super::Outage)).
    pub(in crate::vault) async fn admitted(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        let Some(outage) = self.provider.outage(tenant) else { return Ok(()) };
        loop {
            match self.leases.due(tenant, outage, self.instruments.now()) {
                Due::Nothing => return Ok(()),
                Due::Refused(error) => return Err(error),
                Due::Wait(asking) => drop(asking.lock().await),
                // Once in minutes: what seals and opens all the time does not carry its size.
                Due::Ask(_asking) => return Box::pin(self.ask_and_prepare(tenant, outage)).await,
            }
        }
    }

    async fn ask_and_prepare(&self, tenant: Id<Tenant>, outage: Outage) -> Result<(), VaultError> {
        if let Standing::Allowed { .. } = self.ask(tenant).await? {
            self.prepare(tenant, outage).await;
        }
        Ok(())
    }

    /// Asks the provider whether the tenant's keys may be used; the error says why not.
    pub(super) async fn ask(&self, tenant: Id<Tenant>) -> Result<Standing, VaultError> {
        let asked = self.probe(tenant).await.map(drop).map_err(|error| self.as_refusal(error));
        match self.heard(tenant, &asked) {
            Standing::RunOut => asked.map(|()| Standing::RunOut),
            standing => Ok(standing),
        }
    }

    /// A key that does not unwrap what it wrapped is one that may not be used: it may be given back, and callers try again.
    fn as_refusal(&self, error: VaultError) -> VaultError {
        let key = match &error {
            VaultError::KekRefused { kek } => kek.clone(),
            VaultError::DamagedKey { key } => format!("of data key {key}"),
            _ => return error,
        };
        VaultError::ProviderRefuses { provider: self.provider.name(), key, cause: Arc::new(error) }
    }

    /// Has the provider wrap and unwrap a key that serves for nothing else, and unwrap what new values are sealed under: a
    /// key of the same name may be another one. Gives the key-encryption key.
    pub(in crate::vault) async fn probe(&self, tenant: Id<Tenant>) -> Result<String, VaultError> {
        // Asked first: a KMS may make a key that is not there when it is to wrap with it.
        let kek = self.provider.current_kek(tenant).await?;
        let mut probe = KeyBytes::default();
        self.instruments.entropy.fill(probe.as_mut_slice());
        let wrapped = self.provider.wrap_key(tenant, &probe, PROBE).await?;
        if *self.unwrapped(tenant, &wrapped, PROBE).await? != *probe {
            return Err(VaultError::KekRefused { kek: wrapped.kek });
        }
        self.prove_keys_in_use(tenant).await?;
        Ok(kek)
    }

    /// Has the provider unwrap, for each key-encryption key outside, the newest data key that serves now. One that does not
    /// open may be a damaged row: where the next newest opens, the key-encryption key is the right one.
    async fn prove_keys_in_use(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        // Without the store nothing is sealed for longer than a minute, and the provider has answered.
        let Ok(mut records) = self.store.list(tenant).await else { return Ok(()) };
        let this_month = Period::month_of(self.instruments.now());
        records.retain(|record| {
            record.state == KeyState::Live
                && (record.period == Period::Any || record.period == this_month)
                && self.provider.asks_outside(tenant, Some(&record.wrapped))
        });
        records.sort_by_key(|record| Reverse((record.created_at, record.id)));
        let mut proofs: HashMap<&str, (usize, Result<(), VaultError>)> = HashMap::new();
        for record in &records {
            let (tries, proven) = proofs.entry(&record.wrapped.kek).or_insert((0, Ok(())));
            if *tries == PROOFS || (*tries > 0 && proven.is_ok()) {
                continue;
            }
            *tries += 1;
            *proven = match self.checked(record).await {
                Err(error @ VaultError::DamagedKey { .. }) => Err(error),
                other => {
                    other?;
                    Ok(())
                }
            };
        }
        proofs.into_values().try_for_each(|(_, proven)| proven)
    }

    /// What is in `wrapped`. Asked twice where something outside refuses it: a standby may not have seen yet the version of
    /// the key that wrapped it.
    pub(super) async fn unwrapped(
        &self,
        tenant: Id<Tenant>,
        wrapped: &WrappedKey,
        context: &[u8],
    ) -> Result<KeyBytes, VaultError> {
        match self.provider.unwrap_key(tenant, wrapped, context).await {
            Err(VaultError::KekRefused { .. }) if self.provider.asks_outside(tenant, Some(wrapped)) => {
                self.provider.unwrap_key(tenant, wrapped, context).await
            }
            answered => answered,
        }
    }

    /// Notes what the provider said of the tenant's keys, tells operators, and forgets the opened keys where that is to be.
    pub(in crate::vault) fn heard(&self, tenant: Id<Tenant>, asked: &Result<(), VaultError>) -> Standing {
        let Some(outage) = self.provider.outage(tenant) else { return Standing::Allowed { again: false } };
        let standing = self.leases.note(tenant, outage, self.instruments.now(), asked);
        self.follow(tenant, standing, asked.as_ref().err());
        standing
    }

    /// Shows how it stands with the tenant's keys, and forgets the opened ones where that is to be.
    fn follow(&self, tenant: Id<Tenant>, standing: Standing, failed: Option<&VaultError>) {
        #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 tenants")]
        metrics::gauge!("chartwire_key_providers_failing").set(self.leases.failing() as f64);
        if let Some(error) = failed {
            let reason = if error.is_provider_away() { "away" } else { "refused" };
            metrics::counter!("chartwire_key_provider_failures_total", "reason" => reason).increment(1);
            if let Standing::Until(until) = standing {
                tracing::warn!(%error, %until, "open data keys are used until then");
            } else {
                tracing::error!(%error, "data keys are forgotten: nothing of the practice is sealed or opened");
            }
        }
        match standing {
            Standing::Allowed { again: true } => tracing::info!("the key provider allows the use of the keys again"),
            Standing::RunOut => self.forget(tenant),
            Standing::Allowed { again: false } | Standing::Until(_) => {}
        }
    }

    /// For how many tenants the key provider did not allow the use of their keys when it was last asked.
    pub(in crate::vault) fn failing(&self) -> usize {
        self.leases.failing()
    }

    /// Makes the keys of the next month where an outage that begins now could last into it. Should this fail, it is done
    /// when the provider is asked the next time.
    async fn prepare(&self, tenant: Id<Tenant>, outage: Outage) {
        let now = self.instruments.now();
        let this_month = Period::month_of(now);
        let next_month = Period::month_of(now.saturating_add(outage.survives).unwrap_or(now));
        if next_month == this_month {
            return;
        }
        for purpose in self.opened.purposes(tenant, this_month) {
            if let Err(error) = self.taken((tenant, purpose, next_month)).await {
                tracing::warn!(%error, "the data keys of the next month are not made yet");
                return;
            }
        }
    }

    /// Forgets the keys of a tenant whose keys were destroyed in the store. Looks once in [`KEYS_FRESH_FOR`].
    pub(in crate::vault) async fn forget_where_destroyed(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        let now = self.instruments.now();
        let looked_at = self.looked.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).copied();
        let fresh = |at: Timestamp| (SignedDuration::ZERO..KEYS_FRESH_FOR).contains(&now.duration_since(at));
        if looked_at.is_some_and(fresh) {
            return Ok(());
        }
        let records = self.store.list(tenant).await?;
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, now);
        if records.iter().any(|record| record.state == KeyState::Destroyed) {
            self.forget(tenant);
            return Err(VaultError::Destroyed { tenant });
        }
        Ok(())
    }

    /// Forgets every opened key of `tenant`.
    fn forget(&self, tenant: Id<Tenant>) {
        self.opened.forget(tenant);
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, ..), _| *of != tenant);
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, ..), _| *of != tenant);
    }

    /// What the provider answers. Where it did not answer just now it is not asked, and where it does not now that is noted:
    /// not every caller waits for the same silence. `outside` says whether anybody but this process has to answer.
    pub(super) async fn asked<'a, T>(
        &'a self,
        tenant: Id<Tenant>,
        outside: bool,
        ask: impl Future<Output = Result<T, VaultError>> + Send + 'a,
    ) -> Result<T, VaultError> {
        if !outside {
            return ask.await;
        }
        if let Some(error) = self.leases.away(tenant, self.instruments.now()) {
            return Err(error);
        }
        let answered = ask.await;
        match &answered {
            Err(error @ (VaultError::ProviderUnavailable { .. } | VaultError::ProviderRefuses { .. })) => {
                let (outage, now) = (self.provider.outage(tenant), self.instruments.now());
                if let Some(standing) = self.leases.note_failure(tenant, outage, now, error) {
                    self.follow(tenant, standing, Some(error));
                } else {
                    tracing::warn!(%error, "a data key stays closed");
                }
            }
            Ok(_) => {
                if self.leases.note_success(tenant) {
                    self.follow(tenant, Standing::Allowed { again: true }, None);
                }
            }
            Err(_) => {}
        }
        answered
    }
}
