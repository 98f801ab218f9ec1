//! Another time: free times are offered, one is chosen, the visit is moved in the EHR, and then the patient is told.
//!
//! Always: "moved" is said only of what the EHR has confirmed; where nobody knows, the front desk is asked and the EHR
//! is read until it tells.

use super::{
    WorkflowTimeout, Workflows,
    answer::{Next, Reminders, Turn, answer_key, parsed, written},
    plan_store::Replan,
    ports::{AppointmentState, FreeSlot, Move, MoveOutcome, SlotWish},
    relevance::AppointmentRelevance,
    store::{Appointment, Learnt, Transition, VISIT, WorkflowRow},
    texts::{Reach, Saying, answerable_until, person_by, plain},
    visit::{MOST_OFFERS, MOST_TAKEN, Step, Visit, VisitState, Wanted},
};
use crate::{
    access::Team,
    consent::Category,
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Tenant},
    messaging::{Message, Offered},
    routing::{NewTask, TaskReason},
    template::TextKey,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// How many times are offered at once.
const SLOTS: usize = 3;
/// How long after an offer no reminder talks across. Its answer counts later too, as far as the times are still free.
const OFFER_STANDS: SignedDuration = SignedDuration::from_hours(24);
/// A time sooner than that is not offered: nobody could come.
const NOTICE: SignedDuration = SignedDuration::from_hours(2);
/// How soon the EHR is read again after a move of which nobody knows.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(2);
/// How soon it is read again while two visits stand at the time: a person needs longer.
const LOOK_AFTER_PERSON: SignedDuration = SignedDuration::from_mins(15);
/// How often it is read before it is left to the front desk.
const MOST_LOOKS: u8 = 15;

fn later(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.checked_add(span).unwrap_or(Timestamp::MAX)
}

impl Workflows {
    /// Offers times that were not offered yet.
    pub(super) async fn offer(&self, turn: &Turn) -> Result<Next, JobError> {
        self.offer_after(turn, TextKey::Offer).await
    }

    async fn offer_after(&self, turn: &Turn, key: TextKey) -> Result<Next, JobError> {
        let wish = SlotWish {
            tenant: turn.tenant(),
            appointment: &turn.appointment.id,
            after: later(turn.now, NOTICE),
            count: SLOTS,
            except: &turn.visit.shown,
        };
        let slots = match self.scheduling.free_slots(wish).await {
            Ok(slots) => slots,
            Err(trouble) => return self.troubled(turn, trouble),
        };
        if slots.is_empty() {
            return Ok(no_slots(turn));
        }
        let offered: Vec<Offered> = (1..).zip(slots).take(SLOTS).map(numbered).collect();
        let mut next = Next::new(turn, VisitState::Offered);
        next.visit.shown.extend(offered.iter().map(|offered| offered.slot.clone()));
        if key == TextKey::Offer {
            next.visit.offers = next.visit.offers.saturating_add(1).min(MOST_OFFERS);
        }
        Ok(put(next, turn, key, offered))
    }

    /// Moves the visit there, if it still can be.
    pub(super) async fn take(&self, turn: &Turn, offered: &Offered) -> Result<Next, JobError> {
        let wanted = Move {
            tenant: turn.tenant(),
            workflow: turn.row.id,
            appointment: &turn.appointment.id,
            from: turn.visit.start,
            to: offered,
        };
        let outcome = if offered.start > turn.now {
            self.scheduling.move_appointment(wanted).await
        } else {
            MoveOutcome::SlotTaken
        };
        self.after_move(turn, offered, outcome).await
    }

