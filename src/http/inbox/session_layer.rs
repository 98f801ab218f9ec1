//! The one door to the inbox: a session, or a page that says why there is none.

use super::{Parts, done::wants_json, source::Embedding, source::Viewer};
use crate::{
    access::{AccessError, ActiveSession, Activity, Area, Ending, SessionRefusal, SessionToken, may_use},
    http::{Failure, Form, RequestId, cookie, page, server::Source},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Paths that a page asks for by itself.
const BACKGROUND: [&str; 4] = ["thread", "worklist/items", "events", "idle"];
/// Paths that a script asks for, besides what it says it takes JSON for.
const FOR_SCRIPTS: [&str; 6] = ["thread", "worklist/items", "events", "present", "check", "draft"];

/// Lets requests with a session through, with a [`Viewer`] among their extensions, and says on every answer who may
/// embed it.
pub(super) async fn signed_in(State(parts): State<Parts>, mut request: Request, next: Next) -> Response {
    let Some(number) = request.extensions().get::<RequestId>().copied() else {
        return Failure::Internal.into_response();
    };
    let (launch, rest) = parted(request.uri().path());
    let (launch, by_script) = (launch.map(str::to_owned), FOR_SCRIPTS.contains(&rest));
    let by_itself = BACKGROUND.contains(&rest);
    let activity = if by_itself { Activity::Background } else { Activity::Person };
    let by_script = by_script || wants_json(request.headers());
    let source = request.extensions().get::<Source>().copied();
    let Some(token) = cookie::session_of(request.headers()) else {
        return refused(&parts, None, &SessionRefusal::SignedOut, (source, by_script)).await;
    };
    let session = match parts.sessions.authenticate(&token, activity).await {
        Ok(session) => session,
        Err(refusal) => return refused(&parts, Some(&token), &refusal, (source, by_script)).await,
    };
    let embedding = parts.source.embedding(Some(session.tenant));
    if let Err(failure) = parts.rates.session(session.id) {
        return embeddable(too_many(&failure, by_script), &embedding);
    }
    if launch.is_some_and(|launch| launch != session.id.to_string()) {
        return embeddable(of_another_launch(by_script), &embedding);
    }
    if !may_use(&session.roles, Area::Inbox) {
        return embeddable(no_role(), &embedding);
    }
    if let Err(failure) = allowed(request.method(), request.headers(), &embedding) {
        return embeddable(failure.into_response(), &embedding);
    }
    request.extensions_mut().insert(token);
    request.extensions_mut().insert(Viewer { session, request: number });
    embeddable(next.run(request).await, &embedding)
}

/// The launch that a path names, and what it asks for there.
fn parted(path: &str) -> (Option<&str>, &str) {
    let Some(path) = path.strip_prefix("/inbox/") else { return (None, "") };
    match path.split_once('/') {
        Some((launch, rest)) => (Some(launch), rest),
        None => (Some(path), ""),
    }
}

/// The page belongs to a launch that is not the browser's any more: nothing of the other launch may come into it.
fn of_another_launch(by_script: bool) -> Response {
    if by_script {
        return Failure::Gone("Another launch has taken over in this browser. Go on there.").told(Form::Problem);
    }
    let mut response = replaced();
    *response.status_mut() = StatusCode::GONE;
    response
}

fn replaced() -> Response {
    ended("Opened by another launch", "A newer launch in this browser has taken over. Go on there.")
}

/// Whether a change comes from a page of ours. Browsers say where a request comes from in `Sec-Fetch-Site`; those that
/// do not, in `Origin`. (With `Referrer-Policy: no-referrer` a form of our own page has the origin `null`.)
fn allowed(method: &Method, headers: &HeaderMap, embedding: &Embedding) -> Result<(), Failure> {
    const ELSEWHERE: Failure = Failure::Forbidden("The request did not come from a page of the inbox. Open it again.");
    if method.is_safe() {
        return Ok(());
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = |origin: &str| embedding.own_origins.iter().any(|own| own == origin);
    let comes_from_us = match (header("sec-fetch-site"), header("origin")) {
        (Some("same-origin"), None | Some("null")) => true,
        (Some("same-origin") | None, Some(origin)) => own(origin),
        _ => false,
    };
    if comes_from_us { Ok(()) } else { Err(ELSEWHERE) }
}

/// Whether a form was made for this session.
pub(super) fn owned(session: &ActiveSession, form_token: &str) -> Result<(), Failure> {
    if session.owns_form(form_token) {
        Ok(())
    } else {
        Err(Failure::Forbidden("The page is from an earlier session. Open the inbox again."))
    }
}

fn embeddable(mut response: Response, embedding: &Embedding) -> Response {
    if let Some(policy) = page::content_security_policy(&embedding.frame_ancestors) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Beyond what a session, or those without one at an address, may ask for.
fn too_many(failure: &Failure, by_script: bool) -> Response {
    failure.told(if by_script { Form::Problem } else { Form::Page })
}

async fn refused(
    parts: &Parts,
    token: Option<&SessionToken>,
    refusal: &SessionRefusal,
    (source, by_script): (Option<Source>, bool),
) -> Response {
    if !matches!(refusal, SessionRefusal::Failed(_))
        && let Err(failure) = parts.rates.refused("no-session", source)
    {
        return embeddable(too_many(&failure, by_script), &parts.source.embedding(None));
    }
    let tenant = match token {
        Some(token) => parts.sessions.tenant_of(token).await.unwrap_or_default(),
        None => None,
    };
    let response = match refusal {
        SessionRefusal::SignedOut => ended("You are not signed in", "Open the patient in the EHR to come back here."),
        SessionRefusal::Ended(Ending::Idle) => {
            ended("Closed after a while without activity", "What you typed is kept. Open the patient in the EHR again.")
        }
        SessionRefusal::Ended(Ending::TooOld) => {
            ended("Your session has ended", "A session lasts eight hours. What you typed is kept.")
        }
        SessionRefusal::Ended(Ending::Unconfirmed) => ended(
            "Your role could not be confirmed",
            "The EHR has not answered for half an hour. What you typed is kept. Open the patient in the EHR again.",
        ),
        SessionRefusal::Ended(Ending::Replaced) => replaced(),
        SessionRefusal::Ended(Ending::SignedOut | Ending::Revoked) => signed_out(),
        SessionRefusal::NoRole | SessionRefusal::Ended(Ending::NoRole) => no_role(),
        SessionRefusal::Failed(error) => failed(error),
    };
    embeddable(response, &parts.source.embedding(tenant))
}

fn ended(title: &str, text: &str) -> Response {
    page::state(StatusCode::UNAUTHORIZED, title, text, "Nothing about any patient is on this screen.")
}

/// The page after a sign-out.
pub(super) fn signed_out() -> Response {
    ended("You are signed out", "Open the patient in the EHR to come back here.")
}

fn no_role() -> Response {
    page::state(
        StatusCode::FORBIDDEN,
        "Your role does not include the inbox",
        "The EHR tells us your role. It has none that reads or answers texts.",
        "Ask whoever manages roles in the EHR, then open the patient again.",
    )
}

fn failed(error: &AccessError) -> Response {
    Failure::of(error, error.is_transient()).into_response()
}
