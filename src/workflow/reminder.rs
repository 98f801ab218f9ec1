//! Reminders: when one is due it leaves as one text for the patient's visits of that day; C confirms.

use super::{
    ReminderDue, Workflows,
    answer::{Next, Turn, parsed, written},
    plan::{PlanState, Verdict, verdict},
    plan_store::{end_plan, plans_of, read_plan},
    ports::{ChangeOutcome, VisitChange},
    relevance::AppointmentRelevance,
    store::{Appointment, Learnt, Transition, VISIT, WorkflowRow},
    texts::{Reach, Recipient, Saying, answerable_until, plain},
    visit::{Beside, Visit, VisitState},
};
use crate::{
    access::Team,
    consent::Category,
    db::{Command, DbError, Tx, sql},
    intent::Context,
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Patient, Phi, Tenant},
    practice::Practice,
    routing::{NewTask, TaskReason, open_task},
    template::{self, Params, TextKey},
};
use jiff::{SignedDuration, Timestamp};

/// How soon a reminder looks again when the patient is just being answered.
const AFTER_ANSWER: SignedDuration = SignedDuration::from_secs(5);

/// A visit that is to be reminded of now.
struct DueVisit {
    appointment: Appointment,
    due: ReminderDue,
    planned_for: Timestamp,
    expires: Timestamp,
}

impl Workflows {
    /// Handles [`super::REMINDER_DUE`].
    ///
    /// # Errors
    /// [`JobError::Postpone`] while it is too early or the patient is choosing a time; otherwise as something is away.
    pub async fn reminder_due(&self, job: LeasedJob) -> Outcome {
        let due: ReminderDue = job.payload()?;
        let practice = self.practice(job.tenant)?;
        let Some(first) = self.due_visit(&practice, due).await? else { return Ok(()) };
        let row = WorkflowRow::about(job.tenant, VISIT, &Appointment::reference(&first.appointment.id));
        let Some(row) = self.db.optional(row).await? else { return Err(JobError::retry("workflow-missing")) };
        let row = WorkflowRow::read(&row)?;
        let visit: Visit = parsed(&row.data)?;
        if let Some(until) = self.busy_until(&row, &visit) {
            return Err(JobError::Postpone { code: "in-conversation", until });
        }
        match self.reach(&practice, first.appointment.patient).await? {
            Reach::On(to) => self.remind(&practice, row, visit, first, &to).await,
            Reach::NoNumber => {
                let DueVisit { appointment, .. } = &first;
                let task = no_number_task(self, &practice, appointment.patient, &appointment.id, appointment.start);
                self.end(job.tenant, first.due, PlanState::Skipped, "no-number", Some(task)).await
            }
            Reach::Nobody => self.end(job.tenant, first.due, PlanState::Dropped, "nobody", None).await,
        }
    }

    /// While the patient chooses a time or is answered, a reminder would talk across.
    fn busy_until(&self, row: &WorkflowRow, visit: &Visit) -> Option<Timestamp> {
        let now = self.instruments.now();
        let choosing = matches!(
            VisitState::from_code(&row.state),
            Some(VisitState::Offered | VisitState::CancelAsked | VisitState::Requested)
        );
        if visit.acting.is_some() {
            return now.checked_add(AFTER_ANSWER).ok();
        }
        row.deadline.filter(|deadline| choosing && *deadline > now)
    }

    /// The visit, if its reminder leaves now; otherwise notes what becomes of the reminder.
    async fn due_visit(&self, practice: &Practice, due: ReminderDue) -> Result<Option<DueVisit>, JobError> {
        let rows = self.db.all(plans_of(practice.tenant, &due.appointment)).await?;
        let plans = rows.iter().map(read_plan).collect::<Result<Vec<_>, DbError>>()?;
        let is_it = |plan: &&super::plan::Plan| {
            plan.start.as_millisecond() == due.start_at && plan.days_before == due.days_before
        };
        let Some(plan) = plans.iter().find(is_it).filter(|plan| plan.state == PlanState::Planned) else {
            return Ok(None);
        };
        let row = self.db.optional(Appointment::with_id(practice.tenant, &due.appointment)).await?;
        let Some(appointment) = row.as_ref().map(Appointment::read).transpose()? else {
            self.end(practice.tenant, due, PlanState::Dropped, "appointment-gone", None).await?;
            return Ok(None);
        };
        let judge = |visit| verdict(plan, &plans, visit, self.instruments.now());
        let mut appointment = appointment;
        let mut judged = judge(appointment.visit());
        if matches!(judged, Verdict::Send { .. }) {
            // What we know may be minutes old, or of a visit that a poll does not show any more (law 12).
            self.scheduling.refresh(practice.tenant, &due.appointment).await?;
            let row = self.db.one(Appointment::with_id(practice.tenant, &due.appointment)).await?;
            appointment = Appointment::read(&row)?;
            judged = judge(appointment.visit());
        }
        match judged {
            Verdict::Send { expires } => Ok(Some(DueVisit { appointment, due, planned_for: plan.due, expires })),
            Verdict::Wait(until) => Err(JobError::Postpone { code: "not-yet", until }),
            Verdict::End(state, reason) => {
                self.end(practice.tenant, due, state, reason, None).await?;
                Ok(None)
            }
        }
    }

