//! The mark of a database that was put back from a backup, per tenant.
//!
//! Owns the table `recovery`. Set when a backup is restored, when an operator says that one was, or when the audit heads
//! outside show it; lifted by `chartwire recover` once what has happened since was read back. Always: while the mark
//! stands, the gate holds every text and the jobs that write to the EHR wait; it never moves forward in time by itself.

use super::{Db, DbError, Query, Row, Topic, Tx, sql};
use crate::kernel::{Id, Tenant};
use jiff::Timestamp;

/// How it became known that a database was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowMarked {
    /// `chartwire restore` put it there.
    Restored,
    /// An operator said so.
    Operator,
    /// The audit heads outside the database are ahead of it.
    AuditHead,
}

impl HowMarked {
    const ALL: [Self; 3] = [Self::Restored, Self::Operator, Self::AuditHead];

    /// The stored word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Operator => "operator",
            Self::AuditHead => "audit-head",
        }
    }
}

/// How far the recovery of one tenant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whose.
    pub tenant: Id<Tenant>,
    /// What was committed after this instant may be missing.
    pub since: Timestamp,
    /// When the mark was set.
    pub marked_at: Timestamp,
    /// How it became known.
    pub how: HowMarked,
    /// When the reading of the carrier's list of received texts began that was complete.
    pub inbound_read_at: Option<Timestamp>,
    /// The same of the texts that were sent.
    pub outbound_read_at: Option<Timestamp>,
    /// Who vouches for what no list shows.
    pub confirmed_by: Option<String>,
    /// When the mark was lifted; while it stands, nothing leaves.
    pub lifted_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "SELECT tenant, since, marked_at, how, inbound_read_at, outbound_read_at, confirmed_by, lifted_at FROM recovery";

impl Recovery {
    /// The tenant's last recovery, under way or over; `None` where its database was never put back.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn of(db: &Db, tenant: Id<Tenant>) -> Result<Option<Self>, DbError> {
        db.optional(one(tenant)).await?.as_ref().map(Self::read).transpose()
    }

    /// Every recovery that is under way.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn under_way(db: &Db) -> Result<Vec<Self>, DbError> {
        db.all(under_way()).await?.iter().map(Self::read).collect()
    }

    /// Whether texts are held.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.lifted_at.is_none()
    }

    fn read(row: &Row) -> Result<Self, DbError> {
        let how = row.get::<String>("how")?;
        let how = HowMarked::ALL.into_iter().find(|known| known.code() == how);
        Ok(Self {
            tenant: row.get("tenant")?,
            since: row.get("since")?,
            marked_at: row.get("marked_at")?,
            how: how.ok_or(DbError::Decode { column: "how" })?,
            inbound_read_at: row.get("inbound_read_at")?,
            outbound_read_at: row.get("outbound_read_at")?,
            confirmed_by: row.get("confirmed_by")?,
            lifted_at: row.get("lifted_at")?,
        })
    }
}

fn under_way() -> Query {
    super::sql_built(format!("{COLUMNS} WHERE lifted_at IS NULL ORDER BY tenant"))
}

fn one(tenant: Id<Tenant>) -> Query {
    super::sql_built(format!("{COLUMNS} WHERE tenant = $1")).bind(tenant)
}

/// Marks `tenant`'s data as put back, as it was at `since`. A mark that stands keeps the earlier of the two instants, and
/// all that was read back for it is read anew.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn mark(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    since: Timestamp,
    how: HowMarked,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        sql("INSERT INTO recovery (tenant, since, marked_at, how) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant) DO UPDATE SET \
             since = CASE WHEN recovery.lifted_at IS NULL AND recovery.since < excluded.since THEN recovery.since ELSE excluded.since END, \
             marked_at = excluded.marked_at, how = excluded.how, inbound_read_at = NULL, outbound_read_at = NULL, \
             confirmed_by = NULL, confirmed_at = NULL, lifted_at = NULL")
        .bind(tenant)
        .bind(since)
        .bind(now)
        .bind(how.code()),
    )
    .await
    .map(|_| ())
}

/// Marks a tenant that is taken in while others are under way: it may have been there before the restore. Those `served`
/// count; where none of the practices that are to be served was known before, all do.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn mark_newcomer(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    served: &[Id<Tenant>],
    now: Timestamp,
) -> Result<(), DbError> {
    let rows = tx.all(under_way()).await?;
    let under_way = rows.iter().map(Recovery::read).collect::<Result<Vec<_>, DbError>>()?;
    let counts = |recovery: &&Recovery| served.is_empty() || served.contains(&recovery.tenant);
    match under_way.iter().filter(counts).min_by_key(|recovery| recovery.since) {
        Some(earliest) => mark(tx, tenant, earliest.since, earliest.how, now).await,
        None => Ok(()),
    }
}

