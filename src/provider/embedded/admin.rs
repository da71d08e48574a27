//! Making, changing and deleting keys.

use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::clock::UnixTime;
use crate::key::{Deletion, KeyDetails, KeyName, KeyVersion, RotationPolicy, VersionNumber};
use crate::oaep::{RsaKeyError, RsaPrivateKey};
use crate::provider::embedded::EmbeddedVault;
use crate::provider::embedded::backup::{BackupFile, BackupVault};
use crate::provider::embedded::error::{Damage, Fault, VaultError};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::meta::Meta;
use crate::provider::embedded::provider::NEWEST;
use crate::provider::embedded::record::{Draft, Record};
use crate::provider::embedded::root::RootKey;
use crate::provider::{
    BackupUnlock, KeyAdmin, KeyChanges, KeyRefusal, OpContext, ProviderError, ProviderErrorKind, Right,
};

impl KeyAdmin for EmbeddedVault {
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        self.check_size(bits, key)?;
        self.check_vacant(key, cx)?;
        let draft = self.answered(key, Draft::generate(bits, self.settings.clock.now()))?;
        self.add(key, &draft, cx)
    }

    fn import(&self, key: &KeyName, private: &RsaPrivateKey, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.import_known(key, private, &[], cx)
    }

    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.rotate_with(key, cx, |bits| Draft::generate(bits, self.settings.clock.now()))
    }

    fn update(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        changes: &KeyChanges,
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        let text = version.map_or_else(|| key.to_string(), |number| format!("{key}@{number}"));
        let too_far = |time: &UnixTime| *time > LAST_TIME;
        if [changes.not_before, changes.not_after].iter().flatten().flatten().any(too_far) {
            return Err(self.declined(ProviderErrorKind::Unsupported, &text, KeyRefusal::TimeOutOfRange));
        }
        self.change_live(key, cx, |connection, meta, root, _| {
            let record = self.version_of(connection, meta, root, key, version)?;
            let mut record = record.ok_or_else(|| self.missing(&text))?;
            let not_before = changes.not_before.unwrap_or(record.not_before);
            let not_after = changes.not_after.unwrap_or(record.not_after);
            if let (Some(from), Some(until)) = (not_before, not_after)
                && from >= until
            {
                return Err(self
                    .declined(ProviderErrorKind::Unsupported, &text, KeyRefusal::ExpiresBeforeItBegins)
                    .into());
            }
            record.update(connection, meta, root, &*self.settings.random, |record| {
                record.enabled = changes.enabled.unwrap_or(record.enabled);
                (record.not_before, record.not_after) = (not_before, not_after);
            })?;
            meta.count_change()?;
            Ok(self.described(&record))
        })
    }

    fn set_delete_lock(&self, key: &KeyName, locked: bool, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.change_details(key, cx, |details, _| {
            details.delete_lock = locked;
            Ok(())
        })
    }

    fn set_policy(&self, key: &KeyName, policy: &RotationPolicy, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.change_details(key, cx, |details, _| {
            details.policy = *policy;
            Ok(())
        })
    }

    fn delete(&self, key: &KeyName, cx: &OpContext) -> Result<Deletion, ProviderError> {
        let details = self.change_details(key, cx, |details, meta| {
            if details.delete_lock {
                return Err(self.declined(ProviderErrorKind::Denied, key.as_str(), KeyRefusal::DeleteLocked).into());
            }
            let deleted = cx.now().min(LAST_TIME);
            let recoverable_until = deleted.plus(meta.soft_delete.retention.seconds());
            details.deletion = Some(Deletion { deleted, recoverable_until });
            Ok(())
        })?;
        details.deletion.ok_or_else(|| self.missing(key.as_str()))
    }

    fn restore(&self, backup: &[u8], by: Option<BackupUnlock<'_>>, cx: &OpContext) -> Result<KeyName, ProviderError> {
        self.allow(Right::Administer, "")?;
        let by = by.ok_or_else(|| self.declined(ProviderErrorKind::Unsupported, "", KeyRefusal::Unsealed))?;
        let backup = BackupFile::parse(backup.to_vec()).and_then(|file| file.unlock(by));
        let backup = backup.map_err(|error| self.answer_backup(error, ""))?;
        match backup.vaults.as_slice() {
            [vault] => self.restore_key(vault, cx),
            vaults => {
                let count = vaults.iter().map(|vault| vault.keys.len()).sum();
                Err(self.declined(ProviderErrorKind::Unsupported, "", KeyRefusal::NotOneKey(count)))
            }
        }
    }
}

