//! Why a backup can't be written, read or restored.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::io::{CommitError, escaped_path};
use crate::key::Thumbprint;
use crate::provider::embedded::VaultError;

/// Why a backup can't be written, read or restored.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// A byte of the backup is not what was written.
    Damaged,
    /// A backup that only Key Vault can restore (R70).
    KeyVaultBackup,
    /// The passphrase is wrong, or the recovery key's operation failed. Nothing more is said, nor known.
    Locked,
    /// The backup opens with the recovery key of this thumbprint, not with a passphrase or another key.
    NeedsKey(Thumbprint),
    /// The backup opens with a passphrase, not with a key.
    NeedsPassphrase,
    /// A newer `sobre` wrote it, in this version of the format.
    Newer(u16),
    /// A backup of no vaults.
    NoVaults,
    /// Not a vault backup at all.
    NotABackup,
    /// The file can't be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// More than 64 MiB.
    TooLarge,
    /// A vault refused or failed.
    Vault(VaultError),
    /// The backup file can't be written.
    Write(CommitError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("the vault backup is damaged"),
            Self::KeyVaultBackup => f.write_str("this is a Key Vault backup, which only Key Vault can restore"),
            Self::Locked => f.write_str("the vault backup does not open with this passphrase or key"),
            Self::NeedsKey(thumbprint) => {
                write!(f, "the vault backup opens with the private key jkt:{thumbprint} only")
            }
            Self::NeedsPassphrase => f.write_str("the vault backup opens with a passphrase, not with a key"),
            Self::Newer(version) => write!(f, "a newer sobre wrote the vault backup (version {version})"),
            Self::NoVaults => f.write_str("there is no vault to back up"),
            Self::NotABackup => f.write_str("the file is not a vault backup"),
            Self::Read { path, .. } => write!(f, "can't read the vault backup {}", escaped_path(path)),
            Self::TooLarge => f.write_str("the vault backup has more than 64 MiB"),
            Self::Vault(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl Error for BackupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            // Their text is this error's text.
            Self::Vault(error) => error.source(),
            Self::Write(error) => error.source(),
            _ => None,
        }
    }
}

impl From<VaultError> for BackupError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<CommitError> for BackupError {
    fn from(error: CommitError) -> Self {
        Self::Write(error)
    }
}
