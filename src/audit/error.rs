//! What can go wrong with the audit log.

use crate::{
    db::DbError,
    kernel::{Id, Tenant},
    vault::VaultError,
};

/// An error of the audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The tenant's audit keys cannot be had.
    #[error("the audit keys cannot be used: {0}")]
    Vault(#[from] VaultError),
    /// The head of the log was changed, so nothing is chained to it.
    #[error(
        "the audit log of tenant {tenant} has a head that was changed; run `chartwire audit verify` and restore it"
    )]
    HeadForged {
        /// The tenant.
        tenant: Id<Tenant>,
    },
    /// There are sealed rows and no head, or rows beyond it: the head was removed or put back to an older one.
    #[error(
        "the audit log of tenant {tenant} is ahead of its head; run `chartwire audit verify` and restore the head from a backup or an export"
    )]
    HeadBehindRows {
        /// The tenant.
        tenant: Id<Tenant>,
    },
    /// Rows changed while they were being sealed. Trying again tells why.
    #[error("rows of the audit log changed while they were sealed")]
    RowsChanged,
    /// The exported head is not in the database's log: the database is an older one than the export has seen, or went
    /// on from an older one.
    #[error(
        "the audit log of tenant {tenant} does not hold its exported head; if a backup was restored, `chartwire recover` sets what was exported aside; if none was, run `chartwire audit verify`"
    )]
    BehindExport {
        /// The tenant.
        tenant: Id<Tenant>,
    },
    /// A file of exported heads or of exported rows cannot be read or written.
    #[error("the audit export cannot be read or written: {0}")]
    Export(#[from] std::io::Error),
    /// A row could not be written as JSON.
    #[error("an audit row cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
