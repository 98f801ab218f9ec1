//! What messaging writes into the audit log, in the transaction of what it is about.

use super::{
    Message,
    carrier_port::{Attempt, SendOutcome},
    gate::DropReason,
    rows::{AttemptRow, OutboundRow},
};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail, Request},
    db::{DbError, Tx},
    kernel::{Id, Instruments, StaffUser, Tenant},
    messaging::Author,
    vault::{DataKey, Vault, VaultError},
};

const COMPONENT: &str = "messaging";

/// Signs a tenant's rows.
#[derive(Clone)]
pub(super) struct Journal(AuditSigner);

impl Journal {
    pub(super) async fn of(vault: &Vault, instruments: &Instruments, tenant: Id<Tenant>) -> Result<Self, VaultError> {
        Ok(Self(AuditSigner::new(vault, instruments.clone(), tenant).await?))
    }

    async fn write(&self, tx: &mut Tx, entry: AuditEntry) -> Result<(), DbError> {
        audit::record(tx, &entry, &self.0).await.map(|_| ())
    }

    /// That a text was received, to be written with others by [`received`](Self::received).
    fn reception(text: Id<Message>, key: Id<DataKey>) -> AuditEntry {
        AuditEntry::new(Actor::System(COMPONENT), Action::Receive, "inbound-text")
            .about("message", text)
            .with_detail(Detail::new().id("sealed_under", key))
    }

    /// Writes that texts were received, each into the journal of its tenant.
    pub(super) async fn received(
        tx: &mut Tx,
        texts: impl Iterator<Item = (&Self, Id<Message>, Id<DataKey>)>,
    ) -> Result<(), DbError> {
        let entries: Vec<_> = texts.map(|(journal, text, key)| (Self::reception(text, key), &journal.0)).collect();
        audit::record_all(tx, &entries).await
    }

    /// A text of ours was found in the carrier's list after a restore.
    pub(super) async fn read_back(&self, tx: &mut Tx, text: Id<Message>, carrier_id: &str) -> Result<(), DbError> {
        let entry = AuditEntry::new(Actor::System(COMPONENT), Action::Send, "read-back")
            .about("message", text)
            .with_detail(Detail::new().foreign_id("carrier_id", carrier_id));
        self.write(tx, entry).await
    }

    pub(super) async fn cleared(
        &self,
        tx: &mut Tx,
        text: &OutboundRow,
        attempt: Id<Attempt>,
        grant: Option<Id<crate::consent::ConsentEntry>>,
    ) -> Result<(), DbError> {
        let mut detail = Detail::new().code("class", text.class.code()).id("attempt", attempt);
        if let Some(grant) = grant {
            detail = detail.id("consent", grant);
        }
        if text.quiet_overridden {
            detail = detail.code("override", "quiet-hours");
        }
        let actor = match text.author {
            Author::Staff(id) => Actor::Staff(id),
            Author::System | Author::Patient => Actor::System(COMPONENT),
        };
        let mut entry = AuditEntry::new(actor, Action::Send, "outbound-text").about("message", text.id);
        if let Some(patient) = text.patient {
            entry = entry.about("patient", patient);
        }
        self.write(tx, entry.with_detail(detail)).await
    }

    pub(super) async fn dropped(&self, tx: &mut Tx, text: &OutboundRow, why: DropReason) -> Result<(), DbError> {
        let entry = AuditEntry::new(Actor::System("gate"), Action::Refusal, "outbound-text")
            .about("message", text.id)
            .ended(audit::Outcome::Refused)
            .with_detail(Detail::new().code("reason", why.code()).code("class", text.class.code()));
        self.write(tx, entry).await
    }

    pub(super) async fn settled(
        &self,
        tx: &mut Tx,
        attempt: &AttemptRow,
        outcome: &SendOutcome,
    ) -> Result<(), DbError> {
        let (code, ended) = match outcome {
            SendOutcome::Accepted { .. } => ("accepted", audit::Outcome::Success),
            SendOutcome::Refused(_) => ("refused", audit::Outcome::Refused),
            SendOutcome::NotSent { .. } => ("not-sent", audit::Outcome::Failed),
            SendOutcome::Unknown { .. } => ("unknown", audit::Outcome::Failed),
        };
        let entry = AuditEntry::new(Actor::System(COMPONENT), Action::Send, "attempt-settled")
            .about("message", attempt.message)
            .about("attempt", attempt.id)
            .ended(ended)
            .with_detail(Detail::new().code("answer", code));
        self.write(tx, entry).await
    }

    /// An attempt that had ended without leaving left after all.
    pub(super) async fn left_late(&self, tx: &mut Tx, attempt: &AttemptRow) -> Result<(), DbError> {
        let entry = AuditEntry::new(Actor::System(COMPONENT), Action::Send, "left-late")
            .about("message", attempt.message)
            .about("attempt", attempt.id)
            .ended(audit::Outcome::Failed);
        self.write(tx, entry).await
    }

    pub(super) async fn settled_by_person(
        &self,
        tx: &mut Tx,
        attempt: &AttemptRow,
        (person, request): (Id<StaffUser>, Option<Id<Request>>),
        how: &'static str,
    ) -> Result<(), DbError> {
        let mut entry = AuditEntry::new(Actor::Staff(person), Action::Edit, "attempt-settled")
            .about("message", attempt.message)
            .about("attempt", attempt.id)
            .with_detail(Detail::new().code("answer", how));
        if let Some(patient) = attempt.patient {
            entry = entry.about("patient", patient);
        }
        if let Some(request) = request {
            entry = entry.in_request(request);
        }
        self.write(tx, entry).await
    }

    pub(super) async fn delivery(&self, tx: &mut Tx, text: Id<Message>, to: &'static str) -> Result<(), DbError> {
        let entry = AuditEntry::new(Actor::System(COMPONENT), Action::Edit, "delivery-status")
            .about("message", text)
            .with_detail(Detail::new().code("state", to));
        self.write(tx, entry).await
    }
}
