//! What the checks share: the subject, its answers, and keys that the suite makes.

use std::cell::RefCell;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::{SystemClock, UnixTime};
use crate::key::{KeyName, KeyRef, KeyVersion, Thumbprint, VersionNumber};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
use crate::provider::conformance::{Capability, Finding, Subject};
use crate::provider::{KeyAdmin, KeyChanges, OpContext, ProviderError, ProviderErrorKind, WrappedKey};
use crate::random::{Random, SystemRandom};
use crate::secret::SecretBytes;

/// The subject under test, and what was seen of it so far.
pub(super) struct World<'a> {
    pub(super) subject: &'a Subject,
    made: OnceLock<Result<Made, Finding>>,
    seen: RefCell<Vec<SeenError>>,
}

/// A key that the suite made, with two versions.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) name: KeyName,
    pub(super) first: KeyVersion,
    pub(super) second: KeyVersion,
}

/// What a caller can see of an error.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SeenError {
    pub(super) kind: ProviderErrorKind,
    pub(super) vault: String,
    pub(super) has_cause: bool,
    /// `Display` and `Debug`, and those of all causes.
    pub(super) text: String,
    pub(super) display: String,
}

impl<'a> World<'a> {
    pub(super) fn new(subject: &'a Subject) -> Self {
        Self { subject, made: OnceLock::new(), seen: RefCell::default() }
    }

    /// Takes an answer that must be there.
    pub(super) fn yes<T>(&self, what: &str, answer: Result<T, ProviderError>) -> Result<T, Finding> {
        answer.map_err(|error| {
            let seen = self.see(&error);
            Finding::new(what, format!("{:?}: {}", seen.kind, seen.display))
        })
    }

    /// Takes a refusal that must be one of `kinds`.
    pub(super) fn refused<T>(
        &self,
        what: &str,
        kinds: &[ProviderErrorKind],
        answer: Result<T, ProviderError>,
    ) -> Result<SeenError, Finding> {
        let expected = || format!("{kinds:?} for {what}");
        match answer {
            Ok(_) => Err(Finding::new(expected(), "success")),
            Err(error) => {
                let seen = self.see(&error);
                if kinds.contains(&seen.kind) {
                    Ok(seen)
                } else {
                    Err(Finding::new(expected(), format!("{:?}: {}", seen.kind, seen.display)))
                }
            }
        }
    }

    /// Keeps what can be seen of an error, for the checks of all errors.
    fn see(&self, error: &ProviderError) -> SeenError {
        let mut text = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(" {error} {error:?}"));
            cause = error.source();
        }
        let seen = SeenError {
            kind: error.kind,
            vault: error.vault.to_string(),
            has_cause: error.source().is_some(),
            text,
            display: error.to_string(),
        };
        self.seen.borrow_mut().push(seen.clone());
        seen
    }

    /// Returns every error that the subject answered with so far.
    pub(super) fn seen(&self) -> Vec<SeenError> {
        self.seen.borrow().clone()
    }

    /// Returns the subject's key.
    pub(super) fn key(&self) -> Result<KeyVersion, Finding> {
        self.version(&self.subject.key)
    }

    pub(super) fn version(&self, key: &KeyRef) -> Result<KeyVersion, Finding> {
        self.yes(&format!("the key {key}"), self.subject.provider.version(key, &cx()))
    }

    /// Wraps the suite's secret of `len` bytes under `kek`.
    pub(super) fn wrap(&self, kek: &KeyVersion, len: usize) -> Result<WrappedKey, Finding> {
        let what = format!("{len} bytes wrapped under {}", kek.id);
        self.yes(&what, self.subject.provider.wrap_key(kek, &secret(len), &cx()))
    }

    /// Unwraps, and compares with the suite's secret of `len` bytes.
    pub(super) fn unwraps(&self, wrapped: &WrappedKey, len: usize) -> Result<(), Finding> {
        let unwrapped = self.subject.provider.unwrap_key(wrapped, &cx());
        let unwrapped = self.yes("what was wrapped to be unwrapped", unwrapped)?;
        if unwrapped.ct_eq(secret(len).expose()) {
            Ok(())
        } else {
            Err(Finding::new(format!("the {len} bytes that were wrapped"), format!("{} others", unwrapped.len())))
        }
    }

    /// Wraps without the vault, by the algorithm that the vault uses itself: for what the vault would refuse to wrap.
    pub(super) fn wrap_here(&self, kek: &KeyVersion, len: usize) -> Result<WrappedKey, Finding> {
        let algorithm = self.algorithm()?;
        let ciphertext = kek
            .public
            .encrypt(algorithm, &secret(len))
            .map_err(|error| Finding::new("a public key that encrypts", error.to_string()))?;
        Ok(WrappedKey { thumbprint: kek.thumbprint, id: kek.id.clone(), algorithm, ciphertext })
    }

    /// Returns the algorithm that the vault wraps by.
    pub(super) fn algorithm(&self) -> Result<WrapAlgorithm, Finding> {
        Ok(self.wrap(&self.key()?, 64)?.algorithm)
    }

    pub(super) fn admin(&self) -> Result<&Arc<dyn KeyAdmin>, Finding> {
        self.subject.admin.as_ref().ok_or_else(|| Finding::new("an administrator", "none"))
    }

    /// Returns the key that the suite makes once: two versions of 2048 bits.
    pub(super) fn made(&self) -> Result<Made, Finding> {
        self.made
            .get_or_init(|| {
                let admin = self.admin()?;
                let name = fresh_name();
                let first = self.yes("a created key", admin.create(&name, 2048, &cx()))?;
                let second = self.yes("a rotated key", admin.rotate(&name, &cx()))?;
                Ok(Made { name, first, second })
            })
            .clone()
    }

    /// Runs `check` with a version that is in another state: one that the subject names, or that of the suite's key, changed for as
    /// long as the check takes.
    pub(super) fn changed(
        &self,
        named: Option<&KeyRef>,
        changes: KeyChanges,
        back: KeyChanges,
        check: impl FnOnce(&KeyVersion) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        if let Some(key) = named {
            return check(&self.version(key)?);
        }
        let (admin, made) = (self.admin()?, self.made()?);
        let newest = Some(VersionNumber::FIRST.next().unwrap_or(VersionNumber::FIRST));
        let version = self.yes("a changed key", admin.update(&made.name, newest, &changes, &cx()))?;
        let result = check(&version);
        self.yes("the change to be undone", admin.update(&made.name, newest, &back, &cx()))?;
        result
    }

    /// Returns the subject's key by name, another of its versions or a version-less one, with the versions' order.
    pub(super) fn two_versions(&self) -> Result<TwoVersions, Finding> {
        if let Some(older) = &self.subject.older {
            let newest = self.subject.key.clone();
            return Ok(TwoVersions { older: self.version(older)?, newest_by: newest, older_by: older.clone() });
        }
        let made = self.made()?;
        let by = |version| KeyRef::Named { vault: None, name: made.name.clone(), version };
        Ok(TwoVersions { older: made.first, newest_by: by(None), older_by: by(Some(VersionNumber::FIRST)) })
    }

    /// Deletes what the suite made, where that can be done.
    pub(super) fn clean_up(&self) {
        if let (Some(Ok(made)), Some(admin)) = (self.made.get(), &self.subject.admin)
            && self.subject.can(Capability::Recovery)
        {
            // What can't be deleted stays: the module's documentation says so.
            let _ = admin.delete(&made.name, &cx());
        }
    }
}

