//! `check`: the settings, then every outside party, then what the settings loosen.

use super::{CommandError, ConfigFile, Ended, loosened::loosened};
use crate::{
    app::{Foundation, carriers, ehr_servers, ehrs, tenants},
    config::{Settings, TenantSettings},
    db::{Db, DbError, sql},
    fhir::{AccessTokenSource as _, FhirClient, FhirError, Limits, ResourceRef, TokioPacer},
    kernel::{Id, Instruments, Tenant},
    smart::{BackendServices, RefreshPolicy, ResourceScope},
    vault::VaultError,
};
use std::{collections::HashMap, fmt::Display, io::Write, sync::Arc};

/// What a smart-configuration must offer for the inbox to be launched.
const LAUNCH: &str = "launch-ehr";
/// The oldest PostgreSQL that is supported.
const OLDEST_POSTGRES: i64 = 150_000;

/// Reaches everything, whatever fails on the way, and reports each part in a line of its own. Writes nothing anywhere.
pub(super) async fn check(
    config: &ConfigFile,
    out: &mut dyn Write,
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let settings = config.settings()?;
    let mut report = Report { out, failures: 0 };
    let (tenants, registrations) = (settings.tenants.len(), settings.registrations.len());
    report.ok("settings", "file", &format!("practices: {tenants}, registrations: {registrations}"))?;
    transport(&settings, &mut report)?;
    let db = stored(&settings, &mut report).await?;
    let ids = ids(&settings, db.as_ref(), instruments, &mut report).await?;
    let foundation = match db {
        Some(db) => laid_out(db, &ids, &settings, instruments, &mut report)?,
        None => None,
    };
    let carriers = match carriers::carriers(&settings, &ids, &instruments.clock) {
        Ok((carriers, _)) => carriers,
        Err(error) => {
            report.fail("settings", "carrier", &error)?;
            carriers::Carriers::new()
        }
    };
    for tenant in &settings.tenants {
        if let Some(id) = ids.get(&tenant.slug) {
            if let Some(foundation) = &foundation {
                keys(foundation, tenant, *id, &mut report).await?;
            }
            numbers(&carriers, tenant, *id, instruments, &mut report).await?;
        }
        ehr(tenant, instruments, &mut report).await?;
    }
    for tenant in &settings.tenants {
        for (key, what) in loosened(tenant) {
            report.line(&tenant.slug, "loosened", &format!("{key}: {what}"))?;
        }
    }
    if !settings.server.sources_are_known() {
        let text = "server.trusted_proxies: no reverse proxy is named, so nobody is limited by address";
        report.line("settings", "loosened", text)?;
    }
    if let Some(foundation) = foundation {
        foundation.db.close().await;
    }
    report.conclude()
}

/// Lines of three columns: whose part, which part, how it is.
struct Report<'a> {
    out: &'a mut dyn Write,
    failures: usize,
}

impl Report<'_> {
    fn line(&mut self, whose: &str, part: &str, text: &str) -> Result<(), CommandError> {
        writeln!(self.out, "{whose:<16}  {part:<10}  {text}")?;
        // Outside parties may take their time: what is known is shown.
        Ok(self.out.flush()?)
    }

    fn ok(&mut self, whose: &str, part: &str, text: &str) -> Result<(), CommandError> {
        self.line(whose, part, &format!("ok: {text}"))
    }

    fn fail(&mut self, whose: &str, part: &str, error: &dyn Display) -> Result<(), CommandError> {
        self.failures += 1;
        self.line(whose, part, &format!("FAILED: {error}"))
    }

    fn conclude(self) -> Result<Ended, CommandError> {
        if self.failures == 0 {
            writeln!(self.out, "all is well")?;
            return Ok(Ended::Well);
        }
        writeln!(self.out, "{} failed", self.failures)?;
        Ok(Ended::FoundWrong)
    }
}

fn transport(settings: &Settings, report: &mut Report<'_>) -> Result<(), CommandError> {
    match crate::app::serving::protected(&settings.server) {
        Ok(()) => report.ok("settings", "transport", settings.server.public_url.as_str()),
        Err(error) => report.fail("settings", "transport", &error),
    }
}

