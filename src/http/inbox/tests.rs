//! The pages over HTTP.

use super::fixture::{self, Served};
use jiff::SignedDuration;
use reqwest::StatusCode;

/// A page without what differs at every rendering.
fn steady(page: &str) -> String {
    let mut steady = page.to_owned();
    for (before, after) in
        [("name=\"form_token\" value=\"", "\""), ("name=\"once\" value=\"", "\""), ("data-form=\"", "\"")]
    {
        let mut parts = steady.split(before).map(str::to_owned);
        let mut rest = parts.next().unwrap();
        for part in parts {
            let (_, kept) = part.split_once(after).unwrap();
            rest = format!("{rest}{before}…{after}{kept}");
        }
        steady = rest;
    }
    steady
}

mod consent;
mod limits;
mod worklist;

async fn page_of(view: super::source::ThreadView) -> String {
    let served = Served::showing(view).await;
    steady(&served.page().await.replace(&served.at, "/inbox/…"))
}

#[tokio::test]
async fn pages_look_as_they_were_reviewed() {
    insta::assert_snapshot!("normal", page_of(fixture::normal()).await);
    insta::assert_snapshot!("redacted", page_of(fixture::redacted()).await);
    insta::assert_snapshot!("empty", page_of(fixture::empty()).await);
    insta::assert_snapshot!("stopped", page_of(fixture::stopped()).await);
}

#[tokio::test]
async fn an_idle_session_ends_in_a_page_without_anybody_on_it() {
    let served = Served::showing(fixture::normal()).await;
    served.clock.advance(SignedDuration::from_mins(5));
    let answer = served.get("/inbox").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("frame-ancestors https://ehr.example"), "still shown inside the EHR: {policy}");
    let page = answer.text().await.unwrap();
    assert!(!page.contains("Ana"));
    insta::assert_snapshot!("expired", page);
}

