//! Staff launch the inbox from the EHR, read and answer, all over HTTP with a browser's cookies kept by hand.

use crate::{
    database::both_databases,
    service::{ANA, SLUG, Service, Setting},
};
use chartwire::{
    db::sql,
    sandbox::{
        LaunchContext,
        carrier::{Fault, FaultKind},
        clinic::persona,
    },
};
use jiff::SignedDuration;
use reqwest::{Response, StatusCode, header, redirect::Policy};
use std::{collections::BTreeMap, sync::Mutex};
use url::Url;

const SESSION: &str = "__Host-chartwire";
const LAUNCH: &str = "__Host-chartwire-launch";

/// A browser: follows no redirect by itself, keeps the cookies of our host.
pub(crate) struct Browser {
    http: reqwest::Client,
    base: Url,
    cookies: Mutex<BTreeMap<String, String>>,
    /// Where the last launch led to, without the slash before it.
    at: Mutex<String>,
}

impl Browser {
    pub(crate) fn new(service: &Service) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            http,
            base: service.base.parse().unwrap(),
            cookies: Mutex::default(),
            at: Mutex::new("inbox".to_owned()),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, url: &Url) -> Response {
        let ours = url.origin() == self.base.origin();
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if ours { request.header(header::COOKIE, cookies.join("; ")) } else { request };
        let response = request.send().await.unwrap();
        for set in response.headers().get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            if ours {
                assert_attributes(set);
            }
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        response
    }

    async fn get(&self, url: Url) -> Response {
        let answer = self.send(self.http.get(url.clone()), &url).await;
        if answer.status() == StatusCode::SEE_OTHER && location(&answer).path().starts_with("/inbox/") {
            *self.at.lock().unwrap() = location(&answer).path().trim_start_matches('/').to_owned();
        }
        answer
    }

    /// Where the inbox of the last launch is.
    pub(crate) fn at(&self) -> String {
        self.at.lock().unwrap().clone()
    }

    /// The whole address of a path. `inbox` without a slash before it is that of the last launch.
    fn url(&self, path: &str) -> Url {
        let path = path.strip_prefix("inbox").map_or_else(|| path.to_owned(), |rest| format!("{}{rest}", self.at()));
        self.base.join(&path).unwrap()
    }

    pub(crate) async fn page(&self, path: &str) -> Response {
        self.get(self.url(path)).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let url = self.url(path);
        let request = self.http.post(url.clone()).header("sec-fetch-site", "same-origin").form(form);
        self.send(request, &url).await
    }

    /// From the launch to the EHR and back: the address of the callback, not opened yet.
    async fn until_callback(&self, service: &Service, practitioner: &str) -> Url {
        self.until_callback_with(service, practitioner, persona::ANA_LOPEZ).await
    }

    async fn until_callback_with(&self, service: &Service, practitioner: &str, patient: &str) -> Url {
        let sign_in = location(&self.get(launch_url_with(service, practitioner, patient)).await);
        assert_eq!(sign_in.origin(), service.ehr.base_url().origin());
        let callback = location(&self.get(sign_in).await);
        assert_eq!(callback.path(), "/smart/callback");
        callback
    }

    /// The whole launch, up to the answer of the callback.
    pub(crate) async fn launch(&self, service: &Service, practitioner: &str) -> Response {
        let callback = self.until_callback(service, practitioner).await;
        self.get(callback).await
    }

    /// Launches the inbox and gives the page of consent.
    pub(crate) async fn consent_page(&self, service: &Service, practitioner: &str, patient: &str) -> String {
        let callback = self.until_callback_with(service, practitioner, patient).await;
        assert_eq!(self.get(callback).await.status(), StatusCode::SEE_OTHER);
        let page = self.page("inbox/consent").await;
        assert_eq!(page.status(), StatusCode::OK);
        page.text().await.unwrap()
    }

    fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned().filter(|value| !value.is_empty())
    }

    fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }
}

/// What a cookie needs inside a frame of another site, and what keeps it to this host.
fn assert_attributes(set: &str) {
    let parts: Vec<&str> = set.split("; ").collect();
    assert!(parts[0].starts_with("__Host-"), "{parts:?}");
    for attribute in ["Secure", "HttpOnly", "SameSite=None", "Partitioned", "Path=/"] {
        assert!(parts.contains(&attribute), "{attribute} in {parts:?}");
    }
    assert!(!set.contains("Domain"), "{set}");
}

fn launch_url(service: &Service, practitioner: &str) -> Url {
    launch_url_with(service, practitioner, persona::ANA_LOPEZ)
}

