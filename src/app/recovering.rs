//! What brings a database that was put back from a backup up to what has happened since: the mark, the reading back, and
//! the lifting of the mark.
//!
//! Called by the commands `restore` and `recover`, and at every start. Always: the mark is lifted in one transaction that
//! looks once more at all that it stands on; each step can be repeated.

use super::{App, AppError};
use crate::{
    access::end_all_sessions,
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail, HeadExport},
    db::{
        Command, Db, DbError, Recovery, Tx,
        recovery::{self, HowMarked, ReadBackList},
        sql,
    },
    kernel::{Id, Tenant},
    messaging::{MessagingError, ReceivedBack, SentBack, TEXT_RECEIVED},
    vault::Vault,
};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// How far before the instant of the backup the lists are read: clocks differ, and what was under way then was
/// committed a little later.
pub(super) const MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// Marks a tenant's data as put back, ends its sessions, and says so in its audit log.
pub(super) struct MarkRestored {
    pub(super) since: Timestamp,
    pub(super) how: HowMarked,
    pub(super) now: Timestamp,
    pub(super) actor: Actor,
    pub(super) signer: AuditSigner,
}

impl Command for MarkRestored {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let tenant = self.signer.tenant();
        recovery::mark(tx, tenant, self.since, self.how, self.now).await?;
        let ended = end_all_sessions(tx, tenant, self.now).await?;
        let entry = AuditEntry::new(self.actor.clone(), Action::Edit, "recovery").with_detail(
            Detail::new()
                .code("mark", self.how.code())
                .count("since_ms", self.since.as_millisecond())
                .count("sessions_ended", i64::try_from(ended).unwrap_or(i64::MAX)),
        );
        audit::record(tx, &entry, &self.signer).await.map(|_| ())
    }
}

/// Marks a tenant that no key is configured for: it has no log to write to, and nobody serves it.
pub(super) struct MarkUnserved {
    pub(super) tenant: Id<Tenant>,
    pub(super) since: Timestamp,
    pub(super) how: HowMarked,
    pub(super) now: Timestamp,
}

impl Command for MarkUnserved {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        recovery::mark(tx, self.tenant, self.since, self.how, self.now).await
    }
}

/// The instant from which on `tenant`'s data may be incomplete, as far as the data and the exported heads show it:
/// the furthest exported head that is still in the log, otherwise the newest row of the log.
///
/// # Errors
/// [`AppError`] when the log or the heads cannot be read.
pub(super) async fn shown_since(
    db: &Db,
    vault: &Vault,
    tenant: Id<Tenant>,
    export: &HeadExport,
) -> Result<Option<Timestamp>, AppError> {
    if let Some(behind) = audit::Behind::of(db, vault, tenant, export).await? {
        return Ok(Some(behind.since(db).await?));
    }
    Ok(audit::newest_row(db, tenant).await?)
}

/// What one round of recovery has come to.
pub(super) struct Round {
    /// What was exported of a log that has ended, and where it was put.
    pub(super) set_aside: Option<PathBuf>,
    pub(super) received: Result<ReceivedBack, MessagingError>,
    pub(super) sent: Result<SentBack, MessagingError>,
    /// How it stands now.
    pub(super) standing: Standing,
    /// Whether texts leave again.
    pub(super) lifted: bool,
}

/// What a recovery waits for.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) recovery: Recovery,
    /// Inbound texts that are not read: a STOP may be among them.
    pub(super) unread: i64,
    /// Texts of which nobody knows whether they left; a person decides, each in its thread.
    pub(super) unknown: i64,
    /// From when on the carrier's lists are sure to show what was sent before the restore.
    pub(super) lists_whole_from: Timestamp,
}

impl Standing {
    pub(super) fn inbound_read(&self) -> bool {
        self.recovery.inbound_read_at.is_some_and(|began| began >= self.lists_whole_from)
    }

    pub(super) fn outbound_read(&self) -> bool {
        self.recovery.outbound_read_at.is_some_and(|began| began >= self.lists_whole_from)
    }

    fn is_complete(&self) -> bool {
        self.inbound_read() && self.outbound_read() && self.unread == 0 && self.recovery.confirmed_by.is_some()
    }
}

impl App {
    /// Marks every tenant whose exported audit heads show that its database was put back, and nobody said so.
    pub(super) async fn mark_unmarked_restores(&self) -> Result<(), AppError> {
        for tenant in self.tenants.values() {
            audit::mark_if_behind(&self.db, &self.vault, &self.instruments, *tenant, &self.heads).await?;
        }
        Ok(())
    }

    /// How `tenant`'s recovery stands; `None` where its database was never put back.
    pub(super) async fn standing(&self, tenant: Id<Tenant>) -> Result<Option<Standing>, AppError> {
        let Some(recovery) = Recovery::of(&self.db, tenant).await? else { return Ok(None) };
        let count = async |query| Ok::<i64, DbError>(self.db.one(query).await?.get::<Option<i64>>("n")?.unwrap_or(0));
        let unread = sql("SELECT CAST(SUM(unread) AS BIGINT) AS n FROM number_line WHERE tenant = $1").bind(tenant);
        let unknown =
            sql("SELECT COUNT(*) AS n FROM message WHERE tenant = $1 AND direction = 'out' AND state = 'unknown'");
        let lag = SignedDuration::try_from(self.carrier_lists_within(tenant)).unwrap_or(MARGIN);
        Ok(Some(Standing {
            unread: count(unread).await?,
            unknown: count(unknown.bind(tenant)).await?,
            lists_whole_from: recovery.marked_at.checked_add(lag).unwrap_or(Timestamp::MAX),
            recovery,
        }))
    }

