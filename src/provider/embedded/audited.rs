//! What an embedded vault can do beyond the traits, when it is recorded.

use std::path::Path;

use crate::audit::{Operation, Properties, Text};
use crate::key::{KeyAlias, KeyName, KeyVersion, Thumbprint, VersionNumber};
use crate::oaep::RsaPrivateKey;
use crate::provider::audited::of_version;
use crate::provider::embedded::{
    BackupStatus, BackupVault, ByokRecipient, EmbeddedVault, Owner, Protection, SoftDelete, VaultError,
};
use crate::provider::{Audited, OpContext, ProviderError};

/// What says nothing about single keys leaves no record.
impl Audited<EmbeddedVault> {
    /// Returns the database's path.
    pub fn path(&self) -> &Path {
        self.unrecorded().path()
    }

    /// Returns whose keys the vault holds.
    pub fn owner(&self) -> Owner {
        self.unrecorded().owner()
    }

    /// Returns how the root key is protected.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn protection(&self, cx: &OpContext) -> Result<Protection, VaultError> {
        self.unrecorded().protection(cx)
    }

    /// Returns what becomes of deleted keys.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn soft_delete(&self, cx: &OpContext) -> Result<SoftDelete, VaultError> {
        self.unrecorded().soft_delete(cx)
    }

    /// Says whether every key exists in a backup too (R43).
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn backup_status(&self, cx: &OpContext) -> Result<BackupStatus, VaultError> {
        self.unrecorded().backup_status(cx)
    }

    /// As [`EmbeddedVault::export_byok`], recorded as a backup of the key (R76).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn export_byok(
        &self,
        key: &KeyVersion,
        to: &ByokRecipient<'_>,
        cx: &OpContext,
    ) -> Result<Vec<u8>, ProviderError> {
        let about =
            Properties { key: Some(Text::new(&key.id)), thumbprint: Some(key.thumbprint), ..Properties::default() };
        self.administer(
            Operation::KeyBackup,
            about,
            cx,
            || self.unrecorded().export_byok(key, to, cx),
            |_, about| about,
        )
    }

    /// As [`EmbeddedVault::aliases`]. Who may see a key may see what it is called.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn aliases(&self, of: &Thumbprint, cx: &OpContext) -> Result<Vec<KeyAlias>, ProviderError> {
        self.unrecorded().aliases(of, cx)
    }

    /// As [`EmbeddedVault::import_known`], recorded.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn import_known(
        &self,
        key: &KeyName,
        private: &RsaPrivateKey,
        aliases: &[KeyAlias],
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        let about = Properties { key: Some(Text::new(key.as_str())), ..Properties::default() };
        let act = || self.unrecorded().import_known(key, private, aliases, cx);
        self.administer(Operation::KeyImport, about, cx, act, of_version)
    }

    /// As [`EmbeddedVault::change_aliases`], recorded.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn change_aliases(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        add: &[KeyAlias],
        remove: &[KeyAlias],
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        let text = version.map_or_else(|| key.to_string(), |number| format!("{key}@{number}"));
        let about = Properties { key: Some(Text::new(&text)), ..Properties::default() };
        let act = || self.unrecorded().change_aliases(key, version, add, remove, cx);
        self.administer(Operation::KeyUpdate, about, cx, act, of_version)
    }

    /// As [`EmbeddedVault::restore_key`], recorded.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn restore_key(&self, backup: &BackupVault, cx: &OpContext) -> Result<KeyName, ProviderError> {
        let key = backup.keys.first().map(|key| Text::new(key.details.name.as_str()));
        let about = Properties { key, ..Properties::default() };
        self.administer(
            Operation::KeyRestore,
            about,
            cx,
            || self.unrecorded().restore_key(backup, cx),
            |_, about| about,
        )
    }
}
