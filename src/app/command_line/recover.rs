//! `recover`: reads back what happened after the backup that a database was put back from, and lets texts leave again.

use super::{
    CommandError, ConfigFile, Ended, chosen, for_each,
    operator::operator,
    restore::{heads_moved, tell_of_the_marks},
};
use crate::{
    app::{
        App, Foundation, Running, foundation,
        marking::{AsOf, Marks},
        recovering::{MARGIN, Round, Standing, Vouched},
    },
    audit::HeadExport,
    config::Settings,
    db::{Db, recovery::HowMarked},
    kernel::{Id, Instruments, Tenant},
};
use jiff::Timestamp;
use std::io::Write;

/// What is wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// Only this practice
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Say how the recovery stands, and do nothing
    #[arg(long, conflicts_with_all = ["begin", "confirm"])]
    status: bool,
    /// Mark the database, which was put back by other means than `chartwire restore`, and bring its schema up to date;
    /// stop the service before
    #[arg(long, conflicts_with_all = ["confirm", "tenant"])]
    begin: bool,
    /// As of when it was put back; needed unless the exported audit heads show it
    #[arg(long, value_name = "INSTANT", requires = "begin")]
    since: Option<Timestamp>,
    /// The name of who vouches that every opt-out since then that no list shows is entered: those told to staff, by
    /// letter or on lists, or made in the carrier's console
    #[arg(long, value_name = "NAME", value_parser = name)]
    confirm: Option<String>,
    /// For how many entries of the carrier's lists that cannot be read the same person vouches, having looked them up in
    /// the carrier's console and entered what they say
    #[arg(long, value_name = "COUNT", requires = "confirm")]
    unreadable: Option<usize>,
}

/// A person's name, as it is to stand in the audit log.
fn name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    if name.is_empty() { Err("a person has to vouch for it by name") } else { Ok(name.to_owned()) }
}

pub(super) async fn run(
    options: &Options,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    if options.begin {
        // Also where a practice of the settings is not stored yet: it is marked when it is taken in.
        let settings = options.config.settings()?;
        let db = Db::open_made(settings.database.url.reveal()).await?;
        let begun = begin(&settings, &db, options.since, instruments, out).await;
        db.close().await;
        return begun;
    }
    let (settings, foundation) = options.config.foundation(instruments).await?;
    let tenants = chosen(&settings, &foundation, options.tenant.as_deref())?;
    let app = app(foundation, &settings, instruments).await?;
    let ended = if options.status {
        for_each(tenants, out, async |slug, tenant, out| status(&app, slug, tenant, out).await).await
    } else {
        let entries = options.unreadable.unwrap_or(0);
        let vouched = options.confirm.as_deref().map(|by| Vouched { by, entries });
        for_each(tenants, out, async |slug, tenant, out| recover(&app, (slug, tenant), vouched, out).await).await
    };
    app.close().await;
    ended
}

async fn begin(
    settings: &Settings,
    db: &Db,
    since: Option<Timestamp>,
    instruments: &Instruments,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    let foundation = Foundation::over_stored(db.clone(), settings, instruments).await?;
    let heads = HeadExport::new(&settings.audit.head_folder);
    let others = foundation::heads_of_others(db, &heads).await?;
    let marks = Marks::of(&foundation, &heads, since.map_or(AsOf::Heads, AsOf::Told)).await?;
    let closed = marks.closed.clone();
    let since = marks.set(HowMarked::Operator, operator()).await?;
    writeln!(out, "marked: no text leaves before what has happened since {since} is read back")?;
    heads_moved(&heads, others, instruments.now(), out)?;
    tell_of_the_marks(&closed, out)
}

async fn app(foundation: Foundation, settings: &Settings, instruments: &Instruments) -> Result<App, CommandError> {
    Ok(Box::pin(App::over(foundation, settings, Running::with(instruments.clone()))).await?)
}

async fn status(app: &App, slug: &str, tenant: Id<Tenant>, out: &mut dyn Write) -> Result<Ended, CommandError> {
    match app.standing(tenant).await? {
        None => writeln!(out, "{slug}: never put back from a backup; texts leave")?,
        Some(Standing { recovery, .. }) if !recovery.is_under_way() => {
            let lifted = recovery.lifted_at.unwrap_or(recovery.marked_at);
            writeln!(out, "{slug}: put back as it was at {}, recovered at {lifted}; texts leave", recovery.since)?;
        }
        Some(standing) => {
            held(slug, &standing, out)?;
            for (read, list) in [(standing.outbound_read(), "sent"), (standing.inbound_read(), "received")] {
                if !read {
                    has_to_be_read(slug, &standing, list, out)?;
                }
            }
            return Ok(Ended::FoundWrong);
        }
    }
    Ok(Ended::Well)
}

