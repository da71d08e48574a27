//! Keys of the vaults as a whole: found by name, copied into files and brought back.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::engine::WrappingKey;
use crate::io::{CommitError, PartialFile};
use crate::key::{KeyAlias, KeyName, KeyRef, KeyVersion, SpkiHash, VaultName};
use crate::manage::{Home, HomeError};
use crate::provider::embedded::{BackupError, BackupVault, ByokRecipient, EmbeddedVault, Owner};
use crate::provider::{Audited, BackupRecipient, KeyCensus};

/// A key's vault, and its name there.
type WholeKey = (Arc<Audited<EmbeddedVault>>, KeyName);

impl Home {
    /// Writes one key with all its versions into a sealed file, which appears complete or not at all, mode 0600. Returns its length.
    ///
    /// The vault does not count as backed up: that takes all its keys.
    ///
    /// # Errors
    ///
    /// [`HomeError::Backup`] when there is such a file already, and `replace` is false or it is one of the vault's own; [`HomeError::Engine`] with the vault's refusal.
    pub fn backup_key(
        &self,
        vault: &Audited<EmbeddedVault>,
        key: &KeyName,
        to: &BackupRecipient,
        file: &Path,
        replace: bool,
    ) -> Result<u64, HomeError> {
        if vault.unrecorded().has_file(file) {
            return Err(BackupError::Write(CommitError::Exists(file.to_owned())).into());
        }
        let bytes = KeyCensus::backup(vault, key, Some(to), &self.context())?;
        write_copy(&bytes, file, replace)
    }

    /// Writes one version of a key into a `.byok` file that only the holder of `to` can open. Returns its length.
    ///
    /// # Errors
    ///
    /// As [`backup_key`](Self::backup_key).
    pub fn export_byok(
        &self,
        vault: &Audited<EmbeddedVault>,
        key: &KeyVersion,
        to: &ByokRecipient<'_>,
        file: &Path,
        replace: bool,
    ) -> Result<u64, HomeError> {
        if vault.unrecorded().has_file(file) {
            return Err(BackupError::Write(CommitError::Exists(file.to_owned())).into());
        }
        let bytes = vault.export_byok(key, to, &self.context())?;
        write_copy(&bytes, file, replace)
    }

    /// Returns what a key version is called elsewhere: the hash of its public half first, then what its vault has recorded.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] with the vault's answer; [`HomeError::Vault`].
    pub fn aliases(&self, key: &WrappingKey) -> Result<Vec<KeyAlias>, HomeError> {
        if key.version.id.starts_with("file:") {
            return Ok(vec![KeyAlias::Spki(SpkiHash::of(&key.version.public))]);
        }
        Ok(self.vault(key.provider.name())?.aliases(&key.version.thumbprint, &self.context())?)
    }

    /// Brings the one key of a backup back: into the vault that was chosen, else into the configured one of the same name, else into
    /// the only one of the same owner.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] with the vault's refusal: when the name is taken, also by a deleted key; [`HomeError::VaultNotChosen`],
    /// [`HomeError::VaultNotConfigured`].
    pub fn restore_key(&self, backup: &BackupVault) -> Result<(Arc<Audited<EmbeddedVault>>, KeyName), HomeError> {
        let vault = self.vault(&self.vault_for(backup)?)?;
        let key = vault.restore_key(backup, &self.context())?;
        Ok((vault, key))
    }

    /// Says which vault [`restore_key`](Self::restore_key) takes.
    ///
    /// # Errors
    ///
    /// [`HomeError::VaultNotChosen`], [`HomeError::VaultNotConfigured`].
    pub fn vault_for(&self, backup: &BackupVault) -> Result<VaultName, HomeError> {
        if let Some(only) = self.only() {
            return Ok(only.clone());
        }
        let config = self.config();
        let fits = |name: &VaultName| {
            config.vault.get(name.as_str()).is_some_and(|vault| Owner::from(vault.owner) == backup.owner)
        };
        let mut names = self.vault_names()?;
        names.retain(fits);
        match names.as_slice() {
            _ if names.contains(&backup.name) => Ok(backup.name.clone()),
            [only] => Ok(only.clone()),
            [] => Err(HomeError::VaultNotConfigured {
                name: backup.name.to_string(),
                known: config.vault.keys().cloned().collect(),
                config: self.paths().config.clone(),
            }),
            several => Err(HomeError::VaultNotChosen(several.iter().map(ToString::to_string).collect())),
        }
    }

    /// Returns the vault of a key that is named without a version, and the key's name as the vault spells it. `None` where the words
    /// name a version, a thumbprint or a file.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn whole_key(&self, key: &KeyRef) -> Result<Option<WholeKey>, HomeError> {
        let KeyRef::Named { name, version: None, .. } = key else { return Ok(None) };
        let found = self.find(key)?;
        let vault = self.vault(found.provider.name())?;
        let spelt = found.version.id.parse();
        let name = match spelt {
            Ok(KeyRef::Named { name, .. }) => name,
            _ => name.clone(),
        };
        Ok(Some((vault, name)))
    }
}

fn write_copy(bytes: &[u8], file: &Path, replace: bool) -> Result<u64, HomeError> {
    let partial = PartialFile::open(file, 0o600, replace).map_err(BackupError::Write)?;
    let written = partial.file().set_len(0).and_then(|()| partial.file().write_all(bytes));
    if let Err(source) = written {
        let path = partial.path().to_owned();
        let _ = partial.discard();
        return Err(HomeError::Io { path, source });
    }
    partial.commit().map_err(BackupError::Write)?;
    Ok(bytes.len() as u64)
}
