//! The EHR launch (SMART App Launch 2.2, "EHR Launch"): a request from the EHR becomes a redirect, the callback becomes a
//! person, a patient and a token.

use super::SmartClient;
use super::discovery::SmartConfiguration;
use super::error::{DiscoveryFault, IdTokenFault, SmartError};
use super::id_token::Identity;
use super::registration::LaunchRegistration;
use super::scopes::GrantedScopes;
use super::token_endpoint::{Grant, SmartOauth, TokenEndpoint};
use crate::fhir::reference::is_protected;
use crate::fhir::{ResourceRef, SecretToken, ServerBase};
use jiff::{SignedDuration, Timestamp};
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// How long a launch may take from the EHR's request to the callback: signing in with a second factor fits.
const LAUNCH_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Bytes of randomness in `state`, `nonce` and the verifier (43 characters, the least that RFC 7636 takes).
const SECRET_BYTES: usize = 32;
/// The longest `launch`, code or vendor field that is taken.
const MAX_VALUE: usize = 4_096;

/// A launch that has begun.
#[derive(Debug)]
pub struct LaunchBegun {
    /// Where to send the browser.
    pub redirect: Url,
    /// What to keep, sealed and bound to this browser, until the callback; to be taken out once.
    pub state: LaunchState,
}

/// What must be known at the callback. Secret: whoever stores it seals it, binds it to the browser (by a cookie that only
/// this site can set) and removes it when it is first used.
#[derive(Clone, Serialize, Deserialize)]
pub struct LaunchState {
    state: String,
    nonce: String,
    verifier: String,
    iss: String,
    token_endpoint: Url,
    redirect_uri: Url,
    expires_at: Timestamp,
}

impl fmt::Debug for LaunchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchState").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl LaunchState {
    /// The `state` parameter, by which the callback's launch is found.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The `iss` that the launch came with, as it came.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// When it is of no more use.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(super) fn has_nonce(&self, nonce: &str) -> bool {
        same(nonce, &self.nonce)
    }
}

fn same(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

/// What the EHR sends the browser back with.
#[derive(Clone, Default, Deserialize)]
pub struct Callback {
    /// The launch's `state`.
    pub state: Option<String>,
    /// The authorization code.
    pub code: Option<String>,
    /// The authorization server's own name (RFC 9207), where it sends one.
    pub iss: Option<String>,
    /// An error code instead of a code (RFC 6749 section 4.1.2.1).
    pub error: Option<String>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("has_code", &self.code.is_some()).finish_non_exhaustive()
    }
}

/// What a launch gave.
#[derive(Debug)]
pub struct LaunchCompleted {
    /// The token to act with as this person.
    pub access_token: SecretToken,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The token to get the next one with, where `online_access` or `offline_access` was granted.
    pub refresh_token: Option<SecretToken>,
    /// What was granted, whatever was asked for.
    pub scopes: GrantedScopes,
    /// Who launched.
    pub identity: Identity,
    /// The patient in context.
    pub patient: Option<ResourceRef>,
    /// The encounter in context.
    pub encounter: Option<ResourceRef>,
    /// Other resources in context.
    pub fhir_context: Vec<FhirContext>,
    /// Whether the app must show whose record is open. Yes, unless the EHR says that it does so itself.
    pub need_patient_banner: bool,
    /// What the EHR wants the app to begin with.
    pub intent: Option<String>,
    /// Where the EHR's colours and fonts are described. What is there is untrusted.
    pub smart_style_url: Option<Url>,
    /// The EHR's own id of the organization.
    pub tenant: Option<String>,
    /// Other text fields of the token response: what a hospital adds for its apps, such as a login name. They come from the
    /// EHR's server, never from the browser.
    pub vendor: VendorFields,
}

/// Fields that an EHR adds to its token response. May name the person: not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct VendorFields(BTreeMap<String, String>);

