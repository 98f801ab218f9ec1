//! Gives texts that are nobody's yet to a patient. Called by routing when a person has said whose they are, under the
//! lock of their number's line.

use super::{Conversation, Message, MessagingError, changed::changed_job, outbound};
use crate::{
    db::{DbError, Tx, sql},
    jobs::enqueue,
    kernel::{Id, Instruments, Patient, Tenant},
};

/// `message` and our own answers to it, as far as they are no patient's.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn unassigned_about(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    message: Id<Message>,
) -> Result<Vec<Id<Message>>, DbError> {
    let query =
        sql("SELECT id FROM message WHERE tenant = $1 AND (id = $2 OR in_response_to = $2) AND patient IS NULL \
         AND (direction = 'out' OR state <> 'received') ORDER BY id");
    tx.all(query.bind(tenant).bind(message)).await?.iter().map(|row| row.get("id")).collect()
}

/// Makes `message` one of `patient`'s, in the conversation of its numbers with that patient, and tells the rooms above
/// that it has changed: it belongs into the chart now.
///
/// # Errors
/// [`MessagingError`] as the database refuses or is away.
pub async fn assign(
    tx: &mut Tx,
    instruments: &Instruments,
    tenant: Id<Tenant>,
    message: Id<Message>,
    patient: Id<Patient>,
) -> Result<(), MessagingError> {
    let query = sql("SELECT our_number, number_token FROM message WHERE tenant = $1 AND id = $2");
    let text = tx.one(query.bind(tenant).bind(message)).await?;
    let number_token: Vec<u8> = text.get("number_token")?;
    let our_number: String = text.get("our_number")?;
    let fresh = instruments.new_id::<Conversation>();
    let conversation =
        outbound::conversation(tx, tenant, fresh, &our_number, &number_token, Some(patient), instruments.now()).await?;
    tx.execute(
        sql("UPDATE message SET patient = $3, conversation = $4 WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(message)
            .bind(patient)
            .bind(conversation),
    )
    .await?;
    let changed = changed_job(instruments, tenant, message, &number_token).map_err(|_| MessagingError::Stored)?;
    enqueue(tx, &changed).await?;
    Ok(())
}
