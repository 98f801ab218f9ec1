//! The page of patients' phones, and the events that keep it live.
//!
//! Static files; the script reads `/sandbox/…` and writes texts into the page as text, never as markup. An event says
//! only that something changed.

use super::exchange::Exchange;
use axum::{
    Router,
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{
        IntoResponse, Redirect, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use std::{convert::Infallible, sync::Arc};

/// The routes of the page.
pub(super) fn routes() -> Router<Arc<Exchange>> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/phones")))
        .route("/phones", get(async || file("text/html; charset=utf-8", include_str!("phones/phones.html"))))
        .route("/phones/phones.css", get(async || file("text/css; charset=utf-8", include_str!("phones/phones.css"))))
        .route(
            "/phones/phones.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("phones/phones.js"))),
        )
        .route("/phones/events", get(events))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src * data:; \
                  base-uri 'none'; form-action 'none'";
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, text).into_response()
}

async fn events(State(exchange): State<Arc<Exchange>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut changes = exchange.changes();
    // The first event comes at once, so that a page that lost its connection catches up.
    changes.mark_changed();
    let versions = stream::unfold(changes, |mut changes| async move {
        changes.changed().await.ok()?;
        let version = *changes.borrow_and_update();
        Some((Ok(Event::default().event("changed").data(version.to_string())), changes))
    });
    let open = versions.take_until(exchange.closing.clone().cancelled_owned());
    Sse::new(open).keep_alive(KeepAlive::default())
}
