//! Ends sessions that have run out and of which nobody has asked since, by a job of each practice that comes back.

use super::{
    AccessError, IdleTimeout, REREAD_ROLES, Sessions,
    session_store::{open_and_quiet, run_out},
};
use crate::{
    db::{Command, DbError, Tx},
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Tenant},
};
use jiff::{SignedDuration, Timestamp};

/// Sessions that have run out are to be ended.
pub const END_RUN_OUT_SESSIONS: &str = "EndRunOutSessions";

/// How often they are looked for.
pub const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(1);

impl Sessions {
    /// Makes sure that the sessions of these practices, and the roles of those who have them, are looked after from now on.
    /// Called at start; again changes
    /// nothing.
    ///
    /// # Errors
    /// [`JobError`] when the database is away.
    pub async fn schedule(&self, tenants: impl IntoIterator<Item = Id<Tenant>>) -> Result<(), JobError> {
        for tenant in tenants {
            for kind in [END_RUN_OUT_SESSIONS, REREAD_ROLES] {
                let job = NewJob::new(&self.instruments, tenant, kind, &())?;
                self.db.execute(Schedule(job.unique("all").attempts(u32::MAX))).await?;
            }
        }
        Ok(())
    }

    /// Handles [`END_RUN_OUT_SESSIONS`], then waits for the next time.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when it is done; [`JobError::Retry`] when database or vault are away.
    pub async fn look_after(&self, job: LeasedJob) -> Outcome {
        self.end_run_out(job.tenant).await?;
        let until = self.instruments.now().checked_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
        Err(JobError::Postpone { code: "next-look", until })
    }

    /// Ends the sessions of a practice that have run out, so that the audit log and the sealed grants do not wait for a
    /// request that never comes; gives their number.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail. What was ended until then stays ended.
    pub async fn end_run_out(&self, tenant: Id<Tenant>) -> Result<usize, AccessError> {
        let now = self.instruments.now();
        let quiet_since = now.checked_sub(IdleTimeout::default().duration()).unwrap_or(Timestamp::MIN);
        let mut ended = 0;
        for stored in open_and_quiet(&self.db, tenant, quiet_since).await? {
            if let Some(ending) = run_out(&stored, (self.idle)(tenant).duration(), now) {
                self.end_one(tenant, stored.id, stored.staff, ending).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}

struct Schedule(NewJob);

impl Command for Schedule {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}
