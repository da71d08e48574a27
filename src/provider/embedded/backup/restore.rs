//! Putting the keys of a backup into a vault.

use rusqlite::{Connection, params};

use crate::key::{KeyDetails, KeyName, VersionNumber};
use crate::provider::embedded::EmbeddedVault;
use crate::provider::embedded::aliases;
use crate::provider::embedded::backup::{BackupKey, BackupVault, BackupVersion};
use crate::provider::embedded::error::{Fault, VaultError};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::meta::Meta;
use crate::provider::embedded::record::Record;
use crate::provider::embedded::root::RootKey;
use crate::provider::{OpContext, Right};

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Versions that the vault has now and did not have before.
    pub added: Vec<(KeyName, VersionNumber)>,
    /// Versions that were there already. Their state stays what it was: a restore enables nothing that was disabled since.
    pub present: Vec<(KeyName, VersionNumber)>,
}

impl EmbeddedVault {
    /// Adds the keys of `backup`, all or none, with their version numbers, dates and states. Nothing is replaced.
    ///
    /// The vault counts as backed up afterwards if it did before, or if the backup has every key that the vault has.
    ///
    /// # Errors
    ///
    /// [`VaultError::Conflict`] when a name and number stand for another key in the vault, or the same key under another name or
    /// number; [`VaultError::WrongOwner`] when the backup has the other owner's keys; else any other [`VaultError`].
    pub fn restore(&self, backup: &BackupVault, cx: &OpContext) -> Result<RestoreReport, VaultError> {
        let (expected, found) = (backup.owner, self.settings.owner);
        if expected != found {
            return Err(VaultError::WrongOwner { path: self.settings.path.clone(), expected, found });
        }
        self.permit(Right::Administer)?;
        let root = self.root_key(cx)?;
        self.change(cx, &root, |connection, meta| {
            let was_current = meta.backed_up >= meta.sequence;
            let mut report = RestoreReport::default();
            let mut same = true;
            for key in &backup.keys {
                same &= self.restore_into(connection, meta, &root, key, &mut report)?;
            }
            let all: i64 = connection.query_row("SELECT count(*) FROM versions", [], |row| row.get(0))?;
            let in_backup = report.added.len() + report.present.len();
            if was_current || (same && usize::try_from(all).is_ok_and(|all| all == in_backup)) {
                meta.backed_up = meta.sequence;
                meta.backup_time = meta.backup_time.max(Some(backup.taken));
            }
            meta.write(connection, &root)?;
            Ok(report)
        })
    }

    /// Adds what is missing of one key. Returns whether the vault has it now just as the backup has it.
    fn restore_into(
        &self,
        connection: &Connection,
        meta: &mut Meta,
        root: &RootKey,
        key: &BackupKey,
        report: &mut RestoreReport,
    ) -> Result<bool, Fault> {
        let name = &key.details.name;
        let known = Record::select(connection, meta, Some(root), "WHERE keys.name = ?1", params![name.as_str()])?;
        // The vault's own spelling goes on: the row's authentication has it in it. So do its lock, policy and deletion.
        let row = match KeyRow::find(connection, name)? {
            Some(row) => row,
            None => KeyRow::insert(connection, key.details.clone())?,
        };
        let name = &row.details.name;
        let mut same = row.details == KeyDetails { name: name.clone(), ..key.details.clone() };
        for version in &key.versions {
            let at = |record: &Record| format!("{}@{}", record.name, record.number);
            let conflict = |with: String| {
                let key = format!("{name}@{}", version.number);
                Fault::from(VaultError::Conflict { path: self.settings.path.clone(), key, with })
            };
            match known.iter().find(|record| record.number == version.number) {
                Some(record) if record.thumbprint == version.thumbprint => {
                    report.present.push((name.clone(), version.number));
                    same &= version.is_same(record, &aliases::list(connection, record.sequence)?);
                    continue;
                }
                Some(record) => return Err(conflict(at(record))),
                None => {}
            }
            if let Some(record) = elsewhere(connection, meta, root, version)? {
                return Err(conflict(at(&record)));
            }
            version.draft.insert(connection, meta, root, (&row, version.number), &*self.settings.random)?;
            report.added.push((name.clone(), version.number));
        }
        Ok(same)
    }
}

/// Returns the place at which the vault has the same material already.
fn elsewhere(
    connection: &Connection,
    meta: &Meta,
    root: &RootKey,
    version: &BackupVersion,
) -> Result<Option<Record>, Fault> {
    let found = Record::select(
        connection,
        meta,
        Some(root),
        "WHERE versions.thumbprint = ?1",
        params![version.thumbprint.as_bytes()],
    )?;
    Ok(found.into_iter().next())
}
