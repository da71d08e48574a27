//! What vaults answer when they don't do what was asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::io::Escaped;
use crate::key::{VaultName, WrapRefusal};

/// A vault's refusal or failure: what happened, in which vault, with which key.
#[derive(Debug)]
pub struct ProviderError {
    /// What happened; decides alone what is done next.
    pub kind: ProviderErrorKind,
    /// The vault.
    pub vault: VaultName,
    /// The key, as it was asked for; empty when the vault as a whole is meant.
    pub key: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ProviderError {
    /// Makes an error without a cause.
    pub fn new(kind: ProviderErrorKind, vault: &VaultName, key: &str) -> Self {
        Self { kind, vault: vault.clone(), key: key.to_owned(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vault, key) = (&self.vault, Escaped(&self.key));
        match self.kind {
            ProviderErrorKind::Busy => write!(f, "vault '{vault}' is in use by another process"),
            ProviderErrorKind::Damaged => write!(f, "vault '{vault}' is damaged"),
            ProviderErrorKind::Deleted => write!(f, "key {key} in vault '{vault}' is deleted"),
            ProviderErrorKind::Denied if key.0.is_empty() => write!(f, "vault '{vault}' denies access"),
            ProviderErrorKind::Denied => write!(f, "vault '{vault}' denies access to key {key}"),
            ProviderErrorKind::Disabled => write!(f, "key {key} in vault '{vault}' is disabled"),
            ProviderErrorKind::Exists => write!(f, "vault '{vault}' has a key {key} already"),
            ProviderErrorKind::Expired => write!(f, "key {key} in vault '{vault}' has expired"),
            ProviderErrorKind::Locked if self.source.is_some() => write!(f, "vault '{vault}' stays locked"),
            ProviderErrorKind::Locked => write!(f, "the passphrase of vault '{vault}' is wrong"),
            ProviderErrorKind::Lying if key.0.is_empty() => write!(f, "vault '{vault}' gave an answer that is none"),
            ProviderErrorKind::Lying => write!(f, "vault '{vault}' gave an answer that is not about key {key}"),
            ProviderErrorKind::NotFound if key.0.is_empty() => write!(f, "vault '{vault}' is not there"),
            ProviderErrorKind::NotFound => write!(f, "vault '{vault}' has no key {key}"),
            ProviderErrorKind::NotYetValid => write!(f, "key {key} in vault '{vault}' is not valid yet"),
            ProviderErrorKind::Throttled { retry_after } => {
                write!(f, "vault '{vault}' asks to wait {} s", retry_after.as_secs())
            }
            ProviderErrorKind::Timeout => write!(f, "vault '{vault}' did not answer in time"),
            ProviderErrorKind::Unavailable => write!(f, "vault '{vault}' can't be reached"),
            ProviderErrorKind::Unrecorded if key.0.is_empty() => {
                write!(f, "the audit log can't record what is done in vault '{vault}'")
            }
            ProviderErrorKind::Unrecorded => write!(f, "the audit log can't record what is done with key {key}"),
            ProviderErrorKind::Unsupported if key.0.is_empty() => write!(f, "vault '{vault}' can't do this"),
            ProviderErrorKind::Unsupported => write!(f, "vault '{vault}' can't do this with key {key}"),
            ProviderErrorKind::UnwrapFailed => write!(f, "key {key} in vault '{vault}' does not unwrap this"),
        }
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// A reference fits several keys: the cause behind [`ProviderErrorKind::Unsupported`] where one was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmbiguousKey {
    /// Their ids, or those of the first of very many.
    pub ids: Vec<String>,
}

impl fmt::Display for AmbiguousKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "several keys begin like this: {}", self.ids.join(", "))
    }
}

impl Error for AmbiguousKey {}

/// What happened at a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// An embedded vault is locked by another process for longer than the deadline.
    Busy,
    /// The vault's own records contradict each other or fail their authentication.
    Damaged,
    /// The key is deleted or soft-deleted.
    Deleted,
    /// The caller has not the right.
    Denied,
    /// The key is disabled.
    Disabled,
    /// The name is taken.
    Exists,
    /// The key's time is over, for wrapping.
    Expired,
    /// The passphrase or PIN is wrong, or there is none.
    Locked,
    /// An answer about something else than what was asked, or junk.
    Lying,
    /// There is no such key here.
    NotFound,
    /// The key's time has not come, for wrapping.
    NotYetValid,
    /// The vault asks to wait.
    Throttled {
        /// For how long.
        retry_after: Duration,
    },
    /// No answer before the deadline.
    Timeout,
    /// No way to the vault now.
    Unavailable,
    /// The audit log could not take the record, and without one nothing goes on.
    Unrecorded,
    /// The vault or this build can't do what was asked.
    Unsupported,
    /// The private-key operation failed. Deliberately without a cause: no padding oracle.
    UnwrapFailed,
}

impl ProviderErrorKind {
    /// Decides what is done next. Only an outage leads to another vault (R55).
    pub fn disposition(self) -> Disposition {
        match self {
            Self::Timeout | Self::Unavailable => Disposition::TryNext,
            Self::Throttled { retry_after } => Disposition::RetrySame(retry_after),
            Self::Busy => Disposition::RetrySame(BUSY_PAUSE),
            Self::Damaged
            | Self::Deleted
            | Self::Denied
            | Self::Disabled
            | Self::Exists
            | Self::Expired
            | Self::Locked
            | Self::Lying
            | Self::NotFound
            | Self::NotYetValid
            | Self::Unrecorded
            | Self::Unsupported
            | Self::UnwrapFailed => Disposition::Stop,
        }
    }
}

impl From<WrapRefusal> for ProviderErrorKind {
    fn from(refusal: WrapRefusal) -> Self {
        match refusal {
            WrapRefusal::Deleted => Self::Deleted,
            WrapRefusal::Disabled => Self::Disabled,
            WrapRefusal::Expired(_) => Self::Expired,
            WrapRefusal::NotYetValid(_) => Self::NotYetValid,
        }
    }
}

/// What is done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Wait and ask the same vault again, within the deadline.
    RetrySame(Duration),
    /// Give up: asking elsewhere could get round a decision of the key's owner.
    Stop,
    /// Ask the next vault that holds the same material.
    TryNext,
}

const BUSY_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_whole_vault_names_no_key() {
        use ProviderErrorKind::*;
        let vault = "hsm".parse().expect("a name");
        for kind in [Denied, Lying, Locked, NotFound, Timeout, Unavailable, Unrecorded, Unsupported] {
            let text = ProviderError::new(kind, &vault, "").to_string();
            assert!(!text.contains(" key"), "{text}");
        }
        assert_eq!(ProviderError::new(NotFound, &vault, "a").to_string(), "vault 'hsm' has no key a");
    }

    #[test]
    fn only_an_outage_leads_to_another_vault() {
        use ProviderErrorKind::*;
        let next = [Timeout, Unavailable];
        let all = [
            Busy,
            Damaged,
            Deleted,
            Denied,
            Disabled,
            Exists,
            Expired,
            Locked,
            Lying,
            NotFound,
            NotYetValid,
            Throttled { retry_after: Duration::from_secs(1) },
            Timeout,
            Unavailable,
            Unrecorded,
            Unsupported,
            UnwrapFailed,
        ];
        for kind in all {
            assert_eq!(kind.disposition() == Disposition::TryNext, next.contains(&kind), "{kind:?}");
        }
    }
}
