//! The durable job queue, in the same database as the data that its jobs are about.
//!
//! Every room enqueues in the transaction of the change that causes the job ([`enqueue`]); `app` binds kinds to
//! handlers and runs the [`Worker`]. Always: a job carries ids, never protected information; a job is run by whoever
//! holds its lease token and only that holder can finish it; within a lane jobs run one after the other in the order in
//! which they were enqueued; a job that keeps failing becomes a dead letter that an operator can see and release.

mod lease;
#[cfg(test)]
mod tests;
mod worker;

pub use lease::{Dead, JobCounts, LeasedJob, ReleaseDead, counts, dead_letters};
pub use worker::{Outcome, Worker, WorkerLimits};

use crate::{
    db::{DbError, Topic, Tx, Value, sql, sql_among, sql_rows},
    kernel::{Id, Instruments, Tenant},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::HashMap, time::Duration};

/// Marks ids of jobs.
pub enum Job {}

/// How often a job is tried before it becomes a dead letter, unless it says otherwise: about a day with the
/// worker's backoff.
pub const DEFAULT_ATTEMPTS: u32 = 160;

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    tenant: Id<Tenant>,
    id: Id<Job>,
    kind: &'static str,
    lane: Option<String>,
    unique_key: Option<String>,
    waits_for: Option<String>,
    payload: String,
    run_at: Timestamp,
    created_at: Timestamp,
    max_attempts: u32,
}

impl NewJob {
    /// A job of `kind` that is due now. `payload` holds ids, codes and instants only.
    ///
    /// # Errors
    /// [`JobError`] when the payload cannot be written as JSON.
    pub fn new(
        instruments: &Instruments,
        tenant: Id<Tenant>,
        kind: &'static str,
        payload: &impl Serialize,
    ) -> Result<Self, JobError> {
        let now = instruments.now();
        Ok(Self {
            tenant,
            id: instruments.new_id(),
            kind,
            lane: None,
            unique_key: None,
            waits_for: None,
            payload: serde_json::to_string(payload).map_err(|_| JobError::dead("payload"))?,
            run_at: now,
            created_at: now,
            max_attempts: DEFAULT_ATTEMPTS,
        })
    }

    /// Not before `instant`.
    #[must_use]
    pub fn at(mut self, instant: Timestamp) -> Self {
        self.run_at = instant;
        self
    }

    /// After every earlier job of the same lane is done or dead.
    #[must_use]
    pub fn in_lane(mut self, lane: impl Into<String>) -> Self {
        self.lane = Some(lane.into());
        self
    }

    /// At most one job of this kind and key waits: enqueueing it again brings the waiting one forward, makes a running
    /// one run once more, and revives a dead one.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Names what the job may have to wait for, so that [`hasten`] finds it when that has happened.
    #[must_use]
    pub fn waits_for(mut self, what: impl Into<String>) -> Self {
        self.waits_for = Some(what.into());
        self
    }

    /// Dead after this many attempts.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Its row, in the order of [`enqueue_all`]'s columns.
    fn columns(self) -> Vec<Value> {
        vec![
            self.tenant.into(),
            self.id.into(),
            self.kind.into(),
            self.lane.into(),
            self.unique_key.into(),
            self.waits_for.into(),
            self.payload.into(),
            "ready".into(),
            self.run_at.into(),
            0_i64.into(),
            self.max_attempts.into(),
            0_i64.into(),
            self.created_at.into(),
        ]
    }
}

/// Enqueues `job` in the transaction of what causes it.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn enqueue(tx: &mut Tx, job: &NewJob) -> Result<(), DbError> {
    enqueue_all(tx, &[job]).await
}

/// Enqueues `jobs` in the transaction of what causes them, with one statement.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn enqueue_all(tx: &mut Tx, jobs: &[&NewJob]) -> Result<(), DbError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let rows = without_repetitions(jobs).into_iter().map(NewJob::columns).collect();
    let insert = sql_rows(
        "INSERT INTO job (tenant, id, kind, lane, unique_key, waits_for, payload, state, run_at, attempts, max_attempts, again, created_at)",
        rows,
        "ON CONFLICT (tenant, kind, unique_key) WHERE unique_key IS NOT NULL DO UPDATE SET \
         again = CASE WHEN job.state = 'leased' THEN 1 ELSE 0 END, \
         attempts = CASE WHEN job.state = 'dead' THEN 0 ELSE job.attempts END, \
         run_at = CASE WHEN job.state = 'dead' OR excluded.run_at < job.run_at THEN excluded.run_at ELSE job.run_at END, \
         state = CASE WHEN job.state = 'dead' THEN 'ready' ELSE job.state END",
        tx.is_postgres(),
    )?;
    tx.execute(insert).await?;
    tx.publish(Topic::Jobs, "");
    Ok(())
}

