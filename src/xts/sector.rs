//! The two data-unit sizes of a disk.

use super::XtsError;

/// The size of one encrypted sector, which is one XTS data unit.
///
/// Exhaustive on purpose: the container format knows these two, and a third would be a new format version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SectorSize {
    /// 512 bytes, the default.
    Bytes512,
    /// 4096 bytes.
    Bytes4096,
}

impl SectorSize {
    /// Returns the size in bytes.
    pub const fn bytes(self) -> usize {
        1 << self.log2()
    }

    /// Returns the binary logarithm of the size: 9 or 12.
    pub const fn log2(self) -> u8 {
        match self {
            Self::Bytes512 => 9,
            Self::Bytes4096 => 12,
        }
    }

    /// Parses the binary logarithm that headers store.
    ///
    /// # Errors
    ///
    /// [`SectorSize`](XtsError::SectorSize) unless `log2` is 9 or 12; it carries the size in bytes, or 0 where that is no
    /// number.
    pub const fn from_log2(log2: u8) -> Result<Self, XtsError> {
        match log2 {
            9 => Ok(Self::Bytes512),
            12 => Ok(Self::Bytes4096),
            other => Err(XtsError::SectorSize(match 1_u64.checked_shl(other as u32) {
                Some(bytes) => bytes,
                None => 0,
            })),
        }
    }

    /// By how much the tweak grows from one sector to the next, counted in units of 512 bytes.
    pub(super) const fn tweak_step(self) -> u64 {
        1 << (self.log2() - TWEAK_UNIT_LOG2)
    }
}

impl TryFrom<u64> for SectorSize {
    type Error = XtsError;

    /// Takes the size in bytes.
    fn try_from(bytes: u64) -> Result<Self, XtsError> {
        match bytes {
            512 => Ok(Self::Bytes512),
            4096 => Ok(Self::Bytes4096),
            other => Err(XtsError::SectorSize(other)),
        }
    }
}

/// Tweaks count 512-byte units of the disk, whatever the sector size.
pub(super) const TWEAK_UNIT_LOG2: u8 = 9;
