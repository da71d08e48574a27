//! The files of a vault: who may use them, where they may lie, and the key file.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, statfs};
use rustix::io::Errno;

use crate::io::PartialFile;
use crate::provider::embedded::error::{Damage, Exposure, VaultError};
use crate::secret::SecretBytes;

/// Returns the path of a file that belongs to the database at `database`: its path with `suffix` behind it.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(OsStr::new(suffix));
    PathBuf::from(name)
}

/// Returns the path of the key file.
pub(super) fn key_path(database: &Path) -> PathBuf {
    beside(database, ".key")
}

/// Whether there is anything at `path`, be it a broken link.
pub(super) fn present(path: &Path) -> Result<bool, VaultError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(VaultError::io(path, error)),
    }
}

/// Checks the database and the files beside it that are there.
///
/// By path only: a file that this process opened and closed would take SQLite's locks on it along (POSIX locks belong to the process).
pub(super) fn check(database: &Path) -> Result<(), VaultError> {
    let metadata = match std::fs::metadata(database) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VaultError::NotFound(database.to_owned())),
        Err(error) => return Err(VaultError::io(database, error)),
    };
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(VaultError::NotAVault(database.to_owned()));
    }
    check_file_system(database)?;
    for suffix in PARTS {
        let path = beside(database, suffix);
        match std::fs::metadata(&path) {
            Ok(metadata) => check_exposure(&path, &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(VaultError::io(&path, error)),
        }
    }
    Ok(())
}

/// Whether `file` is the database at `database` or a file that belongs to it.
pub(super) fn is_part_of(database: &Path, file: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let file = identity(file);
    file.is_some() && PARTS.iter().any(|suffix| identity(&beside(database, suffix)) == file)
}

/// Refuses the network file systems, on which processes of several machines would share what they can't share.
pub(super) fn check_file_system(path: &Path) -> Result<(), VaultError> {
    let kind = statfs(path).map_err(|error| VaultError::io(path, error.into()))?.f_type;
    if u32::try_from(kind).is_ok_and(is_network) { Err(VaultError::NetworkFilesystem(path.to_owned())) } else { Ok(()) }
}

fn is_network(magic: u32) -> bool {
    NETWORK_FILE_SYSTEMS.contains(&magic)
}

fn check_exposure(path: &Path, metadata: &std::fs::Metadata) -> Result<(), VaultError> {
    let fail = |exposure| Err(VaultError::Permissions { path: path.to_owned(), exposure });
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return fail(Exposure::Owner(metadata.uid()));
    }
    if mode & 0o077 != 0 { fail(Exposure::Mode(mode)) } else { Ok(()) }
}

/// The 32 bytes of a key file, and the vault that they are for.
pub(super) struct KeyFile {
    pub(super) vault: [u8; 16],
    pub(super) key: SecretBytes,
}

impl KeyFile {
    /// Reads the key file of the database at `database`.
    pub(super) fn read(database: &Path) -> Result<Self, VaultError> {
        let path = key_path(database);
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => VaultError::KeyFileMissing(path.clone()),
            _ => VaultError::io(&path, error),
        };
        // By path first: opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(&path).map_err(fail)?;
        check_exposure(&path, &metadata)?;
        let damaged = || VaultError::damaged(&path, Damage::KeyFile);
        if !metadata.is_file() || metadata.len() != KEY_FILE_LEN {
            return Err(damaged());
        }
        let mut file = File::open(&path).map_err(fail)?;
        let (mut magic, mut vault, mut key) = ([0; KEY_MAGIC.len()], [0; 16], SecretBytes::zeroed(32));
        for part in [magic.as_mut_slice(), vault.as_mut_slice(), key.expose_mut()] {
            file.read_exact(part).map_err(fail)?;
        }
        if magic == *KEY_MAGIC { Ok(Self { vault, key }) } else { Err(damaged()) }
    }

    /// Writes the key file durably. One that is there already is replaced: see where this is called why none is lost.
    pub(super) fn write(&self, database: &Path) -> Result<(), VaultError> {
        let path = key_path(database);
        let partial = PartialFile::open(&path, 0o600, true)?;
        let write = || {
            let mut file = partial.file();
            file.set_len(0)?;
            for part in [KEY_MAGIC.as_slice(), &self.vault, self.key.expose()] {
                file.write_all(part)?;
            }
            Ok(())
        };
        write().map_err(|error| VaultError::io(partial.path(), error))?;
        Ok(partial.commit()?)
    }
}

