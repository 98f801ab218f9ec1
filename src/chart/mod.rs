//! Texts in the chart: each one a FHIR Communication, filed in order and kept up to date.
//!
//! Owns what a text looks like as a [Communication](https://hl7.org/fhir/R4/communication.html) and which of them stand
//! in the EHR. Called by messaging's job `TextChanged`; writes through the EHR's ledger. Always: a text is filed once, by
//! its identifier; texts of one conversation are filed in order; an EHR that is away delays filing and loses nothing.

mod communication;
mod filing;

pub use filing::Filing;

/// A conversation has texts that the chart does not show as they are.
pub const FILE_CONVERSATION: &str = "FileConversation";
