//! Reads one inbound text: handles the job `TextReceived`.

use super::{
    NewTask, REPLY_READ, StaffTask,
    asked::{asked_language, offered_times},
    compliance::Wish,
    open_task,
    triage::{Route, disputes_number, route},
    whose::whose,
};
use crate::{
    audit::{Actor, AuditSigner},
    consent::Category,
    db::{Command, Db, DbError, Tx, sql},
    intent::{self, Compliance, EmergencyKind, Reading, Urgency},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Language, Patient, PhoneNumber, Tenant},
    messaging::{
        self, AboutText, Author, Class, Content, FindOpenQuestion, MessagingError, NewText, OpenQuestion, Outbox,
        PreparedText, state,
        thread::{Reader, TextRecord, Thread},
    },
    patient::{Directory, PatientRecord, dispute_number},
    practice::{KeywordAnswerer, Practice, Practices},
    template::{Params, TextKey},
    vault::Vault,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// How often an unknown number is told who we are.
const INTRODUCE_EVERY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often HELP is answered to one number.
const HELP_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// An answer leaves while the patient still holds the phone, or not at all.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_mins(30);

/// Reads replies.
#[derive(Clone)]
pub struct ReplyReader {
    pub(super) db: Db,
    vault: Vault,
    pub(super) instruments: Instruments,
    practices: Arc<Practices>,
    pub(super) directory: Directory,
    pub(super) thread: Thread,
    outbox: Outbox,
}

/// An inbound text with all that its reading needs.
struct Received {
    text: TextRecord,
    practice: Arc<Practice>,
    patients: Vec<PatientRecord>,
    question: Option<OpenQuestion>,
    reading: Reading,
    language: Language,
    number: Option<PhoneNumber>,
}

impl Received {
    /// Whose text it is: the patient who was asked, if it answers the question; otherwise whoever is alone on the
    /// number. Of several nobody, and a person decides.
    fn patient(&self, route: Route) -> Option<Id<Patient>> {
        match (&self.question, self.patients.as_slice()) {
            (Some(question), _) if route == Route::Workflow => Some(question.patient),
            (_, [alone]) => Some(alone.id),
            _ => None,
        }
    }
}

impl ReplyReader {
    /// A reader over these rooms.
    #[must_use]
    pub fn new(
        db: Db,
        vault: Vault,
        instruments: Instruments,
        practices: Arc<Practices>,
        directory: Directory,
    ) -> Self {
        let thread = Thread::new(db.clone(), vault.clone(), instruments.clone());
        let outbox = Outbox::new(vault.clone(), instruments.clone());
        Self { db, vault, instruments, practices, directory, thread, outbox }
    }

    /// Reads the text, writes the reading and all that it causes.
    pub(super) async fn read_text(&self, job: LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let Some(text) = self.thread.find(job.tenant, message).await? else { return Ok(()) };
        if text.state != state::RECEIVED {
            return Ok(());
        }
        let received = self.receive(job.tenant, text).await?;
        let command = self.commit_command(job.tenant, &received, job).await?;
        if self.db.execute(command).await? { Ok(()) } else { Err(JobError::retry("question-changed")) }
    }

    async fn receive(&self, tenant: Id<Tenant>, text: TextRecord) -> Result<Received, JobError> {
        let practice = self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?;
        let patients = self.directory.with_number(tenant, &text.number_token).await?;
        let question = self.db.execute(FindOpenQuestion::about(tenant, &text)).await?;
        let stopped = self.is_stopped(tenant, &text.number_token).await?;
        let reader = Reader { actor: Actor::System("routing"), purpose: "reading-a-reply", request: None };
        let words = self.thread.open(tenant, &[&text], &reader).await?;
        let words = words.first().ok_or(MessagingError::Stored)?;
        let number = self.thread.number(tenant, &text).await?;
        let number = PhoneNumber::parse(number.as_str()).ok().filter(|_| number.as_str().starts_with('+'));
        let asked = question.as_ref().and_then(|open| patients.iter().find(|patient| patient.id == open.patient));
        let hint = asked.or(patients.first()).and_then(|patient| patient.language).unwrap_or(practice.default_language);
        let received_at = text.received_at.unwrap_or(text.created_at);
        let today = received_at.to_zoned(practice.zone.clone()).date();
        let offered = offered_times(question.as_ref(), &practice);
        let asked = intent::Question {
            context: question.as_ref().map_or(intent::Context::None, |open| open.asked.context),
            cancel_pending: question.as_ref().is_some_and(|open| open.asked.cancel_pending),
            offered: &offered,
            today,
        };
        let reading = intent::read(words.as_str(), &asked, hint, stopped);
        // The conversation keeps its language; a reply in the other one does not change what the EHR says.
        let language = asked_language(&patients, question.as_ref()).unwrap_or(reading.language);
        Ok(Received { text, practice, patients, question, reading, language, number })
    }

