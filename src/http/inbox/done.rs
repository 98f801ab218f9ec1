//! What a page hears after something was done: a script that it was, a plain form the page that it came from.

use super::source::Viewer;
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};

/// Whether a script asks, and not a form.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.starts_with("application/json"))
}

/// Back to a page of this launch: `""` for the thread, `/worklist` for that.
pub(super) fn back_to(page: &str, viewer: &Viewer, headers: &HeaderMap) -> Response {
    if wants_json(headers) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Redirect::to(&format!("{}{page}", viewer.address())).into_response()
    }
}
