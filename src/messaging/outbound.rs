//! Texts on their way to the gate: sealed, committed with their job, and nothing decided yet.

use super::{Class, Conversation, Message, MessagingError, Offered, SEND_TEXT, Workflow, gate, line, state};
use crate::{
    consent::Category,
    db::{Command, DbError, Topic, Tx, sql},
    intent::Context,
    jobs::{JobError, NewJob, enqueue},
    kernel::{Id, Instruments, Language, Patient, Phi, PhoneNumber, StaffUser, Tenant},
    template::{Params, TextKey},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The program, from a template.
    System,
    /// A member of staff.
    Staff(Id<StaffUser>),
    /// The patient, or whoever holds the phone.
    Patient,
}

impl Author {
    /// The stored word: `system`, `patient` or `staff:{id}`.
    #[must_use]
    pub fn code(self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Patient => "patient".to_owned(),
            Self::Staff(id) => format!("staff:{id}"),
        }
    }

    /// The author with this stored word.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "system" => Some(Self::System),
            "patient" => Some(Self::Patient),
            _ => code.strip_prefix("staff:")?.parse().ok().map(Self::Staff),
        }
    }
}

/// What a text says.
#[derive(Debug, Clone)]
pub enum Content {
    /// A template, rendered when the gate clears it.
    Template {
        /// The template's key.
        key: TextKey,
        /// What it is filled with.
        params: Box<Params>,
    },
    /// What a member of staff wrote.
    Written(Phi<String>),
}

/// A question that a text asks; it opens when the text leaves (law 13).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewQuestion {
    /// What is asked.
    pub context: Context,
    /// A YES drops the visit.
    pub cancel_pending: bool,
    /// The times that are offered.
    pub offered: Vec<Offered>,
    /// Answers after this instant are not answers to it.
    pub expires_at: Timestamp,
}

/// A text that somebody wants to send.
#[derive(Debug, Clone)]
pub struct NewText {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// To whom, where known.
    pub patient: Option<Id<Patient>>,
    /// From which of our numbers.
    pub our_number: PhoneNumber,
    /// To which number.
    pub number: PhoneNumber,
    /// Which row of the gate's table.
    pub class: Class,
    /// What consent it needs.
    pub category: Category,
    /// In which language.
    pub language: Language,
    /// What it says.
    pub content: Content,
    /// Who wrote it.
    pub author: Author,
    /// The resource that it speaks of, as `Appointment/123`.
    pub about: Option<String>,
    /// What must still hold of that resource when the text leaves, in the words of whoever wrote it.
    pub about_version: Option<String>,
    /// The workflow that it belongs to.
    pub workflow: Option<Id<Workflow>>,
    /// The question that it asks.
    pub question: Option<NewQuestion>,
    /// The text that it answers.
    pub in_response_to: Option<Id<Message>>,
    /// The hour that was planned for it, however late it is queued.
    pub due_at: Option<Timestamp>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Stale from then on; where nobody says, [`gate::LONGEST_WAIT`] after it may leave: no text waits for ever.
    pub expires_at: Option<Timestamp>,
    /// The writer chose to send in quiet hours.
    pub quiet_overridden: bool,
}

/// How often sending is tried before its job is given up. It is the text's life that ends it: this is more tries than
/// the longest life has room for.
const SEND_ATTEMPTS: u32 = 2000;

/// A text that is sealed and can be queued in a transaction.
#[derive(Debug, Clone)]
pub struct PreparedText {
    /// The id that it will have.
    pub id: Id<Message>,
    /// The blind index of its number.
    pub number_token: Vec<u8>,
    text: NewText,
    number: Sealed,
    parameters: Option<Sealed>,
    body: Option<Sealed>,
    asks: Option<String>,
    conversation: Id<Conversation>,
    job: NewJob,
    expires_at: Timestamp,
    created_at: Timestamp,
}

/// Seals texts and queues them.
#[derive(Clone)]
pub struct Outbox {
    vault: Vault,
    instruments: Instruments,
}

impl Outbox {
    /// An outbox over this vault.
    #[must_use]
    pub const fn new(vault: Vault, instruments: Instruments) -> Self {
        Self { vault, instruments }
    }

