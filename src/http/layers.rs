//! Request ids, the trace of each request, how many are let in at once, and the answer to a panic.

use super::Failure;
use crate::{
    audit::Request,
    kernel::{Id, Instruments},
};
use axum::{
    Extension,
    extract::{self, ConnectInfo, MatchedPath, State},
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// The header that carries a request's id back.
const REQUEST_ID: &str = "x-request-id";

/// The id of the request at hand: in its log lines, in its audit rows, in the answer's `x-request-id`.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub Id<Request>);

/// Gives every request an id of ours. What a client sends under that name is not looked at: it would be a way to write
/// into our logs.
pub(super) async fn numbered(
    State(instruments): State<Instruments>,
    mut request: extract::Request,
    next: Next,
) -> Response {
    let id: Id<Request> = instruments.new_id();
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Where a request comes from; unknown where the server does not tell.
pub(super) fn source_address(connection: Option<Extension<ConnectInfo<SocketAddr>>>) -> IpAddr {
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(ConnectInfo(address))| address.ip())
}

/// Logs and counts each request by method, route pattern and status: never the path itself, which may hold tokens, nor
/// the query string, which may hold codes.
pub(super) async fn traced(request: extract::Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| tracing::field::display(id.0));
    let method = request.method().clone();
    // Paths that no route matches come from outside as they are: they stay outside.
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", |path| path.as_str()).to_owned();
    let span = tracing::info_span!("http", request = id, method = %method, route = %route);
    let began = tokio::time::Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), began.elapsed());
    span.in_scope(|| tracing::info!(status = status.as_u16(), millis = took.as_millis(), "answered"));
    let labels = [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("chartwire_http_requests_total", &labels).increment(1);
    metrics::histogram!("chartwire_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    response
}

/// Lets as many requests of a section in as there are places; the others are refused at once. A place is free again when
/// the answer begins: what a stream of events goes on with is not work in hand.
pub(super) async fn admitted(
    State(places): State<Arc<Semaphore>>,
    request: extract::Request,
    next: Next,
) -> Result<Response, Failure> {
    let Ok(_place) = places.try_acquire() else {
        metrics::counter!("chartwire_http_turned_away_total").increment(1);
        return Err(Failure::Unavailable);
    };
    Ok(next.run(request).await)
}

/// The answer to a panic. Its message is not looked at: it may repeat what was being worked on.
pub(super) fn answer_to_panic(_panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked; its span names the route");
    metrics::counter!("chartwire_http_panics_total").increment(1);
    Failure::Internal.into_response()
}
