//! Outbound texts and their attempts as they stand in the database, without what is sealed.

use super::{Attempt, Author, Class, Message, NewQuestion, Workflow, line};
use crate::{
    consent::Category,
    db::{Db, DbError, Row, Tx, sql_built},
    kernel::{Id, Patient, Tenant},
};
use jiff::Timestamp;

/// An outbound text as it stands in the database, without what is sealed.
#[derive(Debug, Clone)]
pub(super) struct OutboundRow {
    pub(super) id: Id<Message>,
    pub(super) patient: Option<Id<Patient>>,
    pub(super) our_number: String,
    pub(super) number_token: Vec<u8>,
    pub(super) class: Class,
    pub(super) category: Category,
    pub(super) author: Author,
    pub(super) about: Option<String>,
    pub(super) about_version: Option<String>,
    pub(super) workflow: Option<Id<Workflow>>,
    pub(super) in_response_to: Option<Id<Message>>,
    pub(super) asks: Option<NewQuestion>,
    pub(super) quiet_overridden: bool,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) due_at: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) template_key: Option<String>,
    pub(super) state: String,
}

/// The columns that [`OutboundRow::read`] needs.
pub(super) const OUTBOUND: &str = "id, patient, our_number, number_token, class, category, author, about, about_version, \
     workflow, in_response_to, asks, quiet_overridden, not_before, expires_at, due_at, created_at, template_key, state";

impl OutboundRow {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let asks = row.get::<Option<String>>("asks")?;
        Ok(Self {
            id: row.get("id")?,
            patient: row.get("patient")?,
            our_number: row.get("our_number")?,
            number_token: row.get("number_token")?,
            class: Class::from_code(&row.get::<String>("class")?).ok_or(DbError::Decode { column: "class" })?,
            category: Category::from_code(&row.get::<String>("category")?)
                .ok_or(DbError::Decode { column: "category" })?,
            author: Author::from_code(&row.get::<String>("author")?).ok_or(DbError::Decode { column: "author" })?,
            about: row.get("about")?,
            about_version: row.get("about_version")?,
            workflow: row.get("workflow")?,
            in_response_to: row.get("in_response_to")?,
            asks: asks
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|_| DbError::Decode { column: "asks" })?,
            quiet_overridden: row.get("quiet_overridden")?,
            not_before: row.get("not_before")?,
            expires_at: row.get("expires_at")?,
            due_at: row.get("due_at")?,
            created_at: row.get("created_at")?,
            template_key: row.get("template_key")?,
            state: row.get("state")?,
        })
    }
}

/// An attempt as it stands.
#[derive(Debug, Clone)]
pub(super) struct AttemptRow {
    pub(super) id: Id<Attempt>,
    pub(super) message: Id<Message>,
    pub(super) number_token: Vec<u8>,
    pub(super) state: String,
    pub(super) send_by: Timestamp,
    pub(super) committed_at: Timestamp,
    pub(super) patient: Option<Id<Patient>>,
    pub(super) message_state: String,
    /// When the text goes stale.
    pub(super) expires_at: Option<Timestamp>,
}

const ATTEMPT: &str = "SELECT a.id, a.message, a.number_token, a.state, a.send_by, a.committed_at, m.patient, m.state AS message_state, \
     m.expires_at FROM attempt a JOIN message m ON m.tenant = a.tenant AND m.id = a.message WHERE a.tenant = $1 AND ";

impl AttemptRow {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            message: row.get("message")?,
            number_token: row.get("number_token")?,
            state: row.get("state")?,
            send_by: row.get("send_by")?,
            committed_at: row.get("committed_at")?,
            patient: row.get("patient")?,
            message_state: row.get("message_state")?,
            expires_at: row.get("expires_at")?,
        })
    }

    async fn by_id(tx: &mut Tx, tenant: Id<Tenant>, id: Id<Attempt>) -> Result<Option<Self>, DbError> {
        let query = sql_built(format!("{ATTEMPT} a.id = $2")).bind(tenant).bind(id);
        tx.optional(query).await?.as_ref().map(Self::read).transpose()
    }

    /// The attempt as it stands once the line of its number is locked: nothing changes it from then on.
    pub(super) async fn locked(tx: &mut Tx, tenant: Id<Tenant>, id: Id<Attempt>) -> Result<Option<Self>, DbError> {
        let Some(attempt) = Self::by_id(tx, tenant, id).await? else { return Ok(None) };
        line::lock(tx, tenant, &attempt.number_token).await?;
        Self::by_id(tx, tenant, id).await
    }

    /// The newest attempt to send `message`.
    pub(super) async fn newest(db: &Db, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<Self>, DbError> {
        let query = sql_built(format!("{ATTEMPT} a.message = $2 ORDER BY a.id DESC LIMIT 1"));
        db.optional(query.bind(tenant).bind(message)).await?.as_ref().map(Self::read).transpose()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "committed" || self.state == "unknown"
    }
}
