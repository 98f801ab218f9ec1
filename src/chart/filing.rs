//! Files the texts of a conversation, oldest first.

use super::{
    FILE_CONVERSATION,
    communication::{self, Parties},
};
use crate::{
    access::{StaffDirectory, Team},
    audit::Actor,
    db::{Command, Db, DbError, Topic, Tx, sql},
    ehr::{Ehr, EhrError, Ehrs, Ledger, WriteIntent, WrittenRef},
    fhir::{PatchOperation, ResourceRef, views::CommunicationView},
    intent::Urgency,
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Patient, Tenant, about_text},
    messaging::{
        self, AboutText, Author, Conversation, Message,
        thread::{Reader, TextRecord, Thread},
    },
    patient::Directory,
    routing::{NewTask, StaffTask, TaskReason, open_task},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::Instrument as _;

/// How soon a conversation is looked at again whose next text is still leaving.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// How often filing is tried: a week with the worker's longest pause.
const ATTEMPTS: u32 = 1000;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct AboutConversation {
    conversation: Id<Conversation>,
}

/// Files texts.
#[derive(Clone)]
pub struct Filing {
    db: Db,
    instruments: Instruments,
    ehrs: Ehrs,
    ledger: Ledger,
    thread: Thread,
    directory: Directory,
    staff: StaffDirectory,
}

/// A text, and what the chart shows of it.
struct Due {
    message: Id<Message>,
    state: String,
    filed: Option<Filed>,
}

struct Filed {
    reference: String,
}

impl Filing {
    /// Over these rooms.
    #[must_use]
    pub const fn new(
        db: Db,
        instruments: Instruments,
        ehrs: Ehrs,
        ledger: Ledger,
        thread: Thread,
        directory: Directory,
        staff: StaffDirectory,
    ) -> Self {
        Self { db, instruments, ehrs, ledger, thread, directory, staff }
    }

    /// Handles [`messaging::TEXT_CHANGED`]: the text's conversation is filed anew. One job a conversation, so that its
    /// texts stay in order.
    ///
    /// # Errors
    /// [`JobError`] when the database is away.
    pub async fn changed(&self, job: LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let Some(text) = self.thread.find(job.tenant, message).await? else { return Ok(()) };
        // Whose chart it belongs into must be known first; assigning the text changes it again.
        let (Some(conversation), Some(_)) = (text.conversation, text.patient) else { return Ok(()) };
        let file = NewJob::new(&self.instruments, job.tenant, FILE_CONVERSATION, &AboutConversation { conversation })?
            .unique(conversation.to_string())
            .attempts(ATTEMPTS);
        self.db.execute(Enqueue { file, done: job }).await?;
        Ok(())
    }

    /// Handles [`FILE_CONVERSATION`].
    ///
    /// # Errors
    /// [`JobError`] when the EHR is away or a text is still leaving; what is filed stays filed.
    pub async fn file(&self, job: LeasedJob) -> Outcome {
        let AboutConversation { conversation } = job.payload()?;
        let ehr = self.ehrs.of(job.tenant)?;
        for due in self.due(job.tenant, conversation).await? {
            if due.state == messaging::state::SENDING {
                let until = self.instruments.now().checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                return Err(JobError::Postpone { code: "text-leaving", until });
            }
            match self.file_text((&ehr, &job), &due).instrument(about_text("file", due.message)).await {
                Ok(()) => {}
                Err(error) => self.reject((&ehr, &job), &due, error).await?,
            }
        }
        Ok(())
    }

    /// One text that the EHR will not take does not keep the others out of the chart: people see to it.
    async fn reject(&self, (ehr, job): (&Ehr, &LeasedJob), due: &Due, error: EhrError) -> Result<(), JobError> {
        let code = match error {
            EhrError::Refused { code } => code,
            EhrError::NotFound => "ehr-not-found",
            EhrError::Unreadable => "ehr-unreadable",
            error => return Err(error.into()),
        };
        metrics::counter!("chartwire_filing_rejected_total").increment(1);
        Ok(self.note((ehr, job), due, None, Some(code)).await?)
    }

