//! What can go wrong in a launch or with a grant: for operators as errors, for people as advice.

use crate::fhir::TokenError;

/// Why a launch did not succeed. Its text is for operators; people are shown what [`SmartError::advice`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmartError {
    /// The `iss` of a launch is not one that is registered. Nothing was fetched from it.
    #[error(
        "a launch came from an EHR that is not registered; register its FHIR base address or treat it as an attempt"
    )]
    UnknownIssuer,
    /// `launch` is missing or is not what an EHR would send.
    #[error("the launch request has no usable launch parameter; check the launch URL registered at the EHR")]
    BadLaunchRequest,
    /// The EHR's authorization documents cannot be used.
    #[error("the EHR's authorization documents cannot be used: {0}")]
    Discovery(#[from] DiscoveryFault),
    /// The EHR, or the person, refused the authorization (an `error` at the callback).
    #[error("the EHR refused the authorization ({code}); check the client's registration and the person's rights")]
    Denied {
        /// The error code of RFC 6749 section 4.1.2.1, or `other`.
        code: &'static str,
    },
    /// The callback does not belong to the launch that this browser began: replayed, swapped or forged.
    #[error("the callback's state is not the one that this browser's launch was given")]
    StateMismatch,
    /// The launch took longer than allowed.
    #[error("the launch took too long and was ended")]
    LaunchExpired,
    /// The callback names another authorization server than the launch went to (RFC 9207).
    #[error("the callback comes from another authorization server than the launch went to")]
    MixUp,
    /// The code could not be exchanged for a token.
    #[error("the EHR gave no token: {0}")]
    Token(#[from] TokenError),
    /// The token response names a context that is none.
    #[error("the EHR's token response has a malformed `{0}`")]
    BadContext(&'static str),
    /// The identity could not be established.
    #[error("the EHR's id_token is refused: {0}")]
    IdToken(#[from] IdTokenFault),
    /// The person is known, and is not a practitioner of this EHR.
    #[error("the person who launched is not a practitioner of this EHR")]
    NotStaff,
}

/// What a person at the screen can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Close this and open the app from the EHR again.
    OpenFromEhrAgain,
    /// The EHR does not answer: try again in a few minutes.
    TryLater,
    /// Something is set up wrongly: tell the administrator.
    TellAdministrator,
    /// This person may not use the app.
    NotAllowed,
}

impl SmartError {
    /// What the person should be told.
    #[must_use]
    pub const fn advice(&self) -> Advice {
        match self {
            Self::StateMismatch
            | Self::LaunchExpired
            | Self::BadLaunchRequest
            | Self::MixUp
            | Self::Token(TokenError::SignInAgain)
            | Self::IdToken(IdTokenFault::Expired | IdTokenFault::Nonce) => Advice::OpenFromEhrAgain,
            Self::Discovery(DiscoveryFault::Unreachable)
            | Self::Token(TokenError::Unreachable | TokenError::Throttled { .. })
            | Self::IdToken(IdTokenFault::KeysUnreachable) => Advice::TryLater,
            Self::Denied { .. } | Self::NotStaff => Advice::NotAllowed,
            Self::UnknownIssuer | Self::Discovery(_) | Self::Token(_) | Self::BadContext(_) | Self::IdToken(_) => {
                Advice::TellAdministrator
            }
        }
    }
}

/// What is wrong with an authorization document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryFault {
    /// No answer, or a status that says to come back.
    #[error("the server does not answer; try again later")]
    Unreachable,
    /// The document is not there (404 and the like).
    #[error("the server has no such document; check its FHIR base address")]
    NotFound,
    /// Not JSON of the expected shape, or too large.
    #[error("the document is not JSON of the expected shape")]
    Malformed,
    /// A field that is required.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// PKCE with S256 is not offered, so a code could be stolen.
    #[error("the server does not offer PKCE with S256")]
    NoS256,
    /// An address that is not absolute, not protected, or on a host that has nothing to do with this server.
    #[error("the address in `{0}` is not https, or on a host that is not allowed for this server")]
    Endpoint(&'static str),
    /// The issuer is not one that is allowed for this server.
    #[error("the issuer is not one that is allowed for this server; add it to the server's issuers if it is right")]
    Issuer,
}

/// What is wrong with an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    /// There is none although `openid` was asked for.
    #[error("there is none; check that the scopes openid and fhirUser are granted to the client")]
    Missing,
    /// Not a JWT, or its claims do not have the expected shape.
    #[error("it is not a well-formed JWT")]
    Malformed,
    /// Signed by an algorithm that is not accepted: none, HMAC, or an unknown one.
    #[error("its algorithm is not RS256, RS384, ES256 or ES384")]
    Algorithm,
    /// No published key has its `kid`, or more than one could have signed it.
    #[error("no published key of the issuer fits it")]
    UnknownKey,
    /// The issuer's keys cannot be fetched.
    #[error("the issuer's keys cannot be fetched; try again later")]
    KeysUnreachable,
    /// The issuer's key set cannot be used.
    #[error("the issuer's key set cannot be used; check its address")]
    Keys,
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// Issued by another issuer.
    #[error("its issuer is not one that is allowed for this server")]
    Issuer,
    /// Issued for another client.
    #[error("it was issued for another client")]
    Audience,
    /// Past its `exp`.
    #[error("it has expired")]
    Expired,
    /// Its `iat` lies in the future: a clock is wrong.
    #[error("it was issued in the future; check the clocks")]
    FromTheFuture,
    /// Another launch's nonce, or none where one is required.
    #[error("its nonce is not the one of this launch")]
    Nonce,
}

/// Why a signing key cannot be used. Never holds key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not a PEM private key of the named algorithm's kind.
    #[error("this is not a private key for {0} in PEM (PKCS #8) form")]
    NotAKey(&'static str),
    /// The key cannot be made.
    #[error("the key could not be generated")]
    Generation,
    /// There is no key of this algorithm.
    #[error("there is no {0} key; generate one, or change the registration's algorithm")]
    NoSuchKey(&'static str),
    /// The same key twice.
    #[error("the same key is listed twice")]
    Duplicate,
}
