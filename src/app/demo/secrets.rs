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

/// The file with the practice's key-encryption key.
pub(super) const KEK: &str = "kek";
/// The file with the key that the service signs in to the EHR with.
pub(super) const SIGNING_KEY: &str = "signing-key.pem";
/// The file with the carrier account's token.
pub(super) const CARRIER_TOKEN: &str = "carrier-token";

/// Sees to it that what the demo practice's settings refer to is in `folder`; made there the first time.
pub(super) fn keep(folder: &Path, instruments: &Instruments) -> Result<(), DemoError> {
    kept(&folder.join(KEK), || Ok(Kek::generate(&*instruments.entropy).to_base64()))?;
    kept(&folder.join(SIGNING_KEY), || SigningKey::generate_pem(SigningAlgorithm::Es384).map_err(|_| DemoError::Keys))?;
    kept(&folder.join(CARRIER_TOKEN), || Ok(Zeroizing::new(AUTH_TOKEN.to_owned())))
}

fn kept(path: &Path, make: impl FnOnce() -> Result<Zeroizing<String>, DemoError>) -> Result<(), DemoError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => Ok(file.write_all(make()?.as_bytes())?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The demo takes its settings from its own file, whatever the environment says.
pub(super) struct FilesAlone;

impl Surroundings for FilesAlone {
    fn variable(&self, _name: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn overrides(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        fs::read(path).map(Zeroizing::new)
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
