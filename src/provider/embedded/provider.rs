//! The vault as a provider of keys.

use std::sync::Arc;

use rusqlite::params;

use crate::key::{KeyName, KeyRef, KeyState, KeyVersion, Thumbprint, ThumbprintPrefix, VaultName};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
use crate::provider::embedded::aliases;
use crate::provider::embedded::cache::OpenedKey;
use crate::provider::embedded::error::{Fault, VaultError};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::record::Record;
use crate::provider::embedded::{EmbeddedVault, Owner, View};
use crate::provider::{
    AmbiguousKey, KeyProvider, KeyRefusal, OpContext, ProviderError, ProviderErrorKind, Right, WrappedKey, wrap_locally,
};
use crate::secret::SecretBytes;

impl KeyProvider for EmbeddedVault {
    fn name(&self) -> &VaultName {
        &self.settings.name
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let text = key.to_string();
        cx.in_time(&self.settings.name, &text)?;
        self.allow(Right::Get, &text)?;
        let found = match key {
            KeyRef::Alias(prefix) => self.looked_up(cx, &text, |view| aliases::find(view, prefix))?,
            KeyRef::File(_) => Vec::new(),
            KeyRef::Named { vault: Some(vault), .. }
                if !vault.as_str().eq_ignore_ascii_case(self.settings.name.as_str()) =>
            {
                Vec::new()
            }
            KeyRef::Named { name, version, .. } => self.looked_up(cx, &text, |view| match version {
                Some(number) => {
                    view.records("WHERE keys.name = ?1 AND versions.number = ?2", params![name.as_str(), number.get()])
                }
                None => view.records(NEWEST, params![name.as_str()]),
            })?,
            KeyRef::Thumbprint(prefix) => self.looked_up(cx, &text, |view| by_prefix(view, prefix))?,
        };
        match found.as_slice() {
            [] => Err(self.missing(&text)),
            [record] => Ok(self.described(record)),
            several => {
                let ids = several.iter().map(|record| self.described(record).id).collect();
                let error = ProviderError::new(ProviderErrorKind::Unsupported, &self.settings.name, &text);
                Err(error.because(AmbiguousKey { ids }))
            }
        }
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let text = format!("jkt:{of}");
        cx.in_time(&self.settings.name, &text)?;
        self.allow(Right::Get, &text)?;
        let found = self.looked_up(cx, &text, |view| by_thumbprint(view, of))?;
        found.first().map(|record| self.described(record)).ok_or_else(|| self.missing(&text))
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        self.allow(Right::Wrap, &kek.id)?;
        wrap_locally(&self.settings.name, kek, WrapAlgorithm::RsaOaep256, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        self.allow(Right::Unwrap, &wrapped.id)?;
        let key = self.opened(wrapped, cx)?;
        // Here no lock is held: this is what costs.
        key.private
            .decrypt(wrapped.algorithm, &wrapped.ciphertext)
            .map_err(|_| ProviderError::new(ProviderErrorKind::UnwrapFailed, &self.settings.name, &key.id))
    }
}

impl EmbeddedVault {
    /// Returns the private key that unwraps, if it may.
    fn opened(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<Arc<OpenedKey>, ProviderError> {
        cx.in_time(&self.settings.name, &wrapped.id)?;
        let stamp = self.database.stamp(cx.remaining()).map_err(|error| self.answer(error, &wrapped.id))?;
        if let Some(key) = self.cache.key(&wrapped.thumbprint, stamp) {
            return Ok(key);
        }
        let find = |view: &View<'_>| Ok(by_thumbprint(view, &wrapped.thumbprint)?.into_iter().next());
        if self.root.get().is_none() {
            // Before anybody is asked for a passphrase: whether there is such a key, and whether it may be used.
            self.usable(self.looked_up(cx, &wrapped.id, find)?.as_ref(), &wrapped.id)?;
        }
        let root = self.root_key(cx).map_err(|error| self.answer(error, &wrapped.id))?;
        // Authenticated, and no older than the passphrase.
        let (record, stamp, key) = self.looked_up(cx, &wrapped.id, |view| {
            let Some(record) = find(view)?.filter(|record| record.state() == KeyState::Enabled) else {
                return Ok((find(view)?, view.stamp, None));
            };
            let key = match self.cache.unchanged(&record, view.stamp) {
                Some(key) => Ok(key),
                None => Err(record.open(&view.meta, &root)?),
            };
            Ok((Some(record), view.stamp, Some(key)))
        })?;
        let record = self.usable(record.as_ref(), &wrapped.id)?;
        match key {
            Some(Ok(key)) => Ok(key),
            Some(Err(pkcs8)) => {
                let private = RsaPrivateKey::from_pkcs8_der(&pkcs8)
                    .map_err(|_| self.refused(ProviderErrorKind::Damaged, record))?;
                Ok(self.cache.remember(record, private, stamp))
            }
            None => Err(self.missing(&wrapped.id)),
        }
    }

    /// Refuses a version that is not there or may not be used.
    pub(super) fn usable<'a>(&self, record: Option<&'a Record>, key: &str) -> Result<&'a Record, ProviderError> {
        let record = record.ok_or_else(|| self.missing(key))?;
        match record.state() {
            KeyState::Deleted => Err(self.refused(ProviderErrorKind::Deleted, record)),
            KeyState::Disabled => Err(self.refused(ProviderErrorKind::Disabled, record)),
            KeyState::Enabled => Ok(record),
        }
    }

