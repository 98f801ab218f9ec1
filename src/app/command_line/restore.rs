//! `restore`: puts a backup of a SQLite database in place, marked so that nothing leaves before it is recovered.

use super::{CommandError, ConfigFile, Ended, operator::operator};
use crate::{
    app::{
        Foundation, foundation,
        marking::{AsOf, Marks},
    },
    audit::HeadExport,
    config::Settings,
    db::{Db, Incoming, recovery::HowMarked, sqlite_file},
    kernel::{Id, Instruments, Tenant},
    vault::VaultError,
};
use jiff::Timestamp;
use std::{collections::BTreeSet, io::Write, path::PathBuf};

/// Where from.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

pub(super) async fn run(
    options: &Options,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let settings = options.config.settings()?;
    let target = sqlite_file(settings.database.url.reveal())?;
    let incoming = Incoming::take(&options.from, &target).await?;
    let db = Db::open_as_it_stands(&incoming.url()).await?;
    let heads = HeadExport::new(&settings.audit.head_folder);
    let as_of = incoming.taken_at.map_or(AsOf::Data, AsOf::Told);
    let marked = mark(&settings, &db, (&heads, as_of), instruments).await;
    db.close().await;
    drop(db);
    let Marked { since, closed, others } = marked?;
    // The mark is in the file before the file is in its place.
    incoming.put_in_place().await?;
    writeln!(out, "{} is in place, as it was at {since}", target.display())?;
    if as_of == AsOf::Data {
        writeln!(out, "the file does not say when it was made: the newest that stands in it was taken for that")?;
    }
    writeln!(out, "no text leaves before `chartwire recover` has read back what has happened since")?;
    heads_moved(&heads, others, instruments.now(), out)?;
    tell_of_the_marks(&closed, out)
}

/// What the marks have come to.
struct Marked {
    since: Timestamp,
    closed: Vec<(String, VaultError)>,
    /// Whose heads were exported, and who are not in the backup.
    others: BTreeSet<Id<Tenant>>,
}

/// Marks every practice of `db`. Refuses a wrong key before anything is written; a KMS that is away, or keys that were
/// destroyed, keep nobody else from coming back.
async fn mark(
    settings: &Settings,
    db: &Db,
    (heads, as_of): (&HeadExport, AsOf),
    instruments: &Instruments,
) -> Result<Marked, CommandError> {
    let foundation = Foundation::over_stored(db.clone(), settings, instruments).await?;
    let others = foundation::heads_of_others(db, heads).await?;
    let marks = Marks::of(&foundation, heads, as_of).await?;
    let is_wrong = |error: &VaultError| !error.is_of_provider() && !matches!(error, VaultError::Destroyed { .. });
    if let Some((_, error)) = marks.closed.iter().find(|(_, error)| is_wrong(error)) {
        return Err(error.clone().into());
    }
    let closed = marks.closed.clone();
    let since = marks.set(HowMarked::Restored, operator()).await?;
    Ok(Marked { since, closed, others })
}

/// Moves aside what was exported of practices that the database does not know: they were taken in after the backup, and
/// come back under other ids.
pub(super) fn heads_moved(
    heads: &HeadExport,
    others: BTreeSet<Id<Tenant>>,
    at: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    for tenant in others {
        if let Some(aside) = heads.set_aside(tenant, at)? {
            let aside = aside.display();
            writeln!(out, "audit heads of a practice that the database does not know were moved to {aside}")?;
        }
    }
    Ok(())
}

/// Practices that are marked, and whose logs cannot say so.
pub(super) fn tell_of_the_marks(closed: &[(String, VaultError)], out: &mut dyn Write) -> Result<Ended, CommandError> {
    for (slug, error) in closed {
        writeln!(out, "{slug}: WRONG: marked, and its audit log does not say so, for its keys cannot be had: {error}")?;
    }
    Ok(if closed.is_empty() { Ended::Well } else { Ended::FoundWrong })
}
