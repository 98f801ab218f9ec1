//! Carriers: each implements the port of the messaging room over one company's HTTP interface.
//!
//! Owns the wire forms, the signatures of webhooks and the tables of error codes; stores nothing. The messaging room
//! calls it through [`crate::messaging::carrier_port`], the webhook routes through each carrier's pure functions.
//! Always: no number and no text in an error or a log; a text is sent at most once per call; what cannot be read is an
//! error or kept as it came, never a panic.

mod secret;
pub mod twilio;

pub use secret::AuthToken;
