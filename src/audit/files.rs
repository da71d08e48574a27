//! The files of a log: the parts, the lock, the key.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use crate::audit::AuditError;
use crate::clock::Clock;
use crate::io::PartialFile;
use crate::kdf;
use crate::random::{Random, random_secret};
use crate::secret::SecretBytes;

/// A file of the log, in the order of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// The number that the name has; `None` for the part that is written to.
    pub(super) first: Option<u64>,
}

/// The lock of the log, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Returns where the part is that is written to.
pub(super) fn current(folder: &Path) -> PathBuf {
    folder.join(CURRENT)
}

/// Makes the folder where there is none, for its owner only.
pub(super) fn make_folder(folder: &Path) -> Result<(), AuditError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| AuditError::io(folder, error))
}

/// Waits for the lock, no longer than `wait`. Reading from a folder that nobody may write to needs none: `None` then.
pub(super) fn lock(folder: &Path, wait: Duration, clock: &dyn Clock, write: bool) -> Result<Option<Lock>, AuditError> {
    let path = folder.join(LOCK);
    let fail = |error| AuditError::io(&path, error);
    let file = match open(&path, write) {
        Ok(file) => file,
        Err(error) if !write && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let deadline = clock.monotonic().saturating_add(wait);
    let mut pause = Duration::from_micros(200);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock { _file: file })),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
            Err(TryLockError::WouldBlock) if clock.monotonic() >= deadline => return Err(AuditError::Busy(path)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Lists the parts, oldest first. Files with other names are not the log's.
pub(super) fn parts(folder: &Path) -> Result<Vec<Part>, AuditError> {
    let fail = |error| AuditError::io(folder, error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == CURRENT {
            parts.push(Part { path: entry.path(), first: None });
        } else if let Some(first) = first_of(name) {
            parts.push(Part { path: entry.path(), first: Some(first) });
        }
    }
    parts.sort_by_key(|part| part.first.unwrap_or(u64::MAX));
    Ok(parts)
}

fn first_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    number.parse().ok().filter(|first: &u64| *first > 0 && first.to_string() == number)
}

/// Opens a file of the log: a regular one, no link. With `write` it is made where there is none.
pub(super) fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = OpenOptions::new().read(true).write(write).create(write).mode(0o600).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Gives the part that was written to the name of its first record.
pub(super) fn rotate(folder: &Path, first: u64) -> Result<(), AuditError> {
    let target = folder.join(format!("audit-{first}.jsonl"));
    rename_new(&current(folder), &target)?;
    sync(folder)
}

/// Gives every part a name that is not the log's, and the key file as well where `with_key` says so. Nothing is removed.
pub(super) fn set_aside(folder: &Path, with_key: bool) -> Result<(), AuditError> {
    let mut files: Vec<PathBuf> = parts(folder)?.into_iter().map(|part| part.path).collect();
    if with_key && folder.join(KEY).symlink_metadata().is_ok() {
        files.push(folder.join(KEY));
    }
    let aside = |number: u32, file: &Path| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".lost{number}"));
        PathBuf::from(name)
    };
    let free = |number: &u32| files.iter().all(|file| aside(*number, file).symlink_metadata().is_err());
    let number = (1..=MOST_ASIDE).find(free);
    let number = number.ok_or_else(|| AuditError::io(folder, io::ErrorKind::AlreadyExists.into()))?;
    for file in &files {
        rename_new(file, &aside(number, file))?;
    }
    sync(folder)
}

fn rename_new(from: &Path, to: &Path) -> Result<(), AuditError> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(|error| AuditError::io(to, error.into()))
}

/// Makes the names in the folder durable.
pub(super) fn sync(folder: &Path) -> Result<(), AuditError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| AuditError::io(folder, error))
}

/// Reads the key file; `None` when there is none.
pub(super) fn read_key(folder: &Path) -> Result<Option<SecretBytes>, AuditError> {
    let path = folder.join(KEY);
    let fail = |error| AuditError::io(&path, error);
    let mut file = match open(&path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let metadata = file.metadata().map_err(fail)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o077 != 0 || owner != rustix::process::geteuid().as_raw() {
        return Err(AuditError::Exposed { path, mode, owner });
    }
    if metadata.len() != KEY_FILE_LEN {
        return Err(AuditError::KeyDamaged(path));
    }
    let (mut magic, mut key, mut check) = ([0; 16], SecretBytes::zeroed(32), [0; 16]);
    for part in [magic.as_mut_slice(), key.expose_mut(), check.as_mut_slice()] {
        file.read_exact(part).map_err(fail)?;
    }
    if magic != *KEY_MAGIC || check != check_of(&key) {
        return Err(AuditError::KeyDamaged(path));
    }
    Ok(Some(key))
}

/// Returns the path of the key file.
pub(super) fn key_path(folder: &Path) -> PathBuf {
    folder.join(KEY)
}

/// Makes the key file.
pub(super) fn make_key(folder: &Path, random: &dyn Random) -> Result<SecretBytes, AuditError> {
    let key = random_secret(random, 32)?;
    let partial = PartialFile::open(&folder.join(KEY), 0o600, false)?;
    let write = || {
        let mut file = partial.file();
        file.set_len(0)?;
        for part in [KEY_MAGIC.as_slice(), key.expose(), &check_of(&key)] {
            file.write_all(part)?;
        }
        Ok(())
    };
    write().map_err(|error| AuditError::io(partial.path(), error))?;
    partial.commit()?;
    Ok(key)
}

/// Tells a damaged key file from another one.
fn check_of(key: &SecretBytes) -> [u8; 16] {
    let mac = kdf::hmac(key, &[b"sobre audit key file"]);
    let mut check = [0; 16];
    for (to, from) in check.iter_mut().zip(mac) {
        *to = from;
    }
    check
}

const CURRENT: &str = "audit.jsonl";
const KEY: &str = "audit.key";
const LOCK: &str = "audit.lock";
const KEY_MAGIC: &[u8; 16] = b"SOBRE audit key1";
const KEY_FILE_LEN: u64 = 64;
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
const MOST_ASIDE: u32 = 999;
