//! XTS with GMAC over the ciphertext, in one pass where that is faster.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::sector::TWEAK_UNIT_LOG2;
use super::{SectorSize, XtsError};
use crate::secret::SecretBytes;

/// AES-256-XTS and AES-256-GMAC (SP 800-38D) over the ciphertext, fused: encrypt-then-MAC for whole sectors.
///
/// The result is what [`Xts256`](super::Xts256) and a GMAC behind it give. It exists for CPUs with AES-NI and PCLMULQDQ but without VAES, where
/// one pass is a third faster than two.
pub struct XtsGmac {
    #[cfg(target_arch = "x86_64")]
    kernel: super::aesni_gmac::AesNiGmac,
    #[cfg(not(target_arch = "x86_64"))]
    never: std::convert::Infallible,
}

impl XtsGmac {
    /// Expands both keys: 64 bytes for XTS, 32 for GMAC. `None` where this CPU has no fused kernel.
    ///
    /// # Errors
    ///
    /// [`KeyLength`](XtsError::KeyLength); [`EqualHalves`](XtsError::EqualHalves).
    #[cfg(target_arch = "x86_64")]
    pub fn new(xts: &SecretBytes, gmac: &SecretBytes) -> Result<Option<Self>, XtsError> {
        let (halves, rest) = xts.expose().as_chunks::<32>();
        let ([data, tweak], []) = (halves, rest) else { return Err(XtsError::KeyLength(xts.len())) };
        let Ok(mac) = <&[u8; 32]>::try_from(gmac.expose()) else { return Err(XtsError::KeyLength(gmac.len())) };
        if data.ct_eq(tweak).into() {
            return Err(XtsError::EqualHalves);
        }
        let token = super::detect::HaveAesNiClmul::detect();
        Ok(token.map(|token| Self { kernel: super::aesni_gmac::AesNiGmac::new(token, data, tweak, mac) }))
    }

    /// Encrypts whole sectors in place and returns the tag over the ciphertext; `offset` is where `data` starts on the disk, in bytes. A
    /// nonce must never serve twice under one key.
    ///
    /// # Errors
    ///
    /// [`Misaligned`](XtsError::Misaligned) unless `offset` and the length are multiples of the sector size.
    pub fn encrypt_sectors(
        &self,
        sector: SectorSize,
        offset: u64,
        nonce: &[u8; 12],
        data: &mut [u8],
    ) -> Result<[u8; 16], XtsError> {
        let first = first_tweak(sector, offset, data.len())?;
        Ok(self.kernel.encrypt(sector, first, nonce, data))
    }

    /// Decrypts whole sectors in place and checks the tag over the ciphertext that was there. Unless it fits, `data` is zeroed and the
    /// result is `false`.
    ///
    /// # Errors
    ///
    /// As [`encrypt_sectors`](Self::encrypt_sectors); `data` is as it was.
    pub fn decrypt_sectors(
        &self,
        sector: SectorSize,
        offset: u64,
        nonce: &[u8; 12],
        tag: &[u8; 16],
        data: &mut [u8],
    ) -> Result<bool, XtsError> {
        let first = first_tweak(sector, offset, data.len())?;
        let genuine: bool = self.kernel.decrypt(sector, first, nonce, data).ct_eq(tag).into();
        if !genuine {
            data.zeroize();
        }
        Ok(genuine)
    }
}

impl fmt::Debug for XtsGmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XtsGmac")
    }
}

fn first_tweak(sector: SectorSize, offset: u64, len: usize) -> Result<u64, XtsError> {
    if !offset.is_multiple_of(1 << sector.log2()) || !len.is_multiple_of(sector.bytes()) {
        return Err(XtsError::Misaligned { offset, len, sector });
    }
    Ok(offset >> TWEAK_UNIT_LOG2)
}

#[cfg(test)]
mod tests;
