//! `chartwire …`: what can be asked for at the command line.
//!
//! `main.rs` reads the arguments and calls [`run`]. One file per command; each writes to the streams that it is given
//! and says how it ended. Always: results go to standard output and remarks to standard error; what changes something
//! is in the audit log with the operator's name; nothing prints protected information or a secret, except
//! `keys generate` the key that it made, and `classify` and `guard` what they were given an answer to; only `serve`,
//! `migrate` and the demo bring a database up to date, `restore` the copy that it puts in place, and `recover --begin` one
//! that was put in place by other means; every other command refuses one that is not.

mod audit;
mod backup;
mod check;
mod consents;
mod error;
mod jobs;
mod keys;
mod lines;
mod loosened;
mod operator;
mod recover;
mod restore;
mod serve;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use consents::consent_list;
pub use error::CommandError;

use super::{Foundation, ProcessRole, foundation};
use crate::{
    config::{ConfigError, ProcessSurroundings, Settings},
    db::Db,
    kernel::{Id, Instruments, Tenant},
};
use std::{
    io::{BufRead, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The arguments.
#[derive(Debug, clap::Parser)]
#[command(name = "chartwire", version, about = "Two-way SMS inside the EHR.", arg_required_else_help = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the service beside a sandbox EHR, carrier and phones, to try it
    #[cfg(feature = "sandbox")]
    Demo(crate::app::demo::DemoOptions),
    /// Run the sandbox alone, for a service that runs as a process of its own
    #[cfg(feature = "sandbox")]
    Sandbox(crate::app::demo::SandboxOptions),
    /// Serve until told to stop (SIGTERM or ctrl-c)
    Serve {
        #[command(flatten)]
        config: ConfigFile,
        /// What this process does
        #[arg(long, value_enum, value_delimiter = ',', default_value = "web,worker")]
        role: Vec<ProcessRole>,
    },
    /// Check the settings, then reach every outside party, and list each loosened policy
    Check(ConfigFile),
    /// Bring the database's schema up to date
    Migrate(ConfigFile),
    /// Copy a SQLite database while the service writes to it
    Backup(backup::Options),
    /// Put a backup of a SQLite database in place; nothing leaves before it is recovered
    Restore(restore::Options),
    /// Read back what has happened since a backup that was put in place, and let texts leave again
    Recover(recover::Options),
    /// Make, list and replace keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Prove that the audit log is whole, or write it out
    #[command(subcommand)]
    Audit(audit::Command),
    /// Take in what patients agreed to elsewhere
    #[command(subcommand)]
    Consents(consents::Command),
    /// See and release jobs that were given up
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Read replies: JSON lines `{"id","context","text"}` in, `{"id","lang","intents",…}` out
    Classify,
    /// Hold texts against what must not leave: JSON lines `{"id","text"[,"chart_terms"]}` in, verdicts out
    Guard,
}

/// Which settings.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "CHARTWIRE_CONFIG")]
    config: PathBuf,
}

impl ConfigFile {
    fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.config, &ProcessSurroundings)
    }

    async fn foundation(&self, instruments: &Instruments) -> Result<(Settings, Foundation), CommandError> {
        let settings = self.settings()?;
        let foundation = Foundation::as_it_stands(&settings, instruments).await?;
        Ok((settings, foundation))
    }
}

/// Where a command reads and writes.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut (dyn BufRead + Send),
    /// Standard output: results.
    pub out: &'a mut (dyn Write + Send),
    /// Standard error: remarks.
    pub err: &'a mut (dyn Write + Send),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is well. Exit code 0.
    Well,
    /// It was done, and something is wrong: a failed check, a finding, a line that cannot be read. Exit code 1.
    FoundWrong,
    /// It could not be done. Exit code 2, as for arguments that are wrong.
    NotDone,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Well => Self::SUCCESS,
            Ended::FoundWrong => Self::FAILURE,
            Ended::NotDone => Self::from(2),
        }
    }
}

