//! Misbehaviour of the REST API and of the webhooks.

use super::*;
use serde_json::json;

const FORM: [(&str, &str); 3] = [("From", CLINIC), ("To", ANA), ("Body", "once")];

#[tokio::test]
async fn a_lost_answer_leaves_a_message_that_arrives() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::AnswerLost).times(1));
    let outcome = bench.api(Method::POST, "Messages.json").form(&FORM).send().await;
    assert!(outcome.is_err_and(|error| !error.is_connect() && error.status().is_none()));
    bench.carrier.settled().await;
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
    assert_eq!(bench.carrier.accepted_count(Some(ANA)), 1);
    assert_eq!(bench.post(&FORM).await.status(), 201);
}

#[tokio::test]
async fn a_500_comes_before_or_after_the_message_was_accepted() {
    let bench = Bench::new().await;
    for (kind, accepted) in [(FaultKind::ErrorBefore, 0), (FaultKind::ErrorAfterAccept, 1)] {
        bench.carrier.faults().add(Fault::new(kind).times(1));
        let response = bench.post(&FORM).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], 20500);
        assert_eq!(bench.carrier.accepted_count(None), accepted);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_follows_an_accepted_message_unless_a_proxy_gave_it() {
    let bench = Bench::new().await;
    for (kind, status, accepted) in
        [(FaultKind::GarbageAnswer, 201, 1), (FaultKind::TruncatedAnswer, 201, 2), (FaultKind::PageAnswer, 200, 2)]
    {
        bench.carrier.faults().add(Fault::new(kind).times(1));
        let response = bench.post(&FORM).await;
        assert_eq!(response.status(), status);
        assert!(response.json::<Value>().await.is_err(), "{kind:?}");
        assert_eq!(bench.carrier.accepted_count(None), accepted, "{kind:?}");
    }
}

#[tokio::test]
async fn a_webhook_comes_twice_and_a_refused_one_is_told_with_its_status() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::DuplicateWebhooks).times(1));
    let sid = bench.carrier.text_from(ANA, CLINIC, "twice").await.unwrap();
    let posted = bench.received("/inbound").await;
    assert_eq!(posted.len(), 2);
    assert!(posted.iter().all(|request| String::from_utf8_lossy(&request.body).contains(&sid)));
    assert!(bench.carrier.alerts().is_empty());
    bench.webhooks.reset().await;
    bench.answer("/inbound", ResponseTemplate::new(503)).await;
    bench.carrier.text_from(ANA, CLINIC, "refused").await.unwrap();
    assert_eq!(bench.carrier.alerts()[0].status, Some(503));
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::TooManyRequests { retry_after_secs: 3 }).times(1));
    // A read is not what the fault is set on.
    assert_eq!(bench.api(Method::GET, "Messages.json").send().await.unwrap().status(), 200);
    let response = bench.post(&FORM).await;
    assert_eq!((response.status().as_u16(), response.headers()["Retry-After"].to_str().unwrap()), (429, "3"));
    assert_eq!(response.json::<Value>().await.unwrap()["code"], 20429);
    assert_eq!(bench.carrier.accepted_count(None), 0);
}

#[tokio::test]
async fn a_refused_webhook_leaves_the_text_in_the_list() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused));
    let sid = bench.carrier.text_from(ANA, CLINIC, "missed").await.unwrap();
    assert!(bench.webhooks.received_requests().await.unwrap().is_empty());
    let list = bench.get("Messages.json?To=%2B12125550100").await;
    let message = &list["messages"][0];
    assert_eq!((message["sid"].as_str(), message["direction"].as_str()), (Some(sid.as_str()), Some("inbound")));
    assert_eq!((message["status"].as_str(), message["body"].as_str()), (Some("received"), Some("missed")));
}

#[tokio::test]
async fn when_all_is_down_only_the_sandbox_answers() {
    let bench = Bench::new().await;
    let faults = bench.url("sandbox/faults");
    let set = bench.http.post(&faults).json(&json!({ "kind": "all_down" })).send().await.unwrap();
    assert_eq!(set.status(), 201);
    assert!(bench.api(Method::POST, "Messages.json").form(&FORM).send().await.is_err());
    assert!(bench.api(Method::GET, "Messages.json").send().await.is_err());
    bench.carrier.text_from(ANA, CLINIC, "missed").await.unwrap();
    assert!(bench.webhooks.received_requests().await.unwrap().is_empty());
    let active: Value = bench.http.get(&faults).send().await.unwrap().json().await.unwrap();
    assert_eq!(active["faults"][0]["kind"], "all_down");
    assert_eq!(bench.http.delete(&faults).send().await.unwrap().status(), 204);
    assert_eq!(bench.post(&FORM).await.status(), 201);
}

#[tokio::test]
async fn a_webhook_that_nobody_listens_to_is_tried_again_then_given_up() {
    let bench = Bench::new().await;
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let callback = format!("http://{closed}/status#rc=2&rp=all");
    let form = [("From", CLINIC), ("To", ANA), ("Body", "a"), ("StatusCallback", &callback)];
    assert_eq!(bench.post(&form).await.status(), 201);
    bench.carrier.settled().await;
    let codes: Vec<_> = bench.carrier.alerts().iter().map(|alert| alert.error_code).collect();
    assert_eq!(codes, [11205; 3]);
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1, "the text itself arrives");
}

#[tokio::test]
async fn overrides_repeat_a_callback_that_is_refused() {
    let bench = Bench::unanswered().await;
    bench.answer("/status", ResponseTemplate::new(503)).await;
    let callback = format!("{}/status#rc=2&rp=5xx", bench.webhooks.uri());
    let form = [("From", CLINIC), ("To", ANA), ("Body", "a"), ("StatusCallback", &callback)];
    assert_eq!(bench.post(&form).await.status(), 201);
    assert_eq!(bench.statuses().await.len(), 9);
    assert!(bench.received("/status").await.iter().all(|request| bench.is_signed(request)));
}

#[tokio::test]
async fn a_client_that_gives_up_waiting_has_sent_all_the_same() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::Delay { millis: 200 }).times(1));
    let outcome = bench.api(Method::POST, "Messages.json").form(&FORM).timeout(Duration::from_millis(50)).send().await;
    assert!(outcome.is_err_and(|error| error.is_timeout()));
    bench.carrier.wait_for(|texts| texts.iter().any(|text| text.status == Status::Delivered)).await;
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
}
