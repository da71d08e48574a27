//! Files that appear under their name complete or not at all.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A locked file `NAME.partial` that becomes `NAME` by [`commit`](Self::commit).
///
/// Dropping it without a commit leaves the partial file where it is: [`discard`](Self::discard) removes it.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    replace: bool,
}

impl PartialFile {
    /// Opens or creates `target`'s partial file and takes its lock. What it holds already is kept: see [`len`](Self::len).
    ///
    /// `mode` are the permission bits of a new file, before the umask; one for its owner only also closes an abandoned file to
    /// others. A partial file of another user is refused. With `replace` an existing target is replaced by the
    /// commit; without, it is refused now and at the commit.
    ///
    /// # Errors
    ///
    /// [`Exists`](CommitError::Exists), [`Busy`](CommitError::Busy) when another process holds the partial file, or
    /// [`Io`](CommitError::Io).
    pub fn open(target: &Path, mode: u32, replace: bool) -> Result<Self, CommitError> {
        let fail = |source| CommitError::Io { path: target.to_owned(), source };
        match std::fs::symlink_metadata(target) {
            Ok(metadata) if metadata.is_dir() => return Err(fail(io::ErrorKind::IsADirectory.into())),
            // A rename would put a file in the place of a device or pipe: of /dev/null, say.
            Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => {
                return Err(fail(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is a special file, which nothing replaces",
                )));
            }
            Ok(_) if !replace => return Err(CommitError::Exists(target.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let partial = partial_path(target);
        let fail = |source| CommitError::Io { path: partial.clone(), source };
        let no_follow = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits())
            .map_err(|_| fail(io::ErrorKind::InvalidInput.into()))?;
        // A holder that commits or discards between our open and our lock leaves us with a file that has no name any more.
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(mode)
                .custom_flags(no_follow)
                .open(&partial)
                .map_err(fail)?;
            let ours = file.metadata().map_err(fail)?;
            if !ours.is_file() {
                return Err(fail(io::ErrorKind::AlreadyExists.into()));
            }
            if ours.uid() != rustix::process::geteuid().as_raw() {
                // In a shared folder somebody may have left it there to read what we are about to write.
                return Err(fail(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user")));
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(CommitError::Busy(partial)),
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            // What an earlier run left may be open to more people than what is written now.
            if mode & 0o077 == 0 && ours.mode() & 0o077 != 0 {
                file.set_permissions(Permissions::from_mode(mode)).map_err(fail)?;
            }
            let named = std::fs::symlink_metadata(&partial);
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Self { file, partial, target: target.to_owned(), replace });
            }
        }
        Err(CommitError::Busy(partial))
    }

    /// Returns the open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the partial file's path.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Returns the path that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns how many bytes the partial file holds now; more than 0 right after `open` means that a run was abandoned.
    ///
    /// # Errors
    ///
    /// [`CommitError::Io`].
    pub fn len(&self) -> Result<u64, CommitError> {
        Ok(self.file.metadata().map_err(|source| self.failed(source))?.len())
    }

    /// Whether the partial file holds nothing.
    ///
    /// # Errors
    ///
    /// [`CommitError::Io`].
    pub fn is_empty(&self) -> Result<bool, CommitError> {
        Ok(self.len()? == 0)
    }

    /// Makes the contents durable, gives the file its name, and makes the name durable.
    ///
    /// # Errors
    ///
    /// [`Exists`](CommitError::Exists) when a target appeared meanwhile and may not be replaced; [`Io`](CommitError::Io). The
    /// partial file stays in both cases.
    pub fn commit(self) -> Result<(), CommitError> {
        self.file.sync_all().map_err(|source| self.failed(source))?;
        let named = std::fs::symlink_metadata(&self.partial).map_err(|source| self.failed(source))?;
        let ours = self.file.metadata().map_err(|source| self.failed(source))?;
        if (named.dev(), named.ino()) != (ours.dev(), ours.ino()) {
            return Err(self.failed(io::Error::from(io::ErrorKind::NotFound)));
        }
        if self.replace {
            std::fs::rename(&self.partial, &self.target).map_err(|source| self.failed(source))?;
        } else {
            match renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Err(CommitError::Exists(self.target)),
                // File systems without RENAME_NOREPLACE (some network ones): a hard link refuses an existing name as well.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    std::fs::hard_link(&self.partial, &self.target).map_err(|source| match source.kind() {
                        io::ErrorKind::AlreadyExists => CommitError::Exists(self.target.clone()),
                        _ => self.failed(source),
                    })?;
                    std::fs::remove_file(&self.partial).map_err(|source| self.failed(source))?;
                }
                Err(error) => return Err(self.failed(error.into())),
            }
        }
        sync_folder_of(&self.target).map_err(|source| CommitError::Io { path: self.target.clone(), source })
    }

    /// Removes the partial file.
    ///
    /// # Errors
    ///
    /// [`CommitError::Io`].
    pub fn discard(self) -> Result<(), CommitError> {
        std::fs::remove_file(&self.partial).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> CommitError {
        CommitError::Io { path: self.partial.clone(), source }
    }
}

