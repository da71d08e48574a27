//! A vault whose every operation leaves a record, and gives no result without one.

mod batch;
mod notices;
mod trail;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use batch::Batch;
pub(super) use batch::Queue;
pub use trail::Trail;

use crate::audit::{AuditError, Event, FailureKind, Operation, Outcome, Properties, Text};
use crate::key::{
    Deletion, KeyDetails, KeyName, KeyRef, KeyVersion, RotationPolicy, Thumbprint, VaultName, VersionNumber,
};
use crate::oaep::RsaPrivateKey;
use crate::provider::{
    BackupRecipient, BackupUnlock, KeyAdmin, KeyCensus, KeyChanges, KeyProvider, KeyRecovery, OpContext, ProviderError,
    ProviderErrorKind, WrappedKey,
};
use crate::secret::SecretBytes;

/// A vault whose operations, refusals included, are recorded in a [`Trail`] (R42, R76).
///
/// - Wrapping, unwrapping and backups are recorded before their result is handed out: one durable append each, shared by
///   threads that wait for it at the same time, or by all operations of a [`Batch`].
/// - Administration is recorded before it begins (`Started`: if that fails, nothing is done) and when it has ended.
/// - Look-ups give public things only. They are recorded once per key and request, with the next record or when the trail ends; one that
///   finds nothing leaves no record.
///
/// A record that fails is [`ProviderErrorKind::Unrecorded`]: it stops the operation, and leads to no other vault.
pub struct Audited<P: ?Sized> {
    vault: VaultName,
    trail: Arc<Trail>,
    inner: Arc<P>,
}

impl<P: KeyProvider + ?Sized> Audited<P> {
    /// Records in `trail` what is done through this value.
    pub fn new(inner: Arc<P>, trail: Arc<Trail>) -> Self {
        Self { vault: inner.name().clone(), trail, inner }
    }
}

impl<P: ?Sized> Audited<P> {
    /// Returns the vault itself, whose operations leave no record.
    pub fn unrecorded(&self) -> &P {
        &self.inner
    }

    /// Returns where it is recorded.
    pub fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// Records that an administrative operation begins, does it, and records how it ended.
    pub(super) fn administer<T>(
        &self,
        operation: Operation,
        about: Properties,
        cx: &OpContext,
        act: impl FnOnce() -> Result<T, ProviderError>,
        found: impl FnOnce(&T, Properties) -> Properties,
    ) -> Result<T, ProviderError> {
        let began = cx.monotonic();
        let about = completed(about, cx);
        let key = about.key.as_ref().map(ToString::to_string).unwrap_or_default();
        let started = self.event(operation, Outcome::Started, began, about.clone(), cx);
        self.trail.record(vec![started]).map_err(|error| self.not_recorded(&key, false, error))?;
        let result = act();
        let (outcome, about) = match &result {
            Ok(value) => (Outcome::Success, found(value, about)),
            Err(error) => (Outcome::Failure(error.kind.failure()), about),
        };
        let ended = self.event(operation, outcome, began, about, cx);
        let done = result.is_ok();
        self.trail.record(vec![ended]).map_err(|error| self.not_recorded(&key, done, error))?;
        result
    }

    /// Does something whose result is withheld until it is recorded.
    fn withhold<T>(
        &self,
        operation: Operation,
        about: Properties,
        cx: &OpContext,
        act: impl FnOnce() -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let began = cx.monotonic();
        let about = completed(about, cx);
        let key = about.key.as_ref().map(ToString::to_string).unwrap_or_default();
        let result = act();
        let event = self.event(operation, outcome(&result), began, about, cx);
        self.settle(vec![event], &key, cx)?;
        result
    }

    /// Records `events`, now or with the batch that `cx` belongs to.
    fn settle(&self, events: Vec<Event>, key: &str, cx: &OpContext) -> Result<(), ProviderError> {
        match cx.queue() {
            Some(queue) => {
                queue.add(&self.trail, events);
                Ok(())
            }
            None => self.trail.record(events).map_err(|error| self.not_recorded(key, false, error)),
        }
    }

    /// Notes a look-up.
    fn look_up<T>(
        &self,
        about: Properties,
        cx: &OpContext,
        act: impl FnOnce() -> Result<T, ProviderError>,
        found: impl FnOnce(&T, Properties) -> Properties,
    ) -> Result<T, ProviderError> {
        let began = cx.monotonic();
        let result = act();
        let about = match &result {
            Ok(value) => found(value, about),
            Err(error) if error.kind == ProviderErrorKind::NotFound => return result,
            Err(_) => about,
        };
        self.trail.note(self.event(Operation::KeyGet, outcome(&result), began, about, cx));
        result
    }

