//! What can go wrong between the service and a FHIR server, in terms that a caller acts on.

use super::outcome::Issues;
use super::token::TokenError;
use std::fmt;
use std::time::Duration;

/// Why a read, a search or a look at the metadata gave nothing usable. Holds no URL, no parameter, no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FhirError {
    /// No answer, or half of one. Trying later is right.
    #[error("the FHIR server could not be reached ({0}); check its address and the network, then try again")]
    Unreachable(TransportFault),
    /// There is no access token to ask with.
    #[error("no access token for the FHIR server: {0}")]
    Token(#[from] TokenError),
    /// The server asks for fewer requests (429, 503), after as many tries as the limits allow.
    #[error("the FHIR server asks for fewer requests; try again after the time it names")]
    Throttled {
        /// How long the server asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The server refuses the token although it is fresh (401 twice).
    #[error("the FHIR server refuses a fresh access token; check the client's registration there")]
    Unauthorized,
    /// The token does not cover this (403).
    #[error("the FHIR server does not allow this ({0}); check the scopes granted to the client")]
    Forbidden(Issues),
    /// There is no such resource (404), or it was deleted (410).
    #[error("the FHIR server does not have this resource")]
    NotFound,
    /// Another status of the 3xx and 4xx range: asking the same again gives the same answer.
    #[error("the FHIR server refused the request with status {status} ({issues})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What its `OperationOutcome` says, codes only.
        issues: Issues,
    },
    /// A status of the 5xx range.
    #[error("the FHIR server failed with status {status} ({issues}); try again later")]
    ServerFault {
        /// The HTTP status.
        status: u16,
        /// What its `OperationOutcome` says, codes only.
        issues: Issues,
    },
    /// The answer is larger than the limits allow.
    #[error("the FHIR server's answer is larger than {limit} bytes; ask for smaller pages or raise the limit")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The answer is not the FHIR JSON that was asked for.
    #[error("the FHIR server's answer is not the resource that was asked for ({0})")]
    NotFhir(#[from] ParseFault),
    /// The next page's address must not be followed.
    #[error("the FHIR server names a next page that must not be followed: {0}")]
    NextLink(#[from] LinkFault),
    /// The search has more results than the limits allow; nothing beyond was fetched.
    #[error("the search has more results than allowed ({pages} pages, {entries} entries read); narrow it")]
    TooMany {
        /// Pages read.
        pages: usize,
        /// Entries read.
        entries: usize,
    },
    /// The base address, a resource type or an id cannot be part of a request.
    #[error(transparent)]
    Address(#[from] AddressFault),
}

impl FhirError {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Throttled { .. } | Self::ServerFault { .. } => true,
            Self::Token(token) => token.is_passing(),
            // No FHIR server answers so: a proxy in front of it does, or it broke off in the middle.
            Self::NotFhir(fault) => matches!(fault.kind, ParseFaultKind::Syntax),
            _ => false,
        }
    }
}

/// How the exchange broke. Not reqwest's own error: that one prints URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFault {
    /// No connection: nothing was sent.
    #[error("no connection")]
    Connect,
    /// The time limit passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after it was made.
    #[error("the connection broke")]
    Interrupted,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// The base is not an `https` URL (plain `http` is for loopback only).
    #[error("the FHIR base address must be https (http only on this machine's loopback), without query or credentials")]
    Base,
    /// Not the name of a resource type.
    #[error("this is not the name of a FHIR resource type")]
    ResourceType,
    /// Not a resource id (letters, digits, `-`, `.`, `_`).
    #[error("this is not a FHIR resource id")]
    Id,
}

/// Why a `next` link is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Not a URL.
    #[error("it is not an address")]
    Malformed,
    /// Another scheme, host or port: following it would hand the access token to another server.
    #[error("it leads to another server")]
    OtherOrigin,
    /// The same server, but outside the FHIR base.
    #[error("it leads outside the FHIR base")]
    OutsideBase,
    /// A page that was read before.
    #[error("it leads back to a page already read")]
    Loop,
}

/// Where and how a resource departs from what its type allows. Never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseFault {
    /// The resource type that was expected.
    pub expected: &'static str,
    /// The element, as near as it can be told (`telecom[0].system`); empty for the resource as a whole.
    pub path: String,
    /// How it departs.
    pub kind: ParseFaultKind,
}

/// How a resource departs from its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParseFaultKind {
    /// Not JSON.
    Syntax,
    /// `resourceType` is missing or another one.
    ResourceType,
    /// A required element is missing.
    Missing,
    /// An element has another JSON type.
    WrongType,
    /// A code outside a closed set, or a value that its type does not allow.
    BadValue,
    /// An element occurs twice.
    Duplicate,
}

impl ParseFaultKind {
    /// A stable word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::ResourceType => "resource-type",
            Self::Missing => "missing",
            Self::WrongType => "wrong-type",
            Self::BadValue => "bad-value",
            Self::Duplicate => "duplicate",
        }
    }
}

impl fmt::Display for ParseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expected)?;
        if !self.path.is_empty() {
            write!(f, ".{}", self.path)?;
        }
        write!(f, ": {}", self.kind.as_str())
    }
}

impl std::error::Error for ParseFault {}
