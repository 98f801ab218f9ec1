//! What the service and every command that touches its data stand on: the database, the tenants' ids, the vault.

use super::{AppError, tenants};
use crate::{
    audit::AuditSigner,
    config::Settings,
    db::{Db, DbKeyStore},
    kernel::{Id, Instruments, Tenant},
    vault::{Vault, VaultError},
};
use std::{collections::HashMap, sync::Arc};

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
        let db = Db::open(settings.database.url.reveal()).await?;
        // Before the first row of the month.
        db.make_months(instruments.now()).await?;
        let tenants = tenants::ids(&db, instruments, settings).await?;
        Self::over(db, tenants, settings, instruments)
    }

    /// The same over what a service has made before: neither the schema nor the practices are touched.
    pub(super) async fn as_it_stands(settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let db = Db::open_as_it_stands(settings.database.url.reveal()).await?;
        let tenants = tenants::stored_ids(&db, settings).await?;
        if let Some(missing) = settings.tenants.iter().find(|tenant| !tenants.contains_key(&tenant.slug)) {
            return Err(AppError::NotTakenIn { slug: missing.slug.clone() });
        }
        Self::over(db, tenants, settings, instruments)
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
