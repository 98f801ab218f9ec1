//! The vault's stores over a database: sealed values in any table, for re-sealing.

use super::{
    Db, DbError, Query, Row,
    key_store::{OneStatement, unavailable},
    sql_built,
};
use crate::{
    kernel::{Id, Tenant},
    vault::{RowKey, RowKind, Sealed, SealedColumn, SealedRow, SealedRows, VaultError},
};
use futures_util::future::BoxFuture;

/// Reads and replaces sealed values wherever they stand. Table and column names are constants of the program.
#[derive(Clone)]
pub struct DbSealedRows(Db);

impl DbSealedRows {
    /// Sealed values of `db`.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self(db)
    }

    async fn read(&self, at: SealedColumn, query: Query) -> Result<Vec<SealedRow>, DbError> {
        self.0.all(query).await?.iter().map(|row| sealed_row(at, row)).collect()
    }

    async fn whole_page(
        &self,
        tenant: Id<Tenant>,
        at: SealedColumn,
        after: Option<RowKey>,
        limit: i64,
    ) -> Result<Vec<SealedRow>, DbError> {
        let SealedColumn { table, row, column, .. } = at;
        let select = format!("SELECT {row}, {column} FROM {table} WHERE tenant = $1 AND {column} IS NOT NULL");
        let query = match &after {
            None => sql_built(format!("{select} ORDER BY {row} LIMIT $2")).bind(tenant).bind(limit),
            Some(after) => {
                let query = sql_built(format!("{select} AND {row} > $3 ORDER BY {row} LIMIT $2"));
                bind_key(query.bind(tenant).bind(limit), after)
            }
        };
        self.completed(tenant, at, &select, query).await
    }

    /// The page with all values of its last row key, so that the next page may begin after that key.
    async fn completed(
        &self,
        tenant: Id<Tenant>,
        at: SealedColumn,
        select: &str,
        query: Query,
    ) -> Result<Vec<SealedRow>, DbError> {
        let mut page = self.read(at, query).await?;
        if let Some(last) = page.last().map(|found| found.row.clone()) {
            page.retain(|found| found.row != last);
            let query = sql_built(format!("{select} AND {} = $2", at.row)).bind(tenant);
            page.extend(self.read(at, bind_key(query, &last)).await?);
        }
        Ok(page)
    }
}

impl SealedRows for DbSealedRows {
    fn page(
        &self,
        tenant: Id<Tenant>,
        column: SealedColumn,
        after: Option<RowKey>,
        limit: i64,
    ) -> BoxFuture<'_, Result<Vec<SealedRow>, VaultError>> {
        Box::pin(async move { self.whole_page(tenant, column, after, limit).await.map_err(unavailable) })
    }

    fn replace(
        &self,
        tenant: Id<Tenant>,
        at: SealedColumn,
        previous: SealedRow,
        value: Sealed,
    ) -> BoxFuture<'_, Result<bool, VaultError>> {
        let SealedColumn { table, row, column, .. } = at;
        // A sealed value is unique by its nonce, so this touches one row even where `row` is not unique.
        let text = format!("UPDATE {table} SET {column} = $2 WHERE tenant = $1 AND {column} = $3 AND {row} = $4");
        let query = sql_built(text).bind(tenant).bind(value.into_bytes()).bind(previous.value);
        let query = bind_key(query, &previous.row);
        Box::pin(async move { self.0.execute(OneStatement(query)).await.map_err(unavailable).map(|rows| rows > 0) })
    }
}

fn bind_key(query: Query, key: &RowKey) -> Query {
    match key {
        RowKey::Id(id) => query.bind(*id),
        RowKey::Text(text) => query.bind(text.as_str()),
    }
}

