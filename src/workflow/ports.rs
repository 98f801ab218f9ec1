//! What workflows need of an EHR.
//!
//! Implemented over `ehr/` by the composition root. Always: an outcome says what the EHR has confirmed; where nobody
//! knows, it says so ([`MoveOutcome::Unknown`]), and the workflow reads again before it promises anything (law 6).

use super::Workflow;
use crate::{
    jobs::JobError,
    kernel::{Id, Patient, Tenant},
    messaging::Offered,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;

/// An appointment as the EHR has it at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppointmentState {
    /// FHIR's status word.
    pub status: String,
    /// When it starts.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Its version, where the EHR tells.
    pub version: Option<String>,
}

impl AppointmentState {
    /// Whether the visit takes place.
    #[must_use]
    pub fn is_on(&self) -> bool {
        super::relevance::is_on(&self.status)
    }

    /// Whether somebody has cancelled it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.status == super::cancel::CANCELLED
    }
}

/// A time that can be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSlot {
    /// The slot, as `Slot/123`.
    pub slot: String,
    /// When it starts.
    pub start: Timestamp,
}

/// Which free times are wanted.
#[derive(Debug, Clone, Copy)]
pub struct SlotWish<'a> {
    /// Whose EHR.
    pub tenant: Id<Tenant>,
    /// For a visit like this one: the same service type and practitioner. The FHIR id.
    pub appointment: &'a str,
    /// Starting after this instant.
    pub after: Timestamp,
    /// At most so many, soonest first.
    pub count: usize,
    /// None of these slots.
    pub except: &'a [String],
}

/// An appointment is to be moved.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// Whose EHR.
    pub tenant: Id<Tenant>,
    /// On behalf of this workflow: names the write in the ledger, and holds the slot.
    pub workflow: Id<Workflow>,
    /// The appointment's FHIR id.
    pub appointment: &'a str,
    /// When it starts now; if it does not any more, nothing is moved.
    pub from: Timestamp,
    /// Where to.
    pub to: &'a Offered,
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The EHR has confirmed it, and was read again.
    Moved {
        /// When it starts now.
        start: Timestamp,
        /// When it ends now.
        end: Timestamp,
        /// The version that we wrote.
        version: Option<String>,
    },
    /// The EHR has it there, and perhaps somebody else's visit, too: a person decides. Asked for again it looks again.
    Contested,
    /// Somebody else has the slot.
    SlotTaken,
    /// The appointment is not what it was; it must be read again.
    AppointmentChanged,
    /// The EHR says no.
    Refused {
        /// Why, as a constant word.
        code: &'static str,
    },
    /// The EHR is away; nothing has been changed.
    Unavailable {
        /// When it said to come back.
        retry_after: Option<Duration>,
    },
    /// Nobody knows.
    Unknown,
}

/// A visit is to be confirmed or cancelled, as it was told to the patient.
#[derive(Debug, Clone, Copy)]
pub struct VisitChange<'a> {
    /// Whose EHR.
    pub tenant: Id<Tenant>,
    /// On behalf of this workflow.
    pub workflow: Id<Workflow>,
    /// The appointment's FHIR id.
    pub appointment: &'a str,
    /// When the patient believes it to start; if it does not any more, nothing is changed.
    pub start: Timestamp,
}

/// What became of a confirmation or a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The EHR has confirmed it.
    Done {
        /// The version that we wrote.
        version: Option<String>,
    },
    /// The appointment is not what it was; it must be read again.
    AppointmentChanged,
    /// The EHR says no.
    Refused {
        /// Why, as a constant word.
        code: &'static str,
    },
    /// The EHR is away; nothing has been changed.
    Unavailable {
        /// When it said to come back.
        retry_after: Option<Duration>,
    },
    /// Nobody knows; asking again looks first.
    Unknown,
}

