//! The vendor's REST API: authentication, the faults that strike it, and its resources.

use super::{
    exchange::Exchange,
    faults::{FaultKind, Requests},
    line::Wire,
    list,
    message::{API_VERSION, Message, Status, rfc2822},
    refusal::Refusal,
    send::{self, Form},
};
use crate::sandbox::garbled;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{ConnectInfo, OriginalUri, Path, Query, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};

type Shared = State<Arc<Exchange>>;

/// The routes under `/2010-04-01`.
pub(super) fn routes(exchange: &Arc<Exchange>) -> Router<Arc<Exchange>> {
    let account = Router::new()
        .route("/Messages.json", get(list_messages).post(create))
        .route("/Messages/{file}", get(fetch).post(update).delete(remove))
        .route("/Messages/{message}/Media.json", get(list_media))
        .route("/Messages/{message}/Media/{media}", get(fetch_media))
        .route("/IncomingPhoneNumbers.json", get(list_numbers));
    Router::new()
        .route("/Accounts/{account}", get(fetch_account))
        .nest("/Accounts/{account}", account)
        .fallback(unknown)
        .method_not_allowed_fallback(async || Refusal::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(exchange), authenticate))
        .layer(middleware::from_fn_with_state(Arc::clone(exchange), misbehave))
}

/// Strikes before a request is looked at.
async fn misbehave(
    State(exchange): Shared,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    next: Next,
) -> Response {
    if exchange.faults.is_set(FaultKind::AllDown) {
        wire.cut();
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // A request that has arrived is worked on even where its client does not wait for the answer.
    let (tasks, closing) = (exchange.tasks.clone(), exchange.closing.clone());
    let work = tasks.spawn(async move { closing.run_until_cancelled(respond(&exchange, wire, request, next)).await });
    work.await.ok().flatten().unwrap_or_else(|| Refusal::internal().into_response())
}

async fn respond(exchange: &Exchange, wire: Wire, mut request: Request, next: Next) -> Response {
    let is_send = request.method() == Method::POST && request.uri().path().ends_with("/Messages.json");
    let class = Some(if is_send { Requests::Sends } else { Requests::Reads });
    let faults = &exchange.faults;
    let delay = |kind| if let FaultKind::Delay { millis } = kind { Some(millis) } else { None };
    if let Some(millis) = faults.strike(class, delay) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    let held = |kind| (kind == FaultKind::HeldOnTheWay).then_some(());
    // Before it is seen to be held: the test that sees it may clear at once.
    let cleared = faults.cleared();
    if faults.strike(class, held).is_some() {
        cleared.await;
    }
    let too_many =
        |kind| if let FaultKind::TooManyRequests { retry_after_secs } = kind { Some(retry_after_secs) } else { None };
    if let Some(seconds) = faults.strike(class, too_many) {
        return Refusal::too_many_requests(seconds).into_response();
    }
    let struck = |wanted: FaultKind| faults.strike(class, |kind| (kind == wanted).then_some(())).is_some();
    if struck(FaultKind::ErrorBefore) {
        return Refusal::internal().into_response();
    }
    if struck(FaultKind::PageAnswer) {
        return garbled::page();
    }
    request.extensions_mut().insert(wire);
    let mut response = next.run(request).await;
    if struck(FaultKind::GarbageAnswer) {
        response = garbled::garbage(response);
    }
    if struck(FaultKind::TruncatedAnswer) {
        response = garbled::truncated(response).await;
    }
    if let Ok(id) = HeaderValue::from_str(&exchange.sid("RQ")) {
        response.headers_mut().insert("Twilio-Request-Id", id);
    }
    response
}

/// Lets in who knows the account's token, and nobody on another account's path.
async fn authenticate(State(exchange): Shared, uri: OriginalUri, request: Request, next: Next) -> Response {
    let path = uri.path().split('/').nth(3).unwrap_or_default();
    let account = path.strip_suffix(".json").unwrap_or(path);
    if account != exchange.account_sid || !knows_token(&exchange, request.headers()) {
        return Refusal::authenticate().into_response();
    }
    next.run(request).await
}

fn knows_token(exchange: &Exchange, headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoded = value.strip_prefix("Basic ").or_else(|| value.strip_prefix("basic ")).unwrap_or_default();
    let expected = format!("{}:{}", exchange.account_sid, exchange.auth_token);
    STANDARD
        .decode(encoded.trim())
        .is_ok_and(|given| aws_lc_rs::constant_time::verify_slices_are_equal(&given, expected.as_bytes()).is_ok())
}

async fn unknown(uri: OriginalUri) -> Refusal {
    Refusal::not_found(uri.path())
}

async fn create(State(exchange): Shared, Extension(wire): Extension<Wire>, body: Bytes) -> Result<Response, Refusal> {
    let message = send::create(&exchange, &Form::parse(&body))?;
    let struck = |wanted: FaultKind| {
        exchange.faults.strike(Some(Requests::Sends), |kind| (kind == wanted).then_some(())).is_some()
    };
    if struck(FaultKind::ErrorAfterAccept) {
        return Err(Refusal::internal());
    }
    if struck(FaultKind::AnswerLost) {
        wire.cut();
    }
    Ok((StatusCode::CREATED, Json(message.resource(&exchange.account_sid, true))).into_response())
}

async fn list_messages(State(exchange): Shared, RawQuery(query): RawQuery) -> Result<Json<Value>, Refusal> {
    list::list(&exchange, &query.unwrap_or_default()).map(Json)
}

/// The message that the last part of a path names.
fn named(exchange: &Exchange, file: &str, uri: &OriginalUri) -> Result<Message, Refusal> {
    let sid = file.strip_suffix(".json").unwrap_or(file);
    exchange.read(|books| books.message(sid).cloned()).ok_or_else(|| Refusal::not_found(uri.path()))
}

async fn fetch(
    State(exchange): Shared,
    Path((_, file)): Path<(String, String)>,
    uri: OriginalUri,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(named(&exchange, &file, &uri)?.resource(&exchange.account_sid, false)))
}

