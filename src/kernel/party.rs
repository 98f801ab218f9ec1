//! The kinds whose ids every room names. They exist in types only: no value of them is ever made.

/// A practice that this installation serves. Tenants do not meet (law 8).
pub enum Tenant {}

/// A patient, by our own id, whatever the EHR calls the person.
pub enum Patient {}

/// A member of a practice's staff.
pub enum StaffUser {}
