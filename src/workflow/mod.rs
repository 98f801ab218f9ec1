//! Workflows over appointments and prescriptions.
//!
//! So far: whether what a text says of an appointment still holds, which the gate asks before the text leaves.

mod relevance;

pub use relevance::AppointmentRelevance;
