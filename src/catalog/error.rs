//! Why the catalogue can't be used.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::{CommitError, Escaped, escaped_path};
use crate::provider::embedded::access::{Access, is_full};

/// Why the catalogue can't be used. No data are lost with it: `sobre catalog rebuild` makes it anew.
#[derive(Debug)]
#[non_exhaustive]
pub enum CatalogError {
    /// Another process holds the catalogue's lock for longer than the deadline.
    Busy(PathBuf),
    /// The set is not any more what it was when it was read.
    Changed(String),
    /// The catalogue's file contradicts itself.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: CatalogDamage,
    },
    /// There is a set with this name.
    Exists(String),
    /// The file system refused.
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A job of this set is running.
    JobRunning(String),
    /// A set's type can't change (R5).
    KindFixed(String),
    /// A newer `sobre` made this catalogue.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        schema: i64,
    },
    /// There is no catalogue.
    NotFound(PathBuf),
    /// There is no such set.
    SetNotFound(String),
    /// SQLite failed: the disk is full, the file system is read-only.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// This build's SQLite is one of those that can corrupt a database in WAL mode.
    SqliteTooOld(i32),
}

impl CatalogError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(path) => write!(f, "the catalogue {} is in use by another process", escaped_path(path)),
            Self::Changed(set) => write!(f, "the set '{}' was changed meanwhile", Escaped(set)),
            Self::Damaged { path, damage } => write!(f, "the catalogue {} is damaged: {damage}", escaped_path(path)),
            Self::Exists(set) => write!(f, "there is a set '{}' already", Escaped(set)),
            Self::Io { path, .. } => write!(f, "can't read or write {}", escaped_path(path)),
            Self::JobRunning(set) => write!(f, "another job of the set '{}' is running", Escaped(set)),
            Self::KindFixed(set) => write!(f, "the type of the set '{}' can't change", Escaped(set)),
            Self::Newer { path, schema } => {
                write!(f, "a newer sobre made the catalogue {} (schema {schema})", escaped_path(path))
            }
            Self::NotFound(path) => write!(f, "there is no catalogue {}", escaped_path(path)),
            Self::SetNotFound(set) => write!(f, "there is no set '{}'", Escaped(set)),
            Self::Sqlite { path, .. } => write!(f, "SQLite can't use {}", escaped_path(path)),
            Self::SqliteTooOld(version) => {
                write!(f, "SQLite {version} can corrupt catalogues; 3051003 is the oldest that may be used")
            }
        }
    }
}

impl Error for CatalogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Sqlite { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<CommitError> for CatalogError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Busy(path) => Self::Busy(path),
            CommitError::Exists(path) => Self::Io { path, source: io::ErrorKind::AlreadyExists.into() },
            CommitError::Io { path, source } => Self::Io { path, source },
        }
    }
}

/// What is wrong with a catalogue's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogDamage {
    /// SQLite's own check of the database fails.
    Check,
    /// Not an SQLite database, or another program's.
    NotACatalog,
    /// The database has other tables, indices or triggers than a catalogue has.
    Schema,
    /// A value outside what the catalogue writes.
    Value,
}

impl fmt::Display for CatalogDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "the database fails SQLite's check",
            Self::NotACatalog => "it is not a catalogue",
            Self::Schema => "its tables are not those of a catalogue",
            Self::Value => "a row is outside its bounds",
        })
    }
}

/// What goes wrong inside a transaction, where the catalogue's path is not at hand.
#[derive(Debug)]
pub(super) enum Fault {
    Catalog(CatalogError),
    Damage(CatalogDamage),
    Sqlite(rusqlite::Error),
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
    pub(super) fn at(self, path: &Path) -> CatalogError {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
        let damaged = |damage| CatalogError::Damaged { path: path.to_owned(), damage };
        match self {
            Self::Catalog(error) => error,
            Self::Damage(damage) => damaged(damage),
            Self::Sqlite(source) if is_full(&source) => {
                CatalogError::Io { path: path.to_owned(), source: rustix::io::Errno::NOSPC.into() }
            }
            Self::Sqlite(source) => match source.sqlite_error_code() {
                Some(DatabaseBusy | DatabaseLocked) => CatalogError::Busy(path.to_owned()),
                Some(DatabaseCorrupt) => damaged(CatalogDamage::Check),
                Some(NotADatabase) => damaged(CatalogDamage::NotACatalog),
                Some(CannotOpen) if !path.exists() => CatalogError::NotFound(path.to_owned()),
                Some(_) => CatalogError::Sqlite { path: path.to_owned(), source },
                // Not from SQLite itself: a column of another type or range than the catalogue writes.
                None => damaged(CatalogDamage::Value),
            },
        }
    }
}

impl From<CatalogDamage> for Fault {
    fn from(damage: CatalogDamage) -> Self {
        Self::Damage(damage)
    }
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