    /// Refuses what the role that the vault was opened in may not do.
    pub(super) fn allow(&self, right: Right, key: &str) -> Result<(), ProviderError> {
        let allowed = self.settings.role.map_or(Ok(()), |role| role.require(right));
        allowed
            .map_err(|missing| ProviderError::new(ProviderErrorKind::Denied, &self.settings.name, key).because(missing))
    }

    pub(super) fn looked_up<T>(
        &self,
        cx: &OpContext,
        key: &str,
        read: impl FnOnce(&View<'_>) -> Result<T, Fault>,
    ) -> Result<T, ProviderError> {
        self.inspect(cx, read).map_err(|error| self.answer(error, key))
    }

    pub(super) fn described(&self, record: &Record) -> KeyVersion {
        KeyVersion {
            id: format!("{}/{}@{}", self.settings.name, record.name, record.number),
            thumbprint: record.thumbprint,
            state: record.state(),
            not_before: record.not_before,
            not_after: record.not_after,
            created: Some(record.created),
            customer: self.settings.owner == Owner::Customer,
            public: record.public.clone(),
        }
    }

    pub(super) fn missing(&self, key: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::NotFound, &self.settings.name, key)
    }

    pub(super) fn refused(&self, kind: ProviderErrorKind, record: &Record) -> ProviderError {
        let refused = ProviderError::new(kind, &self.settings.name, &format!("{}@{}", record.name, record.number));
        match record.deletion {
            Some(deletion) => refused.because(KeyRefusal::Recoverable(deletion.recoverable_until)),
            None => refused,
        }
    }

    /// Returns the key of this name, if it is there and not deleted.
    pub(super) fn live(&self, key: Option<KeyRow>, name: &KeyName) -> Result<KeyRow, ProviderError> {
        let key = key.ok_or_else(|| self.missing(name.as_str()))?;
        match key.details.deletion {
            Some(deletion) => Err(ProviderError::new(ProviderErrorKind::Deleted, &self.settings.name, name.as_str())
                .because(KeyRefusal::Recoverable(deletion.recoverable_until))),
            None => Ok(key),
        }
    }

    /// Refuses because of the state that keys are in.
    pub(super) fn declined(&self, kind: ProviderErrorKind, key: &str, cause: KeyRefusal) -> ProviderError {
        ProviderError::new(kind, &self.settings.name, key).because(cause)
    }

    pub(super) fn answer(&self, error: VaultError, key: &str) -> ProviderError {
        let answer = ProviderError::new(error.kind(), &self.settings.name, key);
        match error {
            // A wrong passphrase has no cause: every failure of that check looks alike.
            VaultError::Locked(_) => answer,
            VaultError::Denied(missing) => answer.because(missing),
            error => answer.because(error),
        }
    }
}

pub(super) fn by_thumbprint(view: &View<'_>, of: &Thumbprint) -> Result<Vec<Record>, Fault> {
    view.records("WHERE versions.thumbprint = ?1", params![of.as_bytes()])
}

/// Reads no more versions in full than a person can choose from: there may be many thousands.
fn by_prefix(view: &View<'_>, prefix: &ThumbprintPrefix) -> Result<Vec<Record>, Fault> {
    let Some((from, to)) = prefix.range() else { return Ok(Vec::new()) };
    let condition =
        format!("WHERE versions.thumbprint >= ?1 AND versions.thumbprint < ?2 LIMIT {}", aliases::MOST_CANDIDATES);
    let mut found = view.records(&condition, params![from, to])?;
    found.retain(|record| prefix.matches(&record.thumbprint));
    Ok(found)
}

pub(super) const NEWEST: &str = "WHERE keys.name = ?1 ORDER BY versions.number DESC LIMIT 1";