    async fn end(
        &self,
        tenant: Id<Tenant>,
        due: ReminderDue,
        state: PlanState,
        reason: &'static str,
        task: Option<NewTask>,
    ) -> Outcome {
        Ok(self.db.execute(EndPlan { tenant, due, state, reason, task }).await?)
    }

    /// The patient's other visits whose reminder falls due at the same instant: the same day, the same rule.
    async fn due_beside(&self, practice: &Practice, first: &DueVisit) -> Result<Vec<DueVisit>, JobError> {
        let query = sql("SELECT o.appointment, o.start_at FROM reminder_plan o JOIN reminder_plan p \
             ON p.tenant = o.tenant AND p.patient = o.patient AND p.due_at = o.due_at AND p.days_before = o.days_before \
             WHERE p.tenant = $1 AND p.appointment = $2 AND p.start_at = $3 AND p.days_before = $4 \
             AND o.state = 'planned' AND o.appointment <> p.appointment ORDER BY o.start_at, o.appointment");
        let query = query
            .bind(practice.tenant)
            .bind(first.due.appointment.clone())
            .bind(first.due.start_at)
            .bind(first.due.days_before);
        let mut beside = Vec::new();
        for row in self.db.all(query).await? {
            let due = ReminderDue {
                appointment: row.get("appointment")?,
                start_at: row.get("start_at")?,
                days_before: first.due.days_before,
            };
            beside.extend(self.due_visit(practice, due).await?);
        }
        Ok(beside)
    }

    async fn remind(
        &self,
        practice: &Practice,
        mut row: WorkflowRow,
        mut visit: Visit,
        first: DueVisit,
        to: &Recipient,
    ) -> Outcome {
        let others = self.due_beside(practice, &first).await?;
        let saying = self.reminder(practice, &first, &others, to).await?;
        let beside =
            |other: &DueVisit| Beside { appointment: other.appointment.id.clone(), start: other.appointment.start };
        visit.together = others.iter().map(beside).collect();
        visit.forget_offers();
        VisitState::Asked.code().clone_into(&mut row.state);
        row.data = written(&visit)?;
        row.deadline = None;
        row.our_number = to.our_number.as_e164().to_owned();
        row.number_token.clone_from(&to.token);
        let text = Self::text(practice, to, row.id, saying, None);
        let mut step = Transition::to(row, &self.instruments)?;
        step.texts = self.prepare(vec![text]).await?;
        step.reminds = std::iter::once(first.due).chain(others.into_iter().map(|other| other.due)).collect();
        self.commit(step).await
    }

    async fn reminder(
        &self,
        practice: &Practice,
        first: &DueVisit,
        others: &[DueVisit],
        to: &Recipient,
    ) -> Result<Saying, JobError> {
        let start = first.appointment.start;
        let provider = self.labels(practice, &first.appointment).await?.provider;
        let (key, params) = if others.is_empty() {
            let params = plain(practice).first(to.first.as_ref()).when(start).provider(provider.as_ref());
            (TextKey::Reminder, params)
        } else {
            let mut visits = vec![template::Visit { at: start, provider }];
            for other in others {
                let provider = self.labels(practice, &other.appointment).await?.provider;
                visits.push(template::Visit { at: other.appointment.start, provider });
            }
            visits.sort_by_key(|visit| visit.at);
            (TextKey::ReminderMany, plain(practice).first(to.first.as_ref()).visits(&visits))
        };
        let version = AppointmentRelevance::together(
            start,
            others.iter().map(|other| (other.appointment.id.as_str(), other.appointment.start)),
        );
        let all = || std::iter::once(first).chain(others);
        let expires = all().map(|visit| visit.expires).min().unwrap_or(first.expires);
        let asks_until = all().map(|visit| answerable_until(visit.appointment.start)).max();
        Ok(Saying::new(key, params, Category::Appointment)
            .about(&first.appointment.id, version)
            .asking(Context::AppointmentReminder, asks_until.unwrap_or(start))
            .planned_for(first.planned_for)
            .until(expires))
    }

