//! Refills: a notice once per due date, YES asks the prescriber, and what they decide is texted back.
//!
//! Always: the prescriber is asked once for a due date, however many answers come and whoever acts on them: an answer
//! claims the workflow first, and the request carries the workflow's id into the EHR.

use super::{
    RefillDue, RefillTaskChanged, Workflow, Workflows,
    answer::{Reply, parsed, written},
    ports::{RefillStatus, RefillWish, RequestOutcome},
    store::{REFILL, Transition, WorkflowRow},
    texts::{Reach, Recipient, Saying, plain},
    visit::Handled,
};
use crate::{
    access::Team,
    consent::Category,
    db::{Command, DbError, Tx, sql},
    intent::{Context, Intent},
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Patient, Tenant},
    messaging::{self, Message, gate::DropReason, state},
    practice::Practice,
    routing::{NewTask, TaskReason, open_task},
    template::TextKey,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a notice is of use, and its answer counts.
const NOTICE_STANDS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How soon a notice that runs out looks again while its answer is acted on.
const AFTER_ANSWER: SignedDuration = SignedDuration::from_secs(5);
/// How long news of a request is of use.
const NEWS_STANDS: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Where the conversation about a refill stands.
pub(super) mod stage {
    /// The notice asks.
    pub(in crate::workflow) const ASKED: &str = "asked";
    /// The prescriber has been asked.
    pub(in crate::workflow) const REQUESTED: &str = "requested";
    /// The patient wants none.
    pub(in crate::workflow) const DECLINED: &str = "declined";
    /// A person has it.
    pub(in crate::workflow) const WITH_STAFF: &str = "with-staff";
    /// Nobody answered.
    pub(in crate::workflow) const EXPIRED: &str = "expired";
    /// The patient has no notice: there was no number, or it did not arrive.
    pub(in crate::workflow) const NOT_TOLD: &str = "not-told";
}

/// What is remembered of it: ids, codes and instants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refill {
    medication_request: String,
    due_on: String,
    /// The text that asks.
    #[serde(default)]
    notice: Option<Id<Message>>,
    /// The answer that is being dealt with.
    #[serde(default)]
    pub(super) acting: Option<Id<Message>>,
    /// The answer that was dealt with last.
    #[serde(default)]
    pub(super) handled: Option<Handled>,
}

impl Refill {
    fn about(&self) -> String {
        format!("MedicationRequest/{}", self.medication_request)
    }
}

impl Workflows {
    /// Handles the job `RefillDue`.
    ///
    /// # Errors
    /// [`JobError`] as something is away.
    pub async fn refill_due(&self, job: LeasedJob) -> Outcome {
        let due: RefillDue = job.payload()?;
        let practice = self.practice(job.tenant)?;
        let (medication_request, due_on) = (due.medication_request, due.due_on);
        let mut refill = Refill { medication_request, due_on, notice: None, acting: None, handled: None };
        let subject = format!("{}@{}", refill.about(), refill.due_on);
        let known = self.db.optional(WorkflowRow::about(job.tenant, REFILL, &subject)).await?;
        let mut row = match known.as_ref().map(WorkflowRow::read).transpose()? {
            // Nobody has been told yet.
            Some(row) if row.state == stage::NOT_TOLD => row,
            Some(_) => return Ok(()),
            None => WorkflowRow::new(&practice, self.instruments.new_id(), REFILL, due.patient, subject),
        };
        let (mut texts, mut tasks) = (Vec::new(), Vec::new());
        self.scheduling.refresh_patient(job.tenant, due.patient).await?;
        match self.reach(&practice, due.patient).await? {
            Reach::On(to) => {
                let until = self.instruments.now().checked_add(NOTICE_STANDS).unwrap_or(Timestamp::MAX);
                let params = plain(&practice).phone(&practice.phone);
                let saying =
                    Saying::new(TextKey::RefillDue, params, Category::Refill).asking(Context::RefillDue, until);
                let saying = Saying { about: Some(refill.about()), ..saying.until(until) };
                texts.push(Self::text(&practice, &to, row.id, saying, None));
                stage::ASKED.clone_into(&mut row.state);
                row.deadline = Some(until);
                to.our_number.as_e164().clone_into(&mut row.our_number);
                row.number_token.clone_from(&to.token);
            }
            Reach::NoNumber => {
                stage::NOT_TOLD.clone_into(&mut row.state);
                let key = format!("no-number:{}", row.subject);
                let reason = (Team::Pharmacy, TaskReason::NoNumber);
                tasks.push(self.task(&practice, reason, due.patient, refill.about(), key));
            }
            Reach::Nobody => return Ok(()),
        }
        let texts = self.prepare(texts).await?;
        refill.notice = texts.first().map(|text| text.id);
        row.data = written(&refill)?;
        let notice = Notice { patient: due.patient, refill, task: None };
        let mut step = Transition::to(row, &self.instruments)?;
        step.texts = texts;
        step.tasks = tasks;
        self.commit(RefillStep { step, notice }).await
    }

