//! A patient's chart: banner, visits with what the front desk may do, and the launched application beside them.

use super::super::authorization::LaunchContext;
use super::super::clinic::NAME;
use super::super::fhir_server::element::text_at;
use super::view::{Banner, Duty, FreeSlot, Message, Visit};
use super::{DeskError, FrontEnd, rendered};
use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::{Redirect, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whose chart is open, and who has opened it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Opened {
    patient: String,
    practitioner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    appointment: Option<String>,
    #[serde(default, skip_serializing)]
    slot: Option<String>,
    /// Given when only the record is wanted, not a launch beside it.
    #[serde(default, skip_serializing)]
    only: Option<String>,
}

impl Opened {
    /// Back to the chart after a form was sent.
    fn again(&self) -> Redirect {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("patient", &self.patient).append_pair("practitioner", &self.practitioner);
        if let Some(appointment) = &self.appointment {
            query.append_pair("appointment", appointment);
        }
        Redirect::to(&format!("/ehr?{}", query.finish()))
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ banner.name }} · Sandbox EHR</title><link rel="stylesheet" href="/ehr.css"><link rel="icon" href="data:,"></head>
<body class="chart">
<header class="bar"><a href="/?practitioner={{ practitioner }}">{{ clinic }}</a><span class="quiet">{{ signed_in }}</span></header>
<header class="banner"><h1>{{ banner.name }}</h1>
<dl><div><dt>Sex</dt><dd>{{ banner.gender }}</dd></div><div><dt>Born</dt><dd>{{ banner.born }}</dd></div>
<div><dt>MRN</dt><dd>{{ banner.record_number }}</dd></div><div><dt>Phone</dt><dd>{% if banner.phone.is_empty() %}none{% else %}{{ banner.phone }}{% endif %}</dd></div>
<div><dt>Language</dt><dd>{{ banner.language }}</dd></div></dl></header>
<main class="with-sidebar">
<div class="record">
<section aria-labelledby="visits"><h2 id="visits">Visits</h2>
{% for visit in visits %}
<article class="card"><h3>{{ visit.day }}, {{ visit.time }}</h3>
<p>{{ visit.doctor_name }} · <span class="state {{ visit.status }}">{{ visit.status }}</span>{% if visit.is_confirmed %} <span class="state">confirmed</span>{% endif %}</p>
{% if visit.is_open %}
<form method="post" action="/ehr/appointments/{{ visit.id }}/move" class="inline">
<input type="hidden" name="patient" value="{{ banner.id }}"><input type="hidden" name="practitioner" value="{{ practitioner }}">
<label for="move-{{ visit.id }}">Move to</label>
<select id="move-{{ visit.id }}" name="slot">{% for slot in free %}<option value="{{ slot.id }}">{{ slot.label }}</option>{% endfor %}</select>
<button type="submit">Move</button></form>
<form method="post" action="/ehr/appointments/{{ visit.id }}/cancel" class="inline">
<input type="hidden" name="patient" value="{{ banner.id }}"><input type="hidden" name="practitioner" value="{{ practitioner }}">
<button type="submit" class="quiet">Cancel this visit</button></form>
{% endif %}</article>
{% else %}<p>No visits.</p>{% endfor %}
</section>
<section aria-labelledby="book"><h2 id="book">Book a visit</h2>
<form method="post" action="/ehr/appointments" class="card inline">
<input type="hidden" name="patient" value="{{ banner.id }}"><input type="hidden" name="practitioner" value="{{ practitioner }}">
<label for="slot">Time</label>
<select id="slot" name="slot">{% for slot in free %}<option value="{{ slot.id }}">{{ slot.label }}</option>{% endfor %}</select>
<button type="submit">Book</button></form></section>
<section aria-labelledby="problems"><h2 id="problems">Problems and medications</h2>
<ul>{% for line in problems %}<li>{{ line }}</li>{% endfor %}{% for line in medications %}<li>{{ line }}</li>{% endfor %}</ul>
{% if problems.is_empty() && medications.is_empty() %}<p>None on record.</p>{% endif %}</section>
<section aria-labelledby="filed"><h2 id="filed">Messages in the chart</h2>
{% for message in messages %}<article class="card"><p class="quiet">{{ message.when }} · {{ message.direction }} · {{ message.status }}</p><p>{{ message.text }}</p></article>
{% else %}<p>None yet.</p>{% endfor %}</section>
<section aria-labelledby="tasks"><h2 id="tasks">Tasks</h2>
{% for task in tasks %}<article class="card"><p>{{ task.text }} · <span class="state">{{ task.status }}</span></p></article>
{% else %}<p>None.</p>{% endfor %}</section>
</div>
<aside aria-label="Application">{% if launch_url.is_empty() %}<p class="card">No application is registered.</p>{% else %}
<iframe title="Application" src="{{ launch_url }}"></iframe>{% endif %}</aside>
</main><script src="/ehr.js" type="module"></script></body></html>"#
)]
struct ChartPage<'a> {
    clinic: &'a str,
    practitioner: &'a str,
    signed_in: &'a str,
    banner: Banner,
    visits: Vec<Visit>,
    free: Vec<FreeSlot>,
    problems: Vec<String>,
    medications: Vec<String>,
    messages: Vec<Message>,
    tasks: Vec<Duty>,
    launch_url: String,
}

