//! The EHR's own pages: a home page with the clinic's calendar, and a patient's chart with the launched application
//! in its sidebar.
//!
//! Owns no data: everything is read and written over FHIR ([`Desk`]), as a real EHR's front end does.

mod chart;
mod desk;
mod home;
mod view;

pub(super) use desk::Desk;

use super::authorization::Authorization;
use crate::kernel::Instruments;
use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use desk::DeskError;
use http::{StatusCode, header};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// What the pages work with.
struct FrontEnd {
    desk: Desk,
    authorization: Arc<Authorization>,
    instruments: Instruments,
    zone: TimeZone,
}

/// The pages' routes.
pub(super) fn routes(
    desk: Desk,
    authorization: Arc<Authorization>,
    instruments: Instruments,
    zone: TimeZone,
) -> Router {
    let stylesheet = async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("ehr.css"));
    let script = async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("ehr.js"));
    Router::new()
        .route("/", get(home::page))
        .route("/ehr", get(chart::page))
        .route("/ehr/appointments", post(chart::book))
        .route("/ehr/appointments/{id}/move", post(chart::move_appointment))
        .route("/ehr/appointments/{id}/cancel", post(chart::cancel))
        .route("/ehr.css", get(stylesheet))
        .route("/ehr.js", get(script))
        .with_state(Arc::new(FrontEnd { desk, authorization, instruments, zone }))
}

fn rendered(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not done · Sandbox EHR</title><link rel="stylesheet" href="/ehr.css"><link rel="icon" href="data:,"></head>
<body class="narrow"><main class="card"><h1>That was not done</h1><p>{{ reason }}.</p>
<p><a href="/">Back to the calendar</a></p></main></body></html>"#
)]
struct FailurePage {
    reason: String,
}

impl IntoResponse for DeskError {
    fn into_response(self) -> Response {
        let page = FailurePage { reason: self.to_string() };
        (StatusCode::BAD_GATEWAY, rendered(&page)).into_response()
    }
}
