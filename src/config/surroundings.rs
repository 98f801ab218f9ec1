//! What a configuration refers to outside its own file: environment variables and secret files.

use std::{env, fs, io, path::Path};
use zeroize::Zeroizing;

/// Environment variables that begin so set a key: `CHARTWIRE__SERVER__LISTEN` sets `server.listen`.
pub(super) const OVERRIDE_PREFIX: &str = "CHARTWIRE__";

/// Where secrets and overrides come from. The process's own ([`ProcessSurroundings`]) outside tests.
pub trait Surroundings {
    /// The environment variable of this name, if it is set and is UTF-8.
    fn variable(&self, name: &str) -> Option<Zeroizing<String>>;

    /// Every environment variable that sets a key, with its text, in the order of their names.
    fn overrides(&self) -> Vec<(String, String)>;

    /// The content of a secret's file.
    ///
    /// # Errors
    /// As the file system says.
    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;
}

/// The environment and the file system of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessSurroundings;

impl Surroundings for ProcessSurroundings {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        env::var(name).ok().map(Zeroizing::new)
    }

    fn overrides(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with(OVERRIDE_PREFIX))
            .collect();
        found.sort();
        found
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        fs::read(path).map(Zeroizing::new)
    }
}
