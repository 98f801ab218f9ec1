//! Status callbacks and the fates that they tell of.

use super::*;
use rstest::rstest;

#[tokio::test]
async fn callbacks_are_signed_in_order_and_leave_out_the_first_status() {
    let bench = Bench::new().await;
    let sid = bench.send(CLINIC, ANA, "Hello").await["sid"].as_str().unwrap().to_owned();
    assert_eq!(bench.statuses().await, ["sending", "sent", "delivered"]);
    let callbacks = bench.received("/status").await;
    assert!(callbacks.iter().all(|request| bench.is_signed(request)));
    let tokens: std::collections::BTreeSet<_> = callbacks
        .iter()
        .map(|callback| callback.headers["I-Twilio-Idempotency-Token"].clone().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(tokens.len(), 3);
    let last = fields(&callbacks[2]);
    assert_eq!((last["MessageSid"].as_str(), last["SmsSid"].as_str()), (sid.as_str(), sid.as_str()));
    assert_eq!((last["From"].as_str(), last["To"].as_str()), (CLINIC, ANA));
    assert_eq!((last["AccountSid"].as_str(), last["ApiVersion"].as_str()), (ACCOUNT, "2010-04-01"));
    assert_eq!(last["RawDlrDoneDate"], "2611222005");
    assert!(!last.contains_key("ErrorCode"));
    assert_eq!(callbacks[2].url.query(), Some("attempt=7"));
}

#[rstest]
#[case(LANDLINE, "30006")]
#[case(OFF, "30003")]
#[case("+12125550199", "30005")]
#[tokio::test]
async fn what_cannot_arrive_is_undelivered(#[case] to: &str, #[case] code: &str) {
    let bench = Bench::new().await;
    bench.send(CLINIC, to, "Hello").await;
    assert_eq!(bench.statuses().await, ["sending", "sent", "undelivered"]);
    assert_eq!(fields(&bench.received("/status").await[2])["ErrorCode"], code);
    assert!(bench.carrier.sent_to(to).is_empty());
}

#[tokio::test]
async fn a_message_that_outlives_its_validity_is_not_sent() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::HoldQueue));
    let callback = format!("{}/status", bench.webhooks.uri());
    let form = [
        ("From", CLINIC),
        ("To", ANA),
        ("Body", "now or never"),
        ("ValidityPeriod", "60"),
        ("StatusCallback", &callback),
    ];
    assert_eq!(bench.post(&form).await.status(), 201);
    bench.clock.advance(jiff::SignedDuration::from_secs(61));
    bench.carrier.wait_for(|texts| texts[0].status == Status::Failed).await;
    assert_eq!(bench.statuses().await, ["failed"]);
    assert_eq!(bench.carrier.messages()[0].error_code, Some(30036));
    assert!(bench.carrier.sent_to(ANA).is_empty());
}

#[tokio::test]
async fn a_messaging_service_chooses_the_sender_and_learns_of_a_stop_late() {
    let bench = Bench::new().await;
    let service = bench.carrier.messaging_service_sid();
    let callback = format!("{}/status", bench.webhooks.uri());
    let form = [("MessagingServiceSid", service.as_str()), ("To", ANA), ("Body", "Hi"), ("StatusCallback", &callback)];
    let first: Value = bench.post(&form).await.json().await.unwrap();
    assert_eq!((first["status"].as_str(), first["num_segments"].as_str()), (Some("accepted"), Some("0")));
    assert_eq!(bench.statuses().await, ["queued", "sending", "sent", "delivered"]);
    assert_eq!(fields(&bench.received("/status").await[0])["MessagingServiceSid"], service);
    assert_eq!(bench.carrier.sent_to(ANA)[0].from.as_deref(), Some(CLINIC));
    bench.carrier.text_from(ANA, CLINIC, "stop").await.unwrap();
    assert_eq!(bench.post(&form).await.status(), 201);
    assert_eq!(bench.statuses().await[4..], ["failed"]);
    assert_eq!(fields(&bench.received("/status").await[4])["ErrorCode"], "21610");
}

#[tokio::test]
async fn callbacks_arrive_twice_turned_round_as_json_or_not_at_all() {
    let bench = Bench::new().await;
    let faults = bench.carrier.faults();
    faults.add(Fault::new(FaultKind::DuplicateCallbacks).times(1));
    faults.add(Fault::new(FaultKind::ReorderCallbacks).times(1));
    bench.send(CLINIC, ANA, "one").await;
    assert_eq!(bench.statuses().await, ["delivered", "delivered", "sent", "sending"]);
    let callbacks = bench.received("/status").await;
    assert_eq!(callbacks[0].headers["I-Twilio-Idempotency-Token"], callbacks[1].headers["I-Twilio-Idempotency-Token"]);
    bench.webhooks.reset().await;
    bench.answer("/status", ResponseTemplate::new(204)).await;
    faults.add(Fault::new(FaultKind::DropCallbacks).times(1));
    bench.send(CLINIC, ANA, "two").await;
    assert_eq!(bench.statuses().await, ["sent", "delivered"]);
    bench.webhooks.reset().await;
    bench.answer("/status", ResponseTemplate::new(204)).await;
    faults.add(Fault::new(FaultKind::JsonCallbacks));
    bench.send(CLINIC, ANA, "three").await;
    bench.carrier.settled().await;
    let callback = &bench.received("/status").await[2];
    let body: Value = serde_json::from_slice(&callback.body).unwrap();
    assert_eq!(body["MessageStatus"], "delivered");
    let hash = signature::body_hash(&callback.body);
    assert!(callback.url.query().unwrap().ends_with(&format!("&bodySHA256={hash}")));
    assert_eq!(callback.headers["X-Twilio-Signature"], signature::sign(TOKEN, &bench.configured(callback), &[]));
}
