//! Dropping a visit, in two steps: nothing is dropped on one word. And what an answer finds when the visit is not what
//! it was.

use super::{
    Workflows,
    answer::{Next, Reminders, Turn},
    ports::{AppointmentState, ChangeOutcome},
    relevance::AppointmentRelevance,
    reminder::{changed, stands},
    store::Learnt,
    texts::{Saying, answerable_until, plain},
    visit::{Step, VisitState},
};
use crate::{consent::Category, intent::Context, jobs::JobError, routing::TaskReason, template::TextKey};
use jiff::SignedDuration;

/// How long after the question whether to drop a visit no reminder talks across, if the visit is not sooner.
const QUESTION_STANDS: SignedDuration = SignedDuration::from_hours(24);
/// How long "R for a new time" stands after a visit that is off or over.
const NEW_TIME_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// FHIR's status word of what is cancelled.
pub(super) const CANCELLED: &str = "cancelled";
/// FHIR's status word for what an EHR does not have any more.
const GONE: &str = "entered-in-error";

impl Workflows {
    /// Asks back before anything is dropped.
    pub(super) fn ask_cancel(turn: &Turn) -> Next {
        let start = turn.visit.start;
        let until = turn.now.checked_add(QUESTION_STANDS).unwrap_or(start).min(start);
        let params = plain(&turn.reply.practice).when(start);
        let mut saying = Saying::new(TextKey::CancelAsk, params, Category::Appointment)
            .about(&turn.appointment.id, AppointmentRelevance::version(start))
            .asking(Context::AppointmentReminder, answerable_until(start))
            .until(until);
        if let Some(question) = &mut saying.question {
            question.cancel_pending = true;
        }
        let mut next = Next::new(turn, VisitState::CancelAsked).saying(saying);
        next.deadline = Some(until);
        next
    }

    /// YES: the EHR drops it, then the patient is told.
    pub(super) async fn cancel(&self, turn: &Turn) -> Result<Next, JobError> {
        match self.scheduling.cancel_appointment(turn.change()).await {
            ChangeOutcome::Done { version } => {
                let status = Some(CANCELLED.to_owned());
                Ok(cancelled(turn, Learnt { start: turn.visit.start, end: None, status, own_version: version }))
            }
            failed => self.not_changed(turn, &failed),
        }
    }

    /// NO: it stays.
    pub(super) fn keep(turn: &Turn) -> Next {
        let mut next = Next::new(turn, VisitState::Asked).saying(stands(turn, TextKey::Kept));
        next.visit.forget_offers();
        next
    }

    /// The staff have moved it since we asked: the answer was to another time, so the new one is told and asked about.
    pub(super) fn moved_by_staff(turn: &Turn, current: &AppointmentState) -> Next {
        let version = AppointmentRelevance::version(current.start);
        let provider = turn.labels.provider.as_ref();
        let practice = &turn.reply.practice;
        let saying = changed(practice, &turn.reply.to, &turn.appointment.id, (current.start, version), provider, None);
        let mut next = Next::new(turn, VisitState::Asked).saying(saying).learnt(Learnt::from(current));
        next.visit.start = current.start;
        next.visit.together.clear();
        next.visit.forget_offers();
        next.reminders = Reminders::Follow(current.start);
        next
    }

    /// It is off. Who wanted just that is told so; anybody else hears from a person.
    pub(super) fn visit_is_off(&self, turn: &Turn, step: &Step, current: Option<&AppointmentState>) -> Next {
        let status = current.map_or_else(|| GONE.to_owned(), |current| current.status.clone());
        let learnt = Learnt { start: turn.appointment.start, end: None, status: Some(status), own_version: None };
        let told = turn.state == VisitState::Cancelled;
        match step {
            Step::Cancel | Step::AskCancel if !told => cancelled(turn, learnt),
            Step::Confirm | Step::Keep | Step::Cancel | Step::AskCancel if told => Next::new(turn, turn.state),
            _ => {
                let mut next = self.hand_over(turn, TaskReason::Reschedule).learnt(learnt);
                next.reminders = Reminders::Drop;
                next
            }
        }
    }

    /// The answer came after the visit.
    pub(super) fn too_late(&self, turn: &Turn) -> Next {
        if turn.state == VisitState::Passed {
            return if turn.reply.answer.wants_another_time() {
                self.hand_over(turn, TaskReason::Reschedule)
            } else {
                Next::new(turn, turn.state)
            };
        }
        let practice = &turn.reply.practice;
        let until = turn.now.checked_add(NEW_TIME_WITHIN).unwrap_or(turn.now);
        let saying = Saying::new(TextKey::LateAnswer, plain(practice).phone(&practice.phone), Category::Appointment)
            .asking(Context::AppointmentReminder, until)
            .until(until);
        Next::new(turn, VisitState::Passed).saying(saying).with_task(TaskReason::LateAnswer)
    }
}

/// The EHR has dropped it; R asks for another.
fn cancelled(turn: &Turn, learnt: Learnt) -> Next {
    let until = turn.now.checked_add(NEW_TIME_WITHIN).unwrap_or(turn.now);
    let params = plain(&turn.reply.practice).when(turn.visit.start);
    let saying = Saying::new(TextKey::Cancelled, params, Category::Appointment)
        .about(&turn.appointment.id, AppointmentRelevance::off())
        .asking(Context::AppointmentReminder, until)
        .until(until);
    let mut next = Next::new(turn, VisitState::Cancelled).saying(saying).learnt(learnt);
    next.visit.forget_offers();
    next.reminders = Reminders::Drop;
    next
}
