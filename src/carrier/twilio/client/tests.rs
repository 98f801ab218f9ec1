//! The client against a server that answers as Twilio does.

use super::super::account::tests::account_at;
use super::*;
use crate::kernel::{Id, ManualClock, Phi};
use crate::messaging::carrier_port::{DeliveryStatus, FailureClass, OutgoingText, Refusal};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SID: &str = "SM00000000000000000000000000000001";

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    instant("2026-11-22T12:00:00Z")
}

fn outgoing(body: &str) -> OutgoingText {
    OutgoingText {
        tenant: Id::from_bytes([1; 16]),
        attempt: Id::from_bytes([2; 16]),
        from: PhoneNumber::parse("+18005551212").unwrap(),
        to: PhoneNumber::parse("+12125550123").unwrap(),
        body: Phi::new(body.to_owned()),
        status_callback: "https://texts.example.org/carriers/twilio/t/status?attempt=a1".parse().unwrap(),
        validity: Duration::from_hours(1),
        send_by: instant("2026-11-22T12:00:30Z"),
    }
}

fn client_at(base_url: &str) -> Twilio {
    Twilio::new(account_at(base_url), Arc::new(ManualClock::at(now()))).unwrap()
}

async fn send(client: &Twilio, text: OutgoingText) -> SendOutcome {
    client.send(ClearedText::cleared_for_test(text)).await
}

fn messages_path() -> String {
    format!("/2010-04-01/Accounts/AC{}/Messages.json", "0".repeat(32))
}

async fn server_that_answers(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path(messages_path())).respond_with(answer).mount(&server).await;
    server
}

async fn outcome_of(answer: ResponseTemplate) -> SendOutcome {
    let server = server_that_answers(answer).await;
    send(&client_at(&server.uri()), outgoing("Hello")).await
}

#[tokio::test]
async fn the_form_holds_what_twilio_asks_for_and_nothing_else() {
    let answer = ResponseTemplate::new(201)
        .set_body_json(json!({"sid": SID, "status": "queued", "num_segments": "1", "error_code": null}));
    let server = server_that_answers(answer).await;
    let mut account = account_at(&server.uri());
    account.messaging_service_sid = Some(format!("MG{}", "3".repeat(32)));
    let client = Twilio::new(account, Arc::new(ManualClock::at(now()))).unwrap();
    let outcome = send(&client, outgoing("Cedar: 2 & 3 = ñ 👍")).await;
    let expected = SendOutcome::Accepted { carrier_id: SID.into(), status: DeliveryStatus::Queued, segments: Some(1) };
    assert_eq!(outcome, expected);

    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&requests[0].body).into_owned().collect();
    let service = format!("MG{}", "3".repeat(32));
    let expected = [
        ("To", "+12125550123"),
        ("From", "+18005551212"),
        ("Body", "Cedar: 2 & 3 = ñ 👍"),
        ("StatusCallback", "https://texts.example.org/carriers/twilio/t/status?attempt=a1#rc=3&rp=all"),
        ("ValidityPeriod", "3600"),
        ("MessagingServiceSid", &service),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let headers = &requests[0].headers;
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(headers["content-length"], requests[0].body.len().to_string().as_str());
    let user = format!("SK{}:key secret", "1".repeat(32));
    let basic = STANDARD.encode(user);
    assert_eq!(headers["authorization"], format!("Basic {basic}").as_str());
}

#[rstest]
#[case(0, "1")]
#[case(90, "90")]
#[case(1_000_000, "36000")]
fn the_validity_stays_within_what_twilio_allows(#[case] seconds: u64, #[case] written: &str) {
    let text = OutgoingText { validity: Duration::from_secs(seconds), ..outgoing("x") };
    let form = sending::form(&text, None);
    assert!(form.ends_with(&format!("&ValidityPeriod={written}")), "{form}");
}

fn error_body(code: u32) -> Value {
    json!({"code": code, "message": "about +12125550123", "more_info": "https://www.twilio.com/docs/errors", "status": 400})
}

