//! Numbers that must not be texted.

use super::Source;
use crate::{
    db::{Db, DbError, Row, Tx, sql},
    kernel::{Id, Tenant},
};
use jiff::Timestamp;

/// How a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Suppression {
    /// It is stopped.
    pub stopped: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who stopped it: the phone (STOP), the carrier, or staff on the patient's word.
    pub source: Option<Source>,
    /// STOP has been confirmed, by the carrier or by us.
    pub confirmed: bool,
}

/// Stops `number_token` for every workflow, from this transaction on, as said at `at`. Stopping a stopped number changes
/// nothing but since when it is stopped, except that STOP from the phone, or a block at the carrier, takes the place of
/// what staff had stopped: only START undoes it. STOP from the phone also takes the place of a block at the carrier: only
/// a START that was said after it undoes it. That the carrier has confirmed its block stands.
///
/// Returns whether anything has changed.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn suppress(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    source: Source,
    at: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .execute(
            sql("INSERT INTO suppression (tenant, number_token, stopped, source, since, confirmed_at) VALUES ($1, $2, 1, $3, $4, NULL) \
                 ON CONFLICT (tenant, number_token) DO UPDATE SET stopped = 1, source = excluded.source, since = excluded.since, \
                 confirmed_at = CASE WHEN suppression.stopped = 1 AND suppression.source = 'carrier' THEN suppression.confirmed_at END \
                 WHERE suppression.stopped = 0 OR (suppression.source = 'staff' AND excluded.source <> 'staff') \
                 OR (suppression.source = 'carrier' AND excluded.source = 'stop')")
            .bind(tenant)
            .bind(number_token)
            .bind(source.code())
            .bind(at),
        )
        .await?;
    if changed == 1 {
        return Ok(true);
    }
    // The last STOP is the one that a START has to come after.
    tx.execute(
        sql("UPDATE suppression SET since = $3 WHERE tenant = $1 AND number_token = $2 AND stopped = 1 AND since < $3 AND source = $4")
            .bind(tenant)
            .bind(number_token)
            .bind(at)
            .bind(source.code()),
    )
    .await?;
    Ok(false)
}

/// Stops `number_token` because the carrier's list shows that a text was refused at `at` for its block, unless START was
/// said after that. The carrier has told the patient whatever it tells.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn suppress_as_listed(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    at: Timestamp,
) -> Result<(), DbError> {
    let started = sql("SELECT 1 AS started FROM suppression WHERE tenant = $1 AND number_token = $2 \
         AND stopped = 0 AND source = 'start' AND since >= $3");
    if tx.optional(started.bind(tenant).bind(number_token).bind(at)).await?.is_some() {
        return Ok(());
    }
    suppress(tx, tenant, number_token, Source::Carrier, at).await?;
    mark_confirmed(tx, tenant, number_token, at).await
}

/// What a START has done to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It may be texted; it was stopped before.
    Released,
    /// It may be texted, as before.
    WasOpen,
    /// It stays stopped: the STOP was said later than the START.
    StoppedSince,
}

/// Lets `number_token` be texted again, after START or new explicit consent that was said at `at`, unless the number was
/// stopped later than that. A block that the carrier reported is lifted in any case: the carrier keeps its own list.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn release(tx: &mut Tx, tenant: Id<Tenant>, number_token: &[u8], at: Timestamp) -> Result<Release, DbError> {
    let changed = tx
        .execute(
            sql("UPDATE suppression SET stopped = 0, source = 'start', since = $3, confirmed_at = NULL \
                 WHERE tenant = $1 AND number_token = $2 AND stopped = 1 AND (since <= $3 OR source = 'carrier')")
            .bind(tenant)
            .bind(number_token)
            .bind(at),
        )
        .await?;
    if changed == 1 {
        return Ok(Release::Released);
    }
    Ok(if of_number(tx, tenant, number_token).await?.stopped { Release::StoppedSince } else { Release::WasOpen })
}

/// Lets `number_token` be texted again that staff had stopped on the patient's word before `agreed_at`, when the patient
/// has agreed anew. A number that said STOP, or that the carrier blocks, stays stopped: that takes START.
///
/// Returns whether it was let go.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn release_of_staff(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    agreed_at: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .execute(
            sql("UPDATE suppression SET stopped = 0, source = 'desk', since = $3, confirmed_at = NULL \
                 WHERE tenant = $1 AND number_token = $2 AND stopped = 1 AND source = 'staff' AND since <= $3")
            .bind(tenant)
            .bind(number_token)
            .bind(agreed_at),
        )
        .await?;
    Ok(changed == 1)
}

/// Notes that STOP has been confirmed, so that no second confirmation leaves.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn mark_confirmed(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    at: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE suppression SET confirmed_at = $3 WHERE tenant = $1 AND number_token = $2 AND stopped = 1")
            .bind(tenant)
            .bind(number_token)
            .bind(at),
    )
    .await
    .map(|_| ())
}

const OF_NUMBER: &str =
    "SELECT stopped, source, since, confirmed_at FROM suppression WHERE tenant = $1 AND number_token = $2";

/// How `number_token` stands, as committed.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn suppression(db: &Db, tenant: Id<Tenant>, number_token: &[u8]) -> Result<Suppression, DbError> {
    let row = db.optional(sql(OF_NUMBER).bind(tenant).bind(number_token)).await?;
    row.as_ref().map_or(Ok(Suppression::default()), read)
}

/// How `number_token` stands, in this transaction.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub(super) async fn of_number(tx: &mut Tx, tenant: Id<Tenant>, number_token: &[u8]) -> Result<Suppression, DbError> {
    let row = tx.optional(sql(OF_NUMBER).bind(tenant).bind(number_token)).await?;
    row.as_ref().map_or(Ok(Suppression::default()), read)
}

fn read(row: &Row) -> Result<Suppression, DbError> {
    let stopped = row.get::<bool>("stopped")?;
    Ok(Suppression {
        stopped,
        since: stopped.then(|| row.get("since")).transpose()?,
        source: if stopped { Source::from_code(&row.get::<String>("source")?) } else { None },
        confirmed: row.get::<Option<Timestamp>>("confirmed_at")?.is_some(),
    })
}