/// The database as it stands; nothing where it cannot be used.
async fn stored(settings: &Settings, report: &mut Report<'_>) -> Result<Option<Db>, CommandError> {
    let db = match Db::open_as_it_stands(settings.database.url.reveal()).await {
        Ok(db) => db,
        Err(error) => {
            report.fail("settings", "database", &error)?;
            return Ok(None);
        }
    };
    match durability(&db).await {
        Ok(Ok(text)) => report.ok("settings", "database", text)?,
        Ok(Err(problem)) => report.fail("settings", "database", &problem)?,
        Err(error) => report.fail("settings", "database", &error)?,
    }
    Ok(Some(db))
}

/// The id of each practice: the stored one, or one for the time of this check where none has been taken in yet.
async fn ids(
    settings: &Settings,
    db: Option<&Db>,
    instruments: &Instruments,
    report: &mut Report<'_>,
) -> Result<HashMap<String, Id<Tenant>>, CommandError> {
    let mut ids = match db {
        Some(db) => tenants::stored_ids(db, settings).await?,
        None => HashMap::new(),
    };
    for tenant in &settings.tenants {
        if !ids.contains_key(&tenant.slug) {
            ids.insert(tenant.slug.clone(), instruments.new_id());
            report.line(&tenant.slug, "database", "new: the practice is taken in when the service starts")?;
        }
    }
    Ok(ids)
}

fn laid_out(
    db: Db,
    ids: &HashMap<String, Id<Tenant>>,
    settings: &Settings,
    instruments: &Instruments,
    report: &mut Report<'_>,
) -> Result<Option<Foundation>, CommandError> {
    match Foundation::over(db, ids.clone(), settings, instruments) {
        Ok(foundation) => Ok(Some(foundation)),
        Err(error) => {
            report.fail("settings", "keys", &error)?;
            Ok(None)
        }
    }
}

/// Whether what is acknowledged stays (law 1): SQLite is opened so; a PostgreSQL server may be set up otherwise.
async fn durability(db: &Db) -> Result<Result<&'static str, &'static str>, DbError> {
    if !db.is_postgres() {
        return Ok(Ok("SQLite, schema up to date"));
    }
    let row = db
        .one(sql("SELECT current_setting('server_version_num')::bigint AS version, \
                  current_setting('synchronous_commit') AS durable, current_setting('fsync') AS synced"))
        .await?;
    if row.get::<i64>("version")? < OLDEST_POSTGRES {
        return Ok(Err("PostgreSQL is older than 15; upgrade it"));
    }
    if row.get::<String>("durable")? == "off" || row.get::<String>("synced")? == "off" {
        return Ok(Err("PostgreSQL would lose texts that were acknowledged; set synchronous_commit and fsync to on"));
    }
    Ok(Ok("PostgreSQL, schema up to date"))
}

async fn keys(
    foundation: &Foundation,
    tenant: &TenantSettings,
    id: Id<Tenant>,
    report: &mut Report<'_>,
) -> Result<(), CommandError> {
    let kms = tenant.transit.as_ref().map(|key| key.address.as_str());
    match foundation.vault.check(id).await {
        Ok(check) => {
            if let Some(address) = kms {
                report.ok(&tenant.slug, "kms", &format!("{address} unwraps what it wraps"))?;
            }
            let text = format!("key-encryption key {}, {} data keys", check.current_kek, check.data_keys);
            report.ok(&tenant.slug, "keys", &text)
        }
        Err(error @ (VaultError::ProviderUnavailable { .. } | VaultError::ProviderRefuses { .. })) => {
            let address = kms.unwrap_or_default();
            report.fail(&tenant.slug, "kms", &format!("{address}: {error}"))
        }
        Err(error) => report.fail(&tenant.slug, "keys", &error),
    }
}

/// Signs in to the carrier and reads each number's list of texts, of this very moment, so that none is fetched.
async fn numbers(
    carriers: &carriers::Carriers,
    tenant: &TenantSettings,
    id: Id<Tenant>,
    instruments: &Instruments,
    report: &mut Report<'_>,
) -> Result<(), CommandError> {
    let Some(carrier) = carriers.get(&id) else { return Ok(()) };
    for own in &tenant.numbers {
        let number = own.number.as_e164();
        match carrier.received_since(&own.number, instruments.now()).await {
            Ok(_) => report.ok(&tenant.slug, "carrier", &format!("{} lists the texts to {number}", carrier.name()))?,
            Err(error) => report.fail(&tenant.slug, "carrier", &format!("{number}: {error}"))?,
        }
    }
    Ok(())
}

