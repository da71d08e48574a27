//! Undoing deletions, and making them final.

use crate::key::{KeyDetails, KeyName};
use crate::provider::embedded::EmbeddedVault;
use crate::provider::embedded::admin::Stop;
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::{KeyRecovery, KeyRefusal, OpContext, ProviderError, ProviderErrorKind, Right};

impl KeyRecovery for EmbeddedVault {
    fn recover(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.change_deleted(key, cx, |connection, _, mut row| {
            row.details.deletion = None;
            row.update(connection)?;
            Ok(row.details)
        })
    }

    fn purge(&self, key: &KeyName, cx: &OpContext) -> Result<(), ProviderError> {
        self.change_deleted(key, cx, |connection, purge_protection, row| {
            let until = row.details.deletion.map(|deletion| deletion.recoverable_until);
            if let Some(until) = until.filter(|until| purge_protection && cx.now() < *until) {
                let cause = KeyRefusal::PurgeProtected(until);
                return Err(self.declined(ProviderErrorKind::Denied, key.as_str(), cause).into());
            }
            Ok(row.remove(connection)?)
        })?;
        // The pages are overwritten in the log; the database file gets them when the log is emptied.
        self.database.truncate_log(cx.remaining()).map_err(|error| self.answer(error, key.as_str()))
    }
}

impl EmbeddedVault {
    fn change_deleted<T>(
        &self,
        key: &KeyName,
        cx: &OpContext,
        change: impl FnOnce(&rusqlite::Connection, bool, KeyRow) -> Result<T, Stop>,
    ) -> Result<T, ProviderError> {
        self.allow(Right::Recover, key.as_str())?;
        self.soft_deleted(self.looked_up(cx, key.as_str(), |view| KeyRow::find(view.connection, key))?, key)?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, key.as_str()))?;
        self.changed(cx, key, &root, |connection, meta| {
            let row = self.soft_deleted(KeyRow::find(connection, key)?, key)?;
            let value = change(connection, meta.soft_delete.purge_protection, row)?;
            meta.count_change()?;
            Ok(value)
        })
    }

    fn soft_deleted(&self, found: Option<KeyRow>, key: &KeyName) -> Result<KeyRow, ProviderError> {
        let found = found.ok_or_else(|| self.missing(key.as_str()))?;
        if found.details.deletion.is_none() {
            return Err(self.declined(ProviderErrorKind::Unsupported, key.as_str(), KeyRefusal::NotDeleted));
        }
        Ok(found)
    }
}