    /// C: the EHR notes it, then the patient is told.
    pub(super) async fn confirm(&self, turn: &Turn) -> Result<Next, JobError> {
        for other in &turn.visit.together {
            let current = match self.scheduling.current(turn.tenant(), &other.appointment).await {
                Ok(current) => current,
                Err(trouble) => return self.troubled(turn, trouble),
            };
            let as_told = current
                .is_some_and(|current| current.is_on() && current.start == other.start && current.start > turn.now);
            if !as_told {
                return Ok(self.hand_over(turn, TaskReason::Reschedule));
            }
            let change = VisitChange { appointment: &other.appointment, start: other.start, ..turn.change() };
            match self.scheduling.confirm_appointment(change).await {
                ChangeOutcome::Done { .. } => {}
                failed => return self.not_changed(turn, &failed),
            }
        }
        match self.scheduling.confirm_appointment(turn.change()).await {
            ChangeOutcome::Done { version } => {
                let start = turn.visit.start;
                let learnt = Learnt { start, end: None, status: None, own_version: version };
                Ok(Next::new(turn, VisitState::Confirmed).saying(stands(turn, TextKey::Confirmed)).learnt(learnt))
            }
            failed => self.not_changed(turn, &failed),
        }
    }

    /// What follows when the EHR has not done it.
    pub(super) fn not_changed(&self, turn: &Turn, outcome: &ChangeOutcome) -> Result<Next, JobError> {
        match outcome {
            ChangeOutcome::Refused { .. } => Ok(self.hand_over(turn, TaskReason::EhrRefused)),
            ChangeOutcome::Unavailable { retry_after } => self.later(turn, *retry_after),
            // Read again first: it may have happened, or be another visit by now.
            ChangeOutcome::AppointmentChanged | ChangeOutcome::Unknown | ChangeOutcome::Done { .. } => {
                self.later(turn, None)
            }
        }
    }
}

/// The visit stands as it is; R still changes it.
pub(super) fn stands(turn: &Turn, key: TextKey) -> Saying {
    let start = turn.visit.start;
    let params: Params = plain(&turn.reply.practice).when(start);
    Saying::new(key, params, Category::Appointment)
        .about(&turn.appointment.id, AppointmentRelevance::version(start))
        .asking(Context::AppointmentReminder, answerable_until(start))
        .until(start)
}

/// The text that tells when and where the visit is now. `place`: only where that has changed.
pub(super) fn changed(
    practice: &Practice,
    to: &Recipient,
    appointment: &str,
    (start, version): (Timestamp, String),
    provider: Option<&Phi<String>>,
    place: Option<&Phi<String>>,
) -> Saying {
    let params = plain(practice).first(to.first.as_ref()).when(start).provider(provider).place(place);
    Saying::new(TextKey::Changed, params, Category::Appointment)
        .about(appointment, version)
        .asking(Context::AppointmentReminder, answerable_until(start))
        .until(start)
}

/// The same task, whichever reminder finds it.
pub(super) fn no_number_task(
    flows: &Workflows,
    practice: &Practice,
    patient: Id<Patient>,
    appointment: &str,
    start: Timestamp,
) -> NewTask {
    let about = Appointment::reference(appointment);
    let key = format!("no-number:{about}:{}", start.as_millisecond());
    flows.task(practice, (Team::Scheduling, TaskReason::NoNumber), patient, about, key)
}

/// Ends a planned reminder without a text.
struct EndPlan {
    tenant: Id<Tenant>,
    due: ReminderDue,
    state: PlanState,
    reason: &'static str,
    task: Option<NewTask>,
}

impl Command for EndPlan {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let ended = end_plan(tx, self.tenant, &self.due, self.state, Some(self.reason), None).await?;
        if let Some(task) = self.task.as_ref().filter(|_| ended) {
            open_task(tx, task).await?;
        }
        Ok(())
    }
}
