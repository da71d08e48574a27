//! Why an encryption set is not made, changed or used.

use std::error::Error;
use std::fmt;

use crate::catalog::{SetKind, SetNameError};
use crate::engine::ErrorKind;
use crate::io::Escaped;
use crate::key::Thumbprint;

/// Why an encryption set is not made, changed or used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// The key is the set's active one.
    Active {
        /// The set.
        set: String,
        /// The key.
        key: String,
    },
    /// Another process rotates the set.
    Busy(String),
    /// What was wrapped under the key did not come back from its vault.
    Challenge {
        /// The key.
        key: String,
    },
    /// Catalogued snapshots name the set.
    InUse {
        /// The set.
        set: String,
        /// How many.
        snapshots: u64,
    },
    /// A set's keys live in vaults, not in files.
    KeyInFile(String),
    /// A customer's key must be named.
    KeyNeeded {
        /// The set's kind.
        kind: SetKind,
    },
    /// The set's kind has no such key.
    KeyNotNeeded {
        /// The set's kind.
        kind: SetKind,
    },
    /// A location or subscription that is empty, longer than 90 bytes, or has control characters.
    Label {
        /// Which one.
        field: &'static str,
        /// The text.
        text: String,
    },
    /// The key is linked already.
    Linked {
        /// The set.
        set: String,
        /// The key.
        key: String,
    },
    /// Text that names no set.
    Name {
        /// The text.
        text: String,
        /// Why not.
        source: SetNameError,
    },
    /// The set has no epoch keys.
    NoEpochs(String),
    /// The set has one layer only.
    NoSuchLayer(String),
    /// The key is not linked.
    NotLinked {
        /// The set.
        set: String,
        /// The key.
        key: String,
    },
    /// The key belongs to somebody else than the layer's owner.
    Owner {
        /// The key.
        key: String,
        /// Whether it is a customer's, as against the platform's.
        customer: bool,
        /// The set's kind.
        kind: SetKind,
    },
    /// The vault gives other material under the key's id than the set pinned.
    Pinned {
        /// The set.
        set: String,
        /// The key.
        key: String,
        /// What the set pinned.
        pinned: Thumbprint,
        /// What the vault gives.
        found: Thumbprint,
    },
    /// The key that takes a compromised one's place must be in another vault.
    SameVault(String),
}

impl SetError {
    pub(in crate::manage) fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy(_) => ErrorKind::Busy,
            Self::Challenge { .. } | Self::Pinned { .. } => ErrorKind::Refused,
            Self::NotLinked { .. } => ErrorKind::NotFound,
            Self::Active { .. } | Self::Linked { .. } => ErrorKind::Failed,
            Self::InUse { .. }
            | Self::KeyInFile(_)
            | Self::KeyNeeded { .. }
            | Self::KeyNotNeeded { .. }
            | Self::Label { .. }
            | Self::Name { .. }
            | Self::NoEpochs(_)
            | Self::NoSuchLayer(_)
            | Self::Owner { .. }
            | Self::SameVault(_) => ErrorKind::Usage,
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { set, key } => write!(f, "{} is the active key of the set '{}'", Escaped(key), Escaped(set)),
            Self::Busy(set) => write!(f, "another process is rotating the set '{}'", Escaped(set)),
            Self::Challenge { key } => {
                write!(f, "the vault did not give back what was wrapped under {}", Escaped(key))
            }
            Self::InUse { set, snapshots } => {
                let plural = if *snapshots == 1 { "" } else { "s" };
                write!(f, "the catalogue knows {snapshots} snapshot{plural} of the set '{}'", Escaped(set))
            }
            Self::KeyInFile(key) => write!(f, "{} is in a file; the keys of a set live in vaults", Escaped(key)),
            Self::KeyNeeded { kind } => write!(f, "a set of type {} needs a customer's key", kind.name()),
            Self::KeyNotNeeded { kind } => write!(f, "a set of type {} has no such key", kind.name()),
            Self::Label { field, text } => write!(f, "'{}' is no {field}", Escaped(text)),
            Self::Linked { set, key } => write!(f, "{} is linked to the set '{}' already", Escaped(key), Escaped(set)),
            Self::Name { text, .. } => write!(f, "'{}' names no set", Escaped(text)),
            Self::NoEpochs(set) => write!(f, "the set '{}' has no epoch keys: they wrap directly", Escaped(set)),
            Self::NoSuchLayer(set) => write!(f, "the set '{}' has one layer only", Escaped(set)),
            Self::NotLinked { set, key } => {
                write!(f, "{} is not linked to the set '{}'", Escaped(key), Escaped(set))
            }
            Self::Owner { key, customer, kind } => {
                let owner = if *customer { "a customer's" } else { "the platform's" };
                write!(f, "{} is {owner}, which does not fit a set of type {}", Escaped(key), kind.name())
            }
            Self::Pinned { set, key, pinned, found } => write!(
                f,
                "the set '{}' pinned jkt:{} as {}, but the vault gives jkt:{}",
                Escaped(set),
                pinned.short(),
                Escaped(key),
                found.short()
            ),
            Self::SameVault(vault) => {
                write!(f, "both keys are in vault '{}': whoever took one may have taken the other", Escaped(vault))
            }
        }
    }
}

impl Error for SetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Name { source, .. } => Some(source),
            _ => None,
        }
    }
}
