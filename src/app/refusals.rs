//! Writes counted refusals to the audit log while the service runs, and the last ones at its end.

use crate::{audit::CoalescedRefusals, db::Db, vault::Vault};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often refusals are written to the audit log.
const EVERY: Duration = Duration::from_secs(20);

/// Writes them until `stop`, and then those of the last minute.
pub(super) async fn flush(refusals: &CoalescedRefusals, db: &Db, vault: &Vault, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {
                if let Err(error) = refusals.flush(db, vault).await {
                    tracing::warn!(%error, "refusals are kept until they can be written");
                }
            }
        }
    }
    if let Err(error) = refusals.flush_all(db, vault).await {
        tracing::error!(%error, "refusals of the last minute are lost");
    }
}
