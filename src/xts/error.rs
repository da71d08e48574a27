//! Why a key or a range was refused.

use std::fmt;

use super::{Backend, SectorSize};

/// Why an XTS key or a range of data was refused. Nothing was written to the data then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XtsError {
    /// This CPU, or this build, cannot run the backend.
    BackendUnavailable(Backend),
    /// The two halves of the key are the same (FIPS 140-3 IG C.I).
    EqualHalves,
    /// The key has this many bytes instead of 64.
    KeyLength(usize),
    /// Offset or length is no multiple of the sector size.
    Misaligned {
        /// Byte offset on the disk.
        offset: u64,
        /// Bytes of data.
        len: usize,
        /// What both must be multiples of.
        sector: SectorSize,
    },
    /// No sector has this many bytes (0: not even a number).
    SectorSize(u64),
    /// A data unit has this many bytes instead of 16 to 2^24.
    UnitLength(usize),
}

impl fmt::Display for XtsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackendUnavailable(backend) => write!(f, "the XTS backend {backend} cannot run here"),
            Self::EqualHalves => f.write_str("the two halves of the XTS key are equal"),
            Self::KeyLength(len) => write!(f, "the XTS key has {len} bytes instead of 64"),
            Self::Misaligned { offset, len, sector } => {
                write!(f, "offset {offset} or length {len} is no multiple of the {}-byte sector", sector.bytes())
            }
            Self::SectorSize(bytes) => write!(f, "the sector size is neither 512 nor 4096 bytes but {bytes}"),
            Self::UnitLength(len) => write!(f, "a data unit of {len} bytes is outside 16 to 16777216"),
        }
    }
}

impl std::error::Error for XtsError {}
