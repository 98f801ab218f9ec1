//! Why a command could not be done.

use crate::{
    app::AppError, audit::AuditError, config::ConfigError, consent::ConsentError, db::DbError, db::SnapshotError,
    ehr::EhrError, jobs::JobError, patient::PatientError, vault::VaultError,
};

/// Why a command could not be done. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There are no settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The service cannot be put together.
    #[error(transparent)]
    App(#[from] AppError),
    /// The database.
    #[error("the database cannot be used: {0}")]
    Db(#[from] DbError),
    /// A backup cannot be made or put in place.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The keys.
    #[error("the keys cannot be used: {0}")]
    Vault(#[from] VaultError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A job cannot be enqueued.
    #[error("the background work cannot be started: {0}")]
    Job(#[from] JobError),
    /// Patients of a list cannot be looked up.
    #[error("patients cannot be looked up: {0}")]
    Patient(#[from] PatientError),
    /// The EHR cannot be asked for a patient that we have not met.
    #[error("nothing was imported: a patient of the list has to be read from the EHR, and {0}; run it again later")]
    Ehr(#[source] EhrError),
    /// A proof of consent cannot be sealed.
    #[error("consents cannot be recorded: {0}")]
    Consent(#[from] ConsentError),
    /// The demo did not run.
    #[cfg(feature = "sandbox")]
    #[error(transparent)]
    Demo(#[from] crate::app::demo::DemoError),
    /// There is no tenant of the name that was given.
    #[error("the configuration has no tenant of that name; its tenants are {known}")]
    NoSuchTenant {
        /// The slugs that there are.
        known: String,
    },
    /// What cannot be taken back was not confirmed.
    #[error(
        "nothing was destroyed; repeat the practice's name after --confirm: what its data keys sealed is then unreadable for good"
    )]
    NotConfirmed,
    /// There is no such dead letter.
    #[error("no job with that id was given up; `chartwire jobs list` shows those that were")]
    NoSuchJob,
    /// Logging or metrics are set up already.
    #[error("{0}")]
    Instrumentation(&'static str),
    /// Traces cannot be sent anywhere.
    #[cfg(feature = "otel")]
    #[error(transparent)]
    Traces(#[from] crate::config::traces::TracesError),
    /// The process cannot listen for signals.
    #[error("signals to stop cannot be received: {0}")]
    Signals(#[source] std::io::Error),
    /// What is to be answered cannot be read.
    #[error("the input cannot be read: {0}")]
    Input(#[source] std::io::Error),
    /// Results cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}
