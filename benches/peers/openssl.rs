//! AES-256-XTS by OpenSSL, with the tweak set for every sector.

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;

/// One key and direction.
pub(crate) struct OpenSslXts {
    context: CipherCtx,
    encrypt: bool,
}

impl OpenSslXts {
    /// Expands `key`.
    ///
    /// # Panics
    ///
    /// When OpenSSL refuses the key.
    pub(crate) fn new(key: &[u8; 64], encrypt: bool) -> Self {
        let mut context = CipherCtx::new().expect("memory for a context");
        let cipher = Some(Cipher::aes_256_xts());
        let done = if encrypt {
            context.encrypt_init(cipher, Some(key), None)
        } else {
            context.decrypt_init(cipher, Some(key), None)
        };
        done.expect("OpenSSL takes the key");
        Self { context, encrypt }
    }

    /// Runs whole sectors of `size` bytes in place; tweaks count units of 512 bytes from `first`.
    ///
    /// # Panics
    ///
    /// When OpenSSL fails.
    pub(crate) fn sectors(&mut self, size: usize, first: u64, data: &mut [u8]) {
        let mut number = first;
        for sector in data.chunks_exact_mut(size) {
            let mut tweak = [0; 16];
            tweak[..8].copy_from_slice(&number.to_le_bytes());
            number += (size / 512) as u64;
            let set = if self.encrypt {
                self.context.encrypt_init(None, None, Some(&tweak))
            } else {
                self.context.decrypt_init(None, None, Some(&tweak))
            };
            set.expect("OpenSSL takes the tweak");
            self.context.cipher_update_inplace(sector, size).expect("OpenSSL runs a sector");
        }
    }
}
