//! What answers over HTTP: the server, the router and its layers, limits, the mapping of errors, health, and the staff inbox.
//!
//! `app` builds the sections and hands them to [`router`]; every other room is called from here and calls nothing
//! here. What always holds:
//! - Every answer carries a request id that we made; an id that a client sends is ignored.
//! - Neither logs nor metrics hold a query string, a header, a body, or a path beyond its route's pattern.
//! - A failure says what happened in the form that its reader understands ([`Form`]) and repeats no input.
//! - A request has a largest size and a longest time, a section a largest number of them in hand; a panic is an answer of
//!   500, without its message.
//! - Connections are bounded, and slow ones end ([`server`]); who asks for too much is told when to come back
//!   ([`rates`]).

mod body_time;
pub mod cookie;
pub mod error;
pub mod health;
pub mod inbox;
mod layers;
mod page;
mod rates;
pub mod server;
pub mod smart;
mod static_file;
pub mod webhooks;

pub use error::{Failure, Form};
pub use layers::RequestId;
pub use rates::Rates;

use body_time::BodyWait;
use layers::source_address;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tower_http::{
    catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};

use crate::kernel::Instruments;

/// Limits on every request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long the body may take to come, from when it is first waited for.
    pub body_time: Duration,
    /// How long an answer may take to begin. Streams of events may go on for longer.
    pub time: Duration,
    /// How many requests each section has in hand at once. What comes beyond is answered 503 before its body is read: a
    /// flood, or a database that does not answer, must not fill the memory.
    pub at_once: usize,
}

impl Limits {
    /// A largest body of so many bytes that comes within a time, so many requests at once, and 30 seconds.
    #[must_use]
    pub const fn of(body: usize, body_time: Duration, at_once: usize) -> Self {
        Self { body, body_time, time: Duration::from_secs(30), at_once }
    }
}

/// Routes whose failures are told in one form.
pub struct Section {
    form: Form,
    routes: Router,
}

impl Section {
    /// Routes for programs: failures are problem details (RFC 9457).
    #[must_use]
    pub fn api(routes: Router) -> Self {
        Self { form: Form::Problem, routes }
    }

    /// FHIR endpoints: failures are `OperationOutcome`s.
    #[must_use]
    pub fn fhir(routes: Router) -> Self {
        Self { form: Form::OperationOutcome, routes }
    }

    /// Pages for people: failures are plain pages.
    #[must_use]
    pub fn pages(routes: Router) -> Self {
        Self { form: Form::Page, routes }
    }

    fn layered(self, limits: Limits) -> Router {
        self.routes
            .layer(DefaultBodyLimit::disable())
            .layer(RequestBodyLimitLayer::new(limits.body))
            .layer(from_fn_with_state(BodyWait::of(limits.body_time, limits.at_once), body_time::in_time))
            .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits.time))
            .layer(CatchPanicLayer::custom(layers::answer_to_panic))
            .layer(from_fn_with_state(Arc::new(Semaphore::new(limits.at_once)), layers::admitted))
            .layer(from_fn_with_state(self.form, error::in_form))
    }
}

/// One router of all sections, each within `limits`. What no section knows is answered 404 as a problem.
pub fn router(sections: Vec<Section>, limits: Limits, instruments: &Instruments) -> Router {
    sections
        .into_iter()
        .fold(Router::new(), |router, section| router.merge(section.layered(limits)))
        .fallback(|| async { Failure::NotFound })
        .layer(from_fn_with_state(Form::Problem, error::in_form))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(from_fn(layers::traced))
        .layer(from_fn_with_state(instruments.clone(), layers::numbered))
}

/// Sets a header unless the answer has it already.
fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests;
