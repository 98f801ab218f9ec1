//! `backup`: a whole copy of a SQLite database, taken while the service writes to it.

use super::{CommandError, ConfigFile, Ended, operator::operator};
use crate::{
    app::Foundation,
    audit::{Action, AuditEntry, Detail, record_alone},
    config::Settings,
    db::{read_copy, sql, sqlite_file},
    kernel::{Id, Instruments, Tenant},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
};

/// Where to.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to write, or a folder in which it gets a name; nothing is overwritten
    #[arg(long, value_name = "FILE|FOLDER")]
    to: PathBuf,
}

pub(super) async fn run(
    options: &Options,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let settings = options.config.settings()?;
    // Said before anything is opened: on PostgreSQL there is nothing to open for.
    sqlite_file(settings.database.url.reveal())?;
    let foundation = Foundation::of_stored(&settings, instruments).await?;
    let backed_up = back_up(&settings, &foundation, &options.to, out).await;
    foundation.db.close().await;
    backed_up
}

/// The copy first: a practice whose keys cannot be had now does not keep the others, nor itself, from being backed up.
async fn back_up(
    settings: &Settings,
    foundation: &Foundation,
    to: &Path,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    // What was committed before this instant is in the copy.
    let taken_at = foundation.instruments.now();
    let target = target(to, taken_at);
    foundation.db.back_up(settings.database.url.reveal(), &target, taken_at).await?;
    tell(settings, &target, taken_at, out).await?;
    let mut ended = Ended::Well;
    for tenant in &settings.tenants {
        let Some(id) = foundation.tenants.get(&tenant.slug) else {
            writeln!(out, "{}: no service has taken it in yet: nothing of it is there to be backed up", tenant.slug)?;
            continue;
        };
        if let Err(error) = note(foundation, *id).await {
            writeln!(out, "{}: WRONG: its audit log does not say that this backup was taken: {error}", tenant.slug)?;
            ended = Ended::FoundWrong;
        }
    }
    Ok(ended)
}

async fn note(foundation: &Foundation, tenant: Id<Tenant>) -> Result<(), CommandError> {
    let entry =
        AuditEntry::new(operator(), Action::Export, "operations").with_detail(Detail::new().code("what", "database"));
    record_alone(&foundation.db, entry, foundation.signer(tenant).await?).await?;
    Ok(())
}

fn target(to: &Path, at: Timestamp) -> PathBuf {
    if to.is_dir() { to.join(at.strftime("chartwire-%Y%m%dT%H%M%S%3fZ.db").to_string()) } else { to.to_owned() }
}

/// What was written, as the copy itself has it.
async fn tell(settings: &Settings, file: &Path, taken_at: Timestamp, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{}: whole, as of {taken_at}", file.display())?;
    let query =
        sql("SELECT t.slug, h.last_seq, h.last_chain, h.sealed_at FROM audit_head h JOIN tenant t ON t.id = h.tenant");
    let rows = read_copy(file, query).await?;
    let mut heads = HashMap::new();
    for row in &rows {
        let (seq, chain) = (row.get::<i64>("last_seq")?, row.get::<Vec<u8>>("last_chain")?);
        let sealed_at: Timestamp = row.get("sealed_at")?;
        heads.insert(row.get::<String>("slug")?, (seq, chain, sealed_at));
    }
    for tenant in &settings.tenants {
        match heads.get(&tenant.slug) {
            Some((seq, chain, sealed_at)) => {
                write!(out, "{}: audit head: number {seq}, sealed at {sealed_at}, chain ", tenant.slug)?;
                for byte in chain {
                    write!(out, "{byte:02x}")?;
                }
                writeln!(out)?;
            }
            None => writeln!(out, "{}: the audit log is not sealed yet", tenant.slug)?,
        }
    }
    Ok(())
}
