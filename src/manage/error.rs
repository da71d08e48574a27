//! What goes wrong between a person's words and the engine.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::AuditError;
use crate::catalog::CatalogError;
use crate::engine::{Error, ErrorKind, PolicyError, kind_of_audit};
use crate::io::{CommitError, Escaped, escaped_path};
use crate::key::{KeyRefError, NameError};
use crate::manage::SetError;
use crate::provider::embedded::{BackupError, VaultError};
use crate::provider::{NotRecorded, PemError, ProviderError};

/// Why a home can't do what was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum HomeError {
    /// A name or prefix fits several keys.
    AmbiguousKey {
        /// What was asked for.
        key: String,
        /// What it fits.
        matches: Vec<String>,
    },
    /// The audit log can't be written or read.
    Audit(AuditError),
    /// A backup file can't be written or restored.
    Backup(BackupError),
    /// The catalogue can't be used.
    Catalog(CatalogError),
    /// Another process writes the same file.
    Commit(CommitError),
    /// The configuration is invalid.
    Config {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// Sealing or opening failed.
    Engine(Error),
    /// A file of the home can't be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No vault has the key.
    KeyNotFound {
        /// What was asked for.
        key: String,
        /// The vaults that were searched.
        searched: Vec<String>,
        /// The configuration in use.
        config: PathBuf,
    },
    /// Text that names no key.
    KeyText {
        /// The text.
        text: String,
        /// Why not.
        source: KeyRefError,
    },
    /// Text that names no vault.
    Name {
        /// The text.
        text: String,
        /// Why not.
        source: NameError,
    },
    /// Nothing says where configuration and vaults are.
    NoHome,
    /// No key was named, on the command line or in the configuration.
    NoKeyConfigured {
        /// The configuration in use.
        config: PathBuf,
        /// The setting that is missing.
        setting: &'static str,
    },
    /// The audit log did not take the record.
    NotRecorded(NotRecorded),
    /// There is no configuration, and this operation makes none.
    NotSetUp {
        /// Where it would be.
        config: PathBuf,
    },
    /// A PEM file gives no key.
    Pem(PemError),
    /// A vault refused or failed.
    Provider(ProviderError),
    /// A customer's key can't live in the platform's vault.
    PlatformVault(String),
    /// An encryption set is not made, changed or used.
    Set(SetError),
    /// A backup of several vaults can't go into one.
    SeveralVaults(Vec<String>),
    /// An embedded vault can't be opened.
    Vault(VaultError),
    /// A vault with this name is configured already.
    VaultExists(String),
    /// There are several vaults that could be meant, and none was named.
    VaultNotChosen(Vec<String>),
    /// No vault has this name.
    VaultNotConfigured {
        /// The name.
        name: String,
        /// The configured ones.
        known: Vec<String>,
        /// The configuration in use.
        config: PathBuf,
    },
}

impl HomeError {
    /// Says what kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Audit(error) => kind_of_audit(error),
            Self::Backup(error) => kind_of_backup(error),
            Self::Catalog(error) => kind_of_catalog(error),
            Self::Commit(CommitError::Busy(_)) => ErrorKind::Busy,
            Self::Commit(CommitError::Io { source, .. }) | Self::Io { source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                ErrorKind::NotFound
            }
            Self::KeyNotFound { .. } | Self::NotSetUp { .. } | Self::VaultNotConfigured { .. } => ErrorKind::NotFound,
            Self::AmbiguousKey { .. }
            | Self::KeyText { .. }
            | Self::Name { .. }
            | Self::NoKeyConfigured { .. }
            | Self::SeveralVaults(_)
            | Self::VaultNotChosen(_) => ErrorKind::Usage,
            Self::Pem(error) => match &error.fault {
                crate::provider::PemFault::Io(source) if source.kind() == io::ErrorKind::NotFound => {
                    ErrorKind::NotFound
                }
                _ => ErrorKind::Failed,
            },
            Self::Provider(_) => ErrorKind::Failed,
            Self::Set(error) => error.kind(),
            Self::Vault(error) => kind_of_vault(error),
            Self::NotRecorded(error) => kind_of_audit(error.error()),
            Self::Commit(_)
            | Self::Config { .. }
            | Self::Io { .. }
            | Self::NoHome
            | Self::PlatformVault(_)
            | Self::VaultExists(_) => ErrorKind::Failed,
        }
    }
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousKey { key, matches } => {
                write!(f, "key {} fits several: {}", Escaped(key), matches.join(", "))
            }
            Self::Audit(error) => error.fmt(f),
            Self::Backup(error) => error.fmt(f),
            Self::Catalog(error) => error.fmt(f),
            Self::Commit(error) => error.fmt(f),
            Self::Config { path, line: Some(line), message } => {
                write!(f, "{}, line {line}: {}", escaped_path(path), Escaped(message))
            }
            Self::Config { path, line: None, message } => write!(f, "{}: {}", escaped_path(path), Escaped(message)),
            Self::Engine(error) => error.fmt(f),
            Self::Io { path, source } => write!(f, "{}: {source}", escaped_path(path)),
            Self::KeyNotFound { key, searched, config } => {
                let searched =
                    if searched.is_empty() { "no vault".to_owned() } else { format!("vaults {}", searched.join(", ")) };
                write!(f, "no key {}: searched {searched} of {}", Escaped(key), escaped_path(config))
            }
            Self::KeyText { text, .. } => write!(f, "'{}' names no key", Escaped(text)),
            Self::Name { text, .. } => write!(f, "'{}' is no name", Escaped(text)),
            Self::NoHome => f.write_str("neither $HOME nor $SOBRE_HOME says where the vaults are"),
            Self::NoKeyConfigured { config, setting } => {
                write!(f, "no key is named: {} has no '{setting}'", escaped_path(config))
            }
            Self::NotRecorded(error) => write!(f, "the audit log can't record this: {error}"),
            Self::NotSetUp { config } => write!(f, "there are no vaults yet: {} does not exist", escaped_path(config)),
            Self::Pem(error) => error.fmt(f),
            Self::Provider(error) => error.fmt(f),
            Self::PlatformVault(name) => {
                write!(
                    f,
                    "vault '{name}' is the platform's; a key made by hand is a customer's and needs a vault of its own"
                )
            }
            Self::Set(error) => error.fmt(f),
            Self::SeveralVaults(names) => {
                write!(f, "the backup holds several vaults ({}), which can't go into one", names.join(", "))
            }
            Self::Vault(error) => error.fmt(f),
            Self::VaultExists(name) => write!(f, "a vault '{name}' is configured already"),
            Self::VaultNotChosen(names) => write!(f, "there are several vaults: {}", names.join(", ")),
            Self::VaultNotConfigured { name, known, config } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "no vault '{}' in {}; configured: {known}", Escaped(name), escaped_path(config))
            }
        }
    }
}

