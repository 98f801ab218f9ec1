//! What errors of the rooms below are to the person: something to try again, or a mistake of the program.

use crate::{
    access::AccessError, consent::ConsentError, db::DbError, http::inbox::source::InboxError,
    messaging::MessagingError, patient::PatientError, template::TemplateError, vault::VaultError,
};

/// An error of a room below.
pub(super) trait Fails: std::error::Error + Send + Sync + 'static {
    /// Whether trying again may help.
    fn may_pass(&self) -> bool;
}

impl Fails for DbError {
    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}

impl Fails for VaultError {
    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}

impl Fails for AccessError {
    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}

impl Fails for PatientError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) => error.may_pass(),
            Self::Vault(error) => error.may_pass(),
            Self::Stored => false,
        }
    }
}

impl Fails for ConsentError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) => error.may_pass(),
            Self::Vault(error) => error.may_pass(),
            Self::Stored => false,
        }
    }
}

impl Fails for TemplateError {
    fn may_pass(&self) -> bool {
        false
    }
}

impl Fails for MessagingError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) => error.may_pass(),
            Self::Vault(error) => error.may_pass(),
            Self::Patient(error) => error.may_pass(),
            Self::Carrier(_) => true,
            Self::NotOurNumber | Self::NotConfigured | Self::Template | Self::Stored => false,
        }
    }
}

/// What the person is told of it.
pub(super) fn failed(error: impl Fails) -> InboxError {
    if error.may_pass() { InboxError::Unavailable(Box::new(error)) } else { InboxError::Failed(Box::new(error)) }
}
