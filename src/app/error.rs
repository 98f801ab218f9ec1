//! Why the service does not start.

use crate::{
    audit::AuditError,
    carrier::twilio::AccountError,
    db::DbError,
    fhir::{AddressFault, FhirError},
    jobs::JobError,
    messaging::MessagingError,
    smart::KeyFault,
    template::TemplateError,
    vault::{NoHttpClient, VaultError},
};

/// Why the service does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database cannot be opened.
    #[error("the database cannot be used: {0}")]
    Db(#[from] DbError),
    /// A key is missing or wrong.
    #[error("the keys (tenants.key_encryption_keys, tenants.transit) cannot be used: {0}")]
    Vault(#[from] VaultError),
    /// The KMS cannot be asked at all.
    #[error(transparent)]
    Kms(#[from] NoHttpClient),
    /// The carrier's account is not complete.
    #[error("the carrier account (tenants.carrier) cannot be used: {0}")]
    Carrier(#[from] AccountError),
    /// The texts that ship with the program are broken.
    #[error("the house's texts cannot be used: {0}")]
    Template(#[from] TemplateError),
    /// Work cannot be scheduled.
    #[error(transparent)]
    Messaging(#[from] MessagingError),
    /// The EHR's address or the TLS stack.
    #[error("the EHR (tenants.ehr) cannot be used: {0}")]
    Fhir(#[from] FhirError),
    /// The EHR's address in the settings.
    #[error("the EHR's address (tenants.ehr.fhir_base) cannot be used: {0}")]
    Address(#[from] AddressFault),
    /// A signing key cannot be used.
    #[error("a signing key (registrations.signing_key) cannot be used: {0}")]
    Key(#[from] KeyFault),
    /// Repeating work cannot be scheduled.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The audit log, or the heads that were exported of it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The folder for audit heads cannot be made.
    #[error("the folder for audit heads (audit.head_folder) cannot be made: {0}")]
    HeadFolder(#[source] std::io::Error),
    /// Cookies and texts would cross the network in the clear.
    #[error(
        "server.listen ({listen}) is open to the network, but server.public_url is http; put a reverse proxy with TLS in front and write its https address, or listen on 127.0.0.1"
    )]
    NotEncrypted {
        /// Where the service would listen.
        listen: std::net::SocketAddr,
    },
    /// The address to listen on cannot be taken.
    #[error("the service cannot listen on {listen} (server.listen): {cause}")]
    Listen {
        /// Where.
        listen: std::net::SocketAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// A practice of the settings that no service has taken in yet.
    #[error("nothing is stored of the practice {slug} yet; start the service once, which takes new practices in")]
    NotTakenIn {
        /// The practice's name in URLs.
        slug: String,
    },
    /// Heads were exported of practices that the database does not know.
    #[error(
        "audit.head_folder holds heads of practices that the database does not know ({practices} of them): this is not the database that they were exported from. See that its volume is mounted and database.url names it; if it is lost, put its newest backup back (docs/backup.md); if a backup from before those practices was put back, run `chartwire recover --begin`; if the heads are of another installation, give this one a folder of its own"
    )]
    HeadsOfOthers {
        /// How many.
        practices: usize,
    },
    /// A database that is said to be put back knows nobody.
    #[error(
        "the database knows no practice, so it is not the one that was backed up; put the backup into an empty database, and see that database.url names it"
    )]
    NoPractice,
    /// Nothing shows as of when a database was put back.
    #[error(
        "the exported audit heads do not show as of when the database was put back, and its own newest rows may be from after that; say it with --since INSTANT, rather too early than too late"
    )]
    SinceNotShown,
    /// The settings contradict themselves.
    #[error("the settings cannot be used: {0}")]
    Settings(&'static str),
    /// Something of one practice, among several.
    #[error("practice {slug}: {error}")]
    Practice {
        /// The practice's name in URLs.
        slug: String,
        /// What.
        #[source]
        error: Box<AppError>,
    },
}

impl AppError {
    /// Turns an error into one of this practice's.
    pub(super) fn of<E: Into<Self>>(slug: &str) -> impl FnOnce(E) -> Self + '_ {
        |error| Self::Practice { slug: slug.to_owned(), error: Box::new(error.into()) }
    }
}
