//! AES-256-XTS (SP 800-38E, IEEE 1619-2018), for single data units and for runs of disk sectors.
//!
//! Sectors are encrypted in place. The tweak of a sector is its byte offset on the disk divided by 512, little-endian,
//! for sectors of 4096 bytes too: so the ciphertext is what dm-crypt writes under the same key.
//!
//! XTS hides contents; it does not authenticate. Every caller in this crate checks a MAC or a tag first.

#[cfg(target_arch = "x86_64")]
mod aesni;
#[cfg(target_arch = "x86_64")]
mod aesni_gmac;
mod backend;
#[cfg(target_arch = "x86_64")]
mod detect;
mod error;
#[cfg(target_arch = "x86_64")]
mod ghash;
mod gmac;
#[cfg(target_arch = "x86_64")]
mod order;
mod placed;
mod portable;
#[cfg(target_arch = "x86_64")]
mod prefetch;
mod roofline;
#[cfg(target_arch = "x86_64")]
mod round_keys;
mod sector;
mod self_test;
#[cfg(test)]
mod tests;
mod tweak;
#[cfg(target_arch = "x86_64")]
mod vaes_avx2;
#[cfg(target_arch = "x86_64")]
mod vaes_avx512;

use std::fmt;

use subtle::ConstantTimeEq;

use crate::secret::SecretBytes;

pub use backend::{Backend, UnknownBackend};
pub use error::XtsError;
pub use gmac::XtsGmac;
pub use roofline::Roofline;
pub use sector::SectorSize;

/// An expanded AES-256-XTS key: two AES-256 keys, one for the data and one for the tweaks.
///
/// The round keys are on secret pages. Encryption takes `&self`; share one value between threads. There is no `Clone`;
/// `Debug` prints the backend only.
///
/// ```
/// use sobre::secret::SecretBytes;
/// use sobre::xts::{SectorSize, Xts256};
///
/// let key: Vec<u8> = (0..64).collect();
/// let xts = Xts256::new(&SecretBytes::taken_from(key))?;
/// let mut data = [7; 1024];
/// xts.encrypt_sectors(SectorSize::Bytes512, 4096, &mut data)?;
/// xts.decrypt_sectors(SectorSize::Bytes512, 4096, &mut data)?;
/// assert_eq!(data, [7; 1024]);
/// # Ok::<(), sobre::xts::XtsError>(())
/// ```
pub struct Xts256 {
    kernel: Kernel,
}

impl Xts256 {
    /// Expands `key` (data half, then tweak half) for the best backend of this CPU, which has passed a known-answer test in this
    /// process.
    ///
    /// # Errors
    ///
    /// [`KeyLength`](XtsError::KeyLength) unless the key has 64 bytes; [`EqualHalves`](XtsError::EqualHalves).
    pub fn new(key: &SecretBytes) -> Result<Self, XtsError> {
        Self::with_backend(key, self_test::best_backend())
    }

    /// Expands `key` for `backend`, for tests and measurements.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`BackendUnavailable`](XtsError::BackendUnavailable) unless
    /// [`Backend::available`] lists it.
    pub fn with_backend(key: &SecretBytes, backend: Backend) -> Result<Self, XtsError> {
        let bytes = key.expose();
        let (halves, rest) = bytes.as_chunks::<32>();
        let ([data, tweak], []) = (halves, rest) else {
            return Err(XtsError::KeyLength(bytes.len()));
        };
        if data.ct_eq(tweak).into() {
            return Err(XtsError::EqualHalves);
        }
        match Kernel::expand(backend, data, tweak) {
            Some(kernel) => Ok(Self { kernel }),
            None => Err(XtsError::BackendUnavailable(backend)),
        }
    }

