//! Moving an appointment to a free slot (law 5): our hold, the EHR's hold, the appointment, and what it leaves behind.

use super::{
    Scheduling,
    hold::{Hold, SlotHolder},
    slot::hold_intent,
};
use crate::{
    ehr::{
        Ehr, EhrError, WriteIntent,
        change::{ChangeOutcome, Step},
    },
    fhir::{
        ETag, PatchOperation, Resource, ResourceRef,
        views::{AppointmentStatus, AppointmentView, SlotView},
    },
    kernel::Id,
};
use jiff::Timestamp;
use serde_json::json;

/// A move that a patient has asked for.
#[derive(Debug, Clone)]
pub struct Move {
    /// What asks for it. The same holder, appointment and slot are the same move.
    pub holder: Id<SlotHolder>,
    /// The appointment.
    pub appointment: ResourceRef,
    /// When the visit was, as the patient was told: an appointment that is not there any more is not moved.
    pub expected_start: Timestamp,
    /// Where to.
    pub slot: ResourceRef,
}

/// How a move ended that the EHR has neither refused nor left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The EHR shows the appointment at the slot.
    Moved {
        /// When the visit begins now.
        start: Timestamp,
        /// When it ends.
        end: Timestamp,
        /// The appointment's version, where the EHR tells.
        version: Option<String>,
    },
    /// The EHR shows the appointment at the slot, and nobody can say that it stands there alone: another one is there too,
    /// or the EHR does not tell. A person decides; until then the same move, asked for again, looks again.
    Contested,
    /// Somebody else has the slot, or its time has passed.
    SlotTaken,
    /// The appointment is not what the patient was told any more: moved, cancelled or over.
    AppointmentChanged,
}

impl Scheduling {
    /// Moves an appointment. Ends in one way or is repeated: after [`EhrError::Unavailable`] and [`EhrError::Unknown`] the
    /// same move may be asked for again at any time and goes on where it was.
    ///
    /// # Errors
    /// [`EhrError::Refused`] when the EHR says no; [`EhrError::Unavailable`], [`EhrError::Unknown`] as above.
    pub async fn move_appointment(&self, ehr: &Ehr, wanted: &Move) -> Result<MoveOutcome, EhrError> {
        let appointment = match self.appointment(ehr, &wanted.appointment).await {
            Ok(appointment) => appointment,
            Err(EhrError::NotFound) => return self.gone(ehr, wanted, MoveOutcome::AppointmentChanged).await,
            Err(error) => return Err(error),
        };
        let slot = match ehr.client.read(&wanted.slot).await.map_err(EhrError::from) {
            Ok(slot) => SlotView::read(&slot)?,
            Err(EhrError::NotFound) => return self.gone(ehr, wanted, MoveOutcome::SlotTaken).await,
            Err(error) => return Err(error),
        };
        if stands_at(&appointment, &slot) {
            return self.finish(ehr, wanted, &slot).await;
        }
        if !is_movable(&appointment, wanted.expected_start) {
            return self.gone(ehr, wanted, MoveOutcome::AppointmentChanged).await;
        }
        let now = self.instruments.now();
        if slot.start <= now {
            return self.gone(ehr, wanted, MoveOutcome::SlotTaken).await;
        }
        let hold = Hold {
            tenant: ehr.tenant,
            slot: wanted.slot.clone(),
            holder: wanted.holder,
            appointment: wanted.appointment.clone(),
            leaves: appointment.slots.clone(),
        };
        if !self.holds.take(&hold).await? {
            return Ok(MoveOutcome::SlotTaken);
        }
        if !self.hold_in_ehr(ehr, &wanted.slot, wanted.holder).await? {
            return self.gone(ehr, wanted, MoveOutcome::SlotTaken).await;
        }
        let arbitrated = self.is_arbitrated(ehr, &wanted.slot, wanted.holder).await?;
        if !arbitrated && self.is_taken_by_another(ehr, &slot, &appointment).await? {
            return self.gone(ehr, wanted, MoveOutcome::SlotTaken).await;
        }
        self.write_move(ehr, wanted, &slot).await
    }