    async fn after_move(&self, turn: &Turn, offered: &Offered, outcome: MoveOutcome) -> Result<Next, JobError> {
        match outcome {
            MoveOutcome::Moved { start, end, version } => {
                let learnt = Learnt { start, end: Some(end), status: None, own_version: version };
                Ok(moved(turn, learnt))
            }
            MoveOutcome::Contested => Ok(self.contested(turn, offered)),
            MoveOutcome::SlotTaken if turn.visit.taken >= MOST_TAKEN => {
                Ok(self.hand_over(turn, TaskReason::Reschedule))
            }
            MoveOutcome::SlotTaken => {
                let mut next = self.offer_after(turn, TextKey::Taken).await?;
                next.visit.taken = next.visit.taken.saturating_add(1);
                Ok(next)
            }
            MoveOutcome::AppointmentChanged => self.later(turn, None),
            MoveOutcome::Refused { .. } => Ok(self.hand_over(turn, TaskReason::EhrRefused)),
            MoveOutcome::Unavailable { retry_after } => self.later(turn, retry_after),
            MoveOutcome::Unknown => Ok(requested(turn, offered)),
        }
    }

    /// The visit is at the time that was chosen: our move had arrived before we heard of it, or the front desk made it.
    /// Whether it is there alone, the move itself finds out.
    pub(super) async fn land(&self, turn: &Turn, step: &Step, current: &AppointmentState) -> Result<Next, JobError> {
        let landed = Learnt { own_version: current.version.clone(), ..Learnt::from(current) };
        let Step::Take(offered) = step else { return Ok(moved(turn, landed)) };
        let again = Move {
            tenant: turn.tenant(),
            workflow: turn.row.id,
            appointment: &turn.appointment.id,
            from: turn.visit.start,
            to: offered,
        };
        match self.scheduling.move_appointment(again).await {
            MoveOutcome::AppointmentChanged | MoveOutcome::SlotTaken => Ok(moved(turn, landed)),
            outcome => self.after_move(turn, offered, outcome).await,
        }
    }

    /// Two visits may stand at the time: a person decides, and the EHR is read until only ours does.
    fn contested(&self, turn: &Turn, offered: &Offered) -> Next {
        let mut next = self.hand_over(turn, TaskReason::DoubleBooked);
        next.state = VisitState::Requested;
        next.visit.wanted = Some(Wanted { message: turn.reply.text.id, offered: offered.clone(), looked: 0 });
        next.deadline = Some(later(turn.now, LOOK_AFTER_PERSON));
        next
    }

    /// The answer fits several times: the same ones again.
    pub(super) fn ask_again(turn: &Turn) -> Next {
        let mut next = Next::new(turn, VisitState::Offered);
        next.visit.asked_again = true;
        put(next, turn, TextKey::Offer, turn.asked().offered.clone())
    }

    /// Handles [`super::WORKFLOW_TIMEOUT`].
    ///
    /// # Errors
    /// [`JobError::Postpone`] when the deadline has moved; otherwise as something is away.
    pub async fn timeout(&self, job: LeasedJob) -> Outcome {
        let WorkflowTimeout { workflow } = job.payload()?;
        let Some(row) = self.db.optional(WorkflowRow::with_id(job.tenant, workflow)).await? else { return Ok(()) };
        let mut row = WorkflowRow::read(&row)?;
        let Some(deadline) = row.deadline else { return Ok(()) };
        if self.instruments.now() < deadline {
            return Err(JobError::Postpone { code: "not-yet", until: deadline });
        }
        if row.kind != VISIT {
            return self.refill_expired(row).await;
        }
        let mut visit: Visit = parsed(&row.data)?;
        if visit.acting.is_some() {
            return Err(JobError::Postpone { code: "workflow-busy", until: later(self.instruments.now(), LOOK_AGAIN) });
        }
        if let Some(wanted) = visit.wanted.clone() {
            return self.look_for_move(row, visit, wanted).await;
        }
        // Nobody answered: reminders go on, and the visit stays as it is.
        visit.forget_offers();
        VisitState::Known.code().clone_into(&mut row.state);
        row.data = written(&visit)?;
        row.deadline = None;
        self.commit(Transition::to(row, &self.instruments)?).await
    }

