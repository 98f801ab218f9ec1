//! The carrier over HTTP, as a client meets it.

mod api;
mod callbacks;
mod faults;
mod inbound;
mod page;

use super::*;
use crate::kernel::{Instruments, Language, ManualClock, SeededEntropy};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

pub(super) const ACCOUNT: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const TOKEN: &str = "12345";
/// A number whose keywords the carrier answers.
pub(super) const CLINIC: &str = "+12125550100";
/// One that only forwards them.
pub(super) const PLAIN: &str = "+12125550101";
pub(super) const ANA: &str = "+12125550123";
pub(super) const LANDLINE: &str = "+12125550124";
pub(super) const OFF: &str = "+12125550125";

/// A carrier, and a client that answers its webhooks.
pub(super) struct Bench {
    pub(super) carrier: RunningCarrier,
    pub(super) webhooks: MockServer,
    pub(super) clock: Arc<ManualClock>,
    pub(super) http: reqwest::Client,
}

impl Bench {
    /// A bench whose webhooks answer with an empty document.
    pub(super) async fn new() -> Self {
        let bench = Self::unanswered().await;
        bench.answer("/inbound", ResponseTemplate::new(200).set_body_raw("<Response/>", "text/xml")).await;
        bench.answer("/status", ResponseTemplate::new(204)).await;
        bench
    }

    /// A bench whose webhooks answer 404 until told otherwise.
    pub(super) async fn unanswered() -> Self {
        let webhooks = MockServer::start().await;
        let clock = Arc::new(ManualClock::at("2026-11-22T20:05:25Z".parse().unwrap()));
        let number = |number, answers_keywords| CarrierNumber {
            number: PhoneNumber::parse(number).unwrap(),
            inbound_webhook: Url::parse(&format!("{}/inbound?practice=1", webhooks.uri())).unwrap(),
            fallback_webhook: Some(Url::parse(&format!("{}/fallback", webhooks.uri())).unwrap()),
            answers_keywords,
        };
        let phone = |name: &str, number, kind| Phone {
            name: name.to_owned(),
            number: PhoneNumber::parse(number).unwrap(),
            kind,
            language: Language::English,
        };
        let options = CarrierOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            instruments: Instruments::new(clock.clone(), Arc::new(SeededEntropy::new(1))),
            seed: 1,
            account_sid: ACCOUNT.to_owned(),
            auth_token: TOKEN.to_owned(),
            numbers: vec![number(CLINIC, true), number(PLAIN, false)],
            phones: vec![
                phone("Ana Lopez", ANA, PhoneKind::Mobile),
                phone("Ida Stone", LANDLINE, PhoneKind::Landline),
                phone("Bo Reed", OFF, PhoneKind::Unreachable),
            ],
            callback_delay: Duration::ZERO,
        };
        let carrier = RunningCarrier::start(options).await.unwrap();
        Self { carrier, webhooks, clock, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub(super) async fn answer(&self, path: &str, answer: ResponseTemplate) {
        Mock::given(matchers::path(path)).respond_with(answer).mount(&self.webhooks).await;
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}", self.carrier.api_base(), path.trim_start_matches('/'))
    }

    /// A request to the account's part of the API, with its credentials.
    pub(super) fn api(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.url(&format!("2010-04-01/Accounts/{ACCOUNT}/{path}"));
        self.http.request(method, url).basic_auth(ACCOUNT, Some(TOKEN))
    }

    pub(super) async fn post(&self, form: &[(&str, &str)]) -> reqwest::Response {
        self.api(Method::POST, "Messages.json").form(form).send().await.unwrap()
    }

    /// Sends a text that must be accepted.
    pub(super) async fn send(&self, from: &str, to: &str, body: &str) -> Value {
        let callback = format!("{}/status?attempt=7", self.webhooks.uri());
        let form = [("From", from), ("To", to), ("Body", body), ("StatusCallback", &callback)];
        let response = self.post(&form).await;
        assert_eq!(response.status(), 201);
        response.json().await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.api(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    /// What was posted to a path, in order of arrival.
    pub(super) async fn received(&self, path: &str) -> Vec<Request> {
        let mut requests = self.webhooks.received_requests().await.unwrap();
        requests.retain(|request| request.url.path() == path);
        requests
    }

    /// The URL of a webhook request as its owner configured it.
    pub(super) fn configured(&self, request: &Request) -> String {
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{}{query}", self.webhooks.uri(), request.url.path())
    }

    /// Checks a signature as a client would: over the URL that it knows itself by.
    pub(super) fn is_signed(&self, request: &Request) -> bool {
        let parameters: Vec<_> = fields(request).into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        request.headers["X-Twilio-Signature"] == signature::sign(TOKEN, &self.configured(request), &parameters)
    }

    /// The statuses of the callbacks, in order of arrival, when all is settled.
    pub(super) async fn statuses(&self) -> Vec<String> {
        self.carrier.settled().await;
        self.received("/status").await.iter().map(|request| fields(request)["MessageStatus"].clone()).collect()
    }
}

/// The form fields of a webhook request.
pub(super) fn fields(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}
