//! The audit log: who did what, when, why, about whom.
//!
//! Owns `audit_row` and `audit_head`. Every room above writes its rows with [`record`] inside the transaction of the
//! action; the [`Sealer`] then gives committed rows their place and chains them; [`verify`] proves the chain.
//!
//! What always holds:
//! - An action and its row are committed together, or neither is.
//! - A row holds ids, codes and counts, never protected information: the types of [`AuditEntry`] leave no room for it.
//! - Each row carries a MAC over all its columns, and each place a chain over everything before it; both keys are the
//!   tenant's. The head, with a MAC of its own, also goes to a file outside the database ([`HeadExport`]).
//! - Writing a row waits for no other row: places are given afterwards, by the sealer.

mod behind;
mod entry;
mod error;
mod export;
mod finding;
mod head;
mod refusals;
mod row;
mod sealer;
#[cfg(test)]
mod tests;
mod verify;

pub use behind::{Behind, EndSessions, mark_if_behind, newest_row};
pub use entry::{Action, Actor, AuditEntry, AuditRow, Detail, Outcome, Request, Subject};
pub use error::AuditError;
pub use export::export;
pub use finding::{Finding, Position};
pub use head::{Head, HeadExport};
pub use refusals::CoalescedRefusals;
pub use row::{AuditSigner, record, record_all, record_alone};
pub use sealer::Sealer;
pub use verify::{AuditReport, UNSEALED_FOR, verify};
