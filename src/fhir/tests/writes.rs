use super::*;
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::Mock;
use wiremock::matchers::{body_json, header, method, path};

fn communication() -> serde_json::Value {
    json!({"resourceType": "Communication", "status": "completed"})
}

#[tokio::test]
async fn a_create_tells_id_and_version_from_the_headers() {
    let bench = bench().await;
    Mock::given(method("POST"))
        .and(path("/fhir/Communication"))
        .and(header("content-type", "application/fhir+json"))
        .and(body_json(communication()))
        .respond_with(
            ResponseTemplate::new(201)
                .insert_header("Location", "http://inner.proxy/r4/Communication/c1/_history/1")
                .insert_header("ETag", "W/\"1\""),
        )
        .expect(1)
        .mount(&bench.server)
        .await;
    let outcome = bench.client.create("Communication", &communication(), None).await;
    let WriteOutcome::Written(written) = outcome else { panic!("{outcome:?}") };
    assert_eq!(written.reference, Some(reference("Communication/c1")));
    assert_eq!(written.version.unwrap().as_str(), "W/\"1\"");
    assert!(written.body.is_none());
}

#[rstest]
#[case::nothing(None, "", None, None)]
#[case::relative(Some("Communication/c1"), "", Some("Communication/c1"), None)]
#[case::relative_version(Some("Communication/c1/_history/9"), "", Some("Communication/c1"), Some("W/\"9\""))]
#[case::body_only(
    None,
    r#"{"resourceType":"Communication","id":"c2","meta":{"versionId":"5"}}"#,
    Some("Communication/c2"),
    Some("W/\"5\"")
)]
#[case::outcome_only(None, r#"{"resourceType":"OperationOutcome","id":"x"}"#, None, None)]
#[tokio::test]
async fn a_created_answer_without_headers_is_still_written(
    #[case] location: Option<&str>,
    #[case] body: &str,
    #[case] expected: Option<&str>,
    #[case] version: Option<&str>,
) {
    let bench = bench().await;
    let answer = fhir(201, body);
    let answer = location.iter().fold(answer, |answer, location| answer.insert_header("Location", *location));
    Mock::given(method("POST")).respond_with(answer).mount(&bench.server).await;
    let outcome = bench.client.create("Communication", &communication(), None).await;
    let WriteOutcome::Written(written) = outcome else { panic!("{outcome:?}") };
    assert_eq!(written.reference, expected.map(reference));
    assert_eq!(written.version.as_ref().map(ETag::as_str), version);
}

