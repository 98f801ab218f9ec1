//! How changes in the EHR reach us.
//!
//! Owns the intake of appointments, patients and consents, and the polls that find them, due refills and answered Tasks.
//! Called by its own repeating jobs; hands work up as [`APPOINTMENT_CHANGED`], [`REFILL_DUE`] and
//! [`REFILL_TASK_CHANGED`]. Always: whatever names a resource is a hint, and the resource is read
//! with our own token before anything acts on it (law 12); a malformed entry is quarantined and counted, and the rest
//! used; what could not be read is not taken for empty; what the EHR refuses is seen; an older answer never takes the place
//! of what we know since.

mod appointments;
mod chart_terms;
mod consents;
mod cursor;
mod intake;
mod poll;
mod quarantine;
mod refills;
mod refusals;

pub use appointments::{AppointmentChanged, GONE, KnownAppointment};
pub use intake::Intake;
pub use poll::Poller;
pub use refills::{RefillDue, RefillPoller, RefillTaskChanged};
pub use refusals::refused_feeds;

/// An appointment is new to us, or its status, time, place or people have changed.
pub const APPOINTMENT_CHANGED: &str = "AppointmentChanged";
/// Names that the content guard needs could not be read from a patient's chart and are to be read again.
pub const CHART_TERMS_DUE: &str = "ChartTermsDue";
/// The schedule is to be read.
pub const POLL_APPOINTMENTS: &str = "PollAppointments";
/// Prescriptions are to be looked through for refills that are due.
pub const POLL_REFILLS: &str = "PollRefills";
/// The Tasks that ask for refills are to be looked at.
pub const POLL_TASKS: &str = "PollTasks";
/// A supply runs out within days; announced once for each day on which one does.
pub const REFILL_DUE: &str = "RefillDue";
/// The EHR shows another status of a Task of ours.
pub const REFILL_TASK_CHANGED: &str = "RefillTaskChanged";
