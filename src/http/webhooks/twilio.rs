//! `POST /carriers/twilio/{tenant}/{inbound|status}`.
//!
//! A forged request is answered 403, nothing of it is stored or logged, and refusals are audited by source and minute. A
//! source that forges again and again is answered 429. What the carrier signed is never limited: the addresses of a
//! carrier are shared, and a text may be an emergency.
//! Whatever a genuine request holds, Twilio gets a 2xx once it is durable and never a 5xx for its content: Twilio
//! repeats what fails, and shows a patient nothing of what we answer.

use crate::{
    audit::CoalescedRefusals,
    carrier::{
        AuthToken,
        twilio::{WebhookBody, parse_inbound, parse_status, verify},
    },
    http::{Failure, Rates, server::Source, source_address},
    kernel::Id,
    messaging::{Attempt, Delivery, Inbox, MessagingError},
    practice::{Practice, Practices},
};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{ConnectInfo, OriginalUri, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

const CARRIER: &str = "twilio";

/// What one tenant's webhooks are verified with.
#[derive(Clone)]
pub struct TwilioTenant {
    /// The primary auth token and, while it is being replaced, the secondary.
    pub tokens: Vec<AuthToken>,
}

/// What the webhooks work with.
#[derive(Clone)]
pub struct TwilioWebhooks {
    /// Whose webhooks.
    pub practices: Arc<Practices>,
    /// How they are verified, by the tenant's name in URLs.
    pub tenants: Arc<HashMap<String, TwilioTenant>>,
    /// Takes inbound texts.
    pub inbox: Inbox,
    /// Takes status reports.
    pub delivery: Delivery,
    /// Counts what was refused.
    pub refusals: Arc<CoalescedRefusals>,
    /// Limits what was refused.
    pub rates: Arc<Rates>,
}

/// The routes.
pub fn routes(webhooks: TwilioWebhooks) -> Router {
    Router::new()
        .route("/carriers/twilio/{tenant}/inbound", post(inbound))
        .route("/carriers/twilio/{tenant}/status", post(status))
        .with_state(webhooks)
}

/// A request whose signature holds.
struct Verified {
    practice: Arc<Practice>,
}

/// The parts of a request that its signature covers.
struct Signed<'a> {
    tenant: &'a str,
    uri: &'a axum::http::Uri,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    address: IpAddr,
    source: Option<Source>,
}

impl TwilioWebhooks {
    fn verified(&self, request: &Signed<'_>) -> Result<Verified, Failure> {
        let (Some(practice), Some(tenant)) = (self.practices.by_slug(request.tenant), self.tenants.get(request.tenant))
        else {
            return Err(Failure::NotFound);
        };
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        let external = format!("{}{path}", practice.public_url.as_str().trim_end_matches('/'));
        let signature = request.headers.get("x-twilio-signature").and_then(|value| value.to_str().ok());
        if verify(&tenant.tokens, signature, &external, body_of(request.headers, request.body)).is_ok() {
            return Ok(Verified { practice });
        }
        metrics::counter!("chartwire_webhook_refusals_total", "carrier" => CARRIER).increment(1);
        self.refusals.note(practice.tenant, CARRIER, "forged-signature", request.address);
        self.rates.refused("forged-webhook", request.source)?;
        Err(Failure::Forbidden("the signature does not hold"))
    }
}

fn body_of<'a>(headers: &HeaderMap, body: &'a Bytes) -> WebhookBody<'a> {
    WebhookBody::of(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()), body)
}

async fn inbound(
    State(webhooks): State<TwilioWebhooks>,
    Path(tenant): Path<String>,
    OriginalUri(uri): OriginalUri,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let (address, source) = (source_address(connection), source.map(|Extension(source)| source));
    let request = Signed { tenant: &tenant, uri: &uri, headers: &headers, body: &body, address, source };
    let Verified { practice } = webhooks.verified(&request)?;
    let Ok(text) = parse_inbound(body_of(&headers, &body)) else { return Ok(unreadable("inbound")) };
    match webhooks.inbox.accept(&practice, CARRIER, &text).await {
        Ok(_) => Ok(empty_twiml()),
        Err(MessagingError::NotOurNumber) => {
            webhooks.refusals.note(practice.tenant, CARRIER, "not-our-number", request.address);
            Err(Failure::Forbidden("the receiving number is not one of this practice's numbers"))
        }
        Err(error) => Err(Failure::of(&error, true)),
    }
}

async fn status(
    State(webhooks): State<TwilioWebhooks>,
    Path(tenant): Path<String>,
    OriginalUri(uri): OriginalUri,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let (address, source) = (source_address(connection), source.map(|Extension(source)| source));
    let request = Signed { tenant: &tenant, uri: &uri, headers: &headers, body: &body, address, source };
    let Verified { practice } = webhooks.verified(&request)?;
    let (Ok(report), Some(attempt)) = (parse_status(body_of(&headers, &body)), attempt_of(&uri)) else {
        return Ok(unreadable("status"));
    };
    match webhooks.delivery.told(practice.tenant, CARRIER, attempt, &report).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Err(Failure::of(&error, true)),
    }
}

/// The attempt that the callback URL names; it is inside the signature (law 4).
fn attempt_of(uri: &axum::http::Uri) -> Option<Id<Attempt>> {
    url::form_urlencoded::parse(uri.query()?.as_bytes())
        .find_map(|(name, value)| (name == "attempt").then(|| value.parse().ok()).flatten())
}

/// Genuine, but nothing in it names a text: asking Twilio to repeat it would not help.
fn unreadable(kind: &'static str) -> Response {
    tracing::warn!(kind, "a genuine webhook names no text");
    metrics::counter!("chartwire_webhook_unreadable_total", "carrier" => CARRIER, "kind" => kind).increment(1);
    StatusCode::NO_CONTENT.into_response()
}

/// An empty answer: Twilio sends the patient nothing.
fn empty_twiml() -> Response {
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>")
        .into_response()
}
