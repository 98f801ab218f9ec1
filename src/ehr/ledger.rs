//! The write ledger: every write is pending before it is sent, and written, rejected or unknown afterwards (law 5);
//! overtaken, where it does not matter any more whether it was made.

use super::{
    Ehr, EhrError,
    ledger_rows::{Begin, Entry, NOT_SENT, Settle},
};
use crate::{
    audit::AuditSigner,
    db::{Db, DbError, Recovery, sql},
    fhir::{IfNoneExist, PatchOperation, Resource, SearchMethod, SearchParams, WriteOutcome},
    jobs::LeasedJob,
    kernel::{Id, Instruments, Tenant},
    vault::Vault,
};
use jiff::SignedDuration;
use serde_json::Value;

/// The system of our identifiers (RFC 8141 names, as FHIR's own examples use it).
pub const IDENTIFIER_SYSTEM: &str = "urn:ietf:rfc:3986";

/// For how long after a recovery every create is looked up first: longer than any is tried.
const LOOKED_UP_FOR: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What makes two writes the same write.
#[derive(Debug, Clone)]
pub struct WriteIntent {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// The same words mean the same write; for a create also the value of the identifier that goes into it.
    pub words: String,
    /// The job that alone writes the resource, where there is such a job. Without its lease nothing is begun, and what it
    /// has begun on the resource before is settled by what it writes now.
    pub sole_writer: Option<LeasedJob>,
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
        let may_be_there = entry.uncertain || self.books_were_behind(intent.tenant).await?;
        if may_be_there && let Some(found) = find(ehr, resource_type, (IDENTIFIER_SYSTEM, &intent.words)).await? {
            self.settle(intent, "written", Some(&found), None).await?;
            return Ok(found);
        }
        // Servers that do not advertise it ignore it.
        let unless = ehr
            .capabilities(self.instruments.now())
            .await?
            .creates_conditionally(resource_type)
            .then(|| IfNoneExist::identifier(IDENTIFIER_SYSTEM, &intent.words));
        let outcome = ehr.client.create(resource_type, body, unless.as_ref()).await;
        // 412: more than one has our identifier, and one of them is as good as the other.
        if matches!(outcome, WriteOutcome::Conflict { .. })
            && let Some(found) = find(ehr, resource_type, (IDENTIFIER_SYSTEM, &intent.words)).await?
        {
            self.settle(intent, "written", Some(&found), None).await?;
            return Ok(found);
        }
        match outcome {
            WriteOutcome::Written(written) | WriteOutcome::Existing(written) => {
                let reference = if let Some(reference) = written.reference {
                    WrittenRef {
                        reference: reference.to_string(),
                        version: written.version.map(|version| version.as_str().to_owned()),
                    }
                } else {
                    // A 201 without a Location: it is there, and its identifier finds it.
                    let ours = (IDENTIFIER_SYSTEM, intent.words.as_str());
                    find(ehr, resource_type, ours).await?.ok_or(EhrError::Unknown)?
                };
                self.settle(intent, "written", Some(&reference), None).await?;
                Ok(reference)
            }
            other => Err(self.failed(intent, other).await?),
        }
    }

    /// What was written under `identifier` (system and value) before the database was put back from a backup, and is not
    /// in these books any more. Looked for only as long as such writes may come up again.
    ///
    /// # Errors
    /// As the EHR says.
    pub async fn written_before_restore(
        &self,
        ehr: &Ehr,
        resource_type: &'static str,
        identifier: (&str, &str),
    ) -> Result<Option<WrittenRef>, EhrError> {
        if self.books_were_behind(ehr.tenant).await? { find(ehr, resource_type, identifier).await } else { Ok(None) }
    }

    /// Whether a write that these books do not know may have been made before they were put back from a backup.
    async fn books_were_behind(&self, tenant: Id<Tenant>) -> Result<bool, EhrError> {
        let now = self.instruments.now();
        let recovery = Recovery::of(&self.db, tenant).await?;
        Ok(recovery
            .is_some_and(|recovery| recovery.lifted_at.is_none_or(|lifted| now.duration_since(lifted) < LOOKED_UP_FOR)))
    }

    /// Changes parts of `resource` if it still is as it was read: by JSON Patch, or by PUT of the edited whole where the EHR
    /// has no patch. Not looked up by itself: the caller reads again and compares before it says the same twice.
    ///
    /// # Errors
    /// [`EhrError::Conflict`] when the resource has changed since; [`EhrError::Unknown`] when the answer was lost;
    /// otherwise as the EHR says.
    pub async fn edit(
        &self,
        ehr: &Ehr,
        intent: &WriteIntent,
        resource: &Resource,
        operations: &[PatchOperation],
    ) -> Result<WrittenRef, EhrError> {
        let (Some(target), Some(version)) = (resource.reference(), resource.version()) else {
            return Err(EhrError::Refused { code: "ehr-without-versions" });
        };
        let can = ehr.capabilities(self.instruments.now()).await?;
        let (operation, whole) = if can.patches(target.resource_type()) {
            ("patch", None)
        } else if can.updates(target.resource_type()) {
            ("update", Some(edited(resource, operations)?))
        } else {
            return Err(EhrError::Refused { code: "ehr-read-only" });
        };
        self.begin(intent, operation, &target.to_string()).await?;
        let outcome = match &whole {
            Some(whole) => ehr.client.update(&target, whole, version).await,
            None => ehr.client.patch(&target, operations, version).await,
        };
        match outcome {
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

    /// How the write of this intent ended last: `written`, `rejected`, `unknown`, or `pending` while it is under way; with
    /// the version that it gave.
    pub(super) async fn last(&self, intent: &WriteIntent) -> Result<Option<(String, Option<String>)>, EhrError> {
        let query = sql("SELECT state, version FROM ehr_write WHERE tenant = $1 AND intent = $2");
        let row = self.db.optional(query.bind(intent.tenant).bind(intent.words.clone())).await?;
        Ok(row.map(|row| Ok::<_, DbError>((row.get("state")?, row.get("version")?))).transpose()?)
    }

    /// Whether this write was begun before, be it here or by a process that is gone.
    ///
    /// # Errors
    /// [`EhrError::Db`].
    pub async fn was_begun(&self, intent: &WriteIntent) -> Result<bool, EhrError> {
        Ok(self.last(intent).await?.is_some())
    }

    /// Notes that the EHR shows what the write of this intent was to bring about: one whose answer nobody heard is
    /// written, and what the sole writer has begun on the resource before is overtaken.
    ///
    /// # Errors
    /// [`EhrError::Db`] and [`EhrError::Vault`].
    pub async fn shown(&self, intent: &WriteIntent, written: &WrittenRef) -> Result<(), EhrError> {
        let open = sql("SELECT 1 AS open FROM ehr_write WHERE tenant = $1 AND state IN ('pending', 'unknown') \
             AND (intent = $2 OR ($4 = 1 AND resource = $3)) LIMIT 1");
        let open = open
            .bind(intent.tenant)
            .bind(intent.words.clone())
            .bind(written.reference.clone())
            .bind(i64::from(intent.sole_writer.is_some()));
        if self.db.optional(open).await?.is_some() {
            self.settle(intent, "written", Some(written), None).await?;
        }
        Ok(())
    }

    async fn failed(&self, intent: &WriteIntent, outcome: WriteOutcome) -> Result<EhrError, EhrError> {
        let (state, code, error) = match outcome {
            WriteOutcome::Conflict { .. } => ("rejected", "conflict", EhrError::Conflict),
            // Whoever was not let in has not been heard.
            WriteOutcome::Rejected { status: 401, .. } => ("pending", NOT_SENT, EhrError::NotAdmitted),
            WriteOutcome::Rejected { status, .. } => {
                metrics::counter!("chartwire_ehr_rejections_total", "status" => status.to_string()).increment(1);
                ("rejected", "rejected", EhrError::Refused { code: "ehr-rejected" })
            }
            WriteOutcome::Unknown(_) => ("unknown", "no-answer", EhrError::Unknown),
            // Nothing has left: the row stays pending, and the next try is the first that counts.
            WriteOutcome::NotSent(cause) => ("pending", NOT_SENT, cause.into()),
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

    pub(super) async fn settle(
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

/// The resource that carries our identifier. A server that ignores the parameter answers with anything: each match is
/// looked at.
async fn find(ehr: &Ehr, resource_type: &str, (system, value): (&str, &str)) -> Result<Option<WrittenRef>, EhrError> {
    let params = SearchParams::new().with_token("identifier", system, value);
    let page = ehr.client.search(resource_type, params, SearchMethod::Get)?.all().await?;
    let ours = page.matches.iter().find(|found| carries(found, value));
    Ok(ours.and_then(|found| {
        Some(WrittenRef {
            reference: found.reference()?.to_string(),
            version: found.version().map(|version| version.as_str().to_owned()),
        })
    }))
}

fn carries(resource: &Resource, value: &str) -> bool {
    let Ok(body) = resource.to_value() else { return false };
    let identifiers = body.get("identifier").and_then(Value::as_array).into_iter().flatten();
    identifiers.filter_map(|identifier| identifier.get("value")?.as_str()).any(|known| known == value)
}

/// The resource as it would be after `operations`.
fn edited(resource: &Resource, operations: &[PatchOperation]) -> Result<Value, EhrError> {
    let mut body = resource.to_value()?;
    let patch = serde_json::to_value(operations).and_then(serde_json::from_value::<json_patch::Patch>);
    let patch = patch.map_err(|_| EhrError::Unreadable)?;
    // An operation that does not fit, or a test that fails, says that the resource is not what the caller believed.
    json_patch::patch(&mut body, &patch).map_err(|_| EhrError::Conflict)?;
    Ok(body)
}
