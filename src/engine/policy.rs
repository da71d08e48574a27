//! What a snapshot shall be: suite, geometry, labels, and the keys of each layer.

use std::fmt;
use std::sync::Arc;

use crate::engine::{EpochKey, ErrorKind};
use crate::format::{ChunkSize, EpochRecord, LabelError, Labels, Layer, Suite};
use crate::key::{KeyVersion, Thumbprint, WrapRefusal};
use crate::provider::KeyProvider;
use crate::xts::SectorSize;

/// A key that shall wrap, and the vault that knows how.
#[derive(Clone, Debug)]
pub struct WrappingKey {
    /// The vault.
    pub provider: Arc<dyn KeyProvider>,
    /// The key.
    pub version: KeyVersion,
}

/// The keys of one layer: 1 to 8, in order of preference for opening.
#[derive(Clone, Debug)]
pub struct LayerPolicy {
    pub(super) keys: Vec<WrappingKey>,
    pub(super) set: String,
    /// An epoch key that wraps before them, and its KEK.
    pub(super) epoch: Option<(Arc<EpochKey>, WrappingKey)>,
}

impl LayerPolicy {
    /// Wraps under each of `keys`: any one of them opens the layer.
    ///
    /// # Errors
    ///
    /// [`PolicyError::KeyCount`], [`PolicyError::SameKeyTwice`].
    pub fn new(keys: Vec<WrappingKey>) -> Result<Self, PolicyError> {
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(PolicyError::KeyCount(keys.len()));
        }
        let mut thumbprints: Vec<_> = keys.iter().map(|key| key.version.thumbprint).collect();
        thumbprints.sort_unstable();
        thumbprints.dedup();
        if thumbprints.len() != keys.len() {
            return Err(PolicyError::SameKeyTwice);
        }
        Ok(Self { keys, set: String::new(), epoch: None })
    }

    /// Wraps under `epoch`, and under each of `others` directly. `kek` is the key that must be allowed to wrap: the one behind the epoch key, or
    /// the one that takes its place in a rotation that is under way. A copy of the epoch key's [`record`](EpochKey::record) must come to lie
    /// beside the snapshot before the snapshot does.
    ///
    /// Whoever learns the epoch key opens every snapshot under it.
    ///
    /// # Errors
    ///
    /// [`PolicyError::KeyCount`], [`PolicyError::SameKeyTwice`]. Sealing with another layer's epoch key fails with [`PolicyError::ForeignEpoch`].
    pub fn under_epoch(epoch: Arc<EpochKey>, kek: WrappingKey, others: Vec<WrappingKey>) -> Result<Self, PolicyError> {
        let count = others.len() + 1;
        if count > MAX_KEYS {
            return Err(PolicyError::KeyCount(count));
        }
        let mut policy = match others.is_empty() {
            true => Self { keys: Vec::new(), set: String::new(), epoch: None },
            false => Self::new(others)?,
        };
        policy.epoch = Some((epoch, kek));
        Ok(policy)
    }

    /// Names the encryption set that chose the keys, in at most 128 bytes.
    ///
    /// # Errors
    ///
    /// [`PolicyError::SetName`].
    pub fn of_set(mut self, set: &str) -> Result<Self, PolicyError> {
        if set.len() > crate::format::MAX_SET {
            return Err(PolicyError::SetName);
        }
        self.set = set.to_owned();
        Ok(self)
    }

    /// Returns the record of the epoch key that wraps, where there is one: see [`SealPolicy::epochs`].
    pub fn epochs(&self) -> impl Iterator<Item = &EpochRecord> {
        self.epoch.iter().map(|(epoch, _)| epoch.record())
    }

    /// Returns the KEKs, also the one behind an epoch key.
    pub(super) fn keks(&self) -> impl Iterator<Item = &WrappingKey> {
        self.epoch.iter().map(|(_, kek)| kek).chain(&self.keys)
    }

    /// Whether any key is a customer's.
    pub(super) fn customer(&self) -> bool {
        let epoch = self.epoch.as_ref().is_some_and(|(epoch, _)| epoch.customer());
        epoch || self.keys.iter().any(|key| key.version.customer)
    }

    /// Returns what will stand as thumbprints in the entries.
    pub(super) fn thumbprints(&self) -> Vec<Thumbprint> {
        let epoch = self.epoch.iter().map(|(epoch, _)| epoch.id().in_entry());
        epoch.chain(self.keys.iter().map(|key| key.version.thumbprint)).collect()
    }
}

/// What a snapshot shall be.
#[derive(Clone, Debug)]
pub struct SealPolicy {
    pub(super) suite: Suite,
    pub(super) sector: SectorSize,
    pub(super) chunk: ChunkSize,
    pub(super) labels: Labels,
    pub(super) layers: Vec<(Layer, LayerPolicy)>,
}

impl SealPolicy {
    /// One layer, `xts-blake3`, 512-byte sectors, 256 KiB chunks.
    pub fn new(keys: LayerPolicy) -> Self {
        Self {
            suite: Suite::XtsBlake3,
            sector: SectorSize::Bytes512,
            chunk: ChunkSize::default(),
            labels: Labels::default(),
            layers: vec![(Layer::Inner, keys)],
        }
    }

