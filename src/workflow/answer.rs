//! Answers of patients to what a workflow asked: handles the job `ReplyRead`.
//!
//! An answer is claimed first (nobody else acts for the same workflow meanwhile), then the EHR is read and asked, then
//! the step is written. A crash in between finds the claim and goes on.

use super::{
    Workflow, Workflows,
    plan_store::Replan,
    ports::{AppointmentState, EhrTrouble, VisitChange},
    store::{Appointment, Learnt, REFILL, Transition, VISIT, WorkflowRow},
    texts::{Labels, Recipient, Saying, first_name},
    visit::{Answer, Handled, Step, Truth, Visit, VisitState, next_step, truth},
};
use crate::{
    access::Team,
    db::sql,
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, PhoneNumber, Tenant},
    messaging::{self, AboutText, Message, MessagingError, NewQuestion, OpenQuestion, thread::TextRecord},
    practice::Practice,
    routing::{NewTask, TaskReason},
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};

/// A reply with what it answers.
pub(super) struct Reply {
    pub(super) practice: Arc<Practice>,
    pub(super) text: TextRecord,
    pub(super) question: OpenQuestion,
    pub(super) answer: Answer,
    pub(super) to: Recipient,
    pub(super) last_attempt: bool,
}

impl Reply {
    /// Work for a person, once for this reply.
    pub(super) fn task(&self, flows: &Workflows, team: Team, reason: TaskReason, about: &str) -> NewTask {
        let key = answer_key(self.text.id, reason);
        let task = flows.task(&self.practice, (team, reason), self.to.patient, about.to_owned(), key);
        NewTask { message: Some(self.text.id), ..task }
    }
}

/// What makes work about an answer the same work.
pub(super) fn answer_key(message: Id<Message>, reason: TaskReason) -> String {
    format!("answer:{message}:{}", reason.code())
}

/// A reply about a visit, claimed.
pub(super) struct Turn {
    pub(super) reply: Reply,
    pub(super) row: WorkflowRow,
    pub(super) state: VisitState,
    pub(super) visit: Visit,
    pub(super) appointment: Appointment,
    pub(super) labels: Labels,
    pub(super) now: Timestamp,
}

impl Turn {
    pub(super) fn tenant(&self) -> Id<Tenant> {
        self.reply.practice.tenant
    }

    /// A change of the visit as the patient knows it.
    pub(super) fn change(&self) -> VisitChange<'_> {
        VisitChange {
            tenant: self.tenant(),
            workflow: self.row.id,
            appointment: &self.appointment.id,
            start: self.visit.start,
        }
    }

    pub(super) fn asked(&self) -> &NewQuestion {
        &self.reply.question.asked
    }
}

/// What a turn means for the reminders of the visit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reminders {
    /// They stay as they are planned.
    Stay,
    /// The visit is at this instant now.
    Follow(Timestamp),
    /// The visit is off.
    Drop,
}

/// Where a turn leads.
pub(super) struct Next {
    pub(super) state: VisitState,
    pub(super) visit: Visit,
    pub(super) saying: Option<Saying>,
    pub(super) task: Option<TaskReason>,
    pub(super) learnt: Option<Learnt>,
    /// Where the reminders have to follow.
    pub(super) reminders: Reminders,
    pub(super) deadline: Option<Timestamp>,
}

impl Next {
    pub(super) fn new(turn: &Turn, state: VisitState) -> Self {
        Self {
            state,
            visit: turn.visit.clone(),
            saying: None,
            task: None,
            learnt: None,
            reminders: Reminders::Stay,
            deadline: None,
        }
    }

    pub(super) fn saying(self, saying: Saying) -> Self {
        Self { saying: Some(saying), ..self }
    }

    pub(super) fn with_task(self, reason: TaskReason) -> Self {
        Self { task: Some(reason), ..self }
    }

    pub(super) fn learnt(self, learnt: Learnt) -> Self {
        Self { learnt: Some(learnt), ..self }
    }
}

