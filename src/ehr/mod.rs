//! What one tenant's EHR can do, and every write to it.
//!
//! Owns the connection of each tenant, the write ledger and scheduling. `feed` reads through it, `workflow` and `chart`
//! write through it. Always: a write stands in the ledger before it is sent; one whose answer was lost is looked up
//! before it is tried again; nothing is taken for done that the EHR has not confirmed (laws 5 and 6).

mod capabilities;
mod change;
mod error;
mod ledger;
mod ledger_rows;
mod refill;
mod roles;
mod scheduling;
mod scope;
#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests;

pub use capabilities::{Capabilities, CapabilityCache};
pub use change::ChangeOutcome;
pub use error::{EhrError, NOT_ADMITTED};
pub use ledger::{IDENTIFIER_SYSTEM, Ledger, WriteIntent, WrittenRef};
pub use refill::{DueRefill, DueRefills, RefillOutcome, Refills, due_refills, task_status};
pub use roles::{RoleRule, mirrored_roles};
pub use scheduling::{
    Move, MoveOutcome, OfferedSlot, RELEASE_SLOT_HOLD, SLOT_STRANDED, Scheduling, SlotHolder, SlotStranded,
    VisitChange, Wanted,
};
pub use scope::Scope;

use crate::{
    fhir::FhirClient,
    kernel::{Id, Tenant},
};
use std::{collections::HashMap, sync::Arc};

/// One tenant's EHR.
#[derive(Debug)]
pub struct Ehr {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// The client under the service's own grant.
    pub client: FhirClient,
    /// The organisation that texts are from, as a reference in the EHR, where one is configured.
    pub organization: Option<String>,
    /// Which part of the EHR is the tenant's.
    pub scope: Scope,
    /// Which of the EHR's roles give which of ours.
    pub roles: Vec<RoleRule>,
    /// What it has said that it can do; empty at first.
    pub capabilities: CapabilityCache,
}

/// Every tenant's EHR.
#[derive(Debug, Clone, Default)]
pub struct Ehrs(Arc<HashMap<Id<Tenant>, Arc<Ehr>>>);

impl Ehrs {
    /// These.
    #[must_use]
    pub fn new(ehrs: Vec<Ehr>) -> Self {
        Self(Arc::new(ehrs.into_iter().map(|ehr| (ehr.tenant, Arc::new(ehr))).collect()))
    }

    /// The EHR of `tenant`.
    ///
    /// # Errors
    /// [`EhrError::NotConfigured`] when it has none.
    pub fn of(&self, tenant: Id<Tenant>) -> Result<Arc<Ehr>, EhrError> {
        self.0.get(&tenant).cloned().ok_or(EhrError::NotConfigured)
    }
}
