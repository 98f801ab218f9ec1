//! The demo's keys, made for this run or kept beside its database.

use super::{DemoError, peers::AUTH_TOKEN};
use crate::{
    config::Surroundings,
    kernel::Instruments,
    smart::{SigningAlgorithm, SigningKey},
    vault::Kek,
};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Keys that the demo practice's settings refer to.
pub(super) struct Secrets {
    kek: Zeroizing<String>,
    signing_key: Zeroizing<String>,
}

impl Secrets {
    /// Those in `folder`; made there the first time.
    pub(super) fn of(folder: &Path, instruments: &Instruments) -> Result<Self, DemoError> {
        let kek = kept(&folder.join("kek"), || Ok(Kek::generate(&*instruments.entropy).to_base64()))?;
        let signing_key = kept(&folder.join("signing-key.pem"), || {
            SigningKey::generate_pem(SigningAlgorithm::Es384).map_err(|_| DemoError::Keys)
        })?;
        Ok(Self { kek, signing_key })
    }
}

fn kept(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<String>, DemoError>,
) -> Result<Zeroizing<String>, DemoError> {
    match fs::read_to_string(path) {
        Ok(kept) => Ok(Zeroizing::new(kept)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fresh = make()?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path)?.write_all(fresh.as_bytes())?;
            Ok(fresh)
        }
        Err(error) => Err(error.into()),
    }
}

impl Surroundings for Secrets {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        match name {
            "KEK" => Some(self.kek.clone()),
            "SIGNING_KEY" => Some(self.signing_key.clone()),
            "AUTH_TOKEN" => Some(Zeroizing::new(AUTH_TOKEN.to_owned())),
            _ => None,
        }
    }

    fn overrides(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn file(&self, _path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A folder that goes with this value.
pub(super) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(super) fn create(instruments: &Instruments) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("chartwire-demo-{}", instruments.token(9)));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's folder could not be removed");
        }
    }
}
