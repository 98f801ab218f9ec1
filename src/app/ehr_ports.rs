//! What workflows ask of an EHR, answered by the room that speaks with it.

use crate::{
    ehr::{self, Ehr, EhrError, Ehrs, SlotHolder},
    feed::Intake,
    fhir::{
        ResourceRef,
        views::{AppointmentView, TaskStatus},
    },
    kernel::{Id, Patient, Tenant},
    practice::Practices,
    workflow::{
        AppointmentState, ChangeOutcome, EhrTrouble, FreeSlot, Move, MoveOutcome, RefillStatus, RefillWish, Refills,
        RequestOutcome, Scheduling, SlotWish, VisitChange,
    },
};
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use std::sync::Arc;

/// Every tenant's EHR, as workflows see it.
#[derive(Clone)]
pub(super) struct EhrPorts {
    pub(super) ehrs: Ehrs,
    pub(super) intake: Intake,
    pub(super) practices: Arc<Practices>,
    pub(super) scheduling: ehr::Scheduling,
    pub(super) refills: ehr::Refills,
}

fn trouble(error: &EhrError) -> EhrTrouble {
    match error {
        EhrError::Unavailable { retry_after, .. } => EhrTrouble::Unavailable { retry_after: *retry_after },
        EhrError::Refused { code } => EhrTrouble::Refused { code },
        EhrError::Unreadable => EhrTrouble::Refused { code: "ehr-unreadable" },
        // Ours or passing: asking again is right.
        _ => EhrTrouble::Unavailable { retry_after: None },
    }
}

fn reference(resource_type: &str, id: &str) -> Result<ResourceRef, EhrError> {
    Ok(ResourceRef::new(resource_type, id)?)
}

fn state(view: &AppointmentView) -> Option<AppointmentState> {
    Some(AppointmentState {
        status: serde_json::to_value(view.status).ok()?.as_str()?.to_owned(),
        start: view.start?,
        end: view.end?,
        version: view.version.as_ref().map(|version| version.as_str().to_owned()),
    })
}

fn visit_change(wanted: VisitChange<'_>) -> Result<ehr::VisitChange, EhrError> {
    Ok(ehr::VisitChange {
        holder: wanted.workflow.cast::<SlotHolder>(),
        appointment: reference("Appointment", wanted.appointment)?,
        expected_start: wanted.start,
    })
}