impl Workflows {
    /// Handles [`crate::routing::REPLY_READ`]: acts on an answer. What no attempt can deal with is
    /// [given up](Workflows::reply_given_up).
    ///
    /// # Errors
    /// [`JobError::Postpone`] while an earlier answer is acted on; otherwise as something is away or cannot be.
    pub async fn reply_read(&self, job: LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let Some(reply) = self.reply(&job, message).await? else { return Ok(()) };
        let query = WorkflowRow::with_id(job.tenant, reply.question.workflow);
        let Some(row) = self.db.optional(query).await? else { return Ok(()) };
        match WorkflowRow::read(&row)? {
            row if row.kind == REFILL => self.refill_answered(row.id, reply).await,
            row if row.kind == VISIT => self.visit_answered(row.id, reply).await,
            _ => Ok(()),
        }
    }

    async fn reply(&self, job: &LeasedJob, message: Id<Message>) -> Result<Option<Reply>, JobError> {
        let tenant = job.tenant;
        let practice = self.practice(tenant)?;
        let query = sql("SELECT question, intents, slot FROM reading WHERE tenant = $1 AND message = $2");
        let Some(reading) = self.db.optional(query.bind(tenant).bind(message)).await? else { return Ok(None) };
        let Some(question) = reading.get::<Option<Id<messaging::Question>>>("question")? else { return Ok(None) };
        let Some(question) = messaging::asked(&self.db, tenant, question).await? else { return Ok(None) };
        let Some(text) = self.thread.find(tenant, message).await? else { return Ok(None) };
        let Some(patient) = self.directory.by_id(tenant, question.patient).await? else { return Ok(None) };
        let slot = reading.get::<Option<String>>("slot")?;
        let answer = Answer {
            intents: parsed(&reading.get::<String>("intents")?)?,
            slot: slot.as_deref().map(parsed).transpose()?,
        };
        let number = self.thread.number(tenant, &text).await?;
        let to = Recipient {
            patient: patient.id,
            our_number: PhoneNumber::parse(&text.our_number).map_err(|_| MessagingError::Stored)?,
            number: PhoneNumber::parse(number.as_str()).map_err(|_| MessagingError::Stored)?,
            token: text.number_token.clone(),
            language: patient.language.unwrap_or(text.language),
            first: first_name(&practice, patient.name.expose().given.as_str()),
        };
        Ok(Some(Reply { practice, text, question, answer, to, last_attempt: job.is_last_attempt() }))
    }

    async fn visit_answered(&self, workflow: Id<Workflow>, reply: Reply) -> Outcome {
        let Some(row) = self.claim(workflow, &reply).await? else { return Ok(()) };
        let Some(turn) = self.turn(row, reply).await? else { return Err(JobError::dead("appointment-missing")) };
        let next = self.decide(&turn).await?;
        self.write_turn(turn, next).await
    }

    async fn turn(&self, row: WorkflowRow, reply: Reply) -> Result<Option<Turn>, JobError> {
        let id = row.subject.strip_prefix("Appointment/").unwrap_or_default();
        let Some(appointment) = self.db.optional(Appointment::with_id(row.tenant, id)).await? else { return Ok(None) };
        let appointment = Appointment::read(&appointment)?;
        let labels = self.labels(&reply.practice, &appointment).await?;
        Ok(Some(Turn {
            state: VisitState::from_code(&row.state).unwrap_or(VisitState::Known),
            visit: parsed(&row.data)?,
            now: self.instruments.now(),
            labels,
            appointment,
            row,
            reply,
        }))
    }

    async fn decide(&self, turn: &Turn) -> Result<Next, JobError> {
        let step = next_step(turn.asked(), &turn.reply.answer, turn.state, &turn.visit);
        if step == Step::Nothing {
            return Ok(Next::new(turn, turn.state));
        }
        let current = match self.scheduling.current(turn.tenant(), &turn.appointment.id).await {
            Ok(current) => current,
            Err(trouble) => return self.troubled(turn, trouble),
        };
        let start = current.as_ref().filter(|current| current.is_on()).map(|current| current.start);
        match (truth(start, &turn.visit, &step, turn.now), current) {
            (Truth::AsTold, _) => self.act(turn, step).await,
            (Truth::Landed, Some(current)) => self.land(turn, &step, &current).await,
            (Truth::Moved, Some(current)) => Ok(Self::moved_by_staff(turn, &current)),
            (Truth::Past, _) => Ok(self.too_late(turn)),
            // It may be our own doing, of which nobody has heard.
            (_, Some(current)) if step == Step::Cancel && current.is_cancelled() => self.cancel(turn).await,
            (_, current) => Ok(self.visit_is_off(turn, &step, current.as_ref())),
        }
    }

