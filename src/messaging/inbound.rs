//! The one ingest for inbound texts, whether a webhook brought them or the carrier's list (laws 1 and 2).

use super::{
    AboutText, Author, Class, Conversation, Message, MessagingError, TEXT_RECEIVED,
    carrier_port::CarrierInbound,
    journal::Journal,
    line::{self, Arrival},
    outbound, state,
    thread::TextRecord,
};
use crate::{
    consent::Category,
    db::{BatchCommand, Command, Db, DbError, Tx, Value, sql, sql_rows},
    jobs::{NewJob, enqueue_all},
    kernel::{Id, Instruments, Language, Patient, Tenant, about_text},
    practice::Practice,
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use tracing::Instrument as _;

/// What became of an inbound text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable, and its reading is enqueued.
    New(Id<Message>),
    /// It was here already; nothing has changed.
    Duplicate,
}

/// Seals inbound texts and commits each with the job that reads it.
#[derive(Clone)]
pub struct Inbox {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl Inbox {
    /// An inbox over this database and vault.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Seals and commits `text`. When this returns, the text survives a crash and a webhook may be acknowledged.
    ///
    /// # Errors
    /// [`MessagingError::NotOurNumber`] when it was sent to a number of somebody else; otherwise the vault's or the
    /// database's error, after which nothing is stored and the carrier must not be given a 2xx.
    pub async fn accept(
        &self,
        practice: &Practice,
        carrier: &'static str,
        text: &CarrierInbound,
    ) -> Result<Accepted, MessagingError> {
        if practice.own_number(&text.to).is_none() {
            return Err(MessagingError::NotOurNumber);
        }
        let id = self.instruments.new_id::<Message>();
        let accepted = self.commit(practice.tenant, carrier, text, id).instrument(about_text("receive", id)).await?;
        let outcome = if matches!(accepted, Accepted::New(_)) { "new" } else { "duplicate" };
        metrics::counter!("chartwire_texts_received_total", "carrier" => carrier, "outcome" => outcome).increment(1);
        Ok(accepted)
    }

