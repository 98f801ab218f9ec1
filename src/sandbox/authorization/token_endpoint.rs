//! The token endpoint: codes, refresh tokens and backend services (RFC 6749, SMART App Launch 2.2).

use super::assertion::ASSERTION_TYPE;
use super::clients::RegisteredClient;
use super::grants::Grant;
use super::scopes::ScopeSet;
use super::tokens::Bearer;
use super::{Authorization, OAuthError};
use aws_lc_rs::digest;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type Form = BTreeMap<String, String>;

/// `POST /auth/token`.
pub(super) async fn token(
    State(server): State<Arc<Authorization>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.starts_with("application/x-www-form-urlencoded") {
        return Err(OAuthError::InvalidRequest("the body is application/x-www-form-urlencoded"));
    }
    let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
    let answer = match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => server.exchange_code(&form).await?,
        Some("refresh_token") => server.exchange_refresh(&form).await?,
        Some("client_credentials") => server.backend_token(&form).await?,
        _ => return Err(OAuthError::UnsupportedGrantType),
    };
    Ok(uncached((StatusCode::OK, axum::Json(answer)).into_response()))
}

/// RFC 6749 section 5.1: tokens are not to be cached.
pub(super) fn uncached(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

impl Authorization {
    async fn exchange_code(&self, form: &Form) -> Result<Value, OAuthError> {
        let code = required(form, "code")?;
        let client = self.authenticated(form).await?;
        let grant = self.grants.take_code(code).ok_or(OAuthError::InvalidGrant("the code is unknown, used or old"))?;
        if grant.request.client_id != client.client_id() {
            return Err(OAuthError::InvalidGrant("the code was given to another client"));
        }
        if required(form, "redirect_uri")? != grant.request.redirect_uri {
            return Err(OAuthError::InvalidGrant("the redirect_uri is not that of the authorization request"));
        }
        let verifier = required(form, "code_verifier")?;
        if challenge_of(verifier) != grant.request.code_challenge {
            return Err(OAuthError::InvalidGrant("the code_verifier does not answer the code_challenge"));
        }
        let scopes = grant.request.scopes.clone();
        self.launch_answer(&grant, &scopes)
    }

    async fn exchange_refresh(&self, form: &Form) -> Result<Value, OAuthError> {
        let token = required(form, "refresh_token")?;
        let client = self.authenticated(form).await?;
        let grant = self
            .grants
            .take_refresh(token)
            .ok_or(OAuthError::InvalidGrant("the refresh token is unknown, used or revoked"))?;
        if grant.request.client_id != client.client_id() {
            return Err(OAuthError::InvalidGrant("the refresh token was given to another client"));
        }
        let scopes = match form.get("scope") {
            None => grant.request.scopes.clone(),
            Some(asked) => {
                let asked = ScopeSet::read(asked);
                let covered = grant.request.scopes.covered(&asked);
                if covered != asked {
                    self.grants.restore_refresh(token, grant);
                    return Err(OAuthError::InvalidScope);
                }
                covered
            }
        };
        self.launch_answer(&grant, &scopes)
    }

    async fn backend_token(&self, form: &Form) -> Result<Value, OAuthError> {
        let asked = ScopeSet::read(required(form, "scope")?);
        let client = self.authenticated(form).await?;
        if !matches!(client, RegisteredClient::Backend { .. }) {
            return Err(OAuthError::UnauthorizedClient);
        }
        let scopes = client.scopes().covered(&asked);
        if scopes.is_empty() {
            return Err(OAuthError::InvalidScope);
        }
        let bearer = Bearer {
            subject: client.client_id().to_owned(),
            client_id: client.client_id().to_owned(),
            scopes,
            patient: None,
            fhir_user: None,
        };
        self.bearer_answer(&bearer)
    }

    fn bearer_answer(&self, bearer: &Bearer) -> Result<Value, OAuthError> {
        let access_token = self.tokens.issue(bearer).ok_or(OAuthError::ServerError)?;
        Ok(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.tokens.lifetime_seconds(),
            "scope": bearer.scopes.to_string(),
        }))
    }

    /// The answer after a launch: the token, its context, and what the scopes ask for beside it.
    fn launch_answer(&self, grant: &Grant, scopes: &ScopeSet) -> Result<Value, OAuthError> {
        let Grant { request, context, .. } = grant;
        let person = context.person();
        let fhir_user = format!("{}/{person}", self.fhir_base);
        let bearer = Bearer {
            subject: person.rsplit('/').next().unwrap_or_default().to_owned(),
            client_id: request.client_id.clone(),
            scopes: scopes.clone(),
            patient: Some(context.patient.clone()),
            fhir_user: Some(fhir_user.clone()),
        };
        let mut answer = self.bearer_answer(&bearer)?;
        let mut extra = vec![("need_patient_banner", json!(false)), ("patient", json!(context.patient))];
        extra.extend(context.encounter.as_ref().map(|encounter| ("encounter", json!(encounter))));
        if let Some(appointment) = &context.appointment {
            extra.push(("fhirContext", json!([{"reference": format!("Appointment/{appointment}")}])));
        }
        if scopes.holds("openid") {
            extra.push(("id_token", json!(self.id_token(request.nonce.as_deref(), &bearer)?)));
        }
        if scopes.holds("offline_access") || scopes.holds("online_access") {
            extra.push(("refresh_token", json!(self.grants.new_refresh(grant.clone()))));
        }
        if let Some(members) = answer.as_object_mut() {
            members.extend(extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(answer)
    }

    fn id_token(&self, nonce: Option<&str>, bearer: &Bearer) -> Result<String, OAuthError> {
        let now = self.clock.now().as_second();
        let mut claims = json!({
            "iss": self.endpoints.issuer,
            "sub": bearer.subject,
            "aud": bearer.client_id,
            "iat": now,
            "exp": now + self.tokens.lifetime_seconds(),
            "acr": "urn:sandbox:hospital-sign-in",
            "amr": ["pwd", "mfa"],
        });
        let members = claims.as_object_mut().ok_or(OAuthError::ServerError)?;
        if let Some(nonce) = nonce {
            members.insert("nonce".into(), json!(nonce));
        }
        if bearer.scopes.holds("fhirUser") {
            members.insert("fhirUser".into(), json!(bearer.fhir_user));
        }
        self.tokens.key.sign(&claims).ok_or(OAuthError::ServerError)
    }

    /// The client that sends this form, proven where it has keys.
    async fn authenticated(&self, form: &Form) -> Result<&RegisteredClient, OAuthError> {
        if let Some(assertion) = form.get("client_assertion") {
            if form.get("client_assertion_type").map(String::as_str) != Some(ASSERTION_TYPE) {
                return Err(OAuthError::InvalidClient("the client_assertion_type is not the JWT bearer one"));
            }
            let issuer = super::unverified_issuer(assertion);
            let client = issuer.and_then(|issuer| self.client(&issuer));
            let client = client.ok_or(OAuthError::InvalidClient("the assertion's iss is no registered client"))?;
            self.check_assertion(client, assertion).await?;
            return Ok(client);
        }
        match form.get("client_id").and_then(|id| self.client(id)) {
            Some(client @ RegisteredClient::LaunchPublic { .. }) => Ok(client),
            Some(_) => Err(OAuthError::InvalidClient("this client authenticates by private_key_jwt")),
            None => Err(OAuthError::InvalidClient("the client is not registered")),
        }
    }
}

fn required<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, OAuthError> {
    form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or(OAuthError::Missing(name))
}

/// RFC 7636 section 4.2, S256.
fn challenge_of(verifier: &str) -> String {
    let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash)
}
