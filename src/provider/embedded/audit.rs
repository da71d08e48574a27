//! The head of the audit log: kept here, so that a log cut off at its end is found out.

use rusqlite::{Connection, OptionalExtension, params};

use crate::kdf;
use crate::provider::OpContext;
use crate::provider::embedded::columns::{array, stored, unsigned};
use crate::provider::embedded::error::Fault;
use crate::provider::embedded::{EmbeddedVault, VaultError};

/// How many records an audit log has, and the authentication code of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of records.
    pub count: u64,
    /// The code of the last one.
    pub mac: [u8; kdf::LEN],
}

impl EmbeddedVault {
    /// Returns the head that was stored last; `None` before the first record. Asks for no passphrase.
    ///
    /// The head is as trustworthy as its own code: the vault does not authenticate it, because a locked vault records too.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn audit_head(&self, cx: &OpContext) -> Result<Option<AuditHead>, VaultError> {
        self.database.read(cx.remaining(), |connection, _| read(connection))
    }

    /// Replaces the head, if it still is `expected`, durably. Returns whether it was. Asks for no passphrase.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn advance_audit_head(
        &self,
        expected: Option<&AuditHead>,
        next: &AuditHead,
        cx: &OpContext,
    ) -> Result<bool, VaultError> {
        self.database.write_aside(cx.remaining(), |connection| {
            if read(connection)?.as_ref() != expected {
                return Ok(false);
            }
            let mut statement =
                connection.prepare_cached("INSERT OR REPLACE INTO audit (one, count, mac) VALUES (1, ?1, ?2)")?;
            statement.execute(params![stored(next.count)?, next.mac])?;
            Ok(true)
        })
    }
}

fn read(connection: &Connection) -> Result<Option<AuditHead>, Fault> {
    let mut statement = connection.prepare_cached("SELECT count, mac FROM audit")?;
    let head =
        |row: &rusqlite::Row<'_>| Ok(unsigned(row, 0).and_then(|count| Ok(AuditHead { count, mac: array(row, 1)? })));
    statement.query_row([], head).optional()?.transpose()
}
