//! One mapping of failures to answers, in three forms: problem details (RFC 9457) for programs, `OperationOutcome` on
//! FHIR endpoints, a plain page for people.
//!
//! A handler returns a [`Failure`]; the section it stands in decides the form ([`in_form`]). What the framework itself
//! refuses (no such route, wrong method, body too large, too slow) takes the same way.

use super::page;
use crate::{access::AccessError, db::DbError, vault::VaultError};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::borrow::Cow;

/// What we ask for where something does not work right now, in seconds: most outages of a part are a restart.
const UNAVAILABLE_FOR: u32 = 5;

/// How a failure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// `application/fhir+json` with an `OperationOutcome` (FHIR R4 section 3.1.0.1.6).
    OperationOutcome,
    /// A page for a person.
    Page,
}

/// Why a request was not answered as asked. `detail`s say what to do and never repeat what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be understood.
    BadRequest(Cow<'static, str>),
    /// Nobody who may be answered: credentials are missing or do not hold.
    Unauthorized,
    /// Known, and not allowed.
    Forbidden(&'static str),
    /// There is no such thing, or it is not this tenant's.
    NotFound,
    /// The route does not know this method.
    MethodNotAllowed,
    /// It would contradict what is there now.
    Conflict(&'static str),
    /// It was there and will not be again.
    Gone(&'static str),
    /// The body is too large.
    TooLarge,
    /// The body took too long to come.
    TooSlow,
    /// The body is of a kind that is not taken here.
    UnsupportedMediaType,
    /// Understood, and cannot be done as it stands.
    Unprocessable(Cow<'static, str>),
    /// Too many requests; how many seconds to wait.
    TooMany(u32),
    /// Not now; trying again may help.
    Unavailable,
    /// Our mistake.
    Internal,
}

impl Failure {
    /// The failure that an error of ours is, logged where it is nobody's but ours. The error's own words hold no PHI
    /// (law 9).
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static), is_transient: bool) -> Self {
        tracing::error!(error, transient = is_transient, "a request failed");
        if is_transient { Self::Unavailable } else { Self::Internal }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden("not allowed"),
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::CONFLICT => Self::Conflict("in conflict with what is there now"),
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unprocessable(Cow::Borrowed("a field is missing or malformed")),
            StatusCode::TOO_MANY_REQUESTS => Self::TooMany(60),
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable,
            status if status.is_server_error() => Self::Internal,
            _ => Self::BadRequest(Cow::Borrowed("the request cannot be understood")),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Code, title, FHIR issue type (value set `issue-type`).
    const fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest(_) => ("bad-request", "The request cannot be understood", "invalid"),
            Self::Unauthorized => ("unauthorized", "Sign in first", "login"),
            Self::Forbidden(_) => ("forbidden", "This is not allowed", "forbidden"),
            Self::NotFound => ("not-found", "There is nothing here", "not-found"),
            Self::MethodNotAllowed => ("method-not-allowed", "This cannot be done here", "not-supported"),
            Self::Conflict(_) => ("conflict", "Something else happened meanwhile", "conflict"),
            Self::Gone(_) => ("gone", "This is over", "deleted"),
            Self::TooLarge => ("too-large", "That is too large", "too-long"),
            Self::TooSlow => ("too-slow", "That took too long to come", "timeout"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "This kind of content is not taken", "not-supported")
            }
            Self::Unprocessable(_) => ("unprocessable", "This cannot be done as it stands", "business-rule"),
            Self::TooMany(_) => ("too-many-requests", "Too many requests", "throttled"),
            Self::Unavailable => ("unavailable", "This does not work right now", "transient"),
            Self::Internal => ("internal", "Something went wrong on our side", "exception"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(detail) | Self::Unprocessable(detail) => return detail.clone(),
            Self::Forbidden(detail) | Self::Conflict(detail) | Self::Gone(detail) => detail,
            Self::Unauthorized => "Send valid credentials.",
            Self::NotFound => "Check the address.",
            Self::MethodNotAllowed => "Use a method that the Allow header lists.",
            Self::TooLarge => "Send less at a time.",
            Self::TooSlow => "Send it again.",
            Self::UnsupportedMediaType => "Send a content type that this endpoint takes.",
            Self::TooMany(_) => "Wait as long as the Retry-After header says.",
            Self::Unavailable => "Try again in a moment.",
            Self::Internal => "It has been noted. Give the request id when you report it.",
        })
    }

    /// The answer in this form.
    #[must_use]
    pub fn told(&self, form: Form) -> Response {
        let mut response = match form {
            Form::Problem => self.as_problem(),
            Form::OperationOutcome => self.as_outcome(),
            Form::Page => page::failure(self.status(), self.names().1, &self.detail()),
        };
        *response.status_mut() = self.status();
        let wait = match self {
            Self::TooMany(seconds) => Some(*seconds),
            Self::Unavailable => Some(UNAVAILABLE_FOR),
            _ => None,
        };
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The rest of the body may still be on its way (RFC 9110 section 15.5.9).
        if *self == Self::TooSlow {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn as_problem(&self) -> Response {
        let (code, title, _) = self.names();
        let body = json!({
            "type": format!("urn:chartwire:problem:{code}"),
            "title": title,
            "status": self.status().as_u16(),
            "detail": self.detail(),
        });
        json_as("application/problem+json", &body)
    }

    fn as_outcome(&self) -> Response {
        let (code, title, issue) = self.names();
        let severity = if *self == Self::Internal { "fatal" } else { "error" };
        let body = json!({
            "resourceType": "OperationOutcome",
            "issue": [{
                "severity": severity,
                "code": issue,
                "details": { "coding": [{ "system": "urn:chartwire:problem", "code": code }], "text": title },
                "diagnostics": self.detail(),
            }],
        });
        json_as("application/fhir+json", &body)
    }
}

fn json_as(content_type: &'static str, body: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body.to_string()).into_response()
}

/// Marks an answer that is not in its final form yet.
#[derive(Clone)]
struct Untold(Failure);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.told(Form::Problem);
        response.extensions_mut().insert(Untold(self));
        response
    }
}

/// Tells failures in the form of the section: those that handlers return and those of the framework, which come as plain
/// text or with no body. Whatever a handler has put into words itself stays.
pub(super) async fn in_form(State(form): State<Form>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let failure = match response.extensions_mut().remove::<Untold>() {
        Some(Untold(failure)) => failure,
        None if is_bare(&response) => Failure::of_status(response.status()),
        None => return response,
    };
    let mut told = failure.told(form);
    for kept in [header::ALLOW, header::CONTENT_SECURITY_POLICY, header::SET_COOKIE] {
        if let Some(value) = response.headers_mut().remove(&kept) {
            told.headers_mut().insert(kept, value);
        }
    }
    told
}

fn is_bare(response: &Response) -> bool {
    let status = response.status();
    (status.is_client_error() || status.is_server_error()) && is_plain_or_missing(response.headers())
}

fn is_plain_or_missing(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|content_type| content_type.to_str().is_ok_and(|text| text.starts_with("text/plain")))
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match error {
            DbError::NotFound => Self::NotFound,
            error => Self::of(&error, error.is_transient()),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::of(&error, error.is_transient())
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::of(&error, error.is_transient())
    }
}
