//! The write ledger: every write is pending before it is sent, and written, rejected or unknown afterwards (law 5).

use super::{Ehr, EhrError};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail},
    db::{Command, Db, DbError, Tx, sql},
    fhir::{ETag, IfNoneExist, PatchOperation, ResourceRef, SearchMethod, SearchParams, WriteOutcome},
    kernel::{Id, Instruments, Tenant},
    vault::Vault,
};
use jiff::Timestamp;
use serde_json::Value;

/// Marks ids of rows in the ledger.
pub(super) enum EhrWrite {}

/// The system of our identifiers (RFC 8141 names, as FHIR's own examples use it).
pub(crate) const IDENTIFIER_SYSTEM: &str = "urn:ietf:rfc:3986";

/// What makes two writes the same write.
#[derive(Debug, Clone)]
pub struct WriteIntent {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// The same words mean the same write; for a create also the value of the identifier that goes into it.
    pub words: String,
}

/// A resource as the EHR has confirmed it.
#[derive(Debug, Clone)]
pub struct WrittenRef {
    /// `Type/id`.
    pub reference: String,
    /// The version, where the EHR tells.
    pub version: Option<String>,
}

/// The ledger of every tenant.
#[derive(Clone)]
pub struct Ledger {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

struct Entry {
    state: String,
    reference: Option<String>,
    version: Option<String>,
    fresh: bool,
}

impl Ledger {
    /// Over this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Creates `body`, whose identifier is the intent's words, once.
    ///
    /// # Errors
    /// [`EhrError::Unknown`] when the answer was lost: calling again looks it up first. Otherwise as the EHR says.
    pub async fn create(
        &self,
        ehr: &Ehr,
        intent: &WriteIntent,
        resource_type: &'static str,
        body: &Value,
    ) -> Result<WrittenRef, EhrError> {
        let entry = self.begin(intent, "create", resource_type).await?;
        if let ("written", Some(reference)) = (entry.state.as_str(), entry.reference) {
            return Ok(WrittenRef { reference, version: entry.version });
        }
        // A try before this one may have arrived, although nobody heard of it.
        if !entry.fresh
            && let Some(found) = find(ehr, resource_type, &intent.words).await?
        {
            self.settle(intent, "written", Some(&found), None).await?;
            return Ok(found);
        }
        let unless = IfNoneExist::identifier(IDENTIFIER_SYSTEM, &intent.words);
        match ehr.client.create(resource_type, body, Some(&unless)).await {
            WriteOutcome::Written(written) | WriteOutcome::Existing(written) => {
                let reference = match written.reference {
                    Some(reference) => WrittenRef {
                        reference: reference.to_string(),
                        version: written.version.map(|version| version.as_str().to_owned()),
                    },
                    // A 201 without a Location: it is there, and its identifier finds it.
                    None => find(ehr, resource_type, &intent.words).await?.ok_or(EhrError::Unknown)?,
                };
                self.settle(intent, "written", Some(&reference), None).await?;
                Ok(reference)
            }
            other => Err(self.failed(intent, other).await?),
        }
    }

    /// Changes `target` from `version` on. Not looked up by itself: the caller reads again and compares.
    ///
    /// # Errors
    /// [`EhrError::Conflict`] when the resource is not at `version` any more; otherwise as the EHR says.
    pub async fn patch(
        &self,
        ehr: &Ehr,
        intent: &WriteIntent,
        target: &ResourceRef,
        version: &ETag,
        operations: &[PatchOperation],
    ) -> Result<WrittenRef, EhrError> {
        self.begin(intent, "patch", target.resource_type()).await?;
        match ehr.client.patch(target, operations, version).await {
            WriteOutcome::Written(written) | WriteOutcome::Existing(written) => {
                let reference = WrittenRef {
                    reference: target.to_string(),
                    version: written.version.map(|version| version.as_str().to_owned()),
                };
                self.settle(intent, "written", Some(&reference), None).await?;
                Ok(reference)
            }
            other => Err(self.failed(intent, other).await?),
        }
    }

