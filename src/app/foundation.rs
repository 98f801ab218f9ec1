//! What the service and every command that touches its data stand on: the database, the tenants' ids, the vault.

use super::{AppError, marking::mark_where_copied, tenants};
use crate::{
    audit::{AuditSigner, HeadExport},
    config::Settings,
    db::{Db, DbKeyStore, sql},
    kernel::{Id, Instruments, Tenant},
    vault::{Vault, VaultError},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// An open database with the tenants and keys that the settings name.
pub(super) struct Foundation {
    pub(super) db: Db,
    pub(super) vault: Vault,
    pub(super) tenants: HashMap<String, Id<Tenant>>,
    pub(super) instruments: Instruments,
}

impl Foundation {
    /// Opens the database, brings it up to date, takes in practices that are new, and lays out the keys. Whether they
    /// fit what is stored, [`Vault::check`] says.
    pub(super) async fn open(settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        refuse_a_lost_database(settings).await?;
        let db = Db::open(settings.database.url.reveal()).await?;
        refuse_heads_of_others(&db, settings).await?;
        // Before the first row of the month.
        db.make_months(instruments.now()).await?;
        let tenants = tenants::ids(&db, instruments, settings).await?;
        let foundation = Self::over(db, tenants, settings, instruments)?;
        mark_where_copied(&foundation, &HeadExport::new(&settings.audit.head_folder)).await?;
        Ok(foundation)
    }

    /// The same over what a service has made before: neither the schema nor the practices are touched.
    pub(super) async fn as_it_stands(settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let foundation = Self::of_stored(settings, instruments).await?;
        match settings.tenants.iter().find(|tenant| !foundation.tenants.contains_key(&tenant.slug)) {
            Some(missing) => Err(AppError::NotTakenIn { slug: missing.slug.clone() }),
            None => Ok(foundation),
        }
    }

    /// The same, of those practices of the settings that are stored.
    pub(super) async fn of_stored(settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let db = Db::open_as_it_stands(settings.database.url.reveal()).await?;
        let foundation = Self::over_stored(db, settings, instruments).await?;
        mark_where_copied(&foundation, &HeadExport::new(&settings.audit.head_folder)).await?;
        Ok(foundation)
    }

    /// Over an open database, of those practices of the settings that it knows.
    pub(super) async fn over_stored(db: Db, settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let tenants = tenants::stored_ids(&db, settings).await?;
        let mut known = settings.clone();
        known.tenants.retain(|tenant| tenants.contains_key(&tenant.slug));
        Self::over(db, tenants, &known, instruments)
    }

    /// Over an open database, with the id of each tenant.
    pub(super) fn over(
        db: Db,
        tenants: HashMap<String, Id<Tenant>>,
        settings: &Settings,
        instruments: &Instruments,
    ) -> Result<Self, AppError> {
        let keks = tenants::keks(settings, &tenants, instruments)?;
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments.clone());
        Ok(Self { db, vault, tenants, instruments: instruments.clone() })
    }

    /// Signs audit rows of `tenant`.
    pub(super) async fn signer(&self, tenant: Id<Tenant>) -> Result<AuditSigner, VaultError> {
        AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await
    }
}

/// Refuses where heads were exported and there is no database at all: to make one would be to forget every STOP of the one
/// that is lost, or whose volume is not mounted.
///
/// # Errors
/// [`AppError::HeadsOfOthers`]; otherwise as folder or database cannot be read.
pub(super) async fn refuse_a_lost_database(settings: &Settings) -> Result<(), AppError> {
    let exported = HeadExport::new(&settings.audit.head_folder).tenants()?;
    if exported.is_empty() || Db::is_made(settings.database.url.reveal()).await? {
        return Ok(());
    }
    Err(AppError::HeadsOfOthers { practices: exported.len() })
}

/// Refuses where heads were exported of practices that the database does not know: it is another than they are of.
async fn refuse_heads_of_others(db: &Db, settings: &Settings) -> Result<(), AppError> {
    let others = heads_of_others(db, &HeadExport::new(&settings.audit.head_folder)).await?;
    if others.is_empty() { Ok(()) } else { Err(AppError::HeadsOfOthers { practices: others.len() }) }
}

/// Practices whose heads were exported, and that the database does not know.
///
/// # Errors
/// [`AppError`] as folder or database cannot be read.
pub(super) async fn heads_of_others(db: &Db, export: &HeadExport) -> Result<BTreeSet<Id<Tenant>>, AppError> {
    // Read first: what another process takes in meanwhile is in the database before its head is exported.
    let mut others = export.tenants()?;
    for row in db.all(sql("SELECT id FROM tenant")).await? {
        others.remove(&row.get::<Id<Tenant>>("id")?);
    }
    Ok(others)
}
