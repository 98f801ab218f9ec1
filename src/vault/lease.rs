//! For how long a provider outside this process has allowed each tenant's keys to be used.
//!
//! Owned by the key ring. Always: one caller at a time asks for a tenant, the others go on with what is known as long as
//! that holds; while the provider does not answer it is asked again every few seconds, not by each caller.

use super::{Outage, VaultError};
use crate::kernel::{Id, Tenant};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How soon a provider that did not answer is asked again.
const ASKS_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What is known of one tenant's keys.
#[derive(Default)]
struct Lease {
    /// When the provider last allowed it.
    allowed_at: Option<Timestamp>,
    /// When it was last asked.
    asked_at: Option<Timestamp>,
    /// Held while it is asked.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// Every tenant's.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Id<Tenant>, Lease>>);

/// How it stands after an answer, or none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Opened keys may be used.
    Usable,
    /// They may not.
    RunOut,
}

fn within(span: SignedDuration, since: Option<Timestamp>, now: Timestamp) -> bool {
    // A clock that was set back makes the span negative: ask rather than trust it.
    since.is_some_and(|since| (SignedDuration::ZERO..span).contains(&now.duration_since(since)))
}

impl Leases {
    /// Whether the provider has to be asked now, by whoever gets the guard. `None`: the keys may be used.
    pub(super) fn due(
        &self,
        tenant: Id<Tenant>,
        outage: Outage,
        now: Timestamp,
    ) -> Option<Option<tokio::sync::OwnedMutexGuard<()>>> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.entry(tenant).or_default();
        if within(outage.asks_every, lease.allowed_at, now) {
            return None;
        }
        let usable = within(outage.survives, lease.allowed_at, now);
        if usable && within(ASKS_AGAIN, lease.asked_at, now) {
            return None;
        }
        match Arc::clone(&lease.asking).try_lock_owned() {
            Ok(asking) => {
                lease.asked_at = Some(now);
                Some(Some(asking))
            }
            // Somebody asks already: whoever may go on meanwhile does.
            Err(_) if usable => None,
            Err(_) => Some(None),
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
        match asked {
            Ok(()) => {
                lease.allowed_at = Some(now);
                Standing::Usable
            }
            Err(error) if error.is_transient() && within(outage.survives, lease.allowed_at, now) => Standing::Usable,
            Err(_) => {
                lease.allowed_at = None;
                Standing::RunOut
            }
        }
    }
}