    fn event(
        &self,
        operation: Operation,
        outcome: Outcome,
        began: Duration,
        about: Properties,
        cx: &OpContext,
    ) -> Event {
        let correlation = cx.correlation().unwrap_or(self.trail.correlation());
        let about = Properties { vault: Some(self.vault.clone()), ..about };
        let took = cx.monotonic().saturating_sub(began);
        Event::new(operation, outcome, cx.now(), correlation).took(took).with(about)
    }

    fn not_recorded(&self, key: &str, done: bool, source: Arc<AuditError>) -> ProviderError {
        unrecorded(&self.vault, key, NotRecorded { done, source })
    }

    fn whole(key: &KeyName) -> Properties {
        Properties { key: Some(Text::new(key.as_str())), ..Properties::default() }
    }
}

impl<P: ?Sized + fmt::Debug> fmt::Debug for Audited<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audited").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: KeyProvider + ?Sized> KeyProvider for Audited<P> {
    fn name(&self) -> &VaultName {
        &self.vault
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let about = Properties { key: Some(Text::new(&key.to_string())), ..Properties::default() };
        self.look_up(about, cx, || self.inner.version(key, cx), of_version)
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let about = Properties { thumbprint: Some(*of), ..Properties::default() };
        self.look_up(about, cx, || self.inner.find(of, cx), of_version)
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        let began = cx.monotonic();
        let about = of_version(kek, Properties::default());
        let result = self.inner.wrap_key(kek, secret, cx);
        let mut events =
            vec![self.event(Operation::KeyWrap, outcome(&result), began, completed(about.clone(), cx), cx)];
        let now = cx.now();
        if let Some(until) = kek.not_after.filter(|until| result.is_ok() && now.plus(NEAR_EXPIRY) >= *until)
            && self.trail.is_first_today(&kek.thumbprint, now)
        {
            let about = Properties { until: Some(until), ..about };
            events.push(self.event(Operation::KeyNearExpiry, Outcome::Success, cx.monotonic(), about, cx));
        }
        self.settle(events, &kek.id, cx)?;
        result
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        let about = Properties {
            key: Some(Text::new(&wrapped.id)),
            thumbprint: Some(wrapped.thumbprint),
            ..Properties::default()
        };
        self.withhold(Operation::KeyUnwrap, about, cx, || self.inner.unwrap_key(wrapped, cx))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: KeyCensus + ?Sized> KeyCensus for Audited<P> {
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError> {
        self.look_up(Properties::default(), cx, || self.inner.keys(cx), |found, about| counted(found, about))
    }

    fn deleted(&self, cx: &OpContext) -> Result<Vec<KeyDetails>, ProviderError> {
        self.look_up(Properties::default(), cx, || self.inner.deleted(cx), |found, about| counted(found, about))
    }

    fn details(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.look_up(Self::whole(key), cx, || self.inner.details(key, cx), |_, about| about)
    }

    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError> {
        self.look_up(Self::whole(key), cx, || self.inner.versions(key, cx), |found, about| counted(found, about))
    }

    fn backup(&self, key: &KeyName, to: Option<&BackupRecipient>, cx: &OpContext) -> Result<Vec<u8>, ProviderError> {
        self.withhold(Operation::KeyBackup, Self::whole(key), cx, || self.inner.backup(key, to, cx))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: KeyAdmin + ?Sized> KeyAdmin for Audited<P> {
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let act = || self.inner.create(key, bits, cx);
        self.administer(Operation::KeyCreate, Self::whole(key), cx, act, of_version)
    }

    fn import(&self, key: &KeyName, private: &RsaPrivateKey, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let act = || self.inner.import(key, private, cx);
        self.administer(Operation::KeyImport, Self::whole(key), cx, act, of_version)
    }

    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let act = || self.inner.rotate(key, cx);
        self.administer(Operation::KeyRotate, Self::whole(key), cx, act, of_version)
    }

    fn update(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        changes: &KeyChanges,
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        let text = version.map_or_else(|| key.to_string(), |number| format!("{key}@{number}"));
        let about = Properties { key: Some(Text::new(&text)), ..Properties::default() };
        let act = || self.inner.update(key, version, changes, cx);
        self.administer(Operation::KeyUpdate, about, cx, act, of_version)
    }

    fn set_delete_lock(&self, key: &KeyName, locked: bool, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        let act = || self.inner.set_delete_lock(key, locked, cx);
        self.administer(Operation::KeyUpdate, Self::whole(key), cx, act, |_, about| about)
    }

    fn set_policy(&self, key: &KeyName, policy: &RotationPolicy, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        let act = || self.inner.set_policy(key, policy, cx);
        self.administer(Operation::KeyUpdate, Self::whole(key), cx, act, |_, about| about)
    }

    fn delete(&self, key: &KeyName, cx: &OpContext) -> Result<Deletion, ProviderError> {
        let act = || self.inner.delete(key, cx);
        self.administer(Operation::KeyDelete, Self::whole(key), cx, act, |deletion, about| Properties {
            until: Some(deletion.recoverable_until),
            ..about
        })
    }

    fn restore(&self, backup: &[u8], by: Option<BackupUnlock<'_>>, cx: &OpContext) -> Result<KeyName, ProviderError> {
        let act = || self.inner.restore(backup, by, cx);
        let about = Properties::default();
        self.administer(Operation::KeyRestore, about, cx, act, |key, about| Properties {
            key: Some(Text::new(key.as_str())),
            ..about
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: KeyRecovery + ?Sized> KeyRecovery for Audited<P> {
    fn recover(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        let act = || self.inner.recover(key, cx);
        self.administer(Operation::KeyRecover, Self::whole(key), cx, act, |_, about| about)
    }

    fn purge(&self, key: &KeyName, cx: &OpContext) -> Result<(), ProviderError> {
        let act = || self.inner.purge(key, cx);
        self.administer(Operation::KeyPurge, Self::whole(key), cx, act, |(), about| about)
    }
}

/// The audit log did not take a record: the cause behind [`ProviderErrorKind::Unrecorded`].
#[derive(Clone, Debug)]
pub struct NotRecorded {
    /// Whether it was done all the same: its beginning is recorded, its end is not.
    pub done: bool,
    source: Arc<AuditError>,
}

impl NotRecorded {
    /// Says what a [`Trail`] did not take.
    pub fn new(done: bool, source: Arc<AuditError>) -> Self {
        Self { done, source }
    }

    /// Returns what the log said.
    pub fn error(&self) -> &AuditError {
        &self.source
    }
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.done { "it was done, but its end is not recorded" } else { "nothing was done" })
    }
}

impl std::error::Error for NotRecorded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl ProviderErrorKind {
    /// Returns the word that the audit log has for it.
    pub(crate) fn failure(self) -> FailureKind {
        match self {
            Self::Busy => FailureKind::Busy,
            Self::Damaged => FailureKind::Damaged,
            Self::Deleted => FailureKind::Deleted,
            Self::Denied => FailureKind::Denied,
            Self::Disabled => FailureKind::Disabled,
            Self::Exists => FailureKind::Exists,
            Self::Expired => FailureKind::Expired,
            Self::Locked => FailureKind::Locked,
            Self::Lying => FailureKind::Lying,
            Self::NotFound => FailureKind::NotFound,
            Self::NotYetValid => FailureKind::NotYetValid,
            Self::Throttled { .. } => FailureKind::Throttled,
            Self::Timeout => FailureKind::Timeout,
            Self::Unavailable => FailureKind::Unavailable,
            Self::Unrecorded => FailureKind::Failed,
            Self::Unsupported => FailureKind::Unsupported,
            Self::UnwrapFailed => FailureKind::UnwrapFailed,
        }
    }
}

fn unrecorded(vault: &VaultName, key: &str, cause: NotRecorded) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Unrecorded, vault, key).because(cause)
}

fn outcome<T>(result: &Result<T, ProviderError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(error) => Outcome::Failure(error.kind.failure()),
    }
}

/// Adds what the operation is done for.
fn completed(about: Properties, cx: &OpContext) -> Properties {
    match cx.about() {
        Some(more) => about.or(more),
        None => about,
    }
}

pub(super) fn of_version(version: &KeyVersion, about: Properties) -> Properties {
    Properties { key: Some(Text::new(&version.id)), thumbprint: Some(version.thumbprint), ..about }
}

fn counted<T>(found: &[T], about: Properties) -> Properties {
    Properties { items: u64::try_from(found.len()).ok(), ..about }
}

/// Seconds before its expiry from which on a key that wraps is spoken of: 30 days.
const NEAR_EXPIRY: u64 = 30 * 86_400;

#[cfg(test)]
mod tests;
