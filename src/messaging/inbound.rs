//! The one ingest for inbound texts, whether a webhook brought them or the carrier's list (laws 1 and 2).

use super::{
    AboutText, Class, Conversation, Message, MessagingError, TEXT_RECEIVED,
    carrier_port::{CarrierAddress, CarrierInbound},
    journal::Journal,
    line, outbound, state,
    thread::TextRecord,
};
use crate::{
    consent::Category,
    db::{BatchCommand, Command, Db, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Language, Patient, Tenant},
    practice::Practice,
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;

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
        let tenant = practice.tenant;
        if practice.own_number(&text.to).is_none() {
            return Err(MessagingError::NotOurNumber);
        }
        let received_at = self.instruments.now();
        let id = self.instruments.new_id::<Message>();
        let number = match &text.from {
            CarrierAddress::Number(number) => number.as_e164(),
            CarrierAddress::Other(address) => address.as_str(),
        };
        let seal = async |column, value: &[u8]| {
            self.vault.seal(tenant, RetentionClass::Clinical, Place::new("message", &id, column), value).await
        };
        let body = seal("body", text.body.as_str().as_bytes()).await?;
        let media: Vec<_> =
            text.media.iter().map(|media| (media.url.as_str(), media.content_type.as_deref())).collect();
        let parameters =
            if media.is_empty() { None } else { Some(seal("parameters", &serde_json::to_vec(&media)?).await?) };
        let command = CommitInbound {
            id,
            tenant,
            carrier,
            carrier_id: text.carrier_id.clone(),
            our_number: text.to.as_e164().to_owned(),
            number_token: self.vault.index_token(tenant, "phone", number).await?.bytes.to_vec(),
            number: seal("number", number.as_bytes()).await?,
            content_hash: self.vault.content_hash(tenant, text.body.as_str().as_bytes()).await?,
            body,
            parameters,
            media_count: text.media_count,
            keyword: text.opt_out_type.map(|keyword| format!("{keyword:?}").to_lowercase()),
            received_at,
            sealed_at: self.instruments.now(),
            job: NewJob::new(&self.instruments, tenant, TEXT_RECEIVED, &AboutText { message: id })
                .map_err(|_| MessagingError::Stored)?,
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
    job: NewJob,
    journal: Journal,
}

impl Command for CommitInbound {
    type Output = Accepted;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Accepted, DbError> {
        let fresh = tx
            .execute(
                sql("INSERT INTO message_dedupe (tenant, carrier, carrier_id, message) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
                    .bind(self.tenant)
                    .bind(self.carrier)
                    .bind(self.carrier_id.clone())
                    .bind(self.id),
            )
            .await?;
        if fresh == 0 {
            return Ok(Accepted::Duplicate);
        }
        line::note_received(tx, self.tenant, &self.number_token, self.received_at).await?;
        tx.execute(
            sql("INSERT INTO message (tenant, id, direction, our_number, number_token, number, class, category, language, parameters, body, \
                 content_hash, media_count, author, quiet_overridden, state, state_reason, carrier, carrier_id, received_at, sealed_at, created_at) \
                 VALUES ($1, $2, 'in', $3, $4, $5, $6, $7, 'en', $8, $9, $10, $11, 'patient', 0, $12, $13, $14, $15, $16, $17, $16)")
            .bind(self.tenant)
            .bind(self.id)
            .bind(self.our_number.clone())
            .bind(self.number_token.clone())
            .bind(self.number.as_bytes())
            .bind(Class::Answer.code())
            .bind(Category::Appointment.code())
            .bind(self.parameters.as_ref().map(|sealed| sealed.as_bytes().to_vec()))
            .bind(self.body.as_bytes())
            .bind(self.content_hash)
            .bind(self.media_count)
            .bind(state::RECEIVED)
            .bind(self.keyword.clone())
            .bind(self.carrier)
            .bind(self.carrier_id.clone())
            .bind(self.received_at)
            .bind(self.sealed_at),
        )
        .await?;
        enqueue(tx, &self.job).await?;
        self.journal.received(tx, self.id, self.body.key_id()).await?;
        Ok(Accepted::New(self.id))
    }
}

impl BatchCommand for CommitInbound {
    async fn run_all(commands: &[&Self], tx: &mut Tx) -> Result<Vec<Accepted>, DbError> {
        let mut accepted = Vec::with_capacity(commands.len());
        for command in commands {
            accepted.push(command.run(tx).await?);
        }
        Ok(accepted)
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
