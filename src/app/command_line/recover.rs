//! `recover`: reads back what happened after the backup that a database was put back from, and lets texts leave again.

use super::{
    CommandError, ConfigFile, Ended, chosen,
    operator::operator,
    restore::{AsOf, mark},
};
use crate::{
    app::{
        App, Foundation, Running,
        recovering::{MARGIN, Round, Standing},
    },
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
    /// Mark the database, which was put back by other means than `chartwire restore`; stop the service before
    #[arg(long, conflicts_with_all = ["confirm", "tenant"])]
    begin: bool,
    /// As of when it was put back, where it is known
    #[arg(long, value_name = "INSTANT", requires = "begin")]
    since: Option<Timestamp>,
    /// The name of who vouches that every opt-out since then that no list shows is entered: those told to staff, by
    /// letter or on lists, or made in the carrier's console
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

pub(super) async fn run(
    options: &Options,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    if options.begin {
        // Also where a practice of the settings is not stored yet: it is marked when it is taken in.
        let settings = options.config.settings()?;
        let db = Db::open_as_it_stands(settings.database.url.reveal()).await?;
        let as_of = options.since.map_or(AsOf::Shown, AsOf::Said);
        let marked = mark(&settings, &db, as_of, HowMarked::Operator, instruments).await;
        db.close().await;
        writeln!(out, "marked: no text leaves before what has happened since {} is read back", marked?)?;
        return Ok(Ended::Well);
    }
    let (settings, foundation) = options.config.foundation(instruments).await?;
    let tenants = chosen(&settings, &foundation, options.tenant.as_deref())?;
    let app = app(foundation, &settings, instruments).await?;
    let ended = if options.status {
        status(&app, &tenants, out).await
    } else {
        recover(&app, &tenants, options.confirm.as_deref(), out).await
    };
    app.close().await;
    ended
}

async fn app(foundation: Foundation, settings: &Settings, instruments: &Instruments) -> Result<App, CommandError> {
    Ok(Box::pin(App::over(foundation, settings, Running::with(instruments.clone()))).await?)
}

async fn status(app: &App, tenants: &[(String, Id<Tenant>)], out: &mut dyn Write) -> Result<Ended, CommandError> {
    let mut ended = Ended::Well;
    for (slug, tenant) in tenants {
        match app.standing(*tenant).await? {
            None => writeln!(out, "{slug}: never put back from a backup; texts leave")?,
            Some(Standing { recovery, .. }) if !recovery.is_under_way() => {
                let lifted = recovery.lifted_at.unwrap_or(recovery.marked_at);
                writeln!(out, "{slug}: put back as it was at {}, recovered at {lifted}; texts leave", recovery.since)?;
            }
            Some(standing) => {
                ended = Ended::FoundWrong;
                held(slug, &standing, out)?;
            }
        }
    }
    Ok(ended)
}

/// A recovery that is under way, and what it waits for.
fn held(slug: &str, standing: &Standing, out: &mut dyn Write) -> Result<(), CommandError> {
    let Standing { recovery, unread, unknown, lists_whole_from } = standing;
    let how = recovery.how.code();
    writeln!(out, "{slug}: put back as it was at {} ({how}); every text is held", recovery.since)?;
    for (read, list) in [(standing.outbound_read(), "sent"), (standing.inbound_read(), "received")] {
        if !read {
            writeln!(
                out,
                "{slug}: WAITS: the carrier's list of {list} texts has to be read, at {lists_whole_from} or later: it may lag; run `chartwire recover`"
            )?;
        }
    }
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

async fn recover(
    app: &App,
    tenants: &[(String, Id<Tenant>)],
    confirm: Option<&str>,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    let mut ended = Ended::Well;
    for (slug, tenant) in tenants {
        if let Some(name) = confirm {
            app.confirm_recovery(*tenant, name, operator()).await?;
        }
        let Some(round) = app.recover(*tenant, &operator()).await? else {
            writeln!(out, "{slug}: nothing to recover; texts leave")?;
            continue;
        };
        tell(slug, &round, out)?;
        if round.lifted {
            writeln!(out, "{slug}: recovered; texts leave again")?;
        } else {
            held(slug, &round.standing, out)?;
            ended = Ended::FoundWrong;
        }
    }
    Ok(ended)
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
            sent.listed, sent.recorded, sent.nobodys, sent.settled, sent.unreadable
        )?,
        Err(error) => writeln!(out, "{slug}: WRONG: sent texts cannot be read back: {error}")?,
    }
    match &round.received {
        Ok(received) => writeln!(
            out,
            "{slug}: received: {} on the carrier's list, {} were missing here, {} cannot be read",
            received.listed, received.new, received.unreadable
        )?,
        Err(error) => writeln!(out, "{slug}: WRONG: received texts cannot be read back: {error}")?,
    }
    Ok(())
}
