//! Claiming, finishing and giving back jobs.

use super::{Job, JobError};
use crate::{
    db::{BatchCommand, Command, Db, DbError, Row, Topic, Tx, Value, sql, sql_built},
    kernel::{Id, Tenant},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::{fmt::Write as _, time::Duration};

/// A job that this process holds.
#[derive(Debug, Clone)]
pub struct LeasedJob {
    /// Whose job it is.
    pub tenant: Id<Tenant>,
    /// Which job.
    pub id: Id<Job>,
    /// What kind of job.
    pub kind: String,
    /// How many times it has been started, this time included.
    pub attempt: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    lane: Option<String>,
    payload: String,
    max_attempts: u32,
    token: [u8; 16],
}

impl LeasedJob {
    /// What the job carries.
    ///
    /// # Errors
    /// [`JobError::Dead`] when it is not a `T`: another version of the program wrote it.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        serde_json::from_str(&self.payload).map_err(|_| JobError::dead("payload"))
    }

    /// Whether no further attempt follows this one.
    #[must_use]
    pub const fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    /// Whether it comes back for ever.
    pub(super) const fn recurs(&self) -> bool {
        self.max_attempts == u32::MAX
    }

    /// Whether the last attempt was started before and never concluded: its process came to an end.
    pub(super) const fn is_past_last_attempt(&self) -> bool {
        self.attempt > self.max_attempts
    }

    /// Whether this process still has the job; until the transaction ends nobody takes it over. A process that was cut
    /// off for longer than its lease begins nothing new behind the back of whoever does the job now.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn is_held_in(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let lock = if tx.is_postgres() { "FOR SHARE" } else { "" };
        let text = format!(
            "SELECT 1 AS held FROM job WHERE tenant = $1 AND id = $2 AND lease_token = $3 AND state = 'leased' {lock}"
        );
        Ok(tx.optional(sql_built(text).bind(self.tenant).bind(self.id).bind(self.token)).await?.is_some())
    }

    /// Finishes the job in the transaction of its effect, so that both are there or neither.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when the lease was lost: somebody else has the job, and the effect must not stay.
    pub async fn finish_in(&self, tx: &mut Tx) -> Result<(), DbError> {
        if finish_all(&[self], tx).await? == 1 { Ok(()) } else { Err(DbError::NotFound) }
    }
}

async fn finish_all(jobs: &[&LeasedJob], tx: &mut Tx) -> Result<u64, DbError> {
    let done = among("DELETE FROM job WHERE again = 0 AND ", jobs, tx.is_postgres());
    // One that was asked for again while it ran goes back to the queue instead. After the deletion: what is asked for
    // between the two statements keeps its row, and is seen here.
    let again = among(
        "UPDATE job SET state = 'ready', again = 0, attempts = 0, lease_token = NULL, lease_until = NULL WHERE again = 1 AND ",
        jobs,
        tx.is_postgres(),
    );
    let finished = tx.execute(done).await?;
    let released = tx.execute(again).await?;
    if released > 0 || jobs.iter().any(|job| job.lane.is_some()) {
        // The next job of the lane may start now.
        tx.publish(Topic::Jobs, "");
    }
    Ok(released + finished)
}

/// `prefix` followed by a condition that holds for exactly these leases.
fn among(prefix: &str, jobs: &[&LeasedJob], postgres: bool) -> crate::db::Query {
    let column = |pick: fn(&LeasedJob) -> &[u8; 16]| -> Vec<Option<Vec<u8>>> {
        jobs.iter().map(|job| Some(pick(job).to_vec())).collect()
    };
    if postgres {
        return sql_built(format!(
            "{prefix} state = 'leased' AND (tenant, id, lease_token) IN (SELECT * FROM UNNEST($1::bytea[], $2::bytea[], $3::bytea[]))"
        ))
        .bind(Value::ByteStrings(column(|job| job.tenant.as_bytes())))
        .bind(Value::ByteStrings(column(|job| job.id.as_bytes())))
        .bind(Value::ByteStrings(column(|job| &job.token)));
    }
    let mut text = format!("{prefix} state = 'leased' AND (tenant, id, lease_token) IN (VALUES ");
    for row in 0..jobs.len() {
        let separator = if row == 0 { "" } else { "," };
        let _ = write!(text, "{separator}(${},${},${})", row * 3 + 1, row * 3 + 2, row * 3 + 3);
    }
    text.push(')');
    jobs.iter().fold(sql_built(text), |query, job| query.bind(job.tenant).bind(job.id).bind(job.token))
}

/// Takes up to `limit` due jobs, each for `lease`.
pub(super) struct Claim {
    pub(super) token: [u8; 16],
    pub(super) now: Timestamp,
    pub(super) lease: Duration,
    pub(super) limit: u32,
    pub(super) kinds: Kinds,
}

/// No earlier job of the same lane is waiting or running.
const FREE: &str = "(j.lane IS NULL OR NOT EXISTS (SELECT 1 FROM job e WHERE e.tenant = j.tenant AND e.lane = j.lane \
    AND e.id < j.id AND e.state IN ('ready', 'leased')))";
