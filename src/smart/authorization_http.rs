//! Requests to authorization servers: bounded, without redirects, told without URLs.

use super::error::DiscoveryFault;
use crate::fhir::transport::{self, Answer, Broken};
use crate::fhir::{FhirError, Limits, TokenError};
use crate::kernel::Clock;
use http::header::ACCEPT;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use url::Url;

/// The largest document or token response that is read, in bytes.
const MAX_DOCUMENT: usize = 512 * 1024;

/// An HTTP client for discovery documents, key sets and token endpoints.
#[derive(Clone)]
pub(super) struct AuthorizationHttp {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

impl AuthorizationHttp {
    pub(super) fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Result<Self, FhirError> {
        Ok(Self { http: transport::http_client(limits)?, clock })
    }

    /// Fetches a JSON document. The caller has checked that `url` may be fetched.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, DiscoveryFault> {
        let request = self.http.get(url.clone()).header(ACCEPT, "application/json").build();
        let request = request.map_err(|_| DiscoveryFault::Malformed)?;
        let answer = match transport::exchange(&self.http, "oauth", request, MAX_DOCUMENT).await {
            Ok(answer) => answer,
            Err(Broken::Body { cause: transport::BodyFault::TooLarge, .. }) => return Err(DiscoveryFault::Malformed),
            Err(_) => return Err(DiscoveryFault::Unreachable),
        };
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|_| DiscoveryFault::Malformed),
            408 | 429 | 500.. => Err(DiscoveryFault::Unreachable),
            _ => Err(DiscoveryFault::NotFound),
        }
    }

    /// Sends a token request. Failures of the server and throttling are errors here; refusals are left to the caller.
    pub(super) async fn token_request(&self, request: oauth2::HttpRequest) -> Result<Answer, TokenError> {
        let request = reqwest::Request::try_from(request).map_err(|_| TokenError::Malformed)?;
        let answer = match transport::exchange(&self.http, "oauth", request, MAX_DOCUMENT).await {
            Ok(answer) => answer,
            Err(Broken::Body { cause: transport::BodyFault::TooLarge, .. }) => return Err(TokenError::Malformed),
            Err(_) => return Err(TokenError::Unreachable),
        };
        let retry_after = transport::retry_after(&answer.headers, self.clock.now());
        match answer.status {
            429 => Err(TokenError::Throttled { retry_after }),
            503 if retry_after.is_some() => Err(TokenError::Throttled { retry_after }),
            408 | 500.. => Err(TokenError::Unreachable),
            _ => Ok(answer),
        }
    }
}
