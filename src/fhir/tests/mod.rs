//! The client against a server that answers over HTTP.

mod reads;
mod writes;

use super::*;
use crate::kernel::ManualClock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::{MockServer, Request, Respond, ResponseTemplate};

/// Gives `token-1`; after each refusal the next number.
#[derive(Default)]
struct CountingTokens {
    refused: AtomicUsize,
}

impl AccessTokenSource for CountingTokens {
    fn token(&self) -> BoxFuture<'_, Result<SecretToken, TokenError>> {
        let number = self.refused.load(Ordering::SeqCst) + 1;
        Box::pin(async move { Ok(SecretToken::new(format!("token-{number}"))) })
    }
    fn invalidate(&self, _rejected: &SecretToken) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

/// Writes the waits down and does not wait.
#[derive(Default)]
struct NotedWaits(Mutex<Vec<Duration>>);

impl Pacer for NotedWaits {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().push(duration);
        Box::pin(async {})
    }
}

/// Answers the first request with the first template and so on; the last one stays.
struct InTurn(Mutex<Vec<ResponseTemplate>>);

impl Respond for InTurn {
    fn respond(&self, _request: &Request) -> ResponseTemplate {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }
}

fn in_turn(answers: impl IntoIterator<Item = ResponseTemplate>) -> InTurn {
    InTurn(Mutex::new(answers.into_iter().collect()))
}

struct Bench {
    server: MockServer,
    client: FhirClient,
    waits: Arc<NotedWaits>,
}

async fn bench_with(limits: Limits) -> Bench {
    let server = MockServer::start().await;
    let waits = Arc::new(NotedWaits::default());
    let client = client_of(&format!("{}/fhir", server.uri()), limits, Arc::clone(&waits));
    Bench { server, client, waits }
}

async fn bench() -> Bench {
    bench_with(Limits::default()).await
}

fn client_of(base: &str, limits: Limits, waits: Arc<NotedWaits>) -> FhirClient {
    let clock = Arc::new(ManualClock::at("2026-11-22T10:00:00Z".parse().unwrap()));
    let base = ServerBase::new(base.parse().unwrap()).unwrap();
    FhirClient::new(base, Arc::new(CountingTokens::default()), limits, waits, clock).unwrap()
}

fn fhir(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.as_bytes().to_vec(), "application/fhir+json")
}

fn reference(text: &str) -> ResourceRef {
    text.parse().unwrap()
}