/// Leases on PostgreSQL follow the database's clock, which all nodes share. What makes a lease safe is its token, not
/// the time (law 10).
const POSTGRES_CLOCK: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint";

/// The kinds that one pool of a worker takes. The names are the program's own constants, never input.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    pub(super) free: Vec<&'static str>,
    /// Of these, jobs of a tenant whose database was put back wait until that is recovered.
    pub(super) held: Vec<&'static str>,
}

/// The tenant's database was put back and is not recovered yet.
const RECOVERING: &str = "EXISTS (SELECT 1 FROM recovery r WHERE r.tenant = j.tenant AND r.lifted_at IS NULL)";

impl Kinds {
    /// Each kind by itself, as a condition on `j`.
    fn each(&self) -> impl Iterator<Item = String> {
        let free = self.free.iter().map(|kind| format!("j.kind = '{kind}'"));
        let held = self.held.iter().map(|kind| format!("j.kind = '{kind}' AND NOT {RECOVERING}"));
        free.chain(held)
    }

    /// All of them, as a condition on `j`.
    fn any(&self) -> String {
        let all: Vec<&str> = self.free.iter().chain(&self.held).copied().collect();
        let any = format!("j.kind IN ({})", listed(&all));
        if self.held.is_empty() {
            return any;
        }
        format!("{any} AND NOT (j.kind IN ({}) AND {RECOVERING})", listed(&self.held))
    }
}

fn listed(kinds: &[&'static str]) -> String {
    kinds.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ")
}

/// The due jobs of `kinds`, and those whose lease has run out: `limit` of each at most, those that have waited longest.
/// Each kind is looked up by itself and in the order of the index, so that neither its own backlog nor that of another
/// kind is walked through.
fn due(postgres: bool, kinds: &Kinds, limit: &str, locking: &str) -> String {
    let clock = if postgres { POSTGRES_CLOCK } else { "$1" };
    let found = |condition: String| {
        format!(
            "SELECT * FROM (SELECT j.tenant, j.id, j.run_at FROM job j WHERE {condition} AND {FREE} \
             ORDER BY j.run_at, j.id LIMIT {limit} {locking}) AS found"
        )
    };
    let leased = format!("j.state = 'leased' AND {} AND j.lease_until < {clock}", kinds.any());
    let ready = kinds.each().map(|kind| format!("j.state = 'ready' AND {kind} AND j.run_at <= $1"));
    ready.chain([leased]).map(found).collect::<Vec<_>>().join(" UNION ALL ")
}

impl Command for Claim {
    type Output = Vec<LeasedJob>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Vec<LeasedJob>, DbError> {
        let postgres = tx.is_postgres();
        let clock = if postgres { POSTGRES_CLOCK } else { "$1" };
        let locking = if postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
        // Found once, whatever plan the database chooses: a list that is looked up anew for each row may lease more than
        // there are places for.
        let text = format!(
            "WITH due AS MATERIALIZED (SELECT found.tenant, found.id FROM ({}) AS found ORDER BY found.run_at, found.id LIMIT $4) \
             UPDATE job SET state = 'leased', lease_token = $2, lease_until = {clock} + $3, attempts = attempts + 1 \
             WHERE (tenant, id) IN (SELECT due.tenant, due.id FROM due) \
             RETURNING tenant, id, kind, attempts, max_attempts, lane, payload, created_at",
            due(postgres, &self.kinds, "$4", locking)
        );
        let lease = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let rows = tx.all(sql_built(text).bind(self.now).bind(self.token).bind(lease).bind(self.limit)).await?;
        rows.iter().map(|row| leased(row, self.token)).collect()
    }
}

fn leased(row: &Row, token: [u8; 16]) -> Result<LeasedJob, DbError> {
    Ok(LeasedJob {
        tenant: row.get("tenant")?,
        id: row.get("id")?,
        kind: row.get("kind")?,
        attempt: row.get("attempts")?,
        max_attempts: row.get("max_attempts")?,
        lane: row.get("lane")?,
        payload: row.get("payload")?,
        created_at: row.get("created_at")?,
        token,
    })
}

/// Whether anything is due: asked before claiming, because reading costs no write.
pub(super) async fn anything_due(db: &Db, now: Timestamp, kinds: &Kinds) -> Result<bool, DbError> {
    let text = format!("SELECT 1 AS due FROM ({}) AS due LIMIT 1", due(db.is_postgres(), kinds, "1", ""));
    Ok(db.optional(sql_built(text).bind(now)).await?.is_some())
}

/// When the next job becomes due that does not wait for an earlier one of its lane.
pub(super) async fn next_due(db: &Db, kinds: &Kinds) -> Result<Option<Timestamp>, DbError> {
    let first = |kind| {
        format!(
            "SELECT * FROM (SELECT j.run_at FROM job j WHERE j.state = 'ready' AND {kind} AND {FREE} \
             ORDER BY j.run_at LIMIT 1) AS first"
        )
    };
    let firsts: Vec<String> = kinds.each().map(first).collect();
    let text = format!("SELECT next.run_at FROM ({}) AS next ORDER BY next.run_at LIMIT 1", firsts.join(" UNION ALL "));
    db.optional(sql_built(text)).await?.map(|row| row.get("run_at")).transpose()
}

/// Takes finished jobs off the queue. Gives nothing for one whose lease was lost or that finished itself.
pub(super) struct Finish(pub(super) LeasedJob);

impl Command for Finish {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        finish_all(&[&self.0], tx).await.map(|_| ())
    }
}

