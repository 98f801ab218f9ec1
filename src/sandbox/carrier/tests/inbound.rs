//! Texts from phones: the webhook, keywords, answers.

use super::*;
use base64::Engine as _;
use serde_json::json;

#[tokio::test]
async fn an_incoming_text_is_posted_signed_with_every_documented_field() {
    let bench = Bench::new().await;
    let sid = bench.carrier.text_from(ANA, PLAIN, "Hola, ¿cómo está?").await.unwrap();
    let requests = bench.received("/inbound").await;
    assert_eq!(requests.len(), 1);
    assert!(bench.is_signed(&requests[0]));
    assert_eq!(requests[0].headers["Content-Type"], "application/x-www-form-urlencoded; charset=UTF-8");
    let mut expected: BTreeMap<String, String> = [
        ("AccountSid", ACCOUNT),
        ("ApiVersion", "2010-04-01"),
        ("Body", "Hola, ¿cómo está?"),
        ("From", ANA),
        ("FromCity", "NEW YORK"),
        ("FromCountry", "US"),
        ("FromState", "NY"),
        ("FromZip", "10001"),
        ("MessageSid", &sid),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("SmsMessageSid", &sid),
        ("SmsSid", &sid),
        ("SmsStatus", "received"),
        ("To", PLAIN),
        ("ToCity", "NEW YORK"),
        ("ToCountry", "US"),
        ("ToState", "NY"),
        ("ToZip", "10001"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(fields(&requests[0]), expected);
    // A number in a messaging service says so.
    expected.insert("MessagingServiceSid".to_owned(), bench.carrier.messaging_service_sid());
    bench.carrier.text_from(ANA, CLINIC, "hello").await.unwrap();
    assert!(fields(&bench.received("/inbound").await[1]).keys().eq(expected.keys()));
    assert!(bench.carrier.alerts().is_empty());
}

#[tokio::test]
async fn pictures_and_bytes_that_are_not_text_are_written_over_http() {
    let bench = Bench::new().await;
    let path = bench.url("sandbox/phones/+12125550123/text");
    let picture = json!({ "to": CLINIC, "media_urls": ["https://x.example/a.png"] });
    let answer = bench.http.post(&path).json(&picture).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let sid = answer.json::<Value>().await.unwrap()["sid"].as_str().unwrap().to_owned();
    assert!(send::is_sid(&sid, "MM"));
    let received = fields(&bench.received("/inbound").await[0]);
    assert_eq!((received["NumMedia"].as_str(), received["MediaContentType0"].as_str()), ("1", "image/png"));
    let quiet = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let media = quiet.get(&received["MediaUrl0"]).basic_auth(ACCOUNT, Some(TOKEN)).send().await.unwrap();
    assert_eq!(media.headers()["Location"], "https://x.example/a.png");
    let raw = base64::engine::general_purpose::STANDARD.encode([b'a', 0xff]);
    let answer = bench.http.post(&path).json(&json!({ "to": CLINIC, "raw": raw })).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let request = &bench.received("/inbound").await[1];
    assert!(String::from_utf8_lossy(&request.body).contains("Body=a%FF&"));
    assert_eq!(bench.carrier.messages()[1].body, "a\u{fffd}");
}

#[tokio::test]
async fn stop_blocks_start_unblocks_and_both_are_still_posted() {
    let bench = Bench::new().await;
    bench.carrier.text_from(ANA, CLINIC, " Stop ").await.unwrap();
    bench.carrier.text_from(ANA, CLINIC, "STOP").await.unwrap();
    let form = [("From", CLINIC), ("To", ANA), ("Body", "a")];
    let refused = bench.post(&form).await;
    assert_eq!(refused.status(), 400);
    let expected = json!({
        "code": 21610,
        "message": "Attempt to send to unsubscribed recipient",
        "more_info": "https://www.twilio.com/docs/errors/21610",
        "status": 400,
    });
    assert_eq!(refused.json::<Value>().await.unwrap(), expected);
    // Another of the account's numbers is not meant.
    bench.send(PLAIN, ANA, "from elsewhere").await;
    bench.carrier.text_from(ANA, CLINIC, "yes").await.unwrap();
    bench.carrier.text_from(ANA, CLINIC, "YES").await.unwrap();
    bench.carrier.text_from(ANA, CLINIC, "help").await.unwrap();
    bench.send(CLINIC, ANA, "welcome back").await;
    bench.carrier.settled().await;
    let posted = bench.received("/inbound").await;
    let types: Vec<_> = posted.iter().map(|request| fields(request).get("OptOutType").cloned()).collect();
    let expected = [Some("STOP"), Some("STOP"), Some("START"), None, Some("HELP")];
    assert_eq!(types, expected.map(|word| word.map(str::to_owned)));
    let texts = bench.carrier.sent_to(ANA);
    let answers: Vec<_> = texts.iter().map(|text| text.body.split(['.', ',']).next().unwrap()).collect();
    let expected = [
        "You have successfully been unsubscribed",
        "from elsewhere",
        "You have successfully been re-subscribed to messages from this number",
        "Reply STOP to unsubscribe",
        "welcome back",
    ];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn a_number_that_leaves_keywords_to_the_client_only_forwards_them() {
    let bench = Bench::new().await;
    bench.carrier.text_from(ANA, PLAIN, "STOP").await.unwrap();
    assert!(!fields(&bench.received("/inbound").await[0]).contains_key("OptOutType"));
    bench.send(PLAIN, ANA, "the client's own confirmation").await;
    bench.carrier.settled().await;
    assert_eq!(bench.carrier.sent_to(ANA).len(), 1);
}

#[tokio::test]
async fn what_the_webhook_answers_is_texted_back() {
    let bench = Bench::unanswered().await;
    let twiml = "<Response><Message>one</Message><Message>two</Message></Response>";
    bench.answer("/inbound", ResponseTemplate::new(200).set_body_raw(twiml, "text/xml; charset=utf-8")).await;
    bench.carrier.text_from(ANA, CLINIC, "hello").await.unwrap();
    bench.carrier.settled().await;
    let texts = bench.carrier.sent_to(ANA);
    assert_eq!(texts.iter().map(|text| text.body.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(texts.iter().all(|text| text.direction == Direction::OutboundReply));
    assert_eq!(bench.carrier.accepted_count(None), 0);
    // The classic mistake: a plain OK is an answer too, and the patient reads it.
    bench.webhooks.reset().await;
    bench.answer("/inbound", ResponseTemplate::new(200).set_body_raw("OK", "text/plain")).await;
    bench.carrier.text_from(ANA, CLINIC, "again").await.unwrap();
    bench.carrier.settled().await;
    assert_eq!(bench.carrier.sent_to(ANA)[2].body, "OK");
}

#[tokio::test]
async fn a_webhook_that_fails_is_complained_about_and_its_fallback_called() {
    let bench = Bench::unanswered().await;
    bench.answer("/inbound", ResponseTemplate::new(500)).await;
    bench.answer("/fallback", ResponseTemplate::new(200).set_body_raw("{}", "application/json")).await;
    let sid = bench.carrier.text_from(ANA, CLINIC, "hello").await.unwrap();
    let codes: Vec<_> = bench.carrier.alerts().iter().map(|alert| alert.error_code).collect();
    assert_eq!(codes, [11200, 12300]);
    assert_eq!(bench.received("/inbound").await.len(), 1, "a refusal is not repeated");
    let fallback = bench.received("/fallback").await;
    assert!(bench.is_signed(&fallback[0]));
    assert_eq!(fields(&fallback[0])["ErrorCode"], "11200");
    assert_eq!(fields(&fallback[0])["MessageSid"], sid);
}

#[tokio::test]
async fn only_a_mobile_phone_can_text_and_only_the_accounts_numbers() {
    let bench = Bench::new().await;
    let outcome = bench.carrier.text_from(LANDLINE, CLINIC, "a").await;
    assert!(matches!(outcome, Err(CarrierError::UnknownPhone)));
    assert!(matches!(bench.carrier.text_from(ANA, OFF, "a").await, Err(CarrierError::UnknownNumber)));
    let path = bench.url("sandbox/phones/+12125550124/text");
    let answer = bench.http.post(&path).json(&json!({ "to": CLINIC, "body": "a" })).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}
