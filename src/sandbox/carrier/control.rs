//! `/sandbox/…`: what the people of the sandbox do and see, and its faults, as JSON over HTTP.
//!
//! No part of the vendor's API. Bodies must be `application/json`, which no page of another site can send unasked.

use super::{
    account::CarrierError,
    exchange::Exchange,
    faults::Fault,
    inbound::{self, Handwriting},
};
use crate::kernel::PhoneNumber;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type Shared = State<Arc<Exchange>>;

/// The routes under `/sandbox`.
pub(super) fn routes() -> Router<Arc<Exchange>> {
    Router::new()
        .route("/phones", get(phones))
        .route("/phones/{number}/text", post(write_text))
        .route("/phones/{number}/messages", get(on_handset))
        .route("/messages", get(messages))
        .route("/opt-outs", get(opt_outs))
        .route("/alerts", get(alerts))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/settled", get(settled))
}

/// A text to be written on a handset.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Writing {
    to: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    media_urls: Vec<String>,
    /// The body as base64 of bytes that need not be UTF-8, in place of `body`.
    raw: Option<String>,
}

impl IntoResponse for CarrierError {
    fn into_response(self) -> Response {
        (StatusCode::NOT_FOUND, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

async fn write_text(
    State(exchange): Shared,
    Path(number): Path<String>,
    Json(writing): Json<Writing>,
) -> Result<Response, Response> {
    let bad_request = |why: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": why }))).into_response();
    let body = match &writing.raw {
        Some(raw) => STANDARD.decode(raw).map_err(|_| bad_request("raw is not base64"))?,
        None => writing.body.into_bytes(),
    };
    let text = Handwriting {
        from: PhoneNumber::parse(&number).map_err(|_| CarrierError::UnknownPhone.into_response())?,
        to: PhoneNumber::parse(&writing.to).map_err(|_| CarrierError::UnknownNumber.into_response())?,
        body,
        media_urls: writing.media_urls,
    };
    // A text that was written goes on its way even where who wrote it does not wait.
    let receiving = exchange.tasks.spawn({
        let exchange = Arc::clone(&exchange);
        async move { inbound::receive(&exchange, text).await }
    });
    let received = receiving.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
    let sid = received.map_err(IntoResponse::into_response)?;
    Ok((StatusCode::CREATED, Json(json!({ "sid": sid }))).into_response())
}

async fn phones(State(exchange): Shared) -> Json<Value> {
    let phone = |phone: &super::account::Phone| {
        json!({
            "name": phone.name,
            "number": phone.number.as_e164(),
            "kind": phone.kind,
            "language": phone.language,
        })
    };
    Json(json!({
        "phones": exchange.phones.iter().map(phone).collect::<Vec<_>>(),
        "numbers": exchange.numbers.iter().map(|number| number.number.as_e164()).collect::<Vec<_>>(),
    }))
}

async fn on_handset(State(exchange): Shared, Path(number): Path<String>) -> Result<Json<Value>, CarrierError> {
    let number = PhoneNumber::parse(&number).map_err(|_| CarrierError::UnknownPhone)?;
    exchange.phone_kind(&number).ok_or(CarrierError::UnknownPhone)?;
    Ok(Json(json!({ "messages": exchange.read(|books| books.on_handset(&number)) })))
}

async fn messages(State(exchange): Shared) -> Json<Value> {
    Json(json!({ "messages": exchange.read(super::ledger::Ledger::all) }))
}

async fn opt_outs(State(exchange): Shared) -> Json<Value> {
    let pairs = exchange.read(super::ledger::Ledger::stopped);
    let entry = |(number, phone): (String, String)| json!({ "number": number, "phone": phone });
    Json(json!({ "opt_outs": pairs.into_iter().map(entry).collect::<Vec<_>>() }))
}

async fn alerts(State(exchange): Shared) -> Json<Value> {
    Json(json!({ "alerts": exchange.read(super::ledger::Ledger::alerts) }))
}

async fn faults(State(exchange): Shared) -> Json<Value> {
    Json(json!({ "faults": exchange.faults.active() }))
}

async fn add_fault(State(exchange): Shared, Json(fault): Json<Fault>) -> (StatusCode, Json<Fault>) {
    exchange.faults.add(fault);
    (StatusCode::CREATED, Json(fault))
}

async fn clear_faults(State(exchange): Shared) -> StatusCode {
    exchange.faults.clear();
    StatusCode::NO_CONTENT
}

/// Answers when no delivery, callback or webhook is under way.
async fn settled(State(exchange): Shared) -> StatusCode {
    exchange.settled().await;
    StatusCode::NO_CONTENT
}
