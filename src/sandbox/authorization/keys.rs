//! The sandbox's signing key, made anew at each start, and what it signs.

use super::super::SandboxError;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The `kid` of the only key.
const KEY_ID: &str = "sandbox-1";

/// An RSA key for RS256, which SMART requires for the `id_token`.
pub struct SigningKey {
    private: EncodingKey,
    public: DecodingKey,
    jwk: Value,
}

impl SigningKey {
    /// Makes a new key of 2048 bits.
    ///
    /// # Errors
    /// [`SandboxError::Key`] where the cryptographic library cannot.
    pub fn generate() -> Result<Self, SandboxError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SandboxError::Key)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| SandboxError::Key)?;
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", wrapped(&body));
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| SandboxError::Key)?;
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).map_err(|_| SandboxError::Key)?;
        jwk.common.key_id = Some(KEY_ID.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let public = DecodingKey::from_jwk(&jwk).map_err(|_| SandboxError::Key)?;
        let jwk = serde_json::to_value(&jwk).map_err(|_| SandboxError::Key)?;
        Ok(Self { private, public, jwk })
    }

    /// The public half as a JWK set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// A signed JWT with these claims; `None` where the claims cannot be written as JSON.
    #[must_use]
    pub fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.private).ok()
    }

    /// The claims of a JWT that this key signed for `audience`. Its time is the caller's to check.
    #[must_use]
    pub fn verify<T: DeserializeOwned>(&self, token: &str, audience: &str) -> Option<T> {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[audience]);
        rules.validate_exp = false;
        jsonwebtoken::decode(token, &self.public, &rules).ok().map(|data| data.claims)
    }
}

/// PEM lines of 64 letters (RFC 7468).
fn wrapped(body: &str) -> String {
    let letters: Vec<char> = body.chars().collect();
    letters.chunks(64).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_holds_for_its_audience_only() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&json!({"aud": "here", "exp": 1})).unwrap();
        assert!(key.verify::<Value>(&token, "here").is_some());
        assert!(key.verify::<Value>(&token, "elsewhere").is_none());
        assert!(SigningKey::generate().unwrap().verify::<Value>(&token, "here").is_none());
        assert_eq!(key.jwks()["keys"][0]["kid"], KEY_ID);
        assert!(key.jwks()["keys"][0].get("d").is_none());
    }
}
