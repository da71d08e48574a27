//! The row of a key: what holds for all its versions. Authenticated with the vault's own row.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::key::{Deletion, KeyDetails, KeyName, RotationPolicy};
use crate::provider::embedded::columns::{flag, put_bytes, put_time, stored_time, time};
use crate::provider::embedded::error::{Damage, Fault};

/// The row of a key.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) id: i64,
    pub(super) details: KeyDetails,
}

impl KeyRow {
    /// Finds the key of this name, in whatever case.
    pub(super) fn find(connection: &Connection, name: &KeyName) -> Result<Option<Self>, Fault> {
        let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM keys WHERE name = ?1"))?;
        statement.query_row([name.as_str()], |row| Ok(Self::from_row(row))).optional()?.transpose()
    }

    /// Lists all keys in the order of their names.
    pub(super) fn list(connection: &Connection) -> Result<Vec<Self>, Fault> {
        let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM keys ORDER BY name"))?;
        let rows = statement.query_map([], |row| Ok(Self::from_row(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Adds a key, which has no versions yet.
    pub(super) fn insert(connection: &Connection, details: KeyDetails) -> Result<Self, Fault> {
        connection
            .prepare_cached("INSERT INTO keys (name, delete_lock) VALUES (?1, 0)")?
            .execute([details.name.as_str()])?;
        let row = Self { id: connection.last_insert_rowid(), details };
        row.update(connection)?;
        Ok(row)
    }

    /// Writes everything but the name.
    pub(super) fn update(&self, connection: &Connection) -> Result<(), Fault> {
        let details = &self.details;
        let policy = (!details.policy.is_empty()).then(|| details.policy.to_string());
        connection
            .prepare_cached(
                "UPDATE keys SET delete_lock = ?2, policy = ?3, deleted = ?4, recoverable_until = ?5 WHERE id = ?1",
            )?
            .execute(params![
                self.id,
                details.delete_lock,
                policy,
                stored_time(details.deletion.map(|deletion| deletion.deleted))?,
                stored_time(details.deletion.map(|deletion| deletion.recoverable_until))?,
            ])?;
        Ok(())
    }

    /// Removes the key and its versions. SQLite overwrites them: `secure_delete` is on.
    pub(super) fn remove(&self, connection: &Connection) -> Result<(), Fault> {
        connection
            .prepare_cached("DELETE FROM aliases WHERE version IN (SELECT sequence FROM versions WHERE key = ?1)")?
            .execute([self.id])?;
        connection.prepare_cached("DELETE FROM versions WHERE key = ?1")?.execute([self.id])?;
        connection.prepare_cached("DELETE FROM keys WHERE id = ?1")?.execute([self.id])?;
        Ok(())
    }

    /// Appends what the vault's MAC covers of all keys.
    pub(super) fn put_all(connection: &Connection, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let mut statement = connection
            .prepare_cached("SELECT deleted, recoverable_until, id, name, delete_lock, policy FROM keys ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            bytes.push(1);
            bytes.extend_from_slice(&row.get::<_, i64>(2)?.to_le_bytes());
            put_bytes(bytes, row.get_ref(3)?.as_bytes().map_err(|_| Damage::Value)?);
            bytes.push(u8::from(flag(row, 4)?));
            put_bytes(bytes, row.get::<_, Option<String>>(5)?.unwrap_or_default().as_bytes());
            put_time(bytes, time(row, 0)?);
            put_time(bytes, time(row, 1)?);
        }
        Ok(())
    }

    fn from_row(row: &Row<'_>) -> Result<Self, Fault> {
        let policy = match row.get::<_, Option<String>>(3)? {
            Some(text) => text.parse().map_err(|_| Damage::Value)?,
            None => RotationPolicy::default(),
        };
        let name = row.get::<_, String>(1)?.parse().map_err(|_| Damage::Value)?;
        let details = KeyDetails { name, delete_lock: flag(row, 2)?, policy, deletion: deletion(row, 4)? };
        Ok(Self { id: row.get(0)?, details })
    }
}

/// Reads a deletion from two columns, of which both or none are there.
pub(super) fn deletion(row: &Row<'_>, column: usize) -> Result<Option<Deletion>, Fault> {
    match (time(row, column)?, time(row, column + 1)?) {
        (None, None) => Ok(None),
        (Some(deleted), Some(recoverable_until)) => Ok(Some(Deletion { deleted, recoverable_until })),
        _ => Err(Damage::Value.into()),
    }
}

const COLUMNS: &str = "id, name, delete_lock, policy, deleted, recoverable_until";
