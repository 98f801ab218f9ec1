//! Sealing stored values anew in the background, after data keys were replaced.

use super::{Place, Sealed, Vault, VaultError};
use crate::kernel::{Id, Tenant};
use futures_util::future::BoxFuture;
use std::fmt;

/// A column that holds sealed values. Its table has `tenant` and `id` (16 bytes) as primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

impl fmt::Display for SealedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// The kind of a row's id where the table is known only at run time.
pub enum AnyRow {}

/// A sealed value and its row.
pub struct SealedRow {
    /// The row's id.
    pub row: Id<AnyRow>,
    /// The bytes in the column.
    pub value: Vec<u8>,
}

/// Reads and replaces sealed values in any table. The database implements it.
pub trait SealedRows: Send + Sync {
    /// Up to `limit` values of `column` that are not null, ascending by row id, after the row `after`.
    fn page(
        &self,
        tenant: Id<Tenant>,
        column: SealedColumn,
        after: Option<Id<AnyRow>>,
        limit: i64,
    ) -> BoxFuture<'_, Result<Vec<SealedRow>, VaultError>>;

    /// Replaces the value of `previous.row` if it still is `previous.value`; says whether it was. What a person has
    /// edited meanwhile stays as it is: it is sealed under a new key already.
    fn replace(
        &self,
        tenant: Id<Tenant>,
        column: SealedColumn,
        previous: SealedRow,
        value: Sealed,
    ) -> BoxFuture<'_, Result<bool, VaultError>>;
}

/// How far a walk has come. A job carries it from one run to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ResealCursor {
    /// The column, counted from 0 in the plan.
    pub column: usize,
    /// The last row of it that is done.
    pub after: Option<Id<AnyRow>>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResealStep {
    /// Values looked at.
    pub seen: usize,
    /// Values sealed anew.
    pub resealed: usize,
    /// Where to go on; `None` when every column has been walked.
    pub next: Option<ResealCursor>,
}

/// Every column that holds sealed values, in the order in which they are walked. The composition root collects it
/// from the rooms that own the tables.
#[derive(Debug, Clone)]
pub struct ResealPlan(Vec<SealedColumn>);

impl ResealPlan {
    /// A plan over these columns.
    #[must_use]
    pub const fn new(columns: Vec<SealedColumn>) -> Self {
        Self(columns)
    }

    /// Walks up to `limit` values on from `cursor`. The same step may be run again after a crash: what is done already
    /// is left alone.
    ///
    /// # Errors
    /// [`VaultError::NotResealable`] names the row that stops the walk; otherwise as the stores fail.
    pub async fn step(
        &self,
        vault: &Vault,
        rows: &dyn SealedRows,
        tenant: Id<Tenant>,
        cursor: ResealCursor,
        limit: i64,
    ) -> Result<ResealStep, VaultError> {
        let Some(column) = self.0.get(cursor.column).copied() else {
            return match cursor.column {
                0 => Ok(ResealStep { seen: 0, resealed: 0, next: None }),
                number => Err(VaultError::NoSuchColumn { number }),
            };
        };
        let rotated = vault.rotated_keys(tenant).await?;
        let page = rows.page(tenant, column, cursor.after, limit).await?;
        let (seen, last) = (page.len(), page.last().map(|found| found.row));
        let mut resealed = 0;
        for found in page {
            let place = Place::new(column.table, found.row, column.column);
            let reason = |reason| VaultError::NotResealable {
                column,
                row: uuid::Uuid::from_bytes(*found.row.as_bytes()),
                reason: Box::new(reason),
            };
            let sealed = Sealed::from_bytes(found.value.clone()).map_err(reason)?;
            if let Some(renewed) = vault.reseal_if(&rotated, tenant, place, &sealed).await.map_err(reason)?
                && rows.replace(tenant, column, found, renewed).await?
            {
                resealed += 1;
            }
        }
        let next = match last {
            Some(row) => Some(ResealCursor { after: Some(row), ..cursor }),
            None if cursor.column + 1 < self.0.len() => Some(ResealCursor { column: cursor.column + 1, after: None }),
            None => None,
        };
        Ok(ResealStep { seen, resealed, next })
    }
}
