//! The one open question per pair of numbers (law 13).

use super::{Message, NewQuestion, Question, Workflow, thread::TextRecord};
use crate::{
    db::{Command, Db, DbError, Row, Tx, sql},
    intent::Context,
    kernel::{Id, Patient, Tenant},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A question that is younger is not overtaken by another one to the same patient. One to somebody else on the phone is
/// never overtaken: the answer to it would move the visit of another.
const PATIENCE: SignedDuration = SignedDuration::from_hours(4);

/// A time that was offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The number under which it was offered, from 1.
    pub number: u8,
    /// The slot, as `Slot/123`.
    pub slot: String,
    /// When it starts.
    pub start: Timestamp,
}

/// A question that was open when a reply arrived.
#[derive(Debug, Clone)]
pub struct OpenQuestion {
    /// Its id.
    pub id: Id<Question>,
    /// Who was asked.
    pub patient: Id<Patient>,
    /// The workflow that asks.
    pub workflow: Id<Workflow>,
    /// The text that asked.
    pub message: Id<Message>,
    /// What was asked.
    pub asked: NewQuestion,
    /// When it left.
    pub opened_at: Timestamp,
}

fn read(row: &Row) -> Result<OpenQuestion, DbError> {
    let asked = row.get::<String>("offered")?;
    Ok(OpenQuestion {
        id: row.get("id")?,
        patient: row.get("patient")?,
        workflow: row.get("workflow")?,
        message: row.get("message")?,
        asked: serde_json::from_str(&asked).map_err(|_| DbError::Decode { column: "offered" })?,
        opened_at: row.get("opened_at")?,
    })
}

/// The question between these numbers that was open at `received_at`, and could still be answered then.
pub(super) async fn open_for(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    our_number: &str,
    number_token: &[u8],
    received_at: Timestamp,
) -> Result<Option<OpenQuestion>, DbError> {
    let row = tx
        .optional(
            sql("SELECT id, patient, workflow, message, offered, opened_at FROM question \
                 WHERE tenant = $1 AND our_number = $2 AND number_token = $3 AND state = 'open' AND opened_at <= $4 AND expires_at > $4")
            .bind(tenant)
            .bind(our_number)
            .bind(number_token)
            .bind(received_at),
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Finds the question that was open when a text arrived.
pub struct FindOpenQuestion {
    tenant: Id<Tenant>,
    our_number: String,
    number_token: Vec<u8>,
    received_at: Timestamp,
}

impl FindOpenQuestion {
    /// The one that `text` may answer.
    #[must_use]
    pub fn about(tenant: Id<Tenant>, text: &TextRecord) -> Self {
        Self {
            tenant,
            our_number: text.our_number.clone(),
            number_token: text.number_token.clone(),
            received_at: text.received_at.unwrap_or(text.created_at),
        }
    }
}

impl Command for FindOpenQuestion {
    type Output = Option<OpenQuestion>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Option<OpenQuestion>, DbError> {
        open_for(tx, self.tenant, &self.our_number, &self.number_token, self.received_at).await
    }
}

/// The question with this id, open or not.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn asked(db: &Db, tenant: Id<Tenant>, question: Id<Question>) -> Result<Option<OpenQuestion>, DbError> {
    let query =
        sql("SELECT id, patient, workflow, message, offered, opened_at FROM question WHERE tenant = $1 AND id = $2");
    db.optional(query.bind(tenant).bind(question)).await?.as_ref().map(read).transpose()
}

/// Marks `question` answered, be it open or overtaken meanwhile. Says whether nobody had answered it before.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn claim_answer(tx: &mut Tx, tenant: Id<Tenant>, question: Id<Question>) -> Result<bool, DbError> {
    let claimed = tx
        .execute(
            sql("UPDATE question SET state = 'answered' WHERE tenant = $1 AND id = $2 AND state <> 'answered'")
                .bind(tenant)
                .bind(question),
        )
        .await?;
    Ok(claimed == 1)
}

