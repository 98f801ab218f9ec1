//! The practices' keys at start, and asking their key providers while the service runs.
//!
//! Always: a key that is wrong or lost refuses the start; a KMS that does not answer, or says no, closes its own practice
//! and no other; every process asks in time, whether or not it has anything to do.

use super::{App, AppError};
use crate::{
    kernel::{Id, Tenant},
    vault::{Vault, VaultError},
};
use futures_util::future::join_all;
use std::{collections::HashMap, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a provider is to be asked. How often it then is asked, its settings say.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Checks the keys of every practice and opens those in use.
///
/// # Errors
/// [`AppError`] where keys are wrong or lost. A practice whose KMS is away, or refuses, stays closed until it allows it.
pub(super) async fn open(vault: &Vault, tenants: &HashMap<String, Id<Tenant>>) -> Result<(), AppError> {
    // One that does not answer takes its seconds: not one practice after the other.
    let opened = tenants.iter().map(|(slug, tenant)| async move { (slug, opened(vault, *tenant).await) });
    for (slug, opened) in join_all(opened).await {
        match opened {
            Err(error) if error.is_of_provider() => {
                tracing::error!(%slug, %error, "the practice starts closed: its keys cannot be used until the KMS allows it");
            }
            opened => opened.map_err(AppError::of(slug))?,
        }
    }
    Ok(())
}

async fn opened(vault: &Vault, tenant: Id<Tenant>) -> Result<(), VaultError> {
    vault.check(tenant).await?;
    vault.open_keys_in_use(tenant).await
}

impl App {
    /// Asks the key providers that are due whether open keys may still be used. What comes of it is told by the vault.
    pub async fn ask_key_providers(&self) {
        join_all(self.tenants.values().map(|tenant| self.vault.ask_where_due(*tenant))).await;
    }

    /// Does so until `stop`.
    pub(super) async fn keep_asking_key_providers(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.ask_key_providers().await;
        }
    }
}