/// A key with an older version, and how both are referred to.
pub(super) struct TwoVersions {
    pub(super) older: KeyVersion,
    pub(super) newest_by: KeyRef,
    pub(super) older_by: KeyRef,
}

/// An operation that has a minute.
pub(super) fn cx() -> OpContext {
    OpContext::new(Arc::new(SystemClock), Duration::from_secs(60))
}

/// An operation whose time is over.
pub(super) fn too_late() -> OpContext {
    OpContext::new(Arc::new(SystemClock), Duration::ZERO)
}

/// Midnight so many days before or after today.
pub(super) fn midnight(days: i64) -> UnixTime {
    let today = cx().now().0 / DAY;
    UnixTime(today.saturating_add_signed(days) * DAY)
}

/// What the suite wraps: text, so that it is found wherever it is printed.
pub(super) fn secret(len: usize) -> SecretBytes {
    SecretBytes::taken_from(MARK.iter().copied().cycle().take(len).collect())
}

/// A private key of the suite's own, which no vault has. Made once in a process.
pub(super) fn foreign() -> Result<&'static RsaPrivateKey, Finding> {
    static FOREIGN: OnceLock<Option<RsaPrivateKey>> = OnceLock::new();
    let made = FOREIGN.get_or_init(|| RsaPrivateKey::generate(2048).ok());
    made.as_ref().ok_or_else(|| Finding::new("an RSA key of our own", "AWS-LC makes none"))
}

/// Describes a key that no vault has.
pub(super) fn foreign_version(like: &KeyVersion) -> Result<KeyVersion, Finding> {
    let public =
        foreign()?.public().map_err(|error| Finding::new("the public half of our own key", error.to_string()))?;
    Ok(KeyVersion { thumbprint: Thumbprint::of(&public), public, ..like.clone() })
}

/// A name that no vault has.
pub(super) fn fresh_name() -> KeyName {
    let mut bytes = [0; 4];
    // A name that is taken makes a check fail; nothing is lost.
    let _ = SystemRandom.fill(&mut bytes);
    let name = format!("conformance-{:08x}", u32::from_be_bytes(bytes));
    name.parse().expect("letters, digits and '-'")
}

/// The beginning of every secret of the suite, and what its texts are searched for.
pub(super) const MARK: &[u8] = b"sobre-conformance-secret/";
/// Seconds of a day.
const DAY: u64 = 86_400;
