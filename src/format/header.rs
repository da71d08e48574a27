//! FIXED: the part of a head that never changes (SPEC §3.1).

use std::fmt;

use crate::clock::UnixTime;
use crate::format::labels::MAX_LABELS;
use crate::format::wire::{Fields, len_u16};
use crate::format::{Fault, FormatError, Labels, Part};
use crate::kdf;
use crate::xts::SectorSize;

/// Length of FIXED in bytes.
pub const HEADER_LEN: usize = 1024;

/// What is fixed about a snapshot when it is made. One in hand is in bounds; it is authentic once a key derived under its
/// hash has verified something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which algorithms.
    pub suite: Suite,
    /// Length of an XTS data unit.
    pub sector: SectorSize,
    /// Length of a chunk.
    pub chunk: ChunkSize,
    /// Whether the XTS key came from elsewhere.
    pub key_origin: KeyOrigin,
    /// Bits that readers may ignore.
    pub optional: u32,
    /// When the snapshot was begun.
    pub created: UnixTime,
    /// Random.
    pub id: SnapshotId,
    /// The disk that this is a snapshot of; zero if not known.
    pub disk_id: [u8; 16],
    /// Number of the snapshot of that disk; 0 if not known.
    pub sequence: u64,
    /// SHA-256 of the previous snapshot's footer; zero if not known.
    pub previous: [u8; 32],
    /// Public labels.
    pub labels: Labels,
}

impl Header {
    /// Encodes FIXED.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[
            KIND_SNAPSHOT,
            self.suite.code(),
            self.suite.layers(),
            self.sector.log2(),
            self.chunk.log2(),
            self.key_origin.code(),
        ]);
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&self.optional.to_le_bytes());
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.disk_id);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(&[0; BASE_LEN + SEGMENT_LEN]);
        let labels = self.labels.encode();
        bytes.extend_from_slice(&len_u16(labels.len()));
        bytes.extend_from_slice(&labels);
        let mut fixed = [0; HEADER_LEN];
        for (to, from) in fixed.iter_mut().zip(bytes) {
            *to = from;
        }
        fixed
    }

    /// Parses FIXED.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first field that is out of bounds; [`Fault::Unsupported`] for what a later version may know.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Header, bytes);
        fields.magic(MAGIC)?;
        let version = fields.u16()?;
        if version != VERSION {
            return Err(fields.error(Fault::Unsupported { field: "version", value: version.into() }));
        }
        let kind = fields.u8()?;
        if kind == KIND_EPOCH {
            return Err(fields.error(Fault::Kind("an epoch key")));
        }
        if kind != KIND_SNAPSHOT {
            return Err(fields.error(Fault::Unsupported { field: "kind", value: kind.into() }));
        }
        let suite = fields.u8()?;
        let suite = Suite::from_code(suite)
            .ok_or_else(|| fields.error(Fault::Unsupported { field: "suite", value: suite.into() }))?;
        // What a critical bit announces may change the rules for every field behind it.
        let critical =
            u32::from_le_bytes(*bytes.get(CRITICAL_AT..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 4]));
        if critical != 0 {
            return Err(fields.error(Fault::Unsupported { field: "critical bits", value: critical.into() }));
        }
        let layers = fields.u8()?;
        if layers != suite.layers() {
            return Err(fields.error(Fault::Range { field: "number of layers", value: layers.into() }));
        }
        let sector = fields.u8()?;
        let sector = SectorSize::from_log2(sector)
            .map_err(|_| fields.error(Fault::Range { field: "sector size 2^", value: sector.into() }))?;
        let chunk = fields.u8()?;
        let chunk = ChunkSize::from_log2(chunk)
            .ok_or_else(|| fields.error(Fault::Range { field: "chunk size 2^", value: chunk.into() }))?;
        let origin = fields.u8()?;
        let key_origin = KeyOrigin::from_code(origin)
            .ok_or_else(|| fields.error(Fault::Range { field: "key origin", value: origin.into() }))?;
        let _critical = fields.u32()?;
        let optional = fields.u32()?;
        let created = UnixTime(fields.u64()?);
        let id = SnapshotId(fields.array()?);
        let disk_id = fields.array()?;
        let sequence = fields.u64()?;
        let previous = fields.array()?;
        fields.zeros(BASE_LEN + SEGMENT_LEN)?;
        let labels = Labels::decode(fields.counted("length of labels", MAX_LABELS)?)?;
        let fill = fields.rest().len();
        Fields::new(Part::Header, bytes.get(HEADER_LEN - fill..).unwrap_or_default()).zeros(fill)?;
        Ok(Self { suite, sector, chunk, key_origin, optional, created, id, disk_id, sequence, previous, labels })
    }

    /// Returns `H`, the hash that salts every key.
    pub fn hash(&self) -> HeaderHash {
        HeaderHash(kdf::sha256(&[&self.encode()]))
    }
}

