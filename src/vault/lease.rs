//! For how long a provider outside this process has allowed each tenant's keys to be used.
//!
//! Owned by the key ring. Always: one caller at a time asks for a tenant, the others go on with what is known as long as
//! that holds, and otherwise wait for that one answer; a provider that does not answer is not asked by each caller.

use super::{Outage, VaultError};
use crate::kernel::{Id, Tenant};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
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
    /// When it last answered, or was given up.
    asked_at: Option<Timestamp>,
    /// What came of it, where it was not allowed.
    failed: Option<VaultError>,
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
#[derive(Debug, PartialEq, Eq)]
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
        if !usable
            && within(ASKS_AGAIN, lease.asked_at, now)
            && let Some(failed) = &lease.failed
        {
            return Due::Refused(failed.clone());
        }
        match Arc::clone(&lease.asking).try_lock_owned() {
            Ok(asking) => Due::Ask(asking),
            // Whoever may go on meanwhile does.
            Err(_) if usable => Due::Nothing,
            Err(_) => Due::Wait(Arc::clone(&lease.asking)),
        }
    }

    /// Notes what the provider said at `now`.
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
        let failed = asked.as_ref().err().cloned();
        let again = std::mem::replace(&mut lease.failed, failed).is_some();
        match (&lease.failed, lease.allowed_at) {
            (None, _) => {
                lease.allowed_at = Some(now);
                Standing::Allowed { again }
            }
            (Some(failed), Some(allowed))
                if failed.is_provider_away() && within(outage.survives, lease.allowed_at, now) =>
            {
                Standing::Until(allowed.saturating_add(outage.survives).unwrap_or(allowed))
            }
            (Some(_), _) => {
                lease.allowed_at = None;
                Standing::RunOut
            }
        }
    }

    /// Why the provider is not asked for a key that is not open, where it did not answer just now.
    pub(super) fn away(&self, tenant: Id<Tenant>, now: Timestamp) -> Option<VaultError> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.get(&tenant).filter(|lease| within(ASKS_AGAIN, lease.asked_at, now))?;
        lease.failed.clone()
    }

    /// For how many tenants the provider did not allow it when it was last asked.
    pub(super) fn failing(&self) -> usize {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.values().filter(|lease| lease.failed.is_some()).count()
    }
}
