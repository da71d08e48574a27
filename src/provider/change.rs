//! Changes of keys, and why a vault does not make them.

use std::fmt;

use crate::clock::UnixTime;
use crate::key::KeyAlias;
use crate::oaep::{RsaPrivateKey, RsaPublicKey};
use crate::secret::SecretBytes;

/// What changes about one version of a key; what is not named stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// When its time to wrap begins; `Some(None)` takes the date away.
    pub not_before: Option<Option<UnixTime>>,
    /// When its time to wrap ends; `Some(None)` takes the date away.
    pub not_after: Option<Option<UnixTime>>,
}

impl KeyChanges {
    /// Switches a version on.
    pub fn enable() -> Self {
        Self { enabled: Some(true), ..Self::default() }
    }

    /// Switches a version off.
    pub fn disable() -> Self {
        Self { enabled: Some(false), ..Self::default() }
    }
}

/// Who will be able to open a backup.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupRecipient {
    /// The holder of this key's private half.
    Key(RsaPublicKey),
    /// Whoever knows this passphrase.
    Passphrase(SecretBytes),
}

/// Opens a backup.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BackupUnlock<'a> {
    /// By the recovery key's private half.
    Key(&'a RsaPrivateKey),
    /// By the passphrase.
    Passphrase(&'a SecretBytes),
}

/// Why a vault does not do what an administrator asks: the cause behind a [`ProviderErrorKind`](super::ProviderErrorKind).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// The alias is of a kind that follows from the public half: it is never recorded.
    ComputedAlias(KeyAlias),
    /// The key is locked against deletion (R42).
    DeleteLocked,
    /// The name belongs to a deleted key, which is kept at least until then (R71).
    Deleted(UnixTime),
    /// A version would expire before its time begins.
    ExpiresBeforeItBegins,
    /// The vault has the same key material already.
    Held {
        /// Where: `vault/name@n`.
        id: String,
    },
    /// The key is not deleted.
    NotDeleted,
    /// The backup holds another number of keys than one.
    NotOneKey(usize),
    /// The vault's keys can't be purged before this time (R36).
    PurgeProtected(UnixTime),
    /// The key is deleted, and can be recovered at least until then (R71).
    Recoverable(UnixTime),
    /// A date beyond the year 9999.
    TimeOutOfRange,
    /// More aliases than the 255 that a version may have.
    TooManyAliases(usize),
    /// This vault's backups need a recipient: a passphrase or a recovery key.
    Unsealed,
}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ComputedAlias(alias) => write!(f, "{alias} follows from the public key and can't be given to one"),
            Self::DeleteLocked => f.write_str("it is locked against deletion"),
            Self::Deleted(until) => write!(f, "it is deleted, and kept until {until} at least"),
            Self::ExpiresBeforeItBegins => f.write_str("it would expire before its time begins"),
            Self::Held { id } => write!(f, "the same key is there already, as {id}"),
            Self::NotDeleted => f.write_str("it is not deleted"),
            Self::NotOneKey(count) => write!(f, "the backup holds {count} keys, not one"),
            Self::PurgeProtected(until) => write!(f, "purge protection keeps it until {until}"),
            Self::Recoverable(until) => write!(f, "it can be recovered until {until} at least"),
            Self::TimeOutOfRange => f.write_str("dates end with the year 9999"),
            Self::TooManyAliases(count) => write!(f, "a version has at most 255 aliases, not {count}"),
            Self::Unsealed => f.write_str("its backup needs a passphrase or a recovery key"),
        }
    }
}

impl std::error::Error for KeyRefusal {}
