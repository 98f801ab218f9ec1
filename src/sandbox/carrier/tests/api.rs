//! The REST API: shape, refusals, list, redaction, cancelling, deleting.

use super::*;
use rstest::rstest;
use serde_json::json;

#[tokio::test]
async fn an_accepted_message_has_the_vendors_shape() {
    let bench = Bench::new().await;
    let answer = bench.send(CLINIC, ANA, "Hello! 👍").await;
    let sid = answer["sid"].as_str().unwrap();
    assert!(send::is_sid(sid, "SM"));
    let uri = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}");
    let expected = json!({
        "account_sid": ACCOUNT,
        "api_version": "2010-04-01",
        "body": "Hello! 👍",
        "date_created": "Sun, 22 Nov 2026 20:05:25 +0000",
        "date_sent": null,
        "date_updated": "Sun, 22 Nov 2026 20:05:25 +0000",
        "direction": "outbound-api",
        "error_code": null,
        "error_message": null,
        "from": CLINIC,
        "messaging_service_sid": null,
        "num_media": "0",
        "num_segments": "1",
        "price": null,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": { "media": format!("{uri}/Media.json") },
        "to": ANA,
        "uri": format!("{uri}.json"),
    });
    assert_eq!(answer, expected);
    bench.carrier.settled().await;
    let fetched = bench.get(&format!("Messages/{sid}.json")).await;
    assert_eq!((&fetched["status"], &fetched["price"]), (&json!("delivered"), &json!("-0.00790")));
    assert_eq!(fetched["date_sent"], "Sun, 22 Nov 2026 20:05:25 +0000");
    assert_eq!(bench.carrier.sent_to(ANA)[0].body, "Hello! 👍");
}

#[rstest]
#[case(&[("From", CLINIC), ("Body", "a")], 21604)]
#[case(&[("To", "call me"), ("From", CLINIC), ("Body", "a")], 21211)]
#[case(&[("To", "+15005550001"), ("From", CLINIC), ("Body", "a")], 21211)]
#[case(&[("To", "+15005550002"), ("From", CLINIC), ("Body", "a")], 21612)]
#[case(&[("To", "+15005550003"), ("From", CLINIC), ("Body", "a")], 21408)]
#[case(&[("To", "+15005550004"), ("From", CLINIC), ("Body", "a")], 21610)]
#[case(&[("To", "+15005550009"), ("From", CLINIC), ("Body", "a")], 21614)]
#[case(&[("To", "+442079460000"), ("From", CLINIC), ("Body", "a")], 21408)]
#[case(&[("To", ANA), ("Body", "a")], 21603)]
#[case(&[("To", ANA), ("From", "clinic!"), ("Body", "a")], 21212)]
#[case(&[("To", ANA), ("From", "+15005550001"), ("Body", "a")], 21212)]
#[case(&[("To", ANA), ("From", "+15005550007"), ("Body", "a")], 21606)]
#[case(&[("To", ANA), ("From", "+15005550008"), ("Body", "a")], 21611)]
#[case(&[("To", ANA), ("From", ANA), ("Body", "a")], 21606)]
#[case(&[("To", CLINIC), ("From", CLINIC), ("Body", "a")], 21266)]
#[case(&[("To", ANA), ("From", CLINIC)], 21602)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", "")], 21602)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", &"a".repeat(1601))], 21617)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", "a"), ("StatusCallback", "http://my_host/s")], 21609)]
#[case(&[("To", ANA), ("From", CLINIC), ("MediaUrl", "file:///etc/passwd")], 21620)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", "a"), ("ValidityPeriod", "36001")], 21624)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", "a"), ("RiskCheck", "maybe")], 20001)]
#[case(&[("To", ANA), ("From", CLINIC), ("Body", "a"), ("ScheduleType", "fixed"), ("SendAt", "2026-11-23T00:00:00Z")], 35118)]
#[case(&[("To", ANA), ("MessagingServiceSid", "MGbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), ("Body", "a")], 21701)]
#[tokio::test]
async fn a_bad_request_is_refused_with_the_vendors_code(#[case] form: &[(&str, &str)], #[case] code: u32) {
    let bench = Bench::new().await;
    let response = bench.post(form).await;
    assert_eq!(response.status(), 400);
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(400)));
    assert_eq!(body["more_info"], format!("https://www.twilio.com/docs/errors/{code}"));
    assert_eq!(body.as_object().unwrap().len(), 4, "{body}");
    assert_eq!(bench.carrier.accepted_count(None), 0);
}

