//! One generation of a KEK.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::clock::UnixTime;
use crate::key::{KeyName, RotationPolicy, Thumbprint};
use crate::oaep::RsaPublicKey;

/// Number of a version within a key, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionNumber(NonZeroU32);

impl VersionNumber {
    /// The first version of a key.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Takes a number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Returns the number of the version after this one; `None` after the last that can be counted.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl FromStr for VersionNumber {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a key version may be used for (SP 800-57 part 1 §7), apart from its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// Soft-deleted: only list, recover and purge (R71).
    Deleted,
    /// Switched off by its owner: wraps and unwraps nothing.
    Disabled,
    /// In use.
    Enabled,
}

impl KeyState {
    /// Returns the state's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
        }
    }
}

/// What wrapping needs to know of one generation of a KEK: everything but the private half.
#[derive(Clone, Debug)]
pub struct KeyVersion {
    /// Where the key is, with its version: `vault/name@n`, a URL, `file:PATH`. A hint, never an identity.
    pub id: String,
    /// What the key is.
    pub thumbprint: Thumbprint,
    /// Whether it may be used.
    pub state: KeyState,
    /// It wraps nothing before this time.
    pub not_before: Option<UnixTime>,
    /// It wraps nothing from this time on; it still unwraps (R63).
    pub not_after: Option<UnixTime>,
    /// When it was made, if known.
    pub created: Option<UnixTime>,
    /// Whether its owner is a customer, as against the platform (R6).
    pub customer: bool,
    /// The public half.
    pub public: RsaPublicKey,
}

impl KeyVersion {
    /// Checks that the key may wrap at `now` (R39, R63).
    ///
    /// # Errors
    ///
    /// [`WrapRefusal`] with the reason.
    pub fn may_wrap(&self, now: UnixTime) -> Result<(), WrapRefusal> {
        match self.state {
            KeyState::Deleted => return Err(WrapRefusal::Deleted),
            KeyState::Disabled => return Err(WrapRefusal::Disabled),
            KeyState::Enabled => {}
        }
        match (self.not_before, self.not_after) {
            (Some(from), _) if now < from => Err(WrapRefusal::NotYetValid(from)),
            (_, Some(until)) if now >= until => Err(WrapRefusal::Expired(until)),
            _ => Ok(()),
        }
    }
}

/// What is known of a key as a whole, with all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDetails {
    /// Its name.
    pub name: KeyName,
    /// Whether it is locked against deletion (R42).
    pub delete_lock: bool,
    /// When it is rotated, and when somebody is told (R73).
    pub policy: RotationPolicy,
    /// Whether it is soft-deleted, and until when it is kept for certain.
    pub deletion: Option<Deletion>,
}

/// A soft deletion of a key (R36, R71).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the key was deleted.
    pub deleted: UnixTime,
    /// Until when it can be recovered for certain. It is not purged by itself afterwards.
    pub recoverable_until: UnixTime,
}

/// Why a key version may not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrapRefusal {
    /// Soft-deleted.
    Deleted,
    /// Disabled.
    Disabled,
    /// Its time is over.
    Expired(UnixTime),
    /// Its time has not come.
    NotYetValid(UnixTime),
}

impl fmt::Display for WrapRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("it is deleted"),
            Self::Disabled => f.write_str("it is disabled"),
            Self::Expired(until) => write!(f, "it expired on {until}"),
            Self::NotYetValid(from) => write!(f, "it is not valid before {from}"),
        }
    }
}

#[cfg(test)]
mod tests;
