//! The marks of a database that was put back: of all its practices, in one transaction.
//!
//! Called by the commands `restore` and `recover --begin`, and wherever a database is opened that turns out to be a backup
//! copied into place. Always: a practice is marked also where its keys cannot be had, for nothing may leave for it either;
//! only its log cannot say so then.

use super::{AppError, Foundation};
use crate::{
    access::end_all_sessions,
    audit::{self, Action, Actor, AuditEntry, AuditError, AuditSigner, Behind, Detail, HeadExport},
    db::{
        Command, DbError, Tx,
        recovery::{self, HowMarked},
        sql,
    },
    kernel::{Id, Tenant},
    vault::VaultError,
};
use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;

/// What is known of the instant as of which data were put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// The backup says so, or somebody does; what the data show themselves counts where it is earlier.
    Told(Timestamp),
    /// Only what the data show, which nobody has written to since.
    Data,
    /// Only what the exported heads show: a service may have written to the data since.
    Heads,
}

/// The marks that are about to be set.
pub(super) struct Marks<'a> {
    foundation: &'a Foundation,
    practices: Vec<Mark>,
    /// Practices of the settings whose keys cannot be had, and why.
    pub(super) closed: Vec<(String, VaultError)>,
}

/// The mark of one practice.
struct Mark {
    tenant: Id<Tenant>,
    since: Timestamp,
    /// None where nobody serves it, or its keys cannot be had.
    signer: Option<AuditSigner>,
}

/// What the data show of one practice.
struct Shown {
    tenant: Id<Tenant>,
    signer: Option<AuditSigner>,
    /// The furthest exported head that its log still holds, where the log is behind what was exported.
    by_heads: Option<Timestamp>,
    /// The newest row of its log.
    newest: Timestamp,
}

impl<'a> Marks<'a> {
    /// What would mark every practice that the database knows. Nothing is written yet.
    ///
    /// # Errors
    /// [`AppError::NoPractice`] where it knows none, [`AppError::SinceNotShown`]; otherwise as the log or the heads cannot
    /// be read.
    pub(super) async fn of(foundation: &'a Foundation, heads: &HeadExport, as_of: AsOf) -> Result<Self, AppError> {
        let (mut shown, mut closed) = (Vec::new(), Vec::new());
        for row in foundation.db.all(sql("SELECT id, slug, created_at FROM tenant ORDER BY slug")).await? {
            let (tenant, slug): (Id<Tenant>, String) = (row.get("id")?, row.get("slug")?);
            let mut signer = None;
            if foundation.tenants.contains_key(&slug) {
                match checked_signer(foundation, tenant).await {
                    Ok(checked) => signer = Some(checked),
                    Err(error) => closed.push((slug, error)),
                }
            }
            let newest = match audit::newest_row(&foundation.db, tenant).await? {
                Some(newest) => newest,
                // Nothing was ever done for it.
                None => row.get("created_at")?,
            };
            shown.push(Shown { tenant, signer, by_heads: by_heads(foundation, tenant, heads).await?, newest });
        }
        let practices = dated(shown, as_of)?;
        Ok(Self { foundation, practices, closed })
    }

    /// Sets them, and ends every session. Gives the earliest instant.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away: nothing is marked then.
    pub(super) async fn set(self, how: HowMarked, actor: Actor) -> Result<Timestamp, DbError> {
        let now = self.foundation.instruments.now();
        let earliest = self.practices.iter().map(|mark| mark.since).min().unwrap_or(now);
        self.foundation.db.execute(SetMarks { practices: self.practices, how, actor, now }).await?;
        Ok(earliest)
    }
}

async fn checked_signer(foundation: &Foundation, tenant: Id<Tenant>) -> Result<AuditSigner, VaultError> {
    foundation.vault.check(tenant).await?;
    foundation.signer(tenant).await
}

