//! The end of a hold that nobody came back for, and of one that the EHR does not take back.
//!
//! Always: a slot that we hold in the EHR is freed, or a person is told that it is not ([`SLOT_STRANDED`]).

use super::{
    Scheduling,
    hold::{HeldSlot, Hold},
    moving::is_on,
    slot::GivenBack,
};
use crate::{
    ehr::{EhrError, Ehrs},
    fhir::ResourceRef,
    jobs::{JobError, LeasedJob, NewJob, Outcome},
};
use serde::{Deserialize, Serialize};

/// A slot stays held in the EHR, and no attempt could free it; the payload is [`SlotStranded`].
pub const SLOT_STRANDED: &str = "SlotStranded";

/// The payload of [`SLOT_STRANDED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStranded {
    /// The slot, as `Slot/1`.
    pub slot: String,
    /// The appointment that was to be moved there, by its FHIR id.
    pub appointment: String,
}

impl Scheduling {
    /// Handles [`RELEASE_SLOT_HOLD`](super::RELEASE_SLOT_HOLD): ends a hold that nobody came back for. Where the move has
    /// happened the slots are made right, else the slot is given back.
    ///
    /// # Errors
    /// [`JobError::Postpone`] while the hold is renewed; [`JobError::Retry`] as the EHR refuses, or it or the database is
    /// away; [`JobError::Dead`] where nobody knows whether the slot is held by us.
    pub async fn release_hold(&self, ehrs: &Ehrs, job: LeasedJob) -> Outcome {
        let Some(hold) = self.run_out(&job).await? else { return Ok(()) };
        let ehr = ehrs.of(job.tenant)?;
        let there = match self.appointment(&ehr, &hold.appointment).await {
            Ok(appointment) => Some(appointment).filter(|known| is_on(known) && known.slots.contains(&hold.slot)),
            Err(EhrError::NotFound | EhrError::Unreadable) => None,
            Err(error) => return Err(again(error)),
        };
        let Some(there) = there else {
            return match self.give_back(&ehr, &hold.slot, hold.holder).await.map_err(again)? {
                GivenBack::Done => Ok(()),
                GivenBack::Refused => Err(JobError::retry("slot-not-given-back")),
                GivenBack::Unclear => Err(JobError::dead("slot-hold-unclear")),
            };
        };
        let place = (&hold.slot, hold.holder);
        if !self.settle_slots(&ehr, &there, &hold.appointment, place, Some(&hold)).await.map_err(again)? {
            return Err(JobError::retry("slot-not-freed"));
        }
        Ok(self.holds.release(ehr.tenant, &hold.slot, hold.holder).await?)
    }

    /// The last resort of [`RELEASE_SLOT_HOLD`](super::RELEASE_SLOT_HOLD): the hold ends in our books, and a person is
    /// asked to free the slot.
    ///
    /// # Errors
    /// [`JobError::Postpone`] while the hold is renewed; [`JobError::Retry`] as the database is away.
    pub async fn strand_hold(&self, job: LeasedJob) -> Outcome {
        let Some(hold) = self.run_out(&job).await? else { return Ok(()) };
        let stranded = SlotStranded { slot: hold.slot.to_string(), appointment: hold.appointment.id().to_owned() };
        let told = NewJob::new(&self.instruments, hold.tenant, SLOT_STRANDED, &stranded)?;
        Ok(self.holds.hand_over(&hold, told).await?)
    }

    /// The hold that a job is about, which has run out; `None` where it is there no more.
    async fn run_out(&self, job: &LeasedJob) -> Result<Option<Hold>, JobError> {
        let HeldSlot { slot, holder } = job.payload()?;
        let slot: ResourceRef = slot.parse().map_err(|_| JobError::dead("payload"))?;
        let Some(hold) = self.holds.get(job.tenant, &slot, holder).await? else { return Ok(None) };
        let until = self.holds.expires_at(&hold).await?;
        if until > self.instruments.now() {
            return Err(JobError::Postpone { code: "hold-renewed", until });
        }
        Ok(Some(hold))
    }
}

/// A refusal may pass like anything else: a token that was just withdrawn, a scope that is being mended.
fn again(error: EhrError) -> JobError {
    match error {
        EhrError::Refused { code } => JobError::retry(code),
        EhrError::Unreadable => JobError::retry("ehr-unreadable"),
        error => error.into(),
    }
}
