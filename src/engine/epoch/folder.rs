//! Epoch records beside snapshots.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::engine::Error;
use crate::engine::epoch::EpochRecords;
use crate::engine::error::AtFile;
use crate::format::{EpochId, EpochRecord, HEAD_LEN};
use crate::io::{CommitError, PartialFile, read_exact_at};

/// A folder with snapshots, and the records of their epoch keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochFolder {
    folder: PathBuf,
}

impl EpochFolder {
    /// Names a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Names the folder of a snapshot.
    pub fn of(snapshot: &Path) -> Self {
        let folder = snapshot.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self { folder: folder.unwrap_or(Path::new(".")).to_owned() }
    }

    /// Returns where the record of this epoch key is, or would be.
    pub fn path(&self, id: &EpochId) -> PathBuf {
        self.folder.join(id.file_name())
    }

    /// Puts a record into the folder, in one step, durably. A copy of a higher generation stays, as does one that says the same.
    /// Returns whether anything was written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] inside [`Error::InFile`], [`Error::Commit`].
    pub fn put(&self, record: &EpochRecord) -> Result<bool, Error> {
        let path = self.path(&record.header.id);
        for _ in 0..MOST_TRIES {
            match read_if_there(&path) {
                Ok(Some(known)) if known == *record => return Ok(false),
                // What has another FIXED can open nothing that this one opens.
                Ok(Some(known))
                    if known.header == record.header && known.envelope.generation > record.envelope.generation =>
                {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) if matches!(error.inner(), Error::Format(_)) => {}
                Err(error) => return Err(error),
            }
            let partial = match PartialFile::open(&path, 0o644, true) {
                // Another process puts the same or a newer one there.
                Err(CommitError::Busy(_)) => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                partial => partial?,
            };
            let write = || -> io::Result<()> {
                use std::os::unix::fs::FileExt;
                partial.file().set_len(0)?;
                partial.file().write_all_at(&record.encode(), 0)
            };
            if let Err(error) = write() {
                let _ = partial.discard();
                return Err(Error::Io(error).at(&path));
            }
            partial.commit()?;
            return Ok(true);
        }
        Err(CommitError::Busy(path).into())
    }
}

/// Reads an epoch record from its file. Nothing of it is authenticated.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Format`], [`Error::UnsuitableFile`], each inside [`Error::InFile`].
pub fn read_epoch(path: &Path) -> Result<EpochRecord, Error> {
    // A named pipe must not block it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).at(path)?;
    let metadata = file.metadata().at(path)?;
    if !metadata.is_file() {
        let advice = "put the epoch record there";
        return Err(Error::UnsuitableFile { kind: "special file", advice }.at(path));
    }
    // One byte more shows that it is too long.
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(HEAD_LEN + 1);
    let mut bytes = vec![0; len];
    read_exact_at(&file, &mut bytes, 0).at(path)?;
    EpochRecord::decode(&bytes).at(path)
}

fn read_if_there(path: &Path) -> Result<Option<EpochRecord>, Error> {
    match read_epoch(path) {
        Ok(record) => Ok(Some(record)),
        Err(error) => match error.inner() {
            Error::Io(io) if matches!(io.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            _ => Err(error),
        },
    }
}

impl EpochRecords for EpochFolder {
    fn find(&self, id: &EpochId) -> Result<Option<EpochRecord>, Error> {
        let path = self.path(id);
        let found = read_if_there(&path)?;
        match found {
            Some(record) if record.header.id != *id => Err(Error::Foreign.at(&path)),
            found => Ok(found),
        }
    }

    fn place(&self, id: &EpochId) -> PathBuf {
        self.path(id)
    }
}

const PAUSE: Duration = Duration::from_millis(20);
const MOST_TRIES: usize = 500;
