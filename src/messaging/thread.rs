//! The one door through which stored texts are opened. Every opening is one audit row per actor, purpose and request,
//! listing what was opened (law 2).

use super::{Author, Class, Message, MessagingError};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Request},
    consent::Category,
    db::{Db, DbError, Row, sql},
    kernel::{Id, Instruments, Language, Patient, Phi, Tenant},
    patient::WITH_MERGED,
    vault::{Place, Sealed, Vault},
};
use jiff::Timestamp;

/// Who opens texts, and what for.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Who.
    pub actor: Actor,
    /// What for, in constant words.
    pub purpose: &'static str,
    /// In which request.
    pub request: Option<Id<Request>>,
}

/// A text without its words: what may be known by whoever sees that something is there.
#[derive(Debug, Clone)]
pub struct TextRecord {
    /// Its id.
    pub id: Id<Message>,
    /// It came from the phone.
    pub inbound: bool,
    /// Who it is with.
    pub patient: Option<Id<Patient>>,
    /// Our side.
    pub our_number: String,
    /// The blind index of their side.
    pub number_token: Vec<u8>,
    /// Its row of the gate's table.
    pub class: Class,
    /// What it is about, as far as consent is concerned.
    pub category: Category,
    /// Its language.
    pub language: Language,
    /// Who wrote it.
    pub author: Author,
    /// The template that it was rendered from.
    pub template_key: Option<String>,
    /// The text that it answers.
    pub in_response_to: Option<Id<Message>>,
    /// The resource that it speaks of.
    pub about: Option<String>,
    /// The workflow that it belongs to.
    pub workflow: Option<Id<super::Workflow>>,
    /// The conversation.
    pub conversation: Option<Id<super::Conversation>>,
    /// How far it is ([`super::state`]).
    pub state: String,
    /// Why, where there is more to say.
    pub state_reason: Option<String>,
    /// What the carrier calls it.
    pub carrier_id: Option<String>,
    /// How many pictures or files came with it.
    pub media_count: u32,
    /// How many segments it has.
    pub segments: Option<u32>,
    /// When it was received (inbound) or queued (outbound).
    pub created_at: Timestamp,
    /// When it was received.
    pub received_at: Option<Timestamp>,
    /// When it was handed to the carrier.
    pub sent_at: Option<Timestamp>,
    /// When the phone had it.
    pub delivered_at: Option<Timestamp>,
    body: Option<Sealed>,
    number: Sealed,
}

const COLUMNS: &str = "m.id, m.direction, m.conversation, m.patient, m.our_number, m.number_token, m.number, m.class, m.category, \
    m.language, m.author, m.template_key, m.in_response_to, m.about, m.workflow, m.body, m.state, \
    m.state_reason, m.carrier_id, m.media_count, m.segments, m.created_at, m.received_at, m.sent_at, \
    m.delivered_at";

fn read(row: &Row) -> Result<TextRecord, MessagingError> {
    let body = row.get::<Option<Vec<u8>>>("body")?.map(Sealed::from_bytes).transpose()?;
    let bad = |column| DbError::Decode { column };
    Ok(TextRecord {
        id: row.get("id")?,
        inbound: row.get::<String>("direction")? == "in",
        patient: row.get("patient")?,
        our_number: row.get("our_number")?,
        number_token: row.get("number_token")?,
        class: Class::from_code(&row.get::<String>("class")?).ok_or(bad("class"))?,
        category: Category::from_code(&row.get::<String>("category")?).ok_or(bad("category"))?,
        language: Language::from_tag(&row.get::<String>("language")?).ok_or(bad("language"))?,
        author: Author::from_code(&row.get::<String>("author")?).ok_or(bad("author"))?,
        template_key: row.get("template_key")?,
        in_response_to: row.get("in_response_to")?,
        about: row.get("about")?,
        workflow: row.get("workflow")?,
        conversation: row.get("conversation")?,
        state: row.get("state")?,
        state_reason: row.get("state_reason")?,
        carrier_id: row.get("carrier_id")?,
        media_count: row.get("media_count")?,
        segments: row.get("segments")?,
        created_at: row.get("created_at")?,
        received_at: row.get("received_at")?,
        sent_at: row.get("sent_at")?,
        delivered_at: row.get("delivered_at")?,
        body,
        number: Sealed::from_bytes(row.get("number")?)?,
    })
}

