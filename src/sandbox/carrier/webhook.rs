//! The carrier's own requests: signed POSTs to a client's webhooks, with the vendor's timeouts and retries.
//!
//! A webhook URL's fragment may override them (`#ct=2000&rt=5000&tt=10000&rc=3&rp=all`); it is not part of what is
//! signed. Source: Twilio, "Webhooks (HTTP callbacks): connection overrides".

use super::{
    exchange::Exchange,
    signature::{self, Parameter},
};
use axum::body::Bytes;
use reqwest::{StatusCode, header};
use std::time::Duration;
use url::{Url, form_urlencoded};

/// The vendor's default for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// A webhook request that got an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// In lower case, without its parameters.
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

/// Why a webhook request got none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// No connection: 11205.
    NoConnection,
    /// Too slow, or the connection broke: 11200.
    NoAnswer,
}

impl Silence {
    pub(super) const fn error_code(self) -> u32 {
        match self {
            Self::NoConnection => 11205,
            Self::NoAnswer => 11200,
        }
    }
}

/// How the parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Form,
    Json,
}

/// One request to a webhook.
pub(super) struct Call<'a> {
    /// As configured, fragment and all.
    pub(super) target: &'a str,
    pub(super) parameters: &'a [Parameter],
    pub(super) encoding: Encoding,
    /// `I-Twilio-Idempotency-Token`: the same on every repetition.
    pub(super) token: &'a str,
}

/// Posts, and repeats as the overrides allow.
pub(super) async fn post(exchange: &Exchange, call: &Call<'_>) -> Result<Answer, Silence> {
    let (address, fragment) = call.target.split_once('#').unwrap_or((call.target, ""));
    let overrides = Overrides::read(fragment);
    let client = overrides.client(exchange).ok_or(Silence::NoConnection)?;
    let mut attempt = 0;
    loop {
        let outcome = tokio::time::timeout(overrides.total, post_once(exchange, &client, address, call))
            .await
            .unwrap_or(Err(Silence::NoAnswer));
        if attempt >= overrides.retries || !overrides.retry(&outcome) {
            return outcome;
        }
        attempt += 1;
    }
}

async fn post_once(
    exchange: &Exchange,
    client: &reqwest::Client,
    address: &str,
    call: &Call<'_>,
) -> Result<Answer, Silence> {
    let (address, content_type, body, signed) = match call.encoding {
        Encoding::Form => {
            let content_type = "application/x-www-form-urlencoded; charset=UTF-8";
            (address.to_owned(), content_type, form(call.parameters), call.parameters)
        }
        Encoding::Json => {
            let body = json(call.parameters);
            let separator = if address.contains('?') { '&' } else { '?' };
            let hash = signature::body_hash(body.as_bytes());
            (format!("{address}{separator}bodySHA256={hash}"), "application/json", body, [].as_slice())
        }
    };
    let url = Url::parse(&address).map_err(|_| Silence::NoConnection)?;
    let request = client
        .post(url)
        .header(header::USER_AGENT, "TwilioProxy/1.1")
        .header(header::CONTENT_TYPE, content_type)
        .header(header::ACCEPT, "*/*")
        .header("X-Twilio-Signature", signature::sign(&exchange.auth_token, &address, signed))
        .header("I-Twilio-Idempotency-Token", call.token)
        .body(body);
    let response = request
        .send()
        .await
        .map_err(|error| if error.is_connect() { Silence::NoConnection } else { Silence::NoAnswer })?;
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let content_type = content_type.trim().to_ascii_lowercase();
    let body = response.bytes().await.map_err(|_| Silence::NoAnswer)?;
    Ok(Answer { status, content_type, body })
}

/// `application/x-www-form-urlencoded`; bytes that are not UTF-8 travel as they are.
fn form(parameters: &[Parameter]) -> String {
    let pair = |(name, value): &Parameter| {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let value: String = form_urlencoded::byte_serialize(value).collect();
        format!("{name}={value}")
    };
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn json(parameters: &[Parameter]) -> String {
    let entry = |(name, value): &Parameter| (name.clone(), String::from_utf8_lossy(value).into_owned().into());
    serde_json::Value::Object(parameters.iter().map(entry).collect()).to_string()
}

/// The connection overrides of a webhook URL.
#[derive(Debug, PartialEq, Eq)]
struct Overrides {
    connect: Option<Duration>,
    total: Duration,
    retries: u8,
    policy: Vec<String>,
}

impl Overrides {
    /// Reads a fragment; what it does not say, or says out of range, is the vendor's default.
    fn read(fragment: &str) -> Self {
        let mut overrides = Self { connect: None, total: READ_TIMEOUT, retries: 1, policy: vec!["ct".to_owned()] };
        for (key, value) in form_urlencoded::parse(fragment.as_bytes()) {
            let millis = value.parse().ok().filter(|millis| (100..=15_000).contains(millis)).map(Duration::from_millis);
            match &*key {
                "ct" => overrides.connect = millis.filter(|limit| *limit <= Duration::from_secs(10)),
                "rt" | "tt" => overrides.total = millis.unwrap_or(overrides.total).min(overrides.total),
                "rc" => overrides.retries = value.parse().ok().filter(|count| *count <= 5).unwrap_or(1),
                "rp" => overrides.policy = value.split(',').map(str::to_owned).collect(),
                _ => {}
            }
        }
        overrides
    }

    fn client(&self, exchange: &Exchange) -> Option<reqwest::Client> {
        self.connect.map_or_else(|| Some(exchange.client.clone()), |limit| client(limit).ok())
    }

    fn retry(&self, outcome: &Result<Answer, Silence>) -> bool {
        let kind = match outcome {
            Err(Silence::NoConnection) => "ct",
            Err(Silence::NoAnswer) => "rt",
            Ok(answer) if answer.status.is_client_error() => "4xx",
            Ok(answer) if answer.status.is_server_error() => "5xx",
            Ok(_) => return false,
        };
        self.policy.iter().any(|policy| policy == kind || policy == "all")
    }
}

/// A client for webhooks. It asks no proxy: what it calls is on this machine or named on purpose.
pub(super) fn client(connect: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().connect_timeout(connect).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_read_from_the_fragment() {
        let default = Overrides::read("");
        assert_eq!((default.retries, default.total), (1, READ_TIMEOUT));
        assert!(default.retry(&Err(Silence::NoConnection)) && !default.retry(&Err(Silence::NoAnswer)));
        let all = Overrides::read("rc=3&rp=all&tt=2000");
        assert_eq!((all.retries, all.total), (3, Duration::from_secs(2)));
        assert!(all.retry(&Err(Silence::NoAnswer)));
        assert_eq!(Overrides::read("rc=9&tt=99999").retries, 1);
    }

    #[test]
    fn bytes_that_are_not_text_travel_unchanged() {
        assert_eq!(form(&[("Body".to_owned(), vec![0xff, b' ', b'a'])]), "Body=%FF+a");
    }
}