#[tokio::test]
async fn a_conditional_create_tells_what_was_there_already() {
    let bench = bench().await;
    let found = fhir(200, r#"{"resourceType":"Communication","id":"c1"}"#);
    Mock::given(header("If-None-Exist", "identifier=urn%3Aours%7Cm1"))
        .respond_with(in_turn([fhir(201, r#"{"resourceType":"Communication","id":"c1"}"#), found, fhir(412, "")]))
        .mount(&bench.server)
        .await;
    let unless = IfNoneExist::identifier("urn:ours", "m1");
    let create = || bench.client.create("Communication", &serde_json::Value::Null, Some(&unless));
    assert!(matches!(create().await, WriteOutcome::Written(_)));
    assert!(
        matches!(create().await, WriteOutcome::Existing(written) if written.reference == Some(reference("Communication/c1")))
    );
    assert!(matches!(create().await, WriteOutcome::Conflict { status: 412, .. }));
}

#[tokio::test]
async fn update_and_patch_go_out_with_their_precondition() {
    let bench = bench().await;
    let answer = || fhir(200, r#"{"resourceType":"Slot","id":"s1"}"#).insert_header("ETag", "\"8\"");
    Mock::given(method("PUT"))
        .and(path("/fhir/Slot/s1"))
        .and(header("If-Match", "W/\"7\""))
        .respond_with(answer())
        .mount(&bench.server)
        .await;
    Mock::given(method("PATCH"))
        .and(path("/fhir/Slot/s1"))
        .and(header("If-Match", "\"8\""))
        .and(header("content-type", "application/json-patch+json"))
        .and(body_json(json!([{"op": "replace", "path": "/status", "value": "busy"}])))
        .respond_with(answer())
        .mount(&bench.server)
        .await;
    let slot = reference("Slot/s1");
    let outcome = bench.client.update(&slot, &json!({}), &ETag::from_version_id("7")).await;
    let WriteOutcome::Written(written) = outcome else { panic!("{outcome:?}") };
    let operations = [PatchOperation::Replace { path: "/status".into(), value: "busy".into() }];
    let outcome = bench.client.patch(&slot, &operations, &written.version.unwrap()).await;
    assert!(matches!(outcome, WriteOutcome::Written(_)), "{outcome:?}");
}

#[rstest]
#[case(202, "unknown")]
#[case(303, "unknown")]
#[case(400, "rejected")]
#[case(403, "rejected")]
#[case(404, "rejected")]
#[case(408, "unknown")]
#[case(409, "conflict")]
#[case(412, "conflict")]
#[case(422, "rejected")]
#[case(428, "conflict")]
#[case(429, "not-sent")]
#[case(500, "unknown")]
#[case(502, "unknown")]
#[case(503, "unknown")]
#[tokio::test]
async fn each_status_has_one_meaning_and_nothing_is_sent_twice(#[case] status: u16, #[case] expected: &str) {
    let bench = bench().await;
    Mock::given(method("POST")).respond_with(fhir(status, "")).expect(1).mount(&bench.server).await;
    let outcome = bench.client.create("Task", &json!({}), None).await;
    let found = match &outcome {
        WriteOutcome::Written(_) => "written",
        WriteOutcome::Existing(_) => "existing",
        WriteOutcome::Conflict { .. } => "conflict",
        WriteOutcome::Rejected { .. } => "rejected",
        WriteOutcome::Unknown(_) => "unknown",
        WriteOutcome::NotSent(_) => "not-sent",
    };
    assert_eq!(found, expected, "{outcome:?}");
    assert!(bench.waits.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_write_is_sent_again_after_a_401_only_and_once() {
    let bench = bench().await;
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(fhir(401, ""))
        .expect(1)
        .mount(&bench.server)
        .await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(fhir(201, ""))
        .expect(1)
        .mount(&bench.server)
        .await;
    assert!(matches!(bench.client.create("Task", &json!({}), None).await, WriteOutcome::Written(_)));

    let refusing = super::bench().await;
    Mock::given(method("POST")).respond_with(fhir(401, "")).expect(2).mount(&refusing.server).await;
    let outcome = refusing.client.create("Task", &json!({}), None).await;
    assert!(matches!(outcome, WriteOutcome::Rejected { status: 401, .. }), "{outcome:?}");
}

/// Accepts connections, reads a request, says `answer` and hangs up. Gives its base and counts the requests.
async fn hangs_up_after(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            if connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                counted.fetch_add(1, Ordering::SeqCst);
                connection.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    (base, requests)
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_write_is_not_repeated() {
    let (base, requests) = hangs_up_after("").await;
    let client = client_of(&base, Limits::default(), Arc::default());
    let outcome = client.create("Communication", &communication(), None).await;
    assert!(
        matches!(outcome, WriteOutcome::Unknown(UnknownCause::NoAnswer(TransportFault::Interrupted))),
        "{outcome:?}"
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_its_head_counts_by_its_head() {
    let head = "HTTP/1.1 201 Created\r\nLocation: Communication/c9\r\nContent-Length: 500\r\n\r\n{\"resourceType\"";
    let (base, _) = hangs_up_after(head).await;
    let client = client_of(&base, Limits::default(), Arc::default());
    let outcome = client.create("Communication", &communication(), None).await;
    let WriteOutcome::Written(written) = outcome else { panic!("{outcome:?}") };
    assert_eq!(written.reference, Some(reference("Communication/c9")));
}

#[rstest]
#[case::a_page("text/html", "<h1>Back soon</h1>", None, false)]
#[case::a_page_with_a_tag("text/html", "<h1>Back soon</h1>", Some("\"5f-1\""), false)]
#[case::json_that_is_no_resource("application/json", "{\"state\":\"ok\"}", None, false)]
#[case::damaged("application/fhir+json", "{\"resourceType\":\"Sl", Some("W/\"8\""), true)]
#[case::nothing("application/fhir+json", "", None, true)]
#[tokio::test]
async fn only_what_a_fhir_server_answers_is_a_yes(
    #[case] content_type: &str,
    #[case] body: &str,
    #[case] etag: Option<&str>,
    #[case] is_written: bool,
) {
    let bench = bench().await;
    let answer = ResponseTemplate::new(200).set_body_raw(body.as_bytes().to_vec(), content_type);
    let answer = etag.iter().fold(answer, |answer, etag| answer.insert_header("ETag", *etag));
    Mock::given(method("PUT")).respond_with(answer).mount(&bench.server).await;
    let outcome = bench.client.update(&reference("Slot/s1"), &json!({}), &ETag::from_version_id("7")).await;
    match outcome {
        WriteOutcome::Written(_) => assert!(is_written),
        WriteOutcome::Unknown(UnknownCause::NotFhir) => assert!(!is_written),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn silence_is_unknown_when_the_time_is_up() {
    let bench = bench_with(Limits { request_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    let slow = fhir(201, "").set_delay(Duration::from_secs(5));
    Mock::given(method("POST")).respond_with(slow).mount(&bench.server).await;
    let outcome = bench.client.create("Communication", &communication(), None).await;
    assert!(matches!(outcome, WriteOutcome::Unknown(UnknownCause::NoAnswer(TransportFault::Timeout))), "{outcome:?}");
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let client = client_of("http://127.0.0.1:1/fhir", Limits::default(), Arc::default());
    let outcome = client.create("Communication", &communication(), None).await;
    assert!(matches!(outcome, WriteOutcome::NotSent(NotSentCause::Connect)), "{outcome:?}");
}
