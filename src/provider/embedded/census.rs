//! Which keys the vault has, and copies of single ones.

use rusqlite::params;

use crate::key::{KeyDetails, KeyName, KeyVersion, VersionNumber};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::{BackupError, EmbeddedVault, PassphraseCost, SealedBackup};
use crate::provider::{BackupRecipient, KeyCensus, KeyRefusal, OpContext, ProviderError, ProviderErrorKind, Right};

impl KeyCensus for EmbeddedVault {
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError> {
        let keys = self.listed(cx)?.into_iter().map(|key| key.details);
        Ok(keys.filter(|key| key.deletion.is_none()).map(|key| key.name).collect())
    }

    fn deleted(&self, cx: &OpContext) -> Result<Vec<KeyDetails>, ProviderError> {
        let keys = self.listed(cx)?.into_iter().map(|key| key.details);
        Ok(keys.filter(|key| key.deletion.is_some()).collect())
    }

    fn details(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.allow(Right::List, key.as_str())?;
        let found = self.looked_up(cx, key.as_str(), |view| KeyRow::find(view.connection, key))?;
        found.map(|key| key.details).ok_or_else(|| self.missing(key.as_str()))
    }

    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError> {
        self.allow(Right::List, key.as_str())?;
        let records = self.looked_up(cx, key.as_str(), |view| {
            view.records("WHERE keys.name = ?1 ORDER BY versions.number", params![key.as_str()])
        })?;
        if records.is_empty() {
            return Err(self.missing(key.as_str()));
        }
        Ok(records.iter().map(|record| (record.number, self.described(record))).collect())
    }

    fn backup(&self, key: &KeyName, to: Option<&BackupRecipient>, cx: &OpContext) -> Result<Vec<u8>, ProviderError> {
        self.backup_at(key, to, PassphraseCost::default(), cx)
    }
}

impl EmbeddedVault {
    pub(super) fn backup_at(
        &self,
        key: &KeyName,
        to: Option<&BackupRecipient>,
        cost: PassphraseCost,
        cx: &OpContext,
    ) -> Result<Vec<u8>, ProviderError> {
        self.allow(Right::Backup, key.as_str())?;
        let to = to.ok_or_else(|| self.declined(ProviderErrorKind::Unsupported, key.as_str(), KeyRefusal::Unsealed))?;
        self.live(self.looked_up(cx, key.as_str(), |view| KeyRow::find(view.connection, key))?, key)?;
        let sealed = SealedBackup::seal_only(&[self], Some(key), Vec::new(), (to, cost), cx);
        let (sealed, _) = sealed.map_err(|error| self.answer_backup(error, key.as_str()))?;
        Ok(sealed.bytes().to_vec())
    }

    fn listed(&self, cx: &OpContext) -> Result<Vec<KeyRow>, ProviderError> {
        self.allow(Right::List, "")?;
        self.looked_up(cx, "", |view| KeyRow::list(view.connection))
    }

    /// Says of a backup what a vault says of itself.
    pub(super) fn answer_backup(&self, error: BackupError, key: &str) -> ProviderError {
        let kind = match error {
            BackupError::Vault(error) => return self.answer(error, key),
            BackupError::Damaged | BackupError::NotABackup => ProviderErrorKind::Damaged,
            BackupError::Locked | BackupError::NeedsKey(_) | BackupError::NeedsPassphrase => ProviderErrorKind::Locked,
            BackupError::Read { .. } | BackupError::Write(_) => ProviderErrorKind::Unavailable,
            BackupError::KeyVaultBackup | BackupError::Newer(_) | BackupError::NoVaults | BackupError::TooLarge => {
                ProviderErrorKind::Unsupported
            }
        };
        ProviderError::new(kind, &self.settings.name, key).because(error)
    }
}
