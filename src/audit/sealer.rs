//! The sealer: gives committed rows their place in the log and chains them.
//!
//! It is not part of any action's transaction, so the log never makes two actions wait for each other. Rows are taken
//! because they have no place yet, not by id: one that commits late, with a smaller id, is taken all the same.

use super::{
    AuditError, AuditRow, EndSessions, Head, HeadExport,
    behind::{mark_if_behind, stands_in_log},
    head::next_chain,
};
use crate::{
    db::{Command, Db, DbError, Row, Topic, Tx, Value, sql},
    kernel::{Id, Instruments, Tenant},
    vault::{MacKey, MacPurpose, Vault},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

/// Rows that one transaction seals. On SQLite every other write waits for it.
const BATCH: i64 = 256;
/// How long rows are gathered after the first was told of.
const GATHER: Duration = Duration::from_millis(250);
/// How often the sealer looks when it is told of nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Seals the logs of every tenant. Any number may run at once; for one tenant they take turns.
pub struct Sealer {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    export: HeadExport,
    end_sessions: EndSessions,
    /// The head that was exported last, by tenant.
    exported: Mutex<HashMap<Id<Tenant>, Head>>,
}

impl Sealer {
    /// A sealer that exports heads to `export`; `end_sessions` ends those of a tenant whose log is found to lack what was
    /// exported of it.
    #[must_use]
    pub fn new(db: Db, vault: Vault, instruments: Instruments, export: HeadExport, end_sessions: EndSessions) -> Self {
        Self { db, vault, instruments, export, end_sessions, exported: Mutex::default() }
    }

    /// Seals within a second of every commit until `stop`, and once more then. Failures are logged and tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut events = self.db.subscribe();
        if let Err(error) = self.export_unexported().await {
            tracing::error!(%error, "heads of the audit log are not exported");
        }
        loop {
            self.seal_all_or_log().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = told(&mut events) => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.seal_all_or_log().await;
    }

    async fn seal_all_or_log(&self) {
        let tenants = match self.tenants_with_unsealed_rows().await {
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be read");
                return;
            }
        };
        for tenant in tenants {
            if let Err(error) = self.seal_or_mark(tenant).await {
                metrics::counter!("chartwire_audit_seal_failures_total").increment(1);
                tracing::error!(%error, "the audit log is not sealed");
            }
        }
    }

    /// Seals; where the log is found to lack what was exported of it, its database has lost what was committed, and the
    /// tenant is marked as put back.
    async fn seal_or_mark(&self, tenant: Id<Tenant>) -> Result<(), AuditError> {
        match self.seal(tenant).await {
            Err(error @ AuditError::BehindExport { .. }) => {
                let whose = (tenant, &self.export);
                mark_if_behind(&self.db, &self.vault, &self.instruments, whose, self.end_sessions).await?;
                Err(error)
            }
            other => other.map(|_| ()),
        }
    }

    /// Seals what is committed of `tenant`'s log, exports the head, and gives the number of rows.
    ///
    /// # Errors
    /// [`AuditError::HeadForged`] and [`AuditError::HeadBehindRows`] when the head was tampered with: nothing is chained
    /// to it then. [`AuditError::BehindExport`] and [`AuditError::Export`] after the rows were sealed.
    pub async fn seal(&self, tenant: Id<Tenant>) -> Result<i64, AuditError> {
        let keys = self.vault.mac_keys(tenant, MacPurpose::AuditHead).await?;
        let key = self.vault.mac_key(tenant, MacPurpose::AuditHead).await?;
        let mut sealed = 0;
        let mut last = None;
        loop {
            let command = SealRows { tenant, key: key.clone(), keys: keys.clone(), at: self.instruments.now() };
            let Some(step) = self.db.execute(command).await? else { break };
            sealed += step.rows;
            last = Some(step.head);
            if step.rows < BATCH {
                break;
            }
        }
        if let Some(head) = last {
            self.export_head(head).await?;
        }
        Ok(sealed)
    }

    /// Exports the heads that a crash kept from being exported.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub async fn export_unexported(&self) -> Result<(), AuditError> {
        for row in self.db.all(sql("SELECT * FROM audit_head ORDER BY tenant")).await? {
            self.export_head(Head::read(&row)?).await?;
        }
        Ok(())
    }

    async fn tenants_with_unsealed_rows(&self) -> Result<Vec<Id<Tenant>>, DbError> {
        // In the order of the index of what is not sealed; a bare DISTINCT walks through the whole log on SQLite.
        let rows = sql("SELECT tenant, COUNT(id) AS unsealed FROM audit_row WHERE seq IS NULL GROUP BY tenant");
        let rows = self.db.all(rows).await?;
        rows.iter().map(|row| row.get("tenant")).collect()
    }

    /// Exports `head` if it goes on from the one that was exported last. A log that was put back to an older state
    /// and has grown since is not exported over the proof of that.
    async fn export_head(&self, head: Head) -> Result<(), AuditError> {
        let tenant = head.tenant;
        let known = self.exported.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        let before = match known {
            Some(known) if stands_in_log(&self.db, &known).await? => Some(known),
            // Also where what was exported was set aside after a restore.
            _ => {
                let export = self.export.clone();
                blocking(move || export.latest(tenant)).await?
            }
        };
        if let Some(before) = before {
            if !stands_in_log(&self.db, &before).await? {
                return Err(AuditError::BehindExport { tenant });
            }
            // Another sealer on this machine may have gone further already.
            if before.last_seq >= head.last_seq {
                return Ok(());
            }
        }
        let (export, line) = (self.export.clone(), head.clone());
        blocking(move || export.append(&line)).await?;
        self.exported.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, head);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuditError> + Send + 'static,
) -> Result<T, AuditError> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Waits until audit rows are committed, or may have been.
async fn told(events: &mut Receiver<crate::db::Event>) {
    loop {
        match events.recv().await {
            Ok(event) if event.topic != Topic::Audit => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // No more events will come: leave it to the regular look.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

struct Step {
    rows: i64,
    head: Head,
}

/// Seals up to [`BATCH`] rows; `None` when there is none.
struct SealRows {
    tenant: Id<Tenant>,
    key: MacKey,
    keys: Vec<MacKey>,
    at: Timestamp,
}

impl Command for SealRows {
    type Output = Option<Step>;
    type Error = AuditError;

    async fn run(&self, tx: &mut Tx) -> Result<Option<Step>, AuditError> {
        if self.unsealed(tx, 1).await?.is_empty() {
            return Ok(None);
        }
        let head = self.locked_head(tx).await?;
        let rows = self.unsealed(tx, BATCH).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut chain = head.last_chain;
        let mut places = Vec::with_capacity(rows.len());
        for (row, seq) in rows.iter().zip(head.last_seq + 1..) {
            let id: Id<AuditRow> = row.get("id")?;
            chain = next_chain(&self.key, &chain, seq, id, &row.get::<Vec<u8>>("mac")?).to_vec();
            places.push(SealedPlace { id, seq, chain: chain.clone() });
        }
        let count = i64::try_from(places.len()).unwrap_or(i64::MAX);
        place_rows(tx, self.tenant, places).await.map_err(|error| self.explained(error))?;
        let chain = chain.try_into().map_err(|_| DbError::Decode { column: "last_chain" })?;
        let head = Head::signed(self.tenant, head.last_seq + count, chain, self.at, &self.key);
        self.store_head(tx, &head).await?;
        Ok(Some(Step { rows: count, head }))
    }
}

impl SealRows {
    async fn unsealed(&self, tx: &mut Tx, limit: i64) -> Result<Vec<Row>, DbError> {
        let query = sql("SELECT id, mac FROM audit_row WHERE tenant = $1 AND seq IS NULL ORDER BY id LIMIT $2");
        tx.all(query.bind(self.tenant).bind(limit)).await
    }

    /// The head, held against other sealers until the end of the transaction. It is not extended when it was changed:
    /// that would sign the change.
    async fn locked_head(&self, tx: &mut Tx) -> Result<Head, AuditError> {
        let genesis = Head::genesis(self.tenant, self.at, &self.key);
        let made = tx
            .execute(
                sql("INSERT INTO audit_head (tenant, row_count, last_seq, last_chain, sealed_at, key_version, mac) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant) DO NOTHING")
                .bind(genesis.tenant)
                .bind(genesis.row_count)
                .bind(genesis.last_seq)
                .bind(genesis.last_chain)
                .bind(genesis.sealed_at)
                .bind(genesis.key_version)
                .bind(genesis.mac),
            )
            .await?;
        let sealed = sql("SELECT id FROM audit_row WHERE tenant = $1 AND seq IS NOT NULL LIMIT 1").bind(self.tenant);
        if made > 0 && tx.optional(sealed).await?.is_some() {
            return Err(AuditError::HeadBehindRows { tenant: self.tenant });
        }
        // Takes the row's lock on both databases.
        tx.execute(sql("UPDATE audit_head SET row_count = row_count WHERE tenant = $1").bind(self.tenant)).await?;
        let head = Head::read(&tx.one(sql("SELECT * FROM audit_head WHERE tenant = $1").bind(self.tenant)).await?)?;
        if !head.is_genuine(self.tenant, &self.keys) {
            return Err(AuditError::HeadForged { tenant: self.tenant });
        }
        Ok(head)
    }

    async fn store_head(&self, tx: &mut Tx, head: &Head) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE audit_head SET row_count = $2, last_seq = $3, last_chain = $4, sealed_at = $5, \
                 key_version = $6, mac = $7 WHERE tenant = $1")
            .bind(head.tenant)
            .bind(head.row_count)
            .bind(head.last_seq)
            .bind(head.last_chain.as_slice())
            .bind(head.sealed_at)
            .bind(head.key_version)
            .bind(head.mac.as_slice()),
        )
        .await
        .map(|_| ())
    }

    /// A place that is taken means that the head was put back.
    fn explained(&self, error: AuditError) -> AuditError {
        match error {
            AuditError::Db(DbError::UniqueViolation { .. }) => AuditError::HeadBehindRows { tenant: self.tenant },
            other => other,
        }
    }
}

struct SealedPlace {
    id: Id<AuditRow>,
    seq: i64,
    chain: Vec<u8>,
}

async fn place_rows(tx: &mut Tx, tenant: Id<Tenant>, places: Vec<SealedPlace>) -> Result<(), AuditError> {
    let wanted = places.len() as u64;
    let mut touched = 0;
    if tx.is_postgres() {
        let (mut ids, mut seqs, mut chains) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            ids.push(Some(place.id.as_bytes().to_vec()));
            seqs.push(Some(place.seq));
            chains.push(Some(place.chain));
        }
        let query = sql("UPDATE audit_row SET seq = sealed.seq, chain = sealed.chain \
             FROM UNNEST($2::bytea[], $3::bigint[], $4::bytea[]) AS sealed (id, seq, chain) \
             WHERE audit_row.tenant = $1 AND audit_row.id = sealed.id AND audit_row.seq IS NULL");
        touched += tx
            .execute(
                query
                    .bind(tenant)
                    .bind(Value::ByteStrings(ids))
                    .bind(Value::Integers(seqs))
                    .bind(Value::ByteStrings(chains)),
            )
            .await?;
    } else {
        for place in places {
            let query = sql("UPDATE audit_row SET seq = $3, chain = $4 WHERE tenant = $1 AND id = $2 AND seq IS NULL");
            touched += tx.execute(query.bind(tenant).bind(place.id).bind(place.seq).bind(place.chain)).await?;
        }
    }
    if touched == wanted { Ok(()) } else { Err(AuditError::RowsChanged) }
}