    /// Finds out about a move of which nobody knew: reads the EHR, and where the visit is as it was, asks for the same
    /// move again, which looks first and goes on where it was.
    async fn look_for_move(&self, mut row: WorkflowRow, mut visit: Visit, wanted: Wanted) -> Outcome {
        let Some(appointment) = self.appointment_of(&row).await? else { return Ok(()) };
        let current = self.scheduling.current(row.tenant, &appointment.id).await?;
        let on = current.filter(AppointmentState::is_on);
        let there = on.as_ref().filter(|current| current.start == wanted.offered.start);
        let now = self.instruments.now();
        let as_it_was = visit.start > now && on.as_ref().is_some_and(|current| current.start == visit.start);
        let again = Move {
            tenant: row.tenant,
            workflow: row.id,
            appointment: &appointment.id,
            from: visit.start,
            to: &wanted.offered,
        };
        let outcome = if as_it_was || there.is_some() {
            self.scheduling.move_appointment(again).await
        } else {
            MoveOutcome::AppointmentChanged
        };
        if let Some(learnt) = seen_moved(&outcome, there) {
            return self.tell_moved(row, visit, &appointment, learnt, &wanted).await;
        }
        let contested = outcome == MoveOutcome::Contested && wanted.offered.start > now;
        let looked = wanted.looked.saturating_add(u8::from(!contested));
        // Given up: the front desk has it since the move was asked for.
        let open = contested || matches!(outcome, MoveOutcome::Unknown | MoveOutcome::Unavailable { .. });
        let over = looked >= MOST_LOOKS || !open;
        let tasks = if contested { vec![self.double_booked(&row, &wanted)?] } else { Vec::new() };
        visit.wanted = (!over).then_some(Wanted { looked, ..wanted });
        let state = if over { VisitState::WithStaff } else { VisitState::Requested };
        state.code().clone_into(&mut row.state);
        row.data = written(&visit)?;
        row.deadline = (!over).then(|| later(now, if contested { LOOK_AFTER_PERSON } else { LOOK_AGAIN }));
        let again = row.deadline;
        self.commit(Transition { timeout: None, tasks, ..Transition::to(row, &self.instruments)? }).await?;
        again.map_or(Ok(()), |until| Err(JobError::Postpone { code: "move-not-seen", until }))
    }

    /// The same task as where the answer itself found two visits.
    fn double_booked(&self, row: &WorkflowRow, wanted: &Wanted) -> Result<NewTask, JobError> {
        let practice = self.practice(row.tenant)?;
        let key = answer_key(wanted.message, TaskReason::DoubleBooked);
        let work = (Team::Scheduling, TaskReason::DoubleBooked);
        let task = self.task(&practice, work, row.patient, row.subject.clone(), key);
        Ok(NewTask { message: Some(wanted.message), ..task })
    }

    /// A move that was asked for stands in the EHR after all.
    pub(super) async fn tell_moved(
        &self,
        mut row: WorkflowRow,
        mut visit: Visit,
        appointment: &Appointment,
        learnt: Learnt,
        wanted: &Wanted,
    ) -> Outcome {
        let practice = self.practice(row.tenant)?;
        let (tenant, start) = (row.tenant, learnt.start);
        visit.start = start;
        visit.forget_offers();
        visit.announcing = None;
        VisitState::Confirmed.code().clone_into(&mut row.state);
        row.data = written(&visit)?;
        row.deadline = None;
        let answers = self.answered(tenant, wanted).await?;
        let texts = match (self.reach(&practice, appointment.patient).await?, answers) {
            (Reach::On(to), Some(answers)) => {
                let provider = self.labels(&practice, appointment).await?.provider;
                let params = plain(&practice).when(start).provider(provider.as_ref());
                let saying = Saying::new(TextKey::Moved, params, Category::Appointment)
                    .about(&appointment.id, AppointmentRelevance::version(start))
                    .until(start);
                vec![Self::text(&practice, &to, row.id, saying, Some(answers))]
            }
            _ => Vec::new(),
        };
        let mut step = Transition::to(row, &self.instruments)?;
        step.texts = self.prepare(texts).await?;
        step.learnt = Some((appointment.id.clone(), learnt));
        step.closes_questions = true;
        step.replan = Some(Replan {
            practice: Arc::clone(&practice),
            instruments: self.instruments.clone(),
            appointment: appointment.id.clone(),
            patient: appointment.patient,
            visit: Some(start),
        });
        self.commit(step).await
    }

