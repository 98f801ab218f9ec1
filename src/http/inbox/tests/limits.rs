//! What a session and a person may ask for within a minute.

use super::*;

fn wait(refused: &reqwest::Response) -> &str {
    refused.headers()["retry-after"].to_str().unwrap()
}

#[tokio::test]
async fn a_script_that_runs_away_sends_no_more_replies_and_what_was_typed_stays() {
    let mut served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    for number in 0..12 {
        let once = format!("o{number}");
        let fields = [("form_token", form_token.as_str()), ("once", &once), ("text", "Please call us.")];
        assert_eq!(served.form("/inbox/reply", &fields).send().await.unwrap().status(), StatusCode::SEE_OTHER);
    }
    let fields = [("form_token", form_token.as_str()), ("once", "o12"), ("text", "Please call me.")];
    let refused = served.form("/inbox/reply", &fields).send().await.unwrap();
    assert_eq!((refused.status(), wait(&refused)), (StatusCode::TOO_MANY_REQUESTS, "5"));
    assert!(refused.headers().contains_key("content-security-policy"));
    let page = refused.text().await.unwrap();
    assert!(page.contains(">Please call me.</textarea>") && page.contains("Try again in 5 seconds."), "{page}");

    // Another launch of the same person is no way around it, and a script hears a problem.
    (served.cookie, served.at) = served.launch(Some(fixture::ANA)).await;
    let form_token = served.form_token().await;
    let fields = [("form_token", form_token.as_str()), ("once", "o13"), ("text", "Please call me.")];
    let refused = served.form("/inbox/reply", &fields).header("accept", "application/json").send().await.unwrap();
    assert_eq!((refused.status(), wait(&refused)), (StatusCode::TOO_MANY_REQUESTS, "5"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(served.fake.asked.lock().unwrap().len(), 12);

    served.clock.advance(SignedDuration::from_secs(5));
    assert_eq!(served.form("/inbox/reply", &fields).send().await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_has_so_many_requests_in_a_minute_and_another_one_its_own() {
    let mut served = Served::showing(fixture::normal()).await;
    for _ in 0..60 {
        assert_eq!(served.get("/inbox/thread").send().await.unwrap().status(), StatusCode::OK);
    }
    let refused = served.get("/inbox/thread").send().await.unwrap();
    assert_eq!((refused.status(), wait(&refused)), (StatusCode::TOO_MANY_REQUESTS, "1"));
    (served.cookie, served.at) = served.launch(Some(fixture::ANA)).await;
    assert_eq!(served.get("/inbox/thread").send().await.unwrap().status(), StatusCode::OK);
}
