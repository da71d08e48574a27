//! Backups of whole vaults: one file, under a passphrase or a recovery key. The layout stands in `BACKUP.md`.

mod error;
mod format;
mod payload;
mod restore;

use std::io::Write;
use std::path::Path;

pub use error::BackupError;
pub use format::{BackupFile, BackupLock};
pub use payload::{Backup, BackupKey, BackupVault, BackupVersion};
pub use restore::RestoreReport;

use crate::clock::UnixTime;
use crate::format::EpochRecord;
use crate::io::{CommitError, PartialFile};
use crate::key::{KeyName, VaultName};
use crate::provider::embedded::aliases;
use crate::provider::embedded::error::{PassphraseError, VaultError};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::{EmbeddedVault, PassphraseCost};
use crate::provider::{BackupRecipient, OpContext, Right};

/// A backup in memory, which the vaults don't count yet: [`write`](Self::write) it.
#[derive(Debug)]
pub struct SealedBackup<'a> {
    bytes: Vec<u8>,
    /// What each vault's sequence was when its keys were read.
    vaults: Vec<(&'a EmbeddedVault, u64)>,
    taken: UnixTime,
}

/// What a backup holds, by vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Each vault with its number of key versions.
    pub vaults: Vec<(VaultName, usize)>,
    /// How many records of epoch keys.
    pub epochs: usize,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// Takes the keys of `vaults`, writes them and the records of their epoch keys to `file` and notes in the vaults that they are backed up.
///
/// The file appears complete or not at all, mode 0600; an existing one is replaced only with `replace`. A key that is made while the
/// backup runs does not count as backed up.
///
/// # Errors
///
/// [`BackupError::Write`], [`BackupError::Vault`], [`BackupError::TooLarge`].
pub fn write_backup(
    vaults: &[&EmbeddedVault],
    epochs: Vec<EpochRecord>,
    to: &BackupRecipient,
    file: &Path,
    replace: bool,
    cx: &OpContext,
) -> Result<BackupReport, BackupError> {
    let (backup, report) = SealedBackup::seal_with(vaults, epochs, to, cx)?;
    backup.write(file, replace, cx)?;
    Ok(report)
}

