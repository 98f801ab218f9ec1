//! The server: connections from their acceptance to their end.
//!
//! `app` hands it a listener and the router. What always holds:
//! - Nobody keeps a connection for ever by doing nothing, by doing it slowly, or by not reading the answer
//!   ([`patience`]); a stream of events may last as long as its session.
//! - There is a largest number of connections, and of those from one source. What comes beyond is closed before a byte
//!   of it is read ([`places`]).
//! - A head has a largest size and a largest number of headers; beyond, the answer is 431.
//! - Requests bear the address of the client and its [`Source`], which trusted proxies alone may tell
//!   ([`client_address`]).
//! - A stop lets the requests in hand finish and closes what is idle.

mod client_address;
mod patience;
mod places;
mod shares;

pub use client_address::{Proxies, Source};
pub(super) use shares::{Share, Shares};

use super::rates::limited;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{Request, Response},
    middleware,
};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use patience::{Patience, Patient, Progress};
use places::{Place, Places};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::ConnectionSettings;

/// How long a client may read nothing of an answer that waits for it.
const ANSWER_STALLS: Duration = Duration::from_secs(30);
/// How long nothing is accepted once the system has no more sockets to give.
const EXHAUSTED: Duration = Duration::from_millis(500);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// How many are held at once; as many again of trusted proxies, so that a flood past a proxy does not shut it out.
    pub at_once: usize,
    /// How many of these one source may hold.
    pub per_source: usize,
    /// The largest head of a request, in bytes. It may have 100 headers.
    pub head: usize,
    /// How long a head may take, from the connection's beginning or from its first byte.
    pub head_time: Duration,
    /// How long a connection may be idle between requests.
    pub idle_time: Duration,
    /// How long a client may read nothing of an answer.
    pub stall_time: Duration,
}

impl From<ConnectionSettings> for ConnectionLimits {
    fn from(settings: ConnectionSettings) -> Self {
        let ConnectionSettings { at_once, per_source, head_limit, head_time, idle_time, .. } = settings;
        Self { at_once, per_source, head: head_limit, head_time, idle_time, stall_time: ANSWER_STALLS }
    }
}

/// Serves `router` on `listener` until `stop`, then finishes what is in hand. HTTP/1.1 only: whatever ends TLS in front
/// speaks it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    proxies: Proxies,
    stop: CancellationToken,
) {
    let router = router.layer(middleware::from_fn_with_state(proxies.clone(), client_address::behind_proxies));
    let places = Places::new(&limits, proxies);
    let mut http = http1::Builder::new();
    // hyper's one limit is for the wait and the head together, and without it hyper does not look at a connection that
    // waits. `Patient` tells the two apart.
    let wait_and_head = limits.idle_time.saturating_add(limits.head_time);
    http.max_header_size(limits.head).timer(TokioTimer::new()).header_read_timeout(wait_and_head);
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        match places.take(peer.ip()) {
            Ok(place) => {
                let connection = Connection { http: http.clone(), router: router.clone(), limits, stop: stop.clone() };
                connections.spawn(connection.serve(stream, peer, place));
            }
            Err(full) => {
                limited(full);
                // Without lingering: a flood must not fill the system's memory with connections that are closing.
                let _ = stream.set_zero_linger();
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client has gone again.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; raise the limit on open files");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// What one connection is served with.
struct Connection {
    http: http1::Builder,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let progress = Progress::new();
        let ConnectionLimits { head_time: head, idle_time: idle, stall_time: stall, .. } = self.limits;
        let stream = Patient::new(stream, Arc::clone(&progress), Patience { head, idle, stall });
        let answers = Answers { router: TowerToHyperService::new(self.router), peer, progress };
        let mut served = pin!(self.http.serve_connection(TokioIo::new(stream), answers));
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        match ended {
            Err(error) if error.is_parse_too_large() => limited("head"),
            // A client that went away, was too slow (counted there), or speaks something else.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Answers the requests of one connection.
struct Answers {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
    progress: Arc<Progress>,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.progress.request_in_hand();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let (answering, progress) = (self.router.call(request), Arc::clone(&self.progress));
        Box::pin(async move { Ok(answering.await?.map(|body| Body::new(Answer { body, progress }))) })
    }
}

/// The body of an answer; once it is through, the connection waits for the next request.
struct Answer {
    body: Body,
    progress: Arc<Progress>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.progress.answered();
    }
}

#[cfg(test)]
mod tests;