/// Marks `question` answered, so that no second reply binds to it.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn answer(tx: &mut Tx, tenant: Id<Tenant>, question: Id<Question>) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE question SET state = 'answered' WHERE tenant = $1 AND id = $2 AND state = 'open'")
            .bind(tenant)
            .bind(question),
    )
    .await
    .map(|_| ())
}

/// Closes what a workflow has open, because it has ended or asks anew. What did not reach the patient is not asked any
/// more either, should it still arrive.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn close_of_workflow(tx: &mut Tx, tenant: Id<Tenant>, workflow: Id<Workflow>) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE question SET state = 'closed' WHERE tenant = $1 AND workflow = $2 AND state IN ('open', 'unreached')")
            .bind(tenant)
            .bind(workflow),
    )
    .await
    .map(|_| ())
}

/// Closes what `message` has asked: it has not reached the patient, and nobody answers it. Until it does, after all.
pub(super) async fn close_of_message(tx: &mut Tx, tenant: Id<Tenant>, message: Id<Message>) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE question SET state = 'unreached' WHERE tenant = $1 AND message = $2 AND state = 'open'")
            .bind(tenant)
            .bind(message),
    )
    .await
    .map(|_| ())
}

/// Opens again what `message` has asked and was thought not to have reached the patient: it has. Not where something
/// was asked since, or where its workflow has ended. The caller holds the lock of the
/// number's line.
pub(super) async fn reopen_of_message(tx: &mut Tx, tenant: Id<Tenant>, message: Id<Message>) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE question SET state = 'open' WHERE tenant = $1 AND message = $2 AND state = 'unreached' \
             AND NOT EXISTS (SELECT 1 FROM question other WHERE other.tenant = question.tenant \
             AND other.our_number = question.our_number AND other.number_token = question.number_token \
             AND other.state = 'open')")
        .bind(tenant)
        .bind(message),
    )
    .await
    .map(|_| ())
}

/// Whose text it is that wants to ask.
pub(super) struct Asker<'a> {
    pub(super) tenant: Id<Tenant>,
    pub(super) our_number: &'a str,
    pub(super) number_token: &'a [u8],
    pub(super) patient: Id<Patient>,
    pub(super) workflow: Id<Workflow>,
    pub(super) message: Id<Message>,
}

/// Whether a question is open there that this one must not overtake: another patient's, or a young one of another
/// workflow.
pub(super) async fn taken(tx: &mut Tx, asker: &Asker<'_>, now: Timestamp) -> Result<bool, DbError> {
    let open = open_for(tx, asker.tenant, asker.our_number, asker.number_token, now).await?;
    Ok(open.is_some_and(|open| {
        let is_young = now.duration_since(open.opened_at) < PATIENCE;
        open.patient != asker.patient || (open.workflow != asker.workflow && is_young)
    }))
}

/// Opens the question, in the transaction in which its text leaves. What was open there is overtaken.
pub(super) async fn ask(
    tx: &mut Tx,
    asker: &Asker<'_>,
    id: Id<Question>,
    question: &NewQuestion,
    now: Timestamp,
) -> Result<(), DbError> {
    // Also one that nobody can answer any more, or that a node with a faster clock has opened: there is one at the most.
    // And those that may still arrive: an answer then means this one.
    tx.execute(
        sql("UPDATE question SET state = 'overtaken' WHERE tenant = $1 AND our_number = $2 AND number_token = $3 \
             AND state IN ('open', 'unreached')")
        .bind(asker.tenant)
        .bind(asker.our_number)
        .bind(asker.number_token),
    )
    .await?;
    let offered = serde_json::to_string(question).map_err(|_| DbError::Decode { column: "offered" })?;
    tx.execute(
        sql("INSERT INTO question (tenant, id, our_number, number_token, patient, workflow, message, context, offered, state, opened_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11)")
        .bind(asker.tenant)
        .bind(id)
        .bind(asker.our_number)
        .bind(asker.number_token)
        .bind(asker.patient)
        .bind(asker.workflow)
        .bind(asker.message)
        .bind(context_code(question.context))
        .bind(offered)
        .bind(now)
        .bind(question.expires_at),
    )
    .await
    .map(|_| ())
}

fn context_code(context: Context) -> String {
    serde_json::to_value(context).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