/// Why the EHR has not answered a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EhrTrouble {
    /// It is away; ask again.
    #[error("the EHR is not available; ask again")]
    Unavailable {
        /// When it said to come back.
        retry_after: Option<Duration>,
    },
    /// It will not answer; a person must look.
    #[error("the EHR refused ({code}); a person must look")]
    Refused {
        /// Why, as a constant word.
        code: &'static str,
    },
}

impl From<EhrTrouble> for JobError {
    fn from(trouble: EhrTrouble) -> Self {
        match trouble {
            EhrTrouble::Unavailable { retry_after } => Self::Retry { code: "ehr-unavailable", after: retry_after },
            EhrTrouble::Refused { code } => Self::dead(code),
        }
    }
}

/// Appointments in a tenant's EHR. `appointment` is a FHIR id.
pub trait Scheduling: Send + Sync + 'static {
    /// Reads an appointment now; `None` when the EHR does not have it.
    fn current<'a>(
        &'a self,
        tenant: Id<Tenant>,
        appointment: &'a str,
    ) -> BoxFuture<'a, Result<Option<AppointmentState>, EhrTrouble>>;

    /// Reads an appointment again, with whom it is for and what they agreed to, and brings what we know in line: it was
    /// changed by staff, or is there no more.
    fn refresh<'a>(&'a self, tenant: Id<Tenant>, appointment: &'a str) -> BoxFuture<'a, Result<(), EhrTrouble>>;

    /// Reads a patient again, with what they agreed to, unless that was done minutes ago.
    fn refresh_patient(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> BoxFuture<'_, Result<(), EhrTrouble>>;

    /// Free times.
    fn free_slots<'a>(&'a self, wish: SlotWish<'a>) -> BoxFuture<'a, Result<Vec<FreeSlot>, EhrTrouble>>;

    /// Moves an appointment. Called again for the same move it looks first whether it has happened.
    fn move_appointment<'a>(&'a self, wanted: Move<'a>) -> BoxFuture<'a, MoveOutcome>;

    /// Cancels an appointment. One that is cancelled already is [`ChangeOutcome::Done`].
    fn cancel_appointment<'a>(&'a self, change: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome>;

    /// Notes that the patient will come. One that is confirmed already is [`ChangeOutcome::Done`].
    fn confirm_appointment<'a>(&'a self, change: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome>;
}

/// A refill is to be requested.
#[derive(Debug, Clone, Copy)]
pub struct RefillWish<'a> {
    /// Whose EHR.
    pub tenant: Id<Tenant>,
    /// On behalf of this workflow.
    pub workflow: Id<Workflow>,
    /// For whom.
    pub patient: Id<Patient>,
    /// The FHIR id of the prescription.
    pub medication_request: &'a str,
    /// The day on which it falls due, as `2026-12-01`.
    pub due_on: &'a str,
}

/// What became of a refill request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The prescriber has it.
    Requested {
        /// The task, as `Task/123`.
        task: String,
    },
    /// The EHR says no.
    Refused {
        /// Why, as a constant word.
        code: &'static str,
    },
    /// The EHR is away; nothing has been written.
    Unavailable {
        /// When it said to come back.
        retry_after: Option<Duration>,
    },
    /// Nobody knows; asking again looks first.
    Unknown,
}

/// How a refill request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefillStatus {
    /// Nobody has decided.
    Open,
    /// It is on its way to the pharmacy.
    Approved,
    /// It can be picked up.
    Ready,
    /// The care team wants to speak with the patient first.
    Declined,
}

impl RefillStatus {
    /// The stored word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Ready => "ready",
            Self::Declined => "declined",
        }
    }
}

/// Refill requests in a tenant's EHR.
pub trait Refills: Send + Sync + 'static {
    /// Asks the prescriber. Called again for the same due date it finds the first request.
    fn request_refill<'a>(&'a self, wish: RefillWish<'a>) -> BoxFuture<'a, RequestOutcome>;

    /// How a request stands now; `None` when the EHR does not have it.
    fn refill_status<'a>(
        &'a self,
        tenant: Id<Tenant>,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<RefillStatus>, EhrTrouble>>;
}
