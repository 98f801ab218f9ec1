//! `restore`: puts a backup of a SQLite database in place, marked so that nothing leaves before it is recovered.

use super::{CommandError, ConfigFile, Ended, operator::operator};
use crate::{
    app::{
        Foundation,
        recovering::{MarkRestored, MarkUnserved, shown_since},
        tenants,
    },
    audit::{HeadExport, newest_row},
    config::Settings,
    db::{Db, Incoming, recovery::HowMarked, sql, sqlite_file},
    kernel::{Id, Instruments, Tenant},
};
use jiff::Timestamp;
use std::{io::Write, path::PathBuf};

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
    let as_of = incoming.taken_at.map_or(AsOf::Shown, AsOf::Stamped);
    let marked = mark(&settings, &db, as_of, HowMarked::Restored, instruments).await;
    db.close().await;
    drop(db);
    let since = marked?;
    // The mark is in the file before the file is in its place.
    incoming.put_in_place().await?;
    writeln!(out, "{} is in place, as it was at {since}", target.display())?;
    if as_of == AsOf::Shown {
        writeln!(out, "the file does not say when it was made: the newest that stands in it was taken for that")?;
    }
    writeln!(out, "no text leaves before `chartwire recover` has read back what has happened since")?;
    Ok(Ended::Well)
}

/// What is known of the instant as of which data were put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// The backup says so itself.
    Stamped(Timestamp),
    /// Somebody says so; what the data show themselves counts where it is earlier.
    Said(Timestamp),
    /// Only what the data show.
    Shown,
}

/// Marks every practice of `db`. Refuses a wrong key before anything is written. Gives the earliest instant.
pub(super) async fn mark(
    settings: &Settings,
    db: &Db,
    as_of: AsOf,
    how: HowMarked,
    instruments: &Instruments,
) -> Result<Timestamp, CommandError> {
    let served = tenants::stored_ids(db, settings).await?;
    let mut known = settings.clone();
    known.tenants.retain(|tenant| served.contains_key(&tenant.slug));
    let foundation = Foundation::over(db.clone(), served.clone(), &known, instruments)?;
    for tenant in served.values() {
        foundation.vault.check(*tenant).await?;
    }
    let heads = HeadExport::new(&settings.audit.head_folder);
    let now = instruments.now();
    let mut earliest = now;
    for row in db.all(sql("SELECT id, slug, created_at FROM tenant ORDER BY slug")).await? {
        let tenant: Id<Tenant> = row.get("id")?;
        let is_served = served.contains_key(&row.get::<String>("slug")?);
        let shown = if is_served {
            shown_since(db, &foundation.vault, tenant, &heads).await?
        } else {
            newest_row(db, tenant).await?
        };
        let shown = match shown {
            Some(shown) => shown,
            // Nothing was ever done for it.
            None => row.get("created_at")?,
        };
        let since = match as_of {
            AsOf::Stamped(stamp) => stamp,
            AsOf::Said(said) => said.min(shown),
            AsOf::Shown => shown,
        };
        earliest = earliest.min(since);
        if is_served {
            let signer = foundation.signer(tenant).await?;
            db.execute(MarkRestored { since, how, now, actor: operator(), signer }).await?;
        } else {
            db.execute(MarkUnserved { tenant, since, how, now }).await?;
        }
    }
    Ok(earliest)
}