    async fn is_stopped(&self, tenant: Id<Tenant>, token: &[u8]) -> Result<bool, DbError> {
        let query = sql("SELECT 1 AS stopped FROM suppression WHERE tenant = $1 AND number_token = $2 AND stopped = 1");
        Ok(self.db.optional(query.bind(tenant).bind(token)).await?.is_some())
    }

    async fn commit_command(
        &self,
        tenant: Id<Tenant>,
        received: &Received,
        job: LeasedJob,
    ) -> Result<CommitReading, JobError> {
        let now = self.instruments.now();
        let signer =
            AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await.map_err(MessagingError::from)?;
        let asked = received.question.as_ref().map(|question| question.asked.context);
        let route = whose(route(&received.reading, asked), received.patients.len(), received.reading.compliance);
        let patient = received.patient(route);
        let wish = received.reading.compliance.map(|what| Wish {
            tenant,
            message: received.text.id,
            number_token: received.text.number_token.clone(),
            patients: received.patients.iter().map(|patient| patient.id).collect(),
            what,
            received_at: received.text.received_at.unwrap_or(received.text.created_at),
            carrier_answered: carrier_answers(received),
            now,
            entries: Wish::ids(&self.instruments, received.patients.len()),
            signer,
        });
        let about = |kind| NewJob::new(&self.instruments, tenant, kind, &AboutText { message: received.text.id });
        Ok(CommitReading {
            tenant,
            task: self.task(tenant, received, route, patient, now),
            answer: self.answer(tenant, received, patient, now).await?,
            reply_read: if route == Route::Workflow { Some(about(REPLY_READ)?) } else { None },
            changed: messaging::changed_job(&self.instruments, tenant, received.text.id, &received.text.number_token)?,
            conversation: self.instruments.new_id(),
            question: received.question.as_ref().map(|question| question.id),
            text: received.text.clone(),
            disputes_number: disputes_number(&received.reading),
            reading: received.reading.clone(),
            language: received.language,
            patient,
            wish,
            now,
            job,
        })
    }

    fn task(
        &self,
        tenant: Id<Tenant>,
        received: &Received,
        route: Route,
        patient: Option<Id<Patient>>,
        now: Timestamp,
    ) -> Option<NewTask> {
        let Route::Person(team, reason) = route else { return None };
        Some(NewTask {
            id: self.instruments.new_id::<StaffTask>(),
            tenant,
            patient,
            message: Some(received.text.id),
            team,
            reason,
            urgency: received.reading.urgency,
            about: None,
            unique_key: format!("reply:{}", received.text.id),
            now,
        })
    }

    /// What goes back at once: the confirmation of a keyword, the answer to an emergency, who we are.
    async fn answer(
        &self,
        tenant: Id<Tenant>,
        received: &Received,
        patient: Option<Id<Patient>>,
        now: Timestamp,
    ) -> Result<Option<Answer>, JobError> {
        let Some(number) = received.number.clone() else { return Ok(None) };
        let clinic_answers = !carrier_answers(received);
        let (key, class, limit) = match (received.reading.urgency, received.reading.compliance) {
            (Urgency::Emergency(EmergencyKind::SelfHarm), _) => (TextKey::Crisis, Class::Emergency, None),
            (Urgency::Emergency(_), _) => (TextKey::Emergency, Class::Emergency, None),
            (_, Some(Compliance::OptOut)) if clinic_answers && received.practice.confirm_stop => {
                (TextKey::Stopped, Class::StopConfirmation, None)
            }
            (_, Some(Compliance::OptIn)) if clinic_answers => (TextKey::Started, Class::OptInRequest, None),
            (_, Some(Compliance::Help)) if clinic_answers => {
                (TextKey::Help, Class::Help, Some(("helped_at", HELP_EVERY)))
            }
            (_, None) if received.patients.is_empty() => {
                (TextKey::Who, Class::UnknownSender, Some(("introduced_at", INTRODUCE_EVERY)))
            }
            _ => return Ok(None),
        };
        let practice = &received.practice;
        let our_number = PhoneNumber::parse(&received.text.our_number).map_err(|_| MessagingError::Stored)?;
        let text = NewText {
            tenant,
            patient,
            our_number,
            number,
            class,
            category: Category::Appointment,
            language: received.language,
            content: Content::Template { key, params: Box::new(service_params(key, practice)) },
            author: Author::System,
            about: None,
            about_version: None,
            workflow: None,
            question: None,
            in_response_to: Some(received.text.id),
            due_at: None,
            not_before: None,
            expires_at: now.checked_add(ANSWER_WITHIN).ok(),
            quiet_overridden: false,
        };
        Ok(Some(Answer { prepared: self.outbox.prepare(text).await?, limit }))
    }
}