    async fn commit(
        &self,
        tenant: Id<Tenant>,
        carrier: &'static str,
        text: &CarrierInbound,
        id: Id<Message>,
    ) -> Result<Accepted, MessagingError> {
        let now = self.instruments.now();
        // One that is pulled from the carrier's list arrived there earlier, and answers what was asked by then.
        let received_at = text.received_at.map_or(now, |at| at.min(now));
        let number = text.from.as_str();
        let seal = async |column, value: &[u8]| {
            self.vault.seal(tenant, RetentionClass::Clinical, Place::new("message", &id, column), value).await
        };
        let body = seal("body", text.body.as_str().as_bytes()).await?;
        let media: Vec<_> =
            text.media.iter().map(|media| (media.url.as_str(), media.content_type.as_deref())).collect();
        let parameters =
            if media.is_empty() { None } else { Some(seal("parameters", &serde_json::to_vec(&media)?).await?) };
        let number_token = self.vault.index_token(tenant, "phone", number).await?.bytes.to_vec();
        let command = CommitInbound {
            id,
            tenant,
            carrier,
            carrier_id: text.carrier_id.clone(),
            our_number: text.to.as_e164().to_owned(),
            number: seal("number", number.as_bytes()).await?,
            content_hash: self.vault.content_hash(tenant, text.body.as_str().as_bytes()).await?,
            body,
            parameters,
            media_count: text.media_count,
            keyword: text.opt_out_type.map(|keyword| format!("{keyword:?}").to_lowercase()),
            received_at,
            sealed_at: self.instruments.now(),
            created_at: now,
            job: NewJob::new(&self.instruments, tenant, TEXT_RECEIVED, &AboutText { message: id })
                .map_err(|_| MessagingError::Stored)?
                .in_lane(line::reading_lane(&number_token)),
            number_token,
            journal: Journal::of(&self.vault, &self.instruments, tenant).await?,
        };
        Ok(self.db.execute_grouped(command).await?)
    }
}

/// The hot write: one inbound text, sealed.
struct CommitInbound {
    id: Id<Message>,
    tenant: Id<Tenant>,
    carrier: &'static str,
    carrier_id: String,
    our_number: String,
    number_token: Vec<u8>,
    number: Sealed,
    body: Sealed,
    parameters: Option<Sealed>,
    content_hash: [u8; 32],
    media_count: u32,
    keyword: Option<String>,
    received_at: Timestamp,
    sealed_at: Timestamp,
    created_at: Timestamp,
    job: NewJob,
    journal: Journal,
}

impl Command for CommitInbound {
    type Output = Accepted;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Accepted, DbError> {
        let accepted = Self::run_all(&[self], tx).await?;
        accepted.first().copied().ok_or(DbError::NotFound)
    }
}

impl BatchCommand for CommitInbound {
    async fn run_all(commands: &[&Self], tx: &mut Tx) -> Result<Vec<Accepted>, DbError> {
        let kept = keep_new(commands, tx).await?;
        let fresh: Vec<&Self> = commands.iter().copied().filter(|command| kept.contains(&command.id)).collect();
        if !fresh.is_empty() {
            let arrivals: Vec<Arrival<'_>> = fresh.iter().map(|command| command.arrival()).collect();
            line::note_received(tx, &arrivals).await?;
            insert(&fresh, tx).await?;
            let jobs: Vec<&NewJob> = fresh.iter().map(|command| &command.job).collect();
            enqueue_all(tx, &jobs).await?;
            let received = fresh.iter().map(|command| (&command.journal, command.id, command.body.key_id()));
            Journal::received(tx, received).await?;
        }
        let accepted = |command: &&Self| {
            if kept.contains(&command.id) { Accepted::New(command.id) } else { Accepted::Duplicate }
        };
        Ok(commands.iter().map(accepted).collect())
    }
}

/// Notes the carrier's ids of the texts and gives those texts that were not known; of several with one id the first.
async fn keep_new(commands: &[&CommitInbound], tx: &mut Tx) -> Result<HashSet<Id<Message>>, DbError> {
    // In the order of their keys, so that two groups with the same texts do not wait for each other.
    let mut by_key = BTreeMap::new();
    for command in commands {
        by_key.entry((command.tenant, command.carrier, command.carrier_id.as_str())).or_insert(command.id);
    }
    let rows = by_key
        .into_iter()
        .map(|((tenant, carrier, carrier_id), id)| vec![tenant.into(), carrier.into(), carrier_id.into(), id.into()])
        .collect();
    let insert = sql_rows(
        "INSERT INTO message_dedupe (tenant, carrier, carrier_id, message)",
        rows,
        "ON CONFLICT DO NOTHING RETURNING message",
        tx.is_postgres(),
    )?;
    tx.all(insert).await?.iter().map(|row| row.get("message")).collect()
}

async fn insert(commands: &[&CommitInbound], tx: &mut Tx) -> Result<(), DbError> {
    let rows = commands.iter().map(|command| command.columns()).collect();
    let insert = sql_rows(
        "INSERT INTO message (tenant, id, direction, our_number, number_token, number, class, category, language, parameters, body, \
         content_hash, media_count, author, quiet_overridden, state, state_reason, carrier, carrier_id, received_at, sealed_at, created_at)",
        rows,
        "",
        tx.is_postgres(),
    )?;
    tx.execute(insert).await.map(|_| ())
}

impl CommitInbound {
    fn arrival(&self) -> Arrival<'_> {
        Arrival { tenant: self.tenant, number: &self.number_token, at: self.received_at }
    }

    /// Its row, in the order of [`insert`]'s columns. What it is about and in which language shows when it is read.
    fn columns(&self) -> Vec<Value> {
        vec![
            self.tenant.into(),
            self.id.into(),
            "in".into(),
            self.our_number.clone().into(),
            self.number_token.clone().into(),
            self.number.as_bytes().into(),
            Class::Answer.code().into(),
            Category::Appointment.code().into(),
            Language::English.tag().into(),
            self.parameters.as_ref().map(|sealed| sealed.as_bytes().to_vec()).into(),
            self.body.as_bytes().into(),
            self.content_hash.into(),
            self.media_count.into(),
            Author::Patient.code().into(),
            false.into(),
            state::RECEIVED.into(),
            self.keyword.clone().into(),
            self.carrier.into(),
            self.carrier_id.clone().into(),
            self.received_at.into(),
            self.sealed_at.into(),
            self.created_at.into(),
        ]
    }
}

/// Writes down whose text an inbound one is, in the transaction of its reading.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn mark_read(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    text: &TextRecord,
    fresh_conversation: Id<Conversation>,
    patient: Option<Id<Patient>>,
    language: Language,
    now: Timestamp,
) -> Result<(), DbError> {
    let conversation =
        outbound::conversation(tx, tenant, fresh_conversation, &text.our_number, &text.number_token, patient, now)
            .await?;
    tx.execute(
        sql("UPDATE message SET state = $3, conversation = $4, patient = $5, language = $6 WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(text.id)
            .bind(state::READ)
            .bind(conversation)
            .bind(patient)
            .bind(language.tag()),
    )
    .await?;
    outbound::publish(tx, tenant, patient);
    Ok(())
}
