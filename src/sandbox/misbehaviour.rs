//! Misbehaviour on request: delays, refusals, answers lost after the work was done.
//!
//! Owns the fault rules of one peer. The peer lays [`Misbehaviour::over`] over the routes that may misbehave and
//! mounts [`Misbehaviour::control_routes`] beside them, so that faults can be ordered over HTTP as well as by the
//! handle. Which request is hit depends on the rules, their order and the seed alone.

use super::{garbled, server::Line};
use crate::kernel::{Entropy, SeededEntropy, entropy};
use axum::Router;
use axum::extract::{ConnectInfo, Json, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Answers correctly, but late.
    Delay {
        /// How late, in milliseconds.
        millis: u64,
    },
    /// The work is done at once, and answered so late.
    Late {
        /// How late, in milliseconds.
        millis: u64,
    },
    /// 429 with `Retry-After`; nothing is done.
    TooManyRequests {
        /// The value of `Retry-After`, in seconds.
        retry_after_seconds: u64,
    },
    /// 500 before anything is done.
    ErrorBefore,
    /// The work is done, the answer is a 500.
    ErrorAfter,
    /// The connection breaks before anything is done.
    Refuse,
    /// The work is done, then the connection breaks: the caller never learns.
    LoseAnswer,
    /// 401 as if the caller's token had expired; nothing is done.
    Unauthorized,
    /// 403 as if the caller's scopes did not cover it; nothing is done.
    Forbidden,
    /// 503; nothing is done. With no limit this is a peer that is down.
    Unavailable,
    /// The work is done, the answer holds bytes that mean nothing.
    Garbage,
    /// 200 with a page for people, as from a proxy in front; nothing is done.
    Page,
    /// The work is done, the answer's body ends in its middle.
    Truncated,
}

/// Which requests a fault hits. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// Only requests with this method, such as `POST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests whose path starts so, such as `/fhir/Communication`. Empty means every path.
    #[serde(default)]
    pub path_prefix: String,
    /// Lets this many matching requests through first.
    #[serde(default)]
    pub skip: u32,
    /// Hits this many requests, then retires. None: until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Hits this share of the matching requests, drawn by the seed. None: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

impl FaultRule {
    /// `fault` on every request.
    #[must_use]
    pub const fn always(fault: Fault) -> Self {
        Self { fault, method: None, path_prefix: String::new(), skip: 0, times: None, percent: None }
    }

    /// `fault` on the next request with this method and path prefix, once.
    #[must_use]
    pub fn once(fault: Fault, method: &str, path_prefix: &str) -> Self {
        Self { times: Some(1), ..Self::on(fault, method, path_prefix) }
    }

    /// `fault` on every request with this method and path prefix.
    #[must_use]
    pub fn on(fault: Fault, method: &str, path_prefix: &str) -> Self {
        Self { method: Some(method.to_owned()), path_prefix: path_prefix.to_owned(), ..Self::always(fault) }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.times != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.starts_with(&self.path_prefix)
    }
}

/// The body of `POST /sandbox/misbehave`: the rules are added to those in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// The rules, first match wins.
    pub rules: Vec<FaultRule>,
    /// Restarts the draw of `percent` rules from this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

struct Orders {
    rules: Vec<FaultRule>,
    draw: SeededEntropy,
    held: Vec<Door>,
}

/// Where the next matching request waits.
struct Door {
    method: String,
    path_prefix: String,
    reached: oneshot::Sender<()>,
    opened: oneshot::Receiver<()>,
}

/// A request that waits before anything is done, so that others come first for certain. Dropping it lets it go on.
pub struct HeldRequest {
    reached: oneshot::Receiver<()>,
    open: oneshot::Sender<()>,
}

impl HeldRequest {
    /// Waits until the request has come and stands waiting; gives what lets it go on.
    ///
    /// # Errors
    /// [`HeldRequestGone`] when the peer has stopped or was told to behave again before the request came.
    pub async fn reached(self) -> Result<oneshot::Sender<()>, HeldRequestGone> {
        self.reached.await.map_err(|_| HeldRequestGone)?;
        Ok(self.open)
    }
}

/// The request that was to be held will not come.
#[derive(Debug, thiserror::Error)]
#[error("the peer holds no request any more: order it again")]
pub struct HeldRequestGone;

/// The fault rules of one peer. A clone is another handle on the same rules.
#[derive(Clone)]
pub struct Misbehaviour {
    orders: Arc<Mutex<Orders>>,
    spared: Option<Arc<str>>,
}

