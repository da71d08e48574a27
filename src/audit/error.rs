//! Why events could not be kept, and what is wrong with a chain.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::HeadError;
use crate::io::{CommitError, escaped_path};
use crate::random::RandomError;

/// Why events could not be kept or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuditError {
    /// The log is not the one that its head describes. Nothing is added to it.
    Broken(Break),
    /// Other processes held the log's lock for longer than the deadline.
    Busy(PathBuf),
    /// The key file could not be given its name.
    Commit(CommitError),
    /// Others than the caller may read or write the key file.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// The head could not be read or advanced.
    Head(HeadError),
    /// The file system refused: the disk is full or read-only.
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The key file is damaged.
    KeyDamaged(PathBuf),
    /// There is a log, but not the key file that it was written with.
    KeyMissing(PathBuf),
    /// The random generator failed.
    Random,
}

impl AuditError {
    #[cfg(any(feature = "store", test))]
    pub(super) fn io(path: &std::path::Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(found) => write!(f, "the audit log is broken: {found}"),
            Self::Busy(path) => write!(f, "the audit log {} is in use by other processes", escaped_path(path)),
            Self::Commit(error) => error.fmt(f),
            Self::Exposed { path, mode, owner } => {
                write!(
                    f,
                    "{} belongs to user {owner} with mode {mode:04o}: others could forge the log",
                    escaped_path(path)
                )
            }
            Self::Head(_) => f.write_str("the head of the audit log can't be read or advanced"),
            Self::Io { path, .. } => write!(f, "can't read or write the audit log {}", escaped_path(path)),
            Self::KeyDamaged(path) => write!(f, "the key file of the audit log, {}, is damaged", escaped_path(path)),
            Self::KeyMissing(path) => write!(f, "the key file of the audit log, {}, is missing", escaped_path(path)),
            Self::Random => RandomError.fmt(f),
        }
    }
}

impl Error for AuditError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Commit(error) => error.source(),
            Self::Head(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<CommitError> for AuditError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<HeadError> for AuditError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<RandomError> for AuditError {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}

/// A place where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; `None` where the file as a whole is meant.
    pub line: Option<u64>,
    /// What is wrong.
    pub fault: ChainFault,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escaped_path(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What is wrong with a chain. Numbers are those of records (`seq`), from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// The record was changed, or its MAC.
    Altered(u64),
    /// The record is not the one that the head was made from: another log, or one that was written anew.
    HeadDiffers(u64),
    /// Records are missing before this one.
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The record stands behind a later one: it was moved or copied.
    OutOfOrder(u64),
    /// The file begins with this record and is named after another one.
    Renamed(u64),
    /// The line has more than 16384 bytes.
    TooLong,
    /// Records are missing at the end.
    Truncated {
        /// The first.
        from: u64,
        /// The last, by the head.
        to: u64,
    },
    /// The line is no record.
    Unreadable,
    /// No record has the MAC that it should have: the key file is another one.
    WrongKey,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(seq) => write!(f, "record {seq} was changed"),
            Self::HeadDiffers(seq) => write!(f, "record {seq} is not the one that was written last"),
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing before this one"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing before this one"),
            Self::OutOfOrder(seq) => write!(f, "record {seq} stands behind a later one"),
            Self::Renamed(seq) => write!(f, "the file begins with record {seq}, unlike its name"),
            Self::TooLong => f.write_str("the line is too long for a record"),
            Self::Truncated { from, to } if from == to => write!(f, "record {from}, the last one, is missing"),
            Self::Truncated { from, to } => write!(f, "records {from} to {to}, the last ones, are missing"),
            Self::Unreadable => f.write_str("the line is no record"),
            Self::WrongKey => f.write_str("the key file is not the one that the log was written with"),
        }
    }
}
