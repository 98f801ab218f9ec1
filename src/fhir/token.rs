//! Access tokens: who gives them, and how they are kept out of sight.

use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// A future behind a pointer, so that a trait with it can be an object.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A bearer token (RFC 6750). Neither printed nor serialised, wiped when dropped.
#[derive(Clone)]
pub struct SecretToken(Zeroizing<String>);

impl SecretToken {
    /// Keeps `token` out of sight.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token itself, for an `Authorization` header or a sealed column.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same token. Compares in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretToken(…)")
    }
}

/// Why there is no token, in terms of what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The authorization server cannot be reached or failed: try later.
    #[error("the authorization server cannot be reached; try again later")]
    Unreachable,
    /// The authorization server asks for fewer requests.
    #[error("the authorization server asks for fewer requests; try again later")]
    Throttled {
        /// How long it asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The authorization server refuses this client: its registration, key or scopes need an operator.
    #[error(
        "the authorization server refuses this client ({code}); check its registration, its key and the granted scopes"
    )]
    Refused {
        /// The error code of RFC 6749 section 5.2, or `other` where the server's is not one of them.
        code: &'static str,
    },
    /// The authorization server's answer cannot be used.
    #[error("the authorization server's answer is not a token response; check its address")]
    Malformed,
    /// The person's session with the EHR is over.
    #[error("the session with the EHR is over; open the app from the EHR again")]
    SignInAgain,
    /// The client's own key cannot sign.
    #[error("the client's signing key cannot be used; check the key and its algorithm")]
    Key,
}

impl TokenError {
    /// Whether waiting may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled { .. })
    }
}

/// Gives the access token that a request goes out with.
pub trait AccessTokenSource: Send + Sync + 'static {
    /// A token that is valid now, as far as is known.
    ///
    /// # Errors
    /// [`TokenError`] when there is none to be had.
    fn token(&self) -> BoxFuture<'_, Result<SecretToken, TokenError>>;

    /// The server refused `rejected` (401): it must not be given again. A newer token stays.
    fn invalidate(&self, rejected: &SecretToken);
}

/// The token of a person's EHR session (SMART launch without a refresh token): what was given is all there is.
#[derive(Debug)]
pub struct UserToken {
    token: SecretToken,
    refused: std::sync::atomic::AtomicBool,
}

impl UserToken {
    /// A source that gives `token` until the server refuses it.
    #[must_use]
    pub const fn new(token: SecretToken) -> Self {
        Self { token, refused: std::sync::atomic::AtomicBool::new(false) }
    }
}

impl AccessTokenSource for UserToken {
    fn token(&self) -> BoxFuture<'_, Result<SecretToken, TokenError>> {
        let refused = self.refused.load(std::sync::atomic::Ordering::Acquire);
        Box::pin(async move { if refused { Err(TokenError::SignInAgain) } else { Ok(self.token.clone()) } })
    }

    fn invalidate(&self, rejected: &SecretToken) {
        if self.token.is(rejected) {
            self.refused.store(true, std::sync::atomic::Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_hold_the_token() {
        assert_eq!(format!("{:?}", UserToken::new(SecretToken::new("eyJ-secret"))).find("eyJ"), None);
    }

    #[tokio::test]
    async fn a_refused_user_token_is_not_given_again() {
        let source = UserToken::new(SecretToken::new("a"));
        source.invalidate(&SecretToken::new("b"));
        assert!(source.token().await.is_ok());
        source.invalidate(&SecretToken::new("a"));
        assert_eq!(source.token().await.unwrap_err(), TokenError::SignInAgain);
    }
}