    /// Returns the backend that this key was expanded for.
    pub fn backend(&self) -> Backend {
        match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::AesNi(_) => Backend::AesNi,
            Kernel::Portable(_) => Backend::Portable,
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx2(_) => Backend::VaesAvx2,
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx512(_) => Backend::VaesAvx512,
        }
    }

    /// Encrypts one data unit in place, with ciphertext stealing where its length is no multiple of 16.
    ///
    /// `tweak` is the raw value; it is encrypted with the second key here.
    ///
    /// # Errors
    ///
    /// [`UnitLength`](XtsError::UnitLength) unless `unit` has 16 bytes to 2^20 blocks (SP 800-38E §4).
    pub fn encrypt_unit(&self, tweak: &[u8; 16], unit: &mut [u8]) -> Result<(), XtsError> {
        self.unit::<true>(tweak, unit)
    }

    /// Decrypts what [`encrypt_unit`](Self::encrypt_unit) encrypted under the same tweak.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn decrypt_unit(&self, tweak: &[u8; 16], unit: &mut [u8]) -> Result<(), XtsError> {
        self.unit::<false>(tweak, unit)
    }

    /// Encrypts whole sectors in place; `offset` is where `data` starts on the disk, in bytes.
    ///
    /// No data is fine. Tweaks go on counting where a run reaches past the offset 2^64.
    ///
    /// # Errors
    ///
    /// [`Misaligned`](XtsError::Misaligned) unless `offset` and the length are multiples of the sector size.
    pub fn encrypt_sectors(&self, sector: SectorSize, offset: u64, data: &mut [u8]) -> Result<(), XtsError> {
        self.sectors::<true>(sector, offset, data)
    }

    /// Decrypts what [`encrypt_sectors`](Self::encrypt_sectors) encrypted at the same offset with the same sector size.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn decrypt_sectors(&self, sector: SectorSize, offset: u64, data: &mut [u8]) -> Result<(), XtsError> {
        self.sectors::<false>(sector, offset, data)
    }

    fn unit<const ENCRYPT: bool>(&self, tweak: &[u8; 16], unit: &mut [u8]) -> Result<(), XtsError> {
        if !(16..=LONGEST_UNIT).contains(&unit.len()) {
            return Err(XtsError::UnitLength(unit.len()));
        }
        match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::AesNi(kernel) => kernel.unit::<ENCRYPT>(tweak, unit),
            Kernel::Portable(kernel) => kernel.unit::<ENCRYPT>(tweak, unit),
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx2(kernel) => kernel.unit::<ENCRYPT>(tweak, unit),
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx512(kernel) => kernel.unit::<ENCRYPT>(tweak, unit),
        }
        Ok(())
    }

    fn sectors<const ENCRYPT: bool>(&self, sector: SectorSize, offset: u64, data: &mut [u8]) -> Result<(), XtsError> {
        let len = data.len();
        if !offset.is_multiple_of(1 << sector.log2()) || !len.is_multiple_of(sector.bytes()) {
            return Err(XtsError::Misaligned { offset, len, sector });
        }
        let first = offset >> sector::TWEAK_UNIT_LOG2;
        match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::AesNi(kernel) => kernel.sectors::<ENCRYPT>(sector, first, data),
            Kernel::Portable(kernel) => kernel.sectors::<ENCRYPT>(sector, first, data),
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx2(kernel) => kernel.sectors::<ENCRYPT>(sector, first, data),
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx512(kernel) => kernel.sectors::<ENCRYPT>(sector, first, data),
        }
        Ok(())
    }
}

impl fmt::Debug for Xts256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xts256({})", self.backend())
    }
}

/// The implementation and its round keys, chosen once per key.
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    AesNi(aesni::AesNi),
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    VaesAvx2(vaes_avx2::VaesAvx2),
    #[cfg(target_arch = "x86_64")]
    VaesAvx512(vaes_avx512::VaesAvx512),
}

impl Kernel {
    /// Expands the two keys, or returns `None` where the backend cannot run.
    fn expand(backend: Backend, data: &[u8; 32], tweak: &[u8; 32]) -> Option<Self> {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::AesNi => Some(Self::AesNi(aesni::AesNi::new(detect::HaveAesNi::detect()?, data, tweak))),
            Backend::Portable => Some(Self::Portable(portable::Portable::new(data, tweak))),
            #[cfg(target_arch = "x86_64")]
            Backend::VaesAvx2 => {
                Some(Self::VaesAvx2(vaes_avx2::VaesAvx2::new(detect::HaveVaesAvx2::detect()?, data, tweak)))
            }
            #[cfg(target_arch = "x86_64")]
            Backend::VaesAvx512 => {
                Some(Self::VaesAvx512(vaes_avx512::VaesAvx512::new(detect::HaveVaesAvx512::detect()?, data, tweak)))
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }
}

/// 2^20 blocks (SP 800-38E §4).
const LONGEST_UNIT: usize = 16 << 20;