fn sealed_row(at: SealedColumn, row: &Row) -> Result<SealedRow, DbError> {
    let key = match at.row_kind {
        RowKind::Id => RowKey::Id(row.get(at.row)?),
        RowKind::Text => RowKey::Text(row.get(at.row)?),
    };
    Ok(SealedRow { row: key, value: row.get(at.column)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Instruments, SystemEntropy},
        vault::{DataKey, Kek, LocalKeks, Place, ResealCursor, ResealPlan, RetentionClass, Vault},
    };
    use std::{collections::HashSet, sync::Arc};

    enum Patient {}

    const CLINIC: Id<Tenant> = Id::from_bytes([1; 16]);
    const COLUMNS: [SealedColumn; 2] = [
        SealedColumn::keyed("patient_number", "patient", RowKind::Id, "number"),
        SealedColumn::keyed("appointment", "fhir_id", RowKind::Text, "labels"),
    ];

    async fn add(db: &Db, query: Query) {
        db.execute(OneStatement(query)).await.unwrap();
    }

    async fn fill(db: &Db, vault: &Vault) {
        for number in 0..6_u8 {
            // Two numbers for each patient.
            let patient = Id::<Patient>::from_bytes([number / 2; 16]);
            let place = Place::new("patient_number", &patient, "number");
            let value = vault.seal(CLINIC, RetentionClass::Directory, place, &[number]).await.unwrap();
            add(
                db,
                sql_built(
                    "INSERT INTO patient_number (tenant, patient, number_token, key_version, number, kind, rank, \
                     current, since) VALUES ($1, $2, $3, 1, $4, 'mobile', 1, 1, 0)"
                        .to_owned(),
                )
                .bind(CLINIC)
                .bind(patient)
                .bind(vec![number])
                .bind(value.into_bytes()),
            )
            .await;
            let fhir_id = format!("visit-{number}");
            let place = Place::keyed("appointment", &fhir_id, "labels");
            let value = vault.seal(CLINIC, RetentionClass::Clinical, place, &[number]).await.unwrap();
            add(
                db,
                sql_built(
                    "INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, slots, labels, \
                     seen_at) VALUES ($1, $2, $3, 'booked', 0, 0, '[]', $4, 0)"
                        .to_owned(),
                )
                .bind(CLINIC)
                .bind(fhir_id.as_str())
                .bind(patient)
                .bind(value.into_bytes()),
            )
            .await;
        }
    }

    #[tokio::test]
    async fn every_value_is_sealed_anew_whatever_names_its_row() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("rows.db").display())).await.unwrap();
        let mut provider = LocalKeks::new(Arc::new(SystemEntropy));
        provider.insert(CLINIC, vec![Kek::generate(&SystemEntropy)]).unwrap();
        let store = Arc::new(super::super::DbKeyStore::new(db.clone()));
        let vault = Vault::new(store, Arc::new(provider), Instruments::system());
        fill(&db, &vault).await;
        vault.rotate_data_keys(CLINIC).await.unwrap();

        let (plan, rows) = (ResealPlan::new(COLUMNS.to_vec()), DbSealedRows::new(db.clone()));
        let (mut cursor, mut resealed) = (Some(ResealCursor::default()), 0);
        while let Some(at) = cursor {
            let step = plan.step(&vault, &rows, CLINIC, at, 3).await.unwrap();
            resealed += step.resealed;
            cursor = step.next;
        }
        assert_eq!(resealed, 12);

        let rotated: HashSet<Id<DataKey>> = vault.rotated_keys(CLINIC).await.unwrap();
        for column in COLUMNS {
            for found in rows.page(CLINIC, column, None, 100).await.unwrap() {
                let sealed = Sealed::from_bytes(found.value).unwrap();
                assert!(!rotated.contains(&sealed.key_id()));
                let place = match &found.row {
                    RowKey::Id(id) => Place::new(column.table, id, column.column),
                    RowKey::Text(text) => Place::keyed(column.table, text, column.column),
                };
                vault.open(CLINIC, place, &sealed).await.unwrap();
            }
        }
    }
}
