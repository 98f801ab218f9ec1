//! What brings a database that was put back from a backup up to what has happened since: the reading back, and the lifting
//! of the mark.
//!
//! Called by the command `recover`, and at every start. Always: the mark is lifted in one transaction that
//! looks once more at all that it stands on; each step can be repeated.

use super::{App, AppError, marking::end_sessions};
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail},
    db::{
        Command, DbError, Recovery, Tx,
        recovery::{self, ReadBackList},
        sql,
    },
    kernel::{Id, Tenant},
    messaging::{MessagingError, ReceivedBack, SentBack, TEXT_RECEIVED, carrier_port::Unreadable},
};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// How far before the instant of the backup the lists are read: clocks differ, and what was under way then was
/// committed a little later.
pub(super) const MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// Who vouches for entries of the carrier's lists that cannot be read, and for how many: they were looked up there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vouched<'a> {
    pub(super) by: &'a str,
    pub(super) entries: usize,
}

/// What one round of recovery has come to.
pub(super) struct Round {
    /// What was exported of a log that has ended, and where it was put.
    pub(super) set_aside: Option<PathBuf>,
    pub(super) received: Result<ReceivedBack, MessagingError>,
    pub(super) sent: Result<SentBack, MessagingError>,
    /// Whether this round has read both lists, but for entries that somebody vouches for. What an earlier one has read
    /// does not do: texts have come since.
    pub(super) read: bool,
    /// How it stands now.
    pub(super) standing: Standing,
    /// Whether texts leave again.
    pub(super) lifted: bool,
}

impl Round {
    /// Entries of both lists that cannot be read.
    pub(super) fn unreadable(&self) -> Unreadable {
        unreadable(&self.sent, &self.received)
    }
}

fn unreadable(sent: &Result<SentBack, MessagingError>, received: &Result<ReceivedBack, MessagingError>) -> Unreadable {
    let mut unreadable = sent.as_ref().map(|sent| sent.unreadable.clone()).unwrap_or_default();
    unreadable.extend(received.as_ref().map(|received| received.unreadable.clone()).unwrap_or_default());
    unreadable
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
            let whose = (*tenant, &self.heads);
            audit::mark_if_behind(&self.db, &self.vault, &self.instruments, whose, end_sessions).await?;
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
    pub(super) async fn recover(
        &self,
        tenant: Id<Tenant>,
        actor: &Actor,
        vouched: Option<Vouched<'_>>,
    ) -> Result<Option<Round>, AppError> {
        let Some(recovery) = Recovery::of(&self.db, tenant).await?.filter(Recovery::is_under_way) else {
            return Ok(None);
        };
        let set_aside = self.set_heads_aside(tenant, actor).await?;
        let since = recovery.since.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        let outbound_began = self.instruments.now();
        let sent = self.read_back.sent(tenant, since).await;
        let inbound_began = self.instruments.now();
        let received = self.puller.read_back(tenant, since).await;
        let unreadable = unreadable(&sent, &received);
        let vouched = vouched.filter(|vouched| !unreadable.is_empty() && vouched.entries >= unreadable.count());
        if let Some(vouched) = vouched {
            self.note_vouched(tenant, actor, vouched, &unreadable).await?;
        }
        let outbound = sent.as_ref().is_ok_and(|sent| vouched.is_some() || sent.unreadable.is_empty());
        let inbound = received.as_ref().is_ok_and(|received| vouched.is_some() || received.unreadable.is_empty());
        if outbound {
            self.db.execute(NoteReadBack(tenant, ReadBackList::Outbound, outbound_began)).await?;
        }
        if inbound {
            self.db.execute(NoteReadBack(tenant, ReadBackList::Inbound, inbound_began)).await?;
        }
        // STOP among them is in force when this is done; a service that runs beside does the same.
        self.worker.run_due_of(&[TEXT_RECEIVED]).await?;
        let read = outbound && inbound;
        let lifted = read && self.lift(tenant, actor).await?;
        self.sealer.seal(tenant).await?;
        let standing = self.standing(tenant).await?.ok_or(AppError::Db(DbError::NotFound))?;
        Ok(Some(Round { set_aside, received, sent, read, standing, lifted }))
    }

    /// Says in the audit log who vouches for which entries.
    async fn note_vouched(
        &self,
        tenant: Id<Tenant>,
        actor: &Actor,
        vouched: Vouched<'_>,
        unreadable: &Unreadable,
    ) -> Result<(), AppError> {
        let count = i64::try_from(unreadable.count()).unwrap_or(i64::MAX);
        let detail = Detail::new().code("confirmed", "unreadable-entries").foreign_id("by", vouched.by);
        let details = std::iter::once(detail.clone().count("entries", count))
            .chain(unreadable.ids.iter().map(|id| detail.clone().foreign_id("carrier_id", id)));
        for detail in details {
            let entry = AuditEntry::new(actor.clone(), Action::Override, "recovery").with_detail(detail);
            audit::record_alone(&self.db, entry, self.signer(tenant).await?).await?;
        }
        Ok(())
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
        let signer = self.signer(tenant).await?;
        Ok(behind.set_aside(&self.db, actor.clone(), signer, (&self.heads, self.instruments.now())).await?)
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
        let unread = sql("SELECT 1 AS unread FROM number_line WHERE tenant = $1 AND unread > 0 LIMIT 1").bind(tenant);
        if tx.optional(unread).await?.is_some() || !recovery::lift(tx, tenant, self.marked_at, self.now).await? {
            return Ok(false);
        }
        let entry = AuditEntry::new(self.actor.clone(), Action::Edit, "recovery").with_detail(
            Detail::new().code("mark", "lifted").count("lists_whole_from_ms", self.lists_whole_from.as_millisecond()),
        );
        audit::record(tx, &entry, &self.signer).await?;
        Ok(true)
    }
}
