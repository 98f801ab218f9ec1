//! How changes in the EHR reach us.
//!
//! Owns the intake of appointments, patients and consents, and the poll that finds them. Called by its own repeating
//! jobs; hands work up as [`APPOINTMENT_CHANGED`]. Always: whatever names a resource is a hint, and the resource is read
//! with our own token before anything acts on it (law 12); a malformed entry is quarantined and counted, and the rest
//! used; what we changed ourselves is not announced as the staff's doing.

mod appointments;
mod intake;
mod poll;
mod quarantine;

pub use appointments::{AppointmentChanged, KnownAppointment};
pub use intake::Intake;
pub use poll::Poller;

/// An appointment is new to us, or its status, time, place or people have changed.
pub const APPOINTMENT_CHANGED: &str = "AppointmentChanged";
/// The schedule is to be read.
pub const POLL_APPOINTMENTS: &str = "PollAppointments";