impl Misbehaviour {
    /// No faults; `percent` rules will be drawn by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let orders = Orders { rules: Vec::new(), draw: SeededEntropy::new(seed), held: Vec::new() };
        Self { orders: Arc::new(Mutex::new(orders)), spared: None }
    }

    /// Spares requests whose `Authorization` header is `value`: the peer's own staff neither suffers nor uses up
    /// the faults that were ordered for its client.
    #[must_use]
    pub fn sparing(mut self, value: &str) -> Self {
        self.spared = Some(value.into());
        self
    }

    /// Adds a rule behind those in force.
    pub fn add(&self, rule: FaultRule) {
        self.locked().rules.push(rule);
    }

    /// Adds an order's rules and restarts the draw where it names a seed.
    pub fn order(&self, order: FaultOrder) {
        let mut held = self.locked();
        if let Some(seed) = order.seed {
            held.draw = SeededEntropy::new(seed);
        }
        held.rules.extend(order.rules);
    }

    /// Holds the next request with this method and path prefix before anything is done, until it is let go.
    #[must_use]
    pub fn hold(&self, method: &str, path_prefix: &str) -> HeldRequest {
        let ((tell, reached), (open, opened)) = (oneshot::channel(), oneshot::channel());
        let (method, path_prefix) = (method.to_owned(), path_prefix.to_owned());
        self.locked().held.push(Door { method, path_prefix, reached: tell, opened });
        HeldRequest { reached, open }
    }

    /// Behaves again.
    pub fn clear(&self) {
        let mut held = self.locked();
        held.rules.clear();
        held.held.clear();
    }

    /// The rules in force, with what is left of their counts.
    #[must_use]
    pub fn rules(&self) -> Vec<FaultRule> {
        self.locked().rules.clone()
    }

    /// The fault for one request; counts it.
    #[must_use]
    pub fn draw(&self, method: &str, path: &str) -> Option<Fault> {
        let mut held = self.locked();
        let Orders { rules, draw, .. } = &mut *held;
        for rule in rules.iter_mut().filter(|rule| rule.matches(method, path)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.percent.is_none_or(|percent| below_percent(draw, percent)) {
                rule.times = rule.times.map(|times| times.saturating_sub(1));
                return Some(rule.fault);
            }
        }
        None
    }

    /// `router` with these faults laid over it.
    pub fn over(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), misbehave))
    }

    /// `GET`, `POST` and `DELETE /sandbox/misbehave`: the rules in force, more rules, no rules.
    pub fn control_routes(&self) -> Router {
        let list = async |State(held): State<Self>| Json(FaultOrder { rules: held.rules(), seed: None });
        let order = async |State(held): State<Self>, Json(order): Json<FaultOrder>| {
            held.order(order);
            StatusCode::NO_CONTENT
        };
        let clear = async |State(held): State<Self>| {
            held.clear();
            StatusCode::NO_CONTENT
        };
        Router::new().route("/sandbox/misbehave", post(order).get(list).delete(clear)).with_state(self.clone())
    }

    fn door(&self, method: &str, path: &str) -> Option<Door> {
        let held = &mut self.locked().held;
        let here = |door: &Door| door.method.eq_ignore_ascii_case(method) && path.starts_with(&door.path_prefix);
        let place = held.iter().position(here)?;
        Some(held.remove(place))
    }

    fn spares(&self, request: &Request) -> bool {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.spared.is_some() && authorization == self.spared.as_deref()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn below_percent(draw: &dyn Entropy, percent: u8) -> bool {
    entropy::below(draw, 100) < u64::from(percent)
}

async fn misbehave(State(held): State<Misbehaviour>, request: Request, next: Next) -> Response {
    if held.spares(&request) {
        return next.run(request).await;
    }
    if let Some(door) = held.door(request.method().as_str(), request.uri().path()) {
        // Nobody waits for it any more, or nobody opens: it goes on.
        let _ = door.reached.send(());
        let _ = door.opened.await;
    }
    let Some(fault) = held.draw(request.method().as_str(), request.uri().path()) else {
        return next.run(request).await;
    };
    let line = request.extensions().get::<ConnectInfo<Line>>().map(|info| info.0.clone());
    match fault {
        Fault::Delay { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            next.run(request).await
        }
        Fault::Late { millis } => {
            let answer = next.run(request).await;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            answer
        }
        Fault::TooManyRequests { retry_after_seconds } => {
            let mut answer = StatusCode::TOO_MANY_REQUESTS.into_response();
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
            answer
        }
        Fault::ErrorBefore => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::ErrorAfter => {
            let _lost = next.run(request).await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Fault::Refuse => cut(line.as_ref()),
        Fault::LoseAnswer => {
            let _lost = next.run(request).await;
            cut(line.as_ref())
        }
        Fault::Unauthorized => {
            let mut answer = StatusCode::UNAUTHORIZED.into_response();
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            answer
        }
        Fault::Forbidden => StatusCode::FORBIDDEN.into_response(),
        Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Fault::Garbage => garbled::garbage(next.run(request).await),
        Fault::Page => garbled::page(),
        Fault::Truncated => garbled::truncated(next.run(request).await).await,
    }
}

/// The answer is never seen: the line is cut before it is written.
fn cut(line: Option<&Line>) -> Response {
    if let Some(line) = line {
        line.cut();
    }
    StatusCode::BAD_GATEWAY.into_response()
}

#[cfg(test)]
mod tests;