impl StdError for HomeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Audit(error) => error.source(),
            Self::Backup(error) => error.source(),
            Self::Catalog(error) => error.source(),
            Self::Commit(error) => error.source(),
            Self::Engine(error) => error.source(),
            Self::KeyText { source, .. } => Some(source),
            Self::Name { source, .. } => Some(source),
            Self::NotRecorded(error) => error.source(),
            Self::Pem(error) => error.source(),
            Self::Provider(error) => error.source(),
            Self::Set(error) => error.source(),
            Self::Vault(error) => error.source(),
            _ => None,
        }
    }
}

impl From<AuditError> for HomeError {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}

impl From<CatalogError> for HomeError {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<BackupError> for HomeError {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl From<CommitError> for HomeError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<Error> for HomeError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<PemError> for HomeError {
    fn from(error: PemError) -> Self {
        Self::Pem(error)
    }
}

impl From<PolicyError> for HomeError {
    fn from(error: PolicyError) -> Self {
        Self::Engine(Error::Policy(error))
    }
}

impl From<ProviderError> for HomeError {
    fn from(error: ProviderError) -> Self {
        Self::Engine(Error::Provider(error))
    }
}

impl From<SetError> for HomeError {
    fn from(error: SetError) -> Self {
        Self::Set(error)
    }
}

impl From<VaultError> for HomeError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

fn kind_of_catalog(error: &CatalogError) -> ErrorKind {
    match error {
        CatalogError::Busy(_) | CatalogError::Changed(_) | CatalogError::JobRunning(_) => ErrorKind::Busy,
        CatalogError::Damaged { .. } => ErrorKind::Damaged,
        CatalogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
        CatalogError::NotFound(_) | CatalogError::SetNotFound(_) => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    }
}

fn kind_of_vault(error: &VaultError) -> ErrorKind {
    match error {
        VaultError::Busy(_) => ErrorKind::Busy,
        VaultError::Damaged { .. } | VaultError::NotAVault(_) => ErrorKind::Damaged,
        VaultError::Denied(_) => ErrorKind::Refused,
        VaultError::KeyFileMissing(_) | VaultError::NotFound(_) => ErrorKind::NotFound,
        VaultError::Locked(_) | VaultError::Passphrase { .. } => ErrorKind::WrongKey,
        _ => ErrorKind::Failed,
    }
}

fn kind_of_backup(error: &BackupError) -> ErrorKind {
    match error {
        BackupError::Damaged | BackupError::NotABackup => ErrorKind::Damaged,
        BackupError::Locked | BackupError::NeedsKey(_) | BackupError::NeedsPassphrase => ErrorKind::WrongKey,
        BackupError::NoVaults => ErrorKind::NotFound,
        BackupError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
        BackupError::Vault(error) => kind_of_vault(error),
        BackupError::Write(CommitError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            ErrorKind::NotFound
        }
        BackupError::Write(CommitError::Busy(_)) => ErrorKind::Busy,
        _ => ErrorKind::Failed,
    }
}