/// Returns the name under which `target` is written until it is complete: `target` with `.partial` behind it.
pub fn partial_path(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Why a file could not be opened for writing or be given its name.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// Another process is writing the same file.
    Busy(PathBuf),
    /// The target exists and may not be replaced.
    Exists(PathBuf),
    /// The file system refused.
    Io {
        /// What was being written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(path) => write!(f, "{} is being written by another process", super::escaped_path(path)),
            Self::Exists(path) => write!(f, "{} exists already", super::escaped_path(path)),
            Self::Io { path, .. } => write!(f, "can't write {}", super::escaped_path(path)),
        }
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy(_) | Self::Exists(_) => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_appears_only_by_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let partial = PartialFile::open(&target, 0o600, false).expect("opens");
        partial.file().write_all_at(b"whole", 0).expect("writes");
        assert!(!target.exists());
        partial.commit().expect("commits");
        assert_eq!(std::fs::read(&target).expect("reads"), b"whole");
        assert!(!partial_path(&target).exists());
    }

    #[test]
    fn an_existing_target_is_refused_before_and_at_the_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let partial = PartialFile::open(&target, 0o600, false).expect("opens");
        std::fs::write(&target, b"other").expect("writes");
        assert!(matches!(partial.commit(), Err(CommitError::Exists(_))));
        assert!(matches!(PartialFile::open(&target, 0o600, false), Err(CommitError::Exists(_))));
        assert_eq!(std::fs::read(&target).expect("reads"), b"other");
    }

    #[test]
    fn a_second_writer_is_told_that_the_file_is_busy() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let first = PartialFile::open(&target, 0o600, false).expect("opens");
        assert!(matches!(PartialFile::open(&target, 0o600, false), Err(CommitError::Busy(_))));
        drop(first);
        PartialFile::open(&target, 0o600, false).expect("the lock went with its holder");
    }

    #[test]
    fn an_abandoned_file_is_closed_to_others_before_secrets_go_into_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        std::fs::write(partial_path(&target), b"old").expect("writes");
        std::fs::set_permissions(partial_path(&target), Permissions::from_mode(0o644)).expect("chmod");
        let partial = PartialFile::open(&target, 0o600, false).expect("opens");
        assert_eq!(partial.file().metadata().expect("metadata").mode() & 0o777, 0o600);
    }

    #[test]
    fn a_symlink_in_place_of_the_partial_file_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, b"keep").expect("writes");
        let target = folder.path().join("out");
        std::os::unix::fs::symlink(&victim, partial_path(&target)).expect("links");
        assert!(matches!(PartialFile::open(&target, 0o600, false), Err(CommitError::Io { .. })));
        assert_eq!(std::fs::read(&victim).expect("reads"), b"keep");
    }
}