impl VendorFields {
    /// The field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for VendorFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// A resource in the launch's context (SMART App Launch 2.2, `fhirContext`), such as the appointment clicked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirContext {
    /// Which one.
    pub reference: ResourceRef,
    /// What it is there for; `launch` when the EHR says nothing.
    pub role: String,
}

impl SmartClient {
    /// Begins a launch: the EHR asked for it with `iss` and `launch`.
    ///
    /// # Errors
    /// [`SmartError::UnknownIssuer`] before anything is fetched, [`SmartError::BadLaunchRequest`],
    /// [`SmartError::Discovery`].
    pub async fn begin_launch(
        &self,
        registration: &LaunchRegistration,
        iss: &str,
        launch: &str,
    ) -> Result<LaunchBegun, SmartError> {
        if !registration.accepts(iss) {
            return Err(SmartError::UnknownIssuer);
        }
        if launch.is_empty() || launch.len() > MAX_VALUE || launch.chars().any(char::is_control) {
            return Err(SmartError::BadLaunchRequest);
        }
        let configuration = self.discovery.smart_configuration(&registration.server).await?;
        if !configuration.s256 {
            return Err(DiscoveryFault::NoS256.into());
        }
        let authorization_endpoint = configuration.authorization_endpoint.clone();
        let authorization_endpoint = authorization_endpoint.ok_or(DiscoveryFault::Missing("authorization_endpoint"))?;
        let state = LaunchState {
            state: self.instruments.token(SECRET_BYTES),
            nonce: self.instruments.token(SECRET_BYTES),
            verifier: self.instruments.token(SECRET_BYTES),
            iss: iss.to_owned(),
            token_endpoint: configuration.token_endpoint.clone(),
            redirect_uri: registration.redirect_uri.clone(),
            expires_at: self.instruments.now().checked_add(LAUNCH_LIFETIME).unwrap_or(Timestamp::MAX),
        };
        let redirect = authorization_request(registration, authorization_endpoint, launch, &state);
        Ok(LaunchBegun { redirect, state })
    }

    /// Completes a launch: `state` is the one that this browser's launch was given, taken out of its store.
    ///
    /// # Errors
    /// [`SmartError`]; nothing of the launch may be used then, and the state is spent.
    pub async fn complete_launch(
        &self,
        registration: &LaunchRegistration,
        state: LaunchState,
        callback: &Callback,
    ) -> Result<LaunchCompleted, SmartError> {
        let configuration = self.discovery.smart_configuration(&registration.server).await?;
        let code = check_callback(registration, &configuration, &state, callback, self.instruments.now())?;
        let endpoint = TokenEndpoint {
            http: &self.http,
            url: &state.token_endpoint,
            client: &registration.client,
            instruments: &self.instruments,
        };
        let grant = endpoint.exchange_code(code, &state.verifier, &state.redirect_uri).await?;
        let id_token = text(&grant.fields, "id_token").ok_or(IdTokenFault::Missing)?;
        let identity = self.identity(registration, &configuration, &state, id_token).await?;
        completed(&registration.server.base, grant, identity)
    }
}

