//! A slot's status in the EHR: held for us, booked, given back.

use super::Scheduling;
use crate::{
    ehr::{
        Ehr, EhrError, WriteIntent,
        change::{ChangeOutcome, Step},
        scheduling::hold::SlotHolder,
    },
    fhir::{
        PatchOperation, ResourceRef, SearchMethod, SearchParams,
        views::{AppointmentStatus, AppointmentView, SlotStatus, SlotView},
    },
    kernel::Id,
};
use serde_json::json;

/// How a hold in the EHR was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenBack {
    /// Nothing of ours keeps the slot any more.
    Done,
    /// The EHR refuses to free it.
    Refused,
    /// It is held, and nobody knows whether by us.
    Unclear,
}

impl Scheduling {
    /// Holds a free slot in the EHR (`busy-tentative`); `false` when it is not to be had. Where the EHR does not let us,
    /// nobody arbitrates ([`Scheduling::is_arbitrated`]).
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away or refuses.
    pub(super) async fn hold_in_ehr(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<bool, EhrError> {
        let intent = hold_intent(ehr, slot, holder);
        let earlier = self.ledger.last(&intent).await?;
        let held = |view: &SlotView| match &earlier {
            // Ours if nobody has touched it since. Where a crash hid how it ended it is taken for ours: the EHR decides when
            // the appointment is written.
            Some((state, version)) if state == "written" => {
                version.is_none() || view.version.as_ref().map(crate::fhir::ETag::as_str) == version.as_deref()
            }
            Some((state, _)) => matches!(state.as_str(), "pending" | "unknown"),
            None => false,
        };
        let view = SlotView::read(&ehr.client.read(slot).await?)?;
        match view.status {
            SlotStatus::BusyTentative => return Ok(held(&view)),
            SlotStatus::Free => {}
            _ => return Ok(false),
        }
        let outcome = self
            .ledger
            .change(ehr, &intent, slot, |resource| {
                // Only once is a slot found free and edited; afterwards a tentative one is ours.
                Ok(match SlotView::read(resource)?.status {
                    SlotStatus::Free => Step::Edit(vec![status(SlotStatus::BusyTentative)?]),
                    SlotStatus::BusyTentative => Step::Done,
                    _ => Step::Changed,
                })
            })
            .await;
        match outcome {
            Ok(ChangeOutcome::Done { version }) => self.is_our_hold(&intent, version.as_deref()).await,
            Ok(ChangeOutcome::Changed) | Err(EhrError::Conflict) => Ok(false),
            Err(EhrError::Refused { .. }) => {
                // What it said that it took and did not keep is no hold either.
                if self.is_arbitrated(ehr, slot, holder).await? {
                    self.ledger.settle(&intent, "rejected", None, Some("not-kept")).await?;
                }
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Somebody else's hold may have come between our read and our write: then ours was never written.
    async fn is_our_hold(&self, intent: &WriteIntent, version: Option<&str>) -> Result<bool, EhrError> {
        Ok(match self.ledger.last(intent).await? {
            Some((state, ours)) if state == "written" => ours.is_none() || ours.as_deref() == version,
            _ => false,
        })
    }

    /// Gives back what [`Scheduling::hold_in_ehr`] took, if it still is as we left it. While the EHR refuses, our own hold
    /// stays until [`RELEASE_SLOT_HOLD`](super::RELEASE_SLOT_HOLD) has tried again.
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away.
    pub(super) async fn give_back(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<GivenBack, EhrError> {
        let given = self.give_back_in_ehr(ehr, slot, holder).await?;
        if given == GivenBack::Done {
            self.holds.release(ehr.tenant, slot, holder).await?;
        }
        Ok(given)
    }

    async fn give_back_in_ehr(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<GivenBack, EhrError> {
        let version = match self.ledger.last(&hold_intent(ehr, slot, holder)).await? {
            Some((state, Some(version))) if state == "written" => version,
            Some((state, _)) if matches!(state.as_str(), "pending" | "unknown") => {
                return self.is_held_by_somebody(ehr, slot).await;
            }
            _ => return Ok(GivenBack::Done),
        };
        let intent = slot_intent(ehr, "slot-give-back", slot, holder);
        let decide = |resource: &crate::fhir::Resource| {
            let view = SlotView::read(resource)?;
            let ours = view.status == SlotStatus::BusyTentative
                && view.version.as_ref().is_some_and(|now| now.as_str() == version);
            Ok(if ours { Step::Edit(vec![status(SlotStatus::Free)?]) } else { Step::Done })
        };
        match self.ledger.change(ehr, &intent, slot, decide).await {
            Ok(_) | Err(EhrError::NotFound) => Ok(GivenBack::Done),
            Err(error @ (EhrError::Conflict | EhrError::Refused { .. })) => {
                metrics::counter!("chartwire_slot_writes_refused_total").increment(1);
                tracing::warn!(%error, "the EHR does not take a held slot back");
                Ok(GivenBack::Refused)
            }
            Err(error) => Err(error),
        }
    }

    async fn is_held_by_somebody(&self, ehr: &Ehr, slot: &ResourceRef) -> Result<GivenBack, EhrError> {
        let view = match ehr.client.read(slot).await.map_err(EhrError::from) {
            Ok(slot) => SlotView::read(&slot)?,
            Err(EhrError::NotFound) => return Ok(GivenBack::Done),
            Err(EhrError::Refused { .. }) => return Ok(GivenBack::Refused),
            Err(error) => return Err(error),
        };
        Ok(if view.status == SlotStatus::BusyTentative { GivenBack::Unclear } else { GivenBack::Done })
    }

    /// Makes a slot that an appointment fills busy, where the EHR has not done so itself. `false`: it refused.
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away.
    pub(super) async fn book(&self, ehr: &Ehr, slot: &ResourceRef, holder: Id<SlotHolder>) -> Result<bool, EhrError> {
        let intent = slot_intent(ehr, "slot-book", slot, holder);
        let decide = |resource: &crate::fhir::Resource| {
            Ok(match SlotView::read(resource)?.status {
                SlotStatus::Free | SlotStatus::BusyTentative => Step::Edit(vec![status(SlotStatus::Busy)?]),
                _ => Step::Done,
            })
        };
        tolerate(self.ledger.change(ehr, &intent, slot, decide).await)
    }

    /// Makes a slot free that `appointment` has left, unless another appointment fills it or the EHR has done so itself.
    /// `false`: it refused.
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away.
    pub(super) async fn free(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        appointment: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<bool, EhrError> {
        if self.is_filled_by_another(ehr, slot, appointment).await? {
            return Ok(true);
        }
        let intent = slot_intent(ehr, "slot-free", slot, holder);
        let decide = |resource: &crate::fhir::Resource| {
            Ok(match SlotView::read(resource)?.status {
                SlotStatus::Busy | SlotStatus::BusyTentative => Step::Edit(vec![status(SlotStatus::Free)?]),
                _ => Step::Done,
            })
        };
        tolerate(self.ledger.change(ehr, &intent, slot, decide).await)
    }

    async fn is_filled_by_another(
        &self,
        ehr: &Ehr,
        slot: &ResourceRef,
        appointment: &ResourceRef,
    ) -> Result<bool, EhrError> {
        if !ehr.capabilities(self.instruments.now()).await?.searches_by("Appointment", "slot") {
            return Ok(false);
        }
        let params = SearchParams::new().with("slot", slot.to_string());
        let page = ehr.client.search("Appointment", params, SearchMethod::Get)?.all().await?;
        let others = page.matches.iter().filter(|found| found.reference().as_ref() != Some(appointment));
        // One that cannot be read may well fill it.
        Ok(others.map(AppointmentView::read).any(|other| other.map_or(true, |other| fills(&other, slot))))
    }
}

fn fills(appointment: &AppointmentView, slot: &ResourceRef) -> bool {
    let over = matches!(
        appointment.status,
        AppointmentStatus::Cancelled | AppointmentStatus::Noshow | AppointmentStatus::EnteredInError
    );
    !over && appointment.slots.contains(slot)
}

fn status(status: SlotStatus) -> Result<PatchOperation, EhrError> {
    let value = serde_json::to_value(status).map_err(|_| EhrError::Unreadable)?;
    Ok(PatchOperation::Replace { path: "/status".to_owned(), value: json!(value) })
}

/// What makes the EHR's hold of a slot the same hold.
pub(super) fn hold_intent(ehr: &Ehr, slot: &ResourceRef, holder: Id<SlotHolder>) -> WriteIntent {
    slot_intent(ehr, "slot-hold", slot, holder)
}

fn slot_intent(ehr: &Ehr, what: &str, slot: &ResourceRef, holder: Id<SlotHolder>) -> WriteIntent {
    WriteIntent { tenant: ehr.tenant, words: format!("{what} {slot} {holder}"), sole_writer: None }
}

/// The appointment is what counts. An EHR that keeps its slots itself may refuse, and then it has its reasons. `false`:
/// it did.
fn tolerate(outcome: Result<ChangeOutcome, EhrError>) -> Result<bool, EhrError> {
    match outcome {
        Ok(_) | Err(EhrError::Conflict | EhrError::NotFound) => Ok(true),
        Err(error @ EhrError::Refused { .. }) => {
            metrics::counter!("chartwire_slot_writes_refused_total").increment(1);
            tracing::info!(%error, "the EHR keeps a slot's status itself");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