    /// Two layers, `xts-gcm`: opening needs a key of each.
    pub fn double(customer: LayerPolicy, platform: LayerPolicy) -> Self {
        let mut policy = Self::new(customer);
        policy.suite = Suite::XtsGcm;
        policy.layers.push((Layer::Outer, platform));
        policy
    }

    /// Chooses another suite of as many layers.
    ///
    /// # Errors
    ///
    /// [`PolicyError::SuiteLayers`] when the suite has another number of layers.
    pub fn suite(mut self, suite: Suite) -> Result<Self, PolicyError> {
        if usize::from(suite.layers()) != self.layers.len() {
            return Err(PolicyError::SuiteLayers(suite));
        }
        self.suite = suite;
        Ok(self)
    }

    /// Chooses the sector size. 4096 needs a disk whose length is a multiple of it.
    #[must_use]
    pub fn sector_size(mut self, sector: SectorSize) -> Self {
        self.sector = sector;
        self
    }

    /// Chooses the chunk size.
    #[must_use]
    pub fn chunk_size(mut self, chunk: ChunkSize) -> Self {
        self.chunk = chunk;
        self
    }

    /// Returns what will stand as thumbprints in the wrapped DEKs: those of KEKs, and the names of epoch keys.
    pub fn thumbprints(&self) -> Vec<Thumbprint> {
        self.layers.iter().flat_map(|(_, keys)| keys.thumbprints()).collect()
    }

    /// Returns the records of the epoch keys that will wrap: copies of them belong beside the snapshot, before it is there.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochRecord> {
        self.layers.iter().flat_map(|(_, keys)| keys.epochs())
    }

    /// Adds a public label.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Label`].
    pub fn label(mut self, key: &str, value: &str) -> Result<Self, PolicyError> {
        self.labels.insert(key, value).map_err(PolicyError::Label)?;
        Ok(self)
    }
}

/// Why something can't be sealed as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A disk sealed for a customer's key may not go to a platform key (R6).
    CustomerToPlatform,
    /// A disk length that this geometry can't hold.
    DiskLength {
        /// Its length in bytes.
        len: u64,
        /// Why not.
        why: &'static str,
    },
    /// More than 8 keys, or none.
    KeyCount(usize),
    /// An epoch key is another layer's.
    ForeignEpoch,
    /// A key may not wrap.
    KeyRefused {
        /// Its id.
        key: String,
        /// Why not.
        refusal: WrapRefusal,
    },
    /// A label is refused.
    Label(LabelError),
    /// The last key that opens a layer can't be removed.
    LastKey,
    /// The key to be removed is not there.
    NoSuchEntry,
    /// The snapshot has no such layer.
    NoSuchLayer,
    /// The same key twice in one layer.
    SameKeyTwice,
    /// A set's name of more than 128 bytes.
    SetName,
    /// The suite has another number of layers than there are.
    SuiteLayers(Suite),
    /// Sixteen runs have written this snapshot already.
    TooManySessions,
}

impl PolicyError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::CustomerToPlatform | Self::KeyRefused { .. } => ErrorKind::Refused,
            Self::NoSuchEntry => ErrorKind::NotFound,
            Self::KeyCount(_)
            | Self::Label(_)
            | Self::NoSuchLayer
            | Self::SameKeyTwice
            | Self::SetName
            | Self::SuiteLayers(_) => ErrorKind::Usage,
            Self::DiskLength { .. } | Self::ForeignEpoch | Self::LastKey | Self::TooManySessions => ErrorKind::Failed,
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::io::Escaped;
        match self {
            Self::CustomerToPlatform => {
                f.write_str("a disk sealed for a customer's key never goes back to a platform key")
            }
            Self::DiskLength { len, why } => write!(f, "a disk of {len} bytes can't be sealed like this: {why}"),
            Self::ForeignEpoch => f.write_str("the epoch key is another layer's"),
            Self::KeyCount(count) => write!(f, "a layer has 1 to {MAX_KEYS} keys, not {count}"),
            Self::KeyRefused { key, refusal } => write!(f, "key {} may not seal: {refusal}", Escaped(key)),
            Self::Label(error) => error.fmt(f),
            Self::LastKey => f.write_str("this is the only key that opens the snapshot; add another one first"),
            Self::NoSuchEntry => f.write_str("the snapshot is not sealed for that key"),
            Self::NoSuchLayer => f.write_str("the snapshot has one layer only"),
            Self::SameKeyTwice => f.write_str("the same key is named twice"),
            Self::SetName => f.write_str("a set's name has at most 128 bytes"),
            Self::SuiteLayers(suite) => write!(f, "suite {suite} has {} layer(s) of keys", suite.layers()),
            Self::TooManySessions => f.write_str("this snapshot was resumed 15 times already; seal it anew"),
        }
    }
}

impl std::error::Error for PolicyError {}

const MAX_KEYS: usize = crate::format::MAX_ENTRIES as usize;