pub(super) fn authorization_request(
    registration: &LaunchRegistration,
    authorization_endpoint: Url,
    launch: &str,
    state: &LaunchState,
) -> Url {
    let verifier = PkceCodeVerifier::new(state.verifier.clone());
    let client = SmartOauth::new(ClientId::new(registration.client.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(authorization_endpoint))
        .set_redirect_uri(RedirectUrl::from_url(state.redirect_uri.clone()));
    let (redirect, _) = client
        .authorize_url(|| CsrfToken::new(state.state.clone()))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
        .add_scopes(registration.client.scopes.iter().cloned().map(Scope::new))
        .add_extra_param("aud", state.iss.as_str())
        .add_extra_param("launch", launch)
        .add_extra_param("nonce", state.nonce.as_str())
        .url();
    redirect
}

/// Checks that the callback answers this launch, and gives its code.
pub(super) fn check_callback<'a>(
    registration: &LaunchRegistration,
    configuration: &SmartConfiguration,
    state: &LaunchState,
    callback: &'a Callback,
    now: Timestamp,
) -> Result<&'a str, SmartError> {
    if !callback.state.as_deref().is_some_and(|given| same(given, &state.state)) {
        return Err(SmartError::StateMismatch);
    }
    if now >= state.expires_at {
        return Err(SmartError::LaunchExpired);
    }
    // The launch and its registration must still be about the same EHR and the same endpoint.
    if !registration.accepts(&state.iss)
        || registration.redirect_uri != state.redirect_uri
        || configuration.token_endpoint != state.token_endpoint
    {
        return Err(SmartError::MixUp);
    }
    let named = callback.iss.as_deref();
    let issuers =
        registration.server.id_token_issuers.iter().map(String::as_str).chain(configuration.issuer.as_deref());
    if named.is_some_and(|named| !issuers.chain([registration.server.base.as_str()]).any(|issuer| issuer == named)) {
        return Err(SmartError::MixUp);
    }
    if let Some(error) = callback.error.as_deref() {
        return Err(SmartError::Denied { code: denial(error) });
    }
    let code = callback.code.as_deref().filter(|code| !code.is_empty() && code.len() <= MAX_VALUE);
    code.ok_or(SmartError::Denied { code: "other" })
}

/// The codes of RFC 6749 section 4.1.2.1; what a browser makes up is not repeated.
fn denial(error: &str) -> &'static str {
    const CODES: [&str; 7] = [
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    CODES.into_iter().find(|code| *code == error).unwrap_or("other")
}

pub(super) fn completed(base: &ServerBase, grant: Grant, identity: Identity) -> Result<LaunchCompleted, SmartError> {
    let fields = &grant.fields;
    let style = text(fields, "smart_style_url").and_then(|address| Url::parse(address).ok()).filter(is_protected);
    Ok(LaunchCompleted {
        scopes: GrantedScopes::parse(grant.scope.as_deref().unwrap_or_default()),
        patient: context(fields, "patient", "Patient")?,
        encounter: context(fields, "encounter", "Encounter")?,
        fhir_context: fhir_context(base, fields),
        need_patient_banner: fields.get("need_patient_banner").and_then(Value::as_bool).unwrap_or(true),
        intent: text(fields, "intent").map(str::to_owned),
        smart_style_url: style,
        tenant: text(fields, "tenant").map(str::to_owned),
        vendor: vendor(fields),
        access_token: grant.access_token,
        expires_at: grant.expires_at,
        refresh_token: grant.refresh_token,
        identity,
    })
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn context(
    fields: &Map<String, Value>,
    name: &'static str,
    resource_type: &str,
) -> Result<Option<ResourceRef>, SmartError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let id = value.as_str().ok_or(SmartError::BadContext(name))?;
            ResourceRef::new(resource_type, id).map(Some).map_err(|_| SmartError::BadContext(name))
        }
    }
}

/// Entries that are no references to resources of this server are left out.
fn fhir_context(base: &ServerBase, fields: &Map<String, Value>) -> Vec<FhirContext> {
    let entries = fields.get("fhirContext").and_then(Value::as_array).into_iter().flatten();
    let read = |entry: &Value| {
        let reference = base.reference(entry.get("reference")?.as_str()?)?;
        let role = entry.get("role").and_then(Value::as_str).unwrap_or("launch");
        Some(FhirContext { reference, role: role.to_owned() })
    };
    entries.filter_map(read).collect()
}

fn vendor(fields: &Map<String, Value>) -> VendorFields {
    const STANDARD: [&str; 9] = [
        "id_token",
        "patient",
        "encounter",
        "fhirContext",
        "need_patient_banner",
        "intent",
        "smart_style_url",
        "tenant",
        "client_secret",
    ];
    let own = fields.iter().filter(|(name, _)| !STANDARD.contains(&name.as_str()));
    let texts = own.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    VendorFields(texts.filter(|(_, value)| value.len() <= MAX_VALUE).collect())
}
