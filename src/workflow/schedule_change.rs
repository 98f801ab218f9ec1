//! What the staff change in the EHR: handles the job `AppointmentChanged`.
//!
//! Compares the appointment with what the patient knows, not with an event: however many events come, late or twice, the
//! patient reads of each new time once, our own moves are nobody's news, and the reminders follow the visit.

use super::{
    AppointmentChanged, Workflows,
    answer::{parsed, written},
    plan_store::Replan,
    ports::{Move, MoveOutcome},
    relevance::AppointmentRelevance,
    reminder::{changed, no_number_task},
    store::{Appointment, Learnt, Transition, VISIT, WorkflowRow},
    texts::{Reach, Saying},
    visit::{Announcing, Visit, VisitState, Wanted},
};
use crate::{
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Tenant},
    messaging::{Message, gate::DropReason, state},
    practice::Practice,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Several edits within this time are told as one.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// How soon a change looks again while the patient is just being answered.
const AFTER_ANSWER: SignedDuration = SignedDuration::from_secs(5);

impl Workflows {
    /// Handles the job `AppointmentChanged`.
    ///
    /// # Errors
    /// [`JobError::Postpone`] while an answer about the visit is acted on; otherwise as something is away.
    pub async fn appointment_changed(&self, job: LeasedJob) -> Outcome {
        let AppointmentChanged { appointment } = job.payload()?;
        let practice = self.practice(job.tenant)?;
        let query = Appointment::with_id(job.tenant, &appointment);
        let Some(appointment) = self.db.optional(query).await? else { return Ok(()) };
        let appointment = Appointment::read(&appointment)?;
        let subject = Appointment::reference(&appointment.id);
        let now = self.instruments.now();
        let Some(row) = self.db.optional(WorkflowRow::about(job.tenant, VISIT, &subject)).await? else {
            return match appointment.visit() {
                Some(start) if start > now => self.first_seen(&practice, &appointment, subject).await,
                // Off or over when we first hear of it: nothing to say.
                _ => Ok(()),
            };
        };
        let row = WorkflowRow::read(&row)?;
        let visit: Visit = parsed(&row.data)?;
        if visit.acting.is_some() {
            let until = now.checked_add(AFTER_ANSWER).unwrap_or(Timestamp::MAX);
            return Err(JobError::Postpone { code: "workflow-busy", until });
        }
        match appointment.visit() {
            Some(start) if start > now => self.follow(&practice, row, visit, &appointment, start).await,
            _ => {
                let step = self.step(row, &visit, &practice, &appointment)?;
                self.commit(step).await
            }
        }
    }

    async fn first_seen(&self, practice: &Arc<Practice>, appointment: &Appointment, subject: String) -> Outcome {
        let visit = Visit::known(appointment.start, appointment.location.clone());
        let id = self.instruments.new_id();
        let mut row = WorkflowRow::new(practice, id, VISIT, appointment.patient, subject);
        VisitState::Known.code().clone_into(&mut row.state);
        let step = self.step(row, &visit, practice, appointment)?;
        self.commit(step).await
    }

    /// A step that remembers `visit` and brings the reminders in line.
    fn step(
        &self,
        mut row: WorkflowRow,
        visit: &Visit,
        practice: &Arc<Practice>,
        appointment: &Appointment,
    ) -> Result<Transition, JobError> {
        row.data = written(visit)?;
        row.patient = appointment.patient;
        let mut step = Transition::to(row, &self.instruments)?;
        step.replan = Some(Replan {
            practice: Arc::clone(practice),
            instruments: self.instruments.clone(),
            appointment: appointment.id.clone(),
            patient: appointment.patient,
            visit: appointment.visit(),
        });
        Ok(step)
    }

    /// The visit is on: where it is not where or when the patient knows it, they are told.
    async fn follow(
        &self,
        practice: &Arc<Practice>,
        row: WorkflowRow,
        visit: Visit,
        appointment: &Appointment,
        start: Timestamp,
    ) -> Outcome {
        let elsewhere = appointment.location.is_some() && appointment.location != visit.location;
        // A place that was not known before is no news.
        let moved_place = elsewhere && visit.location.is_some();
        if start == visit.start && !moved_place {
            let location = appointment.location.clone().or(visit.location.clone());
            let step = self.step(row, &Visit { location, ..visit }, practice, appointment)?;
            return self.commit(step).await;
        }
        if let Some(wanted) = visit.wanted.clone().filter(|wanted| wanted.offered.start == start) {
            return self.wanted_time_is_there(row, visit, appointment, &wanted).await;
        }
        self.announce(practice, row, visit, appointment, moved_place).await
    }

