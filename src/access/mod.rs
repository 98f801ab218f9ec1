//! Who may see and do what: roles, the permission matrix, staff, sessions, launches under way, drafts.
//!
//! Owns the tables `staff_user`, `session`, `launch_state` and `draft`. `smart` ends a launch here
//! ([`StaffDirectory::refresh`], [`Sessions::start`]), `http` asks here before every page ([`Sessions::authenticate`]),
//! and whoever shows or routes a text asks the matrix ([`may_read`], [`may_reply`], [`may_serve`],
//! [`consent_right`]).
//!
//! What always holds:
//! - What the matrix does not grant is denied; no role, no data (law 7).
//! - A cookie's value is never stored, only its SHA-256; a name, a draft and a launch's state are stored sealed.
//! - A role that the EHR no longer gives is lost here within five minutes, in every session of that person; whose roles
//!   nobody can confirm for half an hour has none.
//! - Whatever starts, ends or refuses a session stands in the audit log, written in the same transaction.

mod consenting;
mod draft;
mod error;
mod journal;
mod launch;
mod matrix;
mod role;
mod role_clock;
mod run_out;
mod session;
mod session_store;
mod staff;
mod token;

pub use consenting::{ConsentRight, consent_right};
pub use draft::{Draft, Drafts};
pub use error::{AccessError, SessionRefusal};
pub use launch::{LaunchStates, PendingLaunch};
pub use matrix::{
    Area, Permission, Scope, Team, may_read, may_read_by_reason, may_reply, may_serve, may_use, narrowest, readers,
};
pub use role::{Role, Roles};
pub use role_clock::{REREAD_EVERY, REREAD_ROLES, RoleClock, RolesNow, UNCONFIRMED_END};
pub use run_out::{END_RUN_OUT_SESSIONS, LOOK_EVERY};
pub use session::{
    ABSOLUTE_END, ActiveSession, Activity, IdleTimeout, IdleTimeouts, NewSession, Sessions, StartedSession, TOUCH_EVERY,
};
pub use session_store::{Ending, Session, end_all_sessions};
pub use staff::{NewStaffMember, StaffDirectory, StaffMember};
pub use token::SessionToken;

#[cfg(test)]
mod tests;