    async fn write_move(&self, ehr: &Ehr, wanted: &Move, slot: &SlotView) -> Result<MoveOutcome, EhrError> {
        let intent = move_intent(ehr, &wanted.appointment, &wanted.slot, wanted.holder);
        let decide = |resource: &Resource| to_slot(resource, slot, &wanted.slot, wanted.expected_start);
        match self.ledger.change(ehr, &intent, &wanted.appointment, decide).await {
            Ok(ChangeOutcome::Done { .. }) => self.finish(ehr, wanted, slot).await,
            Ok(ChangeOutcome::Changed) => self.gone(ehr, wanted, MoveOutcome::AppointmentChanged).await,
            // The appointment is as we saw it, so the conflict is about the slot.
            Err(EhrError::Conflict) => self.gone(ehr, wanted, MoveOutcome::SlotTaken).await,
            Err(error @ EhrError::Refused { .. }) => {
                self.give_back(ehr, &wanted.slot, wanted.holder).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a move that cannot be made.
    async fn gone(&self, ehr: &Ehr, wanted: &Move, outcome: MoveOutcome) -> Result<MoveOutcome, EhrError> {
        self.give_back(ehr, &wanted.slot, wanted.holder).await?;
        Ok(outcome)
    }

    /// The appointment is at the slot: makes the slots right, and our own books.
    async fn finish(&self, ehr: &Ehr, wanted: &Move, slot: &SlotView) -> Result<MoveOutcome, EhrError> {
        let appointment = self.appointment(ehr, &wanted.appointment).await?;
        if !stands_at(&appointment, slot) {
            return self.gone(ehr, wanted, MoveOutcome::AppointmentChanged).await;
        }
        if self.is_contested(ehr, wanted, slot, &appointment).await? {
            metrics::counter!("chartwire_moves_contested_total").increment(1);
            // It is our own doing and not news of the staff's. The slots are made right when the hold runs out.
            self.note_own(ehr.tenant, &appointment, wanted.expected_start).await?;
            return Ok(MoveOutcome::Contested);
        }
        let hold = self.holds.get(ehr.tenant, &wanted.slot, wanted.holder).await?;
        let place = (&wanted.slot, wanted.holder);
        let settled = self.settle_slots(ehr, &appointment, &wanted.appointment, place, hold.as_ref()).await?;
        self.note_own(ehr.tenant, &appointment, wanted.expected_start).await?;
        // Where the EHR refused, the slots are tried again when the hold runs out.
        if settled {
            self.holds.release(ehr.tenant, &wanted.slot, wanted.holder).await?;
        }
        let version = appointment.version.map(|version| version.as_str().to_owned());
        Ok(MoveOutcome::Moved { start: slot.start, end: slot.end, version })
    }

    /// Whether the EHR may have given the slot to somebody else, too: there was no hold, and another appointment is there
    /// or cannot be looked for.
    async fn is_contested(
        &self,
        ehr: &Ehr,
        wanted: &Move,
        slot: &SlotView,
        appointment: &AppointmentView,
    ) -> Result<bool, EhrError> {
        if self.is_arbitrated(ehr, &wanted.slot, wanted.holder).await? {
            return Ok(false);
        }
        match self.is_taken_by_another(ehr, slot, appointment).await {
            Err(EhrError::Refused { .. } | EhrError::Unreadable) => Ok(true),
            looked => looked,
        }
    }

    /// The move has happened: notes it where nobody had heard of it, books the slot, and frees those that it has left.
    /// `false`: an EHR that has let us hold the slot refused some of that.
    pub(super) async fn settle_slots(
        &self,
        ehr: &Ehr,
        appointment: &AppointmentView,
        reference: &ResourceRef,
        (slot, holder): (&ResourceRef, Id<SlotHolder>),
        hold: Option<&Hold>,
    ) -> Result<bool, EhrError> {
        let version = appointment.version.as_ref().map(ETag::as_str);
        self.ledger.found_done(&move_intent(ehr, reference, slot, holder), reference, version).await?;
        // What the appointment fills was held for it.
        self.ledger.found_done(&hold_intent(ehr, slot, holder), slot, None).await?;
        let mut settled = self.book(ehr, slot, holder).await?;
        for left in hold.iter().flat_map(|hold| &hold.leaves) {
            if !appointment.slots.contains(left) {
                settled &= self.free(ehr, left, reference, holder).await?;
            }
        }
        // One whose slots cannot be written keeps them itself.
        Ok(settled || !self.is_arbitrated(ehr, slot, holder).await?)
    }
}

fn move_intent(ehr: &Ehr, appointment: &ResourceRef, slot: &ResourceRef, holder: Id<SlotHolder>) -> WriteIntent {
    WriteIntent { tenant: ehr.tenant, words: format!("move {appointment} {slot} {holder}"), sole_writer: None }
}

/// What is to be done about the appointment so that it stands at `slot`.
fn to_slot(
    resource: &Resource,
    slot: &SlotView,
    reference: &ResourceRef,
    expected_start: Timestamp,
) -> Result<Step, EhrError> {
    let appointment = AppointmentView::read(resource)?;
    if stands_at(&appointment, slot) {
        return Ok(Step::Done);
    }
    if !is_movable(&appointment, expected_start) {
        return Ok(Step::Changed);
    }
    let add = |path: &str, value| PatchOperation::Add { path: path.to_owned(), value };
    let mut operations = vec![
        add("/start", json!(slot.start.to_string())),
        add("/end", json!(slot.end.to_string())),
        add("/slot", json!([{ "reference": reference.to_string() }])),
    ];
    if appointment.minutes.is_some() {
        let minutes = slot.end.duration_since(slot.start).as_mins();
        operations.push(add("/minutesDuration", json!(minutes)));
    }
    Ok(Step::Edit(operations))
}

/// Whether the appointment is on and fills just this slot at its time.
fn stands_at(appointment: &AppointmentView, slot: &SlotView) -> bool {
    let fills = slot.reference.as_ref().is_some_and(|slot| appointment.slots == [slot.clone()]);
    fills && is_on(appointment) && appointment.start == Some(slot.start) && appointment.end == Some(slot.end)
}

fn is_movable(appointment: &AppointmentView, expected_start: Timestamp) -> bool {
    is_on(appointment) && appointment.start == Some(expected_start)
}

/// Whether the visit is still to come, as far as its status says.
pub(super) fn is_on(appointment: &AppointmentView) -> bool {
    matches!(appointment.status, AppointmentStatus::Booked | AppointmentStatus::Pending)
}
