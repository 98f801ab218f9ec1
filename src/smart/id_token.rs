//! Who launched: the ID token, checked (OpenID Connect Core section 3.1.3.7; SMART App Launch 2.2, "Identity data").

use super::SmartClient;
use super::discovery::SmartConfiguration;
use super::error::{DiscoveryFault, IdTokenFault, SmartError};
use super::launch::LaunchState;
use super::registration::LaunchRegistration;
use crate::fhir::ResourceRef;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use url::Url;

/// How far an EHR's clock may be off, in seconds.
const LEEWAY: i64 = 60;
/// OpenID Connect Core section 2: `sub` has at most 255 characters.
const MAX_SUBJECT: usize = 255;

/// A person as the EHR vouches for them. Names the same person for ever by `issuer` and `subject`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who vouches.
    pub issuer: String,
    /// The person's id there.
    pub subject: String,
    /// The person's `Practitioner` or `PractitionerRole` at the EHR; absent when the EHR names none, and then no role
    /// can be found for them.
    pub fhir_user: Option<ResourceRef>,
    /// How strongly the person was authenticated (`acr`), as the EHR words it.
    pub authentication_class: Option<String>,
    /// By which means (`amr`, RFC 8176), such as `mfa`.
    pub authentication_methods: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: i64,
    iat: i64,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(rename = "fhirUser")]
    fhir_user: Option<String>,
    profile: Option<String>,
    acr: Option<String>,
    amr: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// What an ID token says of itself before its signature is checked: only enough to find the key.
pub(super) struct Announced {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// One of the issuers that are allowed anyway.
    pub(super) issuer: String,
}

impl Announced {
    pub(super) fn read(
        registration: &LaunchRegistration,
        configuration: &SmartConfiguration,
        id_token: &str,
    ) -> Result<Self, IdTokenFault> {
        let header = jsonwebtoken::decode_header(id_token).map_err(|error| header_fault(&error))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::RS384 | Algorithm::ES256 | Algorithm::ES384) {
            return Err(IdTokenFault::Algorithm);
        }
        let Issuer { iss } =
            jsonwebtoken::dangerous::insecure_decode_claims(id_token).map_err(|_| IdTokenFault::Malformed)?;
        if !allowed_issuers(registration, configuration).any(|allowed| allowed == iss) {
            return Err(IdTokenFault::Issuer);
        }
        Ok(Self { algorithm: header.alg, kid: header.kid, issuer: iss })
    }
}

impl SmartClient {
    /// Checks `id_token` against everything that is known of the launch.
    pub(super) async fn identity(
        &self,
        registration: &LaunchRegistration,
        configuration: &SmartConfiguration,
        state: &LaunchState,
        id_token: &str,
    ) -> Result<Identity, SmartError> {
        let announced = Announced::read(registration, configuration, id_token)?;
        let address = self.key_set(registration, configuration, &announced.issuer).await?;
        let key = self.jwks.key(&address, announced.kid.as_deref(), announced.algorithm).await?;
        verified(registration, state, id_token, &announced, &key, self.instruments.now().as_second())
    }

    async fn key_set(
        &self,
        registration: &LaunchRegistration,
        configuration: &SmartConfiguration,
        issuer: &str,
    ) -> Result<Url, SmartError> {
        let named = configuration.jwks_uri.as_ref();
        if let (Some(named), true) = (named, configuration.issuer.as_deref() == Some(issuer)) {
            return Ok(named.clone());
        }
        match (self.discovery.key_set_of(&registration.server, configuration, issuer).await, named) {
            (Ok(address), _) => Ok(address),
            (Err(DiscoveryFault::NotFound), Some(named)) => Ok(named.clone()),
            (Err(DiscoveryFault::Unreachable), _) => Err(IdTokenFault::KeysUnreachable.into()),
            (Err(fault), _) => Err(fault.into()),
        }
    }
}

