//! `audit`: proof that the log is whole, and the log as JSON lines.

use super::{CommandError, ConfigFile, Ended, Streams, chosen, operator::operator};
use crate::{
    app::Foundation,
    audit::{self, Action, AuditEntry, AuditError, AuditReport, Detail, Head, HeadExport, record_alone},
    config::Settings,
    kernel::{Id, Instruments, Tenant},
};
use std::io::{ErrorKind, Write};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Read every row and report what was changed, removed or moved
    Verify {
        #[command(flatten)]
        config: ConfigFile,
        /// Only this practice
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
    },
    /// Write the sealed rows of a practice as JSON lines
    Export {
        #[command(flatten)]
        config: ConfigFile,
        /// The practice
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Only rows after this number
        #[arg(long, value_name = "SEQ", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
        after: i64,
    },
}

pub(super) async fn run(
    command: Command,
    streams: &mut Streams<'_>,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let (Command::Verify { config, .. } | Command::Export { config, .. }) = &command;
    let (settings, foundation) = config.foundation(instruments).await?;
    let ended = match &command {
        Command::Verify { tenant, .. } => verify(&settings, &foundation, tenant.as_deref(), streams.out).await,
        Command::Export { tenant, after, .. } => export(&settings, &foundation, tenant, *after, streams).await,
    };
    foundation.db.close().await;
    ended
}

async fn verify(
    settings: &Settings,
    foundation: &Foundation,
    named: Option<&str>,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    let mut ended = Ended::Well;
    for (slug, tenant) in chosen(settings, foundation, named)? {
        let exported = exported_head(settings, tenant)?;
        let now = foundation.instruments.now();
        let report = audit::verify(&foundation.db, &foundation.vault, tenant, exported.as_ref(), now).await?;
        if !print(&slug, &report, exported.as_ref(), out)? {
            ended = Ended::FoundWrong;
        }
    }
    Ok(ended)
}

/// The head that was exported last; none where the folder does not exist yet.
fn exported_head(settings: &Settings, tenant: Id<Tenant>) -> Result<Option<Head>, AuditError> {
    match HeadExport::new(&settings.audit.head_folder).latest(tenant) {
        Err(AuditError::Export(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Prints what was found and says whether all is well.
fn print(slug: &str, report: &AuditReport, exported: Option<&Head>, out: &mut dyn Write) -> Result<bool, CommandError> {
    let AuditReport { rows, unsealed, findings, more_findings } = report;
    let reach = exported.map_or_else(
        || "no head was exported".to_owned(),
        |head| format!("number {} was exported at {}", head.last_seq, head.sealed_at),
    );
    writeln!(out, "{slug}: {rows} rows sealed, {unsealed} waiting; {reach}")?;
    for finding in findings {
        writeln!(out, "{slug}: WRONG: {finding}")?;
    }
    if *more_findings > 0 {
        writeln!(out, "{slug}: WRONG: {more_findings} more")?;
    }
    // Without a copy outside the database nobody would notice that the newest rows were cut off together with the head.
    let unproved = exported.is_none() && *rows > 0;
    if unproved {
        writeln!(
            out,
            "{slug}: WRONG: there is no exported head in audit.head_folder, so the log's end is not proved; restore the folder; if there never was one, start the service, which exports the head"
        )?;
    }
    let well = report.is_clean() && !unproved;
    if well {
        writeln!(out, "{slug}: the log is whole")?;
    }
    Ok(well)
}

async fn export(
    settings: &Settings,
    foundation: &Foundation,
    named: &str,
    after: i64,
    streams: &mut Streams<'_>,
) -> Result<Ended, CommandError> {
    for (slug, tenant) in chosen(settings, foundation, Some(named))? {
        let entry = AuditEntry::new(operator(), Action::Export, "operations")
            .with_detail(Detail::new().code("what", "audit_log").count("after_seq", after));
        record_alone(&foundation.db, entry, foundation.signer(tenant).await?).await?;
        let rows = audit::export(&foundation.db, tenant, after, streams.out).await?;
        writeln!(streams.err, "{slug}: {rows} rows written")?;
    }
    Ok(Ended::Well)
}