#[tokio::test]
async fn every_route_is_closed_without_a_session() {
    let mut served = Served::showing(fixture::normal()).await;
    served.cookie = "__Host-chartwire=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    for path in ["/inbox", "/inbox/thread", "/inbox/idle", "/inbox/events", "/inbox/consent", "/inbox/worklist"] {
        assert_eq!(served.get(path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in [
        "present",
        "check",
        "reply",
        "texts/x/settle",
        "tasks/x/done",
        "consent/agreed",
        "consent/withdrawn",
        "worklist/x/assign",
        "worklist/x/done",
        "sign-out",
    ] {
        let answer = served.form(&format!("/inbox/{path}"), &[("form_token", "x")]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn pages_carry_the_headers_that_protect_them() {
    let served = Served::showing(fixture::normal()).await;
    let answer = served.get("/inbox").send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(
        header("content-security-policy"),
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'self'; frame-ancestors https://ehr.example"
    );
}

#[tokio::test]
async fn a_redacted_text_is_nowhere_on_the_page() {
    let page = page_of(fixture::redacted()).await;
    assert!(!page.contains("pain") && !page.contains("clinical, question"));
    assert!(page.contains("Clinical message, 2:06 PM. Nurses and providers can read it."));
}

#[tokio::test]
async fn markup_in_a_text_is_text() {
    let page = page_of(fixture::normal()).await;
    assert!(!page.contains("<b>thanks</b>") && page.contains("&#60;b&#62;thanks"), "{page}");
}

#[tokio::test]
async fn a_reply_goes_out_once_from_a_plain_form_and_its_draft_is_forgotten() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    let url = served.url("/inbox/draft");
    let draft = served.client.put(url).header("cookie", &served.cookie).header("origin", &served.address);
    let kept = draft.form(&[("form_token", form_token.as_str()), ("text", "Please call")]).send().await.unwrap();
    assert_eq!(kept.status(), StatusCode::NO_CONTENT);
    assert!(served.page().await.contains(">Please call</textarea>"));

    let fields = [("form_token", form_token.as_str()), ("once", "o1"), ("text", "Please call\r\nus.")];
    let answer = served.form("/inbox/reply", &fields).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(*served.fake.asked.lock().unwrap(), ["reply \"Please call\\nus.\" now=false"]);
    assert!(!served.page().await.contains(">Please call</textarea>"));
}

#[tokio::test]
async fn a_finding_keeps_the_text_and_says_what_to_write_instead() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    let fields = [("form_token", form_token.as_str()), ("once", "o1"), ("text", "é take metformin")];
    let plain = served.form("/inbox/reply", &fields).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = plain.text().await.unwrap();
    assert!(page.contains(">é take metformin</textarea>") && page.contains("A text may not name a medicine."));

    let checked = served.form("/inbox/check", &fields[..1]).form(&[fields[0], fields[2]]).send().await.unwrap();
    let json: serde_json::Value = checked.json().await.unwrap();
    assert_eq!(json["findings"][0]["start"], 7, "in characters");
    assert_eq!(json["line"], "1 segment · cannot leave like this");
    assert_eq!(json["may_send"], false);
    assert_eq!(json["neutral"], "é take your medicine");
    assert!(served.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_change_from_elsewhere_is_refused() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    let fields = [("form_token", form_token.as_str()), ("once", "o"), ("text", "hello")];
    let url = served.url("/inbox/reply");
    let own = served.address.as_str();
    let sent = |headers: &[(&str, &str)]| {
        let request = served.client.post(&url).header("cookie", &served.cookie).form(&fields);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), ("origin", own)],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
    ] {
        assert_eq!(sent(headers).await.unwrap().status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    let foreign = [("form_token", "AAAA"), ("once", "o"), ("text", "hello")];
    let answer = served.form("/inbox/reply", &foreign).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(served.fake.asked.lock().unwrap().is_empty());
    assert_eq!(sent(&[("origin", own)]).await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn unknown_texts_are_settled_and_tasks_closed_by_a_person() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    let text = crate::kernel::Id::<super::source::ThreadText>::from_bytes([5; 16]);
    let settle = [("form_token", form_token.as_str()), ("verdict", "not_sent")];
    let answer = served.form(&format!("/inbox/texts/{text}/settle"), &settle).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(*served.fake.asked.lock().unwrap(), [format!("settle {text} NotSent")]);

    let task = crate::kernel::Id::<super::source::ThreadTask>::from_bytes([9; 16]);
    let done = format!("/inbox/tasks/{task}/done");
    let close = || served.form(&done, &settle[..1]).send();
    assert_eq!(close().await.unwrap().status(), StatusCode::SEE_OTHER);
    let again = close().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert!(again.text().await.unwrap().contains("Somebody else was faster."));
}

#[tokio::test]
async fn live_events_carry_ids_only_and_do_not_keep_the_session_alive() {
    let served = Served::showing(fixture::normal()).await;
    served.clock.advance(SignedDuration::from_secs(200));
    let mut events = served.get("/inbox/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    served.change().await;
    let chunk = events.chunk().await.unwrap().unwrap();
    assert_eq!(chunk, format!("event: thread\ndata: {}\n\n", fixture::ANA));
    let fragment = served.get("/inbox/thread").send().await.unwrap().text().await.unwrap();
    assert!(fragment.contains("pain is worse today"));
    assert!(!fragment.contains("<html"));
    served.clock.advance(SignedDuration::from_secs(100));
    assert_eq!(served.get("/inbox/thread").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_streams() {
    let served = Served::showing(fixture::normal()).await;
    let mut events = served.get("/inbox/events").send().await.unwrap();
    served.parts.stop.cancel();
    assert_eq!(events.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn somebody_at_the_screen_keeps_the_session_and_signing_out_ends_it() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    served.clock.advance(SignedDuration::from_secs(250));
    let proof = [("form_token", form_token.as_str())];
    let left: serde_json::Value = served.form("/inbox/present", &proof).send().await.unwrap().json().await.unwrap();
    assert_eq!(left["seconds_left"], 300);
    let out = served.form("/inbox/sign-out", &proof).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::OK);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(out.text().await.unwrap().contains("You are signed out"));
    assert_eq!(served.get("/inbox").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn static_files_are_asked_for_once_and_then_only_by_their_tag() {
    let served = Served::showing(fixture::normal()).await;
    let file = served.get("/inbox/static/inbox.css").send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "text/css; charset=utf-8");
    let tag = file.headers()["etag"].clone();
    let again = served.get("/inbox/static/inbox.css").header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(served.get("/inbox/static/passwd").send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
