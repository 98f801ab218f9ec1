use super::*;
use wiremock::Mock;
use wiremock::matchers::{body_string, header, method, path, query_param, query_param_is_missing};

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"3"},"name":[{"family":"Lopez"}]}"#;

fn bundle(entries: &[&str], next: Option<&str>) -> String {
    let entries: Vec<_> =
        entries.iter().map(|id| format!(r#"{{"resource":{{"resourceType":"Patient","id":"{id}"}}}}"#)).collect();
    let link = next.map_or(String::new(), |url| format!(r#","link":[{{"relation":"next","url":"{url}"}}]"#));
    format!(r#"{{"resourceType":"Bundle","type":"searchset"{link},"entry":[{}]}}"#, entries.join(","))
}

#[tokio::test]
async fn a_read_carries_token_and_media_type_and_gives_the_version() {
    let bench = bench().await;
    Mock::given(method("GET"))
        .and(path("/fhir/Patient/p1"))
        .and(header("authorization", "Bearer token-1"))
        .and(header("accept", "application/fhir+json"))
        .respond_with(fhir(200, PATIENT).insert_header("ETag", "W/\"4\""))
        .mount(&bench.server)
        .await;
    let patient = bench.client.read(&reference("Patient/p1")).await.unwrap();
    assert_eq!(patient.version().unwrap().as_str(), "W/\"4\"", "the header goes before meta");
    assert_eq!(patient.json(), PATIENT);
}

#[tokio::test]
async fn another_resource_than_asked_for_is_an_error() {
    let bench = bench().await;
    Mock::given(method("GET")).respond_with(fhir(200, PATIENT)).mount(&bench.server).await;
    let error = bench.client.read(&reference("Patient/p2")).await.unwrap_err();
    assert!(matches!(error, FhirError::NotFhir(_)), "{error:?}");
}

#[tokio::test]
async fn a_401_renews_the_token_once() {
    let bench = bench().await;
    Mock::given(header("authorization", "Bearer token-1")).respond_with(fhir(401, "")).mount(&bench.server).await;
    Mock::given(header("authorization", "Bearer token-2")).respond_with(fhir(200, PATIENT)).mount(&bench.server).await;
    bench.client.read(&reference("Patient/p1")).await.unwrap();

    let refusing = super::bench().await;
    Mock::given(method("GET")).respond_with(fhir(401, "")).expect(2).mount(&refusing.server).await;
    assert_eq!(refusing.client.read(&reference("Patient/p1")).await.unwrap_err(), FhirError::Unauthorized);
}

#[tokio::test]
async fn throttling_is_waited_out_within_bounds() {
    let bench = bench().await;
    let answers = [fhir(429, "").insert_header("Retry-After", "2"), fhir(503, ""), fhir(200, PATIENT)];
    Mock::given(method("GET")).respond_with(in_turn(answers)).expect(3).mount(&bench.server).await;
    bench.client.read(&reference("Patient/p1")).await.unwrap();
    assert_eq!(*bench.waits.0.lock().unwrap(), [Duration::from_secs(2), Duration::from_millis(500)]);
}

#[tokio::test]
async fn throttling_that_lasts_is_told_to_the_caller() {
    let bench = bench().await;
    Mock::given(path("/fhir/Patient/p1")).respond_with(fhir(503, "")).expect(3).mount(&bench.server).await;
    let error = bench.client.read(&reference("Patient/p1")).await.unwrap_err();
    assert_eq!(error, FhirError::Throttled { retry_after: None });

    let long = fhir(429, "").insert_header("Retry-After", "600");
    Mock::given(path("/fhir/Patient/p2")).respond_with(long).expect(1).mount(&bench.server).await;
    let error = bench.client.read(&reference("Patient/p2")).await.unwrap_err();
    assert_eq!(error, FhirError::Throttled { retry_after: Some(Duration::from_mins(10)) });
}

#[tokio::test]
async fn redirects_are_not_followed_with_the_token() {
    let bench = bench().await;
    let elsewhere = MockServer::start().await;
    Mock::given(method("GET")).respond_with(fhir(200, PATIENT)).expect(0).mount(&elsewhere).await;
    let redirect = ResponseTemplate::new(302).insert_header("Location", elsewhere.uri());
    Mock::given(method("GET")).respond_with(redirect).mount(&bench.server).await;
    let error = bench.client.read(&reference("Patient/p1")).await.unwrap_err();
    assert!(matches!(error, FhirError::Refused { status: 302, .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_dropped() {
    let bench = bench_with(Limits { max_body: 64, ..Limits::default() }).await;
    Mock::given(method("GET")).respond_with(fhir(200, &"x".repeat(65))).mount(&bench.server).await;
    let error = bench.client.read(&reference("Patient/p1")).await.unwrap_err();
    assert_eq!(error, FhirError::TooLarge { limit: 64 });
}

#[tokio::test]
async fn a_deeply_nested_answer_is_an_error_and_no_crash() {
    let bench = bench().await;
    let deep =
        format!(r#"{{"resourceType":"Patient","id":"p1","name":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    Mock::given(method("GET")).respond_with(fhir(200, &deep)).mount(&bench.server).await;
    let read = bench.client.read(&reference("Patient/p1")).await;
    let view = read.map_err(|_| ()).and_then(|patient| views::PatientView::read(&patient).map_err(|_| ()));
    assert!(view.is_err());
}

#[tokio::test]
async fn errors_hold_codes_and_neither_texts_nor_parameters() {
    let bench = bench().await;
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","diagnostics":"Ana Lopez"}]}"#;
    Mock::given(method("GET")).respond_with(fhir(403, outcome)).mount(&bench.server).await;
    let params = SearchParams::new().with("family", "Lopez");
    let error = bench.client.search("Patient", params, SearchMethod::Get).unwrap().next_page().await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("forbidden") && !shown.contains("Lopez"), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_its_address_is_not_told() {
    let waits = Arc::new(NotedWaits::default());
    let client = client_of("http://127.0.0.1:1/fhir", Limits::default(), waits);
    let params = SearchParams::new().with("family", "Lopez");
    let error = client.search("Patient", params, SearchMethod::Get).unwrap().next_page().await.unwrap_err();
    assert_eq!(error, FhirError::Unreachable(TransportFault::Connect));
}

#[tokio::test]
async fn pages_are_followed_by_absolute_and_relative_links() {
    let bench = bench().await;
    let absolute = format!("{}/fhir?_getpages=abc", bench.server.uri());
    let first = || Mock::given(method("GET")).and(path("/fhir/Patient"));
    first()
        .and(query_param("name", "a b&c"))
        .respond_with(fhir(200, &bundle(&["a", "b"], Some(&absolute))))
        .mount(&bench.server)
        .await;
    Mock::given(path("/fhir"))
        .and(query_param("_getpages", "abc"))
        .and(header("authorization", "Bearer token-1"))
        .respond_with(fhir(200, &bundle(&["c"], Some("Patient?page=3"))))
        .mount(&bench.server)
        .await;
    first()
        .and(query_param("page", "3"))
        .and(query_param_is_missing("name"))
        .respond_with(fhir(200, &bundle(&["d"], None)))
        .mount(&bench.server)
        .await;
    let params = SearchParams::new().with("name", "a b&c");
    let whole = bench.client.search("Patient", params, SearchMethod::Get).unwrap().all().await.unwrap();
    let ids: Vec<_> = whole.matches.iter().filter_map(Resource::id).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_search_by_post_keeps_its_parameters_out_of_the_url() {
    let bench = bench().await;
    Mock::given(method("POST"))
        .and(path("/fhir/Patient/_search"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string("phone=%2B12125550123&_count=5"))
        .respond_with(fhir(200, &bundle(&["a"], None)))
        .mount(&bench.server)
        .await;
    let params = SearchParams::new().with("phone", "+12125550123").with("_count", "5");
    let page = bench.client.search("Patient", params, SearchMethod::Post).unwrap().all().await.unwrap();
    assert_eq!(page.matches.len(), 1);
    assert!(bench.server.received_requests().await.unwrap().iter().all(|request| request.url.query().is_none()));
}

#[tokio::test]
async fn a_next_link_to_another_server_is_not_followed() {
    let bench = bench().await;
    let thief = MockServer::start().await;
    Mock::given(method("GET")).respond_with(fhir(200, &bundle(&[], None))).expect(0).mount(&thief).await;
    let link = format!("{}/fhir/Patient?page=2", thief.uri());
    Mock::given(method("GET")).respond_with(fhir(200, &bundle(&["a"], Some(&link)))).mount(&bench.server).await;
    let search = bench.client.search("Patient", SearchParams::new(), SearchMethod::Get).unwrap();
    assert_eq!(search.all().await.unwrap_err(), FhirError::NextLink(LinkFault::OtherOrigin));
}

#[tokio::test]
async fn a_chain_of_pages_ends_at_the_limits() {
    let search = |bench: &Bench| bench.client.search("Patient", SearchParams::new(), SearchMethod::Get).unwrap();
    let looping = bench().await;
    Mock::given(method("GET"))
        .respond_with(fhir(200, &bundle(&["a"], Some("Patient?page=2"))))
        .mount(&looping.server)
        .await;
    assert_eq!(search(&looping).all().await.unwrap_err(), FhirError::NextLink(LinkFault::Loop));

    let endless = |limits| async move {
        let bench = bench_with(limits).await;
        let pages = (2..10).map(|page| fhir(200, &bundle(&["a", "b"], Some(&format!("Patient?page={page}")))));
        Mock::given(method("GET")).respond_with(in_turn(pages)).mount(&bench.server).await;
        let error = search(&bench).all().await.unwrap_err();
        (error, bench.server.received_requests().await.unwrap().len())
    };
    let few_pages = endless(Limits { max_pages: 3, ..Limits::default() }).await;
    assert_eq!(few_pages, (FhirError::TooMany { pages: 3, entries: 6 }, 3));
    let few_entries = endless(Limits { max_entries: 5, ..Limits::default() }).await;
    assert_eq!(few_entries, (FhirError::TooMany { pages: 2, entries: 6 }, 3));
}

#[tokio::test]
async fn a_search_goes_on_where_it_was_under_limits_that_begin_anew() {
    let bench = bench_with(Limits { max_pages: 1, ..Limits::default() }).await;
    let pages = [Some("Patient?page=2"), Some("Patient?page=3"), None];
    let pages = pages.into_iter().map(|next| fhir(200, &bundle(&["a"], next)));
    Mock::given(method("GET")).respond_with(in_turn(pages)).mount(&bench.server).await;
    let mut searching = bench.client.search("Patient", SearchParams::new(), SearchMethod::Get).unwrap();
    let mut read = 0;
    loop {
        assert!(searching.next_page().await.unwrap().is_some());
        read += 1;
        let Some(link) = searching.next_link().map(str::to_owned) else { break };
        searching = bench.client.resume_search("Patient", &link).unwrap();
    }
    assert_eq!(read, 3);
    let astray = bench.client.resume_search("Patient", "https://elsewhere.example/Patient?page=2");
    assert_eq!(astray.unwrap_err(), FhirError::NextLink(LinkFault::OtherOrigin));
}

#[tokio::test]
async fn one_bad_resource_of_a_page_is_set_aside() {
    let bench = bench().await;
    let body = r#"{"resourceType":"Bundle","entry":[
        {"resource":{"resourceType":"Patient","id":"a","telecom":[{"system":"mobile","value":"+12125550123"}]}},
        {"resource":{"resourceType":"Patient","id":"b","telecom":[{"system":"phone","value":"+12125550123"}]}}]}"#;
    Mock::given(method("GET")).respond_with(fhir(200, body)).mount(&bench.server).await;
    let search = bench.client.search("Patient", SearchParams::new(), SearchMethod::Get).unwrap();
    let parsed = Parsed::read(&search.all().await.unwrap().matches, views::PatientView::read);
    assert_eq!(parsed.good.len(), 1);
    let [bad] = parsed.quarantined.as_slice() else { panic!("{parsed:?}") };
    assert_eq!(
        (bad.id.as_deref(), bad.fault.to_string().as_str()),
        (Some("a"), "Patient.telecom[0].system: bad-value")
    );
}

#[tokio::test]
async fn metadata_is_read_without_a_token() {
    let bench = bench().await;
    let body = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;
    Mock::given(path("/fhir/metadata")).respond_with(fhir(200, body)).mount(&bench.server).await;
    bench.client.metadata().await.unwrap();
    assert!(!bench.server.received_requests().await.unwrap()[0].headers.contains_key("authorization"));
}
