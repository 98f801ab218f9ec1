//! `keys`: making, listing and replacing them.

use super::{CommandError, ConfigFile, Ended, Streams, chosen, for_each, operator::operator};
use crate::{
    app::{Foundation, resealing},
    audit::{Action, AuditEntry, AuditSigner, Detail, record, record_alone},
    config::Settings,
    db::{Command as DbCommand, DbError, Tx, destroy_keys},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Tenant},
    vault::{KEYS_FRESH_FOR, Kek, VaultError},
};
use std::io::Write;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key-encryption key: the key on standard output, where to put it on standard error
    Generate,
    /// List the data keys of every practice, and what wraps them
    List(ConfigFile),
    /// Replace keys
    Rotate {
        #[command(flatten)]
        config: ConfigFile,
        /// Only this practice
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
        /// Which keys
        #[arg(long, value_enum, default_value = "kek")]
        what: What,
    },
    /// Destroy the data keys of a practice: what they sealed is unreadable for good
    Destroy {
        #[command(flatten)]
        config: ConfigFile,
        /// The practice
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// The practice's name once more
        #[arg(long, value_name = "SLUG")]
        confirm: Option<String>,
    },
}

/// Which keys are replaced.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum What {
    /// Wrap every data key under the first key-encryption key of the settings, or the latest version of the one in a KMS
    Kek,
    /// Replace the data keys, and seal in the background anew what they sealed
    Data,
}

pub(super) async fn run(
    command: Command,
    streams: &mut Streams<'_>,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    match command {
        Command::Generate => generate(streams, instruments),
        Command::List(config) => {
            let (settings, foundation) = config.foundation(instruments).await?;
            let listed = list(&settings, &foundation, streams.out).await;
            foundation.db.close().await;
            listed
        }
        Command::Rotate { config, tenant, what } => {
            let (settings, foundation) = config.foundation(instruments).await?;
            let rotated = rotate(&settings, &foundation, tenant.as_deref(), what, streams.out).await;
            foundation.db.close().await;
            rotated
        }
        Command::Destroy { config, tenant, confirm } => {
            if confirm.as_ref() != Some(&tenant) {
                return Err(CommandError::NotConfirmed);
            }
            let (settings, foundation) = config.foundation(instruments).await?;
            let destroyed = destroy(&settings, &foundation, &tenant, streams.out).await;
            foundation.db.close().await;
            destroyed
        }
    }
}

fn generate(streams: &mut Streams<'_>, instruments: &Instruments) -> Result<Ended, CommandError> {
    let kek = Kek::generate(&*instruments.entropy);
    writeln!(streams.out, "{}", *kek.to_base64())?;
    writeln!(streams.err, "{}", kek.placement())?;
    Ok(Ended::Well)
}

async fn list(settings: &Settings, foundation: &Foundation, out: &mut dyn Write) -> Result<Ended, CommandError> {
    let chosen = chosen(settings, foundation, None)?;
    for_each(chosen, out, async |slug, tenant, out| {
        list_of(foundation, slug, tenant, out).await?;
        Ok(Ended::Well)
    })
    .await
}

async fn list_of(
    foundation: &Foundation,
    slug: &str,
    tenant: Id<Tenant>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let check = foundation.vault.check(tenant).await?;
    writeln!(out, "{slug}: key-encryption key {} wraps new data keys", check.current_kek)?;
    let keys = foundation.vault.list_keys(tenant).await?;
    if keys.is_empty() {
        writeln!(out, "  no data keys yet")?;
        return Ok(());
    }
    // A fingerprint, or the name and version of a key in a KMS.
    let wide = keys.iter().map(|key| key.wrapped.kek.len()).max().unwrap_or_default();
    writeln!(
        out,
        "  {:<20}  {:<7}  {:>7}  {:<7}  {:<wide$}  {:>10}  made",
        "purpose", "period", "version", "state", "wrapped by", "seals"
    )?;
    for key in keys {
        let (purpose, period, version) = (key.purpose.code(), key.period.to_string(), key.version);
        let (state, kek, seals, made) = (key.state.code(), key.wrapped.kek, key.reserved, key.created_at);
        writeln!(out, "  {purpose:<20}  {period:<7}  {version:>7}  {state:<7}  {kek:<wide$}  {seals:>10}  {made}")?;
    }
    Ok(())
}

