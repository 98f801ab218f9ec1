//! The layers and the mapping of failures, over HTTP.

use super::*;
use crate::kernel::{Instruments, SeededEntropy, SystemClock};
use axum::routing::{get, post};
use std::sync::Arc;

const A_MOMENT: Duration = Duration::from_secs(20);

async fn served(sections: Vec<Section>) -> String {
    served_within(Limits::of(1 << 16, A_MOMENT, 64), sections).await
}

async fn served_within(limits: Limits, sections: Vec<Section>) -> String {
    let instruments = Instruments::new(Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = router(sections, limits, &instruments);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn section(prefix: &str) -> Router {
    Router::new()
        .route(&format!("{prefix}/taken"), post(|body: String| async move { body }))
        .route(&format!("{prefix}/busy"), get(|| async { Failure::TooMany(7) }))
        .route(&format!("{prefix}/slow"), get(std::future::pending::<&'static str>))
        .route(&format!("{prefix}/panic"), get(panics))
}

async fn panics() -> &'static str {
    panic!("Ana Lopez")
}

#[tokio::test]
async fn each_section_tells_its_failures_in_its_form() {
    let limits = Limits { body: 8, body_time: A_MOMENT, time: Duration::from_millis(50), at_once: 64 };
    let sections =
        vec![Section::api(section("/api")), Section::fhir(section("/fhir")), Section::pages(section("/page"))];
    let address = served_within(limits, sections).await;
    let client = reqwest::Client::new();
    for (prefix, content_type) in
        [("api", "application/problem+json"), ("fhir", "application/fhir+json"), ("page", "text/html; charset=utf-8")]
    {
        let at = |path: &str| format!("{address}/{prefix}/{path}");
        let answers = [
            (client.get(at("busy")), 429),
            (client.get(at("taken")), 405),
            (client.post(at("taken")).body("123456789"), 413),
            (client.get(at("slow")), 503),
            (client.get(at("panic")), 500),
        ];
        for (request, status) in answers {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{prefix}");
            assert_eq!(answer.headers()["content-type"], content_type, "{prefix} {status}");
            assert!(answer.headers().contains_key("x-request-id"));
            assert_eq!(answer.headers().contains_key("retry-after"), matches!(status, 429 | 503));
            assert_eq!(answer.headers().contains_key("allow"), status == 405);
            assert!(!answer.text().await.unwrap().contains("Ana"));
        }
        let taken = client.post(at("taken")).body("12345678").send().await.unwrap();
        assert_eq!(taken.text().await.unwrap(), "12345678");
    }
    let nowhere = client.get(format!("{address}/nowhere")).send().await.unwrap();
    assert_eq!(nowhere.status().as_u16(), 404);
    let problem: serde_json::Value = nowhere.json().await.unwrap();
    assert_eq!(problem["type"], "urn:chartwire:problem:not-found");
}

/// Reads until the server closes the connection.
async fn answered(connection: &mut tokio::net::TcpStream) -> String {
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(connection, &mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_that_trickles_ends_with_408_in_the_form_of_its_section() {
    let limits = Limits { body_time: Duration::from_millis(100), ..Limits::of(1 << 16, A_MOMENT, 64) };
    let sections = vec![Section::api(section("/api")), Section::pages(section("/page"))];
    let address = served_within(limits, sections).await;
    let host = address.strip_prefix("http://").unwrap();
    for (prefix, content_type) in [("api", "application/problem+json"), ("page", "text/html")] {
        let (mut reading, mut writing) = tokio::net::TcpStream::connect(host).await.unwrap().into_split();
        let head = format!("POST /{prefix}/taken HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n");
        let trickling = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            writing.write_all(head.as_bytes()).await?;
            // A byte at a time: time without any is never long.
            loop {
                writing.write_all(b"a").await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            #[expect(unreachable_code, reason = "names the type of the error")]
            std::io::Result::Ok(())
        });
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tokio::io::AsyncReadExt::read_u8(&mut reading).await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains(content_type) && answer.contains("connection: close"), "{answer}");
        assert!(trickling.await.unwrap().is_err(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_body_that_does_not_tell_its_length_has_the_same_limit() {
    use tokio::io::AsyncWriteExt as _;
    let address = served_within(Limits::of(8, A_MOMENT, 64), vec![Section::api(section("/api"))]).await;
    let mut connection = tokio::net::TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    let request = "POST /api/taken HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    assert!(answered(&mut connection).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_waited_for() {
    use tokio::io::AsyncWriteExt as _;
    let address = served(vec![Section::api(section("/api"))]).await;
    let mut connection = tokio::net::TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    let request = "GET /api/busy HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    assert!(answered(&mut connection).await.starts_with("HTTP/1.1 429"), "and the connection is closed");
}

#[tokio::test]
async fn a_section_that_is_full_turns_away_and_its_neighbours_do_not() {
    let (inside, open) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (told, opened) = (Arc::clone(&inside), Arc::clone(&open));
    let waits = get(move || async move {
        told.notify_one();
        opened.notified().await;
        "done"
    });
    let full = Section::api(section("/full").route("/full/waits", waits));
    let address = served_within(Limits::of(1 << 16, A_MOMENT, 1), vec![full, Section::api(section("/other"))]).await;
    let first = tokio::spawn(reqwest::get(format!("{address}/full/waits")));
    inside.notified().await;
    let turned_away = reqwest::Client::new().post(format!("{address}/full/taken")).body("x").send().await.unwrap();
    assert_eq!((turned_away.status().as_u16(), turned_away.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    let neighbour = reqwest::get(format!("{address}/other/busy")).await.unwrap();
    assert_eq!(neighbour.status().as_u16(), 429);
    open.notify_one();
    assert_eq!(first.await.unwrap().unwrap().text().await.unwrap(), "done");
    assert_eq!(reqwest::get(format!("{address}/full/busy")).await.unwrap().status().as_u16(), 429, "its place is free");
}

#[tokio::test]
async fn a_request_id_is_ours_whatever_the_client_sends() {
    let address = served(vec![Section::api(section("/api"))]).await;
    let request = reqwest::Client::new().get(format!("{address}/api/busy")).header("x-request-id", "Ana-Lopez");
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(id.parse::<crate::kernel::Id<()>>().is_ok(), "{id}");
}

#[test]
fn an_outcome_has_a_severity_and_an_issue_type_of_fhir() {
    insta::assert_json_snapshot!("operation_outcome", body(Failure::NotFound.told(Form::OperationOutcome)));
    insta::assert_json_snapshot!("problem", body(Failure::Conflict("The slot is taken.").told(Form::Problem)));
}

fn body(response: axum::response::Response) -> serde_json::Value {
    let bytes = futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 4096));
    serde_json::from_slice(&bytes.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn readiness_names_the_part_that_is_not_ready() {
    let parts = vec![
        health::Part::new("database", || Box::pin(async { true })),
        health::Part::new("vault", || Box::pin(async { false })),
    ];
    let address = served(vec![Section::api(health::routes(parts, None))]).await;
    let answer = reqwest::get(format!("{address}/readyz")).await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(told["parts"], serde_json::json!({ "database": "ready", "vault": "not ready" }));
    assert_eq!(reqwest::get(format!("{address}/healthz")).await.unwrap().status().as_u16(), 200);
    assert_eq!(reqwest::get(format!("{address}/metrics")).await.unwrap().status().as_u16(), 404);
}
