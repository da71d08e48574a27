//! AES-256-XTS by the crate `xts-mode`.

use aes::Aes256;
use aes::cipher::KeyInit;
use xts_mode::{Xts128, get_tweak_default};

/// One key.
pub(crate) struct XtsMode {
    xts: Xts128<Aes256>,
}

impl XtsMode {
    /// Expands `key`.
    pub(crate) fn new(key: &[u8; 64]) -> Self {
        let half = |range: std::ops::Range<usize>| Aes256::new_from_slice(&key[range]).expect("32 bytes");
        Self { xts: Xts128::new(half(0..32), half(32..64)) }
    }

    /// Encrypts whole sectors in place; tweaks count units of 512 bytes from `first`.
    pub(crate) fn encrypt(&self, size: usize, first: u64, data: &mut [u8]) {
        let step = (size / 512) as u128;
        self.xts.encrypt_area(data, size, 0, |sector| get_tweak_default(u128::from(first) + sector * step));
    }

    /// Decrypts likewise.
    pub(crate) fn decrypt(&self, size: usize, first: u64, data: &mut [u8]) {
        let step = (size / 512) as u128;
        self.xts.decrypt_area(data, size, 0, |sector| get_tweak_default(u128::from(first) + sector * step));
    }
}
