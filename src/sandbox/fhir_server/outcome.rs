//! Errors as FHIR tells them: an HTTP status and an `OperationOutcome`
//! (<https://hl7.org/fhir/R4/operationoutcome.html>).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// The media type of FHIR JSON (<https://hl7.org/fhir/R4/http.html#mime-type>).
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// A refusal, as the server's caller reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FhirError {
    /// 400: the request or the resource cannot be read as FHIR.
    #[error("{0}")]
    Invalid(String),
    /// 400: a search parameter or modifier that this server does not know for the type.
    #[error("{0}")]
    UnknownParameter(String),
    /// 401: no token, or one that does not hold.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// 403: the token's scopes do not cover the interaction.
    #[error("the token's scopes do not cover this interaction")]
    InsufficientScope,
    /// 404: no such resource, type or path.
    #[error("there is no such resource here")]
    NotFound,
    /// 405: the interaction is not offered.
    #[error("this server does not offer that interaction; see its CapabilityStatement")]
    NotSupported,
    /// 406: the caller does not accept FHIR JSON of R4.
    #[error("this server answers application/fhir+json of FHIR 4.0 only")]
    NotAcceptable,
    /// 409: what is asked contradicts what other resources say, such as a slot that is taken.
    #[error("{0}")]
    Conflict(&'static str),
    /// 410: the resource was deleted.
    #[error("the resource was deleted")]
    Deleted,
    /// 412: `If-Match` names another version, or `If-None-Exist` matches several resources.
    #[error("{0}")]
    PreconditionFailed(&'static str),
    /// 413: the body is too large.
    #[error("the body is larger than this server takes")]
    TooLarge,
    /// 415: the body's media type is not the one that the interaction takes.
    #[error("this interaction takes a body of type {0}")]
    UnsupportedMediaType(&'static str),
    /// 422: it reads as FHIR but breaks a rule of the type.
    #[error("{0}")]
    Unprocessable(String),
}

impl FhirError {
    /// The HTTP status and the issue type (<https://hl7.org/fhir/R4/valueset-issue-type.html>).
    #[must_use]
    pub const fn codes(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::UnknownParameter(_) => (StatusCode::BAD_REQUEST, "not-supported"),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "login"),
            Self::InsufficientScope => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::NotSupported => (StatusCode::METHOD_NOT_ALLOWED, "not-supported"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-supported"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::Deleted => (StatusCode::GONE, "deleted"),
            Self::PreconditionFailed(_) => (StatusCode::PRECONDITION_FAILED, "conflict"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported"),
            Self::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "business-rule"),
        }
    }

    /// The `OperationOutcome` of this refusal.
    #[must_use]
    pub fn outcome(&self) -> Value {
        issue("error", self.codes().1, &self.to_string())
    }
}

/// An `OperationOutcome` with one issue.
#[must_use]
pub fn issue(severity: &str, code: &str, diagnostics: &str) -> Value {
    json!({
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": diagnostics}],
    })
}

/// A FHIR JSON answer.
#[must_use]
pub fn fhir_json(status: StatusCode, body: &Value) -> Response {
    let mut answer = (status, body.to_string()).into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
    answer
}

impl IntoResponse for FhirError {
    fn into_response(self) -> Response {
        let mut answer = fhir_json(self.codes().0, &self.outcome());
        // RFC 6750 section 3.
        let challenge = match self {
            Self::Unauthenticated(_) => Some("Bearer error=\"invalid_token\""),
            Self::InsufficientScope => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        answer
    }
}