impl EhrPorts {
    async fn view(&self, ehr: &Ehr, appointment: &str) -> Result<Option<AppointmentView>, EhrError> {
        match self.scheduling.appointment(ehr, &reference("Appointment", appointment)?).await {
            Ok(view) => Ok(Some(view)),
            Err(EhrError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_current(&self, tenant: Id<Tenant>, id: &str) -> Result<Option<AppointmentState>, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        Ok(self.view(&ehr, id).await?.as_ref().and_then(state))
    }

    async fn find_slots(&self, wish: SlotWish<'_>) -> Result<Vec<FreeSlot>, EhrError> {
        let ehr = self.ehrs.of(wish.tenant)?;
        let Some(view) = self.view(&ehr, wish.appointment).await? else { return Ok(Vec::new()) };
        let exclude: Vec<ResourceRef> = wish.except.iter().filter_map(|slot| slot.parse().ok()).collect();
        let zone = self.practices.get(wish.tenant).map_or(TimeZone::UTC, |practice| practice.zone.clone());
        let wanted = ehr::Wanted { from: wish.after, count: wish.count, exclude: &exclude, zone: &zone };
        let found = self.scheduling.free_slots(&ehr, &view, wanted).await?;
        Ok(found.into_iter().map(|slot| FreeSlot { slot: slot.slot.to_string(), start: slot.start }).collect())
    }

    async fn make_move(&self, wanted: Move<'_>) -> Result<ehr::MoveOutcome, EhrError> {
        let ehr = self.ehrs.of(wanted.tenant)?;
        let wanted = ehr::Move {
            holder: wanted.workflow.cast::<SlotHolder>(),
            appointment: reference("Appointment", wanted.appointment)?,
            expected_start: wanted.from,
            slot: wanted.to.slot.parse().map_err(|_| EhrError::Unreadable)?,
        };
        self.scheduling.move_appointment(&ehr, &wanted).await
    }

    async fn cancel(&self, wanted: VisitChange<'_>) -> Result<ehr::ChangeOutcome, EhrError> {
        let ehr = self.ehrs.of(wanted.tenant)?;
        self.scheduling.cancel_appointment(&ehr, &visit_change(wanted)?).await
    }

    async fn confirm(&self, wanted: VisitChange<'_>) -> Result<ehr::ChangeOutcome, EhrError> {
        let ehr = self.ehrs.of(wanted.tenant)?;
        self.scheduling.confirm_appointment(&ehr, &visit_change(wanted)?).await
    }

    async fn request(&self, wish: RefillWish<'_>) -> Result<ehr::RefillOutcome, EhrError> {
        let ehr = self.ehrs.of(wish.tenant)?;
        let words = format!("urn:uuid:{}", wish.workflow);
        let prescription = reference("MedicationRequest", wish.medication_request)?;
        self.refills.request(&ehr, &words, &prescription).await
    }

    async fn status(&self, tenant: Id<Tenant>, task: &str) -> Result<Option<RefillStatus>, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let task: ResourceRef = task.parse().map_err(|_| EhrError::Unreadable)?;
        match ehr::task_status(&ehr, &task).await {
            Ok(status) => Ok(Some(refill_status(status))),
            Err(EhrError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a Task's status says to the patient (<https://hl7.org/fhir/R4/task.html#statemachine>).
const fn refill_status(status: TaskStatus) -> RefillStatus {
    match status {
        // A finished request is an approved one. That the pharmacy has it ready a Task does not say (law 6).
        TaskStatus::Accepted | TaskStatus::InProgress | TaskStatus::Completed => RefillStatus::Approved,
        TaskStatus::Rejected | TaskStatus::Cancelled | TaskStatus::Failed | TaskStatus::EnteredInError => {
            RefillStatus::Declined
        }
        _ => RefillStatus::Open,
    }
}

fn change(outcome: Result<ehr::ChangeOutcome, EhrError>) -> ChangeOutcome {
    match outcome {
        Ok(ehr::ChangeOutcome::Done { version }) => ChangeOutcome::Done { version },
        Ok(ehr::ChangeOutcome::Changed) | Err(EhrError::Conflict | EhrError::NotFound) => {
            ChangeOutcome::AppointmentChanged
        }
        Err(EhrError::Unknown) => ChangeOutcome::Unknown,
        Err(error) => match trouble(&error) {
            EhrTrouble::Refused { code } => ChangeOutcome::Refused { code },
            EhrTrouble::Unavailable { retry_after } => ChangeOutcome::Unavailable { retry_after },
        },
    }
}

impl Scheduling for EhrPorts {
    fn current<'a>(
        &'a self,
        tenant: Id<Tenant>,
        appointment: &'a str,
    ) -> BoxFuture<'a, Result<Option<AppointmentState>, EhrTrouble>> {
        Box::pin(async move { self.read_current(tenant, appointment).await.map_err(|error| trouble(&error)) })
    }

    fn refresh<'a>(&'a self, tenant: Id<Tenant>, appointment: &'a str) -> BoxFuture<'a, Result<(), EhrTrouble>> {
        Box::pin(async move {
            let read = async { self.intake.refresh(tenant, &reference("Appointment", appointment)?).await };
            read.await.map_err(|error| trouble(&error))
        })
    }

    fn refresh_patient(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> BoxFuture<'_, Result<(), EhrTrouble>> {
        Box::pin(async move { self.intake.refresh_patient(tenant, patient).await.map_err(|error| trouble(&error)) })
    }

    fn free_slots<'a>(&'a self, wish: SlotWish<'a>) -> BoxFuture<'a, Result<Vec<FreeSlot>, EhrTrouble>> {
        Box::pin(async move { self.find_slots(wish).await.map_err(|error| trouble(&error)) })
    }

    fn move_appointment<'a>(&'a self, wanted: Move<'a>) -> BoxFuture<'a, MoveOutcome> {
        Box::pin(async move {
            match self.make_move(wanted).await {
                Ok(ehr::MoveOutcome::Moved { start, end, version }) => MoveOutcome::Moved { start, end, version },
                Ok(ehr::MoveOutcome::Contested) => MoveOutcome::Contested,
                Ok(ehr::MoveOutcome::SlotTaken) => MoveOutcome::SlotTaken,
                Ok(ehr::MoveOutcome::AppointmentChanged) | Err(EhrError::Conflict | EhrError::NotFound) => {
                    MoveOutcome::AppointmentChanged
                }
                Err(EhrError::Unknown) => MoveOutcome::Unknown,
                Err(error) => match trouble(&error) {
                    EhrTrouble::Refused { code } => MoveOutcome::Refused { code },
                    EhrTrouble::Unavailable { retry_after } => MoveOutcome::Unavailable { retry_after },
                },
            }
        })
    }

    fn cancel_appointment<'a>(&'a self, wanted: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome> {
        Box::pin(async move { change(self.cancel(wanted).await) })
    }

    fn confirm_appointment<'a>(&'a self, wanted: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome> {
        Box::pin(async move { change(self.confirm(wanted).await) })
    }
}

impl Refills for EhrPorts {
    fn request_refill<'a>(&'a self, wish: RefillWish<'a>) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(async move {
            match self.request(wish).await {
                Ok(ehr::RefillOutcome::Requested(task)) => RequestOutcome::Requested { task: task.reference },
                Ok(ehr::RefillOutcome::NotRunning) => RequestOutcome::Refused { code: "prescription-not-running" },
                Err(EhrError::Unknown) => RequestOutcome::Unknown,
                Err(error) => match trouble(&error) {
                    EhrTrouble::Refused { code } => RequestOutcome::Refused { code },
                    EhrTrouble::Unavailable { retry_after } => RequestOutcome::Unavailable { retry_after },
                },
            }
        })
    }

    fn refill_status<'a>(
        &'a self,
        tenant: Id<Tenant>,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<RefillStatus>, EhrTrouble>> {
        Box::pin(async move { self.status(tenant, task).await.map_err(|error| trouble(&error)) })
    }
}
