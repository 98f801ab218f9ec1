//! The consent ledger and the list of stopped numbers.
//!
//! Owns who agreed to what, when, how and by which wording, and which numbers said STOP. The gate asks [`standing`] under
//! the number's lock; routing, the EHR feed and staff write. Always: the ledger is append-only; no consent means no
//! text; where two entries disagree the newest decides, and between two patients who turned out to be one the strictest;
//! a stopped number stays stopped until START or new explicit consent.

mod ledger;
mod suppression;

pub use ledger::{Category, ConsentEntry, Decision, NewEntry, Source, Standing, record, standing, summary};
pub use suppression::{Suppression, mark_confirmed, release, suppress};

/// What can go wrong when consent is recorded or read.
pub type ConsentError = crate::db::DbError;
