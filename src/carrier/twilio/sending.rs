//! The form that sends a text, and what each answer to it means.

use super::{CONNECTION_OVERRIDES, errors, message::Code, message::MessageResource};
use crate::messaging::carrier_port::{FailureClass, NotSentReason, OutgoingText, Refusal, SendOutcome, UnknownReason};
use jiff::Timestamp;
use reqwest::{StatusCode, header::HeaderMap, header::RETRY_AFTER};
use serde::Deserialize;
use std::time::Duration;
use url::form_urlencoded;

/// The longest text that Twilio takes, in characters (error 21617).
const LONGEST_TEXT: usize = 1600;

/// The longest `ValidityPeriod`, in seconds; also what Twilio assumes without one.
pub(super) const LONGEST_VALIDITY: Duration = Duration::from_hours(10);

/// The longest wait that we let ourselves be told.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Refuses what Twilio would refuse for its length, without asking.
pub(super) fn refused_for_length(text: &OutgoingText) -> Option<SendOutcome> {
    let code = match text.body.as_str().chars().count() {
        0 => "21602",
        count if count > LONGEST_TEXT => "21617",
        _ => return None,
    };
    Some(refused(code.to_owned(), FailureClass::Content, None))
}

/// The form of `CreateMessage`.
pub(super) fn form(text: &OutgoingText, messaging_service_sid: Option<&str>) -> String {
    let mut callback = text.status_callback.clone();
    if callback.fragment().is_none() {
        callback.set_fragment(Some(CONNECTION_OVERRIDES));
    }
    let validity = text.validity.as_secs().clamp(1, LONGEST_VALIDITY.as_secs()).to_string();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("To", text.to.as_e164())
        .append_pair("From", text.from.as_e164())
        .append_pair("Body", text.body.as_str())
        .append_pair("StatusCallback", callback.as_str())
        .append_pair("ValidityPeriod", &validity);
    if let Some(sid) = messaging_service_sid {
        form.append_pair("MessagingServiceSid", sid);
    }
    form.finish()
}

/// What an answer means for the text. `body` is `None` where it could not be read whole.
pub(super) fn outcome(status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>, now: Timestamp) -> SendOutcome {
    if status.is_success() {
        return accepted(body);
    }
    let wait = retry_after(headers, now);
    let code = body.and_then(error_code);
    if status == StatusCode::TOO_MANY_REQUESTS || code.as_deref() == Some("20429") {
        return SendOutcome::NotSent { reason: NotSentReason::Throttled, retry_after: wait };
    }
    // A request timeout, a redirect or a server's failure says nothing about what happened behind it.
    if !status.is_client_error() || status == StatusCode::REQUEST_TIMEOUT {
        return SendOutcome::Unknown { reason: UnknownReason::Status(status.as_u16()) };
    }
    let refusal = refusal(status, code, wait);
    SendOutcome::Refused(refusal)
}

/// What a 4xx answer means.
pub(super) fn refusal(status: StatusCode, code: Option<String>, retry_after: Option<Duration>) -> Refusal {
    let of_the_status = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => FailureClass::Configuration,
        _ => FailureClass::Unknown,
    };
    match code {
        Some(code) => {
            let class = errors::known(&code).map_or(of_the_status, |row| row.class);
            Refusal { code, class, retry_after }
        }
        None => Refusal { code: format!("http-{}", status.as_u16()), class: of_the_status, retry_after },
    }
}

/// The code of an error body. Its message may repeat numbers: it is not read.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        code: Code,
    }
    serde_json::from_slice::<ErrorBody>(body).ok()?.code.text()
}

/// How long the carrier asks us to wait (RFC 9110 section 10.2.3: seconds, or a date), a day at most.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(until.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A 2xx answer: Twilio has the text, whether we can read the answer or not.
fn accepted(body: Option<&[u8]>) -> SendOutcome {
    let unreadable = SendOutcome::Unknown { reason: UnknownReason::UnreadableAnswer };
    let Some(resource) = body.and_then(|body| serde_json::from_slice::<MessageResource>(body).ok()) else {
        return unreadable;
    };
    let Some(report) = resource.report() else { return unreadable };
    match report.error_code {
        // Taken and given up in one breath.
        Some(code) if report.status.is_failure() => {
            let class = errors::class_of(&code);
            refused(code, class, None)
        }
        _ => SendOutcome::Accepted {
            segments: resource.segments(),
            carrier_id: report.carrier_id,
            status: report.status,
        },
    }
}

fn refused(code: String, class: FailureClass, retry_after: Option<Duration>) -> SendOutcome {
    SendOutcome::Refused(Refusal { code, class, retry_after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn wait_for(header: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(header));
        retry_after(&headers, "2026-11-22T12:00:00Z".parse().unwrap()).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        assert_eq!(wait_for("7"), Some(7));
        assert_eq!(wait_for("Sun, 22 Nov 2026 12:01:30 GMT"), Some(90));
        assert_eq!(wait_for("Sun, 22 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(wait_for("99999999999"), Some(86_400));
        assert_eq!(wait_for("soon"), None);
    }

    #[test]
    fn the_message_of_an_error_is_not_carried_on() {
        let body = br#"{"code": 21610, "message": "+12125550123 has replied STOP", "status": 400}"#;
        let outcome = outcome(StatusCode::BAD_REQUEST, &HeaderMap::new(), Some(body), Timestamp::UNIX_EPOCH);
        assert!(!format!("{outcome:?}").contains("2125550123"));
        assert!(matches!(outcome, SendOutcome::Refused(Refusal { class: FailureClass::OptedOut, .. })));
    }
}
