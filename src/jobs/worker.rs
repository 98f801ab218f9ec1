//! Runs due jobs, a bounded number at a time.

use super::{
    JobError, LeasedJob,
    lease::{Claim, Finish, GiveBack, Kinds, anything_due, next_due},
};
use crate::{
    db::{Db, DbError, Topic},
    kernel::{Instruments, entropy::below},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashMap, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a handler gives.
pub type Outcome = Result<(), JobError>;
type Handler = Arc<dyn Fn(LeasedJob) -> BoxFuture<'static, Outcome> + Send + Sync>;
type LastResort = Arc<dyn Fn(LeasedJob, &'static str) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The worker's limits.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Jobs in hand at once, in each pool of kinds.
    pub at_once: u32,
    /// How long a job may take before another worker may take it over.
    pub lease: Duration,
    /// How long the worker sleeps at most when nobody wakes it.
    pub poll: Duration,
    /// The longest pause between two attempts of a job.
    pub longest_backoff: Duration,
    /// The same for a job that comes back for ever. What it does, nobody else makes up for, and a run that was cut off
    /// has mostly come somewhere: it is not kept waiting for what earlier rounds met.
    pub longest_recurring_backoff: Duration,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            at_once: 64,
            lease: Duration::from_mins(2),
            poll: Duration::from_secs(1),
            longest_backoff: Duration::from_mins(10),
            longest_recurring_backoff: Duration::from_mins(1),
        }
    }
}

/// Kinds that share places.
struct Pool {
    kinds: Kinds,
    places: Arc<Semaphore>,
}

/// Takes due jobs and hands each to the handler of its kind.
#[derive(Clone)]
pub struct Worker {
    db: Db,
    instruments: Instruments,
    limits: WorkerLimits,
    handlers: HashMap<&'static str, Handler>,
    last_resorts: HashMap<&'static str, LastResort>,
    reserved: Vec<Vec<&'static str>>,
    held: Vec<&'static str>,
}

