//! The one row about the vault itself, which authenticates the other tables with it.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::UnixTime;
use crate::kdf;
use crate::provider::embedded::aliases;
use crate::provider::embedded::columns::{
    array, bounded, flag, put_bytes, put_time, stored, stored_time, time, unsigned,
};
use crate::provider::embedded::error::{Damage, Fault, VaultError};
use crate::provider::embedded::key_row::KeyRow;
use crate::provider::embedded::root::{Protection, RootKey, Wrapping};
use crate::provider::embedded::sealed::{self, SALT_LEN};
use crate::provider::embedded::{Owner, Retention, SoftDelete};
use crate::random::Random;

/// The vault itself.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) vault: [u8; 16],
    pub(super) owner: Owner,
    pub(super) created: UnixTime,
    pub(super) protection: Protection,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) root_key: Vec<u8>,
    /// Counts changes of keys. A count, not a clock, tells whether a backup is newer than a key.
    pub(super) sequence: u64,
    /// What `sequence` was when the newest backup was taken.
    pub(super) backed_up: u64,
    pub(super) backup_time: Option<UnixTime>,
    pub(super) soft_delete: SoftDelete,
    mac: [u8; kdf::LEN],
}

impl Meta {
    /// Describes a new vault, whose root key is sealed with [`protect`](Self::protect) next.
    pub(super) fn new(vault: [u8; 16], owner: Owner, soft_delete: SoftDelete, created: UnixTime) -> Self {
        Self {
            vault,
            owner,
            created,
            protection: Protection::KeyFile,
            salt: [0; SALT_LEN],
            root_key: Vec::new(),
            sequence: 0,
            backed_up: 0,
            backup_time: None,
            soft_delete,
            mac: [0; kdf::LEN],
        }
    }

    /// Reads the row. It is in bounds, but not authenticated: see [`verify`](Self::verify).
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let row = connection.query_row(
            "SELECT vault, owner, created, protection, memory_kib, passes, lanes, salt, root_key, sequence, backed_up, backup_time,
             retention_days, purge_protection, mac FROM meta",
            [],
            |row| Ok(Self::from_row(row)),
        );
        match row.optional()? {
            Some(meta) => meta,
            None => Err(Damage::Authentication.into()),
        }
    }

    fn from_row(row: &Row<'_>) -> Result<Self, Fault> {
        let numbers = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(Self {
            vault: array(row, 0)?,
            owner: Owner::from_number(row.get(1)?).ok_or(Damage::Value)?,
            created: time(row, 2)?.ok_or(Damage::Value)?,
            protection: Protection::from_numbers(numbers).ok_or(Damage::Value)?,
            salt: array(row, 7)?,
            root_key: bounded(row, 8, 32 + sealed::OVERHEAD)?,
            sequence: unsigned(row, 9)?,
            backed_up: unsigned(row, 10)?,
            backup_time: time(row, 11)?,
            soft_delete: SoftDelete {
                retention: Retention::of_days(row.get(12)?).ok_or(Damage::Value)?,
                purge_protection: flag(row, 13)?,
            },
            mac: array(row, 14)?,
        })
    }

    /// Seals the root key under `wrapping`.
    pub(super) fn protect(
        &mut self,
        wrapping: &Wrapping,
        root: &RootKey,
        random: &dyn Random,
    ) -> Result<(), VaultError> {
        (self.protection, self.salt) = (wrapping.protection, wrapping.salt);
        self.root_key = wrapping.seal(root, &self.root_context(), random)?;
        Ok(())
    }

    /// What the sealed root key is bound to.
    pub(super) fn root_context(&self) -> Vec<u8> {
        let mut bytes = b"sobre/1 vault root key".to_vec();
        self.put_identity(&mut bytes);
        bytes
    }

    fn put_identity(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.vault);
        bytes.push(self.owner.number());
        put_time(bytes, Some(self.created));
        for number in self.protection.numbers() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.salt);
    }

    /// Returns the MAC, which is another one after every change of anything that it covers.
    pub(super) fn mac(&self) -> &[u8; kdf::LEN] {
        &self.mac
    }

    /// Counts a change of a key, so that a backup taken before it is an old one.
    pub(super) fn count_change(&mut self) -> Result<(), Fault> {
        self.sequence = self.sequence.checked_add(1).ok_or(Damage::Value)?;
        Ok(())
    }

    /// Writes the row, with the MAC over it and over what the other tables hold now.
    pub(super) fn write(&mut self, connection: &Connection, root: &RootKey) -> Result<(), Fault> {
        self.mac = kdf::hmac(&root.mac, &[&self.authenticated(connection)?]);
        let [protection, memory, passes, lanes] = self.protection.numbers();
        connection.execute(
            "INSERT OR REPLACE INTO meta (one, vault, owner, created, protection, memory_kib, passes, lanes, salt, root_key, sequence,
             backed_up, backup_time, retention_days, purge_protection, mac)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            rusqlite::params![
                self.vault,
                self.owner.number(),
                stored(self.created.0)?,
                protection,
                memory,
                passes,
                lanes,
                self.salt,
                self.root_key,
                stored(self.sequence)?,
                stored(self.backed_up)?,
                stored_time(self.backup_time)?,
                self.soft_delete.retention.days(),
                self.soft_delete.purge_protection,
                self.mac,
            ],
        )?;
        Ok(())
    }

    /// Checks the MAC over this row and over which other rows there are.
    pub(super) fn verify(&self, connection: &Connection, root: &RootKey) -> Result<(), Fault> {
        let bytes = self.authenticated(connection)?;
        if kdf::hmac_matches(&root.mac, &[&bytes], &self.mac) { Ok(()) } else { Err(Damage::Authentication.into()) }
    }

    fn authenticated(&self, connection: &Connection) -> Result<Vec<u8>, Fault> {
        let mut bytes = b"sobre/1 vault".to_vec();
        self.put_identity(&mut bytes);
        put_bytes(&mut bytes, &self.root_key);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.backed_up.to_le_bytes());
        put_time(&mut bytes, self.backup_time);
        bytes.push(self.soft_delete.retention.days());
        bytes.push(u8::from(self.soft_delete.purge_protection));
        KeyRow::put_all(connection, &mut bytes)?;
        // With the MACs goes everything that rows are selected by: a row that a look-up misses is a row that nobody checks.
        let mut versions = connection.prepare_cached(
            "SELECT sequence, key, number, thumbprint, spki_sha256, mac FROM versions ORDER BY sequence",
        )?;
        let mut rows = versions.query([])?;
        while let Some(row) = rows.next()? {
            bytes.push(2);
            for column in 0..3 {
                bytes.extend_from_slice(&row.get::<_, i64>(column)?.to_le_bytes());
            }
            for column in 3..6 {
                put_bytes(&mut bytes, row.get_ref(column)?.as_blob().map_err(|_| Damage::Value)?);
            }
        }
        aliases::put_all(connection, &mut bytes)?;
        Ok(bytes)
    }
}