fn launch_url_with(service: &Service, practitioner: &str, patient: &str) -> Url {
    let context = LaunchContext {
        practitioner: practitioner.to_owned(),
        patient: patient.to_owned(),
        encounter: None,
        appointment: None,
    };
    service.ehr.launch(context, None).unwrap()
}

fn location(response: &Response) -> Url {
    assert!(response.status().is_redirection(), "{}", response.status());
    let to = response.headers()[header::LOCATION].to_str().unwrap();
    response.url().join(to).unwrap()
}

/// The value of a hidden field.
pub(crate) fn field(page: &str, name: &str) -> String {
    let from = page.find(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no {name}"));
    let rest = &page[from..];
    let value = rest.find("value=\"").unwrap() + "value=\"".len();
    rest[value..].split('"').next().unwrap().to_owned()
}

pub(crate) async fn count(service: &Service, text: &'static str) -> i64 {
    service.app.db().one(sql(text)).await.unwrap().get("n").unwrap()
}

async fn ready(database: &crate::database::TestDatabase) -> Service {
    let service = Service::start(database, Setting::default()).await;
    service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
    service
}

both_databases! {
    async fn a_nurse_launches_reads_and_answers(database: TestDatabase) {
        let service = ready(&database).await;
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        let browser = Browser::new(&service);
        let callback = browser.launch(&service, persona::NURSE_REED).await;
        assert_eq!(callback.status(), StatusCode::SEE_OTHER);
        assert!(location(&callback).path().starts_with("/inbox/"));
        let inbox = browser.page("inbox").await;
        let policy = inbox.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.ends_with("frame-ancestors https://ehr.example.org"), "{policy}");
        let page = inbox.text().await.unwrap();
        assert!(page.contains("my knee hurts more today") && page.contains("Carla Reed"), "{page}");

        let (form_token, once) = (field(&page, "form_token"), field(&page, "once"));
        let reply = [("form_token", form_token.as_str()), ("once", &once), ("text", "Please call us this afternoon.")];
        for _ in 0..2 {
            // Sent off twice by an impatient finger.
            let sent = browser.post("inbox/reply", &reply).await;
            assert_eq!(sent.status(), StatusCode::SEE_OTHER, "{}", sent.text().await.unwrap());
        }
        service.settle().await;
        let on_the_phone = service.on(ANA);
        assert_eq!(on_the_phone.iter().filter(|text| text.contains("call us this afternoon")).count(), 1, "{on_the_phone:?}");
        let reads = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action = 'read' AND purpose = 'thread'";
        assert!(count(&service, reads).await >= 2);
        let sends = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action = 'send' AND purpose = 'reply'";
        assert_eq!(count(&service, sends).await, 1);

        // What the guard finds does not leave.
        let page = browser.page("inbox").await.text().await.unwrap();
        let once = field(&page, "once");
        let refused = [("form_token", form_token.as_str()), ("once", &once), ("text", "Take more metformin today.")];
        assert_eq!(browser.post("inbox/reply", &refused).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
        service.settle().await;
        assert_eq!(service.on(ANA).len(), on_the_phone.len());
        // Nor does anything to a number that said STOP.
        service.text(ANA, "STOP").await;
        service.settle().await;
        let before = service.on(ANA).len();
        let page = browser.page("inbox").await.text().await.unwrap();
        assert!(page.contains("STOP"), "{page}");
        let stopped = [("form_token", form_token.as_str()), ("once", "another"), ("text", "Are you there?")];
        assert_eq!(browser.post("inbox/reply", &stopped).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
        service.settle().await;
        assert_eq!(service.on(ANA).len(), before);
        service.stop().await;
    }

    async fn what_a_nurse_decides_about_a_lost_text_is_audited_once(database: TestDatabase) {
        let service = ready(&database).await;
        service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).times(1));
        let ana = service.directory().by_fhir_id(service.tenant, persona::ANA_LOPEZ).await.unwrap().unwrap().id;
        let text = service.queue(service.reminder(ana, ANA)).await;
        for _ in 0..8 {
            service.settle().await;
            service.advance(SignedDuration::from_secs(90));
        }
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        let page = browser.page("inbox").await.text().await.unwrap();
        assert!(page.contains("decide here"), "{page}");
        let form = [("form_token", field(&page, "form_token")), ("verdict", "sent".to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let settled = browser.post(&format!("inbox/texts/{text}/settle"), &form).await;
        assert_eq!(settled.status(), StatusCode::SEE_OTHER);
        let acts = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action <> 'read' AND subjects LIKE '%\"message\"%'";
        assert_eq!(count(&service, acts).await, 1);
        let whole = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND purpose = 'attempt-settled' \
             AND request IS NOT NULL AND subjects LIKE '%\"patient\"%'";
        assert_eq!(count(&service, whole).await, 1);
        service.stop().await;
    }

    async fn a_scheduler_sees_that_there_is_a_clinical_text_and_not_what(database: TestDatabase) {
        let service = ready(&database).await;
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::SCHEDULER_DIAZ).await;
        let page = browser.page("inbox").await.text().await.unwrap();
        assert!(page.contains("Clinical message") && !page.contains("knee"), "{page}");
        let opened = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action = 'read' AND subjects LIKE '%\"message\"%'";
        assert_eq!(count(&service, opened).await, 0, "what is held back is not opened");
        service.stop().await;
    }

    async fn a_callback_is_taken_once_and_only_from_its_own_browser(database: TestDatabase) {
        let service = ready(&database).await;
        let browser = Browser::new(&service);
        let callback = browser.until_callback(&service, persona::NURSE_REED).await;
        assert_eq!(browser.get(callback.clone()).await.status(), StatusCode::SEE_OTHER);
        // Replayed.
        let session = browser.cookie(SESSION);
        let replayed = browser.get(callback).await;
        assert_eq!(replayed.status(), StatusCode::FORBIDDEN);
        assert!(!replayed.headers().contains_key(header::SET_COOKIE));
        assert_eq!(browser.cookie(SESSION), session);
        // In somebody else's browser, which has a launch of its own under way.
        let other = Browser::new(&service);
        other.until_callback(&service, persona::NURSE_REED).await;
        let callback = browser.until_callback(&service, persona::NURSE_REED).await;
        let swapped = other.get(callback.clone()).await;
        assert_eq!(swapped.status(), StatusCode::FORBIDDEN);
        assert!(other.cookie(SESSION).is_none());
        // And it is spent then, even in the right one.
        assert_eq!(browser.get(callback).await.status(), StatusCode::FORBIDDEN);
        // A made-up cookie ties nothing.
        let callback = browser.until_callback(&service, persona::NURSE_REED).await;
        browser.set_cookie(LAUNCH, "made-up");
        assert_eq!(browser.get(callback).await.status(), StatusCode::FORBIDDEN);
        service.stop().await;
    }

    async fn nothing_is_fetched_for_an_ehr_that_nobody_registered(database: TestDatabase) {
        let service = ready(&database).await;
        let stranger = wiremock::MockServer::start().await;
        let browser = Browser::new(&service);
        let registered = service.ehr.fhir_base().as_str();
        for (path, iss) in [
            ("smart/launch".to_owned(), stranger.uri()),
            (format!("smart/launch/{SLUG}"), stranger.uri()),
            ("smart/launch/nowhere".to_owned(), registered.to_owned()),
            ("smart/launch".to_owned(), registered.to_uppercase()),
            ("smart/launch".to_owned(), format!("{registered}.evil.example")),
        ] {
            let mut url = browser.base.join(&path).unwrap();
            url.query_pairs_mut().append_pair("iss", &iss).append_pair("launch", "xyz");
            let refused = browser.get(url).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
            assert!(!refused.headers().contains_key(header::SET_COOKIE));
            assert!(!refused.text().await.unwrap().contains(&iss), "no page repeats what was sent");
        }
        assert!(stranger.received_requests().await.unwrap().is_empty());
        // The practice's own address works as the shared one does.
        let mut own = browser.base.join(&format!("smart/launch/{SLUG}")).unwrap();
        own.set_query(launch_url(&service, persona::NURSE_REED).query());
        assert!(browser.get(own.clone()).await.status().is_redirection());
        // The same EHR, with the slash at its end that some write and some leave out.
        own.query_pairs_mut().clear().append_pair("iss", &format!("{registered}/")).append_pair("launch", "xyz");
        assert!(browser.get(own).await.status().is_redirection());
        service.stop().await;
    }

    async fn another_launch_ends_the_browsers_session_and_no_role_means_no_session(database: TestDatabase) {
        let service = ready(&database).await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        let first = browser.cookie(SESSION).unwrap();
        browser.launch(&service, persona::SCHEDULER_DIAZ).await;
        let second = browser.cookie(SESSION).unwrap();
        assert_ne!(first, second);
        browser.set_cookie(SESSION, &first);
        assert_eq!(browser.page("inbox").await.status(), StatusCode::UNAUTHORIZED);
        browser.set_cookie(SESSION, &second);
        assert_eq!(browser.page("inbox").await.status(), StatusCode::OK);
        // Somebody without a role takes over the screen: nothing of the one before stays on it.
        let refused = browser.launch(&service, persona::WITHOUT_ROLE).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert!(refused.text().await.unwrap().contains("no role"));
        assert!(browser.cookie(SESSION).is_none());
        browser.set_cookie(SESSION, &second);
        assert_eq!(browser.page("inbox").await.status(), StatusCode::UNAUTHORIZED);
        let refusals = "SELECT COUNT(*) AS n FROM audit_row WHERE action = 'sign_in' AND outcome = 'refused'";
        assert_eq!(count(&service, refusals).await, 1);
        let sign_ins = "SELECT COUNT(*) AS n FROM audit_row WHERE action = 'sign_in' AND outcome = 'success'";
        assert_eq!(count(&service, sign_ins).await, 2);
        service.stop().await;
    }

    async fn a_page_of_one_patient_never_shows_or_changes_the_next(database: TestDatabase) {
        let service = ready(&database).await;
        service.patient(persona::JAMES_CARTER, "James", crate::service::JAMES).await;
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        let anas = format!("/{}", browser.at());
        let page = browser.page(&anas).await.text().await.unwrap();
        assert!(page.contains("knee"), "{page}");
        let (form_token, once) = (field(&page, "form_token"), field(&page, "once"));
        let callback = browser.until_callback_with(&service, persona::NURSE_REED, persona::JAMES_CARTER).await;
        browser.get(callback).await;
        let james = browser.page("inbox").await.text().await.unwrap();
        assert!(james.contains("James") && !james.contains(&anas), "{james}");
        let token_now = field(&james, "form_token");
        for path in ["", "/consent", "/idle"] {
            let shown = browser.page(&format!("{anas}{path}")).await;
            assert_eq!(shown.status(), StatusCode::GONE, "{path}");
            let shown = shown.text().await.unwrap();
            assert!(shown.contains("Opened by another launch") && !shown.contains("James") && !shown.contains("Ana"), "{shown}");
        }
        for path in ["/thread", "/events"] {
            let told = browser.page(&format!("{anas}{path}")).await;
            assert_eq!(told.status(), StatusCode::GONE, "{path}");
            assert_eq!(told.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert!(!told.text().await.unwrap().contains("James"));
        }
        let before = service.on(crate::service::JAMES).len();
        // Whatever the form token: the address alone says that the page is over.
        for token in [&form_token, &token_now] {
            let fields = [("form_token", token.as_str()), ("once", once.as_str()), ("text", "Please call us today.")];
            for path in ["/reply", "/check", "/present", "/consent/agreed", "/sign-out"] {
                assert_eq!(browser.post(&format!("{anas}{path}"), &fields).await.status(), StatusCode::GONE, "{path}");
            }
        }
        service.settle().await;
        assert_eq!(service.on(crate::service::JAMES).len(), before);
        assert_eq!(browser.page("inbox").await.status(), StatusCode::OK, "the new launch goes on");
        service.stop().await;
    }

    async fn a_session_runs_out_when_nobody_is_there(database: TestDatabase) {
        let service = ready(&database).await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        service.advance(SignedDuration::from_mins(11));
        let page = browser.page("inbox").await;
        assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
        assert!(page.text().await.unwrap().contains("without activity"));
        service.stop().await;
    }

    async fn a_session_of_which_nobody_asks_any_more_is_ended_by_a_job(database: TestDatabase) {
        let service = ready(&database).await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        service.app.schedule().await.unwrap();
        service.app.schedule().await.unwrap();
        let open = "SELECT COUNT(*) AS n FROM session WHERE ended_at IS NULL";
        service.settle().await;
        assert_eq!(count(&service, open).await, 1, "it has not run out");
        for _ in 0..6 {
            service.advance(SignedDuration::from_mins(1));
            service.settle().await;
        }
        assert_eq!(count(&service, open).await, 0);
        let grants = "SELECT COUNT(*) AS n FROM session WHERE grant_tokens IS NOT NULL";
        assert_eq!(count(&service, grants).await, 0);
        let told = "SELECT COUNT(*) AS n FROM audit_row WHERE action = 'sign_out' AND detail LIKE '%idle%'";
        assert_eq!(count(&service, told).await, 1);
        service.stop().await;
    }

    async fn a_patient_whom_we_do_not_know_is_taken_in_at_the_launch(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let browser = Browser::new(&service);
        browser.launch(&service, persona::NURSE_REED).await;
        let page = browser.page("inbox").await.text().await.unwrap();
        assert!(page.contains("Lopez"), "{page}");
        let keys = browser.page(".well-known/jwks.json?registration=backend").await;
        assert!(keys.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("max-age"));
        let keys: serde_json::Value = keys.json().await.unwrap();
        assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["d"]), (1, &serde_json::Value::Null));
        assert_eq!(browser.page(".well-known/jwks.json?registration=x").await.status(), StatusCode::NOT_FOUND);
        service.stop().await;
    }
}
