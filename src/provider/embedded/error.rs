//! Why an embedded vault can't be made, opened or used.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::{CommitError, escaped_path};
use crate::key::VaultName;
use crate::oaep::RsaKeyError;
use crate::provider::embedded::Owner;
use crate::provider::embedded::access::{Access, is_full, is_writable};
use crate::provider::{MissingRight, ProviderErrorKind};
use crate::random::RandomError;

/// Why an embedded vault can't be made, opened or used.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultError {
    /// Another process holds the vault's lock for longer than the deadline.
    Busy(PathBuf),
    /// A key of a backup can't stand beside what the vault has: the same name and number for another key, or the same key elsewhere.
    Conflict {
        /// The database.
        path: PathBuf,
        /// The version in the backup, `name@n`.
        key: String,
        /// The version in the vault, `name@n`.
        with: String,
    },
    /// The vault's files contradict each other or fail their authentication.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The role in which the vault was opened has not the right to do this.
    Denied(MissingRight),
    /// There is a file at the path of the vault to be made.
    Exists(PathBuf),
    /// The file system refused.
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A key could not be generated or encoded.
    Key(RsaKeyError),
    /// The vault is protected by a key file, which is not there.
    KeyFileMissing(PathBuf),
    /// The passphrase is wrong. Nothing more is said, nor known.
    Locked(VaultName),
    /// The vault lies on a network file system, where SQLite's write-ahead log does not work.
    NetworkFilesystem(PathBuf),
    /// A newer `sobre` made this vault.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        schema: i64,
    },
    /// Another program's database, or an empty file.
    NotAVault(PathBuf),
    /// There is no such file.
    NotFound(PathBuf),
    /// There is not the memory that the passphrase's cost asks for.
    OutOfMemory,
    /// No passphrase was given.
    Passphrase {
        /// The vault.
        vault: VaultName,
        /// Why not.
        source: PassphraseError,
    },
    /// Others than the caller may read or write a file of the vault.
    Permissions {
        /// The file.
        path: PathBuf,
        /// How it is exposed.
        exposure: Exposure,
    },
    /// The random generator failed.
    Random,
    /// SQLite failed: the disk is full, the file system is read-only.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// This build's SQLite is one of those that can corrupt a database in WAL mode.
    SqliteTooOld(i32),
    /// The vault belongs to the other kind of owner than was expected (R6).
    WrongOwner {
        /// The database.
        path: PathBuf,
        /// What the configuration says.
        expected: Owner,
        /// What the vault says.
        found: Owner,
    },
}

impl VaultError {
    /// Returns what a call to the vault that runs into this answers with.
    pub fn kind(&self) -> ProviderErrorKind {
        match self {
            Self::Busy(_) => ProviderErrorKind::Busy,
            Self::Damaged { .. } | Self::NotAVault(_) => ProviderErrorKind::Damaged,
            Self::Conflict { .. } | Self::Exists(_) => ProviderErrorKind::Exists,
            // A file or medium that fails to answer is an outage; what is missing or refused may be deliberate.
            Self::Io { .. } | Self::OutOfMemory | Self::Random | Self::Sqlite { .. } => ProviderErrorKind::Unavailable,
            Self::KeyFileMissing(_) | Self::Locked(_) | Self::Passphrase { .. } => ProviderErrorKind::Locked,
            Self::NotFound(_) => ProviderErrorKind::NotFound,
            Self::Denied(_) | Self::Permissions { .. } => ProviderErrorKind::Denied,
            Self::Key(_)
            | Self::NetworkFilesystem(_)
            | Self::Newer { .. }
            | Self::SqliteTooOld(_)
            | Self::WrongOwner { .. } => ProviderErrorKind::Unsupported,
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, damage: Damage) -> Self {
        Self::Damaged { path: path.to_owned(), damage }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(path) => write!(f, "the vault {} is in use by another process", escaped_path(path)),
            Self::Conflict { path, key, with } if key == with => {
                write!(f, "{} has another key {with} than the backup", escaped_path(path))
            }
            Self::Conflict { path, key, with } => {
                write!(f, "{} has the backup's key {key} already, as {with}", escaped_path(path))
            }
            Self::Damaged { path, damage } => write!(f, "the vault file {} is damaged: {damage}", escaped_path(path)),
            Self::Denied(missing) => missing.fmt(f),
            Self::Exists(path) => write!(f, "{} exists already", escaped_path(path)),
            Self::Io { path, .. } => write!(f, "can't read or write {}", escaped_path(path)),
            Self::Key(_) => f.write_str("the key can't be generated or encoded"),
            Self::KeyFileMissing(path) => {
                write!(f, "the key file {} is missing, without which its vault can't be read", escaped_path(path))
            }
            Self::Locked(vault) => write!(f, "the passphrase of vault '{vault}' is wrong"),
            Self::NetworkFilesystem(path) => {
                write!(f, "{} lies on a network file system, where a vault is not safe", escaped_path(path))
            }
            Self::Newer { path, schema } => {
                write!(f, "a newer sobre made the vault {} (schema {schema})", escaped_path(path))
            }
            Self::NotAVault(path) => write!(f, "{} is not a vault", escaped_path(path)),
            Self::NotFound(path) => write!(f, "there is no vault {}", escaped_path(path)),
            Self::OutOfMemory => f.write_str("there is not the memory that the passphrase's cost asks for"),
            Self::Passphrase { vault, .. } => write!(f, "no passphrase for vault '{vault}'"),
            Self::Permissions { path, exposure } => {
                let path = escaped_path(path);
                match exposure {
                    Exposure::Mode(mode) => write!(f, "others may use {path} (mode {mode:04o}): run chmod 600 {path}"),
                    Exposure::Owner(user) => {
                        write!(
                            f,
                            "{path} belongs to user {user}: run sobre as that user, or chown it and chmod 600 {path}"
                        )
                    }
                }
            }
            Self::Random => RandomError.fmt(f),
            Self::Sqlite { path, .. } => write!(f, "SQLite can't use {}", escaped_path(path)),
            Self::SqliteTooOld(version) => {
                write!(f, "SQLite {version} can corrupt vaults; 3051003 is the oldest that may be used")
            }
            Self::WrongOwner { path, expected, found } => {
                write!(f, "the vault {} holds {found} keys, not {expected} keys", escaped_path(path))
            }
        }
    }
}

