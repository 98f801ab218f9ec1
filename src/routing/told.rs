//! What a patient told staff, or a list that the practice imports says, about texts: in force in the transaction that
//! records it.
//!
//! The same path as STOP and START from the phone: under the lock of the number that attempts take too, so that what
//! leaves next follows it.

use crate::{
    audit::{self, AuditEntry, AuditSigner},
    consent::{self, Category, Decision, NewEntry, Source},
    db::{DbError, Topic, Tx},
    kernel::{Id, Patient, Tenant},
    messaging, patient,
};
use jiff::Timestamp;

/// One decision of a patient about one number.
pub struct ToldConsent {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// The patient who decided.
    pub patient: Id<Patient>,
    /// The number that it is about.
    pub number_token: Vec<u8>,
    /// Yes or no.
    pub decision: Decision,
    /// The same for the ledger: one for each category; for each id too that the patient has had before a merge.
    pub entries: Vec<NewEntry>,
    /// From when it holds.
    pub effective_at: Timestamp,
    /// When it is recorded.
    pub now: Timestamp,
    /// Who recorded it, for the audit log; what it came to is added here.
    pub audit: AuditEntry,
    /// Signs that.
    pub signer: AuditSigner,
}

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForce {
    /// It was recorded before; nothing has changed.
    KnownBefore,
    /// It holds.
    Holds,
    /// It is recorded, and nothing leaves all the same: the number said STOP, or the carrier blocks it.
    StaysStopped,
}

impl ToldConsent {
    /// Puts it in force, once.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn enforce(&self, tx: &mut Tx) -> Result<InForce, DbError> {
        messaging::lock_line(tx, self.tenant, &self.number_token).await?;
        let mut audit = self.audit.clone().about("patient", self.patient);
        let mut recorded = 0;
        for entry in &self.entries {
            if consent::record(tx, entry).await? {
                audit = audit.about("consent-entry", entry.id);
                recorded += 1;
            }
        }
        if recorded == 0 {
            return Ok(InForce::KnownBefore);
        }
        let (came_to, number) = match self.decision {
            Decision::Granted => self.grant(tx).await?,
            Decision::Denied => self.withdraw(tx).await?,
        };
        if self.decision == Decision::Denied {
            // They cannot be called back: whoever looks into a text after the withdrawal finds them named here.
            for attempt in messaging::in_flight_at(tx, self.tenant, &self.number_token, self.now).await? {
                audit = audit.about("attempt-in-flight", attempt);
            }
        }
        let detail = self
            .audit
            .detail
            .clone()
            .code("decision", self.decision.code())
            .code("number", number)
            .count("entries", recorded);
        audit::record(tx, &audit.with_detail(detail), &self.signer).await?;
        tx.publish(Topic::Thread, format!("{}/{}", self.tenant, self.patient));
        Ok(came_to)
    }

    /// A new explicit consent opens a number that staff had stopped on the patient's word. STOP from the phone, or a
    /// block at the carrier, it does not touch.
    async fn grant(&self, tx: &mut Tx) -> Result<(InForce, &'static str), DbError> {
        let opened = consent::release_of_staff(tx, self.tenant, &self.number_token, self.effective_at).await?;
        let standing =
            consent::standing(tx, self.tenant, Some(self.patient), &self.number_token, Category::Appointment, self.now)
                .await?;
        Ok(match (standing.suppressed, opened) {
            (true, _) => (InForce::StaysStopped, "stays-stopped"),
            (false, true) => (InForce::Holds, "opened"),
            (false, false) => (InForce::Holds, "open"),
        })
    }

    /// Who wants no text at all, alone on a number, stops the number as STOP from the phone would. On a shared phone the
    /// others go on.
    async fn withdraw(&self, tx: &mut Tx) -> Result<(InForce, &'static str), DbError> {
        for category in Category::ALL {
            let standing =
                consent::standing(tx, self.tenant, Some(self.patient), &self.number_token, *category, self.now).await?;
            if standing.denial.is_none() {
                return Ok((InForce::Holds, "open"));
            }
        }
        if patient::is_shared(tx, self.tenant, &self.number_token, self.patient).await? {
            return Ok((InForce::Holds, "shared"));
        }
        consent::suppress(tx, self.tenant, &self.number_token, self.stopped_by(), self.now).await?;
        Ok((InForce::Holds, "stopped"))
    }

    /// What a list says may be an old STOP: it is not undone at the desk.
    fn stopped_by(&self) -> Source {
        self.entries.first().map_or(Source::Staff, |entry| entry.source)
    }
}
