//! The client of one FHIR server under one grant: authorization, reads, and the retries that reads are allowed.

use super::error::{FhirError, ParseFault, ParseFaultKind};
use super::limits::{Limits, Pacer};
use super::reference::{ResourceRef, ServerBase};
use super::resource::Resource;
use super::search::{SearchMethod, SearchPager, SearchParams};
use super::token::{AccessTokenSource, SecretToken};
use super::transport::{self, Answer, Broken};
use crate::kernel::Clock;
use http::header::ACCEPT;
use reqwest::{Request, RequestBuilder};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The media type of FHIR JSON (<https://hl7.org/fhir/R4/http.html#mime-type>).
pub(super) const FHIR_JSON: &str = "application/fhir+json";
/// The first wait after a 429 or 503 without `Retry-After`; it doubles with each try.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// A client of one server under one grant. Cheap to clone; one per grant, never shared between tenants.
#[derive(Clone)]
pub struct FhirClient {
    pub(super) base: ServerBase,
    pub(super) limits: Limits,
    http: reqwest::Client,
    token: Arc<dyn AccessTokenSource>,
    pacer: Arc<dyn Pacer>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for FhirClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FhirClient").field("base", &self.base).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl FhirClient {
    /// A client of the server at `base` with its own connections.
    ///
    /// # Errors
    /// [`FhirError::Unreachable`] when the TLS stack cannot be set up.
    pub fn new(
        base: ServerBase,
        token: Arc<dyn AccessTokenSource>,
        limits: Limits,
        pacer: Arc<dyn Pacer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FhirError> {
        let http = transport::http_client(&limits)?;
        Ok(Self { base, limits, http, token, pacer, clock })
    }

    /// The same server and connections under another grant, such as a person's.
    #[must_use]
    pub fn with_token(&self, token: Arc<dyn AccessTokenSource>) -> Self {
        Self { token, ..self.clone() }
    }

    /// The server's base address.
    #[must_use]
    pub fn base(&self) -> &ServerBase {
        &self.base
    }

    /// Reads the current version of a resource (<https://hl7.org/fhir/R4/http.html#read>).
    ///
    /// # Errors
    /// [`FhirError`]; a resource of another type or id than asked for is [`FhirError::NotFhir`].
    pub async fn read(&self, reference: &ResourceRef) -> Result<Resource, FhirError> {
        let url = self.base.join(&[reference.resource_type(), reference.id()]);
        let answer = self.ask(|| self.http.get(url.clone())).await?;
        let resource = self.resource(&answer)?;
        if resource.reference().as_ref() != Some(reference) {
            let fault = ParseFaultKind::ResourceType;
            return Err(ParseFault { expected: "Resource", path: String::new(), kind: fault }.into());
        }
        Ok(resource)
    }

    /// Reads the server's `CapabilityStatement` (<https://hl7.org/fhir/R4/http.html#capabilities>), without a token:
    /// it is open to all.
    ///
    /// # Errors
    /// [`FhirError`].
    pub async fn metadata(&self) -> Result<Resource, FhirError> {
        let request = self.http.get(self.base.join(&["metadata"])).header(ACCEPT, FHIR_JSON);
        let request = request.build().map_err(|_| FhirError::Address(super::error::AddressFault::Base))?;
        let answer = self.exchange(request).await.map_err(|broken| broken.into_error(self.limits.max_body))?;
        if !answer.is_success() {
            return Err(answer.to_error(self.clock.now()));
        }
        let resource = self.resource(&answer)?;
        if resource.resource_type() != "CapabilityStatement" {
            let kind = ParseFaultKind::ResourceType;
            return Err(ParseFault { expected: "CapabilityStatement", path: String::new(), kind }.into());
        }
        Ok(resource)
    }

    /// Starts a search of one type; pages come from [`SearchPager::next_page`].
    ///
    /// Parameters that hold PHI (names, numbers, birth dates) belong into [`SearchMethod::Post`]: a GET puts them
    /// into the server's access log.
    ///
    /// # Errors
    /// [`FhirError::Address`] when `resource_type` is not the name of one.
    pub fn search(
        &self,
        resource_type: &str,
        params: SearchParams,
        method: SearchMethod,
    ) -> Result<SearchPager, FhirError> {
        super::reference::check_type(resource_type)?;
        Ok(SearchPager::new(self.clone(), resource_type, params, method))
    }

    /// Goes on with a search where [`SearchPager::next_link`] was, under limits that begin anew.
    ///
    /// # Errors
    /// [`FhirError::Address`] when `resource_type` is not the name of one; [`FhirError::NextLink`] when the link must not
    /// be followed.
    pub fn resume_search(&self, resource_type: &str, link: &str) -> Result<SearchPager, FhirError> {
        let link = self.base.follow(resource_type, link)?;
        Ok(self.search(resource_type, SearchParams::new(), SearchMethod::Get)?.at(link))
    }

    /// Sends a read or a search: again after a 401 with a fresh token (once), and after 429 or 503 as the limits allow.
    pub(super) async fn ask(&self, build: impl Fn() -> RequestBuilder) -> Result<Answer, FhirError> {
        let mut token = self.token.token().await?;
        let mut fresh = false;
        let mut tries = 0_u32;
        loop {
            let request = authorized(build(), &token).build();
            let request = request.map_err(|_| FhirError::Address(super::error::AddressFault::Base))?;
            let answer = self.exchange(request).await.map_err(|broken| broken.into_error(self.limits.max_body))?;
            tries = tries.saturating_add(1);
            match answer.status {
                200..=299 => return Ok(answer),
                401 if !fresh => {
                    self.token.invalidate(&token);
                    token = self.token.token().await?;
                    fresh = true;
                }
                429 | 503 => {
                    let asked = transport::retry_after(&answer.headers, self.clock.now());
                    let wait = asked.unwrap_or_else(|| backoff(tries));
                    if tries >= self.limits.max_tries || wait > self.limits.max_wait {
                        return Err(FhirError::Throttled { retry_after: asked });
                    }
                    self.pacer.pause(wait).await;
                }
                _ => return Err(answer.to_error(self.clock.now())),
            }
        }
    }

    /// Sends `request` once.
    pub(super) async fn exchange(&self, request: Request) -> Result<Answer, Broken> {
        transport::exchange(&self.http, "fhir", request, self.limits.max_body).await
    }

    pub(super) fn resource(&self, answer: &Answer) -> Result<Resource, ParseFault> {
        let fault = |kind| ParseFault { expected: "Resource", path: String::new(), kind };
        let text = std::str::from_utf8(&answer.body).map_err(|_| fault(ParseFaultKind::Syntax))?;
        Resource::from_json(&self.base, text).map(|resource| resource.with_version(transport::etag(&answer.headers)))
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(super) fn tokens(&self) -> &dyn AccessTokenSource {
        &*self.token
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

/// Adds the token (marked as sensitive, RFC 6750 section 2.1) and what is accepted.
pub(super) fn authorized(request: RequestBuilder, token: &SecretToken) -> RequestBuilder {
    request.bearer_auth(token.expose()).header(ACCEPT, FHIR_JSON)
}

fn backoff(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)))
}
