//! Everything that can go wrong, in one type.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{PolicyError, kind_of_audit};
use crate::format::{EpochId, Fault, FormatError, Layer, Part};
use crate::io::{CommitError, Escaped, escaped_path};
use crate::provider::{NotRecorded, ProviderError, ProviderErrorKind};
use crate::random::RandomError;

/// Why something was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked to stop.
    Cancelled,
    /// A buffer has another length than the chunk's padded length.
    BufferLength {
        /// Its length in bytes.
        found: usize,
        /// The chunk's padded length.
        expected: usize,
    },
    /// A file could not be created or named.
    Commit(CommitError),
    /// A block device is in use.
    DeviceInUse {
        /// Where it is mounted, if that is the use and it can be seen.
        mounted: Option<String>,
    },
    /// A block device is shorter than the disk that should go onto it.
    DeviceTooSmall {
        /// Its length in bytes.
        device: u64,
        /// The disk's length in bytes.
        disk: u64,
    },
    /// A chunk's record was handed in twice.
    DuplicateChunk(u64),
    /// The record of an epoch key is nowhere.
    EpochMissing {
        /// The epoch key.
        id: EpochId,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A record, header or manifest belongs to another snapshot.
    Foreign,
    /// The bytes of a snapshot are damaged, forged or not supported.
    Format(FormatError),
    /// Not every chunk has a record: the first that has none.
    IncompleteChunks(u64),
    /// An error at a file.
    InFile {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Box<Error>,
    },
    /// Reading or writing failed.
    Io(io::Error),
    /// The only damage is in one head: the other one still opens the snapshot.
    HeadDamaged {
        /// 0 for head A, 1 for head B.
        head: u8,
    },
    /// No vault holds a key for a layer.
    KeyMissing {
        /// The layer.
        layer: Layer,
        /// The keys that would do: locator or thumbprint.
        wanted: Vec<String>,
        /// The vaults that were searched.
        searched: Vec<String>,
    },
    /// The keys that the operator named are none of those that the snapshot was sealed for.
    KeyNotWanted {
        /// The keys that would do: locator or thumbprint.
        wanted: Vec<String>,
    },
    /// A snapshot from a pipe needs its manifest.
    ManifestNeeded,
    /// There is nothing to resume.
    NothingToResume,
    /// The partial file was begun with another suite, geometry, labels or keys.
    OtherOptions,
    /// A pipe or device got only the beginning of the disk; that much of it is verified.
    PartlyWritten {
        /// Bytes from the beginning that are verified and written.
        valid: u64,
        /// Why it ended there.
        source: Box<Error>,
    },
    /// What should be sealed can't be made so.
    Policy(PolicyError),
    /// A vault refused or failed.
    Provider(ProviderError),
    /// The random generator failed.
    Random,
    /// A range outside the disk.
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// The disk's length in bytes.
        disk: u64,
    },
    /// The root of the snapshot is not the expected one.
    RootDiffers,
    /// Source and target are the same file.
    SameFile,
    /// The source is not what it was when it was first looked at.
    SourceChanged(&'static str),
    /// The path leads to something that can't serve here.
    UnsuitableFile {
        /// What it is.
        kind: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
}

/// What kind of failure an [`Error`] is; the exit codes of the command follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Held by another process: try later.
    Busy,
    /// Stopped by the caller.
    Cancelled,
    /// Damaged or forged: trying again does not help.
    Damaged,
    /// Anything else.
    Failed,
    /// A file, key or vault does not exist.
    NotFound,
    /// The key's owner has refused it: disabled, deleted, denied.
    Refused,
    /// A vault can't be reached or is throttled: try later.
    Unavailable,
    /// Asked for something that makes no sense.
    Usage,
    /// The wrong key or passphrase.
    WrongKey,
}

impl Error {
    /// Says what kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Commit(CommitError::Busy(_)) => ErrorKind::Busy,
            Self::Commit(CommitError::Io { source, .. }) | Self::Io(source) => kind_of_io(source),
            Self::DeviceInUse { .. } => ErrorKind::Busy,
            Self::Format(error) if error.is_unsupported() => ErrorKind::Failed,
            Self::Foreign | Self::Format(_) | Self::HeadDamaged { .. } | Self::RootDiffers => ErrorKind::Damaged,
            Self::InFile { source, .. } | Self::PartlyWritten { source, .. } => source.kind(),
            Self::EpochMissing { .. } | Self::KeyMissing { .. } => ErrorKind::NotFound,
            Self::KeyNotWanted { .. } => ErrorKind::WrongKey,
            Self::ManifestNeeded | Self::Range { .. } => ErrorKind::Usage,
            Self::Policy(error) => error.kind(),
            Self::Provider(error) => match unrecorded(error) {
                Some(cause) => kind_of_audit(cause.error()),
                None => kind_of_provider(error.kind),
            },
            Self::BufferLength { .. }
            | Self::Commit(_)
            | Self::DeviceTooSmall { .. }
            | Self::DuplicateChunk(_)
            | Self::IncompleteChunks(_)
            | Self::NothingToResume
            | Self::OtherOptions
            | Self::Random
            | Self::SameFile
            | Self::SourceChanged(_)
            | Self::UnsuitableFile { .. } => ErrorKind::Failed,
        }
    }

    /// Says at which file it happened, unless that is known already.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        match self {
            Self::InFile { .. }
            | Self::PartlyWritten { .. }
            | Self::Commit(_)
            | Self::Provider(_)
            | Self::Policy(_)
            | Self::Cancelled => self,
            other => Self::InFile { path: path.to_owned(), source: Box::new(other) },
        }
    }

    /// Returns the error itself, without the file it happened at.
    pub fn inner(&self) -> &Self {
        match self {
            Self::InFile { source, .. } | Self::PartlyWritten { source, .. } => source.inner(),
            other => other,
        }
    }

    pub(super) fn damaged(part: Part, fault: Fault) -> Self {
        Self::Format(FormatError { part, fault })
    }
}

