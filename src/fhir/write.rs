//! Writes: sent once, and told by what is known afterwards, so that a ledger can act on it.

use super::client::{FHIR_JSON, FhirClient, authorized};
use super::error::{AddressFault, TransportFault};
use super::outcome::Issues;
use super::reference::{ResourceRef, check_type};
use super::resource::{ETag, Resource};
use super::search::SearchParams;
use super::token::TokenError;
use super::transport::{self, Answer, Broken};
use http::header::{CONTENT_TYPE, IF_MATCH};
use reqwest::RequestBuilder;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// What is known about a write after it was tried once.
#[derive(Debug)]
pub enum WriteOutcome {
    /// The server has it.
    Written(Written),
    /// A conditional create found the resource already there; nothing was added.
    Existing(Written),
    /// The precondition failed (409, 412, 428): the resource is not what the caller believed. Read it again.
    Conflict {
        /// The HTTP status.
        status: u16,
        /// What the server says about it, codes only.
        issues: Issues,
    },
    /// The server refused; the same request would be refused again.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What the server says about it, codes only.
        issues: Issues,
    },
    /// The server may or may not have acted. Look for the result before trying again.
    Unknown(UnknownCause),
    /// The server has certainly not acted.
    NotSent(NotSentCause),
}

/// What the server told about a resource that it has.
#[derive(Debug, Clone)]
pub struct Written {
    /// The HTTP status, such as 200 or 201.
    pub status: u16,
    /// Which resource it is, from `Location` or the body; `None` when the server told neither.
    pub reference: Option<ResourceRef>,
    /// Its version after the write, from `ETag`, the body, or `Location`.
    pub version: Option<ETag>,
    /// The resource as it is now, where the server sent it back.
    pub body: Option<Resource>,
}

/// Why it is not known whether a write happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCause {
    /// The request may have left, and no whole answer came.
    NoAnswer(TransportFault),
    /// The server, or a proxy before it, failed with this 5xx status (or 408).
    ServerFault {
        /// The HTTP status.
        status: u16,
        /// How long the server asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// 202: taken in, and decided on later.
    AcceptedForLater,
    /// The answer points elsewhere (303) without saying what was done.
    SeeOther,
    /// 2xx with something that no FHIR server answers: it may be the page of a proxy in front of it.
    NotFhir,
}

/// Why a write did not reach the server's application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSentCause {
    /// No connection was made.
    #[error("no connection to the FHIR server")]
    Connect,
    /// There was no access token.
    #[error("no access token for the FHIR server: {0}")]
    Token(#[from] TokenError),
    /// 429: the server turned the request away unread.
    #[error("the FHIR server asks for fewer requests")]
    Throttled {
        /// How long it asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The resource type or id is not one.
    #[error(transparent)]
    Address(#[from] AddressFault),
    /// The request cannot be built from what was given, such as a version that no header can hold.
    #[error("the request cannot be built: its version or body is not fit for HTTP")]
    Malformed,
}

/// The query of a conditional create (<https://hl7.org/fhir/R4/http.html#ccreate>): nothing is added when it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneExist(SearchParams);

impl IfNoneExist {
    /// Unless a resource with this business identifier exists.
    #[must_use]
    pub fn identifier(system: &str, value: &str) -> Self {
        Self(SearchParams::new().with_token("identifier", system, value))
    }

    /// The header's value: a query string.
    fn to_header(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(self.0.pairs()).finish()
    }
}

/// One operation of a JSON Patch (RFC 6902). Paths are JSON Pointers (RFC 6901).
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Adds `value` at `path`, or replaces what is there.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Replaces what is at `path`, which must exist.
    Replace {
        /// Where.
        path: String,
        /// By what.
        value: Value,
    },
    /// Removes what is at `path`, which must exist.
    Remove {
        /// Where.
        path: String,
    },
    /// Fails the whole patch unless `path` holds `value`.
    Test {
        /// Where.
        path: String,
        /// What must stand there.
        value: Value,
    },
}

/// Values may be PHI; paths are not.
impl std::fmt::Debug for PatchOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (op, path) = match self {
            Self::Add { path, .. } => ("add", path),
            Self::Replace { path, .. } => ("replace", path),
            Self::Remove { path } => ("remove", path),
            Self::Test { path, .. } => ("test", path),
        };
        write!(f, "{op} {path}")
    }
}