/// SHA-256 of FIXED.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeaderHash(pub [u8; 32]);

impl fmt::Debug for HeaderHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderHash(")?;
        hex(f, &self.0)?;
        f.write_str(")")
    }
}

/// Random name of a snapshot. `Display` is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId([u8; 16]);

impl SnapshotId {
    /// Takes 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotId({self})")
    }
}

/// Which algorithms protect a snapshot (SPEC §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-XTS and BLAKE3-256.
    #[default]
    XtsBlake3,
    /// AES-256-XTS under a customer's key inside AES-256-GCM under the platform's key: opening needs both.
    XtsGcm,
    /// AES-256-XTS and AES-256-GMAC: NIST algorithms only, and the fastest.
    XtsGmac,
}

impl Suite {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::XtsBlake3 => "xts-blake3",
            Self::XtsGcm => "xts-gcm",
            Self::XtsGmac => "xts-gmac",
        }
    }

    /// Returns how many layers of keys there are.
    pub fn layers(self) -> u8 {
        match self {
            Self::XtsBlake3 | Self::XtsGmac => 1,
            Self::XtsGcm => 2,
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::XtsBlake3 => 1,
            Self::XtsGmac => 2,
            Self::XtsGcm => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::XtsBlake3, Self::XtsGmac, Self::XtsGcm].into_iter().find(|suite| suite.code() == code)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Length of a chunk: 64 KiB to 1 MiB, 256 KiB by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkSize(u8);

impl ChunkSize {
    /// Takes a binary logarithm: 16 to 20.
    pub fn from_log2(log2: u8) -> Option<Self> {
        (16..=20).contains(&log2).then_some(Self(log2))
    }

    /// Takes a length in bytes: a power of two from 64 KiB to 1 MiB.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        if !bytes.is_power_of_two() {
            return None;
        }
        u8::try_from(bytes.trailing_zeros()).ok().and_then(Self::from_log2)
    }

    /// Returns the binary logarithm.
    pub fn log2(self) -> u8 {
        self.0
    }

    /// Returns the length in bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self(18)
    }
}

/// Where the XTS key came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyOrigin {
    /// Drawn for this snapshot.
    #[default]
    Fresh,
    /// The volume key of an encrypted device.
    Imported,
}

impl KeyOrigin {
    fn code(self) -> u8 {
        match self {
            Self::Fresh => 0,
            Self::Imported => 1,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Fresh, Self::Imported].into_iter().find(|origin| origin.code() == code)
    }
}

pub(super) fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(super) const MAGIC: &[u8; 8] = b"\x89SOBRE\r\n";
pub(super) const VERSION: u16 = 1;
const KIND_SNAPSHOT: u8 = 1;
pub(super) const KIND_EPOCH: u8 = 3;
pub(super) const CRITICAL_AT: usize = 16;
/// base_id and base.
const BASE_LEN: usize = 16 + 32;
/// segment_log2 and the zeros behind it.
const SEGMENT_LEN: usize = 8;