/// Redacts a body (`Body=`) or calls a scheduled message off (`Status=canceled`).
async fn update(
    State(exchange): Shared,
    Path((_, file)): Path<(String, String)>,
    uri: OriginalUri,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let form = Form::parse(&body);
    let sid = named(&exchange, &file, &uri)?.sid;
    let now = exchange.now();
    exchange.write(|books| {
        let message = books.message_mut(&sid).ok_or_else(|| Refusal::not_found(uri.path()))?;
        match form.one("Status") {
            Some("canceled") if matches!(message.status, Status::Scheduled | Status::Accepted) => {
                message.status = Status::Canceled;
            }
            Some("canceled") => return Err(Refusal::bad_request(30409, "This message cannot be canceled")),
            Some(_) => return Err(Refusal::bad_request(20001, "Invalid parameter: Status")),
            None => {}
        }
        match form.one("Body") {
            Some("") if message.status.is_final() => message.body.clear(),
            Some("") => return Err(Refusal::not_complete()),
            Some(_) => return Err(Refusal::bad_request(20001, "Invalid parameter: Body")),
            None => {}
        }
        message.updated = now;
        Ok(Json(message.resource(&exchange.account_sid, false)))
    })
}

async fn remove(
    State(exchange): Shared,
    Path((_, file)): Path<(String, String)>,
    uri: OriginalUri,
) -> Result<StatusCode, Refusal> {
    let sid = named(&exchange, &file, &uri)?.sid;
    exchange.write(|books| match books.message_mut(&sid) {
        Some(message) if message.status.is_final() => {
            message.deleted = true;
            Ok(StatusCode::NO_CONTENT)
        }
        Some(_) => Err(Refusal::not_complete()),
        None => Err(Refusal::not_found(uri.path())),
    })
}

async fn list_media(
    State(exchange): Shared,
    Path((_, sid)): Path<(String, String)>,
    uri: OriginalUri,
) -> Result<Json<Value>, Refusal> {
    let message = named(&exchange, &sid, &uri)?;
    let entry = |media: &super::message::Media| {
        json!({
            "sid": media.sid,
            "account_sid": exchange.account_sid,
            "parent_sid": message.sid,
            "content_type": media.content_type(),
            "date_created": rfc2822(message.created),
            "date_updated": rfc2822(message.updated),
            "uri": format!("{}/{}.json", uri.path().trim_end_matches(".json"), media.sid),
        })
    };
    Ok(Json(json!({
        "media_list": message.media.iter().map(entry).collect::<Vec<_>>(),
        "page": 0, "page_size": 50, "start": 0, "end": message.media.len().saturating_sub(1),
        "uri": uri.path(), "first_page_uri": uri.path(), "next_page_uri": null, "previous_page_uri": null,
    })))
}

/// Leads to the file itself, as the vendor's media resource does.
async fn fetch_media(
    State(exchange): Shared,
    Path((_, sid, media)): Path<(String, String, String)>,
    uri: OriginalUri,
) -> Result<Redirect, Refusal> {
    let message = named(&exchange, &sid, &uri)?;
    let found = message.media.iter().find(|candidate| candidate.sid == media);
    found.map(|media| Redirect::temporary(&media.source)).ok_or_else(|| Refusal::not_found(uri.path()))
}

async fn fetch_account(State(exchange): Shared) -> Json<Value> {
    let account = &exchange.account_sid;
    let uri = format!("/{API_VERSION}/Accounts/{account}");
    Json(json!({
        "sid": account,
        "friendly_name": "Sandbox",
        "owner_account_sid": account,
        "status": "active",
        "type": "Full",
        "subresource_uris": {
            "incoming_phone_numbers": format!("{uri}/IncomingPhoneNumbers.json"),
            "messages": format!("{uri}/Messages.json"),
        },
        "uri": format!("{uri}.json"),
    }))
}

async fn list_numbers(
    State(exchange): Shared,
    Query(filter): Query<HashMap<String, String>>,
    uri: OriginalUri,
) -> Json<Value> {
    let wanted = filter.get("PhoneNumber");
    let numbers: Vec<_> = exchange
        .numbers
        .iter()
        .filter(|number| wanted.is_none_or(|wanted| number.number.as_e164().contains(wanted.trim_start_matches('*'))))
        .map(|number| {
            json!({
                "account_sid": exchange.account_sid,
                "phone_number": number.number.as_e164(),
                "friendly_name": number.number.as_e164(),
                "sms_url": number.inbound_webhook,
                "sms_method": "POST",
                "sms_fallback_url": number.fallback_webhook,
                "sms_fallback_method": "POST",
                "capabilities": { "sms": true, "mms": true, "voice": false, "fax": false },
                "status": "in-use",
            })
        })
        .collect();
    Json(json!({
        "incoming_phone_numbers": numbers,
        "page": 0, "page_size": 50, "start": 0, "end": exchange.numbers.len().saturating_sub(1),
        "uri": uri.path(), "first_page_uri": uri.path(), "next_page_uri": null, "previous_page_uri": null,
    }))
}
