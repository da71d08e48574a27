//! The vault as a provider of keys.

use std::fmt;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use crate::key::{KeyName, KeyRef, KeyState, KeyVersion, Thumbprint, ThumbprintPrefix, VaultName, VersionNumber};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
use crate::provider::embedded::error::{Damage, Fault, VaultError};
use crate::provider::embedded::record::{Draft, Meta, Record};
use crate::provider::embedded::root::RootKey;
use crate::provider::embedded::{EmbeddedVault, Owner, View};
use crate::provider::{
    KeyAdmin, KeyCensus, KeyProvider, OpContext, ProviderError, ProviderErrorKind, WrappedKey, wrap_locally,
};
use crate::secret::SecretBytes;

impl KeyProvider for EmbeddedVault {
    fn name(&self) -> &VaultName {
        &self.settings.name
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let text = key.to_string();
        let found = match key {
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
        let found = only(found).map_err(|error| {
            ProviderError::new(ProviderErrorKind::Unsupported, &self.settings.name, &text).because(error)
        })?;
        found.map(|record| self.described(&record)).ok_or_else(|| self.missing(&text))
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let text = format!("jkt:{of}");
        let found = self.looked_up(cx, &text, |view| by_thumbprint(view, of))?;
        found.first().map(|record| self.described(record)).ok_or_else(|| self.missing(&text))
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        wrap_locally(&self.settings.name, kek, WrapAlgorithm::RsaOaep256, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        let usable = |record: &Record| match record.state {
            KeyState::Deleted => Err(self.refused(ProviderErrorKind::Deleted, record)),
            KeyState::Disabled => Err(self.refused(ProviderErrorKind::Disabled, record)),
            KeyState::Enabled => Ok(()),
        };
        let find = |view: &View<'_>| by_thumbprint(view, &wrapped.thumbprint);
        // Before anybody is asked for a passphrase: whether there is such a key, and whether it may be used.
        let found = self.looked_up(cx, &wrapped.id, find)?;
        usable(found.first().ok_or_else(|| self.missing(&wrapped.id))?)?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, &wrapped.id))?;
        // Once more, now authenticated and no older than the passphrase.
        let found = self.looked_up(cx, &wrapped.id, |view| {
            let records = find(view)?;
            let Some(record) = records.into_iter().next() else { return Ok(None) };
            let pkcs8 = record.open(&view.meta, &root)?;
            Ok(Some((record, pkcs8)))
        })?;
        let (record, pkcs8) = found.ok_or_else(|| self.missing(&wrapped.id))?;
        usable(&record)?;
        let private =
            RsaPrivateKey::from_pkcs8_der(&pkcs8).map_err(|_| self.refused(ProviderErrorKind::Damaged, &record))?;
        private
            .decrypt(wrapped.algorithm, &wrapped.ciphertext)
            .map_err(|_| self.refused(ProviderErrorKind::UnwrapFailed, &record))
    }
}

impl KeyCensus for EmbeddedVault {
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError> {
        self.looked_up(cx, "", |view| {
            let mut statement = view.connection.prepare_cached("SELECT name FROM keys ORDER BY name")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names.map(|name| name?.parse().map_err(|_| Damage::Value.into())).collect()
        })
    }

    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError> {
        let records = self.looked_up(cx, key.as_str(), |view| {
            view.records("WHERE keys.name = ?1 ORDER BY versions.number", params![key.as_str()])
        })?;
        if records.is_empty() {
            return Err(self.missing(key.as_str()));
        }
        Ok(records.iter().map(|record| (record.number, self.described(record))).collect())
    }
}

impl KeyAdmin for EmbeddedVault {
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let fail = |kind| ProviderError::new(kind, &self.settings.name, key.as_str());
        if !SIZES.contains(&bits) {
            return Err(fail(ProviderErrorKind::Unsupported));
        }
        let (root, _) = self.unlocked(key, cx, |taken| match taken {
            Some(_) => Err(fail(ProviderErrorKind::Exists)),
            None => Ok(()),
        })?;
        let draft = self.draft(key, bits)?;
        let record = self.changed(cx, key, &root, |connection, meta| {
            if key_id(connection, key)?.is_some() {
                return Ok(None);
            }
            let id = add_key(connection, key)?;
            let record =
                draft.insert(connection, meta, &root, (id, key, VersionNumber::FIRST), &*self.settings.random)?;
            meta.write(connection, &root)?;
            Ok(Some(record))
        })?;
        record.map(|record| self.described(&record)).ok_or_else(|| fail(ProviderErrorKind::Exists))
    }

    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let (root, newest) = self.unlocked(key, cx, |newest| self.rotatable(newest, key))?;
        let bits = newest.map_or(0, |newest| newest.public.bits());
        let draft = self.draft(key, bits)?;
        // Which number it gets is decided now: another process may have rotated while this one generated.
        let newest_or_record = self.changed(cx, key, &root, |connection, meta| {
            let newest =
                Record::select(connection, meta, Some(&root), NEWEST, params![key.as_str()])?.into_iter().next();
            let Some(newest) = newest.filter(|newest| newest.state != KeyState::Deleted) else { return Ok(None) };
            let number = newest.number.next().ok_or(Damage::Value)?;
            let place = (newest.key, &newest.name, number);
            let record = draft.insert(connection, meta, &root, place, &*self.settings.random)?;
            meta.write(connection, &root)?;
            Ok(Some(record))
        })?;
        newest_or_record
            .map(|record| self.described(&record))
            .ok_or_else(|| ProviderError::new(ProviderErrorKind::Deleted, &self.settings.name, key.as_str()))
    }
}

