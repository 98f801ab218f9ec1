//! Whether a log is behind the heads that were exported of it: then its database was put back from a backup, or lost its
//! newest commits as it failed over, and nobody may have said so.

use super::{
    Action, Actor, AuditEntry, AuditError, AuditSigner, Detail, Head, HeadExport, Outcome, record, record_alone,
};
use crate::{
    db::{
        Command, Db, DbError, Tx,
        recovery::{self, HowMarked, Recovery},
        sql,
    },
    kernel::{Id, Instruments, Tenant},
    vault::{MacPurpose, Vault},
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::{io::ErrorKind, path::PathBuf};

/// Ends every session of a tenant's staff, in the transaction that marks it as put back, and says how many: who had lost
/// access since the backup would have it again. Sessions are a higher room's, which hands this down.
pub type EndSessions = for<'a> fn(&'a mut Tx, Id<Tenant>, Timestamp) -> BoxFuture<'a, Result<u64, DbError>>;

/// A log that lacks rows that were once sealed in it.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The head that was exported last.
    pub exported: Head,
    /// The furthest exported head that the log still holds: up to there it is the same log.
    pub common: Option<Head>,
}

impl Behind {
    /// How `tenant`'s log stands; `None` where it holds the head that was exported last, or none was. A head that the
    /// tenant's keys did not sign counts only where its key may have been lost with the rows.
    ///
    /// # Errors
    /// [`AuditError`] when the log, the keys or the folder cannot be read.
    pub async fn of(
        db: &Db,
        vault: &Vault,
        tenant: Id<Tenant>,
        export: &HeadExport,
    ) -> Result<Option<Self>, AuditError> {
        let latest = match export.latest(tenant) {
            Err(AuditError::Export(error)) if error.kind() == ErrorKind::NotFound => None,
            other => other?,
        };
        let Some(exported) = latest else { return Ok(None) };
        if stands_in_log(db, &exported).await? {
            return Ok(None);
        }
        let keys = vault.stored_mac_keys(tenant, MacPurpose::AuditHead).await?;
        let newest = keys.first().map_or(0, crate::vault::MacKey::version);
        if !exported.is_genuine(tenant, &keys) && exported.key_version <= newest {
            return Ok(None);
        }
        let mut common = None;
        for file in export.files(tenant)? {
            let heads = HeadExport::read(&file)?;
            // Whoever holds a head holds all before it.
            let (mut found, mut missing) = (0, heads.len());
            while found < missing {
                let middle = found + (missing - found) / 2;
                match heads.get(middle) {
                    Some(head) if stands_in_log(db, head).await? => found = middle + 1,
                    _ => missing = middle,
                }
            }
            common = found.checked_sub(1).and_then(|last| heads.get(last).cloned());
            if common.is_some() {
                break;
            }
        }
        Ok(Some(Self { exported, common }))
    }

    /// The instant up to which the log is known to be whole.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn since(&self, db: &Db) -> Result<Timestamp, DbError> {
        match &self.common {
            Some(common) => Ok(common.sealed_at),
            None => oldest_row(db, self.exported.tenant).await,
        }
    }

    /// Moves the exported heads aside, for their log has ended: the one that goes on from the backup is another. Says so
    /// in that one, with the numbers that are lost. Gives the folder that they are in now.
    ///
    /// # Errors
    /// [`AuditError`] when the log cannot be written or a file cannot be moved.
    pub async fn set_aside(
        &self,
        db: &Db,
        actor: Actor,
        signer: AuditSigner,
        (export, at): (&HeadExport, Timestamp),
    ) -> Result<Option<PathBuf>, AuditError> {
        let tenant = self.exported.tenant;
        let lost_after = self.common.as_ref().map_or(0, |common| common.last_seq);
        let detail = Detail::new()
            .code("heads", "set-aside")
            .count("lost_after_seq", lost_after)
            .count("exported_seq", self.exported.last_seq);
        let entry = AuditEntry::new(actor, Action::Edit, "recovery").with_detail(detail);
        record_alone(db, entry, signer).await?;
        tracing::error!(%tenant, lost_after, "exported audit heads are of a log that has ended: they are moved aside");
        let export = export.clone();
        let aside = tokio::task::spawn_blocking(move || export.set_aside(tenant, at)).await;
        aside.map_err(std::io::Error::other)?
    }
}

