//! The page of a thread, and the part of it that changes by itself.

use super::{
    Parts,
    layout::{CheckAnswer, Line, Live},
    source::Viewer,
};
use crate::{
    http::{Failure, page},
    kernel::Phi,
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};

/// The whole page.
#[derive(Template)]
#[template(path = "inbox.html", config = "src/http/askama.toml")]
struct InboxPage<'a> {
    live: Live<'a>,
    clinic: &'a str,
    staff: &'a str,
    roles: String,
    text: &'a str,
    once: String,
    check: Option<CheckAnswer>,
    seconds_left: i64,
    idle_seconds: i64,
}

/// What changes by itself.
#[derive(Template)]
#[template(path = "live.html", config = "src/http/askama.toml")]
struct LiveFragment<'a> {
    live: Live<'a>,
}

/// To the pages of the launch that the browser has now.
pub(super) async fn entry(Extension(viewer): Extension<Viewer>) -> Response {
    Redirect::to(&viewer.address()).into_response()
}

/// The page of the launched patient's thread; without a patient, the way to the worklist.
pub(super) async fn page(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Failure> {
    let session = &viewer.session;
    let Some(patient) = session.patient else {
        return Ok(Redirect::to(&format!("{}/worklist", viewer.address())).into_response());
    };
    let draft = parts.drafts.of(session.tenant, session.staff, patient).await?;
    with_reply(&parts, &viewer, draft.unwrap_or_default(), None).await
}

/// The page with this in the reply box.
pub(super) async fn with_reply(
    parts: &Parts,
    viewer: &Viewer,
    text: Phi<String>,
    check: Option<CheckAnswer>,
) -> Result<Response, Failure> {
    let session = &viewer.session;
    let view = parts.source.thread(viewer, viewer.patient()?).await?;
    let now = parts.instruments.now();
    let roles: Vec<&str> = session.roles.iter().map(crate::access::Role::name).collect();
    page::rendered(&InboxPage {
        live: Live::of(&view, &parts.source.zone(session.tenant), now, viewer),
        clinic: &view.clinic,
        staff: session.name.as_str(),
        roles: roles.join(", "),
        text: text.as_str(),
        once: parts.instruments.token(16),
        check,
        seconds_left: session.ends_at.duration_since(now).as_secs(),
        idle_seconds: session.idle.duration().as_secs(),
    })
}

/// What changes by itself, for the script.
pub(super) async fn fragment(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Failure> {
    let view = parts.source.thread(&viewer, viewer.patient()?).await?;
    let zone = parts.source.zone(viewer.session.tenant);
    let live = Live::of(&view, &zone, parts.instruments.now(), &viewer);
    page::rendered(&LiveFragment { live })
}

/// Where a page without a script goes when its time is up. That it got this far means that the session lives on
/// elsewhere.
pub(super) async fn idle(Extension(viewer): Extension<Viewer>) -> Response {
    Redirect::to(&viewer.address()).into_response()
}