/// Adds the file to an error.
pub(super) trait AtFile<T> {
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<Error>> AtFile<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|error| error.into().at(path))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("stopped on request"),
            Self::BufferLength { found, expected } => {
                write!(f, "the buffer has {found} bytes where the chunk has {expected}")
            }
            Self::Commit(error) => error.fmt(f),
            Self::DeviceInUse { mounted: Some(point) } => write!(f, "the device is mounted at {}", Escaped(point)),
            Self::DeviceInUse { mounted: None } => f.write_str("the device is in use"),
            Self::DeviceTooSmall { device, disk } => {
                write!(f, "the device has {device} bytes, the disk in the snapshot {disk}")
            }
            Self::DuplicateChunk(chunk) => write!(f, "chunk {chunk} was recorded twice"),
            Self::EpochMissing { id, looked } => write!(
                f,
                "the snapshot is sealed under epoch key {id}, whose record {} is missing; looked for it {}",
                id.file_name(),
                match looked.as_slice() {
                    [] => "nowhere".to_owned(),
                    places => {
                        format!(
                            "in {}",
                            places.iter().map(|place| escaped_path(place)).collect::<Vec<_>>().join(" and ")
                        )
                    }
                }
            ),
            Self::Foreign => f.write_str("a part belongs to another snapshot"),
            Self::Format(error) if matches!((error.part, error.fault), (Part::Head(_), Fault::Magic)) => {
                f.write_str("not a sobre snapshot")
            }
            Self::Format(error) => error.fmt(f),
            Self::IncompleteChunks(chunk) => write!(f, "chunk {chunk} was never recorded"),
            Self::InFile { path, source } => write!(f, "{}: {source}", escaped_path(path)),
            Self::Io(error) => write!(f, "{error}"),
            Self::HeadDamaged { head } => {
                write!(f, "head {} is damaged; the other one is intact", if *head == 0 { 'A' } else { 'B' })
            }
            Self::KeyMissing { layer, wanted, searched } => write!(
                f,
                "no key for layer {layer} was found: it needs {}; searched {}",
                listed(wanted),
                if searched.is_empty() { "no vault".to_owned() } else { format!("vaults {}", listed(searched)) }
            ),
            Self::KeyNotWanted { wanted } => {
                write!(f, "the snapshot was not sealed for this key; it needs {}", listed(wanted))
            }
            Self::ManifestNeeded => f.write_str("a snapshot from a pipe can be opened only with its manifest"),
            Self::NothingToResume => f.write_str("there is no partial file to resume"),
            Self::OtherOptions => {
                f.write_str("the partial file was begun with another suite, geometry, labels or keys")
            }
            Self::PartlyWritten { valid, source } => {
                write!(f, "{source}; only the first {valid} bytes that were written are verified")
            }
            Self::Policy(error) => error.fmt(f),
            Self::Provider(error) => error.fmt(f),
            Self::Random => RandomError.fmt(f),
            Self::Range { offset, len, disk } => {
                write!(f, "the range {offset}:{len} is outside the disk of {disk} bytes")
            }
            Self::RootDiffers => f.write_str("the root is not the expected one: this is another or a forged snapshot"),
            Self::SameFile => f.write_str("source and target are the same file"),
            Self::SourceChanged(how) => write!(f, "the source {how}"),
            Self::UnsuitableFile { kind, advice } => write!(f, "it is a {kind}; {advice}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Commit(error) => std::error::Error::source(error),
            Self::InFile { source, .. } | Self::PartlyWritten { source, .. } => {
                std::error::Error::source(source.as_ref())
            }
            Self::Policy(error) => std::error::Error::source(error),
            Self::Provider(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<RandomError> for Error {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::ResourceBusy => ErrorKind::Busy,
        _ => ErrorKind::Failed,
    }
}

/// Returns why an operation could not be recorded, if that is what stopped it.
fn unrecorded(error: &ProviderError) -> Option<&NotRecorded> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
}

fn kind_of_provider(kind: ProviderErrorKind) -> ErrorKind {
    match kind {
        ProviderErrorKind::Busy => ErrorKind::Busy,
        ProviderErrorKind::Damaged | ProviderErrorKind::Lying => ErrorKind::Damaged,
        ProviderErrorKind::Deleted
        | ProviderErrorKind::Denied
        | ProviderErrorKind::Disabled
        | ProviderErrorKind::Expired
        | ProviderErrorKind::NotYetValid => ErrorKind::Refused,
        ProviderErrorKind::Exists | ProviderErrorKind::Unrecorded | ProviderErrorKind::Unsupported => ErrorKind::Failed,
        ProviderErrorKind::Locked | ProviderErrorKind::UnwrapFailed => ErrorKind::WrongKey,
        ProviderErrorKind::NotFound => ErrorKind::NotFound,
        ProviderErrorKind::Throttled { .. } | ProviderErrorKind::Timeout | ProviderErrorKind::Unavailable => {
            ErrorKind::Unavailable
        }
    }
}

fn listed(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| Escaped(name).to_string()).collect();
    names.join(" or ")
}
