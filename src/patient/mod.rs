//! Patients under ids of our own.
//!
//! Owns who a patient is to us: FHIR ids map to our id (several to one after a merge), names and numbers are sealed,
//! numbers are found through a blind index; of addresses only the zones of their clocks are kept. The EHR feed writes; messaging, routing, workflows and the inbox read.
//! Always: a number that fits more than one patient gives all of them, never the first; a merged patient is answered
//! for by the survivor.

mod directory;
mod holder;
mod record;
mod refresh;
mod zone;

pub use directory::{Directory, is_shared};
pub use holder::{NumberHolder, dispute_number, holder_of, numbers_holders, settle_dispute};
pub use record::{EhrPatient, NumberKind, PatientNumber, PatientRecord, PersonName, Telecom, texting_number};
pub use zone::{zones_of, zones_of_state};

use crate::{db::DbError, vault::VaultError};

/// The ids of a patient, and of those who were merged into them, as a subselect over `$1`, the tenant, and `$2`, the
/// patient. Two lookups: of one with OR SQLite makes a walk through all of the tenant's patients.
pub const WITH_MERGED: &str = "(SELECT id FROM patient WHERE tenant = $1 AND id = $2 \
    UNION ALL SELECT id FROM patient WHERE tenant = $1 AND merged_into = $2)";

/// What can go wrong with patients. Names nobody.
#[derive(Debug, thiserror::Error)]
pub enum PatientError {
    /// The database is away or refuses.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The vault cannot seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A stored value is not what this version of the program writes.
    #[error("a stored patient cannot be read by this version of the program")]
    Stored,
}

impl From<PatientError> for crate::jobs::JobError {
    fn from(error: PatientError) -> Self {
        match error {
            PatientError::Db(error) => error.into(),
            PatientError::Vault(_) => Self::retry("vault"),
            PatientError::Stored => Self::dead("stored-patient"),
        }
    }
}
