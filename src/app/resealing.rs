//! Sealing stored values anew after data keys were replaced: a background walk, some pages at a time.

use super::sealed_columns;
use crate::{
    audit::{Action, Actor, AuditEntry, AuditSigner, Detail, Outcome as Ended, record, record_alone},
    db::{Command, Db, DbError, DbSealedRows, Tx},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Instruments, Tenant},
    vault::{ResealCursor, ResealPlan, Vault, VaultError},
};
use jiff::Timestamp;

/// The kind of the jobs that walk a tenant's sealed values.
pub(super) const RESEAL_VALUES: &str = "ResealValues";
/// One walk of a tenant at a time.
const LANE: &str = "reseal";
/// Values that one step looks at.
const PAGE: i64 = 100;
/// Steps of one job. What is left goes to the next, long before the lease ends.
const STEPS: usize = 20;

/// Where a walk stands.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct ResealValues {
    cursor: ResealCursor,
    resealed: i64,
}

/// A walk from the beginning, for `at`, when no process uses the replaced keys any more.
///
/// # Errors
/// [`JobError`] when it cannot be written as JSON.
pub(super) fn walk(instruments: &Instruments, tenant: Id<Tenant>, at: Timestamp) -> Result<NewJob, JobError> {
    Ok(NewJob::new(instruments, tenant, RESEAL_VALUES, &ResealValues::default())?.in_lane(LANE).at(at))
}

/// Handles [`RESEAL_VALUES`].
#[derive(Clone)]
pub(super) struct Resealer {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    plan: ResealPlan,
}

impl Resealer {
    pub(super) fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments, plan: ResealPlan::new(sealed_columns::all()) }
    }

    /// Walks on from where the job says. Run again after a crash, it leaves alone what is done.
    pub(super) async fn reseal(&self, job: LeasedJob) -> Outcome {
        let mut walk: ResealValues = job.payload()?;
        let rows = DbSealedRows::new(self.db.clone());
        for _ in 0..STEPS {
            let step = match self.plan.step(&self.vault, &rows, job.tenant, walk.cursor.clone(), PAGE).await {
                Ok(step) => step,
                Err(error) if error.is_transient() => return Err(JobError::retry("keys-unavailable")),
                Err(error) => return self.stuck(job.tenant, &error).await,
            };
            walk.resealed += i64::try_from(step.resealed).unwrap_or(i64::MAX);
            match step.next {
                Some(next) => walk.cursor = next,
                None => return self.finish(job, &walk).await,
            }
        }
        let next = NewJob::new(&self.instruments, job.tenant, RESEAL_VALUES, &walk)?.in_lane(LANE);
        Ok(self.db.execute(GoOn { job, next }).await?)
    }

    async fn finish(&self, job: LeasedJob, walk: &ResealValues) -> Outcome {
        let signer = self.signer(job.tenant).await?;
        let entry = entry().with_detail(Detail::new().count("values", walk.resealed));
        Ok(self.db.execute(Finish { job, entry, signer }).await?)
    }

    /// A value that does not open stops the walk. The audit log names it; the job becomes a dead letter that goes on
    /// from here once it is released.
    async fn stuck(&self, tenant: Id<Tenant>, error: &VaultError) -> Outcome {
        let mut detail = Detail::new();
        if let VaultError::NotResealable { column, row, .. } = error {
            tracing::error!(%column, "a value cannot be sealed anew; the audit log names its row");
            detail = detail.foreign_id("column", &column.to_string()).foreign_id("row", row);
        } else {
            tracing::error!(%error, "values cannot be sealed anew");
        }
        let entry = entry().ended(Ended::Failed).with_detail(detail);
        record_alone(&self.db, entry, self.signer(tenant).await?).await?;
        Err(JobError::dead("not-resealable"))
    }

    async fn signer(&self, tenant: Id<Tenant>) -> Result<AuditSigner, JobError> {
        let signer = AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await;
        signer.map_err(|_| JobError::retry("keys-unavailable"))
    }
}

fn entry() -> AuditEntry {
    AuditEntry::new(Actor::System("vault"), Action::Seal, "operations")
}

struct GoOn {
    job: LeasedJob,
    next: NewJob,
}

impl Command for GoOn {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        self.job.finish_in(tx).await?;
        enqueue(tx, &self.next).await
    }
}

struct Finish {
    job: LeasedJob,
    entry: AuditEntry,
    signer: AuditSigner,
}

impl Command for Finish {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        self.job.finish_in(tx).await?;
        record(tx, &self.entry, &self.signer).await.map(|_| ())
    }
}
