//! The client assertion of asymmetric authentication (SMART App Launch 2.2, "Authenticating to the Token Endpoint";
//! RFC 7523).

use super::error::KeyFault;
use super::keys::SigningKey;
use crate::kernel::Instruments;
use serde::Serialize;
use url::Url;

/// `client_assertion_type` of a JWT (RFC 7523 section 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion holds, in seconds. SMART allows 300; the rest is room for a clock that is ahead of theirs.
const LIFETIME: i64 = 240;

/// Bytes of randomness in `jti`: never twice, and short enough for every server (Epic takes 151 characters).
const JTI_BYTES: usize = 24;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    jti: String,
}

/// A fresh assertion that `client_id` is asking at `token_endpoint`. To be sent once.
pub(super) fn client_assertion(
    key: &SigningKey,
    client_id: &str,
    token_endpoint: &Url,
    instruments: &Instruments,
) -> Result<String, KeyFault> {
    key.sign(&Claims {
        iss: client_id,
        sub: client_id,
        aud: token_endpoint.as_str(),
        exp: instruments.now().as_second().saturating_add(LIFETIME),
        jti: instruments.token(JTI_BYTES),
    })
}