pub(super) async fn page(
    State(front): State<Arc<FrontEnd>>,
    Query(opened): Query<Opened>,
) -> Result<Response, DeskError> {
    let (desk, zone, now) = (&front.desk, &front.zone, front.instruments.now());
    let patient = desk.read(&format!("Patient/{}", opened.patient)).await?;
    let of_patient = [("patient", opened.patient.as_str())];
    let appointments = desk.search("Appointment", &of_patient).await?;
    let mut visits: Vec<Visit> = appointments.iter().filter_map(|one| Visit::of(one, now, zone)).collect();
    visits.sort_by_key(|visit| visit.start);
    let lines = |resources: Vec<serde_json::Value>, path: &str| {
        resources.iter().filter_map(|one| text_at(one, path)).map(str::to_owned).collect::<Vec<_>>()
    };
    let problems = lines(desk.search("Condition", &of_patient).await?, "code.text");
    let medications = desk.search("MedicationRequest", &of_patient).await?;
    let communications = desk.search("Communication", &of_patient).await?;
    let mut messages: Vec<Message> = communications.iter().map(|one| Message::of(one, zone)).collect();
    messages.sort_by_key(|message| message.at);
    let tasks = desk.search("Task", &of_patient).await?.iter().map(Duty::of).collect();
    let people = &front.authorization.directory().practitioners;
    let signed_in = people.iter().find(|person| person.id == opened.practitioner);
    let context = LaunchContext {
        practitioner: opened.practitioner.clone(),
        patient: opened.patient.clone(),
        encounter: None,
        appointment: opened.appointment.clone(),
    };
    // The page asks for its record again and again; only a person who opens it launches the application.
    let launch = if opened.only.is_some() { None } else { front.authorization.launch(context, None) };
    Ok(rendered(&ChartPage {
        clinic: NAME,
        practitioner: &opened.practitioner,
        signed_in: signed_in.map(|person| person.label.as_str()).unwrap_or_default(),
        banner: Banner::of(&patient),
        visits,
        free: free_slots(&front).await?,
        problems,
        medications: lines(medications, "medicationCodeableConcept.text"),
        messages,
        tasks,
        launch_url: launch.map(|launch| launch.launch_url.to_string()).unwrap_or_default(),
    }))
}

async fn free_slots(front: &FrontEnd) -> Result<Vec<FreeSlot>, DeskError> {
    let from = format!("gt{}", front.instruments.now());
    let query = [("status", "free"), ("start", from.as_str()), ("_count", "200")];
    let mut slots = front.desk.search("Slot", &query).await?;
    slots.sort_by_key(|slot| text_at(slot, "start").map(str::to_owned));
    let schedules = front.desk.search("Schedule", &[("_count", "50")]).await?;
    Ok(slots.iter().filter_map(|slot| FreeSlot::of(slot, &schedules, &front.zone)).collect())
}

pub(super) async fn move_appointment(
    State(front): State<Arc<FrontEnd>>,
    Path(id): Path<String>,
    Form(opened): Form<Opened>,
) -> Result<Redirect, DeskError> {
    let slot = opened.slot.as_deref().ok_or(DeskError::Incomplete("slot"))?;
    front.desk.move_appointment(&id, slot).await?;
    Ok(opened.again())
}

pub(super) async fn cancel(
    State(front): State<Arc<FrontEnd>>,
    Path(id): Path<String>,
    Form(opened): Form<Opened>,
) -> Result<Redirect, DeskError> {
    front.desk.cancel_appointment(&id).await?;
    Ok(opened.again())
}

pub(super) async fn book(
    State(front): State<Arc<FrontEnd>>,
    Form(opened): Form<Opened>,
) -> Result<Redirect, DeskError> {
    let slot = opened.slot.as_deref().ok_or(DeskError::Incomplete("slot"))?;
    front.desk.book_appointment(&opened.patient, slot).await?;
    Ok(opened.again())
}