/// Whether the log holds the row that `head` was the end of.
pub(super) async fn stands_in_log(db: &Db, head: &Head) -> Result<bool, DbError> {
    if head.last_seq == 0 {
        return Ok(true);
    }
    let query = sql("SELECT chain FROM audit_row WHERE tenant = $1 AND seq = $2");
    let row = db.optional(query.bind(head.tenant).bind(head.last_seq)).await?;
    let chain = row.map(|row| row.get::<Vec<u8>>("chain")).transpose()?;
    Ok(chain.is_some_and(|chain| chain == head.last_chain))
}

async fn oldest_row(db: &Db, tenant: Id<Tenant>) -> Result<Timestamp, DbError> {
    let row = db.one(sql("SELECT MIN(at) AS oldest FROM audit_row WHERE tenant = $1").bind(tenant)).await?;
    Ok(row.get::<Option<Timestamp>>("oldest")?.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// When the newest row of `tenant`'s log was written.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn newest_row(db: &Db, tenant: Id<Tenant>) -> Result<Option<Timestamp>, DbError> {
    db.one(sql("SELECT MAX(at) AS newest FROM audit_row WHERE tenant = $1").bind(tenant)).await?.get("newest")
}

/// Marks `tenant` as put back where its log is behind the exported heads and nobody has said so. Answers whether it did.
///
/// Where the heads are of a log that had ended before a recovery that is over, they are set aside instead: each machine
/// may have an export folder of its own, and `chartwire recover` sees but one.
///
/// # Errors
/// As [`Behind::of`].
pub async fn mark_if_behind(
    db: &Db,
    vault: &Vault,
    instruments: &Instruments,
    (tenant, export): (Id<Tenant>, &HeadExport),
    end_sessions: EndSessions,
) -> Result<bool, AuditError> {
    let Some(behind) = Behind::of(db, vault, tenant, export).await? else { return Ok(false) };
    let recovery = Recovery::of(db, tenant).await?;
    if recovery.as_ref().is_some_and(Recovery::is_under_way) {
        return Ok(false);
    }
    let signer = AuditSigner::new(vault, instruments.clone(), tenant).await?;
    // A database that was put back to before that recovery knows nothing of it.
    if recovery.is_some_and(|recovery| behind.exported.sealed_at < recovery.marked_at) {
        behind.set_aside(db, Actor::System("audit"), signer, (export, instruments.now())).await?;
        return Ok(false);
    }
    let since = behind.since(db).await?;
    tracing::error!(%tenant, %since, "the database is older than its exported audit heads: it was put back from a backup; texts are held until `chartwire recover` is done");
    db.execute(MarkBehind { behind, since, now: instruments.now(), signer, end_sessions }).await?;
    Ok(true)
}

struct MarkBehind {
    behind: Behind,
    since: Timestamp,
    now: Timestamp,
    signer: AuditSigner,
    end_sessions: EndSessions,
}

impl Command for MarkBehind {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let tenant = self.signer.tenant();
        recovery::mark(tx, tenant, self.since, HowMarked::AuditHead, self.now).await?;
        let ended = (self.end_sessions)(tx, tenant, self.now).await?;
        let entry =
            AuditEntry::new(Actor::System("audit"), Action::Edit, "recovery").ended(Outcome::Failed).with_detail(
                Detail::new()
                    .code("mark", HowMarked::AuditHead.code())
                    .count("since_ms", self.since.as_millisecond())
                    .count("exported_seq", self.behind.exported.last_seq)
                    .count("sessions_ended", i64::try_from(ended).unwrap_or(i64::MAX)),
            );
        record(tx, &entry, &self.signer).await.map(|_| ())
    }
}