/// A recovery that is under way, and what it waits for beside the carrier's lists.
fn held(slug: &str, standing: &Standing, out: &mut dyn Write) -> Result<(), CommandError> {
    let Standing { recovery, unread, unknown, .. } = standing;
    let how = recovery.how.code();
    writeln!(out, "{slug}: put back as it was at {} ({how}); every text is held", recovery.since)?;
    if *unread > 0 {
        writeln!(
            out,
            "{slug}: WAITS: {unread} texts from patients are not read yet; run `chartwire recover` again, and look at `chartwire jobs list` if they stay"
        )?;
    }
    if recovery.confirmed_by.is_none() {
        writeln!(
            out,
            "{slug}: WAITS: no list shows who told staff to stop, by word or letter, or was blocked in the carrier's console; have what came since {} entered, then run `chartwire recover --confirm NAME`",
            recovery.since
        )?;
    }
    if *unknown > 0 {
        writeln!(out, "{slug}: of {unknown} texts nobody knows whether they left; people decide in their threads")?;
    }
    Ok(())
}

fn has_to_be_read(slug: &str, standing: &Standing, list: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(
        out,
        "{slug}: WAITS: the carrier's list of {list} texts has to be read, at {} or later: it may lag; run `chartwire recover`",
        standing.lists_whole_from
    )?;
    Ok(())
}

async fn recover(
    app: &App,
    (slug, tenant): (&str, Id<Tenant>),
    vouched: Option<Vouched<'_>>,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    if let Some(Vouched { by, .. }) = vouched {
        app.confirm_recovery(tenant, by, operator()).await?;
    }
    let Some(round) = app.recover(tenant, &operator(), vouched).await? else {
        writeln!(out, "{slug}: nothing to recover; texts leave")?;
        return Ok(Ended::Well);
    };
    tell(slug, &round, out)?;
    if round.lifted {
        writeln!(out, "{slug}: recovered; texts leave again")?;
        return Ok(Ended::Well);
    }
    held(slug, &round.standing, out)?;
    waits_for_lists(slug, &round, out)?;
    Ok(Ended::FoundWrong)
}

/// What this round has not read, and why.
fn waits_for_lists(slug: &str, round: &Round, out: &mut dyn Write) -> Result<(), CommandError> {
    let unreadable = round.unreadable();
    if !round.read && !unreadable.is_empty() {
        let count = unreadable.count();
        writeln!(
            out,
            "{slug}: WRONG: {count} entries of the carrier's lists cannot be read: {unreadable}; look them up in the carrier's console and have entered what they say; who has done that vouches for it with `chartwire recover --confirm NAME --unreadable {count}`"
        )?;
        return Ok(());
    }
    if !round.read {
        writeln!(out, "{slug}: WAITS: both lists have to be read by the run that lets texts leave; run it again")?;
        return Ok(());
    }
    for (read, list) in [(round.standing.outbound_read(), "sent"), (round.standing.inbound_read(), "received")] {
        if !read {
            has_to_be_read(slug, &round.standing, list, out)?;
        }
    }
    Ok(())
}

fn tell(slug: &str, round: &Round, out: &mut dyn Write) -> Result<(), CommandError> {
    let since = round.standing.recovery.since.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
    writeln!(out, "{slug}: read back from {since} on")?;
    if let Some(aside) = &round.set_aside {
        writeln!(out, "{slug}: audit heads of the rows that are lost were moved to {}", aside.display())?;
    }
    match &round.sent {
        Ok(sent) => writeln!(
            out,
            "{slug}: sent: {} on the carrier's list, {} were missing here ({} of nobody's number), {} settled an open attempt, {} cannot be read",
            sent.listed,
            sent.recorded,
            sent.nobodys,
            sent.settled,
            sent.unreadable.count()
        )?,
        Err(error) => writeln!(out, "{slug}: WRONG: sent texts cannot be read back: {error}")?,
    }
    match &round.received {
        Ok(received) => writeln!(
            out,
            "{slug}: received: {} on the carrier's list, {} were missing here, {} cannot be read",
            received.listed,
            received.new,
            received.unreadable.count()
        )?,
        Err(error) => writeln!(out, "{slug}: WRONG: received texts cannot be read back: {error}")?,
    }
    Ok(())
}
