//! Secrets, as the settings carry them.

use std::fmt;
use zeroize::Zeroizing;

/// A secret that came from the environment or from a file. Wiped when dropped, never printed; there is no `Display`,
/// no `Serialize` and no comparison.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: impl Into<Zeroizing<String>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for whoever signs, opens or signs in with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The secret itself, for whoever keeps it from now on.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(…)");
    }
}
