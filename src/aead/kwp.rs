//! AES-256 key wrap with padding (SP 800-38F §6.3, RFC 5649) by AWS-LC: deterministic, for secrets of high entropy only.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};

use crate::aead::AeadError;
use crate::secret::SecretBytes;

/// Wraps `secret` under `key`, which must have 32 bytes.
pub(crate) fn wrap_key(key: &SecretBytes, secret: &SecretBytes) -> Result<Vec<u8>, AeadError> {
    let kek = AesKek::new(&AES_256, key.expose()).map_err(|_| AeadError)?;
    let mut wrapped = vec![0; secret.len() + MOST_OVERHEAD];
    let len = kek.wrap_with_padding(secret.expose(), &mut wrapped).map_err(|_| AeadError)?.len();
    wrapped.truncate(len);
    Ok(wrapped)
}

/// Unwraps what [`wrap_key`] gave; fails for anything else.
pub(crate) fn unwrap_key(key: &SecretBytes, wrapped: &[u8]) -> Result<SecretBytes, AeadError> {
    let kek = AesKek::new(&AES_256, key.expose()).map_err(|_| AeadError)?;
    let mut secret = SecretBytes::zeroed(wrapped.len());
    let len = kek.unwrap_with_padding(wrapped, secret.expose_mut()).map_err(|_| AeadError)?.len();
    secret.truncate(len);
    Ok(secret)
}

/// Bytes: the check value, and the padding to a multiple of 8.
const MOST_OVERHEAD: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_wraps_to_the_same_bytes() {
        // RFC 5649 has vectors for 192-bit keys only; this one is from OpenSSL's id-aes256-wrap-pad.
        let key = SecretBytes::copied_from(&(0..32).collect::<Vec<u8>>());
        let secret = SecretBytes::copied_from(&(0..20).map(|byte| byte * 7).collect::<Vec<u8>>());
        let wrapped = wrap_key(&key, &secret).expect("wraps");
        let expected = u128::from_be_bytes(*wrapped.first_chunk().expect("32 bytes"));
        assert_eq!((wrapped.len(), expected), (32, 0x7378_25f6_e8bd_eb46_5a95_0bdf_01e2_fd55));
        assert_eq!(unwrap_key(&key, &wrapped).expect("unwraps").expose(), secret.expose());
    }

    #[test]
    fn whatever_was_changed_does_not_unwrap() {
        let key = SecretBytes::copied_from(&[7; 32]);
        let wrapped = wrap_key(&key, &SecretBytes::copied_from(&[9; 128])).expect("wraps");
        assert_eq!(wrapped.len(), 136);
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(unwrap_key(&key, &changed).is_err(), "byte {at}");
        }
        for len in 0..wrapped.len() {
            assert!(unwrap_key(&key, &wrapped[..len]).is_err(), "{len} bytes");
        }
        assert!(unwrap_key(&SecretBytes::copied_from(&[8; 32]), &wrapped).is_err());
    }
}
