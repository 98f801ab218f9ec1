//! The staff inbox: the launched patient's thread, the reply box, open tasks, live changes, what the patient said about
//! texts, and the worklist of what is not known to be about one patient.
//!
//! Owns pages only; what they show and do comes from an [`InboxSource`]. Every route stands behind one layer
//! ([`session_layer`]) that lets nobody in without a session, so a new route is closed until it has one.
//!
//! What always holds: a session, a person's replies and those of a practice have limits; pages are kept by no cache; a change needs the session's form token and must come from our own
//! pages; live events carry ids only, and an open page alone does not keep a session alive; every address names the launch
//! that it belongs to, so that a page of one patient never shows or changes another's, though both have the same cookie.

mod actions;
mod clinic_time;
mod consent_layout;
mod consent_page;
mod done;
mod events;
mod layout;
pub mod live;
mod session_layer;
pub mod source;
mod thread_page;
mod worklist_page;

pub use source::{InboxSource, Viewer};

use super::{Failure, Rates, static_file};
use crate::{
    access::{Drafts, Session, Sessions},
    db::Db,
    kernel::{Id, Instruments},
};
use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post, put},
};
use source::InboxError;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the pages of a session are. The id is no secret: without the session's cookie it opens nothing.
#[must_use]
pub fn address(session: Id<Session>) -> String {
    format!("/inbox/{session}")
}

/// What the inbox is made of.
#[derive(Clone)]
pub struct Parts {
    /// Who is signed in.
    pub sessions: Sessions,
    /// What was typed and not sent.
    pub drafts: Drafts,
    /// The database, for its events.
    pub db: Db,
    /// What is shown and done.
    pub source: Arc<dyn InboxSource>,
    /// How much a session, a person and a practice may ask for.
    pub rates: Arc<Rates>,
    /// Time and randomness.
    pub instruments: Instruments,
    /// Ends the streams of live changes, so that a shutdown does not wait for them.
    pub stop: CancellationToken,
}

/// The routes, for a [`super::Section::pages`].
pub fn routes(parts: Parts) -> Router {
    Router::new()
        .route("/inbox", get(thread_page::entry))
        .route("/inbox/{session}", get(thread_page::page))
        .route("/inbox/{session}/thread", get(thread_page::fragment))
        .route("/inbox/{session}/idle", get(thread_page::idle))
        .route("/inbox/{session}/events", get(events::stream))
        .route("/inbox/{session}/present", post(actions::present))
        .route("/inbox/{session}/check", post(actions::check))
        .route("/inbox/{session}/reply", post(actions::reply))
        .route("/inbox/{session}/draft", put(actions::keep_draft))
        .route("/inbox/{session}/texts/{id}/settle", post(actions::settle))
        .route("/inbox/{session}/tasks/{id}/done", post(actions::close_task))
        .route("/inbox/{session}/worklist", get(worklist_page::page))
        .route("/inbox/{session}/worklist/items", get(worklist_page::fragment))
        .route("/inbox/{session}/worklist/{task}/assign", post(worklist_page::assign))
        .route("/inbox/{session}/worklist/{task}/done", post(worklist_page::close_task))
        .route("/inbox/{session}/consent", get(consent_page::page))
        .route("/inbox/{session}/consent/agreed", post(consent_page::agreed))
        .route("/inbox/{session}/consent/withdrawn", post(consent_page::withdrawn))
        .route("/inbox/{session}/sign-out", post(actions::sign_out))
        .layer(from_fn_with_state(parts.clone(), session_layer::signed_in))
        .with_state(parts)
        .route("/inbox/static/{name}", get(static_file::serve))
}

impl From<InboxError> for Failure {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::NotFound => Self::NotFound,
            InboxError::NotAllowed => Self::Forbidden("Your role in the EHR does not allow this."),
            InboxError::Changed => Self::Conflict("Somebody else was faster. Go back to the thread to see it."),
            InboxError::Unavailable(cause) => Self::of(&*cause, true),
            InboxError::Failed(cause) => Self::of(&*cause, false),
        }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