    /// An answer to a notice.
    pub(super) async fn refill_answered(&self, workflow: Id<Workflow>, reply: Reply) -> Outcome {
        let Some(mut row) = self.claim(workflow, &reply).await? else { return Ok(()) };
        let mut refill: Refill = parsed(&row.data)?;
        refill.acting = None;
        refill.handled = Some(Handled { message: reply.text.id, answer: reply.answer.clone() });
        row.data = written(&refill)?;
        row.deadline = None;
        if !is_answerable(&row.state) {
            let mut step = Transition::to(row, &self.instruments)?;
            step.tasks = vec![reply.task(self, Team::Nursing, TaskReason::NotUnderstood, &refill.about())];
            return self.commit(step).await;
        }
        let notice = |task| Notice { patient: row.patient, refill: refill.clone(), task };
        if !reply.answer.says(Intent::Refill) {
            let notice = notice(None);
            stage::DECLINED.clone_into(&mut row.state);
            let mut step = Transition::to(row, &self.instruments)?;
            step.closes_questions = true;
            return self.commit(RefillStep { step, notice }).await;
        }
        let wish = RefillWish {
            tenant: row.tenant,
            workflow: row.id,
            patient: row.patient,
            medication_request: &refill.medication_request,
            due_on: &refill.due_on,
        };
        let failed = match self.refills.request_refill(wish).await {
            RequestOutcome::Requested { task } => {
                let notice = notice(Some(task));
                let saying = Saying::new(TextKey::RefillSent, plain(&reply.practice), Category::Refill);
                stage::REQUESTED.clone_into(&mut row.state);
                return self.answer_refill(row, &reply, saying, None, notice).await;
            }
            RequestOutcome::Refused { .. } => TaskReason::EhrRefused,
            RequestOutcome::Unavailable { .. } | RequestOutcome::Unknown if reply.last_attempt => {
                TaskReason::EhrUnknown
            }
            RequestOutcome::Unavailable { retry_after } => {
                return Err(JobError::Retry { code: "ehr-unavailable", after: retry_after });
            }
            RequestOutcome::Unknown => return Err(JobError::retry("ehr-unknown")),
        };
        let notice = notice(None);
        stage::WITH_STAFF.clone_into(&mut row.state);
        let saying = self.person(&reply.practice, Category::Refill);
        let task = reply.task(self, Team::Pharmacy, failed, &refill.about());
        self.answer_refill(row, &reply, saying, Some(task), notice).await
    }

    async fn answer_refill(
        &self,
        row: WorkflowRow,
        reply: &Reply,
        saying: Saying,
        task: Option<NewTask>,
        notice: Notice,
    ) -> Outcome {
        let until = self.instruments.now().checked_add(NEWS_STANDS).unwrap_or(Timestamp::MAX);
        let expires = saying.expires.or(Some(until));
        let saying = Saying { about: Some(notice.refill.about()), expires, ..saying };
        let text = Self::text(&reply.practice, &reply.to, row.id, saying, Some(reply.text.id));
        let mut step = Transition::to(row, &self.instruments)?;
        step.closes_questions = true;
        step.texts = self.prepare(vec![text]).await?;
        step.tasks = task.into_iter().collect();
        self.commit(RefillStep { step, notice }).await
    }

    /// Nobody answered the notice.
    pub(super) async fn refill_expired(&self, mut row: WorkflowRow) -> Outcome {
        if parsed::<Refill>(&row.data)?.acting.is_some() {
            let until = self.instruments.now().checked_add(AFTER_ANSWER).unwrap_or(Timestamp::MAX);
            return Err(JobError::Postpone { code: "workflow-busy", until });
        }
        stage::EXPIRED.clone_into(&mut row.state);
        row.deadline = None;
        let mut step = Transition::to(row, &self.instruments)?;
        step.closes_questions = true;
        self.commit(step).await
    }

    /// A text has changed: a notice that did not reach the patient asks nothing any more.
    pub(super) async fn notice_changed(&self, tenant: Id<Tenant>, message: Id<Message>) -> Outcome {
        let query =
            sql("SELECT m.workflow FROM message m JOIN workflow w ON w.tenant = m.tenant AND w.id = m.workflow \
             WHERE m.tenant = $1 AND m.id = $2 AND m.state IN ($3, $4, $5) AND w.kind = $6 AND w.state = $7 \
             AND (m.state_reason IS NULL OR m.state_reason <> $8)");
        let query = query.bind(tenant).bind(message).bind(state::UNDELIVERED).bind(state::FAILED).bind(state::DROPPED);
        let query = query.bind(REFILL).bind(stage::ASKED).bind(DropReason::SentBefore.code());
        let Some(found) = self.db.optional(query).await? else { return Ok(()) };
        let row = self.db.one(WorkflowRow::with_id(tenant, found.get("workflow")?)).await?;
        let mut row = WorkflowRow::read(&row)?;
        let refill: Refill = parsed(&row.data)?;
        // Who answers it has read it; and the notice may be another one by now.
        if refill.acting.is_some() || refill.notice.is_some_and(|notice| notice != message) {
            return Ok(());
        }
        stage::NOT_TOLD.clone_into(&mut row.state);
        row.deadline = None;
        let mut step = Transition::to(row, &self.instruments)?;
        step.closes_questions = true;
        self.commit(step).await
    }

