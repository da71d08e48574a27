//! What the catalogue knows of one snapshot.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags};

use crate::clock::UnixTime;
use crate::engine::{Description, Error, inspect};
use crate::format::{EpochId, Layer, SnapshotId, Suite};
use crate::key::Thumbprint;

/// What the catalogue knows of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is, without links in the folder's name.
    pub path: PathBuf,
    /// Its random name.
    pub id: SnapshotId,
    /// Which algorithms protect it, integrity included.
    pub suite: Suite,
    /// Length of the disk in bytes; `None` when the end of the snapshot is missing or damaged.
    pub disk_len: Option<u64>,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Hash of all of it; `None` like `disk_len`.
    pub root: Option<[u8; 32]>,
    /// When it was sealed.
    pub sealed: UnixTime,
    /// The encryption set that chose its keys.
    pub set: Option<String>,
    /// Whether this process may write it: its DEKs can be re-wrapped in place.
    pub writable: bool,
    /// Whether a key has authenticated what stands here. Where it has not, somebody may have written it who wants a key deleted.
    pub verified: bool,
    /// When it was last seen where it is.
    pub seen: UnixTime,
    /// Its wrapped DEKs, in order of layers and preference.
    pub deks: Vec<WrappedDek>,
}

/// One layer's DEK wrapped under one KEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDek {
    /// The layer.
    pub layer: Layer,
    /// Its place in the layer, from 0: the first one is preferred.
    pub slot: u8,
    /// The KEK; under an epoch key what stands in its place: [`epoch`](Self::epoch) says that.
    pub thumbprint: Thumbprint,
    /// Where that key was: a hint; empty without one.
    pub key_id: String,
    /// How it was wrapped; `unknown` for what this version can't unwrap.
    pub algorithm: String,
    /// The epoch key between KEK and DEK, where there is one.
    pub epoch: Option<EpochId>,
}

impl Snapshot {
    /// Reads what the snapshot at `path` says of itself: a few kilobytes, no key, nothing authenticated.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Format`], [`Error::UnsuitableFile`], each inside [`Error::InFile`].
    pub fn read(path: &Path, now: UnixTime) -> Result<Self, Error> {
        let fail = |error| Error::Io(error).at(path);
        // A named pipe must not block it.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(Error::UnsuitableFile { kind: "special file", advice: "name a snapshot" }.at(path));
        }
        let description = inspect(&file).map_err(|error| error.at(path))?;
        Ok(Self::of(path, &description, now))
    }

    /// Takes over what [`inspect`] said of the snapshot at `path`.
    pub fn of(path: &Path, description: &Description, now: UnixTime) -> Self {
        let header = &description.header;
        let set = description.sections.iter().map(|section| section.set.clone()).find(|set| !set.is_empty());
        Self {
            path: located(path),
            id: header.id,
            suite: header.suite,
            disk_len: description.footer.as_ref().map(|footer| footer.shape.disk_len),
            file_len: description.file_len,
            root: description.footer.as_ref().map(|footer| footer.root),
            sealed: header.created,
            set,
            writable: rustix::fs::access(path, Access::WRITE_OK).is_ok(),
            verified: false,
            seen: now,
            deks: deks(description),
        }
    }

    /// Says that a key has authenticated the header and the wrapped DEKs.
    #[must_use]
    pub fn verified(mut self) -> Self {
        self.verified = true;
        self
    }

    /// Whether both say the same of the snapshot itself, whoever says it and when.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let facts = |snapshot: &Self| {
            let Self { id, suite, disk_len, file_len, root, sealed, set, .. } = snapshot;
            (*id, *suite, *disk_len, *file_len, *root, *sealed, set.clone())
        };
        facts(self) == facts(other) && self.deks == other.deks
    }
}

/// How an epoch key wraps: AES-256 key wrap with padding, by its name in PKCS#11's and JOSE's manner.
pub const EPOCH_ALGORITHM: &str = "A256KWP";

/// Returns the one path of a file that may be gone: links in the folder's name are followed.
pub(super) fn located(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

fn deks(description: &Description) -> Vec<WrappedDek> {
    let mut deks = Vec::new();
    for section in &description.sections {
        for (slot, entry) in (0..=u8::MAX).zip(&section.entries) {
            deks.push(WrappedDek {
                layer: section.layer,
                slot,
                thumbprint: entry.thumbprint,
                key_id: entry.locators.first().cloned().unwrap_or_default(),
                algorithm: match (entry.usable(), entry.epoch()) {
                    (Some(algorithm), _) => algorithm.name(),
                    (None, Some(_)) => EPOCH_ALGORITHM,
                    (None, None) => UNKNOWN,
                }
                .to_owned(),
                epoch: entry.epoch(),
            });
        }
    }
    deks
}

const UNKNOWN: &str = "unknown";
