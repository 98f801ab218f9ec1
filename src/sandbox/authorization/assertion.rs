//! `private_key_jwt`: a client proves itself by a signed assertion
//! (<https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>, RFC 7523).

use super::clients::RegisteredClient;
use super::{Authorization, OAuthError};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// The only `client_assertion_type`.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion may expire at most so many seconds from now.
const LONGEST_LIFE: i64 = 300;

#[derive(Deserialize)]
struct AssertionClaims {
    sub: String,
    exp: i64,
    jti: String,
}

impl Authorization {
    /// Checks the assertion of `client`, whose keys are fetched anew: no answer is cached longer than it may be.
    ///
    /// # Errors
    /// [`OAuthError::InvalidClient`] with what is wrong.
    pub(super) async fn check_assertion(&self, client: &RegisteredClient, assertion: &str) -> Result<(), OAuthError> {
        let refuse = OAuthError::InvalidClient;
        let jwks_url = client.jwks_url().ok_or(refuse("this client has no keys"))?;
        let header = jsonwebtoken::decode_header(assertion).map_err(|_| refuse("the assertion is not a JWT"))?;
        if !matches!(header.alg, Algorithm::RS384 | Algorithm::ES384) {
            return Err(refuse("the assertion is signed by RS384 or ES384"));
        }
        if header.typ.as_deref() != Some("JWT") {
            return Err(refuse("the assertion's typ is JWT"));
        }
        if header.jku.as_deref().is_some_and(|jku| jku != jwks_url.as_str()) {
            return Err(refuse("the assertion's jku is not the registered one"));
        }
        let kid = header.kid.ok_or(refuse("the assertion names its key by kid"))?;
        let keys = self.fetch_keys(jwks_url).await.ok_or(refuse("the client's JWK set cannot be fetched"))?;
        let key = only_key(&keys, &kid, header.alg).ok_or(refuse("the JWK set has not exactly one such key"))?;
        let claims = self.verified_claims(client.client_id(), assertion, key, header.alg)?;
        let now = self.clock.now().as_second();
        if claims.exp <= now || claims.exp > now + LONGEST_LIFE {
            return Err(refuse("the assertion expires within the next five minutes"));
        }
        if !self.grants.first_use(client.client_id(), &claims.jti, claims.exp) {
            return Err(refuse("the assertion's jti was used before"));
        }
        Ok(())
    }

    fn verified_claims(
        &self,
        client_id: &str,
        assertion: &str,
        key: &Jwk,
        algorithm: Algorithm,
    ) -> Result<AssertionClaims, OAuthError> {
        let refuse = OAuthError::InvalidClient;
        let key = DecodingKey::from_jwk(key).map_err(|_| refuse("the client's key cannot be read"))?;
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[&self.endpoints.token]);
        rules.set_issuer(&[client_id]);
        rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        // Checked by the caller, without leeway, by the clock that it was given.
        rules.validate_exp = false;
        let claims: AssertionClaims = jsonwebtoken::decode(assertion, &key, &rules)
            .map_err(|_| refuse("the assertion's signature, iss, aud or claims do not hold"))?
            .claims;
        if claims.sub != client_id || claims.jti.is_empty() {
            return Err(refuse("the assertion's sub is the client id, and its jti is not empty"));
        }
        Ok(claims)
    }

    async fn fetch_keys(&self, url: &url::Url) -> Option<JwkSet> {
        let answer = self.http.get(url.clone()).send().await.ok()?.error_for_status().ok()?;
        answer.json().await.ok()
    }
}

/// The key with this id and the type that the algorithm takes; more than one is as bad as none.
fn only_key<'a>(keys: &'a JwkSet, kid: &str, algorithm: Algorithm) -> Option<&'a Jwk> {
    let fits = |key: &&Jwk| {
        let is_type = match key.algorithm {
            AlgorithmParameters::RSA(_) => algorithm == Algorithm::RS384,
            AlgorithmParameters::EllipticCurve(_) => algorithm == Algorithm::ES384,
            _ => false,
        };
        is_type && key.common.key_id.as_deref() == Some(kid)
    };
    let mut fitting = keys.keys.iter().filter(fits);
    let key = fitting.next()?;
    fitting.next().is_none().then_some(key)
}
