//! One HTTP exchange: bounded in time and size, without redirects, and told in terms that hold no URL. `smart` sends its
//! requests through it too.

use super::error::{FhirError, TransportFault};
use super::limits::Limits;
use super::outcome::Issues;
use super::resource::ETag;
use crate::kernel::{Exchange, Unanswered};
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use std::time::Duration;
use tracing::Instrument as _;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
pub(crate) enum Broken {
    /// Before anything came back.
    Request(TransportFault),
    /// After the status line: status and headers are known, the body is not.
    Body { status: u16, headers: HeaderMap, cause: BodyFault },
}

pub(crate) enum BodyFault {
    Transport(TransportFault),
    TooLarge,
}

/// The HTTP client that a [`FhirClient`](super::FhirClient) works with: no redirects, TLS by rustls, time limits.
///
/// # Errors
/// [`FhirError::Unreachable`] when the TLS stack cannot be set up.
pub(crate) fn http_client(limits: &Limits) -> Result<reqwest::Client, FhirError> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connect_timeout)
        .timeout(limits.request_timeout)
        .referer(false)
        .user_agent(concat!("chartwire/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| FhirError::Unreachable(TransportFault::Connect))
}

/// Sends `request` to `party` and reads the answer, at most `max_body` bytes of it.
pub(crate) async fn exchange(
    http: &reqwest::Client,
    party: &'static str,
    request: reqwest::Request,
    max_body: usize,
) -> Result<Answer, Broken> {
    let exchange = Exchange::begin(party, request.method().as_str(), request.url());
    let answer = answer(http, request, max_body).instrument(exchange.span()).await;
    match &answer {
        Ok(answer) => exchange.answered(answer.status),
        Err(Broken::Request(fault) | Broken::Body { cause: BodyFault::Transport(fault), .. }) => {
            exchange.unanswered((*fault).into());
        }
        Err(Broken::Body { cause: BodyFault::TooLarge, .. }) => exchange.unanswered(Unanswered::TooLarge),
    }
    answer
}

async fn answer(http: &reqwest::Client, request: reqwest::Request, max_body: usize) -> Result<Answer, Broken> {
    let mut response = http.execute(request).await.map_err(|error| Broken::Request(fault_of(&error)))?;
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    loop {
        let cause = match response.chunk().await {
            Ok(None) => return Ok(Answer { status, headers, body }),
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= max_body => {
                body.extend_from_slice(&chunk);
                continue;
            }
            Ok(Some(_)) => BodyFault::TooLarge,
            Err(error) => BodyFault::Transport(fault_of(&error)),
        };
        return Err(Broken::Body { status, headers, cause });
    }
}

impl From<TransportFault> for Unanswered {
    fn from(fault: TransportFault) -> Self {
        match fault {
            TransportFault::Connect => Self::Connect,
            TransportFault::Timeout => Self::Timeout,
            TransportFault::Interrupted => Self::Interrupted,
        }
    }
}

fn fault_of(error: &reqwest::Error) -> TransportFault {
    // A connect timeout is both; that no connection was made is what matters.
    if error.is_connect() || error.is_builder() {
        TransportFault::Connect
    } else if error.is_timeout() {
        TransportFault::Timeout
    } else {
        TransportFault::Interrupted
    }
}

impl Broken {
    /// The error of a read that broke like this.
    pub(super) fn into_error(self, max_body: usize) -> FhirError {
        match self {
            Self::Request(fault) | Self::Body { cause: BodyFault::Transport(fault), .. } => {
                FhirError::Unreachable(fault)
            }
            Self::Body { cause: BodyFault::TooLarge, .. } => FhirError::TooLarge { limit: max_body },
        }
    }
}

impl Answer {
    pub(super) fn issues(&self) -> Issues {
        Issues::from_json(&self.body)
    }

    /// The error of a read that was answered with this status (not 2xx).
    pub(super) fn to_error(&self, now: Timestamp) -> FhirError {
        match self.status {
            401 => FhirError::Unauthorized,
            403 => FhirError::Forbidden(self.issues()),
            404 | 410 => FhirError::NotFound,
            429 | 503 => FhirError::Throttled { retry_after: retry_after(&self.headers, now) },
            status @ 500.. => FhirError::ServerFault { status, issues: self.issues() },
            status => FhirError::Refused { status, issues: self.issues() },
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
}

pub(super) fn etag(headers: &HeaderMap) -> Option<ETag> {
    headers.get(ETAG).and_then(|value| value.to_str().ok()).map(ETag::from_header)
}

/// Whether the head says that the body is JSON, of FHIR or plain.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

pub(super) fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(LOCATION).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Sun, 22 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
