//! AES-256-GCM and HMAC-SHA-256 with the types that the rest of the vault uses.

use super::{KeyBytes, sealed::NONCE_BYTES};
use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use zeroize::Zeroizing;

/// The cipher under `key`. Its round keys are wiped when it is dropped.
pub(super) fn aes(key: &KeyBytes) -> Aes256Gcm {
    Aes256Gcm::new(&(**key).into())
}

/// Ciphertext and tag; `None` when the plaintext is longer than 2^36 - 32 bytes (NIST SP 800-38D section 5.2.1.1).
pub(super) fn seal(cipher: &Aes256Gcm, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    cipher.encrypt(&Nonce::from(*nonce), Payload { msg: plaintext, aad }).ok()
}

/// The plaintext; `None` when anything differs from what was sealed.
pub(super) fn open(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad }).ok().map(Zeroizing::new)
}

/// The HMAC key made of `key`. AWS-LC wipes its state when it is dropped.
pub(super) fn hmac(key: &KeyBytes) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())
}

/// HMAC-SHA-256 (RFC 2104, FIPS 180-4).
pub(super) fn mac(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    let mut tag = [0_u8; 32];
    for (byte, computed) in tag.iter_mut().zip(hmac::sign(key, message).as_ref()) {
        *byte = *computed;
    }
    tag
}

/// Recognises a key without telling it: 16 bytes of an HMAC under the key itself.
pub(super) fn check_value(key: &KeyBytes, context: &[u8]) -> Vec<u8> {
    let message = super::length_prefixed(&[b"chartwire key check", context]);
    mac(&hmac(key), &message).iter().take(16).copied().collect()
}

/// Whether this is the key that `check` was made of. Takes the same time whatever `check` is.
pub(super) fn is_checked_by(key: &KeyBytes, context: &[u8], check: &[u8]) -> bool {
    verify_slices_are_equal(&check_value(key, context), check).is_ok()
}

/// Eight hexadecimal bytes by which a key-encryption key is named.
pub(super) fn fingerprint(key: &KeyBytes) -> String {
    let check = check_value(key, b"key-encryption key");
    format!("{:016x}", u64::from_be_bytes(check.first_chunk().copied().unwrap_or_default()))
}
