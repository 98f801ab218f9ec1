//! What can go wrong in messaging.

use super::carrier_port::CarrierError;
use crate::{db::DbError, jobs::JobError, patient::PatientError, vault::VaultError};

/// An error of messaging. Holds no text and no number.
#[derive(Debug, thiserror::Error)]
pub enum MessagingError {
    /// The database is away or refuses.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The vault cannot seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The patient cannot be read.
    #[error(transparent)]
    Patient(#[from] PatientError),
    /// The carrier does not tell what it was asked for.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// The text was addressed to a number that is not this tenant's.
    #[error("the receiving number is not one of this practice's numbers; check the carrier's webhook settings")]
    NotOurNumber,
    /// The tenant has no carrier or practice configured.
    #[error("this practice is not configured")]
    NotConfigured,
    /// A template cannot be filled in with what was given.
    #[error("a template cannot be rendered")]
    Template,
    /// A stored value is not what this version of the program writes.
    #[error("a stored value cannot be read by this version of the program")]
    Stored,
}

impl From<MessagingError> for JobError {
    fn from(error: MessagingError) -> Self {
        match error {
            MessagingError::Db(error) => error.into(),
            MessagingError::Patient(error) => error.into(),
            MessagingError::Vault(_) => Self::retry("vault"),
            MessagingError::Carrier(_) => Self::retry("carrier-list"),
            MessagingError::NotOurNumber => Self::dead("not-our-number"),
            MessagingError::NotConfigured => Self::retry("tenant-not-configured"),
            MessagingError::Template => Self::dead("template"),
            MessagingError::Stored => Self::dead("stored-value"),
        }
    }
}

impl From<serde_json::Error> for MessagingError {
    fn from(_: serde_json::Error) -> Self {
        Self::Stored
    }
}