    async fn answered(&self, tenant: Id<Tenant>, wanted: &Wanted) -> Result<Option<Id<Message>>, JobError> {
        let text = self.thread.find(tenant, wanted.message).await?;
        Ok(text.map(|text| text.id))
    }

    pub(super) async fn appointment_of(&self, row: &WorkflowRow) -> Result<Option<Appointment>, JobError> {
        let id = row.subject.strip_prefix("Appointment/").unwrap_or_default();
        let row = self.db.optional(Appointment::with_id(row.tenant, id)).await?;
        Ok(row.as_ref().map(Appointment::read).transpose()?)
    }
}

/// What is learnt of a move that has been made, be it by us or, to the same time, by the front desk.
fn seen_moved(outcome: &MoveOutcome, there: Option<&AppointmentState>) -> Option<Learnt> {
    match (outcome, there) {
        (MoveOutcome::Moved { start, end, version }, _) => {
            Some(Learnt { start: *start, end: Some(*end), status: None, own_version: version.clone() })
        }
        (MoveOutcome::AppointmentChanged | MoveOutcome::SlotTaken, Some(current)) => {
            Some(Learnt { own_version: current.version.clone(), ..Learnt::from(current) })
        }
        _ => None,
    }
}

fn numbered((number, free): (u8, FreeSlot)) -> Offered {
    Offered { number, slot: free.slot, start: free.start }
}

/// Puts `offered` to the patient.
fn put(mut next: Next, turn: &Turn, key: TextKey, offered: Vec<Offered>) -> Next {
    let earliest = offered.iter().map(|offered| offered.start).min().unwrap_or(turn.visit.start);
    let until = later(turn.now, OFFER_STANDS).min(turn.visit.start);
    let times: Vec<Timestamp> = offered.iter().map(|offered| offered.start).collect();
    let saying = Saying::new(key, plain(&turn.reply.practice).slots(&times), Category::Appointment)
        .about(&turn.appointment.id, AppointmentRelevance::version(turn.visit.start))
        .offering(offered, answerable_until(turn.visit.start))
        .until(until.min(earliest));
    next.deadline = Some(until);
    next.saying(saying)
}

/// Nothing is open: a person looks for a time.
fn no_slots(turn: &Turn) -> Next {
    let practice = &turn.reply.practice;
    let by = person_by(practice, turn.now);
    let saying = Saying::new(TextKey::NoSlots, plain(practice).by(by), Category::Appointment)
        .about(&turn.appointment.id, AppointmentRelevance::version(turn.visit.start))
        .until(by);
    Next::new(turn, VisitState::WithStaff).saying(saying).with_task(TaskReason::Reschedule)
}

/// The EHR has it at its new time.
fn moved(turn: &Turn, learnt: Learnt) -> Next {
    let start = learnt.start;
    let params = plain(&turn.reply.practice).when(start).provider(turn.labels.provider.as_ref());
    let saying = Saying::new(TextKey::Moved, params, Category::Appointment)
        .about(&turn.appointment.id, AppointmentRelevance::version(start))
        .until(start);
    let mut next = Next::new(turn, VisitState::Confirmed).saying(saying).learnt(learnt);
    next.visit.start = start;
    next.visit.forget_offers();
    next.reminders = Reminders::Follow(start);
    next
}

/// Nobody knows whether the EHR has it: the front desk is asked, and the EHR is read until it tells.
fn requested(turn: &Turn, offered: &Offered) -> Next {
    let saying =
        Saying::new(TextKey::Requested, plain(&turn.reply.practice).when(offered.start), Category::Appointment)
            .about(&turn.appointment.id, AppointmentRelevance::version(turn.visit.start))
            .until(turn.visit.start);
    let mut next = Next::new(turn, VisitState::Requested).saying(saying).with_task(TaskReason::EhrUnknown);
    next.visit.wanted = Some(Wanted { message: turn.reply.text.id, offered: offered.clone(), looked: 0 });
    next.deadline = Some(later(turn.now, LOOK_AGAIN));
    next
}