impl BatchCommand for Finish {
    async fn run_all(commands: &[&Self], tx: &mut Tx) -> Result<Vec<()>, DbError> {
        let jobs: Vec<&LeasedJob> = commands.iter().map(|finish| &finish.0).collect();
        finish_all(&jobs, tx).await?;
        Ok(vec![(); commands.len()])
    }
}

/// Puts a job back, or among the dead letters. One that was asked for again while it ran is not postponed and does not
/// die: what was asked for may be what it missed.
pub(super) struct GiveBack {
    pub(super) job: LeasedJob,
    pub(super) now: Timestamp,
    pub(super) run_at: Timestamp,
    pub(super) dead: bool,
    pub(super) counts: bool,
    pub(super) code: &'static str,
}

impl Command for GiveBack {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        // A failure keeps its pause, or asking again would be trying without end.
        let waits_though_asked_for = self.counts && !self.dead;
        // One that comes back for ever starts anew after each round: what was cut off long ago must not lengthen the pause
        // after a failure of today.
        let forgiven = match (self.counts, self.job.recurs()) {
            (true, _) => 0,
            (false, true) => self.job.attempt,
            (false, false) => 1,
        };
        let back = tx.optional(
            sql("UPDATE job SET state = CASE WHEN again = 1 THEN 'ready' ELSE $1 END, run_at = CASE WHEN again = 1 THEN $8 ELSE $2 END, \
                 attempts = CASE WHEN again = 1 AND $9 = 1 THEN 0 ELSE attempts - $4 END, \
                 last_error = $3, again = 0, lease_token = NULL, lease_until = NULL \
                 WHERE tenant = $5 AND id = $6 AND lease_token = $7 AND state = 'leased' RETURNING run_at")
            .bind(if self.dead { "dead" } else { "ready" })
            .bind(self.run_at)
            .bind(self.code)
            .bind(forgiven)
            .bind(self.job.tenant)
            .bind(self.job.id)
            .bind(self.job.token)
            .bind(if waits_though_asked_for { self.run_at } else { self.now })
            .bind(self.dead),
        )
        .await?;
        let due = back.map(|row| row.get::<Timestamp>("run_at")).transpose()?.is_some_and(|at| at <= self.now);
        if self.dead || due {
            tx.publish(Topic::Jobs, "");
        }
        Ok(())
    }
}

/// A job that was given up.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// Which job.
    pub id: Id<Job>,
    /// What kind of job.
    pub kind: String,
    /// The constant word of its last error.
    pub last_error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

/// The dead letters of every tenant, oldest first, at most 500.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn dead_letters(db: &Db) -> Result<Vec<Dead>, DbError> {
    let rows = db
        .all(sql("SELECT tenant, id, kind, last_error, attempts, created_at FROM job WHERE state = 'dead' ORDER BY id LIMIT 500"))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Dead {
                tenant: row.get("tenant")?,
                id: row.get("id")?,
                kind: row.get("kind")?,
                last_error: row.get("last_error")?,
                attempts: row.get("attempts")?,
                created_at: row.get("created_at")?,
            })
        })
        .collect()
}

/// Lets a dead job try again from the start. Answers whether there was such a dead letter.
pub struct ReleaseDead {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// Which job.
    pub id: Id<Job>,
    /// When it is to run.
    pub run_at: Timestamp,
}

impl Command for ReleaseDead {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let released = tx
            .execute(
                sql("UPDATE job SET state = 'ready', attempts = 0, run_at = $3 WHERE tenant = $1 AND id = $2 AND state = 'dead'")
                    .bind(self.tenant)
                    .bind(self.id)
                    .bind(self.run_at),
            )
            .await?;
        tx.publish(Topic::Jobs, "");
        Ok(released == 1)
    }
}

/// How the queue stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting, due or not.
    pub ready: u32,
    /// Held by a worker.
    pub leased: u32,
    /// Given up.
    pub dead: u32,
}

/// Counts the queue, for tests and commands that assert that it is drained.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn counts(db: &Db) -> Result<JobCounts, DbError> {
    let mut counts = JobCounts::default();
    for row in db.all(sql("SELECT state, COUNT(*) AS n FROM job GROUP BY state")).await? {
        let n = row.get::<u32>("n")?;
        match row.get::<String>("state")?.as_str() {
            "ready" => counts.ready = n,
            "leased" => counts.leased = n,
            _ => counts.dead = n,
        }
    }
    Ok(counts)
}
