//! Whether a provider outside this process still allows the use of opened keys.
//!
//! Owned by the key ring, asked by it before each use of a key. Always: keys that may not be used any more are forgotten,
//! and whoever runs the service is told.

use super::{Line, Ring};
use crate::{
    kernel::{Id, Tenant},
    vault::{
        KeyBytes, KeyRecord, Outage, Period, VaultError,
        lease::{Due, Standing},
    },
};
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

/// What a key that only proves that the provider is there is bound to.
const PROBE: &[u8] = b"chartwire check";

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
                Due::Ask(_asking) => return Box::pin(self.ask(tenant, outage)).await,
            }
        }
    }

    async fn ask(&self, tenant: Id<Tenant>, outage: Outage) -> Result<(), VaultError> {
        let mut asked = self.proven(tenant).await;
        if asked.as_ref().is_err_and(|error| !error.is_provider_away()) {
            // One node of the provider may not know yet what another has just done.
            asked = self.proven(tenant).await;
        }
        match self.heard(tenant, &asked) {
            Standing::Allowed { .. } => {
                self.prepare(tenant, outage).await;
                Ok(())
            }
            Standing::Until(_) => Ok(()),
            Standing::RunOut => asked,
        }
    }

    /// That the provider wraps and unwraps, and unwraps what is stored: a key that was made anew under the same name in the
    /// provider does the one and not the other, and what would be sealed from then on could never be opened again.
    async fn proven(&self, tenant: Id<Tenant>) -> Result<(), VaultError> {
        self.probe(tenant).await?;
        self.unwraps_stored(tenant).await.map(drop)
    }

    /// Unwraps the newest data key under each key-encryption key that has any, and gives these and the number of data keys.
    /// All of them may mean thousands of calls.
    pub(in crate::vault) async fn unwraps_stored(
        &self,
        tenant: Id<Tenant>,
    ) -> Result<(BTreeSet<String>, usize), VaultError> {
        let records = self.store.list(tenant).await?;
        let mut newest: BTreeMap<&str, &KeyRecord> = BTreeMap::new();
        for record in &records {
            let known = newest.entry(&record.wrapped.kek).or_insert(record);
            if known.created_at < record.created_at {
                *known = record;
            }
        }
        for record in newest.values() {
            self.unwrap(record).await?;
        }
        Ok((newest.into_keys().map(str::to_owned).collect(), records.len()))
    }

    /// Has the provider wrap and unwrap a key that serves for nothing else. Gives the key-encryption key.
    pub(in crate::vault) async fn probe(&self, tenant: Id<Tenant>) -> Result<String, VaultError> {
        // Asked first: a KMS may make a key that is not there when it is to wrap with it.
        let kek = self.provider.current_kek(tenant).await?;
        let mut probe = KeyBytes::default();
        self.instruments.entropy.fill(probe.as_mut_slice());
        let wrapped = self.provider.wrap_key(tenant, &probe, PROBE).await?;
        if *self.provider.unwrap_key(tenant, &wrapped, PROBE).await? != *probe {
            return Err(VaultError::KekRefused { kek: wrapped.kek });
        }
        Ok(kek)
    }

    /// Notes what the provider said of the tenant's keys, tells operators, and forgets the opened keys where that is to be.
    pub(in crate::vault) fn heard(&self, tenant: Id<Tenant>, asked: &Result<(), VaultError>) -> Standing {
        let Some(outage) = self.provider.outage(tenant) else { return Standing::Allowed { again: false } };
        let standing = self.leases.note(tenant, outage, self.instruments.now(), asked);
        #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 tenants")]
        metrics::gauge!("chartwire_key_providers_failing").set(self.leases.failing() as f64);
        if let Err(error) = asked {
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
        standing
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
        let lines: Vec<Line> = {
            let sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
            sealing.keys().filter(|(of, _, period)| *of == tenant && *period == this_month).copied().collect()
        };
        for (_, purpose, _) in lines {
            if let Err(error) = self.taken((tenant, purpose, next_month)).await {
                tracing::warn!(%error, "the data keys of the next month are not made yet");
                return;
            }
        }
    }

    /// Forgets every opened key of `tenant`.
    fn forget(&self, tenant: Id<Tenant>) {
        self.opened.write().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != tenant);
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, ..), _| *of != tenant);
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, ..), _| *of != tenant);
    }

    /// What the provider answers. Where it did not answer just now it is not asked, and where it does not now that is noted:
    /// not every caller waits for the same silence.
    pub(super) async fn asked<'a, T>(
        &'a self,
        tenant: Id<Tenant>,
        ask: impl FnOnce() -> BoxFuture<'a, Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        if let Some(error) = self.leases.away(tenant, self.instruments.now()) {
            return Err(error);
        }
        ask().await.inspect_err(|error| {
            if matches!(error, VaultError::ProviderUnavailable { .. } | VaultError::ProviderRefuses { .. }) {
                self.heard(tenant, &Err(error.clone()));
            }
        })
    }
}
