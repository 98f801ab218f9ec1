//! Numbers that must not be texted.

use crate::{
    db::{DbError, Row, Tx, sql},
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
    /// STOP has been confirmed, by the carrier or by us.
    pub confirmed: bool,
}

/// Stops `number_token` for every workflow, from this transaction on. Stopping a stopped number changes nothing.
///
/// Returns whether it was open before.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn suppress(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    source: super::Source,
    at: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .execute(
            sql("INSERT INTO suppression (tenant, number_token, stopped, source, since, confirmed_at) VALUES ($1, $2, 1, $3, $4, NULL) \
                 ON CONFLICT (tenant, number_token) DO UPDATE SET stopped = 1, source = excluded.source, since = excluded.since, confirmed_at = NULL \
                 WHERE suppression.stopped = 0")
            .bind(tenant)
            .bind(number_token)
            .bind(source.code())
            .bind(at),
        )
        .await?;
    Ok(changed == 1)
}

/// Lets `number_token` be texted again, after START or new explicit consent.
///
/// Returns whether it was stopped before.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn release(tx: &mut Tx, tenant: Id<Tenant>, number_token: &[u8], at: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .execute(
            sql("UPDATE suppression SET stopped = 0, source = 'start', since = $3, confirmed_at = NULL \
                 WHERE tenant = $1 AND number_token = $2 AND stopped = 1")
            .bind(tenant)
            .bind(number_token)
            .bind(at),
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

/// How `number_token` stands.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub(super) async fn of_number(tx: &mut Tx, tenant: Id<Tenant>, number_token: &[u8]) -> Result<Suppression, DbError> {
    let row = tx
        .optional(
            sql("SELECT stopped, since, confirmed_at FROM suppression WHERE tenant = $1 AND number_token = $2")
                .bind(tenant)
                .bind(number_token),
        )
        .await?;
    row.as_ref().map_or(Ok(Suppression::default()), read)
}

fn read(row: &Row) -> Result<Suppression, DbError> {
    let stopped = row.get::<bool>("stopped")?;
    Ok(Suppression {
        stopped,
        since: stopped.then(|| row.get("since")).transpose()?,
        confirmed: row.get::<Option<Timestamp>>("confirmed_at")?.is_some(),
    })
}
