//! The value of a session cookie: 256 random bits, of which only the SHA-256 is stored.

use crate::kernel::Instruments;
use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// What a browser proves its session with. No `Debug`, no `Display`: it goes into a cookie and nowhere else.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    pub(super) fn generate(instruments: &Instruments) -> Self {
        Self(Zeroizing::new(instruments.token(TOKEN_BYTES)))
    }

    /// A token as a cookie carries it; `None` for what cannot be one.
    #[must_use]
    pub fn from_cookie(value: &str) -> Option<Self> {
        let raw = URL_SAFE_NO_PAD.decode(value).ok()?;
        (raw.len() == TOKEN_BYTES).then(|| Self(Zeroizing::new(value.to_owned())))
    }

    /// The value for the cookie.
    #[must_use]
    pub fn cookie_value(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up.
    #[must_use]
    pub(super) fn stored_hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref().to_vec()
    }

    /// The token that every form of this session carries, so that no other site can send one. It follows from the
    /// cookie's value, which only this browser has, and does not give it away.
    #[must_use]
    pub(super) fn form_token(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"chartwire form"))
    }
}

/// Whether two tokens are the same, in a time that does not tell where they differ.
pub(super) fn same(expected: &str, given: &str) -> bool {
    constant_time::verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok()
}
