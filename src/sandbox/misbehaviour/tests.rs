use super::*;
use crate::sandbox::server::{BoundPort, serve};
use axum::routing::get;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;

async fn counting_peer(held: &Misbehaviour) -> (String, Arc<AtomicU32>, CancellationToken) {
    let done = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&done);
    let work = get(async move || counter.fetch_add(1, Ordering::SeqCst).to_string());
    let router = held.over(Router::new().route("/work", work)).merge(held.control_routes());
    let port = BoundPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", port.address);
    let stop = CancellationToken::new();
    drop(serve(port, router, stop.clone()));
    (base, done, stop)
}

#[tokio::test]
async fn a_lost_answer_was_worked_on_and_a_refused_request_was_not() {
    let held = Misbehaviour::new(1);
    let (base, done, _stop) = counting_peer(&held).await;
    held.add(FaultRule::once(Fault::LoseAnswer, "GET", "/work"));
    held.add(FaultRule::once(Fault::Refuse, "GET", "/work"));
    assert!(reqwest::get(format!("{base}/work")).await.is_err());
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert!(reqwest::get(format!("{base}/work")).await.is_err());
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(reqwest::get(format!("{base}/work")).await.unwrap().text().await.unwrap(), "1");
}

#[tokio::test]
async fn an_answer_that_is_none_was_worked_on_unless_a_proxy_gave_it() {
    let held = Misbehaviour::new(1);
    let done = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&done);
    let work = get(async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        axum::Json(serde_json::json!({ "resourceType": "Patient" }))
    });
    let port = BoundPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/work", port.address);
    let stop = CancellationToken::new();
    drop(serve(port, held.over(Router::new().route("/work", work)), stop.clone()));
    for (fault, worked_on, body) in [
        (Fault::Garbage, 1, None),
        (Fault::Truncated, 2, Some("{\"resourceTyp")),
        (Fault::Page, 2, None),
        (Fault::Late { millis: 1 }, 3, Some("{\"resourceType\":\"Patient\"}")),
    ] {
        held.add(FaultRule::once(fault, "GET", "/work"));
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.status(), 200);
        let is_page = answer.headers()["content-type"].to_str().unwrap().starts_with("text/html");
        assert_eq!(is_page, fault == Fault::Page);
        let bytes = answer.bytes().await.unwrap();
        match body {
            Some(body) => assert_eq!(bytes, body),
            None => assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_err(), "{fault:?}"),
        }
        assert_eq!(done.load(Ordering::SeqCst), worked_on, "{fault:?}");
    }
}

#[tokio::test]
async fn a_held_request_is_worked_on_after_those_that_come_later() {
    let held = Misbehaviour::new(1);
    let (base, _, _stop) = counting_peer(&held).await;
    let first = held.hold("GET", "/work");
    let url = format!("{base}/work");
    let text = async || reqwest::get(&url).await.unwrap().text().await.unwrap();
    let overtaken = async {
        let open = first.reached().await.unwrap();
        let overtaking = text().await;
        open.send(()).unwrap();
        overtaking
    };
    assert_eq!(tokio::join!(text(), overtaken), ("1".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn faults_are_ordered_and_cleared_over_http() {
    let held = Misbehaviour::new(1);
    let (base, done, _stop) = counting_peer(&held).await;
    let control = format!("{base}/sandbox/misbehave");
    let http = reqwest::Client::new();
    let order = serde_json::json!({"rules": [
        {"fault": {"kind": "too_many_requests", "retry_after_seconds": 7}, "times": 1},
        {"fault": {"kind": "error_after"}, "method": "GET"},
    ]});
    assert_eq!(http.post(&control).json(&order).send().await.unwrap().status(), 204);
    let limited = reqwest::get(format!("{base}/work")).await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(done.load(Ordering::SeqCst), 0);
    assert_eq!(reqwest::get(format!("{base}/work")).await.unwrap().status(), 500);
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(http.delete(&control).send().await.unwrap().status(), 204);
    assert_eq!(reqwest::get(format!("{base}/work")).await.unwrap().status(), 200);
}

#[test]
fn the_same_seed_hits_the_same_requests() {
    let hits = |seed| {
        let held = Misbehaviour::new(seed);
        held.add(FaultRule { percent: Some(30), ..FaultRule::always(Fault::ErrorBefore) });
        (0..200).map(|_| held.draw("GET", "/").is_some()).collect::<Vec<_>>()
    };
    assert_eq!(hits(5), hits(5));
    assert_ne!(hits(5), hits(6));
    let share = hits(5).iter().filter(|hit| **hit).count();
    assert!((30..90).contains(&share), "{share}");
}

#[test]
fn a_rule_waits_for_its_turn_and_retires() {
    let held = Misbehaviour::new(1);
    held.add(FaultRule { skip: 1, ..FaultRule::once(Fault::Refuse, "POST", "/fhir/Task") });
    let drawn: Vec<bool> = (0..4).map(|_| held.draw("POST", "/fhir/Task").is_some()).collect();
    assert_eq!(drawn, [false, true, false, false]);
    assert_eq!(held.draw("GET", "/fhir/Task"), None);
}