    async fn act(&self, turn: &Turn, step: Step) -> Result<Next, JobError> {
        match step {
            Step::Confirm => self.confirm(turn).await,
            Step::Offer => self.offer(turn).await,
            Step::Take(offered) => self.take(turn, &offered).await,
            Step::AskAgain => Ok(Self::ask_again(turn)),
            Step::AskCancel => Ok(Self::ask_cancel(turn)),
            Step::Cancel => self.cancel(turn).await,
            Step::Keep => Ok(Self::keep(turn)),
            Step::HandOver => Ok(self.hand_over(turn, handed_over_for(&turn.reply.answer))),
            Step::Nothing => Ok(Next::new(turn, turn.state)),
        }
    }

    /// What follows when the EHR does not tell.
    pub(super) fn troubled(&self, turn: &Turn, trouble: EhrTrouble) -> Result<Next, JobError> {
        match trouble {
            EhrTrouble::Unavailable { retry_after } => self.later(turn, retry_after),
            EhrTrouble::Refused { .. } => Ok(self.hand_over(turn, TaskReason::EhrRefused)),
        }
    }

    /// The EHR is away: the same step again, until nobody would wait any longer.
    pub(super) fn later(&self, turn: &Turn, retry_after: Option<Duration>) -> Result<Next, JobError> {
        if turn.reply.last_attempt {
            return Ok(self.hand_over(turn, TaskReason::EhrUnknown));
        }
        Err(JobError::Retry { code: "ehr-unavailable", after: retry_after })
    }

    /// A person arranges it; the patient is told so.
    pub(super) fn hand_over(&self, turn: &Turn, reason: TaskReason) -> Next {
        let saying = self.person(&turn.reply.practice, crate::consent::Category::Appointment);
        Next::new(turn, VisitState::WithStaff).saying(saying).with_task(reason)
    }

    async fn write_turn(&self, turn: Turn, next: Next) -> Outcome {
        let Turn { reply, mut row, appointment, .. } = turn;
        let mut visit = next.visit;
        visit.acting = None;
        visit.handled = Some(Handled { message: reply.text.id, answer: reply.answer.clone() });
        next.state.code().clone_into(&mut row.state);
        row.data = written(&visit)?;
        row.deadline = next.deadline;
        row.our_number = reply.to.our_number.as_e164().to_owned();
        row.number_token.clone_from(&reply.to.token);
        let about = row.subject.clone();
        let text =
            next.saying.map(|saying| Self::text(&reply.practice, &reply.to, row.id, saying, Some(reply.text.id)));
        let mut step = Transition::to(row, &self.instruments)?;
        step.texts = self.prepare(text.into_iter().collect()).await?;
        step.tasks = next.task.map(|reason| reply.task(self, Team::Scheduling, reason, &about)).into_iter().collect();
        step.learnt = next.learnt.map(|learnt| (appointment.id.clone(), learnt));
        let replan = |visit| Replan {
            practice: Arc::clone(&reply.practice),
            instruments: self.instruments.clone(),
            appointment: appointment.id.clone(),
            patient: appointment.patient,
            visit,
        };
        step.replan = match next.reminders {
            Reminders::Stay => None,
            Reminders::Follow(start) => Some(replan(Some(start))),
            Reminders::Drop => Some(replan(None)),
        };
        self.commit(step).await
    }
}

impl From<&AppointmentState> for Learnt {
    fn from(current: &AppointmentState) -> Self {
        Self { start: current.start, end: Some(current.end), status: Some(current.status.clone()), own_version: None }
    }
}

/// Why a person has to look, as far as the answer tells.
fn handed_over_for(answer: &Answer) -> TaskReason {
    use crate::intent::Intent;
    if answer.wants_another_time() {
        TaskReason::Reschedule
    } else if answer.says(Intent::Cancel) {
        TaskReason::Cancel
    } else {
        TaskReason::NotUnderstood
    }
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, JobError> {
    serde_json::from_str(json).map_err(|_| JobError::dead("stored-value"))
}

pub(super) fn written(value: &impl serde::Serialize) -> Result<String, JobError> {
    serde_json::to_string(value).map_err(|_| JobError::dead("stored-value"))
}