#[tokio::test]
async fn limits_are_inclusive_and_the_test_sender_sends_nothing() {
    let bench = Bench::new().await;
    bench.send(CLINIC, ANA, &"a".repeat(1600)).await;
    bench.send("+15005550006", ANA, "never").await;
    bench.carrier.settled().await;
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
    assert_eq!(bench.carrier.accepted_count(Some(ANA)), 2);
}

#[tokio::test]
async fn only_the_accounts_own_credentials_are_let_in() {
    let bench = Bench::new().await;
    let url = bench.url(&format!("2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    let other = bench.url("2010-04-01/Accounts/ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/Messages.json");
    for request in [
        bench.http.get(&url),
        bench.http.get(&url).basic_auth(ACCOUNT, Some("wrong")),
        bench.http.get(&other).basic_auth(ACCOUNT, Some(TOKEN)),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(response.json::<Value>().await.unwrap()["code"], 20003);
    }
    let account = bench.http.get(bench.url(&format!("2010-04-01/Accounts/{ACCOUNT}.json")));
    let account: Value = account.basic_auth(ACCOUNT, Some(TOKEN)).send().await.unwrap().json().await.unwrap();
    assert_eq!(account["status"], "active");
}

#[tokio::test]
async fn what_does_not_exist_is_20404_and_a_wrong_method_20004() {
    let bench = Bench::new().await;
    for path in ["Messages/SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.json", "Calls.json"] {
        let response = bench.api(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 404);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["code"], 20404);
        assert_eq!(
            body["message"],
            format!("The requested resource /2010-04-01/Accounts/{ACCOUNT}/{path} was not found")
        );
    }
    let response = bench.api(Method::PUT, "Messages.json").send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], 20004);
}

/// Follows a list to its end and returns the bodies of its messages.
async fn follow(bench: &Bench, query: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut next = Some(format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{query}"));
    while let Some(path) = next {
        let request = bench.http.get(bench.url(&path)).basic_auth(ACCOUNT, Some(TOKEN));
        let page: Value = request.send().await.unwrap().json().await.unwrap();
        let messages = page["messages"].as_array().unwrap();
        bodies.extend(messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()));
        next = page["next_page_uri"].as_str().map(str::to_owned);
    }
    bodies
}

