//! The settings file.

use super::{MARK, keeps_back, tells_nothing};
use crate::config::{Settings, Surroundings};
use std::{io, path::Path};
use zeroize::Zeroizing;

/// Variables and files that hold something, the same under any name.
struct Fixed;

impl Surroundings for Fixed {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        name.starts_with("ELM_").then(|| Zeroizing::new(MARK.to_owned()))
    }

    fn overrides(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        if path.extension().is_some_and(|extension| extension == "kek") {
            return Ok(Zeroizing::new(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_vec()));
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A file and an override: settings, or mistakes that repeat no secret.
pub(super) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let folder = Path::new("/etc/chartwire");
    match Settings::parse(text, folder, &Fixed) {
        Ok(settings) => assert!(text.contains(MARK) || !format!("{settings:?}").contains(MARK)),
        Err(error) if !text.contains(MARK) => tells_nothing(&error),
        Err(error) => {
            // A key that nobody knows is named, a value never: where no key is marked, no mistake is.
            let is_key = |line: &str| line.split('=').next().is_some_and(|key| key.contains(MARK));
            if !text.lines().any(is_key) {
                keeps_back(&error.to_string());
            }
        }
    }
}
