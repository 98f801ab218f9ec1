//! Sealing and opening values.

use super::{
    DataKeyStore, KeyProvider, KeyPurpose, Period, Place, RetentionClass, SealLimits, Sealed, VaultError, cipher,
    ring::{Line, Ring, SealingKey},
    sealed::{NONCE_BYTES, associated_data},
};
use crate::kernel::{Id, Instruments, Phi, Tenant};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The vault of a process. Cheap to clone; clones share one key ring.
#[derive(Clone)]
pub struct Vault(pub(super) Arc<Ring>);

impl Vault {
    /// A vault over stored data keys and the keys that wrap them.
    #[must_use]
    pub fn new(store: Arc<dyn DataKeyStore>, provider: Arc<dyn KeyProvider>, instruments: Instruments) -> Self {
        Self::with_limits(store, provider, instruments, SealLimits::default())
    }

    /// A vault whose keys are retired after another number of seals.
    #[must_use]
    pub fn with_limits(
        store: Arc<dyn DataKeyStore>,
        provider: Arc<dyn KeyProvider>,
        instruments: Instruments,
        limits: SealLimits,
    ) -> Self {
        Self(Arc::new(Ring::new(store, provider, instruments, limits)))
    }

    /// Seals `plaintext` for `place`. With a key in memory (that is: nearly always) nothing is waited for.
    ///
    /// # Errors
    /// [`VaultError`] when no data key can be had, or the value is too large.
    pub async fn seal(
        &self,
        tenant: Id<Tenant>,
        class: RetentionClass,
        place: Place<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let period = Period::month_of(self.0.instruments.now());
        self.seal_in_line((tenant, KeyPurpose::Seal(class), period), place, plaintext).await
    }

    /// Seals a protected text for `place`.
    ///
    /// # Errors
    /// As [`Vault::seal`].
    pub async fn seal_text<T: AsRef<str>>(
        &self,
        tenant: Id<Tenant>,
        class: RetentionClass,
        place: Place<'_>,
        text: &Phi<T>,
    ) -> Result<Sealed, VaultError> {
        self.seal(tenant, class, place, text.as_str().as_bytes()).await
    }

    /// Opens a value that was sealed for `place`.
    ///
    /// # Errors
    /// [`VaultError::NotOpenable`] when it was changed or belongs to another place, [`VaultError::UnknownKey`] when
    /// the tenant has no such data key; otherwise as the key store and the key provider fail.
    pub async fn open(
        &self,
        tenant: Id<Tenant>,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let key = self.0.key(tenant, sealed.key_id()).await?;
        open_under(&key, tenant, place, sealed)
    }

    /// Opens a text that was sealed for `place`.
    ///
    /// # Errors
    /// As [`Vault::open`], and [`VaultError::NotText`].
    pub async fn open_text(
        &self,
        tenant: Id<Tenant>,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Phi<String>, VaultError> {
        let opened = self.open(tenant, place, sealed).await?;
        let text = str::from_utf8(&opened).map_err(|_| VaultError::NotText { key: sealed.key_id() })?;
        Ok(Phi::new(text.to_owned()))
    }

    pub(super) async fn seal_in_line(
        &self,
        line: Line,
        place: Place<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let key = self.0.sealing_key(line).await?;
        let mut nonce = [0_u8; NONCE_BYTES];
        self.0.instruments.entropy.fill(&mut nonce);
        let aad = associated_data(line.0, key.id, place);
        let ciphertext = cipher::seal(&key.material, &nonce, &aad, plaintext).ok_or(VaultError::TooLarge)?;
        Ok(Sealed::assemble(key.id, &nonce, &ciphertext))
    }
}

pub(super) fn open_under(
    key: &SealingKey,
    tenant: Id<Tenant>,
    place: Place<'_>,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let parts = sealed.parts()?;
    let aad = associated_data(tenant, parts.key, place);
    cipher::open(&key.material, &parts.nonce, &aad, parts.ciphertext).ok_or(VaultError::NotOpenable { key: key.id })
}