#[tokio::test]
async fn a_list_is_newest_first_and_paged_to_its_end() {
    let bench = Bench::new().await;
    for index in 0..5 {
        bench.send(CLINIC, ANA, &format!("text {index}")).await;
    }
    bench.carrier.settled().await;
    let expected: Vec<_> = (0..5).rev().map(|index| format!("text {index}")).collect();
    assert_eq!(follow(&bench, "PageSize=2").await, expected);
    assert_eq!(follow(&bench, "").await, expected);
    let page = bench.get("Messages.json?PageSize=2").await;
    assert_eq!((&page["start"], &page["end"], &page["page"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(page["previous_page_uri"], Value::Null);
    // A text that arrives meanwhile does not shift the pages that follow, and one can go back.
    bench.send(CLINIC, ANA, "text 5").await;
    let next = page["next_page_uri"].as_str().unwrap();
    let second = bench.http.get(bench.url(next)).basic_auth(ACCOUNT, Some(TOKEN)).send().await.unwrap();
    let second: Value = second.json().await.unwrap();
    assert_eq!(second["messages"][0]["body"], "text 2");
    let back = bench.url(second["previous_page_uri"].as_str().unwrap());
    let back: Value = bench.http.get(back).basic_auth(ACCOUNT, Some(TOKEN)).send().await.unwrap().json().await.unwrap();
    assert_eq!(back["messages"], page["messages"]);
}

#[tokio::test]
async fn a_list_is_filtered_by_ends_and_dates() {
    let bench = Bench::new().await;
    bench.carrier.text_from(ANA, CLINIC, "first").await.unwrap();
    bench.clock.set("2026-11-23T08:00:00Z".parse().unwrap());
    bench.carrier.text_from(ANA, PLAIN, "second").await.unwrap();
    bench.send(CLINIC, ANA, "third").await;
    bench.carrier.settled().await;
    assert_eq!(follow(&bench, "To=%2B12125550100").await, ["first"]);
    assert_eq!(follow(&bench, "From=%2B12125550123&PageSize=1").await, ["second", "first"]);
    assert_eq!(follow(&bench, "DateSent=2026-11-22").await, ["first"]);
    assert_eq!(follow(&bench, "DateSent%3E=2026-11-23").await, ["third", "second"]);
    assert_eq!(follow(&bench, "DateSent%3C=2026-11-22").await, ["first"]);
    assert_eq!(follow(&bench, "DateSent%3E=2026-11-22T20:05:26Z").await, ["third", "second"]);
    assert_eq!(follow(&bench, "To=%2B13125550199").await, [""; 0]);
}

#[tokio::test]
async fn a_body_is_redacted_and_a_message_deleted_only_when_final() {
    let bench = Bench::new().await;
    bench.carrier.faults().add(Fault::new(FaultKind::HoldQueue));
    let sid = bench.send(CLINIC, ANA, "secret").await["sid"].as_str().unwrap().to_owned();
    let path = format!("Messages/{sid}.json");
    let early = bench.api(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(early.status(), 409);
    assert_eq!(early.json::<Value>().await.unwrap()["code"], 20009);
    bench.carrier.faults().clear();
    bench.carrier.wait_for(|texts| texts[0].status == Status::Delivered).await;
    let redacted = bench.api(Method::POST, &path).form(&[("Body", "")]).send().await.unwrap();
    assert_eq!(redacted.json::<Value>().await.unwrap()["body"], "");
    assert_eq!(bench.carrier.sent_to(ANA)[0].body, "secret", "the handset keeps what it has");
    assert_eq!(bench.api(Method::DELETE, &path).send().await.unwrap().status(), 204);
    assert_eq!(bench.api(Method::GET, &path).send().await.unwrap().status(), 404);
    assert_eq!(bench.get("Messages.json").await["messages"], json!([]));
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
    assert_eq!(bench.carrier.accepted_count(None), 1);
}

#[tokio::test]
async fn a_scheduled_message_waits_for_its_time_or_is_called_off() {
    let bench = Bench::new().await;
    let service = bench.carrier.messaging_service_sid();
    let form = [
        ("To", ANA),
        ("MessagingServiceSid", &service),
        ("Body", "later"),
        ("ScheduleType", "fixed"),
        ("SendAt", "2026-11-22T21:00:00Z"),
    ];
    let first: Value = bench.post(&form).await.json().await.unwrap();
    let second: Value = bench.post(&form).await.json().await.unwrap();
    assert_eq!(
        (&first["status"], &first["from"], &first["num_segments"]),
        (&json!("scheduled"), &Value::Null, &json!("0"))
    );
    let path = format!("Messages/{}.json", second["sid"].as_str().unwrap());
    let canceled = bench.api(Method::POST, &path).form(&[("Status", "canceled")]).send().await.unwrap();
    assert_eq!(canceled.json::<Value>().await.unwrap()["status"], "canceled");
    let again = bench.api(Method::POST, &path).form(&[("Status", "canceled")]).send().await.unwrap();
    assert_eq!(again.json::<Value>().await.unwrap()["code"], 30409);
    bench.clock.set("2026-11-22T21:00:00Z".parse().unwrap());
    bench.carrier.wait_for(|texts| texts[0].status == Status::Delivered).await;
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
}
