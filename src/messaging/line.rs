//! The row per tenant and patient number that inbound commits and attempt commits both lock (law 3).

use super::{Attempt, Message};
use crate::{
    db::{DbError, Tx, sql, sql_rows},
    jobs::hasten,
    kernel::{Id, Tenant},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The blind index of a phone number under the tenant's search key.
pub type NumberToken = Vec<u8>;

/// How a number's line stands.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) unread: u32,
    pub(super) unsettled: Option<Id<Attempt>>,
    pub(super) last_inbound_at: Option<Timestamp>,
    /// Where the tenant's database was ever put back from a backup.
    pub(super) restored: Option<Restored>,
}

/// When a database that was put back was marked, and when it was recovered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restored {
    pub(super) marked_at: Timestamp,
    pub(super) lifted_at: Option<Timestamp>,
}

/// Locks the line of `number` until the end of the transaction.
pub(super) async fn lock(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8]) -> Result<Line, DbError> {
    let row = tx
        .one(
            sql("INSERT INTO number_line (tenant, number_token, unread) VALUES ($1, $2, 0) \
                 ON CONFLICT (tenant, number_token) DO UPDATE SET unread = number_line.unread \
                 RETURNING unread, unsettled_attempt, last_inbound_at, \
                 (SELECT r.marked_at FROM recovery r WHERE r.tenant = $1) AS marked_at, \
                 (SELECT r.lifted_at FROM recovery r WHERE r.tenant = $1) AS lifted_at")
            .bind(tenant)
            .bind(number),
        )
        .await?;
    let marked_at: Option<Timestamp> = row.get("marked_at")?;
    let lifted_at = row.get("lifted_at")?;
    Ok(Line {
        unread: row.get("unread")?,
        unsettled: row.get("unsettled_attempt")?,
        last_inbound_at: row.get("last_inbound_at")?,
        restored: marked_at.map(|marked_at| Restored { marked_at, lifted_at }),
    })
}

/// Locks the line of `number` until the end of the transaction, for the rooms above.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn lock_line(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8]) -> Result<(), DbError> {
    lock(tx, tenant, number).await.map(|_| ())
}

/// An inbound text that a line is to know of.
pub(super) struct Arrival<'a> {
    pub(super) tenant: Id<Tenant>,
    pub(super) number: &'a [u8],
    pub(super) at: Timestamp,
}

/// Notes that inbound texts wait to be read, and locks their lines until the end of the transaction: each once, and in
/// one order, so that two such transactions do not wait for each other.
pub(super) async fn note_received(tx: &mut Tx, arrivals: &[Arrival<'_>]) -> Result<(), DbError> {
    let mut lines = BTreeMap::new();
    for arrival in arrivals {
        let (count, last) = lines.entry((arrival.tenant, arrival.number)).or_insert((0_i64, arrival.at));
        *count += 1;
        *last = arrival.at.max(*last);
    }
    let rows = lines
        .into_iter()
        .map(|((tenant, number), (count, last))| vec![tenant.into(), number.into(), count.into(), last.into()])
        .collect();
    let upsert = sql_rows(
        "INSERT INTO number_line (tenant, number_token, unread, last_inbound_at)",
        rows,
        "ON CONFLICT (tenant, number_token) DO UPDATE SET unread = number_line.unread + excluded.unread, \
         last_inbound_at = CASE WHEN number_line.last_inbound_at > excluded.last_inbound_at \
         THEN number_line.last_inbound_at ELSE excluded.last_inbound_at END",
        tx.is_postgres(),
    )?;
    tx.execute(upsert).await.map(|_| ())
}

/// Notes that an inbound text has been read, in the transaction of what the reading causes. Texts that waited for that
/// look again once none is left to be read: before, they would only come to wait once more, each time all of them.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn note_read(tx: &mut Tx, tenant: Id<Tenant>, number: &[u8], now: Timestamp) -> Result<(), DbError> {
    let left = tx
        .optional(
            sql("UPDATE number_line SET unread = unread - 1 WHERE tenant = $1 AND number_token = $2 AND unread > 0 RETURNING unread")
                .bind(tenant)
                .bind(number),
        )
        .await?;
    match left {
        Some(row) if row.get::<u32>("unread")? > 0 => Ok(()),
        _ => wake(tx, tenant, number, None, now).await,
    }
}

/// Gives the place of the one unsettled attempt to `attempt`, unless an earlier one still holds it: the answer to an
/// emergency leaves beside that.
pub(super) async fn note_attempt(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    attempt: Id<Attempt>,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE number_line SET unsettled_attempt = COALESCE(unsettled_attempt, $3) WHERE tenant = $1 AND number_token = $2")
            .bind(tenant)
            .bind(number)
            .bind(attempt),
    )
    .await
    .map(|_| ())
}

/// Frees the place of `attempt` to send `message`, if it still holds it, for one that left beside it and is not settled
/// either; other texts that waited for that look again.
pub(super) async fn note_settled(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    attempt: Id<Attempt>,
    message: Id<Message>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE number_line SET unsettled_attempt = (SELECT a.id FROM message m CROSS JOIN attempt a \
             WHERE a.tenant = m.tenant AND a.message = m.id AND m.tenant = $1 AND m.number_token = $2 AND m.direction = 'out' AND m.class = 'emergency' AND a.settled_at IS NULL AND a.id <> $3 ORDER BY a.id LIMIT 1) \
             WHERE tenant = $1 AND number_token = $2 AND unsettled_attempt = $3")
            .bind(tenant)
            .bind(number)
            .bind(attempt),
    )
    .await?;
    wake(tx, tenant, number, Some(message), now).await
}

/// Lets texts that are held for this number look again at once, except the one that makes room for them.
pub(super) async fn wake(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number: &[u8],
    except: Option<Id<Message>>,
    now: Timestamp,
) -> Result<(), DbError> {
    let except = except.map(|message| message.to_string());
    hasten(tx, tenant, super::SEND_TEXT, &group(number), except.as_deref(), now).await
}

/// The group under which the jobs of a number's outbound texts can be hastened together.
pub(super) fn group(number: &[u8]) -> String {
    hex(number)
}

/// The lane in which the texts from this number are read, one after the other.
pub(super) fn reading_lane(number: &[u8]) -> String {
    format!("read:{}", hex(number))
}

/// The lane in which the rooms above hear of changes to the texts with this number, in their order.
pub(super) fn chart_lane(number: &[u8]) -> String {
    format!("chart:{}", hex(number))
}

/// Lower-case hexadecimal digits of opaque bytes.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
