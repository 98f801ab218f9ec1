//! What can go wrong in access.

use super::Ending;
use crate::{db::DbError, jobs::JobError, vault::VaultError};

/// An error of access that is not the user's.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database refuses or is away.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A name, a draft or a launch cannot be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl AccessError {
    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_transient(),
            Self::Vault(error) => error.is_transient(),
        }
    }
}

impl From<AccessError> for JobError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Database(error) => error.into(),
            AccessError::Vault(_) => Self::retry("vault"),
        }
    }
}

/// Why a request has no session to stand on.
#[derive(Debug, thiserror::Error)]
pub enum SessionRefusal {
    /// No cookie, or one that belongs to no session.
    #[error("nobody is signed in")]
    SignedOut,
    /// There was a session and it has ended.
    #[error("the session has ended ({})", .0.code())]
    Ended(Ending),
    /// The person has no role here (any more).
    #[error("this person has no role in the practice; ask an administrator of the EHR")]
    NoRole,
    /// It cannot be told now.
    #[error(transparent)]
    Failed(#[from] AccessError),
}

impl From<DbError> for SessionRefusal {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}
