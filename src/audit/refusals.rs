//! Refused requests, one row per source and minute however many there are.

use super::{Action, Actor, AuditEntry, AuditError, AuditSigner, Detail, Outcome, record_alone};
use crate::{
    db::Db,
    kernel::{Id, Instruments, Tenant},
    vault::Vault,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Sources that are told apart; what more there are is counted together, so that a flood fills neither memory nor log.
const SOURCES: usize = 4_096;
const MINUTE_MILLIS: i64 = 60_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    tenant: Id<Tenant>,
    component: &'static str,
    reason: &'static str,
    /// `None` stands for all the sources beyond [`SOURCES`].
    address: Option<IpAddr>,
    minute: i64,
}

/// Counts refusals in memory until their minute is over. What a crash loses is a minute's count, never a refusal itself.
pub struct CoalescedRefusals {
    instruments: Instruments,
    counts: Mutex<HashMap<Source, i64>>,
}

impl CoalescedRefusals {
    /// No refusals yet.
    #[must_use]
    pub fn new(instruments: Instruments) -> Self {
        Self { instruments, counts: Mutex::default() }
    }

    /// Counts one refusal by `component` (such as `carrier.twilio`) for `reason` (such as `forged_signature`) of a request
    /// from `address`.
    pub fn note(&self, tenant: Id<Tenant>, component: &'static str, reason: &'static str, address: IpAddr) {
        let mut source = Source { tenant, component, reason, address: Some(address), minute: self.minute() };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= SOURCES && !counts.contains_key(&source) {
            source.address = None;
        }
        *counts.entry(source).or_default() += 1;
    }

    /// Writes the minutes that are over; called every few seconds.
    ///
    /// # Errors
    /// [`AuditError`] when a row cannot be written: its count is kept for the next time.
    pub async fn flush(&self, db: &Db, vault: &Vault) -> Result<(), AuditError> {
        self.flush_before(db, vault, self.minute()).await
    }

    /// Writes everything, for a clean shutdown.
    ///
    /// # Errors
    /// As [`CoalescedRefusals::flush`].
    pub async fn flush_all(&self, db: &Db, vault: &Vault) -> Result<(), AuditError> {
        self.flush_before(db, vault, i64::MAX).await
    }

    async fn flush_before(&self, db: &Db, vault: &Vault, minute: i64) -> Result<(), AuditError> {
        let due: Vec<(Source, i64)> = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.extract_if(|source, _| source.minute < minute).collect()
        };
        let mut failure = None;
        for (source, count) in due {
            let written = if failure.is_none() { self.write(db, vault, &source, count).await } else { Ok(false) };
            let kept = match written {
                Ok(written) => !written,
                Err(error) => {
                    failure = Some(error);
                    true
                }
            };
            if kept {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(source).or_default() += count;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn write(&self, db: &Db, vault: &Vault, source: &Source, count: i64) -> Result<bool, AuditError> {
        let detail = Detail::new()
            .code("reason", source.reason)
            .count("refusals", count)
            .count("minute_unix_ms", source.minute.saturating_mul(MINUTE_MILLIS));
        let detail = match source.address {
            Some(address) => detail.address("source", address),
            None => detail.code("source", "many"),
        };
        let entry = AuditEntry::new(Actor::System(source.component), Action::Refusal, "security")
            .ended(Outcome::Refused)
            .with_detail(detail);
        let signer = AuditSigner::new(vault, self.instruments.clone(), source.tenant).await?;
        record_alone(db, entry, signer).await?;
        Ok(true)
    }

    fn minute(&self) -> i64 {
        self.instruments.now().as_millisecond().div_euclid(MINUTE_MILLIS)
    }
}
