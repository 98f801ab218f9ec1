//! What was asked of a sandbox peer: methods and targets, so that one can see what stood in URLs.
//!
//! Owns the newest requests of one peer; the sandbox's own controls under `/sandbox` are left out. Headers and bodies are not
//! kept.

use axum::{
    Router,
    extract::{Json, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// How many requests are kept.
const KEPT: usize = 20_000;

/// The requests of one peer, oldest first.
#[derive(Debug, Clone, Default)]
pub struct RequestLog(Arc<Mutex<VecDeque<String>>>);

impl RequestLog {
    /// `router` with its requests kept here, and `GET /sandbox/requests`, which tells them as a list of `METHOD target`.
    pub fn over(&self, router: Router) -> Router {
        let told = async |State(kept): State<Self>| Json(kept.requests());
        let told = Router::new().route("/sandbox/requests", get(told)).with_state(self.clone());
        router.layer(middleware::from_fn_with_state(self.clone(), keep)).merge(told)
    }

    /// What was asked, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, request: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(request);
    }
}

async fn keep(State(kept): State<RequestLog>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/sandbox/") {
        kept.keep(format!("{} {}", request.method(), request.uri()));
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::server::{BoundPort, serve};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn targets_are_kept_whole_and_controls_are_not() {
        let log = RequestLog::default();
        let port = BoundPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", port.address);
        let stop = CancellationToken::new();
        drop(serve(port, log.over(Router::new().route("/{*any}", get(async || ""))), stop.clone()));
        for target in ["/fhir/Patient?name=Ana", "/sandbox/phones", "/gone"] {
            reqwest::get(format!("{base}{target}")).await.unwrap();
        }
        stop.cancel();
        assert_eq!(log.requests(), ["GET /fhir/Patient?name=Ana", "GET /gone"]);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let log = RequestLog::default();
        (0..=KEPT).for_each(|number| log.keep(number.to_string()));
        assert_eq!((log.requests().len(), log.requests().first().map(String::as_str)), (KEPT, Some("1")));
    }
}
