//! For how long a provider outside this process has allowed each tenant's keys to be used.
//!
//! Owned by the key ring. Always: one caller at a time asks for a tenant, the others go on with what is known as long as
//! that holds, and otherwise wait for that one answer; a provider that does not answer is not asked by each caller.

use super::{Outage, VaultError};
use crate::kernel::{Id, Tenant};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

/// How soon a provider is asked again by which nothing may be used: whoever waits for it waits no longer than this.
const ASKS_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What is known of one tenant's keys.
#[derive(Default)]
struct Lease {
    /// When the provider last allowed it.
    allowed_at: Option<Timestamp>,
    /// When it was last asked whether they may be used, whatever came of it. The next ask goes by this alone.
    asked_at: Option<Timestamp>,
    /// Why it last did not do what it was asked for, and when; nothing once it has done something again. Callers are
    /// spared by this the same silence.
    failed: Option<(VaultError, Timestamp)>,
    /// Held while it is asked.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// Every tenant's.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Id<Tenant>, Lease>>);

/// What a caller does now.
pub(super) enum Due {
    /// Uses the keys.
    Nothing,
    /// Asks the provider, and holds this until it has answered.
    Ask(OwnedMutexGuard<()>),
    /// Waits for whoever is asking, and looks again.
    Wait(Arc<tokio::sync::Mutex<()>>),
    /// Does without: the provider was asked just now.
    Refused(VaultError),
}

/// How it stands after an answer, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The provider allows it.
    Allowed {
        /// It did not when it was asked before.
        again: bool,
    },
    /// It does not answer; opened keys may be used until then.
    Until(Timestamp),
    /// Opened keys may not be used.
    RunOut,
}

fn within(span: SignedDuration, since: Option<Timestamp>, now: Timestamp) -> bool {
    // A clock that was set back makes the span negative: ask rather than trust it.
    since.is_some_and(|since| (SignedDuration::ZERO..span).contains(&now.duration_since(since)))
}

impl Leases {
    /// Whether the provider has to be asked now, and by whom.
    pub(super) fn due(&self, tenant: Id<Tenant>, outage: Outage, now: Timestamp) -> Due {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.entry(tenant).or_default();
        let usable = within(outage.survives, lease.allowed_at, now);
        if usable && within(outage.asks_every, lease.asked_at, now) {
            return Due::Nothing;
        }
        if !usable && let Some(failed) = lease.failed_just_now(now) {
            return Due::Refused(failed);
        }
        match Arc::clone(&lease.asking).try_lock_owned() {
            Ok(asking) => Due::Ask(asking),
            // Whoever may go on meanwhile does.
            Err(_) if usable => Due::Nothing,
            Err(_) => Due::Wait(Arc::clone(&lease.asking)),
        }
    }

    /// Notes what the provider said at `now`, asked whether the keys may be used.
    pub(super) fn note(
        &self,
        tenant: Id<Tenant>,
        outage: Outage,
        now: Timestamp,
        asked: &Result<(), VaultError>,
    ) -> Standing {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.entry(tenant).or_default();
        lease.asked_at = Some(now);
        match asked {
            Ok(()) => {
                lease.allowed_at = Some(now);
                Standing::Allowed { again: lease.failed.take().is_some() }
            }
            Err(error) => lease.fail(outage, now, error),
        }
    }

    /// Notes that the provider did not wrap or unwrap a data key at `now`. When it is asked next stays as it was: behind a
    /// load balancer, one node may fail whatever the others say. Without an `outage` only callers are spared.
    pub(super) fn note_failure(
        &self,
        tenant: Id<Tenant>,
        outage: Option<Outage>,
        now: Timestamp,
        error: &VaultError,
    ) -> Option<Standing> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.entry(tenant).or_default();
        if let Some(outage) = outage {
            return Some(lease.fail(outage, now, error));
        }
        lease.failed = Some((error.clone(), now));
        None
    }

    /// Notes that the provider wrapped or unwrapped a data key: nobody is spared any more. For how long keys may be used
    /// stays as it was. Says whether it had failed before.
    pub(super) fn note_success(&self, tenant: Id<Tenant>) -> bool {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get_mut(&tenant).is_some_and(|lease| lease.failed.take().is_some())
    }

    /// Whether the provider was asked so short a time ago that what it said still holds.
    pub(super) fn asked_just_now(&self, tenant: Id<Tenant>, now: Timestamp) -> bool {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get(&tenant).is_some_and(|lease| within(ASKS_AGAIN, lease.asked_at, now))
    }

    /// Why the provider is not asked for a key that is not open, where it did not answer just now.
    pub(super) fn away(&self, tenant: Id<Tenant>, now: Timestamp) -> Option<VaultError> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get(&tenant)?.failed_just_now(now)
    }

    /// The tenants whose provider failed when it was last asked for something.
    pub(super) fn failing_tenants(&self) -> HashSet<Id<Tenant>> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.iter().filter(|(_, lease)| lease.failed.is_some()).map(|(tenant, _)| *tenant).collect()
    }

    /// For how many tenants the provider did not allow it when it was last asked. Where it only unwraps what is left it
    /// is not asked, and does not count.
    pub(super) fn failing(&self) -> usize {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.values().filter(|lease| lease.asked_at.is_some() && lease.failed.is_some()).count()
    }
}

impl Lease {
    fn failed_just_now(&self, now: Timestamp) -> Option<VaultError> {
        let (error, at) = self.failed.as_ref()?;
        within(ASKS_AGAIN, Some(*at), now).then(|| error.clone())
    }

    fn fail(&mut self, outage: Outage, now: Timestamp, error: &VaultError) -> Standing {
        self.failed = Some((error.clone(), now));
        match self.allowed_at {
            Some(allowed) if error.is_provider_away() && within(outage.survives, self.allowed_at, now) => {
                Standing::Until(allowed.saturating_add(outage.survives).unwrap_or(allowed))
            }
            _ => {
                self.allowed_at = None;
                Standing::RunOut
            }
        }
    }
}