    /// Handles the job `RefillTaskChanged`: texts what has been decided, once.
    ///
    /// # Errors
    /// [`JobError`] as something is away.
    pub async fn refill_task_changed(&self, job: LeasedJob) -> Outcome {
        let RefillTaskChanged { task } = job.payload()?;
        let query = sql(
            "SELECT workflow, patient, medication_request, task_status FROM refill_notice WHERE tenant = $1 AND task = $2",
        );
        let Some(notice) = self.db.optional(query.bind(job.tenant).bind(task.clone())).await? else { return Ok(()) };
        let Some(status) = self.refills.refill_status(job.tenant, &task).await? else { return Ok(()) };
        if notice.get::<Option<String>>("task_status")?.as_deref() == Some(status.code()) {
            return Ok(());
        }
        let practice = self.practice(job.tenant)?;
        let patient: Id<Patient> = notice.get("patient")?;
        let about = format!("MedicationRequest/{}", notice.get::<String>("medication_request")?);
        let mut news = NoteStatus { tenant: job.tenant, task, status, texts: Vec::new(), staff_task: None };
        if let Some(saying) = self.news(&practice, status) {
            match self.reach(&practice, patient).await? {
                Reach::On(to) => {
                    let to: Recipient = *to;
                    let saying = Saying { about: Some(about), ..saying };
                    let text = Self::text(&practice, &to, notice.get("workflow")?, saying, None);
                    news.texts = self.prepare(vec![text]).await?;
                }
                Reach::NoNumber => {
                    let key = format!("no-number:{}:{}", news.task, status.code());
                    let reason = (Team::Pharmacy, TaskReason::NoNumber);
                    news.staff_task = Some(self.task(&practice, reason, patient, about, key));
                }
                Reach::Nobody => {}
            }
        }
        Ok(self.db.execute(news).await?)
    }

    fn news(&self, practice: &Practice, status: RefillStatus) -> Option<Saying> {
        let (key, params) = match status {
            RefillStatus::Open => return None,
            RefillStatus::Approved => (TextKey::RefillApproved, plain(practice)),
            RefillStatus::Ready => (TextKey::RefillReady, plain(practice)),
            RefillStatus::Declined => (TextKey::RefillDeclined, plain(practice).phone(&practice.phone)),
        };
        let until = self.instruments.now().checked_add(NEWS_STANDS).unwrap_or(Timestamp::MAX);
        Some(Saying::new(key, params, Category::Refill).until(until))
    }
}

/// Whether an answer counts: the question was open when it came, whatever has become of the notice meanwhile.
fn is_answerable(state: &str) -> bool {
    matches!(state, stage::ASKED | stage::EXPIRED | stage::NOT_TOLD)
}

/// What is kept of a notice beside its workflow: by it the EHR's task finds its way back.
#[derive(Clone)]
struct Notice {
    patient: Id<Patient>,
    refill: Refill,
    task: Option<String>,
}

/// A step of a refill with its notice.
struct RefillStep {
    step: Transition,
    notice: Notice,
}

impl Command for RefillStep {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        if !self.step.run(tx).await? {
            return Ok(false);
        }
        let Notice { patient, refill, task } = &self.notice;
        tx.execute(
            sql("INSERT INTO refill_notice (tenant, medication_request, due_on, patient, workflow, task, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, medication_request, due_on) DO UPDATE SET \
                 task = COALESCE(excluded.task, refill_notice.task)")
            .bind(self.step.row.tenant)
            .bind(refill.medication_request.clone())
            .bind(refill.due_on.clone())
            .bind(*patient)
            .bind(self.step.row.id)
            .bind(task.clone())
            .bind(self.step.now),
        )
        .await?;
        Ok(true)
    }
}

/// Notes how a request stands now, and queues what is told of it, unless that was done already.
struct NoteStatus {
    tenant: Id<Tenant>,
    task: String,
    status: RefillStatus,
    texts: Vec<messaging::PreparedText>,
    staff_task: Option<NewTask>,
}

impl Command for NoteStatus {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let noted = tx
            .execute(
                sql("UPDATE refill_notice SET task_status = $3 WHERE tenant = $1 AND task = $2 AND (task_status IS NULL OR task_status <> $3)")
                    .bind(self.tenant)
                    .bind(self.task.clone())
                    .bind(self.status.code()),
            )
            .await?;
        if noted == 0 {
            return Ok(());
        }
        if let Some(task) = &self.staff_task {
            open_task(tx, task).await?;
        }
        for text in &self.texts {
            messaging::queue(tx, text).await?;
        }
        Ok(())
    }
}
