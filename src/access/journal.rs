//! What access writes into the audit log, in the transaction of what it is about.

use super::{AccessError, Ending, Session, StaffMember};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail, Outcome, Request},
    db::{DbError, Tx},
    kernel::{Id, Instruments, Patient, StaffUser, Tenant},
    vault::Vault,
};

const PURPOSE: &str = "session";

/// An entry that is signed by its tenant's key as soon as it is written. Made before the transaction.
pub(super) struct Journaled {
    entry: AuditEntry,
    signer: AuditSigner,
}

impl Journaled {
    /// A session began.
    pub(super) async fn signed_in(
        (vault, instruments): (&Vault, &Instruments),
        member: &StaffMember,
        session: Id<Session>,
        patient: Option<Id<Patient>>,
        authentication: &str,
        request: Option<Id<Request>>,
    ) -> Result<Self, AccessError> {
        let mut entry = AuditEntry::new(Actor::Staff(member.id), Action::SignIn, PURPOSE)
            .about("session", session)
            .with_detail(Detail::new().foreign_id("authentication", authentication));
        if let Some(patient) = patient {
            entry = entry.about("patient", patient);
        }
        if let Some(request) = request {
            entry = entry.in_request(request);
        }
        Self::of(vault, instruments, member.tenant, entry).await
    }

    /// A session ended.
    pub(super) async fn signed_out(
        (vault, instruments): (&Vault, &Instruments),
        (tenant, session, staff): (Id<Tenant>, Id<Session>, Id<StaffUser>),
        ending: Ending,
    ) -> Result<Self, AccessError> {
        let entry = AuditEntry::new(Actor::Staff(staff), Action::SignOut, PURPOSE)
            .about("session", session)
            .with_detail(Detail::new().code("ending", ending.code()));
        Self::of(vault, instruments, tenant, entry).await
    }

    /// A launch was refused because the person has no role here.
    pub(super) async fn refused(
        (vault, instruments): (&Vault, &Instruments),
        member: &StaffMember,
    ) -> Result<Self, AccessError> {
        let entry = AuditEntry::new(Actor::Staff(member.id), Action::SignIn, PURPOSE)
            .ended(Outcome::Refused)
            .with_detail(Detail::new().code("reason", "no_role"));
        Self::of(vault, instruments, member.tenant, entry).await
    }

    /// Writes it.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), DbError> {
        audit::record(tx, &self.entry, &self.signer).await.map(|_| ())
    }

    async fn of(
        vault: &Vault,
        instruments: &Instruments,
        tenant: Id<Tenant>,
        entry: AuditEntry,
    ) -> Result<Self, AccessError> {
        Ok(Self { entry, signer: AuditSigner::new(vault, instruments.clone(), tenant).await? })
    }
}