/// Whether the carrier has answered the text: it answers keywords on the number that it was sent to, and the whole text
/// is one. Free wording it does not recognise.
fn carrier_answers(received: &Received) -> bool {
    let by_carrier = received
        .practice
        .numbers
        .iter()
        .any(|own| own.number.as_e164() == received.text.our_number && own.keywords == KeywordAnswerer::Carrier);
    by_carrier && received.text.state_reason.is_some()
}

/// What the texts about texting itself are filled with.
fn service_params(key: TextKey, practice: &Practice) -> Params {
    let params = Params::new(&practice.clinic_name, &practice.zone);
    match key {
        TextKey::Stopped | TextKey::Help | TextKey::Who => params.phone(&practice.phone),
        _ => params,
    }
}

/// A text that answers at once, and how often it may.
struct Answer {
    prepared: PreparedText,
    limit: Option<(&'static str, SignedDuration)>,
}

/// Writes a reading and all that it causes, in one transaction.
struct CommitReading {
    tenant: Id<Tenant>,
    text: TextRecord,
    reading: Reading,
    language: Language,
    patient: Option<Id<Patient>>,
    question: Option<Id<messaging::Question>>,
    conversation: Id<messaging::Conversation>,
    wish: Option<Wish>,
    task: Option<NewTask>,
    answer: Option<Answer>,
    reply_read: Option<NewJob>,
    /// The sender says that the number is not the patient's.
    disputes_number: bool,
    changed: NewJob,
    now: Timestamp,
    job: LeasedJob,
}

impl Command for CommitReading {
    /// Whether the question that the reading rests on was still the open one.
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        messaging::lock_line(tx, self.tenant, &self.text.number_token).await?;
        let open = FindOpenQuestion::about(self.tenant, &self.text).run(tx).await?;
        if open.map(|open| open.id) != self.question {
            return Ok(false);
        }
        messaging::mark_read(tx, self.tenant, &self.text, self.conversation, self.patient, self.language, self.now)
            .await?;
        self.keep_reading(tx).await?;
        let in_force = match &self.wish {
            Some(wish) => wish.enforce(tx).await?,
            None => true,
        };
        if let Some(task) = &self.task {
            // Before the answer that says so (law 6).
            open_task(tx, task).await?;
            if self.disputes_number {
                dispute_number(tx, self.tenant, &self.text.number_token, self.text.id).await?;
            }
        }
        if in_force
            && let Some(answer) = &self.answer
            && self.is_due(tx, answer).await?
        {
            messaging::queue(tx, &answer.prepared).await?;
        }
        if let Some(job) = &self.reply_read {
            enqueue(tx, job).await?;
        }
        enqueue(tx, &self.changed).await?;
        messaging::note_read(tx, self.tenant, &self.text.number_token, self.now).await?;
        self.job.finish_in(tx).await?;
        Ok(true)
    }
}

impl CommitReading {
    async fn keep_reading(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO reading (tenant, message, question, intents, urgency, sentiment, certain, reasons, slot, reader_version, read_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant, message) DO NOTHING")
            .bind(self.tenant)
            .bind(self.text.id)
            .bind(self.question)
            .bind(words(&self.reading.intents))
            .bind(self.reading.urgency.label())
            .bind(words(&self.reading.sentiment))
            .bind(self.reading.certainty == intent::Certainty::Certain)
            .bind(self.reading.rules.join(" "))
            .bind(self.reading.slot.as_ref().map(words))
            .bind(self.reading.reader_version)
            .bind(self.now),
        )
        .await
        .map(|_| ())
    }

    /// Whether the answer may go out again, and if so notes that it does.
    async fn is_due(&self, tx: &mut Tx, answer: &Answer) -> Result<bool, DbError> {
        let Some((column, every)) = answer.limit else { return Ok(true) };
        let text = format!(
            "UPDATE number_line SET {column} = $3 WHERE tenant = $1 AND number_token = $2 AND ({column} IS NULL OR {column} <= $4)"
        );
        let noted = tx
            .execute(
                crate::db::sql_built(text)
                    .bind(self.tenant)
                    .bind(self.text.number_token.clone())
                    .bind(self.now)
                    .bind(self.now.checked_sub(every).unwrap_or(Timestamp::MIN)),
            )
            .await?;
        Ok(noted == 1)
    }
}

/// Labels as JSON, in the vocabulary that the command line shares.
fn words(labels: &impl serde::Serialize) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}