#[rstest]
#[case::stopped(400, 21610, "21610", FailureClass::OptedOut)]
#[case::landline(400, 21614, "21614", FailureClass::Landline)]
#[case::no_such_number(400, 21211, "21211", FailureClass::UnknownNumber)]
#[case::wrong_sender(400, 21606, "21606", FailureClass::Configuration)]
#[case::not_let_in(401, 20003, "20003", FailureClass::Configuration)]
#[case::new_code(400, 21999, "21999", FailureClass::Unknown)]
#[case::no_such_account(404, 20404, "20404", FailureClass::Configuration)]
#[tokio::test]
async fn a_refusal_has_its_class(
    #[case] status: u16,
    #[case] sent: u32,
    #[case] code: &str,
    #[case] class: FailureClass,
) {
    let outcome = outcome_of(ResponseTemplate::new(status).set_body_json(error_body(sent))).await;
    assert_eq!(outcome, SendOutcome::Refused(Refusal { code: code.into(), class, retry_after: None }));
}

#[rstest]
#[case::bad_gateway_page(ResponseTemplate::new(403).set_body_string("<html>"), "http-403", FailureClass::Configuration)]
#[case::odd_code(ResponseTemplate::new(400).set_body_json(json!({"code": "Ana Lopez"})), "http-400", FailureClass::Unknown)]
#[tokio::test]
async fn a_refusal_without_a_code_is_named_by_its_status(
    #[case] answer: ResponseTemplate,
    #[case] code: &str,
    #[case] class: FailureClass,
) {
    assert_eq!(outcome_of(answer).await, SendOutcome::Refused(Refusal { code: code.into(), class, retry_after: None }));
}

#[tokio::test]
async fn a_text_that_fails_at_once_is_refused() {
    let body = json!({"sid": SID, "status": "failed", "error_code": 30034, "num_segments": "1"});
    let SendOutcome::Refused(refusal) = outcome_of(ResponseTemplate::new(201).set_body_json(body)).await else {
        panic!("it failed")
    };
    assert_eq!(refusal.class, FailureClass::Unregistered);
}

#[tokio::test]
async fn too_many_requests_means_not_sent_and_how_long_to_wait() {
    let answer = ResponseTemplate::new(429).insert_header("Retry-After", "12").set_body_json(error_body(20429));
    let expected =
        SendOutcome::NotSent { reason: NotSentReason::Throttled, retry_after: Some(Duration::from_secs(12)) };
    assert_eq!(outcome_of(answer).await, expected);
    let expected = SendOutcome::NotSent { reason: NotSentReason::Throttled, retry_after: None };
    assert_eq!(outcome_of(ResponseTemplate::new(400).set_body_json(error_body(20429))).await, expected);
}

#[rstest]
#[case::failed(500)]
#[case::unavailable(503)]
#[case::timed_out_there(408)]
#[case::redirected(307)]
#[tokio::test]
async fn an_answer_that_says_nothing_leaves_the_text_unknown(#[case] status: u16) {
    let answer = ResponseTemplate::new(status).insert_header("Location", "/elsewhere");
    assert_eq!(outcome_of(answer).await, SendOutcome::Unknown { reason: UnknownReason::Status(status) });
}

#[rstest]
#[case("<html>ok</html>")]
#[case(r#"{"status":"queued"}"#)]
#[tokio::test]
async fn an_acceptance_that_does_not_name_the_text_is_unknown(#[case] body: &str) {
    let outcome = outcome_of(ResponseTemplate::new(201).set_body_string(body)).await;
    assert_eq!(outcome, SendOutcome::Unknown { reason: UnknownReason::UnreadableAnswer });
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_unknown() {
    let server = server_that_answers(ResponseTemplate::new(201).set_delay(Duration::from_secs(30))).await;
    let mut account = account_at(&server.uri());
    account.timeouts.answer = Duration::from_millis(200);
    account.timeouts.connect = Duration::from_millis(200);
    let client = Twilio::new(account, Arc::new(ManualClock::at(now()))).unwrap();
    let expected = SendOutcome::Unknown { reason: UnknownReason::NoAnswer };
    assert_eq!(send(&client, outgoing("Hello")).await, expected);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_drops_after_the_text_is_unknown_and_nothing_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_at(&format!("http://{}", listener.local_addr().unwrap()));
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 16];
        stream.read_exact(&mut buffer).await.unwrap();
        drop(stream);
        let again = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(again.is_err(), "the client came again");
    };
    let (outcome, ()) = tokio::join!(send(&client, outgoing("Hello")), server);
    assert_eq!(outcome, SendOutcome::Unknown { reason: UnknownReason::NoAnswer });
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let expected = SendOutcome::NotSent { reason: NotSentReason::ConnectFailed, retry_after: None };
    assert_eq!(send(&client_at(&format!("http://{free}")), outgoing("Hello")).await, expected);
}

