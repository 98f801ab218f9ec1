//! What a person does: writes, sends, settles, closes, signs out. Each works from the script and from a plain form.

use super::{
    Parts,
    clinic_time::day_and_time,
    done::{back_to, wants_json},
    layout::CheckAnswer,
    session_layer::{owned, signed_out},
    source::{NewReply, ReplyOutcome, ThreadTask, ThreadText, Verdict, Viewer},
    thread_page,
};
use crate::{
    access::Ending,
    http::{Failure, cookie},
    kernel::{Id, Phi},
};
use axum::{
    Extension, Form, Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};

/// The longest text that is looked at, in characters: ten segments.
const LONGEST: usize = 1530;

/// A form without anything but its proof.
#[derive(Deserialize)]
pub(super) struct Bare {
    pub(super) form_token: String,
}

/// A text that is being written.
#[derive(Deserialize)]
pub(super) struct Typed {
    form_token: String,
    text: String,
}

/// A reply that is sent off.
#[derive(Deserialize)]
pub(super) struct SentOff {
    form_token: String,
    once: String,
    text: String,
    #[serde(default)]
    send_now: Option<String>,
}

/// A decision about a text of which nobody knows whether it left.
#[derive(Deserialize)]
pub(super) struct Settled {
    form_token: String,
    verdict: Verdict,
}

/// How much longer the session lasts.
#[derive(Serialize)]
pub(super) struct Left {
    seconds_left: i64,
}

/// What the script hears about a reply.
#[derive(Serialize)]
struct Taken {
    said: String,
    once: String,
}

/// Somebody is at the screen.
pub(super) async fn present(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Bare>,
) -> Result<Json<Left>, Failure> {
    owned(&viewer.session, &form.form_token)?;
    let left = viewer.session.ends_at.duration_since(parts.instruments.now());
    Ok(Json(Left { seconds_left: left.as_secs() }))
}

/// Segments and findings of what is typed.
pub(super) async fn check(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Typed>,
) -> Result<Json<CheckAnswer>, Failure> {
    owned(&viewer.session, &form.form_token)?;
    let text = within_limit(&form.text)?;
    let patient = viewer.patient()?;
    let check = parts.source.check(&viewer, patient, &text).await?;
    let zone = parts.source.zone(viewer.session.tenant);
    Ok(Json(CheckAnswer::of(&check, &zone, parts.instruments.now())))
}

/// Keeps what is typed.
pub(super) async fn keep_draft(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Typed>,
) -> Result<StatusCode, Failure> {
    owned(&viewer.session, &form.form_token)?;
    let text = within_limit(&form.text)?;
    let session = &viewer.session;
    parts.drafts.keep(session.tenant, session.staff, viewer.patient()?, &text).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a reply off.
pub(super) async fn reply(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    headers: HeaderMap,
    Form(form): Form<SentOff>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    let patient = viewer.patient()?;
    let text = within_limit(&form.text)?;
    if text.as_str().trim().is_empty() {
        return Err(Failure::Unprocessable("Write something first.".into()));
    }
    if let Err(failure) = parts.rates.reply(viewer.session.tenant, viewer.session.staff) {
        return limited(&parts, &viewer, text, (failure, wants_json(&headers))).await;
    }
    let reply = NewReply { text, once: form.once, override_quiet_hours: form.send_now.is_some() };
    let outcome = parts.source.reply(&viewer, patient, &reply).await?;
    let (zone, now) = (parts.source.zone(viewer.session.tenant), parts.instruments.now());
    let by_script = wants_json(&headers);
    let said = match outcome {
        ReplyOutcome::Refused(check) if by_script => {
            let answer = CheckAnswer::of(&check, &zone, now);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response());
        }
        ReplyOutcome::Refused(check) => {
            let answer = CheckAnswer::of(&check, &zone, now);
            let page = thread_page::with_reply(&parts, &viewer, reply.text, Some(answer)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
        ReplyOutcome::Queued => "Sent off.".to_owned(),
        ReplyOutcome::Waits(until) => format!("Will be sent {}.", day_and_time(until, now, &zone)),
    };
    let session = &viewer.session;
    parts.drafts.forget(session.tenant, session.staff, patient).await?;
    if by_script {
        return Ok(Json(Taken { said, once: parts.instruments.token(16) }).into_response());
    }
    Ok(Redirect::to(&format!("{}#composer", viewer.address())).into_response())
}

/// The answer where too many replies were sent off. What was typed stays.
async fn limited(
    parts: &Parts,
    viewer: &Viewer,
    text: Phi<String>,
    (failure, by_script): (Failure, bool),
) -> Result<Response, Failure> {
    let Failure::TooMany(seconds) = failure else { return Err(failure) };
    if by_script {
        return Ok(failure.told(crate::http::Form::Problem));
    }
    let page = thread_page::with_reply(parts, viewer, text, Some(CheckAnswer::too_many(seconds))).await?;
    Ok((StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, HeaderValue::from(seconds))], page).into_response())
}

/// Settles a text of which nobody knows whether it left.
pub(super) async fn settle(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Path((_, text)): Path<(String, Id<ThreadText>)>,
    headers: HeaderMap,
    Form(form): Form<Settled>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    parts.source.settle(&viewer, viewer.patient()?, text, form.verdict).await?;
    Ok(back_to("", &viewer, &headers))
}

/// Closes a task as done.
pub(super) async fn close_task(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Path((_, task)): Path<(String, Id<ThreadTask>)>,
    headers: HeaderMap,
    Form(form): Form<Bare>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    parts.source.close_task(&viewer, viewer.patient()?, task).await?;
    Ok(back_to("", &viewer, &headers))
}

/// Ends the session.
pub(super) async fn sign_out(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<Bare>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    parts.sessions.end(&viewer.session, Ending::SignedOut).await?;
    let mut response = signed_out();
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    if let Some(forgotten) = cookie::end_session() {
        response.headers_mut().insert(header::SET_COOKIE, forgotten);
    }
    Ok(response)
}

fn within_limit(text: &str) -> Result<Phi<String>, Failure> {
    if text.chars().count() > LONGEST {
        return Err(Failure::Unprocessable("A text may have 1530 characters. Shorten it, or call.".into()));
    }
    // Forms send line ends as CR LF; on the air each would count twice.
    Ok(Phi::new(text.replace("\r\n", "\n")))
}
