//! The consent ledger and the list of stopped numbers.
//!
//! Owns who agreed to what, when, how and by which wording, and which numbers said STOP. The gate asks [`standing`] under
//! the number's lock; routing, the EHR feed and staff write. Always: the ledger is append-only; no consent means no
//! text, and a grant that was given for a time ends with it; where two entries disagree the newest decides, and between two patients who turned out to be one the strictest;
//! a stopped number stays stopped until START or new explicit consent.

mod codes;
mod ledger;
mod proof;
mod standing;
mod suppression;

pub use codes::{Category, Decision, Method, Source};
pub use ledger::{ConsentEntry, Entry, NewEntry, Period, entries, is_recorded, record};
pub use proof::{Proof, proof};
pub use standing::{Decided, Standing, standing};
pub use suppression::{
    Release, Suppression, mark_confirmed, release, release_of_staff, suppress, suppress_as_listed, suppression,
};

use crate::{db::DbError, vault::VaultError};

/// What can go wrong when a proof is sealed or opened. Names nobody.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The database is away or refuses.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The vault cannot seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A stored proof is not what this version of the program writes.
    #[error("a stored proof of consent cannot be read by this version of the program")]
    Stored,
}