/// Checks the signature by `key`, then every claim as of `now`, in seconds since 1970.
pub(super) fn verified(
    registration: &LaunchRegistration,
    state: &LaunchState,
    id_token: &str,
    announced: &Announced,
    key: &DecodingKey,
    now: i64,
) -> Result<Identity, SmartError> {
    let mut validation = Validation::new(announced.algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_audience(&[registration.client.client_id.as_str()]);
    validation.set_issuer(&[announced.issuer.as_str()]);
    // The library would ask the system for the time; it is compared below.
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode::<Claims>(id_token, key, &validation);
    let claims = claims.map_err(|error| claims_fault(&error))?.claims;
    check_claims(registration, state, &claims, now)?;
    identity_of(registration, claims)
}

/// What the signature does not say: time, audience, subject, nonce.
fn check_claims(
    registration: &LaunchRegistration,
    state: &LaunchState,
    claims: &Claims,
    now: i64,
) -> Result<(), IdTokenFault> {
    if claims.exp.saturating_add(LEEWAY) <= now {
        return Err(IdTokenFault::Expired);
    }
    if claims.iat > now.saturating_add(LEEWAY) {
        return Err(IdTokenFault::FromTheFuture);
    }
    // With several audiences, or where it is there, `azp` says for whom the token is.
    let several = matches!(&claims.aud, OneOrMany::Many(audiences) if audiences.len() > 1);
    let presenter = claims.azp.as_deref();
    if (several || presenter.is_some()) && presenter != Some(&registration.client.client_id) {
        return Err(IdTokenFault::Audience);
    }
    if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT {
        return Err(IdTokenFault::Malformed);
    }
    match &claims.nonce {
        Some(nonce) if !state.has_nonce(nonce) => Err(IdTokenFault::Nonce),
        None if registration.server.require_nonce => Err(IdTokenFault::Nonce),
        _ => Ok(()),
    }
}

fn identity_of(registration: &LaunchRegistration, claims: Claims) -> Result<Identity, SmartError> {
    // `profile` is where SMART 1.0 had it; elsewhere it may be the address of a web page.
    let profile = claims.profile.filter(|profile| profile.contains("Practitioner/"));
    let fhir_user = match claims.fhir_user.or(profile) {
        None => None,
        Some(text) => {
            let user = registration.server.base.reference(&text).ok_or(SmartError::NotStaff)?;
            if !user.is("Practitioner") && !user.is("PractitionerRole") {
                return Err(SmartError::NotStaff);
            }
            Some(user)
        }
    };
    Ok(Identity {
        issuer: claims.iss,
        subject: claims.sub,
        fhir_user,
        authentication_class: claims.acr,
        authentication_methods: claims.amr.map(OneOrMany::into_vec).unwrap_or_default(),
    })
}

/// The issuers whose word counts for this server: those that the operator names, else the one of its smart-configuration,
/// else the FHIR base itself.
fn allowed_issuers<'a>(
    registration: &'a LaunchRegistration,
    configuration: &'a SmartConfiguration,
) -> impl Iterator<Item = &'a str> {
    let named = &registration.server.id_token_issuers;
    let own = named.is_empty().then(|| configuration.issuer.as_deref().unwrap_or(registration.server.base.as_str()));
    named.iter().map(String::as_str).chain(own)
}

fn header_fault(error: &jsonwebtoken::errors::Error) -> IdTokenFault {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        // An `alg` that the library does not know, `none` among them, is a JSON error of the header.
        ErrorKind::Json(_) | ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => IdTokenFault::Algorithm,
        _ => IdTokenFault::Malformed,
    }
}

fn claims_fault(error: &jsonwebtoken::errors::Error) -> IdTokenFault {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => IdTokenFault::Signature,
        ErrorKind::InvalidIssuer => IdTokenFault::Issuer,
        ErrorKind::InvalidAudience => IdTokenFault::Audience,
        _ => IdTokenFault::Malformed,
    }
}