/// Overwrites the key file, removes it and makes that durable; does nothing where there is none.
///
/// On flash and on copying file systems the old blocks may live on: nobody can overwrite them from here.
pub(super) fn remove_key_file(database: &Path) -> Result<(), VaultError> {
    let path = key_path(database);
    if !present(&path)? {
        return Ok(());
    }
    let remove = || {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(&[0; KEY_MAGIC.len() + 16 + 32])?;
        file.sync_all()?;
        std::fs::remove_file(&path)
    };
    remove().map_err(|error| VaultError::io(&path, error))?;
    sync_folder_of(&path)
}

/// Makes an empty file that only its owner may use.
pub(super) fn make_empty(path: &Path) -> Result<(), VaultError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| VaultError::io(path, error))
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> Result<(), VaultError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VaultError::io(path, error)),
        _ => Ok(()),
    }
}

/// Gives a file that has lost its database another name. It is never removed: the database may only have been moved away.
pub(super) fn set_aside(path: &Path) -> Result<(), VaultError> {
    if !present(path)? {
        return Ok(());
    }
    for number in 1..=MOST_ASIDE {
        let aside = beside(path, &format!(".orphan{number}"));
        match rename_new(path, &aside) {
            Err(VaultError::Exists(_)) => {}
            done => return done,
        }
    }
    Err(VaultError::Exists(path.to_owned()))
}

/// Renames without replacing, and makes the name durable.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<(), VaultError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(VaultError::Exists(to.to_owned())),
        // File systems without RENAME_NOREPLACE: a hard link refuses an existing name as well.
        Err(Errno::INVAL | Errno::NOSYS) => {
            std::fs::hard_link(from, to).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => VaultError::Exists(to.to_owned()),
                _ => VaultError::io(to, error),
            })?;
            std::fs::remove_file(from).map_err(|error| VaultError::io(from, error))?;
        }
        Err(error) => return Err(VaultError::io(to, error.into())),
    }
    sync_folder_of(to)
}

/// Returns the folder in which `path` lies.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn sync_folder_of(path: &Path) -> Result<(), VaultError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| VaultError::io(folder, error))
}

/// What stands behind the database's path in the names of a vault's files.
const PARTS: &[&str] = &["", "-wal", "-shm", "-journal", ".key"];
const KEY_MAGIC: &[u8; 16] = b"SOBRE vault key1";
const KEY_FILE_LEN: u64 = 64;
const MOST_ASIDE: u32 = 999;
/// `statfs(2)`: NFS, SMB, CIFS, SMB2, AFS (two clients), Coda, Ceph, Lustre, and OCFS2 and GFS2, which several machines mount.
const NETWORK_FILE_SYSTEMS: &[u32] = &[
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x00c3_6400,
    0x0bd0_0bd0,
    0x7461_636f,
    0x0116_1970,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        for magic in [0x6969, 0xff53_4d42, 0xfe53_4d42] {
            assert!(is_network(magic), "{magic:x}");
        }
        // ext4, XFS, Btrfs, tmpfs, overlay, ZFS.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert!(!is_network(magic), "{magic:x}");
        }
    }

    #[test]
    fn what_is_set_aside_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        for text in ["one", "two"] {
            std::fs::write(&path, text).expect("writes");
            set_aside(&path).expect("renames");
        }
        assert!(!path.exists());
        assert_eq!(std::fs::read(beside(&path, ".orphan1")).expect("reads"), b"one");
        assert_eq!(std::fs::read(beside(&path, ".orphan2")).expect("reads"), b"two");
    }
}