/// The EHR's capability statement, its authorization documents, a token of our own, and the practice itself.
async fn ehr(tenant: &TenantSettings, instruments: &Instruments, report: &mut Report<'_>) -> Result<(), CommandError> {
    let limits = Limits::default();
    let server = match ehr_servers::server(&tenant.ehr) {
        Ok(server) => server,
        Err(error) => return report.fail(&tenant.slug, "ehr", &error),
    };
    let client = match ehr_servers::backend_client(&tenant.ehr) {
        Ok(client) => client,
        Err(error) => return report.fail(&tenant.slug, "ehr", &error),
    };
    let smart = match ehrs::smart_client(instruments) {
        Ok(smart) => smart,
        Err(error) => return report.fail(&tenant.slug, "ehr", &error),
    };
    let tokens = Arc::new(BackendServices::new(smart.clone(), server.clone(), client, RefreshPolicy::default()));
    let (pacer, clock) = (Arc::new(TokioPacer), Arc::clone(&instruments.clock));
    let client = match FhirClient::new(server.base.clone(), Arc::clone(&tokens) as _, limits, pacer, clock) {
        Ok(client) => client,
        Err(error) => return report.fail(&tenant.slug, "ehr", &error),
    };
    metadata(tenant, &client, report).await?;
    match smart.smart_configuration(&server).await {
        Ok(found) if !found.s256 => report.fail(&tenant.slug, "smart", &"the server offers no PKCE with S256")?,
        Ok(found) if found.authorization_endpoint.is_none() || !found.is_capable_of(LAUNCH) => {
            report.fail(&tenant.slug, "smart", &"the server does not launch apps (launch-ehr)")?;
        }
        Ok(_) => report.ok(&tenant.slug, "smart", "launches with PKCE S256")?,
        Err(error) => report.fail(&tenant.slug, "smart", &error)?,
    }
    match tokens.token().await {
        Ok(_) => {
            granted(tenant, &tokens, report)?;
            organization(tenant, &client, report).await
        }
        Err(error) => report.fail(&tenant.slug, "token", &error),
    }
}

/// Whether the EHR has the Organization that stands for the practice in the chart.
async fn organization(
    tenant: &TenantSettings,
    client: &FhirClient,
    report: &mut Report<'_>,
) -> Result<(), CommandError> {
    const PART: &str = "practice";
    let Some(named) = &tenant.ehr.organization else {
        let text = "ehr.organization is not set: texts stand in the chart without the practice as sender or recipient";
        return report.line(&tenant.slug, PART, text);
    };
    let reference: ResourceRef = match named.parse() {
        Ok(reference) => reference,
        Err(error) => return report.fail(&tenant.slug, PART, &error),
    };
    match client.read(&reference).await {
        Ok(_) => report.ok(&tenant.slug, PART, &format!("the EHR has {named}")),
        Err(FhirError::NotFound) => {
            let problem = format!("the EHR has no {named}; correct ehr.organization");
            report.fail(&tenant.slug, PART, &problem)
        }
        Err(error) => report.fail(&tenant.slug, PART, &format!("{named} cannot be read: {error}")),
    }
}

async fn metadata(tenant: &TenantSettings, client: &FhirClient, report: &mut Report<'_>) -> Result<(), CommandError> {
    match client.metadata().await {
        Ok(statement) => {
            match statement.to_value().unwrap_or_default().get("fhirVersion").and_then(|version| version.as_str()) {
                Some(version) if version.starts_with("4.0") => {
                    report.ok(&tenant.slug, "ehr", &format!("FHIR {version} at {}", client.base().as_str()))
                }
                _ => report.fail(&tenant.slug, "ehr", &"the server does not speak FHIR R4; check ehr.fhir_base"),
            }
        }
        Err(error) => report.fail(&tenant.slug, "ehr", &error),
    }
}

/// Whether all was granted that the workflows need.
fn granted(tenant: &TenantSettings, tokens: &BackendServices, report: &mut Report<'_>) -> Result<(), CommandError> {
    let granted = tokens.granted();
    let missing: Vec<&str> = tenant
        .ehr
        .backend_scopes
        .iter()
        .filter(|scope| match ResourceScope::parse(scope) {
            Some(ResourceScope { resource_type: Some(name), interactions, .. }) => {
                !interactions.iter().all(|interaction| granted.allows_some(&name, *interaction))
            }
            Some(ResourceScope { resource_type: None, .. }) => false,
            None => !granted.has(scope),
        })
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        report.ok(&tenant.slug, "token", "every scope asked for is granted")
    } else {
        report.fail(
            &tenant.slug,
            "token",
            &format!("the EHR does not grant {}; ask for them there", missing.join(", ")),
        )
    }
}