    /// The texts that the chart does not show as they are, in the order in which they came and left: one may have waited
    /// for the gate.
    async fn due(&self, tenant: Id<Tenant>, conversation: Id<Conversation>) -> Result<Vec<Due>, DbError> {
        let rows = self
            .db
            .all(
                sql("SELECT m.id, m.state, f.reference FROM message m \
                     LEFT JOIN chart_filing f ON f.tenant = m.tenant AND f.message = m.id \
                     WHERE m.tenant = $1 AND m.conversation = $2 AND m.state NOT IN ('received', 'queued') \
                     AND (m.state <> 'dropped' OR f.reference IS NOT NULL) \
                     AND (f.state IS NULL OR f.state <> m.state) ORDER BY COALESCE(m.received_at, m.sent_at, \
                     (SELECT MAX(a.committed_at) FROM attempt a WHERE a.tenant = m.tenant AND a.message = m.id), m.created_at), m.id")
                .bind(tenant)
                .bind(conversation),
            )
            .await?;
        rows.iter()
            .map(|row| {
                let reference: Option<String> = row.get("reference")?;
                Ok(Due {
                    message: row.get("id")?,
                    state: row.get("state")?,
                    filed: reference.map(|reference| Filed { reference }),
                })
            })
            .collect()
    }

    async fn file_text(&self, (ehr, job): (&Ehr, &LeasedJob), due: &Due) -> Result<(), EhrError> {
        let Some(text) = self.thread.find(ehr.tenant, due.message).await.map_err(unreadable)? else { return Ok(()) };
        let written = match &due.filed {
            Some(filed) => self.update((ehr, job), &text, filed).await?,
            None => self.create((ehr, job), &text).await?,
        };
        self.note((ehr, job), due, Some(written), None).await
    }

    async fn create(&self, (ehr, job): (&Ehr, &LeasedJob), text: &TextRecord) -> Result<WrittenRef, EhrError> {
        let parties = self.parties(ehr, text).await?;
        let reader = Reader { actor: Actor::System("chart"), purpose: "filing", request: None };
        let words = self.thread.open(ehr.tenant, &[text], &reader).await.map_err(unreadable)?;
        let words = words.first().ok_or(EhrError::Unreadable)?;
        let body = communication::communication(text, words.as_str(), &parties);
        let intent = intent(job, communication::identifier(text));
        if let Some(carrier_id) = &text.carrier_id
            && let Some(found) = self.filed_before_restore(ehr, carrier_id).await?
        {
            return self.update((ehr, job), text, &Filed { reference: found.reference }).await;
        }
        let begun = self.ledger.was_begun(&intent).await?;
        let written = self.ledger.create(ehr, &intent, "Communication", &body).await?;
        metrics::counter!("chartwire_texts_filed_total").increment(1);
        if begun {
            // What is there may be the text as it was when that was tried, and it has come further meanwhile.
            return self.update((ehr, job), text, &Filed { reference: written.reference }).await;
        }
        Ok(written)
    }

    /// A text that came in or left after the backup that the database was put back from stands here under another id, but
    /// the carrier's is the same.
    async fn filed_before_restore(&self, ehr: &Ehr, carrier_id: &str) -> Result<Option<WrittenRef>, EhrError> {
        let identifier = (communication::CARRIER_MESSAGE, carrier_id);
        self.ledger.written_before_restore(ehr, "Communication", identifier).await
    }

    /// Brings a filed text up to date: read, compare, and change only what differs.
    async fn update(
        &self,
        (ehr, job): (&Ehr, &LeasedJob),
        text: &TextRecord,
        filed: &Filed,
    ) -> Result<WrittenRef, EhrError> {
        let target: ResourceRef = filed.reference.parse().map_err(|_| EhrError::Unreadable)?;
        let (status, reason) = communication::status(text);
        let resource = ehr.client.read(&target).await?;
        let current = CommunicationView::read(&resource)?;
        let intent = intent(job, format!("{} {status}", communication::identifier(text)));
        let shown = serde_json::to_value(current.status).ok();
        if shown.as_ref().and_then(|shown| shown.as_str()) == Some(status) {
            let version = current.version.map(|version| version.as_str().to_owned());
            let written = WrittenRef { reference: filed.reference.clone(), version };
            self.ledger.shown(&intent, &written).await?;
            return Ok(written);
        }
        let mut operations = vec![PatchOperation::Replace { path: "/status".to_owned(), value: json!(status) }];
        if let Some(code) = reason {
            let value = communication::status_reason(code);
            operations.push(PatchOperation::Add { path: "/statusReason".to_owned(), value });
        }
        if let Some(delivered) = text.delivered_at {
            let value = communication::instant(delivered);
            operations.push(PatchOperation::Add { path: "/received".to_owned(), value });
        }
        self.ledger.edit(ehr, &intent, &resource, &operations).await
    }