/// Of jobs that share a unique key the first, as early as any of them wants to run: one statement may touch a row once.
fn without_repetitions(jobs: &[&NewJob]) -> Vec<NewJob> {
    let mut kept: Vec<NewJob> = Vec::with_capacity(jobs.len());
    let mut places = HashMap::new();
    for job in jobs {
        if let Some(key) = &job.unique_key {
            let place = *places.entry((job.tenant, job.kind, key.as_str())).or_insert(kept.len());
            if let Some(first) = kept.get_mut(place) {
                first.run_at = first.run_at.min(job.run_at);
                continue;
            }
        }
        kept.push((*job).clone());
    }
    // Rows that exist are locked in one order, whoever enqueues them.
    kept.sort_by(|a, b| (a.tenant, a.kind, &a.unique_key, a.id).cmp(&(b.tenant, b.kind, &b.unique_key, b.id)));
    kept
}

/// Makes the postponed jobs of `kind` that wait for `what` due now. One that is running and is about to be postponed
/// runs once more instead, so that what it waits for cannot happen unseen between its look and its postponement. The
/// job under the unique key `except` is left alone: it is the one that makes it happen.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn hasten(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    kind: &'static str,
    what: &str,
    except: Option<&str>,
    now: Timestamp,
) -> Result<(), DbError> {
    let hastened = tx
        .execute(
            sql("UPDATE job SET run_at = CASE WHEN state = 'ready' THEN $4 ELSE run_at END, again = CASE WHEN state = 'leased' THEN 1 ELSE again END \
                 WHERE tenant = $1 AND kind = $2 AND waits_for = $3 AND ((state = 'ready' AND run_at > $4) OR (state = 'leased' AND again = 0)) \
                 AND (unique_key IS NULL OR unique_key <> $5)")
                .bind(tenant)
                .bind(kind)
                .bind(what)
                .bind(now)
                .bind(except.unwrap_or_default()),
        )
        .await?;
    if hastened > 0 {
        tx.publish(Topic::Jobs, "");
    }
    Ok(())
}

/// Takes back a job that waits under this key, if it is not running.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn withdraw(tx: &mut Tx, tenant: Id<Tenant>, kind: &'static str, key: &str) -> Result<(), DbError> {
    tx.execute(
        sql("DELETE FROM job WHERE tenant = $1 AND kind = $2 AND unique_key = $3 AND state <> 'leased'")
            .bind(tenant)
            .bind(kind)
            .bind(key),
    )
    .await
    .map(|_| ())
}

/// Takes back the jobs that wait under these keys, as far as they are not running, with one statement.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn withdraw_all(tx: &mut Tx, tenant: Id<Tenant>, kind: &'static str, keys: &[String]) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    let waiting = "DELETE FROM job WHERE tenant = $1 AND kind = $2 AND state <> 'leased' AND unique_key";
    tx.execute(sql_among(waiting, vec![tenant.into(), kind.into()], keys.to_vec(), tx.is_postgres())).await.map(|_| ())
}

/// What a handler says when its job is not done. `code` is a constant word for operators and metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Try again: after `after`, or after the worker's backoff.
    #[error("{code}: will be tried again")]
    Retry {
        /// What went wrong.
        code: &'static str,
        /// When the other side said so.
        after: Option<Duration>,
    },
    /// Nothing went wrong, it is too early: run again at `until`. Does not count as an attempt.
    #[error("{code}: postponed")]
    Postpone {
        /// Why.
        code: &'static str,
        /// When to run again.
        until: Timestamp,
    },
    /// Trying again will not help; a person must look.
    #[error("{code}: given up")]
    Dead {
        /// What went wrong.
        code: &'static str,
    },
}

impl JobError {
    /// Try again after the worker's backoff.
    #[must_use]
    pub const fn retry(code: &'static str) -> Self {
        Self::Retry { code, after: None }
    }

    /// Give up.
    #[must_use]
    pub const fn dead(code: &'static str) -> Self {
        Self::Dead { code }
    }

    /// The constant word.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Retry { code, .. } | Self::Postpone { code, .. } | Self::Dead { code } => code,
        }
    }
}

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Decode { .. } => Self::retry("database-decode"),
            DbError::NotFound => Self::retry("database-row-missing"),
            DbError::Unavailable { .. } => Self::retry("database-unavailable"),
            _ => Self::retry("database-refused"),
        }
    }
}
