//! The keys that a registration signs with, and the JWKS document that shows their public halves (RFC 7517).

use super::error::KeyFault;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use std::fmt;
use zeroize::Zeroizing;

/// The algorithms that SMART requires a client to support (asymmetric authentication, "Registering a client").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSA PKCS #1 v1.5 with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
}

impl SigningAlgorithm {
    /// The name in JWS headers (RFC 7518 section 3.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es384 => "ES384",
            Self::Rs384 => "RS384",
        }
    }

    const fn jws(self) -> Algorithm {
        match self {
            Self::Es384 => Algorithm::ES384,
            Self::Rs384 => Algorithm::RS384,
        }
    }
}

/// A private key with its `kid`, which is the thumbprint of its public half (RFC 7638): the same key always has the
/// same, and no two keys share one.
pub struct SigningKey {
    kid: String,
    algorithm: SigningAlgorithm,
    key: EncodingKey,
    public: Jwk,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new key: its PEM (PKCS #8), to be kept where secrets are kept.
    ///
    /// # Errors
    /// [`KeyFault::Generation`] when the crypto library cannot.
    pub fn generate_pem(algorithm: SigningAlgorithm) -> Result<Zeroizing<String>, KeyFault> {
        let failed = |_| KeyFault::Generation;
        let der = match algorithm {
            SigningAlgorithm::Es384 => {
                let rng = aws_lc_rs::rand::SystemRandom::new();
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &rng).map_err(failed)?;
                Zeroizing::new(document.as_ref().to_vec())
            }
            SigningAlgorithm::Rs384 => {
                let key = RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
        };
        Ok(to_pem(&der))
    }

    /// Reads a private key from PEM (PKCS #8) and checks that it can sign.
    ///
    /// # Errors
    /// [`KeyFault::NotAKey`] when it is not one of this algorithm.
    pub fn from_pem(pem: &str, algorithm: SigningAlgorithm) -> Result<Self, KeyFault> {
        let fault = || KeyFault::NotAKey(algorithm.as_str());
        let key = match algorithm {
            SigningAlgorithm::Es384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            SigningAlgorithm::Rs384 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        let key = key.map_err(|_| fault())?;
        let mut public = Jwk::from_encoding_key(&key, algorithm.jws()).map_err(|_| fault())?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| fault())?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let signing = Self { kid, algorithm, key, public };
        signing.sign(&serde_json::json!({})).map_err(|_| fault())?;
        Ok(signing)
    }

    /// The key's id in the JWKS and in JWT headers.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key's algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Signs `claims` as a JWT with `typ`, `alg` and `kid`.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyFault> {
        let mut header = Header::new(self.algorithm.jws());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| KeyFault::NotAKey(self.algorithm.as_str()))
    }
}

fn to_pem(der: &[u8]) -> Zeroizing<String> {
    const LINE: usize = 64;
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / LINE + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (index, c) in encoded.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

/// The keys of a registration. During a rotation there are two of an algorithm: the first signs, both
/// are shown. A new key is first listed last, and moves to the front when the EHR's cache of our JWKS has run out.
#[derive(Debug)]
pub struct SigningKeys(Vec<SigningKey>);

impl SigningKeys {
    /// Takes the keys in the order of preference.
    ///
    /// # Errors
    /// [`KeyFault::Duplicate`] when one is listed twice: a verifier refuses a set with equal `kid`s.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, KeyFault> {
        let mut kids: Vec<&str> = keys.iter().map(SigningKey::kid).collect();
        kids.sort_unstable();
        kids.dedup();
        if kids.len() == keys.len() { Ok(Self(keys)) } else { Err(KeyFault::Duplicate) }
    }

    /// The key that signs by `algorithm` now.
    ///
    /// # Errors
    /// [`KeyFault::NoSuchKey`] when there is none.
    pub fn signing(&self, algorithm: SigningAlgorithm) -> Result<&SigningKey, KeyFault> {
        let key = self.0.iter().find(|key| key.algorithm == algorithm);
        key.ok_or(KeyFault::NoSuchKey(algorithm.as_str()))
    }

    /// The JWKS document with every key's public half (RFC 7517 section 5). Serve it with a `Cache-Control` age: a
    /// rotation waits that long.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<&Jwk> = self.0.iter().map(|key| &key.public).collect();
        serde_json::json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation};
    use rstest::rstest;

    fn generate(algorithm: SigningAlgorithm) -> SigningKey {
        SigningKey::from_pem(&SigningKey::generate_pem(algorithm).unwrap(), algorithm).unwrap()
    }

    #[rstest]
    #[case(SigningAlgorithm::Es384)]
    #[case(SigningAlgorithm::Rs384)]
    fn what_is_signed_verifies_by_the_published_key(#[case] algorithm: SigningAlgorithm) {
        let keys = SigningKeys::new(vec![generate(algorithm), generate(algorithm)]).unwrap();
        let key = keys.signing(algorithm).unwrap();
        let jwt = key.sign(&serde_json::json!({"sub": "me"})).unwrap();
        let published: JwkSet = serde_json::from_value(keys.jwks()).unwrap();
        assert_eq!(published.keys.len(), 2, "both keys are shown during a rotation");
        let public = DecodingKey::from_jwk(published.find(key.kid()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm.jws());
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<serde_json::Value>(&jwt, &public, &validation).unwrap();
    }

    #[test]
    fn the_jwks_document_holds_public_parts_only() {
        let keys = [SigningAlgorithm::Es384, SigningAlgorithm::Rs384].map(generate);
        let document = SigningKeys::new(keys.into()).unwrap().jwks();
        let members = |index: usize| {
            let mut members: Vec<_> = document["keys"][index].as_object().unwrap().keys().cloned().collect();
            members.sort();
            members
        };
        assert_eq!(members(0), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(members(1), ["alg", "e", "kid", "kty", "n", "use"]);
    }

    #[test]
    fn the_wrong_kind_of_key_is_refused_when_it_is_loaded() {
        let pem = SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap();
        let fault = SigningKey::from_pem(&pem, SigningAlgorithm::Rs384).unwrap_err();
        assert_eq!(fault, KeyFault::NotAKey("RS384"));
        assert!(SigningKey::from_pem("-----BEGIN PRIVATE KEY-----", SigningAlgorithm::Es384).is_err());
        let key = || SigningKey::from_pem(&pem, SigningAlgorithm::Es384).unwrap();
        assert_eq!(SigningKeys::new(vec![key(), key()]).unwrap_err(), KeyFault::Duplicate);
    }

    #[test]
    fn debug_output_holds_no_key() {
        let key = generate(SigningAlgorithm::Es384);
        let shown = format!("{key:?}");
        assert!(shown.contains(key.kid()) && !shown.contains("key:"), "{shown}");
    }
}
