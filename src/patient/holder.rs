//! Whether a number is a patient's at this moment, and what its holder has said of that.

use crate::{
    db::{DbError, Tx, sql},
    kernel::{Id, Patient, Tenant},
};

/// The living patients who have a number now, each once.
pub(super) const WITH_NUMBER: &str = "SELECT DISTINCT s.id FROM patient_number n \
    JOIN patient p ON p.tenant = n.tenant AND p.id = n.patient \
    JOIN patient s ON s.tenant = p.tenant AND s.id = COALESCE(p.merged_into, p.id) \
    WHERE n.tenant = $1 AND n.number_token = $2 AND n.current = 1 AND s.deceased = 0 ORDER BY s.id";

/// How a number stands with a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberHolder {
    /// It is one of the patient's current numbers.
    pub on_file: bool,
    /// Its holder has said that it is not the patient's, and nobody has settled that.
    pub disputed: bool,
    /// The patient has died.
    pub deceased: bool,
}

/// Every living patient who has this number now, in this transaction; after a merge, the survivor.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn numbers_holders(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
) -> Result<Vec<Id<Patient>>, DbError> {
    let query = sql(WITH_NUMBER).bind(tenant).bind(number_token);
    tx.all(query).await?.iter().map(|row| row.get("id")).collect()
}

/// How `number_token` stands with `patient`, in this transaction; after a merge, with the survivor.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn holder_of(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    patient: Id<Patient>,
    number_token: &[u8],
) -> Result<NumberHolder, DbError> {
    let survivor = tx
        .optional(
            sql("SELECT s.id, s.deceased FROM patient p JOIN patient s ON s.tenant = p.tenant AND s.id = COALESCE(p.merged_into, p.id) \
                 WHERE p.tenant = $1 AND p.id = $2")
            .bind(tenant)
            .bind(patient),
        )
        .await?;
    let Some(survivor) = survivor else {
        return Ok(NumberHolder { on_file: false, disputed: false, deceased: false });
    };
    let rows = tx
        .all(
            sql(
                "SELECT n.disputed_by FROM patient_number n JOIN patient p ON p.tenant = n.tenant AND p.id = n.patient \
                 WHERE n.tenant = $1 AND n.number_token = $2 AND n.current = 1 AND COALESCE(p.merged_into, p.id) = $3",
            )
            .bind(tenant)
            .bind(number_token)
            .bind(survivor.get::<Id<Patient>>("id")?),
        )
        .await?;
    let mut holder = NumberHolder { on_file: !rows.is_empty(), disputed: false, deceased: survivor.get("deceased")? };
    for row in &rows {
        holder.disputed |= row.get::<Option<Vec<u8>>>("disputed_by")?.is_some();
    }
    Ok(holder)
}

/// Notes that the text `said` from this number says that it belongs to none of those who have it on file.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn dispute_number<K>(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    said: Id<K>,
) -> Result<(), DbError> {
    tx.execute(
        sql("UPDATE patient_number SET disputed_by = $3 WHERE tenant = $1 AND number_token = $2 AND current = 1")
            .bind(tenant)
            .bind(number_token)
            .bind(said),
    )
    .await
    .map(|_| ())
}

/// Notes that a person has looked into what the text `said` disputed: what stands in the EHR holds again.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn settle_dispute<K>(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    said: Id<K>,
) -> Result<(), DbError> {
    tx.execute(
        sql(
            "UPDATE patient_number SET disputed_by = NULL WHERE tenant = $1 AND number_token = $2 AND disputed_by = $3",
        )
        .bind(tenant)
        .bind(number_token)
        .bind(said),
    )
    .await
    .map(|_| ())
}