impl EmbeddedVault {
    /// Puts the one key of a backup that was opened already into the vault: what [`KeyAdmin::restore`] does with a file.
    ///
    /// # Errors
    ///
    /// As [`KeyAdmin::restore`].
    pub fn restore_key(&self, backup: &BackupVault, cx: &OpContext) -> Result<KeyName, ProviderError> {
        self.allow(Right::Administer, "")?;
        let [key] = backup.keys.as_slice() else {
            let cause = KeyRefusal::NotOneKey(backup.keys.len());
            return Err(self.declined(ProviderErrorKind::Unsupported, "", cause));
        };
        let name = &key.details.name;
        let (expected, found) = (backup.owner, self.settings.owner);
        if expected != found {
            let error = VaultError::WrongOwner { path: self.settings.path.clone(), expected, found };
            return Err(self.answer(error, name.as_str()));
        }
        self.check_vacant(name, cx)?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, name.as_str()))?;
        self.changed(cx, name, &root, |connection, meta| {
            self.vacant(KeyRow::find(connection, name)?, name)?;
            let row = KeyRow::insert(connection, key.details.clone())?;
            for version in &key.versions {
                self.check_held(connection, meta, &root, &version.draft, name)?;
                version.draft.insert(connection, meta, &root, (&row, version.number), &*self.settings.random)?;
            }
            Ok(name.clone())
        })
    }

    /// Rotates with the key that `make` gives for a number of bits.
    pub(super) fn rotate_with(
        &self,
        key: &KeyName,
        cx: &OpContext,
        make: impl FnOnce(usize) -> Result<Draft, VaultError>,
    ) -> Result<KeyVersion, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        let newest = self.looked_up(cx, key.as_str(), |view| {
            let newest = view.records(NEWEST, params![key.as_str()])?.into_iter().next();
            Ok((KeyRow::find(view.connection, key)?, newest))
        })?;
        self.live(newest.0, key)?;
        let newest = newest.1.ok_or_else(|| self.missing(key.as_str()))?;
        // Before the passphrase is asked for, which is asked for before the key is generated: both take time.
        let root = self.root_key(cx).map_err(|error| self.answer(error, key.as_str()))?;
        let draft = self.answered(key, make(newest.public.bits()))?;
        // Which number it gets is decided now: another process may have rotated while this one generated.
        self.changed(cx, key, &root, |connection, meta| {
            let row = self.live(KeyRow::find(connection, key)?, key)?;
            let newest =
                first(connection, meta, &root, NEWEST, params![key.as_str()])?.ok_or(Damage::Authentication)?;
            let number = newest.number.next().ok_or(Damage::Value)?;
            let record = draft.insert(connection, meta, &root, (&row, number), &*self.settings.random)?;
            Ok(self.described(&record))
        })
    }

    /// Adds version 1 of a new key.
    pub(super) fn add(&self, key: &KeyName, draft: &Draft, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let root = self.root_key(cx).map_err(|error| self.answer(error, key.as_str()))?;
        self.changed(cx, key, &root, |connection, meta| {
            self.vacant(KeyRow::find(connection, key)?, key)?;
            self.check_held(connection, meta, &root, draft, key)?;
            let details =
                KeyDetails { name: key.clone(), delete_lock: false, policy: RotationPolicy::default(), deletion: None };
            let row = KeyRow::insert(connection, details)?;
            let place = (&row, VersionNumber::FIRST);
            let record = draft.insert(connection, meta, &root, place, &*self.settings.random)?;
            Ok(self.described(&record))
        })
    }

    /// Reads one version of a key, the newest where none is named.
    pub(super) fn version_of(
        &self,
        connection: &Connection,
        meta: &Meta,
        root: &RootKey,
        key: &KeyName,
        version: Option<VersionNumber>,
    ) -> Result<Option<Record>, Fault> {
        match version {
            Some(number) => first(connection, meta, root, NUMBERED, params![key.as_str(), number.get()]),
            None => first(connection, meta, root, NEWEST, params![key.as_str()]),
        }
    }

    /// Changes what holds for all versions of a key that is not deleted.
    fn change_details(
        &self,
        key: &KeyName,
        cx: &OpContext,
        change: impl FnOnce(&mut KeyDetails, &Meta) -> Result<(), Stop>,
    ) -> Result<KeyDetails, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        self.change_live(key, cx, |connection, meta, _, mut row| {
            change(&mut row.details, meta)?;
            row.update(connection)?;
            meta.count_change()?;
            Ok(row.details)
        })
    }

    /// Changes a key that is there and not deleted; asks for no passphrase otherwise.
    pub(super) fn change_live<T>(
        &self,
        key: &KeyName,
        cx: &OpContext,
        change: impl FnOnce(&Connection, &mut Meta, &RootKey, KeyRow) -> Result<T, Stop>,
    ) -> Result<T, ProviderError> {
        self.live(self.looked_up(cx, key.as_str(), |view| KeyRow::find(view.connection, key))?, key)?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, key.as_str()))?;
        self.changed(cx, key, &root, |connection, meta| {
            let row = self.live(KeyRow::find(connection, key)?, key)?;
            change(connection, meta, &root, row)
        })
    }

    /// Changes an authenticated state and authenticates the new one. A refusal leaves everything as it was.
    pub(super) fn changed<T>(
        &self,
        cx: &OpContext,
        key: &KeyName,
        root: &Arc<RootKey>,
        change: impl FnOnce(&Connection, &mut Meta) -> Result<T, Stop>,
    ) -> Result<T, ProviderError> {
        let changed = self.database.write(cx.remaining(), |connection, stamp| {
            let mut meta = self.cache.verified(connection, stamp, root)?;
            let value = change(connection, &mut meta)?;
            meta.write(connection, root)?;
            Ok(value)
        });
        changed.map_err(|stop| match stop {
            Stop::Fault(fault) => self.answer(fault.at(self.database.path()), key.as_str()),
            Stop::Refused(error) => *error,
        })
    }

    pub(super) fn check_size(&self, bits: usize, key: &KeyName) -> Result<(), ProviderError> {
        if SIZES.contains(&bits) {
            return Ok(());
        }
        let error = ProviderError::new(ProviderErrorKind::Unsupported, &self.settings.name, key.as_str());
        Err(error.because(RsaKeyError::Size(bits)))
    }

    /// Refuses a name that is taken, before anybody is asked or anything is generated.
    pub(super) fn check_vacant(&self, key: &KeyName, cx: &OpContext) -> Result<(), ProviderError> {
        self.vacant(self.looked_up(cx, key.as_str(), |view| KeyRow::find(view.connection, key))?, key)
    }

    fn vacant(&self, found: Option<KeyRow>, key: &KeyName) -> Result<(), ProviderError> {
        let taken = ProviderError::new(ProviderErrorKind::Exists, &self.settings.name, key.as_str());
        match found.map(|found| found.details.deletion) {
            None => Ok(()),
            Some(None) => Err(taken),
            Some(Some(deletion)) => Err(taken.because(KeyRefusal::Deleted(deletion.recoverable_until))),
        }
    }

    /// Refuses key material that the vault has already: a thumbprint names one version.
    fn check_held(
        &self,
        connection: &Connection,
        meta: &Meta,
        root: &RootKey,
        draft: &Draft,
        key: &KeyName,
    ) -> Result<(), Stop> {
        let thumbprint = crate::key::Thumbprint::of(&draft.public);
        let condition = "WHERE versions.thumbprint = ?1";
        match first(connection, meta, root, condition, params![thumbprint.as_bytes()])? {
            None => Ok(()),
            Some(record) => {
                let id = self.described(&record).id;
                Err(self.declined(ProviderErrorKind::Exists, key.as_str(), KeyRefusal::Held { id }).into())
            }
        }
    }

    pub(super) fn answered<T>(&self, key: &KeyName, result: Result<T, VaultError>) -> Result<T, ProviderError> {
        result.map_err(|error| self.answer(error, key.as_str()))
    }
}

/// Why a change is rolled back.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Refused(Box<ProviderError>),
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Self {
        Self::Fault(damage.into())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

fn first(
    connection: &Connection,
    meta: &Meta,
    root: &RootKey,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Record>, Fault> {
    Ok(Record::select(connection, meta, Some(root), condition, values)?.into_iter().next())
}

const NUMBERED: &str = "WHERE keys.name = ?1 AND versions.number = ?2";
const SIZES: &[usize] = &[2048, 3072, 4096];
/// The end of the year 9999.
const LAST_TIME: UnixTime = UnixTime(253_402_300_799);
