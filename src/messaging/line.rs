//! The row per tenant and patient number that inbound commits and attempt commits both lock (law 3).

use super::Attempt;
use crate::{
    db::{DbError, Tx, sql},
    jobs::hasten,
    kernel::{Id, Tenant},
};
use jiff::Timestamp;

/// The blind index of a phone number under the tenant's search key.
pub type NumberToken = Vec<u8>;

/// How a number's line stands.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) unread: u32,
    pub(super) unsettled: Option<Id<Attempt>>,
}

/// Locks the line of `number` until the end of the transaction.
pub(super) async fn lock(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8]) -> Result<Line, DbError> {
    let row = tx
        .one(
            sql("INSERT INTO number_line (tenant, number_token, unread) VALUES ($1, $2, 0) \
                 ON CONFLICT (tenant, number_token) DO UPDATE SET unread = number_line.unread RETURNING unread, unsettled_attempt")
            .bind(tenant)
            .bind(number),
        )
        .await?;
    Ok(Line { unread: row.get("unread")?, unsettled: row.get("unsettled_attempt")? })
}

/// Locks the line of `number` until the end of the transaction, for the rooms above.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn lock_line(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8]) -> Result<(), DbError> {
    lock(tx, tenant, number).await.map(|_| ())
}

/// Notes on the locked line that an inbound text waits to be read.
pub(super) async fn note_received(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    at: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        sql("INSERT INTO number_line (tenant, number_token, unread, last_inbound_at) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (tenant, number_token) DO UPDATE SET unread = number_line.unread + 1, last_inbound_at = excluded.last_inbound_at")
        .bind(tenant)
        .bind(number)
        .bind(at),
    )
    .await
    .map(|_| ())
}

/// Notes that an inbound text has been read, in the transaction of what the reading causes; texts that waited for that
/// look again.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn note_read(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8], now: Timestamp) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE number_line SET unread = unread - 1 WHERE tenant = $1 AND number_token = $2 AND unread > 0")
            .bind(tenant)
            .bind(number),
    )
    .await?;
    wake(tx, tenant, number, now).await
}

/// Sets or frees the place of the one unsettled attempt.
pub(super) async fn note_attempt(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    attempt: Id<Attempt>,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE number_line SET unsettled_attempt = $3 WHERE tenant = $1 AND number_token = $2")
            .bind(tenant)
            .bind(number)
            .bind(attempt),
    )
    .await
    .map(|_| ())
}

/// Frees the place of `attempt`, if it still holds it; texts that waited for that look again.
pub(super) async fn note_settled(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    attempt: Id<Attempt>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE number_line SET unsettled_attempt = NULL WHERE tenant = $1 AND number_token = $2 AND unsettled_attempt = $3")
            .bind(tenant)
            .bind(number)
            .bind(attempt),
    )
    .await?;
    wake(tx, tenant, number, now).await
}

/// Lets texts that are held for this number look again at once.
pub(super) async fn wake(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8], now: Timestamp) -> Result<(), DbError> {
    hasten(tx, tenant, super::SEND_TEXT, &group(number), now).await
}

/// The group under which the jobs of a number's outbound texts can be hastened together.
pub(super) fn group(number: &[u8]) -> String {
    hex(number)
}

/// Lower-case hexadecimal digits of opaque bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
