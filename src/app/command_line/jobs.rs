//! `jobs`: the dead letters.

use super::{CommandError, ConfigFile, Ended, operator::operator};
use crate::{
    app::Foundation,
    audit::{Action, AuditEntry, AuditSigner, record},
    db::{Command as DbCommand, Db, DbError, Tx, sql},
    jobs::{Job, ReleaseDead, dead_letters},
    kernel::{Id, Instruments, Tenant},
};
use std::{collections::HashMap, io::Write};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the jobs that were given up, oldest first
    List(ConfigFile),
    /// Let a job that was given up try again
    Release {
        /// The job's id, as `jobs list` shows it
        id: Id<Job>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) async fn run(
    command: Command,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    match command {
        Command::List(config) => {
            let db = Db::open_as_it_stands(config.settings()?.database.url.reveal()).await?;
            let listed = list(&db, out).await;
            db.close().await;
            listed
        }
        Command::Release { id, config } => {
            let (_, foundation) = config.foundation(instruments).await?;
            let released = release(&foundation, id, out).await;
            foundation.db.close().await;
            released
        }
    }
}

async fn list(db: &Db, out: &mut dyn Write) -> Result<Ended, CommandError> {
    let dead = dead_letters(db).await?;
    if dead.is_empty() {
        writeln!(out, "no job was given up")?;
        return Ok(Ended::Well);
    }
    let slugs = slugs(db).await?;
    writeln!(out, "{:<36}  {:<20}  {:<16}  {:>5}  {:<24}  last error", "id", "practice", "kind", "tries", "since")?;
    for job in dead {
        let slug = slugs.get(&job.tenant).map_or("?", String::as_str);
        let error = job.last_error.as_deref().unwrap_or("-");
        let (id, kind, tries, since) = (job.id.to_string(), job.kind, job.attempts, job.created_at.to_string());
        writeln!(out, "{id:<36}  {slug:<20}  {kind:<16}  {tries:>5}  {since:<24}  {error}")?;
    }
    Ok(Ended::Well)
}

async fn slugs(db: &Db) -> Result<HashMap<Id<Tenant>, String>, DbError> {
    let rows = db.all(sql("SELECT id, slug FROM tenant")).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("slug")?))).collect()
}

async fn release(foundation: &Foundation, id: Id<Job>, out: &mut dyn Write) -> Result<Ended, CommandError> {
    let query = sql("SELECT tenant FROM job WHERE id = $1 AND state = 'dead'").bind(id);
    let Some(row) = foundation.db.optional(query).await? else { return Err(CommandError::NoSuchJob) };
    let tenant = row.get("tenant")?;
    let command = Release {
        letter: ReleaseDead { tenant, id, run_at: foundation.instruments.now() },
        entry: AuditEntry::new(operator(), Action::Edit, "operations").about("job", id),
        signer: foundation.signer(tenant).await?,
    };
    if !foundation.db.execute(command).await? {
        return Err(CommandError::NoSuchJob);
    }
    writeln!(out, "job {id} will be tried again")?;
    Ok(Ended::Well)
}

/// Releases a job and says so in the audit log.
struct Release {
    letter: ReleaseDead,
    entry: AuditEntry,
    signer: AuditSigner,
}

impl DbCommand for Release {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let released = self.letter.run(tx).await?;
        if released {
            record(tx, &self.entry, &self.signer).await?;
        }
        Ok(released)
    }
}
