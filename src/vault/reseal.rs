//! Sealing stored values anew in the background, after data keys were replaced.

use super::{DataKey, Place, Sealed, Vault, VaultError};
use crate::kernel::{Id, Tenant};
use futures_util::future::BoxFuture;
use std::{collections::HashSet, fmt};

/// A column that holds sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column whose value names the row in the [`Place`] of its values. It need not be unique.
    pub row: &'static str,
    /// What the values of `row` are.
    pub row_kind: RowKind,
    /// The column with the sealed values.
    pub column: &'static str,
}

/// What names a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// An id of ours, 16 bytes.
    Id,
    /// A text, such as a FHIR id.
    Text,
}

impl SealedColumn {
    /// A column of a table whose rows are named by `id`.
    #[must_use]
    pub const fn new(table: &'static str, column: &'static str) -> Self {
        Self { table, row: "id", row_kind: RowKind::Id, column }
    }

    /// A column of a table whose rows are named by the column `row`.
    #[must_use]
    pub const fn keyed(table: &'static str, row: &'static str, row_kind: RowKind, column: &'static str) -> Self {
        Self { table, row, row_kind, column }
    }
}

impl fmt::Display for SealedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// The kind of a row's id where the table is known only at run time.
pub enum AnyRow {}

/// The name of a row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKey {
    /// An id of ours.
    Id(Id<AnyRow>),
    /// A text.
    Text(String),
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A sealed value and its row.
pub struct SealedRow {
    /// The row's name.
    pub row: RowKey,
    /// The bytes in the column.
    pub value: Vec<u8>,
}

/// Reads and replaces sealed values in any table. The database implements it.
pub trait SealedRows: Send + Sync {
    /// About `limit` values of `column` that are not null, ascending by row, after the row `after`. Where several values
    /// belong to one row key, a page holds all or none of them.
    fn page(
        &self,
        tenant: Id<Tenant>,
        column: SealedColumn,
        after: Option<RowKey>,
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
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ResealCursor {
    /// The column, counted from 0 in the plan.
    pub column: usize,
    /// The last row of it that is done.
    pub after: Option<RowKey>,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let (seen, last) = (page.len(), page.last().map(|found| found.row.clone()));
        let mut resealed = 0;
        for found in page {
            let renewed = match renew(vault, &rotated, tenant, column, &found).await {
                Ok(None) => continue,
                Ok(Some(renewed)) => renewed,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    let row = found.row.to_string();
                    return Err(VaultError::NotResealable { column, row, reason: Box::new(error) });
                }
            };
            if rows.replace(tenant, column, found, renewed).await? {
                resealed += 1;
            }
        }
        let next = match last {
            Some(row) => Some(ResealCursor { column: cursor.column, after: Some(row) }),
            None if cursor.column + 1 < self.0.len() => Some(ResealCursor { column: cursor.column + 1, after: None }),
            None => None,
        };
        Ok(ResealStep { seen, resealed, next })
    }
}

async fn renew(
    vault: &Vault,
    rotated: &HashSet<Id<DataKey>>,
    tenant: Id<Tenant>,
    column: SealedColumn,
    found: &SealedRow,
) -> Result<Option<Sealed>, VaultError> {
    let sealed = Sealed::from_bytes(found.value.clone())?;
    let place = match &found.row {
        RowKey::Id(id) => Place::new(column.table, id, column.column),
        RowKey::Text(text) => Place::keyed(column.table, text, column.column),
    };
    vault.reseal_if(rotated, tenant, place, &sealed).await
}