impl FhirClient {
    /// Creates a resource (<https://hl7.org/fhir/R4/http.html#create>), conditionally where `unless` is given. Use
    /// `unless` only where the server's metadata advertises `conditionalCreate`: others ignore it and add.
    pub async fn create(&self, resource_type: &str, body: &Value, unless: Option<&IfNoneExist>) -> WriteOutcome {
        if let Err(fault) = check_type(resource_type) {
            return WriteOutcome::NotSent(fault.into());
        }
        let outcome = self
            .write(|| {
                let request = self.http().post(self.base.join(&[resource_type])).header(CONTENT_TYPE, FHIR_JSON);
                let request = request.header("Prefer", "return=representation").body(body.to_string());
                match unless {
                    Some(unless) => request.header("If-None-Exist", unless.to_header()),
                    None => request,
                }
            })
            .await;
        match outcome {
            WriteOutcome::Written(written) if written.status == 200 && unless.is_some() => {
                WriteOutcome::Existing(written)
            }
            outcome => outcome,
        }
    }

    /// Replaces a resource as a whole, if it still has the version `if_match` (<https://hl7.org/fhir/R4/http.html#update>).
    /// `body` is the JSON that was read, edited: what is left out of it is lost on the server.
    pub async fn update(&self, reference: &ResourceRef, body: &Value, if_match: &ETag) -> WriteOutcome {
        let url = self.base.join(&[reference.resource_type(), reference.id()]);
        self.write(|| {
            let request = self.http().put(url.clone()).header(CONTENT_TYPE, FHIR_JSON);
            request.header(IF_MATCH, if_match.as_str()).header("Prefer", "return=representation").body(body.to_string())
        })
        .await
    }

    /// Changes parts of a resource, if it still has the version `if_match` (<https://hl7.org/fhir/R4/http.html#patch>,
    /// RFC 6902).
    pub async fn patch(&self, reference: &ResourceRef, operations: &[PatchOperation], if_match: &ETag) -> WriteOutcome {
        let url = self.base.join(&[reference.resource_type(), reference.id()]);
        let Ok(body) = serde_json::to_vec(operations) else {
            return WriteOutcome::NotSent(NotSentCause::Malformed);
        };
        self.write(|| {
            let request = self.http().patch(url.clone()).header(CONTENT_TYPE, "application/json-patch+json");
            request.header(IF_MATCH, if_match.as_str()).header("Prefer", "return=representation").body(body.clone())
        })
        .await
    }

    /// Sends a write once; a second time only after a 401, which says that the first was not looked at.
    async fn write(&self, build: impl Fn() -> RequestBuilder) -> WriteOutcome {
        let mut renewed = false;
        loop {
            let token = match self.tokens().token().await {
                Ok(token) => token,
                Err(error) => return WriteOutcome::NotSent(error.into()),
            };
            let Ok(request) = authorized(build(), &token).build() else {
                return WriteOutcome::NotSent(NotSentCause::Malformed);
            };
            match self.exchange(request).await {
                Ok(answer) if answer.status == 401 && !renewed => {
                    self.tokens().invalidate(&token);
                    renewed = true;
                }
                Ok(answer) => return self.outcome(&answer),
                Err(broken) => return self.outcome_of_broken(broken),
            }
        }
    }

    fn outcome(&self, answer: &Answer) -> WriteOutcome {
        let retry_after = transport::retry_after(&answer.headers, self.now());
        match answer.status {
            202 => WriteOutcome::Unknown(UnknownCause::AcceptedForLater),
            200..=299 if self.is_from_fhir_server(answer) => WriteOutcome::Written(self.written(answer)),
            200..=299 => WriteOutcome::Unknown(UnknownCause::NotFhir),
            303 => WriteOutcome::Unknown(UnknownCause::SeeOther),
            status @ (409 | 412 | 428) => WriteOutcome::Conflict { status, issues: answer.issues() },
            429 => WriteOutcome::NotSent(NotSentCause::Throttled { retry_after }),
            status @ (408 | 500..) => WriteOutcome::Unknown(UnknownCause::ServerFault { status, retry_after }),
            status => WriteOutcome::Rejected { status, issues: answer.issues() },
        }
    }

