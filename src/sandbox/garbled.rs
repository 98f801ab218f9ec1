//! Answers that are none: what a broken proxy or a dying server sends in the place of one.
//!
//! Owns nothing; both peers answer with these when they are told to misbehave.

use axum::{
    body::{Body, to_bytes},
    response::{Html, IntoResponse as _, Response},
};
use http::header;

/// Bytes that are neither JSON nor text.
const GARBAGE: &[u8] = b"\x00\xff\xfe{{]\x80\xc3\x28 \"\\u12";
/// What stands in front of a server that is being worked on.
const PAGE: &str =
    "<!doctype html><html><head><title>Maintenance</title></head><body><h1>We are back soon</h1></body></html>";

/// The answer's head over bytes that mean nothing.
pub(super) fn garbage(answer: Response) -> Response {
    let (mut head, _) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(GARBAGE))
}

/// 200 with a page for people.
pub(super) fn page() -> Response {
    Html(PAGE).into_response()
}

/// The answer with the first half of its body. HTTP itself is in order: its length is that of the half.
pub(super) async fn truncated(answer: Response) -> Response {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let half = to_bytes(body, usize::MAX).await.map(|whole| whole.slice(..whole.len() / 2)).unwrap_or_default();
    Response::from_parts(head, Body::from(half))
}
