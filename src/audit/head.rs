//! How far a log goes: kept apart from it.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::io::PartialFile;
use crate::kdf;

/// The end of a chain: how many records there are, and the MAC of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; records count from 1.
    pub count: u64,
    /// Its MAC.
    pub mac: [u8; 32],
}

impl Head {
    /// The end of a chain without records.
    pub const START: Self = Self { count: 0, mac: [0; 32] };
}

/// Keeps the head of a log, best where whoever can write the log can't write.
///
/// The log is written first and the head second; records that a crash left between the two are adopted at the next append. A store that
/// has a row from the beginning returns `None` for [`Head::START`].
pub trait HeadStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the head; `None` before the first [`advance`](Self::advance).
    ///
    /// # Errors
    ///
    /// [`HeadError::Failed`].
    fn read(&self) -> Result<Option<Head>, HeadError>;

    /// Replaces `expected` by `next`, durably.
    ///
    /// # Errors
    ///
    /// [`HeadError::Changed`] when the head is not `expected`; [`HeadError::Busy`], which the log takes for a crash at this point: the
    /// records are kept, and the next append advances the head over them; [`HeadError::Failed`].
    fn advance(&self, expected: Option<Head>, next: Head) -> Result<(), HeadError>;
}

/// Why a head could not be read or advanced.
#[derive(Debug)]
#[non_exhaustive]
pub enum HeadError {
    /// Another process holds the place where it is kept.
    Busy(Box<dyn StdError + Send + Sync>),
    /// Somebody else advanced it: two logs share one head.
    Changed,
    /// What is stored is no head.
    Damaged,
    /// The place where it is kept failed.
    Failed(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy(_) => "the head's store is in use",
            Self::Changed => "another log advances the same head",
            Self::Damaged => "the stored head is damaged",
            Self::Failed(_) => "the head's store failed",
        })
    }
}

impl StdError for HeadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Changed | Self::Damaged => None,
            Self::Busy(error) | Self::Failed(error) => Some(&**error),
        }
    }
}

/// A head in a file of its own: weak, for it lies on the same disk, under the same user, as the log. It shows that a log was cut by
/// accident, or by somebody who did not think of this file.
#[derive(Debug)]
pub struct FileHead {
    path: PathBuf,
    /// The lock of the log orders the processes; this orders the threads that have no log.
    writing: Mutex<()>,
}

impl FileHead {
    /// Keeps the head at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::default() }
    }
}

impl HeadStore for FileHead {
    fn read(&self) -> Result<Option<Head>, HeadError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_LEN as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let bytes: [u8; FILE_LEN] = bytes.try_into().map_err(|_| HeadError::Damaged)?;
        decode(&bytes).map(Some).ok_or(HeadError::Damaged)
    }

    fn advance(&self, expected: Option<Head>, next: Head) -> Result<(), HeadError> {
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let partial = PartialFile::open(&self.path, 0o600, true).map_err(failed)?;
        if self.read()? != expected {
            return Err(HeadError::Changed);
        }
        let mut file = partial.file();
        file.set_len(0).and_then(|()| file.write_all(&encode(next))).map_err(failed)?;
        partial.commit().map_err(failed)
    }
}

fn encode(head: Head) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&head.count.to_le_bytes());
    bytes.extend_from_slice(&head.mac);
    let check = kdf::sha256(&[&bytes]);
    bytes.extend_from_slice(&check);
    bytes
}

fn decode(bytes: &[u8; FILE_LEN]) -> Option<Head> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    let (magic, rest) = body.split_first_chunk::<16>()?;
    let (count, mac) = rest.split_first_chunk::<8>()?;
    let good = magic == MAGIC && kdf::sha256(&[body]) == *check;
    good.then_some(Head { count: u64::from_le_bytes(*count), mac: mac.try_into().ok()? })
}

fn failed(error: impl StdError + Send + Sync + 'static) -> HeadError {
    HeadError::Failed(Box::new(error))
}

const MAGIC: &[u8; 16] = b"SOBRE audithead1";
const FILE_LEN: usize = 16 + 8 + 32 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_advances_only_from_what_was_expected() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FileHead::new(folder.path().join("head"));
        let (one, two) = (Head { count: 1, mac: [1; 32] }, Head { count: 2, mac: [2; 32] });
        assert_eq!(store.read().expect("reads"), None);
        store.advance(None, one).expect("advances");
        assert!(matches!(store.advance(None, two), Err(HeadError::Changed)));
        store.advance(Some(one), two).expect("advances");
        assert_eq!(FileHead::new(folder.path().join("head")).read().expect("reads"), Some(two));
    }

    #[test]
    fn every_changed_byte_of_the_file_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("head");
        let store = FileHead::new(path.clone());
        store.advance(None, Head { count: 7, mac: [3; 32] }).expect("advances");
        let good = std::fs::read(&path).expect("reads");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).expect("writes");
            assert!(matches!(store.read(), Err(HeadError::Damaged)), "byte {at}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).expect("writes");
        assert!(matches!(store.read(), Err(HeadError::Damaged)));
    }
}
