//! The sandbox: an EHR with its clinic, and a carrier with its patients' phones, to try the service against.
//!
//! Peers over HTTP that know nothing of the service: whatever passes here passes on the wire, exactly as with a real
//! EHR or carrier. They misbehave on request ([`misbehaviour`]). Started by the composition root for `demo`, and by tests.
//! Production builds leave the sandbox out (cargo feature `sandbox`).

pub mod authorization;
pub mod carrier;
pub mod clinic;
pub mod ehr;
pub mod fhir_server;
mod garbled;
pub mod misbehaviour;
mod pages;
#[cfg(test)]
mod rehearsal;
pub mod request_log;
pub mod server;

pub use authorization::{LaunchContext, RegisteredClient};
pub use ehr::{EhrOptions, RunningEhr};
pub use misbehaviour::{Fault, FaultOrder, FaultRule, HeldRequest, HeldRequestGone, Misbehaviour};

/// Why a sandbox peer did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The port is taken or may not be used.
    #[error("the sandbox cannot listen on its address: choose another with --listen, or port 0 for any")]
    Listen(#[source] std::io::Error),
    /// The address does not make a URL.
    #[error("the sandbox's address does not make a URL: listen on an IP address")]
    Address,
    /// No signing key could be made.
    #[error("the sandbox could not make its signing key")]
    Key,
    /// No HTTP client could be made.
    #[error("the sandbox could not make an HTTP client")]
    Client(#[from] reqwest::Error),
    /// The external FHIR server did not take the clinic.
    #[error("the external FHIR server refused {reference} with HTTP status {status}: {outcome}")]
    Seeding {
        /// What was refused, as `Type/id`.
        reference: String,
        /// The HTTP status; 0 where there was no answer.
        status: u16,
        /// The server's own words: the clinic does not exist, so they tell of nobody.
        outcome: String,
    },
}
