//! The EHR's home page: who is signed in, and the clinic's calendar.

use super::super::authorization::Choice;
use super::super::clinic::NAME;
use super::view::Visit;
use super::{DeskError, FrontEnd, rendered};
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct Asked {
    practitioner: Option<String>,
}

struct Day {
    name: String,
    visits: Vec<Visit>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ clinic }} · Sandbox EHR</title><link rel="stylesheet" href="/ehr.css"><link rel="icon" href="data:,"></head>
<body>
<header class="bar"><strong>{{ clinic }}</strong><span class="quiet">Sandbox EHR: nobody here exists</span>
<form method="get" action="/" class="inline"><label for="practitioner">Signed in as</label>
<select id="practitioner" name="practitioner">
{% for person in people %}<option value="{{ person.id }}"{% if person.id == signed_in %} selected{% endif %}>{{ person.label }}</option>{% endfor %}
</select> <button type="submit" class="quiet">Change</button></form></header>
<main class="columns">
<section aria-labelledby="calendar"><h1 id="calendar">Calendar</h1>
{% for day in days %}
<h2>{{ day.name }}</h2>
<table><thead><tr><th scope="col">Time</th><th scope="col">Patient</th><th scope="col">With</th><th scope="col">State</th></tr></thead>
<tbody>{% for visit in day.visits %}
<tr><td class="time">{{ visit.time }}</td>
<td><a href="/ehr?patient={{ visit.patient }}&amp;practitioner={{ signed_in }}&amp;appointment={{ visit.id }}">{{ visit.patient_name }}</a></td>
<td>{{ visit.doctor_name }}</td><td><span class="state {{ visit.status }}">{{ visit.status }}</span>{% if visit.is_confirmed %} <span class="state">confirmed</span>{% endif %}</td></tr>
{% endfor %}</tbody></table>
{% else %}<p>The calendar is empty.</p>{% endfor %}
</section>
<section aria-labelledby="patients"><h1 id="patients">Patients</h1>
<ul class="people">{% for person in patients %}
<li><a href="/ehr?patient={{ person.id }}&amp;practitioner={{ signed_in }}">{{ person.label }}</a></li>{% endfor %}
</ul></section>
</main></body></html>"#
)]
struct HomePage<'a> {
    clinic: &'a str,
    signed_in: &'a str,
    people: &'a [Choice],
    patients: &'a [Choice],
    days: Vec<Day>,
}

pub(super) async fn page(
    State(front): State<Arc<FrontEnd>>,
    Query(asked): Query<Asked>,
) -> Result<Response, DeskError> {
    let now = front.instruments.now();
    let from = now.to_zoned(front.zone.clone()).start_of_day().map_or(now, |start| start.timestamp());
    let from = format!("ge{from}");
    let appointments = front.desk.search("Appointment", &[("date", &from), ("_count", "200")]).await?;
    let mut visits: Vec<Visit> = appointments.iter().filter_map(|one| Visit::of(one, now, &front.zone)).collect();
    visits.sort_by_key(|visit| visit.start);
    let mut days: Vec<Day> = Vec::new();
    for visit in visits {
        match days.last_mut() {
            Some(day) if day.name == visit.day => day.visits.push(visit),
            _ => days.push(Day { name: visit.day.clone(), visits: vec![visit] }),
        }
    }
    let directory = front.authorization.directory();
    let first = directory.practitioners.first().map(|person| person.id.as_str()).unwrap_or_default();
    Ok(rendered(&HomePage {
        clinic: NAME,
        signed_in: asked.practitioner.as_deref().unwrap_or(first),
        people: &directory.practitioners,
        patients: &directory.patients,
        days,
    }))
}