/// Finds and opens texts.
#[derive(Clone)]
pub struct Thread {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl Thread {
    /// Over this database and vault.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// One text, unopened.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn find(&self, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<TextRecord>, MessagingError> {
        let text = format!("SELECT {COLUMNS} FROM message m WHERE m.tenant = $1 AND m.id = $2");
        let row = self.db.optional(crate::db::sql_built(text).bind(tenant).bind(message)).await?;
        row.as_ref().map(read).transpose()
    }

    /// The newest `limit` texts with `patient`, oldest first, unopened.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn with_patient(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        limit: u32,
    ) -> Result<Vec<TextRecord>, MessagingError> {
        let text = format!(
            "SELECT {COLUMNS} FROM {WITH_MERGED} AS whole CROSS JOIN message m \
             WHERE m.tenant = $1 AND m.patient = whole.id ORDER BY m.id DESC LIMIT $3"
        );
        let rows = self.db.all(crate::db::sql_built(text).bind(tenant).bind(patient).bind(limit)).await?;
        rows.iter().rev().map(read).collect()
    }

    /// The texts with `patient` of which nobody knows whether they left, however old: they wait for a person, and other
    /// texts to their numbers wait for them. Oldest first, unopened.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn unknown(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<TextRecord>, MessagingError> {
        let text = format!(
            "SELECT {COLUMNS} FROM {WITH_MERGED} AS whole CROSS JOIN message m \
             WHERE m.tenant = $1 AND m.patient = whole.id AND m.state = 'unknown' ORDER BY m.id"
        );
        let rows = self.db.all(crate::db::sql_built(text).bind(tenant).bind(patient)).await?;
        rows.iter().map(read).collect()
    }

    /// Opens the words of `texts`, in their order. Texts that have no words yet give an empty one.
    ///
    /// # Errors
    /// [`MessagingError`] when the vault cannot open one, or the audit row cannot be written: then nothing is given.
    pub async fn open(
        &self,
        tenant: Id<Tenant>,
        texts: &[&TextRecord],
        reader: &Reader,
    ) -> Result<Vec<Phi<String>>, MessagingError> {
        let mut entry = AuditEntry::new(reader.actor.clone(), Action::Read, reader.purpose);
        if let Some(request) = reader.request {
            entry = entry.in_request(request);
        }
        let mut words = Vec::with_capacity(texts.len());
        for text in texts {
            entry = entry.about("message", text.id);
            words.push(match &text.body {
                Some(sealed) => self.vault.open_text(tenant, Place::new("message", &text.id, "body"), sealed).await?,
                None => Phi::new(String::new()),
            });
        }
        if !texts.is_empty() {
            let signer = AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await?;
            audit::record_alone(&self.db, entry, signer).await?;
        }
        Ok(words)
    }

    /// The other side's number, as the carrier wrote it. Not for display: for sending and for finding the patient.
    ///
    /// # Errors
    /// [`MessagingError`] when the vault cannot open it.
    pub async fn number(&self, tenant: Id<Tenant>, text: &TextRecord) -> Result<Phi<String>, MessagingError> {
        Ok(self.vault.open_text(tenant, Place::new("message", &text.id, "number"), &text.number).await?)
    }

    /// How many texts with `patient` there are, and how many of them stand in the chart.
    ///
    /// # Errors
    /// [`MessagingError`] when the database is away.
    pub async fn filed(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<(u32, u32), MessagingError> {
        let row = self
            .db
            .one(
                sql("SELECT COUNT(*) AS texts, COUNT(f.reference) AS filed FROM message m \
                     LEFT JOIN chart_filing f ON f.tenant = m.tenant AND f.message = m.id WHERE m.tenant = $1 AND m.patient = $2 AND m.state <> 'dropped'")
                .bind(tenant)
                .bind(patient),
            )
            .await?;
        Ok((row.get("texts")?, row.get("filed")?))
    }
}
