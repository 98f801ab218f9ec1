//! The token endpoint: codes and assertions for access tokens, by the `oauth2` crate over our own
//! HTTP client (RFC 6749 section 5).

use super::assertion::{ASSERTION_TYPE, client_assertion};
use super::authorization_http::AuthorizationHttp;
use super::registration::{ClientAuthentication, ClientRegistration};
use crate::fhir::transport::Answer;
use crate::fhir::{BoxFuture, SecretToken, TokenError};
use crate::kernel::Instruments;
use jiff::{SignedDuration, Timestamp};
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthorizationCode, Client, ClientId, EndpointNotSet, EndpointSet, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use url::Url;

/// A token that does not say how long it lives is taken to live this long: the most that Backend Services recommend.
const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// What SMART adds to a token response: launch context and identity, as they came.
#[derive(Serialize, Deserialize)]
pub(super) struct SmartFields(pub(super) Map<String, Value>);

impl fmt::Debug for SmartFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl oauth2::ExtraTokenFields for SmartFields {}

type SmartTokenResponse = StandardTokenResponse<SmartFields, BasicTokenType>;
/// An `oauth2` client that reads SMART's token responses.
pub(super) type SmartOauth<AuthorizationUrl = EndpointNotSet, TokenEndpointUrl = EndpointNotSet> = Client<
    BasicErrorResponse,
    SmartTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    AuthorizationUrl,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenEndpointUrl,
>;

/// What a token endpoint gave.
pub(super) struct Grant {
    pub(super) access_token: SecretToken,
    pub(super) expires_at: Timestamp,
    pub(super) refresh_token: Option<SecretToken>,
    /// The granted scopes as one string; `None` when the server does not say.
    pub(super) scope: Option<String>,
    pub(super) fields: Map<String, Value>,
}

/// One client at one token endpoint.
pub(super) struct TokenEndpoint<'a> {
    pub(super) http: &'a AuthorizationHttp,
    pub(super) url: &'a Url,
    pub(super) client: &'a ClientRegistration,
    pub(super) instruments: &'a Instruments,
}

impl TokenEndpoint<'_> {
    /// Exchanges an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    pub(super) async fn exchange_code(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &Url,
    ) -> Result<Grant, TokenError> {
        let client = self.oauth().set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        for (name, value) in self.authentication()? {
            request = request.add_extra_param(name, value);
        }
        self.grant(request.request_async(self).await)
    }

    /// Asks for a token of the service's own (SMART Backend Services).
    pub(super) async fn client_credentials(&self) -> Result<Grant, TokenError> {
        let client = self.oauth();
        let mut request = client.exchange_client_credentials();
        request = request.add_scopes(self.client.scopes.iter().cloned().map(Scope::new));
        for (name, value) in self.authentication()? {
            request = request.add_extra_param(name, value);
        }
        self.grant(request.request_async(self).await)
    }

    pub(super) fn oauth(&self) -> SmartOauth<EndpointNotSet, EndpointSet> {
        SmartOauth::new(ClientId::new(self.client.client_id.clone()))
            .set_token_uri(TokenUrl::from_url(self.url.clone()))
    }

    /// The form fields that prove who asks; none for a public client.
    fn authentication(&self) -> Result<Vec<(&'static str, String)>, TokenError> {
        match &self.client.authentication {
            ClientAuthentication::Public => Ok(Vec::new()),
            ClientAuthentication::PrivateKeyJwt { algorithm, keys } => {
                let assertion = keys
                    .signing(*algorithm)
                    .and_then(|key| client_assertion(key, &self.client.client_id, self.url, self.instruments));
                let assertion = assertion.map_err(|_| TokenError::Key)?;
                Ok(vec![("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion)])
            }
        }
    }

    async fn send(&self, mut request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, TokenError> {
        if matches!(self.client.authentication, ClientAuthentication::PrivateKeyJwt { .. }) {
            // `oauth2` always names the client; beside an assertion SMART wants it left out.
            let fields = url::form_urlencoded::parse(request.body()).filter(|(name, _)| name != "client_id");
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            *request.body_mut() = body.into_bytes();
        }
        let answer = self.http.token_request(request).await?;
        readable(answer)
    }

    /// Never lets the error of `oauth2` through: it holds the response, token and all.
    pub(super) fn grant(
        &self,
        result: Result<SmartTokenResponse, RequestTokenError<TokenError, BasicErrorResponse>>,
    ) -> Result<Grant, TokenError> {
        let response = result.map_err(|error| match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(response) => TokenError::Refused { code: code_of(response.error()) },
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenError::Malformed,
        })?;
        if *response.token_type() != BasicTokenType::Bearer {
            return Err(TokenError::Malformed);
        }
        let lifetime = response.expires_in().and_then(|lifetime| SignedDuration::try_from(lifetime).ok());
        let now = self.instruments.now();
        let scopes = response.scopes().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>());
        Ok(Grant {
            access_token: SecretToken::new(response.access_token().secret().clone()),
            expires_at: now.checked_add(lifetime.unwrap_or(DEFAULT_LIFETIME)).unwrap_or(now),
            refresh_token: response.refresh_token().map(|token| SecretToken::new(token.secret().clone())),
            scope: scopes.map(|scopes| scopes.join(" ")),
            fields: response.extra_fields().0.clone(),
        })
    }
}

impl<'c> oauth2::AsyncHttpClient<'c> for TokenEndpoint<'_> {
    type Error = TokenError;
    type Future = BoxFuture<'c, Result<oauth2::HttpResponse, TokenError>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// The codes of RFC 6749 section 5.2 as they are; what a server makes up is not repeated.
fn code_of(error: &BasicErrorResponseType) -> &'static str {
    match error {
        BasicErrorResponseType::InvalidClient => "invalid_client",
        BasicErrorResponseType::InvalidGrant => "invalid_grant",
        BasicErrorResponseType::InvalidRequest => "invalid_request",
        BasicErrorResponseType::InvalidScope => "invalid_scope",
        BasicErrorResponseType::UnauthorizedClient => "unauthorized_client",
        BasicErrorResponseType::UnsupportedGrantType => "unsupported_grant_type",
        BasicErrorResponseType::Extension(_) => "other",
    }
}

/// The answer as `oauth2` reads it.
pub(super) fn readable(answer: Answer) -> Result<oauth2::HttpResponse, TokenError> {
    // RFC 6749 section 5.2 has 400 for every refusal; some servers answer with an empty body or a page.
    if answer.status != 200 && serde_json::from_slice::<BasicErrorResponse>(&answer.body).is_err() {
        return Err(TokenError::Refused { code: "other" });
    }
    let mut response = oauth2::HttpResponse::new(answer.body);
    *response.status_mut() = http::StatusCode::from_u16(answer.status).map_err(|_| TokenError::Malformed)?;
    *response.headers_mut() = answer.headers;
    Ok(response)
}