/// When the backup was begun that this database was copied from by hand, with no `chartwire restore`: that takes the
/// stamp away, and a database in service never bears one.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn copied_from_backup_of(db: &Db) -> Result<Option<Timestamp>, DbError> {
    db.one(sql("SELECT MAX(taken_at) AS taken_at FROM backup_stamp")).await?.get("taken_at")
}

/// Takes the backup's stamp away, with the marks that stand for it from now on.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn take_stamp_away(tx: &mut Tx) -> Result<(), DbError> {
    tx.execute(sql("DELETE FROM backup_stamp")).await.map(|_| ())
}

/// What has been read back to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBackList {
    /// The texts that the practice has received.
    Inbound,
    /// The texts that it has sent.
    Outbound,
}

/// Notes that a list was read back completely, by a reading that began at `began`.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn note_read_back(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    list: ReadBackList,
    began: Timestamp,
) -> Result<(), DbError> {
    let query = match list {
        ReadBackList::Inbound => {
            sql("UPDATE recovery SET inbound_read_at = $2 WHERE tenant = $1 AND lifted_at IS NULL")
        }
        ReadBackList::Outbound => {
            sql("UPDATE recovery SET outbound_read_at = $2 WHERE tenant = $1 AND lifted_at IS NULL")
        }
    };
    tx.execute(query.bind(tenant).bind(began)).await.map(|_| ())
}

/// Notes who vouches for what no list shows. Answers whether a recovery is under way.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn confirm(tx: &mut Tx, tenant: Id<Tenant>, by: &str, now: Timestamp) -> Result<bool, DbError> {
    let query = sql("UPDATE recovery SET confirmed_by = $2, confirmed_at = $3 WHERE tenant = $1 AND lifted_at IS NULL");
    Ok(tx.execute(query.bind(tenant).bind(by).bind(now)).await? == 1)
}

/// Lifts the mark that was set at `marked_at`, and wakes the jobs that waited for that. Answers whether it stood: one that
/// was set anew meanwhile stays.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn lift(tx: &mut Tx, tenant: Id<Tenant>, marked_at: Timestamp, now: Timestamp) -> Result<bool, DbError> {
    let query = sql("UPDATE recovery SET lifted_at = $2 WHERE tenant = $1 AND lifted_at IS NULL AND marked_at = $3");
    let lifted = tx.execute(query.bind(tenant).bind(now).bind(marked_at)).await? == 1;
    tx.publish(Topic::Jobs, "");
    Ok(lifted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Command;

    const OLD: Id<Tenant> = Id::from_bytes([1; 16]);
    const NEW: Id<Tenant> = Id::from_bytes([2; 16]);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    enum Step {
        Mark(i64),
        Lift { marked_at: i64 },
        Newcomer(Vec<Id<Tenant>>),
    }

    impl Command for Step {
        type Output = bool;
        type Error = DbError;
        async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
            match self {
                Self::Mark(now) => mark(tx, OLD, at(1), HowMarked::Operator, at(*now)).await.map(|()| true),
                Self::Lift { marked_at } => lift(tx, OLD, at(*marked_at), at(99)).await,
                Self::Newcomer(served) => mark_newcomer(tx, NEW, served, at(50)).await.map(|()| true),
            }
        }
    }

    async fn database() -> (Db, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Db::open(&format!("sqlite:{}", folder.path().join("a.db").display())).await.unwrap(), folder)
    }

    #[tokio::test]
    async fn a_mark_that_was_set_anew_is_not_lifted_with_the_one_before() {
        let (db, _folder) = database().await;
        db.execute(Step::Mark(10)).await.unwrap();
        db.execute(Step::Mark(20)).await.unwrap();
        assert!(!db.execute(Step::Lift { marked_at: 10 }).await.unwrap());
        assert!(Recovery::of(&db, OLD).await.unwrap().unwrap().is_under_way());
        assert!(db.execute(Step::Lift { marked_at: 20 }).await.unwrap());
        assert!(!Recovery::of(&db, OLD).await.unwrap().unwrap().is_under_way());
    }

    #[tokio::test]
    async fn a_newcomer_is_marked_with_those_that_are_served() {
        let (db, _folder) = database().await;
        db.execute(Step::Mark(10)).await.unwrap();
        db.execute(Step::Newcomer(vec![Id::from_bytes([3; 16])])).await.unwrap();
        assert_eq!(Recovery::of(&db, NEW).await.unwrap(), None, "the old one is nobody's any more");
        db.execute(Step::Newcomer(vec![OLD])).await.unwrap();
        let marked = Recovery::of(&db, NEW).await.unwrap().unwrap();
        assert_eq!((marked.since, marked.marked_at, marked.how), (at(1), at(50), HowMarked::Operator));
    }

    #[tokio::test]
    async fn where_nobody_who_is_served_was_known_every_mark_counts() {
        let (db, _folder) = database().await;
        db.execute(Step::Mark(10)).await.unwrap();
        db.execute(Step::Newcomer(Vec::new())).await.unwrap();
        assert!(Recovery::of(&db, NEW).await.unwrap().is_some());
    }
}