/// Does what the arguments ask for. Errors are written to the streams.
pub async fn run(command_line: CommandLine, mut streams: Streams<'_>, instruments: &Instruments) -> Ended {
    let ended = Box::pin(dispatch(command_line.command, &mut streams, instruments)).await;
    let flushed = streams.out.flush().map_err(CommandError::Output);
    match ended.and_then(|ended| flushed.map(|()| ended)) {
        Ok(ended) => ended,
        Err(error) => {
            // Where even this cannot be written, the exit code is all that is left to say.
            let _ = writeln!(streams.err, "chartwire: {error}");
            Ended::NotDone
        }
    }
}

async fn dispatch(
    command: Command,
    streams: &mut Streams<'_>,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    match command {
        #[cfg(feature = "sandbox")]
        Command::Demo(options) => {
            let stop = serve::stop_at_signal()?;
            // By far the largest of the commands: the others need not carry its size.
            Box::pin(crate::app::demo::run(&options, instruments, streams.out, stop)).await?;
            Ok(Ended::Well)
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => {
            let stop = serve::stop_at_signal()?;
            Box::pin(crate::app::demo::stand_alone(options, instruments, streams.out, stop)).await?;
            Ok(Ended::Well)
        }
        Command::Serve { config, role } => serve::serve(&config.settings()?, &role, instruments).await,
        Command::Check(config) => check::check(&config, streams.out, instruments).await,
        Command::Migrate(config) => migrate(&config, streams.out).await,
        Command::Backup(options) => backup::run(&options, streams.out, instruments).await,
        Command::Restore(options) => restore::run(&options, streams.out, instruments).await,
        Command::Recover(options) => Box::pin(recover::run(&options, streams.out, instruments)).await,
        Command::Keys(command) => keys::run(command, streams, instruments).await,
        Command::Audit(command) => audit::run(command, streams, instruments).await,
        Command::Consents(command) => consents::run(command, streams, instruments).await,
        Command::Jobs(command) => jobs::run(command, streams.out, instruments).await,
        Command::Classify => lines::classify(streams),
        Command::Guard => lines::guard(streams),
    }
}

async fn migrate(config: &ConfigFile, out: &mut dyn Write) -> Result<Ended, CommandError> {
    let settings = config.settings()?;
    foundation::refuse_a_lost_database(&settings).await?;
    let db = Db::open(settings.database.url.reveal()).await?;
    db.close().await;
    writeln!(out, "the schema is up to date")?;
    Ok(Ended::Well)
}

/// The tenants that a command is about, by slug: the one that was named, or all.
fn chosen(
    settings: &Settings,
    foundation: &Foundation,
    named: Option<&str>,
) -> Result<Vec<(String, Id<Tenant>)>, CommandError> {
    let slugs = settings.tenants.iter().map(|tenant| tenant.slug.as_str());
    let chosen: Vec<(String, Id<Tenant>)> = slugs
        .filter(|slug| named.is_none_or(|named| named == *slug))
        .filter_map(|slug| Some((slug.to_owned(), *foundation.tenants.get(slug)?)))
        .collect();
    if chosen.is_empty() {
        let known = settings.tenants.iter().map(|tenant| tenant.slug.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CommandError::NoSuchTenant { known });
    }
    Ok(chosen)
}

/// Does `work` for each practice, also where it failed for another.
async fn for_each(
    chosen: Vec<(String, Id<Tenant>)>,
    out: &mut dyn Write,
    mut work: impl AsyncFnMut(&str, Id<Tenant>, &mut dyn Write) -> Result<Ended, CommandError>,
) -> Result<Ended, CommandError> {
    let (alone, mut ended) = (chosen.len() == 1, Ended::Well);
    for (slug, tenant) in chosen {
        match work(&slug, tenant, out).await {
            Err(error) if alone || matches!(error, CommandError::Output(_)) => return Err(error),
            Err(error) => {
                writeln!(out, "{slug}: FAILED: {error}")?;
                ended = Ended::FoundWrong;
            }
            Ok(Ended::Well) => {}
            Ok(other) => ended = other,
        }
    }
    Ok(ended)
}
