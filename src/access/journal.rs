//! What access tells the audit log.

use super::{Ending, Session, StaffMember};
use crate::{
    db::{DbError, Tx},
    kernel::{Id, Patient, StaffUser, Tenant},
};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;

/// Something that must stand in the audit log. Ids, codes and instants only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessEvent {
    /// A session began.
    SignedIn {
        /// Where.
        tenant: Id<Tenant>,
        /// Which.
        session: Id<Session>,
        /// Whose.
        staff: Id<StaffUser>,
        /// The patient in the EHR's context.
        patient: Option<Id<Patient>>,
        /// How the EHR says it knew the person.
        authentication: String,
        /// When.
        at: Timestamp,
    },
    /// A session ended.
    SignedOut {
        /// Where.
        tenant: Id<Tenant>,
        /// Which.
        session: Id<Session>,
        /// Whose.
        staff: Id<StaffUser>,
        /// Why.
        ending: Ending,
        /// When.
        at: Timestamp,
    },
    /// A launch was refused because the person has no role here.
    Refused {
        /// Where.
        tenant: Id<Tenant>,
        /// Who.
        staff: Id<StaffUser>,
        /// When.
        at: Timestamp,
    },
}

impl AccessEvent {
    /// A refusal of this person.
    #[must_use]
    pub fn refused(member: &StaffMember, at: Timestamp) -> Self {
        Self::Refused { tenant: member.tenant, staff: member.id, at }
    }

    /// The tenant in whose log it stands.
    #[must_use]
    pub const fn tenant(&self) -> Id<Tenant> {
        match self {
            Self::SignedIn { tenant, .. } | Self::SignedOut { tenant, .. } | Self::Refused { tenant, .. } => *tenant,
        }
    }
}

/// Makes entries for the audit log. Keys are fetched here, before the transaction.
pub trait Journal: Send + Sync + 'static {
    /// An entry that is ready to be written.
    fn prepare(
        &self,
        event: AccessEvent,
    ) -> BoxFuture<'_, Result<Box<dyn JournalEntry>, Box<dyn std::error::Error + Send + Sync>>>;
}

/// An entry that is ready to be written.
pub trait JournalEntry: Send + Sync {
    /// Writes it in the transaction of what it is about. May be called again when that transaction is run again.
    fn write<'a>(&'a self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), DbError>>;
}

/// Keeps no log. For tests of what does not depend on one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn prepare(
        &self,
        _event: AccessEvent,
    ) -> BoxFuture<'_, Result<Box<dyn JournalEntry>, Box<dyn std::error::Error + Send + Sync>>> {
        ready(Ok(Box::new(Self) as Box<dyn JournalEntry>)).boxed()
    }
}

impl JournalEntry for NoJournal {
    fn write<'a>(&'a self, _tx: &'a mut Tx) -> BoxFuture<'a, Result<(), DbError>> {
        ready(Ok(())).boxed()
    }
}