    /// Seals `text`, outside any transaction.
    ///
    /// # Errors
    /// [`MessagingError::Vault`] when it cannot be sealed.
    pub async fn prepare(&self, text: NewText) -> Result<PreparedText, MessagingError> {
        let (tenant, id) = (text.tenant, self.instruments.new_id::<Message>());
        let number_token = self.vault.index_token(tenant, "phone", text.number.as_e164()).await?.bytes.to_vec();
        let seal = async |column, value: &[u8]| {
            self.vault.seal(tenant, RetentionClass::Clinical, Place::new("message", &id, column), value).await
        };
        let number = seal("number", text.number.as_e164().as_bytes()).await?;
        let (parameters, body) = match &text.content {
            Content::Template { params, .. } => {
                let encoded = params.encode().map_err(|_| MessagingError::Template)?;
                (Some(seal("parameters", encoded.expose()).await?), None)
            }
            Content::Written(words) => (None, Some(seal("body", words.as_str().as_bytes()).await?)),
        };
        let asks = text.question.as_ref().map(serde_json::to_string).transpose()?;
        let now = self.instruments.now();
        let leaves = text.not_before.map_or(now, |instant| instant.max(now));
        let expires_at = text.expires_at.or(leaves.checked_add(gate::LONGEST_WAIT).ok()).unwrap_or(Timestamp::MAX);
        let job =
            send_job(&self.instruments, tenant, id, &number_token).map_err(|_| MessagingError::Stored)?.at(leaves);
        Ok(PreparedText {
            id,
            number_token,
            number,
            parameters,
            body,
            asks,
            conversation: self.instruments.new_id(),
            job,
            expires_at,
            created_at: now,
            text,
        })
    }
}

/// The job that takes a text through the gate: one at a time, woken with the others of its number.
pub(super) fn send_job(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    message: Id<Message>,
    number_token: &[u8],
) -> Result<NewJob, JobError> {
    let job = NewJob::new(instruments, tenant, SEND_TEXT, &super::AboutText { message })?;
    Ok(job.waits_for(line::group(number_token)).unique(message.to_string()).attempts(SEND_ATTEMPTS))
}

/// Queues a prepared text in the transaction of what causes it.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn queue(tx: &mut Tx, prepared: &PreparedText) -> Result<Id<Message>, DbError> {
    let text = &prepared.text;
    let conversation = conversation(
        tx,
        text.tenant,
        prepared.conversation,
        text.our_number.as_e164(),
        &prepared.number_token,
        text.patient,
        prepared.created_at,
    )
    .await?;
    let template = match &text.content {
        Content::Template { key, .. } => Some(key.as_str()),
        Content::Written(_) => None,
    };
    tx.execute(
        sql("INSERT INTO message (tenant, id, direction, conversation, patient, our_number, number_token, number, class, category, language, \
             template_key, parameters, body, media_count, author, in_response_to, about, about_version, workflow, asks, quiet_overridden, \
             not_before, expires_at, due_at, state, created_at) \
             VALUES ($1, $2, 'out', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)")
        .bind(text.tenant)
        .bind(prepared.id)
        .bind(conversation)
        .bind(text.patient)
        .bind(text.our_number.as_e164())
        .bind(prepared.number_token.clone())
        .bind(prepared.number.as_bytes())
        .bind(text.class.code())
        .bind(text.category.code())
        .bind(text.language.tag())
        .bind(template)
        .bind(prepared.parameters.as_ref().map(|sealed| sealed.as_bytes().to_vec()))
        .bind(prepared.body.as_ref().map(|sealed| sealed.as_bytes().to_vec()))
        .bind(text.author.code())
        .bind(text.in_response_to)
        .bind(text.about.clone())
        .bind(text.about_version.clone())
        .bind(text.workflow)
        .bind(prepared.asks.clone())
        .bind(text.quiet_overridden)
        .bind(text.not_before)
        .bind(prepared.expires_at)
        .bind(text.due_at)
        .bind(state::QUEUED)
        .bind(prepared.created_at),
    )
    .await?;
    enqueue(tx, &prepared.job).await?;
    publish(tx, text.tenant, text.patient);
    Ok(prepared.id)
}

/// The conversation of these parties; `fresh` becomes its id when there is none yet.
pub(super) async fn conversation(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    fresh: Id<Conversation>,
    our_number: &str,
    number_token: &[u8],
    patient: Option<Id<Patient>>,
    now: Timestamp,
) -> Result<Id<Conversation>, DbError> {
    const NOBODY: Id<Patient> = Id::from_bytes([0; 16]);
    let patient = patient.unwrap_or(NOBODY);
    tx.one(
        sql("INSERT INTO conversation (tenant, id, our_number, number_token, patient, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (tenant, our_number, number_token, patient) DO UPDATE SET created_at = conversation.created_at RETURNING id")
        .bind(tenant)
        .bind(fresh)
        .bind(our_number)
        .bind(number_token)
        .bind(patient)
        .bind(now),
    )
    .await?
    .get("id")
}

/// Tells open threads of the patient to look again.
pub(super) fn publish(tx: &mut Tx, tenant: Id<Tenant>, patient: Option<Id<Patient>>) {
    if let Some(patient) = patient {
        tx.publish(Topic::Thread, format!("{tenant}/{patient}"));
    }
}

/// Queues texts that nothing else is committed with.
pub struct Queue(pub Vec<PreparedText>);

impl Command for Queue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for prepared in &self.0 {
            queue(tx, prepared).await?;
        }
        Ok(())
    }
}
