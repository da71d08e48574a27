//! AES-256-GCM and AES-256-GMAC (SP 800-38D) by AWS-LC, with 12-byte nonces and 16-byte tags; and AES-256 key wrap.

mod kwp;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

pub(crate) use kwp::{unwrap_key, wrap_key};

use crate::secret::SecretBytes;

/// Length of a nonce in bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// Length of a tag in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// An AES-256-GCM key, expanded. Its schedule lives in AWS-LC's heap, which zeroes it when freed.
pub(crate) struct Gcm256 {
    key: LessSafeKey,
}

impl Gcm256 {
    /// Expands `key`, which must have 32 bytes.
    pub(crate) fn new(key: &SecretBytes) -> Result<Self, AeadError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| AeadError)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`. A nonce must never serve twice under one key.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), data).map_err(|_| AeadError)?;
        tag.as_ref().try_into().map_err(|_| AeadError)
    }

    /// Checks the tag and decrypts `data` in place; on an error `data` is zeroed.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        tag: &[u8; TAG_LEN],
        data: &mut [u8],
    ) -> Result<(), AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        if self.key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, data).is_err() {
            data.zeroize();
            return Err(AeadError);
        }
        Ok(())
    }

    /// Returns the GMAC of `data`: the tag of an empty plaintext with `data` as additional data.
    pub(crate) fn gmac(&self, nonce: &[u8; NONCE_LEN], data: &[u8]) -> Result<[u8; TAG_LEN], AeadError> {
        self.seal(nonce, data, &mut [])
    }

    /// Checks a GMAC, in constant time.
    pub(crate) fn verify_gmac(
        &self,
        nonce: &[u8; NONCE_LEN],
        tag: &[u8; TAG_LEN],
        data: &[u8],
    ) -> Result<(), AeadError> {
        self.open(nonce, data, tag, &mut [])
    }
}

impl fmt::Debug for Gcm256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm256")
    }
}

/// The tag does not match, or a length is outside what GCM allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AeadError;

#[cfg(test)]
mod tests;