impl Worker {
    /// A worker that knows no kind of job yet.
    #[must_use]
    pub fn new(db: Db, instruments: Instruments, limits: WorkerLimits) -> Self {
        Self {
            db,
            instruments,
            limits,
            handlers: HashMap::new(),
            last_resorts: HashMap::new(),
            reserved: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Binds `kind` to its handler.
    #[must_use]
    pub fn bind<F, R>(mut self, kind: &'static str, handler: F) -> Self
    where
        F: Fn(LeasedJob) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.handlers.insert(kind, Arc::new(move |job| handler(job).boxed()));
        self
    }

    /// Says what becomes of a job of `kind` that no attempt could do, however the last one ended: refused, failed,
    /// panicked or out of time. It is called with the constant word of the last error. Where it is done the job is, and
    /// no dead letter remains.
    #[must_use]
    pub fn bind_last_resort<F, R>(mut self, kind: &'static str, last_resort: F) -> Self
    where
        F: Fn(LeasedJob, &'static str) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.last_resorts.insert(kind, Arc::new(move |job, code| last_resort(job, code).boxed()));
        self
    }

    /// Gives `kinds` places of their own, as many as the limits say, so that no other kind can keep them waiting
    /// however long its jobs take.
    #[must_use]
    pub fn reserve(mut self, kinds: &[&'static str]) -> Self {
        self.reserved.push(kinds.to_vec());
        self
    }

    /// Lets jobs of these kinds wait while their tenant's database, which was put back from a backup, is being
    /// recovered: what they are about may have happened already.
    #[must_use]
    pub fn hold_in_recovery(mut self, kinds: &[&'static str]) -> Self {
        self.held.extend(kinds);
        self
    }

    /// The reserved pools, and one for all other kinds that this program knows. What it does not know is left to the
    /// version that does.
    fn pools(&self) -> Vec<Pool> {
        let is_reserved = |kind: &&'static str| self.reserved.iter().flatten().any(|reserved| reserved == kind);
        let mut others: Vec<&'static str> = self.handlers.keys().copied().filter(|kind| !is_reserved(kind)).collect();
        // The same statement each time.
        others.sort_unstable();
        let kinds = self.reserved.iter().cloned().chain([others]).filter(|kinds| !kinds.is_empty());
        kinds.map(|kinds| self.pool(&kinds)).collect()
    }

    fn pool(&self, kinds: &[&'static str]) -> Pool {
        let (held, free) = kinds.iter().partition(|kind| self.held.contains(kind));
        Pool { kinds: Kinds { free, held }, places: Arc::new(Semaphore::new(self.limits.at_once as usize)) }
    }

    /// Works until `stop`; then finishes what is in hand.
    pub async fn run(&self, stop: CancellationToken) {
        let in_hand = TaskTracker::new();
        let pools = self.pools();
        join_all(pools.iter().map(|pool| self.run_pool(pool, &stop, &in_hand))).await;
        in_hand.close();
        in_hand.wait().await;
    }

    async fn run_pool(&self, pool: &Pool, stop: &CancellationToken, in_hand: &TaskTracker) {
        let mut events = self.db.subscribe();
        while !stop.is_cancelled() {
            // Waiting for a free place before claiming keeps jobs claimable by others until this worker can start them.
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = Arc::clone(&pool.places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let started = self.start_due(pool, place, in_hand).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the job queue cannot be read");
                0
            });
            if started > 0 {
                continue;
            }
            let pause = self.pause(&pool.kinds).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                () = woken(&mut events) => {}
            }
        }
    }

    /// Runs everything that is due, and what that makes due, until nothing is. Gives the number of jobs run.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn run_due(&self) -> Result<usize, DbError> {
        self.run_due_in(&self.pools()).await
    }

    /// The same for jobs of these kinds alone.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn run_due_of(&self, kinds: &[&'static str]) -> Result<usize, DbError> {
        self.run_due_in(&[self.pool(kinds)]).await
    }

    async fn run_due_in(&self, pools: &[Pool]) -> Result<usize, DbError> {
        let mut total = 0;
        loop {
            let in_hand = TaskTracker::new();
            let mut started = 0;
            for pool in pools {
                let Ok(place) = Arc::clone(&pool.places).acquire_owned().await else { return Ok(total) };
                started += self.start_due(pool, place, &in_hand).await?;
            }
            in_hand.close();
            in_hand.wait().await;
            if started == 0 {
                return Ok(total);
            }
            total += started;
        }
    }

    async fn start_due(
        &self,
        pool: &Pool,
        first: OwnedSemaphorePermit,
        in_hand: &TaskTracker,
    ) -> Result<usize, DbError> {
        let now = self.instruments.now();
        if !anything_due(&self.db, now, &pool.kinds).await? {
            return Ok(0);
        }
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(&pool.places).try_acquire_owned() {
            permits.push(permit);
        }
        let mut token = [0_u8; 16];
        self.instruments.entropy.fill(&mut token);
        let limit = u32::try_from(permits.len()).unwrap_or(1);
        let jobs =
            self.db.execute(Claim { token, now, lease: self.limits.lease, limit, kinds: pool.kinds.clone() }).await?;
        let started = jobs.len();
        for (job, permit) in jobs.into_iter().zip(permits) {
            let worker = self.clone();
            in_hand.spawn(async move {
                worker.work(job).await;
                drop(permit);
            });
        }
        Ok(started)
    }

    async fn work(&self, job: LeasedJob) {
        let started = std::time::Instant::now();
        let outcome = self.outcome(&job).await;
        metrics::histogram!("chartwire_job_seconds", "kind" => job.kind.clone()).record(started.elapsed());
        if let Err(error) = self.conclude(job, outcome).await {
            // The lease runs out and the job is taken up again.
            tracing::warn!(%error, "a job's outcome could not be stored");
        }
    }

    async fn outcome(&self, job: &LeasedJob) -> Outcome {
        let Some(handler) = self.handlers.get(job.kind.as_str()) else {
            // Another version of the program knows it; this one lets it wait.
            let until = later(self.instruments.now(), Duration::from_mins(1));
            return Err(JobError::Postpone { code: "unknown-kind", until });
        };
        let Some(last_resort) = self.last_resorts.get(job.kind.as_str()) else {
            return bounded(self.limits.lease, handler(job.clone())).await;
        };
        // What follows the attempt has to come within the lease, too.
        let for_last_resort = self.limits.lease / 4;
        let outcome = if job.is_past_last_attempt() {
            Err(JobError::dead("never-concluded"))
        } else {
            bounded(self.limits.lease.saturating_sub(for_last_resort), handler(job.clone())).await
        };
        let code = match outcome {
            Err(JobError::Dead { code }) => code,
            Err(JobError::Retry { code, .. }) if job.is_last_attempt() => code,
            outcome => return outcome,
        };
        tracing::error!(job = %job.id, kind = %job.kind, code, "a job cannot be done; its last resort takes it");
        metrics::counter!("chartwire_job_last_resorts_total", "kind" => job.kind.clone(), "code" => code).increment(1);
        bounded(for_last_resort, last_resort(job.clone(), code)).await
    }

    async fn conclude(&self, job: LeasedJob, outcome: Outcome) -> Result<(), DbError> {
        let now = self.instruments.now();
        let (run_at, dead, counts, code) = match outcome {
            Ok(()) => return self.db.execute_grouped(Finish(job)).await,
            Err(JobError::Retry { code, after }) => {
                // Who asks for a second's patience all along is away all the same: attempts must last for the outage.
                let pause = self.backoff(&job).max(after.unwrap_or_default());
                (later(now, pause), job.is_last_attempt(), true, code)
            }
            Err(JobError::Postpone { code, until }) => (until, false, false, code),
            Err(JobError::Dead { code }) => (now, true, true, code),
        };
        tracing::info!(job = %job.id, kind = %job.kind, attempt = job.attempt, code, dead, "job not done");
        metrics::counter!("chartwire_job_failures_total", "kind" => job.kind.clone(), "code" => code).increment(1);
        self.db.execute(GiveBack { job, now, run_at, dead, counts, code }).await
    }

    /// Doubles from one second up to the longest pause, with a random part of up to half, so that jobs which failed
    /// together do not come back together.
    fn backoff(&self, job: &LeasedJob) -> Duration {
        let WorkerLimits { longest_backoff, longest_recurring_backoff, .. } = self.limits;
        let longest = if job.recurs() { longest_backoff.min(longest_recurring_backoff) } else { longest_backoff };
        let full = Duration::from_secs(1 << job.attempt.saturating_sub(1).min(20)).min(longest);
        let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis - below(&*self.instruments.entropy, millis / 2 + 1))
    }

    async fn pause(&self, kinds: &Kinds) -> Duration {
        let next = next_due(&self.db, kinds).await.ok().flatten();
        let until_next = next.map_or(self.limits.poll, |at| {
            Duration::try_from(at.duration_since(self.instruments.now())).unwrap_or(Duration::ZERO)
        });
        // A job in a lane may be due and have to wait for an earlier one: do not spin on it.
        until_next.clamp(Duration::from_millis(5), self.limits.poll)
    }
}

/// What `work` gives, if it neither panics nor takes longer than `limit`.
async fn bounded(limit: Duration, work: BoxFuture<'static, Outcome>) -> Outcome {
    match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(JobError::retry("panic")),
        Err(_elapsed) => Err(JobError::retry("timeout")),
    }
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause).ok().and_then(|pause| now.checked_add(pause).ok()).unwrap_or(Timestamp::MAX)
}

async fn woken(events: &mut tokio::sync::broadcast::Receiver<crate::db::Event>) {
    loop {
        match events.recv().await {
            Ok(event) if event.topic != Topic::Jobs => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The database is closing; the poll notices.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
