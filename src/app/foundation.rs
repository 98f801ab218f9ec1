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
    /// Opens the database and lays out the keys. Whether they fit what is stored, [`Vault::check`] says.
    pub(super) async fn open(settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let db = Db::open(settings.database.url.reveal()).await?;
        Self::over(db, settings, instruments).await
    }

    /// The same over a database that is open.
    pub(super) async fn over(db: Db, settings: &Settings, instruments: &Instruments) -> Result<Self, AppError> {
        let tenants = tenants::ids(&db, instruments, settings).await?;
        let keks = tenants::keks(settings, &tenants, instruments)?;
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments.clone());
        Ok(Self { db, vault, tenants, instruments: instruments.clone() })
    }

    /// Signs audit rows of `tenant`.
    pub(super) async fn signer(&self, tenant: Id<Tenant>) -> Result<AuditSigner, VaultError> {
        AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await
    }
}