    async fn failed(&self, intent: &WriteIntent, outcome: WriteOutcome) -> Result<EhrError, EhrError> {
        let (state, code, error) = match outcome {
            WriteOutcome::Conflict { .. } => ("rejected", "conflict", EhrError::Conflict),
            WriteOutcome::Rejected { status, .. } => {
                metrics::counter!("chartwire_ehr_rejections_total", "status" => status.to_string()).increment(1);
                ("rejected", "rejected", EhrError::Refused { code: "ehr-rejected" })
            }
            WriteOutcome::Unknown(_) => ("unknown", "no-answer", EhrError::Unknown),
            // Nothing has left: the row stays pending, and the next try is the first that counts.
            WriteOutcome::NotSent(cause) => ("pending", "not-sent", cause.into()),
            WriteOutcome::Written(_) | WriteOutcome::Existing(_) => ("written", "written", EhrError::Unknown),
        };
        self.settle(intent, state, None, Some(code)).await?;
        Ok(error)
    }

    async fn begin(&self, intent: &WriteIntent, operation: &'static str, resource: &str) -> Result<Entry, EhrError> {
        let command = Begin {
            id: self.instruments.new_id(),
            intent: intent.clone(),
            operation,
            resource: resource.to_owned(),
            now: self.instruments.now(),
        };
        Ok(self.db.execute(command).await?)
    }

    async fn settle(
        &self,
        intent: &WriteIntent,
        state: &'static str,
        written: Option<&WrittenRef>,
        code: Option<&'static str>,
    ) -> Result<(), EhrError> {
        let signer = AuditSigner::new(&self.vault, self.instruments.clone(), intent.tenant).await?;
        let command = Settle {
            intent: intent.clone(),
            state,
            written: written.cloned(),
            code,
            now: self.instruments.now(),
            signer,
        };
        Ok(self.db.execute(command).await?)
    }
}

/// The resource that carries our identifier.
async fn find(ehr: &Ehr, resource_type: &str, value: &str) -> Result<Option<WrittenRef>, EhrError> {
    let params = SearchParams::new().with_token("identifier", IDENTIFIER_SYSTEM, value);
    let page = ehr.client.search(resource_type, params, SearchMethod::Get)?.all().await?;
    Ok(page.matches.first().and_then(|found| {
        Some(WrittenRef {
            reference: found.reference()?.to_string(),
            version: found.version().map(|version| version.as_str().to_owned()),
        })
    }))
}

struct Begin {
    id: Id<EhrWrite>,
    intent: WriteIntent,
    operation: &'static str,
    resource: String,
    now: Timestamp,
}

impl Command for Begin {
    type Output = Entry;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Entry, DbError> {
        let row = tx
            .one(
                sql("INSERT INTO ehr_write (tenant, id, intent, operation, resource, state, attempts, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, 'pending', 1, $6, $6) \
                     ON CONFLICT (tenant, intent) DO UPDATE SET attempts = ehr_write.attempts + 1, updated_at = excluded.updated_at \
                     RETURNING state, reference, version, attempts")
                .bind(self.intent.tenant)
                .bind(self.id)
                .bind(self.intent.words.clone())
                .bind(self.operation)
                .bind(self.resource.clone())
                .bind(self.now),
            )
            .await?;
        Ok(Entry {
            state: row.get("state")?,
            reference: row.get("reference")?,
            version: row.get("version")?,
            fresh: row.get::<i64>("attempts")? == 1,
        })
    }
}

struct Settle {
    intent: WriteIntent,
    state: &'static str,
    written: Option<WrittenRef>,
    code: Option<&'static str>,
    now: Timestamp,
    signer: AuditSigner,
}

impl Command for Settle {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE ehr_write SET state = $3, reference = COALESCE($4, reference), version = COALESCE($5, version), code = $6, updated_at = $7 \
                 WHERE tenant = $1 AND intent = $2")
            .bind(self.intent.tenant)
            .bind(self.intent.words.clone())
            .bind(self.state)
            .bind(self.written.as_ref().map(|written| written.reference.clone()))
            .bind(self.written.as_ref().and_then(|written| written.version.clone()))
            .bind(self.code)
            .bind(self.now),
        )
        .await?;
        let ended = if self.state == "written" { audit::Outcome::Success } else { audit::Outcome::Failed };
        let entry = AuditEntry::new(Actor::System("ehr"), Action::EhrWrite, "ledger")
            .ended(ended)
            .with_detail(Detail::new().code("state", self.state).foreign_id("intent", &self.intent.words));
        audit::record(tx, &entry, &self.signer).await.map(|_| ())
    }
}