impl<'a> SealedBackup<'a> {
    /// Takes the keys of `vaults` and seals them. Asks for the passphrases of vaults that are still locked.
    ///
    /// # Errors
    ///
    /// [`BackupError::Vault`], [`BackupError::NoVaults`], [`BackupError::TooLarge`].
    pub fn seal(
        vaults: &[&'a EmbeddedVault],
        to: &BackupRecipient,
        cx: &OpContext,
    ) -> Result<(Self, BackupReport), BackupError> {
        Self::seal_with(vaults, Vec::new(), to, cx)
    }

    /// As [`seal`](Self::seal), with the records of epoch keys that are wrapped under the vaults' keys.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub fn seal_with(
        vaults: &[&'a EmbeddedVault],
        epochs: Vec<EpochRecord>,
        to: &BackupRecipient,
        cx: &OpContext,
    ) -> Result<(Self, BackupReport), BackupError> {
        Self::seal_only(vaults, None, epochs, (to, PassphraseCost::default()), cx)
    }

    #[cfg(test)]
    pub(super) fn seal_at(
        vaults: &[&'a EmbeddedVault],
        to: &BackupRecipient,
        cost: PassphraseCost,
        cx: &OpContext,
    ) -> Result<(Self, BackupReport), BackupError> {
        Self::seal_only(vaults, None, Vec::new(), (to, cost), cx)
    }

    /// Seals all keys, or only one.
    pub(super) fn seal_only(
        vaults: &[&'a EmbeddedVault],
        only: Option<&KeyName>,
        epochs: Vec<EpochRecord>,
        (to, cost): (&BackupRecipient, PassphraseCost),
        cx: &OpContext,
    ) -> Result<(Self, BackupReport), BackupError> {
        let first = vaults.first().ok_or(BackupError::NoVaults)?;
        if matches!(to, BackupRecipient::Passphrase(passphrase) if passphrase.is_empty()) {
            let vault = first.settings.name.clone();
            return Err(VaultError::Passphrase { vault, source: PassphraseError::Empty }.into());
        }
        let taken = first.settings.clock.now();
        let (mut contents, mut sequences, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for &vault in vaults {
            let (content, sequence) = vault.taken(only, taken, cx)?;
            counts.push((content.name.clone(), content.keys.iter().map(|key| key.versions.len()).sum()));
            contents.push(content);
            sequences.push((vault, sequence));
        }
        let epoch_keys = epochs.len();
        let payload = Backup { taken, vaults: contents, epochs }.encoded()?;
        let bytes = format::sealed(&payload, to, cost, &*first.settings.random)?;
        let report = BackupReport { vaults: counts, epochs: epoch_keys, bytes: bytes.len() as u64 };
        Ok((Self { bytes, vaults: sequences, taken }, report))
    }

    /// Returns the file's bytes, for a caller that keeps them elsewhere than in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the file durably, then notes in the vaults that they are backed up. A file of these vaults is never replaced.
    ///
    /// # Errors
    ///
    /// [`BackupError::Write`]; [`BackupError::Vault`] when the file was written but a vault could not note it.
    pub fn write(&self, file: &Path, replace: bool, cx: &OpContext) -> Result<(), BackupError> {
        if self.vaults.iter().any(|(vault, _)| vault.has_file(file)) {
            return Err(CommitError::Exists(file.to_owned()).into());
        }
        let partial = PartialFile::open(file, 0o600, replace)?;
        let write = || {
            // An abandoned run may have left something longer.
            partial.file().set_len(0)?;
            partial.file().write_all(&self.bytes)
        };
        if let Err(error) = write() {
            let error = VaultError::io(partial.path(), error);
            let _ = partial.discard();
            return Err(error.into());
        }
        partial.commit()?;
        self.record(cx)
    }

    /// Notes in the vaults that they are backed up, for a caller that has stored [`bytes`](Self::bytes) safely.
    ///
    /// # Errors
    ///
    /// [`BackupError::Vault`].
    pub fn record(&self, cx: &OpContext) -> Result<(), BackupError> {
        for &(vault, sequence) in &self.vaults {
            let root = vault.root_key(cx)?;
            vault.change(cx, &root, |connection, meta| {
                // Two backups may end in the other order than they began.
                meta.backed_up = meta.backed_up.max(sequence);
                meta.backup_time = meta.backup_time.max(Some(self.taken));
                meta.write(connection, &root)
            })?;
        }
        Ok(())
    }
}

impl EmbeddedVault {
    /// Opens all keys or one, in one consistent state, and returns the sequence of that state.
    fn taken(&self, only: Option<&KeyName>, taken: UnixTime, cx: &OpContext) -> Result<(BackupVault, u64), VaultError> {
        self.permit(Right::Backup)?;
        let root = self.root_key(cx)?;
        self.inspect(cx, |view| {
            let mut rows = KeyRow::list(view.connection)?;
            rows.retain(|row| only.is_none_or(|only| row.details.name.as_str().eq_ignore_ascii_case(only.as_str())));
            let mut keys = Vec::new();
            for row in rows {
                let mut versions = Vec::new();
                for record in view.records("WHERE keys.id = ?1 ORDER BY versions.number", [row.id])? {
                    let pkcs8 = record.open(&view.meta, &root)?;
                    let known = aliases::list(view.connection, record.sequence)?;
                    versions.push(BackupVersion::of(&record, pkcs8, known));
                }
                keys.push(BackupKey { details: row.details, versions });
            }
            let vault = BackupVault {
                name: self.settings.name.clone(),
                id: view.meta.vault,
                owner: view.meta.owner,
                created: view.meta.created,
                soft_delete: view.meta.soft_delete,
                taken,
                keys,
            };
            Ok((vault, view.meta.sequence))
        })
    }
}
