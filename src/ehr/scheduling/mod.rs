//! Free slots, and moving, cancelling and confirming appointments.
//!
//! Always: the EHR is asked before and after; a slot is held by a row of ours beside the EHR's own hold, so that two
//! patients of ours never reach for the same one; what we change ourselves is noted with its version, so that it is not
//! taken for the staff's doing. Every step can be repeated after a crash: what is already so is found by reading.

mod contest;
mod free;
mod hold;
mod moving;
mod release;
mod slot;
mod visit;

pub use free::{OfferedSlot, Wanted};
pub use hold::{RELEASE_SLOT_HOLD, SlotHolder};
pub use moving::{Move, MoveOutcome};
pub use release::{SLOT_STRANDED, SlotStranded};
pub use visit::VisitChange;

use super::{Ehr, EhrError, Ledger};
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    fhir::{ResourceRef, views::AppointmentView},
    kernel::{Id, Instruments, Tenant},
};
use hold::SlotHolds;
use jiff::Timestamp;

/// Scheduling in every tenant's EHR.
#[derive(Clone)]
pub struct Scheduling {
    db: Db,
    instruments: Instruments,
    ledger: Ledger,
    holds: SlotHolds,
}

impl Scheduling {
    /// Over this database and ledger.
    #[must_use]
    pub fn new(db: Db, instruments: Instruments, ledger: Ledger) -> Self {
        let holds = SlotHolds::new(db.clone(), instruments.clone());
        Self { db, instruments, ledger, holds }
    }

    /// The appointment as the EHR has it now.
    ///
    /// # Errors
    /// [`EhrError::NotFound`] when it has none; otherwise as the EHR is away or refuses.
    pub async fn appointment(&self, ehr: &Ehr, appointment: &ResourceRef) -> Result<AppointmentView, EhrError> {
        Ok(AppointmentView::read(&ehr.client.read(appointment).await?)?)
    }

    /// Notes in our own books what we have just made of an appointment that we knew to start at `known_start`. Where the
    /// books say something else by now, they have been brought up to date from the EHR.
    async fn note_own(
        &self,
        tenant: Id<Tenant>,
        view: &AppointmentView,
        known_start: Timestamp,
    ) -> Result<(), EhrError> {
        let Some(reference) = &view.reference else { return Ok(()) };
        let status = serde_json::to_value(view.status).ok();
        let slots: Vec<String> = view.slots.iter().map(ToString::to_string).collect();
        let command = NoteOwn {
            tenant,
            fhir_id: reference.id().to_owned(),
            status: status.and_then(|status| status.as_str().map(str::to_owned)).ok_or(EhrError::Unreadable)?,
            start: view.start,
            end: view.end,
            slots: serde_json::to_string(&slots).map_err(|_| EhrError::Unreadable)?,
            version: view.version.as_ref().map(|version| version.as_str().to_owned()),
            last_updated: view.last_updated,
            known_start,
        };
        Ok(self.db.execute(command).await?)
    }
}

struct NoteOwn {
    tenant: Id<Tenant>,
    fhir_id: String,
    status: String,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    slots: String,
    version: Option<String>,
    last_updated: Option<Timestamp>,
    known_start: Timestamp,
}

impl Command for NoteOwn {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql(
                "UPDATE appointment SET status = $3, start_at = COALESCE($4, start_at), end_at = COALESCE($5, end_at), \
                 slots = $6, version = $7, own_version = $7, last_updated = COALESCE($9, last_updated) \
                 WHERE tenant = $1 AND fhir_id = $2 AND start_at = $8",
            )
            .bind(self.tenant)
            .bind(self.fhir_id.clone())
            .bind(self.status.clone())
            .bind(self.start)
            .bind(self.end)
            .bind(self.slots.clone())
            .bind(self.version.clone())
            .bind(self.known_start)
            .bind(self.last_updated),
        )
        .await
        .map(|_| ())
    }
}