#[tokio::test]
async fn a_text_whose_time_passes_while_connecting_leaves_no_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = Arc::new(ManualClock::at(instant("2026-11-22T12:00:29Z")));
    let account = account_at(&format!("http://{}", listener.local_addr().unwrap()));
    let client = Twilio::new(account, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let text = OutgoingText { send_by: clock.now(), ..outgoing("Hello") };
    let mut sending = send(&client, text).boxed();
    assert!((&mut sending).now_or_never().is_none());
    // The call has begun in time; its time passes before the connection stands.
    clock.advance(jiff::SignedDuration::from_millis(1));
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        received
    };
    let (outcome, received) = tokio::join!(sending, server);
    assert_eq!(outcome, SendOutcome::NotSent { reason: NotSentReason::SendByPassed, retry_after: None });
    assert_eq!(received, b"", "something was written");
}

#[tokio::test]
async fn a_text_may_leave_at_its_last_instant() {
    let answer = ResponseTemplate::new(201).set_body_json(json!({"sid": SID, "status": "queued"}));
    let server = server_that_answers(answer).await;
    let text = OutgoingText { send_by: now(), ..outgoing("Hello") };
    assert!(matches!(send(&client_at(&server.uri()), text).await, SendOutcome::Accepted { segments: None, .. }));
}

#[tokio::test]
async fn a_text_of_the_wrong_length_is_refused_without_asking() {
    let server = MockServer::start().await;
    for (body, code) in [(String::new(), "21602"), ("é".repeat(1601), "21617")] {
        let SendOutcome::Refused(refusal) = send(&client_at(&server.uri()), outgoing(&body)).await else {
            panic!("it was sent")
        };
        assert_eq!((refusal.code.as_str(), refusal.class), (code, FailureClass::Content));
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

fn listed(sid: &str, direction: &str, from: &str, to: &str, sent: Option<&str>) -> Value {
    json!({"sid": sid, "direction": direction, "from": from, "to": to, "body": format!("text {sid}"),
        "status": "received", "num_segments": "1", "num_media": "0", "error_code": null,
        "date_created": "Sun, 22 Nov 2026 11:59:00 +0000", "date_sent": sent})
}

#[tokio::test]
async fn the_list_of_received_texts_is_read_to_its_end_and_put_in_order() {
    let server = MockServer::start().await;
    let ours = "+18005551212";
    let first = json!({"messages": [
            listed("SM3", "inbound", "+12125550123", ours, Some("Sun, 22 Nov 2026 11:30:00 +0000")),
            listed("SM9", "outbound-api", "+12125550188", ours, Some("Sun, 22 Nov 2026 11:30:00 +0000")),
            {"sid": 5, "direction": []},
        ], "next_page_uri": format!("{}?PageSize=500&Page=1&PageToken=PASM3", messages_path())});
    let second = json!({"messages": [
            listed("SM2", "inbound", "72345", ours, Some("Sun, 22 Nov 2026 11:00:00 +0000")),
            listed("SM1", "inbound", "+12125550123", ours, Some("Sun, 22 Nov 2026 11:00:00 +0000")),
            listed("SM0", "inbound", "+12125550123", ours, Some("Sat, 21 Nov 2026 11:00:00 +0000")),
        ], "next_page_uri": null});
    Mock::given(method("GET"))
        .and(path(messages_path()))
        .and(query_param("To", ours))
        .and(query_param("DateSent>", "2026-11-22T11:00:00Z"))
        .and(query_param_is_missing("PageToken"))
        .respond_with(ResponseTemplate::new(200).set_body_json(first))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(query_param("PageToken", "PASM3"))
        .and(header("authorization", "Basic U0sxMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTprZXkgc2VjcmV0"))
        .respond_with(ResponseTemplate::new(200).set_body_json(second))
        .expect(1)
        .mount(&server)
        .await;
    let client = client_at(&server.uri());
    let ours = PhoneNumber::parse(ours).unwrap();
    let ReceivedTexts { texts, unreadable } =
        client.received_since(&ours, instant("2026-11-22T11:00:00.900Z")).await.unwrap();
    assert_eq!(unreadable.count(), 1, "whoever asked knows that something is missing");
    let ids: Vec<_> = texts.iter().map(|text| text.carrier_id.as_str()).collect();
    assert_eq!(ids, ["SM1", "SM2", "SM3"]);
    assert_eq!(texts[0].body.as_str(), "text SM1");
    assert_eq!(texts[0].received_at, Some(instant("2026-11-22T11:00:00Z")));
}

#[tokio::test]
async fn texts_that_have_not_left_yet_are_listed_too() {
    let server = MockServer::start().await;
    let list = json!({"messages": [listed(SID, "outbound-api", "+18005551212", "+12125550123", None)]});
    Mock::given(method("GET"))
        .and(query_param("From", "+18005551212"))
        .and(query_param("To", "+12125550123"))
        .and(query_param_is_missing("DateSent>"))
        .respond_with(ResponseTemplate::new(200).set_body_json(list))
        .mount(&server)
        .await;
    let text = outgoing("");
    let sent = client_at(&server.uri()).sent_to(&text.from, &text.to, instant("2026-11-22T11:58:00Z")).await.unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].body.as_str(), sent[0].sent_at), (format!("text {SID}").as_str(), None));
    let none = client_at(&server.uri()).sent_to(&text.from, &text.to, now()).await.unwrap();
    assert!(none.is_empty());
}