async fn by_heads(
    foundation: &Foundation,
    tenant: Id<Tenant>,
    heads: &HeadExport,
) -> Result<Option<Timestamp>, AppError> {
    match Behind::of(&foundation.db, &foundation.vault, tenant, heads).await {
        Ok(Some(behind)) => Ok(Some(behind.since(&foundation.db).await?)),
        // Without its keys nobody can tell whether the heads are its own.
        Ok(None) | Err(AuditError::Vault(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The instant from which on each practice's data may be incomplete.
fn dated(shown: Vec<Shown>, as_of: AsOf) -> Result<Vec<Mark>, AppError> {
    if shown.is_empty() {
        return Err(AppError::NoPractice);
    }
    // The data are of one instant, and it is not before the head that any one log still holds.
    let of_others = shown.iter().filter_map(|one| one.by_heads).min();
    let dated = shown.into_iter().map(|Shown { tenant, signer, by_heads, newest }| {
        let since = match as_of {
            AsOf::Told(told) => told.min(by_heads.unwrap_or(newest)),
            AsOf::Data => by_heads.unwrap_or(newest),
            AsOf::Heads => by_heads.or(of_others).ok_or(AppError::SinceNotShown)?,
        };
        Ok(Mark { tenant, since, signer })
    });
    dated.collect()
}

struct SetMarks {
    practices: Vec<Mark>,
    how: HowMarked,
    actor: Actor,
    now: Timestamp,
}

impl Command for SetMarks {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for Mark { tenant, since, signer } in &self.practices {
            recovery::mark(tx, *tenant, *since, self.how, self.now).await?;
            let ended = end_all_sessions(tx, *tenant, self.now).await?;
            let Some(signer) = signer else { continue };
            let entry = AuditEntry::new(self.actor.clone(), Action::Edit, "recovery").with_detail(
                Detail::new()
                    .code("mark", self.how.code())
                    .count("since_ms", since.as_millisecond())
                    .count("sessions_ended", i64::try_from(ended).unwrap_or(i64::MAX)),
            );
            audit::record(tx, &entry, signer).await?;
        }
        recovery::take_stamp_away(tx).await
    }
}

/// Marks the practices of a database that is a backup copied into place by hand, and takes its stamp away.
///
/// # Errors
/// [`AppError`] as log, heads or database cannot be used.
pub(super) async fn mark_where_copied(foundation: &Foundation, heads: &HeadExport) -> Result<(), AppError> {
    let Some(taken_at) = recovery::copied_from_backup_of(&foundation.db).await? else { return Ok(()) };
    tracing::error!(%taken_at, "the database is a copy that `chartwire backup` made: it was put back without `chartwire restore`; texts are held until `chartwire recover` is done");
    let marks = Marks::of(foundation, heads, AsOf::Told(taken_at)).await?;
    for (slug, error) in &marks.closed {
        tracing::error!(%slug, %error, "the practice is marked, and its audit log cannot say so: its keys cannot be had");
    }
    marks.set(HowMarked::Restored, Actor::System("recovery")).await?;
    Ok(())
}

/// What the audit room calls where it marks a practice by itself ([`audit::EndSessions`]).
pub(super) fn end_sessions(tx: &mut Tx, tenant: Id<Tenant>, at: Timestamp) -> BoxFuture<'_, Result<u64, DbError>> {
    end_all_sessions(tx, tenant, at).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// What two practices show, by minutes: their heads, and the newest row of their logs.
    fn since(practices: [(Option<i64>, i64); 2], as_of: AsOf) -> Result<Vec<Timestamp>, AppError> {
        let shown = practices.into_iter().zip(1..).map(|((by_heads, newest), number)| Shown {
            tenant: Id::from_bytes([number; 16]),
            signer: None,
            by_heads: by_heads.map(at),
            newest: at(newest),
        });
        Ok(dated(shown.collect(), as_of)?.iter().map(|mark| mark.since).collect())
    }

    #[test]
    fn the_heads_of_one_practice_date_the_data_of_all() {
        // A service has been started: the newest rows are of today.
        assert_eq!(since([(Some(30), 500), (None, 501)], AsOf::Heads).unwrap(), [at(30), at(30)]);
        assert_eq!(since([(Some(30), 500), (Some(20), 501)], AsOf::Heads).unwrap(), [at(30), at(20)]);
        assert!(matches!(since([(None, 500), (None, 501)], AsOf::Heads), Err(AppError::SinceNotShown)));
    }

    #[test]
    fn what_is_told_counts_unless_the_data_show_less() {
        assert_eq!(since([(None, 50), (Some(30), 60)], AsOf::Told(at(40))).unwrap(), [at(40), at(30)]);
        assert_eq!(since([(None, 35), (None, 60)], AsOf::Told(at(40))).unwrap(), [at(35), at(40)]);
        assert_eq!(since([(None, 50), (Some(30), 60)], AsOf::Data).unwrap(), [at(50), at(30)]);
    }

    #[test]
    fn a_database_without_practices_is_not_the_one() {
        assert!(matches!(dated(Vec::new(), AsOf::Told(at(1))), Err(AppError::NoPractice)));
    }
}
