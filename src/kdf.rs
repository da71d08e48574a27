//! SHA-256, HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::secret::SecretBytes;

/// Length of every hash, MAC and derived key in bytes.
pub(crate) const LEN: usize = 32;

/// Returns the SHA-256 of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; LEN] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Returns the HMAC of the parts under `key`.
pub(crate) fn hmac(key: &SecretBytes, parts: &[&[u8]]) -> [u8; LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether `mac` is the HMAC of the parts under `key`; compares in constant time.
pub(crate) fn hmac_matches(key: &SecretBytes, parts: &[&[u8]], mac: &[u8; LEN]) -> bool {
    hmac(key, parts).ct_eq(mac).into()
}

/// HKDF-Extract; `ikm` is `tag | secret`.
pub(crate) fn extract(salt: &[u8], tag: &[u8], secret: &SecretBytes) -> SecretBytes {
    let mut state = hkdf::HkdfExtract::<Sha256>::new(Some(salt));
    state.input_ikm(tag);
    state.input_ikm(secret.expose());
    let (mut prk, _) = state.finalize();
    let secret = SecretBytes::copied_from(&prk);
    prk.as_mut_slice().zeroize();
    secret
}

/// HKDF-Expand to 32 bytes.
pub(crate) fn expand(prk: &SecretBytes, info: &str) -> SecretBytes {
    let mut key = SecretBytes::zeroed(LEN);
    expand_into(prk, info.as_bytes(), key.expose_mut());
    key
}

fn expand_into(prk: &SecretBytes, info: &[u8], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(prk.expose())
        .expect("a pseudo-random key has 32 bytes")
        .expand(info, out)
        .expect("HKDF-SHA-256 gives up to 8160 bytes");
}

#[cfg(test)]
mod tests;