    /// Reads back what is missing, reads the texts that came in, and lifts the mark if nothing is open any more.
    pub(super) async fn recover(&self, tenant: Id<Tenant>, actor: &Actor) -> Result<Option<Round>, AppError> {
        let Some(recovery) = Recovery::of(&self.db, tenant).await?.filter(Recovery::is_under_way) else {
            return Ok(None);
        };
        let set_aside = self.set_heads_aside(tenant, actor).await?;
        let since = recovery.since.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        let began = self.instruments.now();
        let sent = self.read_back.sent(tenant, since).await;
        if sent.as_ref().is_ok_and(|sent| sent.unreadable == 0) {
            self.db.execute(NoteReadBack(tenant, ReadBackList::Outbound, began)).await?;
        }
        let began = self.instruments.now();
        let received = self.puller.read_back(tenant, since).await;
        if received.as_ref().is_ok_and(|received| received.unreadable == 0) {
            self.db.execute(NoteReadBack(tenant, ReadBackList::Inbound, began)).await?;
        }
        // STOP among them is in force when this is done; a service that runs beside does the same.
        self.worker.run_due_of(&[TEXT_RECEIVED]).await?;
        let lifted = self.lift(tenant, actor).await?;
        self.sealer.seal(tenant).await?;
        let standing = self.standing(tenant).await?.ok_or(AppError::Db(DbError::NotFound))?;
        Ok(Some(Round { set_aside, received, sent, standing, lifted }))
    }

    /// Notes who vouches for what no list shows. Answers whether a recovery is under way.
    pub(super) async fn confirm_recovery(&self, tenant: Id<Tenant>, by: &str, actor: Actor) -> Result<bool, AppError> {
        let signer = self.signer(tenant).await?;
        let confirm = Confirm { by: by.to_owned(), actor, now: self.instruments.now(), signer };
        Ok(self.db.execute(confirm).await?)
    }

    async fn lift(&self, tenant: Id<Tenant>, actor: &Actor) -> Result<bool, AppError> {
        let Some(standing) = self.standing(tenant).await?.filter(Standing::is_complete) else { return Ok(false) };
        let lift = Lift {
            actor: actor.clone(),
            marked_at: standing.recovery.marked_at,
            lists_whole_from: standing.lists_whole_from,
            now: self.instruments.now(),
            signer: self.signer(tenant).await?,
        };
        Ok(self.db.execute(lift).await?)
    }

    /// Where the exported heads are of a log that has ended, moves them aside: the log goes on from the backup.
    async fn set_heads_aside(&self, tenant: Id<Tenant>, actor: &Actor) -> Result<Option<PathBuf>, AppError> {
        let Some(behind) = audit::Behind::of(&self.db, &self.vault, tenant, &self.heads).await? else {
            return Ok(None);
        };
        let lost_after = behind.common.as_ref().map_or(0, |common| common.last_seq);
        let detail = Detail::new()
            .code("heads", "set-aside")
            .count("lost_after_seq", lost_after)
            .count("exported_seq", behind.exported.last_seq);
        let entry = AuditEntry::new(actor.clone(), Action::Edit, "recovery").with_detail(detail);
        audit::record_alone(&self.db, entry, self.signer(tenant).await?).await?;
        let (heads, at) = (self.heads.clone(), self.instruments.now());
        let aside = tokio::task::spawn_blocking(move || heads.set_aside(tenant, at)).await;
        Ok(aside.map_err(|error| AppError::HeadFolder(std::io::Error::other(error)))??)
    }

    async fn signer(&self, tenant: Id<Tenant>) -> Result<AuditSigner, AppError> {
        Ok(AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await?)
    }
}

struct NoteReadBack(Id<Tenant>, ReadBackList, Timestamp);

impl Command for NoteReadBack {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        recovery::note_read_back(tx, self.0, self.1, self.2).await
    }
}

struct Confirm {
    by: String,
    actor: Actor,
    now: Timestamp,
    signer: AuditSigner,
}

impl Command for Confirm {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        if !recovery::confirm(tx, self.signer.tenant(), &self.by, self.now).await? {
            return Ok(false);
        }
        let entry = AuditEntry::new(self.actor.clone(), Action::Override, "recovery")
            .with_detail(Detail::new().code("confirmed", "opt-outs-no-list-shows").foreign_id("by", &self.by));
        audit::record(tx, &entry, &self.signer).await?;
        Ok(true)
    }
}

/// Lifts the mark if all that it stands on still holds.
struct Lift {
    actor: Actor,
    marked_at: Timestamp,
    lists_whole_from: Timestamp,
    now: Timestamp,
    signer: AuditSigner,
}

impl Command for Lift {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let tenant = self.signer.tenant();
        let recovery = Recovery::seen_in(tx, tenant).await?.filter(|recovery| recovery.marked_at == self.marked_at);
        let unread = sql("SELECT 1 AS unread FROM number_line WHERE tenant = $1 AND unread > 0 LIMIT 1").bind(tenant);
        if recovery.is_none() || tx.optional(unread).await?.is_some() || !recovery::lift(tx, tenant, self.now).await? {
            return Ok(false);
        }
        let entry = AuditEntry::new(self.actor.clone(), Action::Edit, "recovery").with_detail(
            Detail::new().code("mark", "lifted").count("lists_whole_from_ms", self.lists_whole_from.as_millisecond()),
        );
        audit::record(tx, &entry, &self.signer).await?;
        Ok(true)
    }
}
