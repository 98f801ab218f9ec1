//! Cancelling and confirming a visit.

use super::{Scheduling, hold::SlotHolder, moving::is_on};
use crate::{
    ehr::{
        Ehr, EhrError, WriteIntent,
        change::{ChangeOutcome, Step},
    },
    fhir::{
        ETag, PatchOperation, Resource, ResourceRef,
        views::{AppointmentStatus, AppointmentView, ParticipationStatus},
    },
    kernel::Id,
};
use jiff::Timestamp;
use serde_json::json;

/// The code system of reasons for a cancellation.
const CANCELLATION: &str = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason";

/// A visit that a patient cancels or confirms.
#[derive(Debug, Clone)]
pub struct VisitChange {
    /// What asks for it.
    pub holder: Id<SlotHolder>,
    /// The appointment.
    pub appointment: ResourceRef,
    /// When the visit is, as the patient was told.
    pub expected_start: Timestamp,
}

impl Scheduling {
    /// Cancels the visit, for the reason `pat-crs` (the patient, by an automated reminder system), and frees its slots.
    /// Those of a visit that somebody else has cancelled are theirs to free.
    ///
    /// # Errors
    /// [`EhrError::Unavailable`] and [`EhrError::Unknown`]: ask again; otherwise as the EHR says.
    pub async fn cancel_appointment(&self, ehr: &Ehr, visit: &VisitChange) -> Result<ChangeOutcome, EhrError> {
        let intent = intent(ehr, "cancel", visit);
        let outcome =
            self.ledger.change(ehr, &intent, &visit.appointment, |resource| cancelled(resource, visit)).await?;
        if let ChangeOutcome::Done { version } = &outcome {
            let appointment = self.appointment(ehr, &visit.appointment).await?;
            if appointment.status == AppointmentStatus::Cancelled && self.ledger.last(&intent).await?.is_some() {
                for slot in &appointment.slots {
                    self.free(ehr, slot, &visit.appointment, visit.holder).await?;
                }
            }
            self.note_visit(ehr, visit, &appointment, version.as_deref()).await?;
        }
        Ok(outcome)
    }

    /// Notes in the appointment that the patient has agreed to come.
    ///
    /// # Errors
    /// [`EhrError::Unavailable`] and [`EhrError::Unknown`]: ask again; otherwise as the EHR says.
    pub async fn confirm_appointment(&self, ehr: &Ehr, visit: &VisitChange) -> Result<ChangeOutcome, EhrError> {
        let intent = intent(ehr, "confirm", visit);
        let outcome =
            self.ledger.change(ehr, &intent, &visit.appointment, |resource| confirmed(resource, visit)).await?;
        if let ChangeOutcome::Done { version } = &outcome {
            let appointment = self.appointment(ehr, &visit.appointment).await?;
            self.note_visit(ehr, visit, &appointment, version.as_deref()).await?;
        }
        Ok(outcome)
    }

    /// What somebody else has made of it since is theirs, and is announced as such.
    async fn note_visit(
        &self,
        ehr: &Ehr,
        visit: &VisitChange,
        appointment: &AppointmentView,
        version: Option<&str>,
    ) -> Result<(), EhrError> {
        if appointment.version.as_ref().map(ETag::as_str) != version {
            return Ok(());
        }
        self.note_own(ehr.tenant, appointment, visit.expected_start).await
    }
}

fn intent(ehr: &Ehr, what: &str, visit: &VisitChange) -> WriteIntent {
    WriteIntent {
        tenant: ehr.tenant,
        words: format!("{what} {} {}", visit.appointment, visit.holder),
        sole_writer: None,
    }
}

fn cancelled(resource: &Resource, visit: &VisitChange) -> Result<Step, EhrError> {
    let appointment = AppointmentView::read(resource)?;
    if appointment.status == AppointmentStatus::Cancelled {
        return Ok(Step::Done);
    }
    if !is_on(&appointment) || appointment.start != Some(visit.expected_start) {
        return Ok(Step::Changed);
    }
    let reason = json!({ "coding": [{
        "system": CANCELLATION, "code": "pat-crs", "display": "Patient: Canceled via automated reminder system",
    }] });
    Ok(Step::Edit(vec![
        PatchOperation::Replace { path: "/status".to_owned(), value: json!("cancelled") },
        PatchOperation::Add { path: "/cancelationReason".to_owned(), value: reason },
    ]))
}

fn confirmed(resource: &Resource, visit: &VisitChange) -> Result<Step, EhrError> {
    let appointment = AppointmentView::read(resource)?;
    if !is_on(&appointment) || appointment.start != Some(visit.expected_start) {
        return Ok(Step::Changed);
    }
    match appointment.patient_participation() {
        None => Ok(Step::Changed),
        Some((_, ParticipationStatus::Accepted)) => Ok(Step::Done),
        Some((index, _)) => {
            let actor = format!("/participant/{index}/actor/reference");
            // The place in the list is the patient's, or nothing is changed.
            let known = resource.to_value()?.pointer(&actor).cloned().ok_or(EhrError::Unreadable)?;
            Ok(Step::Edit(vec![
                PatchOperation::Test { path: actor, value: known },
                PatchOperation::Replace { path: format!("/participant/{index}/status"), value: json!("accepted") },
            ]))
        }
    }
}