impl Error for VaultError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Key(error) => Some(error),
            Self::Passphrase { source, .. } => Some(source),
            Self::Sqlite { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<RandomError> for VaultError {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}

impl From<CommitError> for VaultError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Busy(path) => Self::Busy(path),
            CommitError::Exists(path) => Self::Exists(path),
            CommitError::Io { path, source } => Self::Io { path, source },
        }
    }
}

/// What is wrong with a vault's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A record was changed behind the vault's back, added or taken away: its authentication fails.
    Authentication,
    /// SQLite's own check of the database fails.
    Check,
    /// The key file is not one, or another vault's.
    KeyFile,
    /// Not an SQLite database.
    NotADatabase,
    /// The database has other tables, indices or triggers than a vault has.
    Schema,
    /// A value outside what the vault writes.
    Value,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "a record fails its authentication",
            Self::Check => "the database fails SQLite's check",
            Self::KeyFile => "it is not this vault's key file",
            Self::NotADatabase => "it is not a database",
            Self::Schema => "its tables are not those of a vault",
            Self::Value => "a record is outside its bounds",
        })
    }
}

/// How a file is open to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exposure {
    /// Its permission bits let the group or others in.
    Mode(u32),
    /// It belongs to this other user.
    Owner(u32),
}

/// Why there is no passphrase.
#[derive(Debug)]
#[non_exhaustive]
pub enum PassphraseError {
    /// The user gave up.
    Cancelled,
    /// The passphrase is empty.
    Empty,
    /// Its file, command or descriptor can't be read.
    Io(io::Error),
    /// The two entries of a new passphrase differ.
    Mismatch,
    /// Nobody can be asked: no terminal and no option that names one.
    NotGiven,
}

impl fmt::Display for PassphraseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the entry was cancelled",
            Self::Empty => "the passphrase is empty",
            Self::Io(_) => "the passphrase can't be read",
            Self::Mismatch => "the two entries differ",
            Self::NotGiven => "there is no terminal to ask on, and no option that gives it",
        })
    }
}

impl Error for PassphraseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Cancelled | Self::Empty | Self::Mismatch | Self::NotGiven => None,
        }
    }
}

/// What goes wrong inside a transaction, where the database's path is not at hand.
#[derive(Debug)]
pub(super) enum Fault {
    Damage(Damage),
    Sqlite(rusqlite::Error),
    Vault(VaultError),
}

impl Fault {
    /// Whether somebody else has the database.
    pub(super) fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        matches!(self, Self::Sqlite(error) if matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked)))
    }

    /// Returns how else the database may still be opened.
    pub(super) fn otherwise(&self, path: &Path) -> Option<Access> {
        match self {
            Self::Sqlite(error) => Access::after(error, path),
            _ => None,
        }
    }

    /// Adds the path, and tells the kinds of SQLite's errors apart.
    pub(super) fn at(self, path: &Path) -> VaultError {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
        match self {
            Self::Damage(damage) => VaultError::damaged(path, damage),
            Self::Vault(error) => error,
            Self::Sqlite(source) if is_full(&source) => {
                VaultError::Io { path: path.to_owned(), source: rustix::io::Errno::NOSPC.into() }
            }
            Self::Sqlite(source) => match source.sqlite_error_code() {
                Some(DatabaseBusy | DatabaseLocked) => VaultError::Busy(path.to_owned()),
                Some(DatabaseCorrupt) => VaultError::damaged(path, Damage::Check),
                Some(NotADatabase) => VaultError::damaged(path, Damage::NotADatabase),
                // What a run that was cut off has left beside it can't be taken up there, and must not be passed over.
                Some(CannotOpen) if !is_writable(path) => {
                    VaultError::Io { path: path.to_owned(), source: rustix::io::Errno::ROFS.into() }
                }
                Some(_) => VaultError::Sqlite { path: path.to_owned(), source },
                // Not from SQLite itself: a column of another type or range than the vault writes.
                None => VaultError::damaged(path, Damage::Value),
            },
        }
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<RandomError> for Fault {
    fn from(_: RandomError) -> Self {
        Self::Vault(VaultError::Random)
    }
}
