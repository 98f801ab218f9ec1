//! What waits that is not known to be about one patient: whose is this text, and who sees to it?

use super::{
    Parts,
    actions::Bare,
    clinic_time::{day_and_time, since},
    done::back_to,
    layout::{Mark, redacted, urgency},
    session_layer::owned,
    source::{Body, Candidate, ThreadTask, Viewer, WaitingText, WorklistItem, WorklistView},
};
use crate::{
    http::{Failure, page},
    kernel::{Id, Patient, Phi},
};
use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

/// The page.
#[derive(Template)]
#[template(path = "worklist.html", config = "src/http/askama.toml")]
struct WorklistPage<'a> {
    list: WorklistLines<'a>,
    clinic: &'a str,
    staff: &'a str,
    roles: String,
    zone: String,
    /// Whether there is a thread to go back to.
    has_thread: bool,
    seconds_left: i64,
    idle_seconds: i64,
}

/// What changes by itself.
#[derive(Template)]
#[template(path = "worklist_items.html", config = "src/http/askama.toml")]
struct WorklistFragment<'a> {
    list: WorklistLines<'a>,
}

/// The worklist, ready to be printed.
struct WorklistLines<'a> {
    items: Vec<ItemLine<'a>>,
    has_more: bool,
    form_token: &'a str,
    at: String,
}

/// Something that waits, ready to be printed.
struct ItemLine<'a> {
    id: String,
    team: &'static str,
    reason: &'a str,
    urgency: Option<Mark>,
    since: String,
    text: Option<TextLine<'a>>,
}

/// A text, ready to be printed.
struct TextLine<'a> {
    number: &'a str,
    dials: Option<&'a str>,
    when: String,
    instant: String,
    words: Option<&'a str>,
    /// In place of a text that is not shown.
    placeholder: Option<String>,
    media: u32,
    /// What is known of the number, in a sentence.
    about: String,
    candidates: Vec<CandidateLine<'a>>,
}

/// A patient who has the number, ready to be printed.
struct CandidateLine<'a> {
    id: String,
    name: &'a str,
    details: &'a str,
}

impl<'a> WorklistLines<'a> {
    fn of(view: &'a WorklistView, zone: &TimeZone, now: Timestamp, viewer: &'a Viewer) -> Self {
        Self {
            items: view.items.iter().map(|item| item_line(item, zone, now)).collect(),
            has_more: view.has_more,
            form_token: viewer.session.form_token(),
            at: viewer.address(),
        }
    }
}

fn item_line<'a>(item: &'a WorklistItem, zone: &TimeZone, now: Timestamp) -> ItemLine<'a> {
    ItemLine {
        id: item.task.id.to_string(),
        team: item.task.team.name(),
        reason: item.task.reason.as_str(),
        urgency: urgency(item.task.urgency),
        since: since(item.task.since, now),
        text: item.text.as_ref().map(|text| text_line(text, zone, now)),
    }
}

fn text_line<'a>(text: &'a WaitingText, zone: &TimeZone, now: Timestamp) -> TextLine<'a> {
    let when = day_and_time(text.at, now, zone);
    let (words, placeholder) = match &text.body {
        Body::Text(words) => (Some(words.as_str()), None),
        Body::Redacted(scope) => (None, Some(redacted(*scope, &when))),
        Body::ToBeRendered => (None, Some(String::new())),
    };
    TextLine {
        number: text.number.as_str(),
        dials: text.dials.as_ref().map(Phi::as_str),
        words,
        media: text.media,
        about: about_number(text.candidates.len()),
        // Nobody can say whose a text is without having read it.
        candidates: if placeholder.is_none() { text.candidates.iter().map(candidate).collect() } else { Vec::new() },
        placeholder,
        instant: text.at.to_string(),
        when,
    }
}

fn candidate(candidate: &Candidate) -> CandidateLine<'_> {
    CandidateLine {
        id: candidate.patient.to_string(),
        name: candidate.name.as_str(),
        details: candidate.details.as_str(),
    }
}

fn about_number(candidates: usize) -> String {
    match candidates {
        0 => "No patient has this number. Call it. If it is a patient’s, add it in the EHR: then the patient is offered here."
            .to_owned(),
        1 => "One patient has this number now.".to_owned(),
        several => format!("{several} patients have this number."),
    }
}

/// The page.
pub(super) async fn page(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Failure> {
    let session = &viewer.session;
    let view = parts.source.worklist(&viewer).await?;
    let (zone, now) = (parts.source.zone(session.tenant), parts.instruments.now());
    let roles: Vec<&str> = session.roles.iter().map(crate::access::Role::name).collect();
    page::rendered(&WorklistPage {
        list: WorklistLines::of(&view, &zone, now, &viewer),
        clinic: &view.clinic,
        staff: session.name.as_str(),
        roles: roles.join(", "),
        zone: now.to_zoned(zone.clone()).strftime("%Z").to_string(),
        has_thread: session.patient.is_some(),
        seconds_left: session.ends_at.duration_since(now).as_secs(),
        idle_seconds: session.idle.duration().as_secs(),
    })
}

/// What changes by itself, for the script.
pub(super) async fn fragment(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Failure> {
    let view = parts.source.worklist(&viewer).await?;
    let zone = parts.source.zone(viewer.session.tenant);
    page::rendered(&WorklistFragment { list: WorklistLines::of(&view, &zone, parts.instruments.now(), &viewer) })
}

/// Whose a text is.
#[derive(Deserialize)]
pub(super) struct Theirs {
    form_token: String,
    patient: Id<Patient>,
}

/// Says whose a text is.
pub(super) async fn assign(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Path((_, task)): Path<(String, Id<ThreadTask>)>,
    headers: HeaderMap,
    Form(form): Form<Theirs>,
) -> Result<Response, Failure> {
    owned(&viewer.session, &form.form_token)?;
    parts.source.assign(&viewer, task, form.patient).await?;
    Ok(back_to("/worklist", &viewer, &headers))
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
    parts.source.close_waiting(&viewer, task).await?;
    Ok(back_to("/worklist", &viewer, &headers))
}