#[rstest]
#[case::another_origin("https://elsewhere.example.org/2010-04-01/x")]
#[case::a_circle("/2010-04-01/again")]
#[tokio::test]
async fn a_link_that_leads_astray_is_not_followed(#[case] link: &str) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({"messages": [], "next_page_uri": link}));
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;
    let ours = PhoneNumber::parse("+18005551212").unwrap();
    let result = client_at(&server.uri()).received_since(&ours, now()).await;
    assert_eq!(result.unwrap_err(), CarrierError::UnreadableAnswer);
}

#[tokio::test]
async fn part_of_a_list_is_not_taken_for_the_whole() {
    let server = MockServer::start().await;
    let first = json!({"messages": [], "next_page_uri": "/2010-04-01/next"});
    Mock::given(path(messages_path()))
        .respond_with(ResponseTemplate::new(200).set_body_json(first))
        .mount(&server)
        .await;
    Mock::given(path("/2010-04-01/next")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let ours = PhoneNumber::parse("+18005551212").unwrap();
    let result = client_at(&server.uri()).received_since(&ours, now()).await;
    assert_eq!(result.unwrap_err(), CarrierError::Failed(503));
}

#[tokio::test]
async fn one_text_is_looked_up() {
    let server = MockServer::start().await;
    let mut text = listed(SID, "outbound-api", "+18005551212", "+12125550123", None);
    text["status"] = "undelivered".into();
    text["error_code"] = 30005.into();
    Mock::given(path(messages_path().replace("Messages.json", &format!("Messages/{SID}.json"))))
        .respond_with(ResponseTemplate::new(200).set_body_json(text))
        .mount(&server)
        .await;
    let client = client_at(&server.uri());
    let found = client.status_of(SID).await.unwrap();
    assert_eq!(found.report.status, DeliveryStatus::Undelivered);
    assert_eq!(found.report.class, Some(FailureClass::UnknownNumber));
    assert_eq!(client.status_of(&SID.replace('1', "2")).await.unwrap_err(), CarrierError::NoSuchText);
    assert_eq!(client.status_of("../../Balance").await.unwrap_err(), CarrierError::NotAnId);
}
