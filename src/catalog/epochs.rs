//! Epoch records: copies of what lies beside the snapshots, so that a folder that lost its own still opens.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::catalog::error::Fault;
use crate::catalog::value::{layer_of, number, path_of};
use crate::catalog::{Catalog, CatalogDamage, CatalogError, SetName};
use crate::format::{EpochId, EpochRecord, Layer};

/// An epoch record that the catalogue knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEpoch {
    /// The record.
    pub record: EpochRecord,
    /// The encryption set that it was made for.
    pub set: Option<String>,
    /// Whether that set seals with it.
    pub active: bool,
    /// Whether a key has authenticated it: one that was only found in a folder takes no other's place.
    pub verified: bool,
}

impl KnownEpoch {
    /// Returns the epoch key's name.
    pub fn id(&self) -> EpochId {
        self.record.header.id
    }
}

impl Catalog {
    /// Keeps a record, unless a newer or better proved one of the same epoch key is known. Returns whether it was taken over.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Busy`], [`CatalogError::Sqlite`], [`CatalogError::Damaged`].
    pub fn keep_epoch(&self, record: &EpochRecord, verified: bool) -> Result<bool, CatalogError> {
        self.write(|connection| {
            let known = one(connection, &record.header.id)?;
            let replaces = match &known {
                None => true,
                Some(known) if known.verified && !verified => false,
                Some(known) if known.verified && known.record.header != record.header => false,
                Some(known) if verified && !known.verified => true,
                Some(known) => known.record.envelope.generation < record.envelope.generation,
            };
            if replaces {
                insert(connection, record, known.is_some_and(|known| known.active), verified)?;
            }
            Ok(replaces)
        })
    }

    /// Keeps the record of a new epoch key, with which the set seals from now on.
    ///
    /// # Errors
    ///
    /// [`CatalogError::SetNotFound`]; else as [`keep_epoch`](Self::keep_epoch).
    pub fn start_epoch(&self, set: &SetName, record: &EpochRecord) -> Result<(), CatalogError> {
        self.write(|connection| {
            let there = "SELECT 1 FROM sets WHERE name = ?1";
            if connection.query_row(there, [set.as_str()], |_| Ok(())).optional()?.is_none() {
                return Err(CatalogError::SetNotFound(set.to_string()).into());
            }
            connection.execute(
                "UPDATE epochs SET active = 0 WHERE set_name = ?1 AND layer = ?2",
                params![set.as_str(), record.header.layer.number()],
            )?;
            insert(connection, record, true, true)
        })
    }

    /// Returns what is known of an epoch key.
    ///
    /// # Errors
    ///
    /// As [`keep_epoch`](Self::keep_epoch).
    pub fn epoch(&self, id: &EpochId) -> Result<Option<KnownEpoch>, CatalogError> {
        self.read(|connection| one(connection, id))
    }

    /// Returns all epoch keys that are known.
    ///
    /// # Errors
    ///
    /// As [`keep_epoch`](Self::keep_epoch).
    pub fn epochs(&self) -> Result<Vec<KnownEpoch>, CatalogError> {
        self.read(|connection| collect(connection, "SELECT * FROM epochs ORDER BY id", []))
    }

    /// Returns the epoch keys of a set's layer, the newest first.
    ///
    /// # Errors
    ///
    /// As [`keep_epoch`](Self::keep_epoch).
    pub fn epochs_of_set(&self, set: &str, layer: Layer) -> Result<Vec<KnownEpoch>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM epochs WHERE set_name = ?1 AND layer = ?2 ORDER BY created DESC, id";
            collect(connection, query, params![set, layer.number()])
        })
    }

    /// Returns every folder that has snapshots under an epoch key, and how many.
    ///
    /// # Errors
    ///
    /// As [`keep_epoch`](Self::keep_epoch).
    pub fn epoch_folders(&self, id: &EpochId) -> Result<Vec<(PathBuf, u64)>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT path FROM snapshots WHERE row IN (SELECT snapshot FROM wrapped_deks WHERE epoch = ?1) ORDER BY path",
            )?;
            let mut rows = statement.query([id.as_bytes().as_slice()])?;
            let mut folders: std::collections::HashMap<Vec<u8>, u64> = std::collections::HashMap::new();
            while let Some(row) = rows.next()? {
                let path = row.get_ref(0)?.as_blob().map_err(|_| CatalogDamage::Value)?;
                let folder = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash.max(1));
                let folder = path.get(..folder).unwrap_or_default();
                match folders.get_mut(folder) {
                    Some(count) => *count += 1,
                    None => drop(folders.insert(folder.to_vec(), 1)),
                }
            }
            let mut folders: Vec<_> = folders.into_iter().map(|(path, count)| (path_of(path), count)).collect();
            folders.sort();
            Ok(folders)
        })
    }

    /// Reads what epoch keys there are in a catalogue that can't be used any more.
    pub fn salvage_epochs(path: &Path) -> Vec<EpochRecord> {
        let read = || -> Result<Vec<KnownEpoch>, Fault> {
            collect(&crate::catalog::database::read_only(path)?, "SELECT * FROM epochs", [])
        };
        read().map_or_else(|_| Vec::new(), |known| known.into_iter().map(|known| known.record).collect())
    }
}

fn insert(connection: &Connection, record: &EpochRecord, active: bool, verified: bool) -> Result<(), Fault> {
    let set = record.section().map(|(section, _)| section.set.as_str()).filter(|set| !set.is_empty());
    connection.execute(
        "INSERT OR REPLACE INTO epochs (id, set_name, layer, created, active, verified, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            record.header.id.as_bytes().as_slice(),
            set,
            record.header.layer.number(),
            number(record.header.created.0),
            active,
            verified,
            record.encode(),
        ],
    )?;
    Ok(())
}

fn one(connection: &Connection, id: &EpochId) -> Result<Option<KnownEpoch>, Fault> {
    Ok(collect(connection, "SELECT * FROM epochs WHERE id = ?1", [id.as_bytes().as_slice()])?.pop())
}

fn collect(connection: &Connection, query: &str, values: impl rusqlite::Params) -> Result<Vec<KnownEpoch>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(from_row(row)?);
    }
    Ok(found)
}

fn from_row(row: &Row<'_>) -> Result<KnownEpoch, Fault> {
    let bytes: Vec<u8> = row.get("record")?;
    let record = EpochRecord::decode(&bytes).map_err(|_| CatalogDamage::Value)?;
    if layer_of(row.get("layer")?)? != record.header.layer {
        return Err(CatalogDamage::Value.into());
    }
    Ok(KnownEpoch { record, set: row.get("set_name")?, active: row.get("active")?, verified: row.get("verified")? })
}