async fn rotate(
    settings: &Settings,
    foundation: &Foundation,
    named: Option<&str>,
    what: What,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    let chosen = chosen(settings, foundation, named)?;
    for_each(chosen, out, async |slug, tenant, out| {
        foundation.vault.check(tenant).await?;
        match what {
            What::Kek => rotate_kek(foundation, slug, tenant, out).await?,
            What::Data => rotate_data(foundation, slug, tenant, out).await?,
        }
        Ok(Ended::Well)
    })
    .await
}

async fn rotate_kek(
    foundation: &Foundation,
    slug: &str,
    tenant: Id<Tenant>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let rewrapped = foundation.vault.rotate_kek(tenant).await?;
    let entry = entry("kek", rewrapped);
    record_alone(&foundation.db, entry, foundation.signer(tenant).await?).await?;
    let current = foundation.vault.check(tenant).await?.current_kek;
    let now = foundation.instruments.now();
    let again = now.saturating_add(KEYS_FRESH_FOR).unwrap_or(now);
    writeln!(
        out,
        "{slug}: {rewrapped} data keys wrapped anew under key-encryption key {current}; run it again after {again}, and once every process was restarted with these settings, until it says 0: others may still make keys under an older one"
    )?;
    writeln!(
        out,
        "{slug}: keep older key-encryption keys, and older versions in a KMS, for as long as there are backups from before"
    )?;
    Ok(())
}

async fn rotate_data(
    foundation: &Foundation,
    slug: &str,
    tenant: Id<Tenant>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let signer = foundation.signer(tenant).await?;
    let rotation = foundation.vault.rotate_data_keys(tenant).await?;
    // Also where none was replaced: an earlier run may have been cut off before this.
    let job = resealing::walk(&foundation.instruments, tenant, rotation.settled_at)?;
    foundation.db.execute(StartResealing { job, entry: entry("data", rotation.keys), signer }).await?;
    let (keys, from) = (rotation.keys, rotation.settled_at);
    writeln!(
        out,
        "{slug}: {keys} data keys replaced; from {from} on the workers seal anew what they sealed, and say so in the audit log when all is done"
    )?;
    Ok(())
}

async fn destroy(
    settings: &Settings,
    foundation: &Foundation,
    named: &str,
    out: &mut dyn Write,
) -> Result<Ended, CommandError> {
    for (slug, tenant) in chosen(settings, foundation, Some(named))? {
        let entry =
            AuditEntry::new(operator(), Action::Delete, "operations").with_detail(Detail::new().code("what", "keys"));
        let note = match foundation.signer(tenant).await {
            Ok(signer) => Some((entry, signer)),
            // Again: a process that was still running may have made one more meanwhile.
            Err(VaultError::Destroyed { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let destroyed = foundation.db.execute(Destroy { tenant, note }).await?;
        writeln!(
            out,
            "{slug}: {destroyed} data keys destroyed; processes that run forget theirs within two minutes; run it again then, and take the practice out of the settings"
        )?;
        writeln!(
            out,
            "{slug}: backups hold the data keys still, wrapped: destroy the key-encryption key too, or let the backups run out"
        )?;
    }
    Ok(Ended::Well)
}

/// Destroys a tenant's data keys and says so in its audit log: with the last use of the key that signs it.
struct Destroy {
    tenant: Id<Tenant>,
    note: Option<(AuditEntry, AuditSigner)>,
}

impl DbCommand for Destroy {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        if let Some((entry, signer)) = &self.note {
            record(tx, entry, signer).await?;
        }
        destroy_keys(tx, self.tenant).await
    }
}

fn entry(what: &'static str, keys: usize) -> AuditEntry {
    let keys = i64::try_from(keys).unwrap_or(i64::MAX);
    AuditEntry::new(operator(), Action::KeyRotation, "operations")
        .with_detail(Detail::new().code("what", what).count("keys", keys))
}

/// Enqueues the walk and says so in the audit log.
struct StartResealing {
    job: NewJob,
    entry: AuditEntry,
    signer: AuditSigner,
}

impl DbCommand for StartResealing {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.job).await?;
        record(tx, &self.entry, &self.signer).await.map(|_| ())
    }
}
