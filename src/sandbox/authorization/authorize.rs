//! The authorization endpoint and the page on which a person chooses who signs in, and about whom.

use super::grants::{CheckedRequest, LaunchContext};
use super::scopes::ScopeSet;
use super::{Authorization, Choice};
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Form, RawQuery, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

type Parameters = BTreeMap<String, String>;

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Sandbox EHR</title><link rel="stylesheet" href="/ehr.css"></head>
<body class="narrow"><main class="card">
<h1>Sign in</h1>
<p><strong>{{ client_id }}</strong> asks to open with your account.</p>
<form method="post" action="/auth/decision">
<input type="hidden" name="request" value="{{ request }}">
<label for="practitioner">You are</label>
<select id="practitioner" name="practitioner">
{% for person in practitioners %}<option value="{{ person.id }}">{{ person.label }}</option>{% endfor %}
</select>
<label for="patient">The patient in front of you</label>
<select id="patient" name="patient">
{% for person in patients %}<option value="{{ person.id }}">{{ person.label }}</option>{% endfor %}
</select>
<details><summary>What it may do</summary><p class="scopes">{{ scopes }}</p></details>
<p class="actions"><button type="submit" name="choice" value="allow">Continue</button>
<button type="submit" name="choice" value="deny" class="quiet">Refuse</button></p>
</form></main></body></html>"#
)]
struct PickerPage<'a> {
    client_id: &'a str,
    request: &'a str,
    scopes: &'a str,
    practitioners: &'a [Choice],
    patients: &'a [Choice],
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not signed in · Sandbox EHR</title><link rel="stylesheet" href="/ehr.css"></head>
<body class="narrow"><main class="card"><h1>This application cannot be opened</h1><p>{{ reason }}</p></main></body></html>"#
)]
struct RefusalPage<'a> {
    reason: &'a str,
}

/// Why an authorization request is refused.
enum Refusal {
    /// The client or its redirect URI is not to be trusted: the person is told, nobody is redirected.
    Shown(&'static str),
    /// The client is told (RFC 6749 section 4.1.2.1).
    Sent { redirect_uri: Box<Url>, state: String, error: &'static str, description: &'static str },
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Shown(reason) => page(StatusCode::BAD_REQUEST, &RefusalPage { reason }),
            Self::Sent { redirect_uri, state, error, description } => {
                let pairs = [("error", error), ("error_description", description), ("state", &state)];
                send_back(*redirect_uri, &pairs)
            }
        }
    }
}

fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn send_back(mut redirect_uri: Url, pairs: &[(&str, &str)]) -> Response {
    redirect_uri.query_pairs_mut().extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    Redirect::to(redirect_uri.as_str()).into_response()
}

fn parameters(encoded: &[u8]) -> Parameters {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

pub(super) async fn by_query(State(server): State<Arc<Authorization>>, RawQuery(query): RawQuery) -> Response {
    server.authorize(&parameters(query.unwrap_or_default().as_bytes()))
}

pub(super) async fn by_form(State(server): State<Arc<Authorization>>, body: Bytes) -> Response {
    server.authorize(&parameters(&body))
}

#[derive(Deserialize)]
pub(super) struct Decision {
    request: String,
    practitioner: String,
    patient: String,
    choice: String,
}

/// The picker's answer.
pub(super) async fn decide(State(server): State<Arc<Authorization>>, Form(decision): Form<Decision>) -> Response {
    let Some(request) = server.grants.take_decided(&decision.request) else {
        return Refusal::Shown("This page was used already or is too old. Open the application again.").into_response();
    };
    let known = |choices: &[Choice], id: &str| choices.iter().any(|choice| choice.id == id);
    let are_known = known(&server.directory.practitioners, &decision.practitioner)
        && known(&server.directory.patients, &decision.patient);
    if decision.choice == "allow" && are_known {
        let context = LaunchContext {
            practitioner: decision.practitioner,
            patient: decision.patient,
            encounter: None,
            appointment: None,
        };
        return server.send_code(request, context);
    }
    let Ok(redirect_uri) = Url::parse(&request.redirect_uri) else { return StatusCode::BAD_REQUEST.into_response() };
    let description = "the person refused";
    let redirect_uri = Box::new(redirect_uri);
    Refusal::Sent { redirect_uri, state: request.state, error: "access_denied", description }.into_response()
}

impl Authorization {
    fn authorize(&self, parameters: &Parameters) -> Response {
        match self.check(parameters) {
            Err(refusal) => refusal.into_response(),
            Ok((request, Some(context))) => self.send_code(request, context),
            Ok((request, None)) => {
                let (client_id, scopes) = (request.client_id.clone(), request.scopes.to_string());
                let key = self.grants.await_decision(request);
                let picker = PickerPage {
                    client_id: &client_id,
                    request: &key,
                    scopes: &scopes,
                    practitioners: &self.directory.practitioners,
                    patients: &self.directory.patients,
                };
                page(StatusCode::OK, &picker)
            }
        }
    }

    fn send_code(&self, request: CheckedRequest, context: LaunchContext) -> Response {
        let Ok(redirect_uri) = Url::parse(&request.redirect_uri) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let state = request.state.clone();
        let code = self.grants.new_code(request, context);
        send_back(redirect_uri, &[("code", &code), ("state", &state)])
    }

    /// Checks a request; with an EHR launch, its context comes along.
    fn check(&self, parameters: &Parameters) -> Result<(CheckedRequest, Option<LaunchContext>), Refusal> {
        let get = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        let client = self.client(get("client_id"));
        let client = client.ok_or(Refusal::Shown("The application is not registered with this EHR."))?;
        let redirect_uri = client
            .redirect_uris()
            .iter()
            .find(|uri| uri.as_str() == get("redirect_uri"))
            .ok_or(Refusal::Shown("The application asked to be sent to an address that is not registered."))?;
        let refuse = |error, description| Refusal::Sent {
            redirect_uri: Box::new(redirect_uri.clone()),
            state: get("state").to_owned(),
            error,
            description,
        };
        if get("response_type") != "code" {
            return Err(refuse("unsupported_response_type", "response_type is code"));
        }
        if get("aud").trim_end_matches('/') != self.fhir_base {
            return Err(refuse("invalid_request", "aud is not this EHR's FHIR base URL"));
        }
        if get("state").is_empty() {
            return Err(refuse("invalid_request", "state is required"));
        }
        // An S256 challenge is 32 bytes in base64url (RFC 7636 section 4.2).
        if get("code_challenge_method") != "S256" || get("code_challenge").len() != 43 {
            return Err(refuse("invalid_request", "PKCE with S256 is required"));
        }
        let scopes = client.scopes().covered(&ScopeSet::read(get("scope")));
        if scopes.is_empty() {
            return Err(refuse("invalid_scope", "none of these scopes may be granted to this client"));
        }
        let context = match parameters.get("launch") {
            Some(launch) => Some(
                self.grants.launch(launch).ok_or_else(|| refuse("invalid_request", "the launch is unknown or old"))?,
            ),
            None if scopes.holds("launch") => return Err(refuse("invalid_request", "launch is required")),
            None => None,
        };
        let request = CheckedRequest {
            client_id: client.client_id().to_owned(),
            redirect_uri: redirect_uri.to_string(),
            state: get("state").to_owned(),
            code_challenge: get("code_challenge").to_owned(),
            scopes,
            nonce: parameters.get("nonce").cloned(),
        };
        Ok((request, context))
    }
}