impl EmbeddedVault {
    /// Unlocks the vault and returns the newest version of `key`, if `check` allows it.
    fn unlocked(
        &self,
        key: &KeyName,
        cx: &OpContext,
        check: impl Fn(Option<&Record>) -> Result<(), ProviderError>,
    ) -> Result<(Arc<RootKey>, Option<Record>), ProviderError> {
        let newest = |view: &View<'_>| Ok(view.records(NEWEST, params![key.as_str()])?.into_iter().next());
        check(self.looked_up(cx, key.as_str(), newest)?.as_ref())?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, key.as_str()))?;
        Ok((root, self.looked_up(cx, key.as_str(), newest)?))
    }

    fn rotatable(&self, newest: Option<&Record>, key: &KeyName) -> Result<(), ProviderError> {
        match newest {
            None => Err(self.missing(key.as_str())),
            Some(newest) if newest.state == KeyState::Deleted => Err(self.refused(ProviderErrorKind::Deleted, newest)),
            Some(_) => Ok(()),
        }
    }

    fn draft(&self, key: &KeyName, bits: usize) -> Result<Draft, ProviderError> {
        Draft::generate(bits, self.settings.clock.now()).map_err(|error| self.answer(error, key.as_str()))
    }

    fn looked_up<T>(
        &self,
        cx: &OpContext,
        key: &str,
        read: impl FnOnce(&View<'_>) -> Result<T, Fault>,
    ) -> Result<T, ProviderError> {
        self.inspect(cx, read).map_err(|error| self.answer(error, key))
    }

    fn changed<T>(
        &self,
        cx: &OpContext,
        key: &KeyName,
        root: &RootKey,
        change: impl FnOnce(&rusqlite::Connection, &mut Meta) -> Result<T, Fault>,
    ) -> Result<T, ProviderError> {
        self.change(cx, root, change).map_err(|error| self.answer(error, key.as_str()))
    }

    fn described(&self, record: &Record) -> KeyVersion {
        KeyVersion {
            id: format!("{}/{}@{}", self.settings.name, record.name, record.number),
            thumbprint: record.thumbprint,
            state: record.state,
            not_before: record.not_before,
            not_after: record.not_after,
            created: Some(record.created),
            customer: self.settings.owner == Owner::Customer,
            public: record.public.clone(),
        }
    }

    fn missing(&self, key: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::NotFound, &self.settings.name, key)
    }

    fn refused(&self, kind: ProviderErrorKind, record: &Record) -> ProviderError {
        ProviderError::new(kind, &self.settings.name, &format!("{}@{}", record.name, record.number))
    }

    fn answer(&self, error: VaultError, key: &str) -> ProviderError {
        let answer = ProviderError::new(error.kind(), &self.settings.name, key);
        // A wrong passphrase has no cause: every failure of that check looks alike.
        if matches!(error, VaultError::Locked(_)) { answer } else { answer.because(error) }
    }
}

/// A beginning of a thumbprint that fits several keys.
#[derive(Debug)]
pub(super) struct Ambiguous;

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("several keys begin like this")
    }
}

impl std::error::Error for Ambiguous {}

/// Returns what was found; an error rather than a choice when there are several.
pub(super) fn only<T>(mut found: Vec<T>) -> Result<Option<T>, Ambiguous> {
    let last = found.pop();
    if found.is_empty() { Ok(last) } else { Err(Ambiguous) }
}

fn by_thumbprint(view: &View<'_>, of: &Thumbprint) -> Result<Vec<Record>, Fault> {
    view.records("WHERE versions.thumbprint = ?1", params![of.as_bytes()])
}

fn by_prefix(view: &View<'_>, prefix: &ThumbprintPrefix) -> Result<Vec<Record>, Fault> {
    let mut records = view.records("", [])?;
    records.retain(|record| prefix.matches(&record.thumbprint));
    Ok(records)
}

/// Returns the key's row, where there is one of this name in whatever case.
pub(super) fn key_id(connection: &rusqlite::Connection, key: &KeyName) -> Result<Option<i64>, Fault> {
    let mut statement = connection.prepare_cached("SELECT id FROM keys WHERE name = ?1")?;
    Ok(statement.query_row([key.as_str()], |row| row.get(0)).optional()?)
}

/// Adds a key, which has no versions yet.
pub(super) fn add_key(connection: &rusqlite::Connection, key: &KeyName) -> Result<i64, Fault> {
    connection.prepare_cached("INSERT INTO keys (name) VALUES (?1)")?.execute([key.as_str()])?;
    Ok(connection.last_insert_rowid())
}

pub(super) const NEWEST: &str = "WHERE keys.name = ?1 ORDER BY versions.number DESC LIMIT 1";
const SIZES: &[usize] = &[2048, 3072, 4096];
