//! Looking at a whole vault, whoever uses it.

use crate::provider::OpContext;
use crate::provider::embedded::error::{Damage, PassphraseError, VaultError};
use crate::provider::embedded::record::Record;
use crate::provider::embedded::{EmbeddedVault, Protection, files};

/// What was found of a vault's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultVerdict {
    /// How many versions there are, of deleted keys too.
    pub versions: usize,
    /// How many keys are not deleted.
    pub keys: usize,
    /// How many keys are soft-deleted.
    pub deleted: usize,
    /// How the root key is protected.
    pub protection: Protection,
    /// Whether every record was authenticated. False where a passphrase protects the root key and none was given: then the records are in
    /// bounds, and that is all that is known of them.
    pub authenticated: bool,
}

impl EmbeddedVault {
    /// Reads everything that the vault has: who may use its files, SQLite's own check of the database, and every record with its
    /// authentication. Takes as long as reading the file, and a passphrase where one protects the vault.
    ///
    /// # Errors
    ///
    /// [`VaultError::Damaged`], [`VaultError::Permissions`], [`VaultError::KeyFileMissing`]; [`VaultError::Locked`] for a wrong passphrase; else
    /// any other [`VaultError`].
    pub fn verify(&self, cx: &OpContext) -> Result<VaultVerdict, VaultError> {
        files::check(self.database.path())?;
        let authenticated = match self.root_key(cx) {
            Ok(_) => true,
            Err(VaultError::Passphrase { source: PassphraseError::NotGiven, .. }) => false,
            Err(error) => return Err(error),
        };
        self.inspect(cx, |view| {
            let verdict: String = view.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if verdict != "ok" {
                return Err(Damage::Check.into());
            }
            let mut versions = 0;
            Record::each(view.connection, &view.meta, view.root.as_deref(), "", [], |_| versions += 1)?;
            let rows = super::key_row::KeyRow::list(view.connection)?;
            let deleted = rows.iter().filter(|row| row.details.deletion.is_some()).count();
            let protection = view.meta.protection;
            Ok(VaultVerdict { versions, keys: rows.len() - deleted, deleted, protection, authenticated })
        })
    }
}
