//! A thin FHIR R4 REST client, and typed resources at the edge.
//!
//! Owns how the service talks to a FHIR server: requests, paging, preconditions, what an answer means, and how a
//! resource's JSON becomes a plain Rust value ([`views`]). `smart` implements its [`AccessTokenSource`]; `ehr`, `feed`
//! and `chart` call it.
//!
//! What always holds:
//! - a write is sent once. What is not known to have happened is [`WriteOutcome::Unknown`], never tried again here;
//! - a request, and with it the access token, goes to the server's own origin and base path only: redirects are off
//!   and `next` links are checked;
//! - no error, `Debug` output or log of this room holds a search parameter, a resource's content, a diagnostics text or a
//!   token;
//! - what is malformed in one entry of a page costs that entry, not the page.

mod bundle;
mod client;
mod element_path;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod limits;
mod outcome;
pub(crate) mod reference;
mod resource;
mod resources;
mod search;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod transport;
pub mod views;
mod write;

pub use bundle::{Page, Parsed, Quarantined};
pub use client::FhirClient;
pub use error::{AddressFault, FhirError, LinkFault, ParseFault, ParseFaultKind, TransportFault};
pub use limits::{Limits, Pacer, TokioPacer};
pub use outcome::{Issue, Issues};
pub use reference::{ResourceRef, ServerBase};
pub use resource::{ETag, Resource};
pub use search::{SearchMethod, SearchPager, SearchParams};
pub use token::{AccessTokenSource, BoxFuture, SecretToken, TokenError, UserToken};
pub use write::{IfNoneExist, NotSentCause, PatchOperation, UnknownCause, WriteOutcome, Written};