    async fn parties(&self, ehr: &Ehr, text: &TextRecord) -> Result<Parties, EhrError> {
        let patient = text.patient.ok_or(EhrError::Unreadable)?;
        let patient = self.directory.by_id(ehr.tenant, patient).await.map_err(unreadable)?;
        let patient = patient.ok_or(EhrError::Unreadable)?;
        let writer = match text.author {
            Author::Staff(id) => Some(self.staff.fhir_user(ehr.tenant, id).await.map_err(unreadable)?),
            Author::System | Author::Patient => None,
        };
        let answers = match text.in_response_to {
            Some(message) => self.reference_of(ehr.tenant, message).await?,
            None => None,
        };
        Ok(Parties {
            patient: format!("Patient/{}", patient.fhir_id),
            practice: writer.or_else(|| ehr.organization.clone()),
            answers,
        })
    }

    async fn reference_of(&self, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<String>, DbError> {
        let query = sql("SELECT reference FROM chart_filing WHERE tenant = $1 AND message = $2");
        let row = self.db.optional(query.bind(tenant).bind(message)).await?;
        Ok(row.map(|row| row.get("reference")).transpose()?.flatten())
    }

    async fn note(
        &self,
        (ehr, job): (&Ehr, &LeasedJob),
        due: &Due,
        written: Option<WrittenRef>,
        code: Option<&'static str>,
    ) -> Result<(), EhrError> {
        let command = NoteFiled {
            job: job.clone(),
            tenant: ehr.tenant,
            message: due.message,
            state: due.state.clone(),
            written,
            code,
            task: self.instruments.new_id(),
            now: self.instruments.now(),
        };
        Ok(self.db.execute(command).await?)
    }
}

/// A conversation's texts are written by its one job.
fn intent(job: &LeasedJob, words: String) -> WriteIntent {
    WriteIntent { tenant: job.tenant, words, sole_writer: Some(job.clone()) }
}

fn unreadable<E: std::error::Error + 'static>(error: E) -> EhrError {
    tracing::error!(error = &error as &dyn std::error::Error, "a text cannot be filed yet");
    EhrError::Unavailable { code: "text-not-readable", retry_after: None }
}

struct Enqueue {
    file: NewJob,
    done: LeasedJob,
}

impl Command for Enqueue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.file).await?;
        self.done.finish_in(tx).await
    }
}

struct NoteFiled {
    /// Who lost it meanwhile has nothing to say about the chart any more.
    job: LeasedJob,
    tenant: Id<Tenant>,
    message: Id<Message>,
    state: String,
    written: Option<WrittenRef>,
    code: Option<&'static str>,
    /// The id of the work for people, where the EHR would not take the text.
    task: Id<StaffTask>,
    now: Timestamp,
}

impl Command for NoteFiled {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        if !self.job.is_held_in(tx).await? {
            return Err(DbError::NotFound);
        }
        tx.execute(
            sql("INSERT INTO chart_filing (tenant, message, reference, version, state, code, filed_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (tenant, message) DO UPDATE SET reference = COALESCE(excluded.reference, chart_filing.reference), \
                 version = COALESCE(excluded.version, chart_filing.version), state = excluded.state, code = excluded.code, filed_at = excluded.filed_at")
            .bind(self.tenant)
            .bind(self.message)
            .bind(self.written.as_ref().map(|written| written.reference.clone()))
            .bind(self.written.as_ref().and_then(|written| written.version.clone()))
            .bind(self.state.clone())
            .bind(self.code)
            .bind(self.now),
        )
        .await?;
        let patient: Option<Id<Patient>> = tx
            .one(sql("SELECT patient FROM message WHERE tenant = $1 AND id = $2").bind(self.tenant).bind(self.message))
            .await?
            .get("patient")?;
        if self.code.is_some() {
            open_task(tx, &self.not_filed(patient)).await?;
        }
        if let Some(patient) = patient {
            tx.publish(Topic::Thread, format!("{}/{patient}", self.tenant));
        }
        Ok(())
    }
}

impl NoteFiled {
    fn not_filed(&self, patient: Option<Id<Patient>>) -> NewTask {
        NewTask {
            id: self.task,
            tenant: self.tenant,
            patient,
            message: Some(self.message),
            team: Team::Management,
            reason: TaskReason::NotFiled,
            urgency: Urgency::Routine,
            about: None,
            unique_key: format!("not-filed:{}", self.message),
            now: self.now,
        }
    }
}
