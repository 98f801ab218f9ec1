//! The error answers of the carrier's REST API, with its codes and its wording.
//!
//! Source: Twilio's error dictionary. The wording repeats the caller's input where the vendor's does: a client must
//! be shown to keep such text out of its own logs.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
    /// Seconds for the `Retry-After` header.
    retry_after: Option<u32>,
}

impl Refusal {
    /// A 400 with this code.
    pub(super) fn bad_request(code: u32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into(), retry_after: None }
    }

    /// 401, code 20003: the account and its token do not go together.
    pub(super) fn authenticate() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::bad_request(20003, "Authenticate") }
    }

    /// 404, code 20404: no such resource.
    pub(super) fn not_found(path: &str) -> Self {
        let message = format!("The requested resource {path} was not found");
        Self { status: StatusCode::NOT_FOUND, ..Self::bad_request(20404, message) }
    }

    /// 405, code 20004.
    pub(super) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::bad_request(20004, "Method not allowed") }
    }

    /// 409, code 20009: the message is still on its way.
    pub(super) fn not_complete() -> Self {
        let message = "Cannot delete message because delivery has not been completed.";
        Self { status: StatusCode::CONFLICT, ..Self::bad_request(20009, message) }
    }

    /// 429, code 20429: not processed; ask again after this many seconds.
    pub(super) fn too_many_requests(retry_after_secs: u32) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(retry_after_secs),
            ..Self::bad_request(20429, "Too Many Requests")
        }
    }

    /// 500, code 20500. Says nothing about whether the request took effect.
    pub(super) fn internal() -> Self {
        let message = "An internal server error has occurred";
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::bad_request(20500, message) }
    }

    /// The error code.
    #[cfg(test)]
    pub(super) const fn code(&self) -> u32 {
        self.code
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status.as_u16(),
        });
        if self.status == StatusCode::UNAUTHORIZED
            && let Some(body) = body.as_object_mut()
        {
            body.insert("detail".to_owned(), json!(""));
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Twilio API\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The vendor's words for an error code of a message or of a webhook.
pub(super) const fn meaning(code: u32) -> &'static str {
    match code {
        11200 => "HTTP retrieval failure",
        11205 => "HTTP connection failure",
        12100 => "Document parse failure",
        12200 => "Schema validation warning",
        12300 => "Invalid Content-Type",
        14101 => "Invalid \"To\" attribute",
        14103 => "Invalid Body",
        21610 => "Attempt to send to unsubscribed recipient",
        30003 => "Unreachable destination handset",
        30005 => "Unknown destination handset",
        30006 => "Landline or unreachable carrier",
        30007 => "Message filtered",
        30036 => "Validity Period Expired",
        _ => "Unknown error",
    }
}