    fn outcome_of_broken(&self, broken: Broken) -> WriteOutcome {
        match broken {
            Broken::Request(TransportFault::Connect) => WriteOutcome::NotSent(NotSentCause::Connect),
            Broken::Request(fault) => WriteOutcome::Unknown(UnknownCause::NoAnswer(fault)),
            Broken::Body { status: 200..=299, headers, .. } if !tells_of_write(&headers) => {
                WriteOutcome::Unknown(UnknownCause::NotFhir)
            }
            // The head decides; what is lost is the body.
            Broken::Body { status, headers, .. } => self.outcome(&Answer { status, headers, body: Vec::new() }),
        }
    }

    /// Whether a 2xx answer to a write is a FHIR server's: a resource, nothing at all, or, where the body was damaged on its
    /// way, what only the server can tell in the head.
    fn is_from_fhir_server(&self, answer: &Answer) -> bool {
        answer.body.trim_ascii().is_empty() || self.resource(answer).is_ok() || tells_of_write(&answer.headers)
    }

    fn written(&self, answer: &Answer) -> Written {
        let body = self.resource(answer).ok().filter(|body| body.resource_type() != "OperationOutcome");
        let location = transport::location(&answer.headers);
        let reference = location.and_then(|location| self.located(location));
        let version = transport::etag(&answer.headers)
            .or_else(|| body.as_ref().and_then(|body| body.version().cloned()))
            .or_else(|| location.and_then(version_in));
        let reference = reference.or_else(|| body.as_ref().and_then(Resource::reference));
        Written { status: answer.status, reference, version, body }
    }

    /// A `Location` names the new resource absolutely or relatively to the base or the origin. Servers behind a proxy
    /// name their inner address: the last segments count, and a host is never followed.
    fn located(&self, location: &str) -> Option<ResourceRef> {
        self.base.reference(location).or_else(|| {
            let path = location.split(['?', '#']).next()?.trim_end_matches('/');
            let path = path.split("/_history/").next()?;
            let mut segments = path.rsplit('/');
            let (id, resource_type) = (segments.next()?, segments.next()?);
            ResourceRef::new(resource_type, id).ok()
        })
    }
}

/// Whether the head of a 2xx answer alone is a FHIR server's: it has the address of what was written, or is of JSON and has
/// its version. A proxy's page may have an `ETag` of its own, but is no JSON.
fn tells_of_write(headers: &http::HeaderMap) -> bool {
    transport::location(headers).is_some() || (transport::is_json(headers) && transport::etag(headers).is_some())
}

/// The version at the end of `…/_history/3`.
fn version_in(location: &str) -> Option<ETag> {
    let (_, version) = location.split_once("/_history/")?;
    let form = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!version.is_empty() && version.chars().all(form)).then(|| ETag::from_version_id(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_written_as_rfc_6902_has_it_and_hides_its_values() {
        let operations = [
            PatchOperation::Test { path: "/status".into(), value: "booked".into() },
            PatchOperation::Remove { path: "/comment".into() },
        ];
        let json = serde_json::to_string(&operations).unwrap();
        assert_eq!(json, r#"[{"op":"test","path":"/status","value":"booked"},{"op":"remove","path":"/comment"}]"#);
        assert_eq!(format!("{operations:?}"), "[test /status, remove /comment]");
    }

    #[test]
    fn a_condition_is_a_query_string() {
        let header = IfNoneExist::identifier("urn:chartwire:message", "a b|c").to_header();
        assert_eq!(header, "identifier=urn%3Achartwire%3Amessage%7Ca+b%5C%7Cc");
    }
}