    /// The visit is at the time that the patient asked for. Whether it is there alone, the move itself finds out; while
    /// that is not certain, nothing is said.
    async fn wanted_time_is_there(
        &self,
        row: WorkflowRow,
        visit: Visit,
        appointment: &Appointment,
        wanted: &Wanted,
    ) -> Outcome {
        let again = Move {
            tenant: row.tenant,
            workflow: row.id,
            appointment: &appointment.id,
            from: visit.start,
            to: &wanted.offered,
        };
        match self.scheduling.move_appointment(again).await {
            MoveOutcome::Moved { .. } | MoveOutcome::AppointmentChanged | MoveOutcome::SlotTaken => {
                let learnt = Learnt { start: wanted.offered.start, end: None, status: None, own_version: None };
                self.tell_moved(row, visit, appointment, learnt, wanted).await
            }
            MoveOutcome::Unavailable { retry_after } => {
                Err(JobError::Retry { code: "ehr-unavailable", after: retry_after })
            }
            // The EHR is read again by and by (`look_for_move`).
            MoveOutcome::Contested | MoveOutcome::Unknown | MoveOutcome::Refused { .. } => Ok(()),
        }
    }

    async fn announce(
        &self,
        practice: &Arc<Practice>,
        mut row: WorkflowRow,
        mut visit: Visit,
        appointment: &Appointment,
        moved_place: bool,
    ) -> Outcome {
        let start = appointment.start;
        let before = self.known_to_patient(practice.tenant, &visit).await?;
        let back = before.0 == start && before.1 == appointment.location;
        let (mut texts, mut tasks) = (Vec::new(), Vec::new());
        let mut announcing = None;
        if !back {
            self.scheduling.refresh_patient(practice.tenant, appointment.patient).await?;
            match self.reach(practice, appointment.patient).await? {
                Reach::On(to) => {
                    let labels = self.labels(practice, appointment).await?;
                    let place = labels.place.as_ref().filter(|_| moved_place || before.1 != appointment.location);
                    let version = AppointmentRelevance::at_place(start, appointment.location.as_deref());
                    let said =
                        changed(practice, &to, &appointment.id, (start, version), labels.provider.as_ref(), place);
                    let not_before = self.instruments.now().checked_add(SETTLES_WITHIN).ok();
                    let saying = Saying { not_before, ..said };
                    to.our_number.as_e164().clone_into(&mut row.our_number);
                    row.number_token.clone_from(&to.token);
                    texts = self.prepare(vec![Self::text(practice, &to, row.id, saying, None)]).await?;
                    let message = texts.first().map(|text| text.id);
                    announcing = message.map(|message| Announcing { message, start: before.0, location: before.1 });
                }
                Reach::NoNumber => {
                    tasks.push(no_number_task(self, practice, appointment.patient, &appointment.id, start));
                }
                Reach::Nobody => {}
            }
        }
        visit.start = start;
        visit.location = appointment.location.clone().or(visit.location);
        visit.announcing = announcing;
        visit.together.clear();
        visit.forget_offers();
        VisitState::Asked.code().clone_into(&mut row.state);
        row.deadline = None;
        let mut step = self.step(row, &visit, practice, appointment)?;
        step.texts = texts;
        step.tasks = tasks;
        // What was asked was about the old time.
        step.closes_questions = true;
        self.commit(step).await
    }

    /// When and where the visit is as far as the patient can know: while the text about the last change still waits, what
    /// held before it.
    async fn known_to_patient(
        &self,
        tenant: Id<Tenant>,
        visit: &Visit,
    ) -> Result<(Timestamp, Option<String>), JobError> {
        if let Some(announcing) = &visit.announcing
            && self.is_waiting(tenant, announcing.message).await?
        {
            return Ok((announcing.start, announcing.location.clone()));
        }
        Ok((visit.start, visit.location.clone()))
    }

    async fn is_waiting(&self, tenant: Id<Tenant>, message: Id<Message>) -> Result<bool, JobError> {
        let text = self.thread.find(tenant, message).await?;
        // One that was never sent because it had become untrue was not read either.
        Ok(text.is_some_and(|text| {
            let had_left = text.state_reason.as_deref() == Some(DropReason::SentBefore.code());
            text.state == state::QUEUED || (text.state == state::DROPPED && text.sent_at.is_none() && !had_left)
        }))
    }
}
