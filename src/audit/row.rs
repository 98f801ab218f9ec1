//! An audit row as it is stored, its MAC, and how a row comes into the log.

use super::{AuditEntry, AuditRow, Request};
use crate::{
    db::{Command, Db, DbError, Query, Row, Topic, Tx, Value, sql_built, sql_rows},
    kernel::{Id, Instruments, Tenant},
    vault::{MacKey, MacPurpose, Vault, VaultError},
};
use jiff::Timestamp;

/// Signs audit rows of one tenant. Made before the transaction, so that nothing but the database is waited for inside.
#[derive(Clone)]
pub struct AuditSigner {
    tenant: Id<Tenant>,
    key: MacKey,
    instruments: Instruments,
}

impl AuditSigner {
    /// A signer for `tenant`.
    ///
    /// # Errors
    /// [`VaultError`] when the tenant's audit key cannot be had.
    pub async fn new(vault: &Vault, instruments: Instruments, tenant: Id<Tenant>) -> Result<Self, VaultError> {
        let key = vault.mac_key(tenant, MacPurpose::AuditRow).await?;
        Ok(Self { tenant, key, instruments })
    }

    /// Whose rows it signs.
    #[must_use]
    pub const fn tenant(&self) -> Id<Tenant> {
        self.tenant
    }

    fn sign(&self, entry: &AuditEntry) -> Result<StoredRow, DbError> {
        let written = |json: Result<String, serde_json::Error>, column| json.map_err(|_| DbError::Decode { column });
        let mut row = StoredRow {
            tenant: self.tenant,
            id: self.instruments.new_id(),
            at: self.instruments.now(),
            actor_kind: entry.actor.kind().to_owned(),
            actor: entry.actor.name(),
            action: entry.action.code().to_owned(),
            purpose: entry.purpose.to_owned(),
            request: entry.request,
            subjects: written(serde_json::to_string(&entry.subjects), "subjects")?,
            outcome: entry.outcome.code().to_owned(),
            detail: written(serde_json::to_string(&entry.detail), "detail")?,
            key_version: self.key.version(),
            mac: Vec::new(),
            seq: None,
            chain: None,
        };
        row.mac = self.key.sign(&row.signed_parts().each_ref().map(Vec::as_slice)).to_vec();
        Ok(row)
    }
}

const INSERT: &str = "INSERT INTO audit_row (tenant, id, at, actor_kind, actor, action, purpose, request, subjects, outcome, \
                      detail, key_version, mac)";

/// Writes `entry` into the log of the signer's tenant, in the transaction of the action itself: both happen or neither.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn record(tx: &mut Tx, entry: &AuditEntry, signer: &AuditSigner) -> Result<Id<AuditRow>, DbError> {
    let row = signer.sign(entry)?;
    let id = row.id;
    let insert = sql_built(format!("{INSERT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"));
    tx.execute(row.columns().into_iter().fold(insert, Query::bind)).await?;
    tx.publish(Topic::Audit, signer.tenant.to_string());
    Ok(id)
}

/// Writes several entries with one statement, each by its signer: for actions that are done together.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn record_all(tx: &mut Tx, entries: &[(AuditEntry, &AuditSigner)]) -> Result<(), DbError> {
    if entries.is_empty() {
        return Ok(());
    }
    let sign = |(entry, signer): &(AuditEntry, &AuditSigner)| Ok(signer.sign(entry)?.columns());
    let rows = entries.iter().map(sign).collect::<Result<_, DbError>>()?;
    tx.execute(sql_rows(INSERT, rows, "", tx.is_postgres())?).await?;
    for (_, signer) in entries {
        tx.publish(Topic::Audit, signer.tenant.to_string());
    }
    Ok(())
}

/// Writes `entry` in a transaction of its own, for actions that change nothing else: a refusal, a read.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn record_alone(db: &Db, entry: AuditEntry, signer: AuditSigner) -> Result<Id<AuditRow>, DbError> {
    db.execute(RecordAlone { entry, signer }).await
}

struct RecordAlone {
    entry: AuditEntry,
    signer: AuditSigner,
}

impl Command for RecordAlone {
    type Output = Id<AuditRow>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Id<AuditRow>, DbError> {
        record(tx, &self.entry, &self.signer).await
    }
}

/// A row as it is stored.
pub(super) struct StoredRow {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<AuditRow>,
    pub(super) at: Timestamp,
    pub(super) actor_kind: String,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) purpose: String,
    pub(super) request: Option<Id<Request>>,
    pub(super) subjects: String,
    pub(super) outcome: String,
    pub(super) detail: String,
    pub(super) key_version: i64,
    pub(super) mac: Vec<u8>,
    pub(super) seq: Option<i64>,
    pub(super) chain: Option<Vec<u8>>,
}

impl StoredRow {
    /// What it is written with, in the order of [`INSERT`]'s columns.
    fn columns(self) -> Vec<Value> {
        vec![
            self.tenant.into(),
            self.id.into(),
            self.at.into(),
            self.actor_kind.into(),
            self.actor.into(),
            self.action.into(),
            self.purpose.into(),
            self.request.into(),
            self.subjects.into(),
            self.outcome.into(),
            self.detail.into(),
            self.key_version.into(),
            self.mac.into(),
        ]
    }

    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            tenant: row.get("tenant")?,
            id: row.get("id")?,
            at: row.get("at")?,
            actor_kind: row.get("actor_kind")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            purpose: row.get("purpose")?,
            request: row.get("request")?,
            subjects: row.get("subjects")?,
            outcome: row.get("outcome")?,
            detail: row.get("detail")?,
            key_version: row.get("key_version")?,
            mac: row.get("mac")?,
            seq: row.get("seq")?,
            chain: row.get("chain")?,
        })
    }

    /// Whether the row is as it was written. `keys` are all that ever signed for the tenant.
    pub(super) fn is_genuine(&self, keys: &[MacKey]) -> bool {
        let parts = self.signed_parts();
        keys.iter()
            .filter(|key| key.version() == self.key_version)
            .any(|key| key.verify(&parts.each_ref().map(Vec::as_slice), &self.mac))
    }

    /// Every column but the MAC itself and what the sealer adds, in the order of the table.
    fn signed_parts(&self) -> [Vec<u8>; 13] {
        [
            b"audit row".to_vec(),
            self.tenant.as_bytes().to_vec(),
            self.id.as_bytes().to_vec(),
            self.at.as_millisecond().to_be_bytes().to_vec(),
            self.actor_kind.as_bytes().to_vec(),
            self.actor.as_bytes().to_vec(),
            self.action.as_bytes().to_vec(),
            self.purpose.as_bytes().to_vec(),
            self.request.map(|request| request.as_bytes().to_vec()).unwrap_or_default(),
            self.subjects.as_bytes().to_vec(),
            self.outcome.as_bytes().to_vec(),
            self.detail.as_bytes().to_vec(),
            self.key_version.to_be_bytes().to_vec(),
        ]
    }
}
