//! The snapshots of a catalogue.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::catalog::error::Fault;
use crate::catalog::snapshot::located;
use crate::catalog::value::{Time, Whole, layer_of, number, path_of};
use crate::catalog::{Catalog, CatalogDamage, CatalogError, Snapshot, WrappedDek};
use crate::clock::UnixTime;
use crate::format::{EpochId, Layer, SnapshotId, Suite};
use crate::key::Thumbprint;

/// What a key version is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub thumbprint: Thumbprint,
    /// Where it was, by one of the snapshots.
    pub key_id: String,
    /// How many snapshots have a DEK wrapped under it.
    pub snapshots: u64,
    /// When the first and the last of them were sealed.
    pub sealed: (UnixTime, UnixTime),
}

/// What the catalogue can speak for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How many snapshots it knows.
    pub snapshots: u64,
    /// How many of them no key has authenticated.
    pub unverified: u64,
    /// The folders that were scanned.
    pub folders: Vec<ScannedFolder>,
}

/// A folder that was scanned, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedFolder {
    /// The folder.
    pub path: PathBuf,
    /// When, the last time.
    pub scanned: UnixTime,
    /// How many snapshots were there.
    pub files: u64,
    /// How many files and folders could not be read.
    pub failures: u64,
}

impl Catalog {
    /// Takes snapshots in, in one transaction. One that was at the same path gives way; if it said the same and was verified, the new one
    /// is verified too.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Busy`], [`CatalogError::Sqlite`], [`CatalogError::Damaged`].
    pub fn register(&self, snapshots: &[Snapshot]) -> Result<(), CatalogError> {
        self.write(|connection| snapshots.iter().try_for_each(|snapshot| insert(connection, snapshot)))
    }

    /// Forgets the snapshot at `path`; `false` when it was not known. The file is left alone.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn forget(&self, path: &Path) -> Result<bool, CatalogError> {
        let path = located(path);
        self.write(|connection| {
            let mut statement = connection.prepare_cached("DELETE FROM snapshots WHERE path = ?1")?;
            Ok(statement.execute([path.as_os_str().as_bytes()])? > 0)
        })
    }

    /// Returns what is known of the snapshot at `path`.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn snapshot(&self, path: &Path) -> Result<Option<Snapshot>, CatalogError> {
        let path = located(path);
        self.read(|connection| at_path(connection, &path))
    }

    /// Returns all snapshots in order of their paths.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, CatalogError> {
        self.read(|connection| {
            let mut found = collect(connection, "SELECT * FROM snapshots ORDER BY path", [])?;
            add_deks(connection, &mut found, "SELECT * FROM wrapped_deks", [])?;
            Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
        })
    }

    /// Returns the snapshots that have a DEK wrapped under this key version, also through an epoch key, each with all its DEKs.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn sealed_with(&self, key: &Thumbprint) -> Result<Vec<Snapshot>, CatalogError> {
        let epochs = self.epochs()?.into_iter().filter(|known| known.record.keys().any(|known| known == *key));
        let mut wanted: Vec<Thumbprint> = epochs.map(|known| known.id().in_entry()).collect();
        wanted.push(*key);
        self.read(|connection| {
            let mut snapshots = Vec::new();
            for thumbprint in &wanted {
                let mut found = collect(
                    connection,
                    "SELECT * FROM snapshots WHERE row IN (SELECT snapshot FROM wrapped_deks WHERE thumbprint = ?1)",
                    [thumbprint.as_bytes().as_slice()],
                )?;
                let deks = "SELECT * FROM wrapped_deks
                            WHERE snapshot IN (SELECT snapshot FROM wrapped_deks WHERE thumbprint = ?1)";
                add_deks(connection, &mut found, deks, [thumbprint.as_bytes().as_slice()])?;
                snapshots.extend(found.into_iter().map(|(_, snapshot)| snapshot));
            }
            snapshots.sort_by(|one, other| one.path.cmp(&other.path));
            snapshots.dedup_by(|one, other| one.path == other.path);
            Ok(snapshots)
        })
    }

    /// Returns the snapshots of an encryption set.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn sealed_in_set(&self, set: &str) -> Result<Vec<Snapshot>, CatalogError> {
        self.read(|connection| {
            let mut found = collect(connection, "SELECT * FROM snapshots WHERE set_name = ?1 ORDER BY path", [set])?;
            let deks = "SELECT * FROM wrapped_deks
                        WHERE snapshot IN (SELECT row FROM snapshots WHERE set_name = ?1)";
            add_deks(connection, &mut found, deks, [set])?;
            Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
        })
    }

    /// Returns the snapshots of an encryption set of which `chosen` says so, by the keys of one layer's DEKs in order of preference. Costs little
    /// for those that are not chosen.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn chosen_in_set(
        &self,
        set: &str,
        layer: Layer,
        chosen: impl Fn(&[(Thumbprint, Option<EpochId>)]) -> bool,
    ) -> Result<Vec<Snapshot>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT row, thumbprint, epoch FROM snapshots JOIN wrapped_deks ON snapshot = row
                 WHERE set_name = ?1 AND layer = ?2 ORDER BY row, slot",
            )?;
            let mut rows = statement.query(params![set, layer.number()])?;
            let (mut picked, mut current, mut deks) = (Vec::new(), None, Vec::new());
            while let Some(row) = rows.next()? {
                let snapshot: i64 = row.get(0)?;
                if let Some(before) = current.replace(snapshot).filter(|before| *before != snapshot) {
                    if chosen(&deks) {
                        picked.push(before);
                    }
                    deks.clear();
                }
                let epoch = row.get::<_, Option<[u8; 16]>>(2)?.map(EpochId::from_bytes);
                deks.push((Thumbprint::from_bytes(row.get(1)?), epoch));
            }
            picked.extend(current.filter(|_| chosen(&deks)));
            let mut found = Vec::with_capacity(picked.len());
            for row in picked {
                found.extend(collect(connection, "SELECT * FROM snapshots WHERE row = ?1", [row])?);
                let last = found.len().saturating_sub(1);
                let one = found.get_mut(last..).unwrap_or_default();
                add_deks(connection, one, "SELECT * FROM wrapped_deks WHERE snapshot = ?1", [row])?;
            }
            found.sort_by(|(_, one), (_, other)| one.path.cmp(&other.path));
            Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
        })
    }

    /// Says of every key version what it is needed for, the most needed first; epoch keys are left out.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn key_uses(&self) -> Result<Vec<KeyUse>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT thumbprint, max(key_id), count(DISTINCT snapshot), min(sealed), max(sealed)
                 FROM wrapped_deks JOIN snapshots ON snapshots.row = wrapped_deks.snapshot
                 WHERE epoch IS NULL GROUP BY thumbprint ORDER BY 3 DESC, thumbprint",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(KeyUse {
                    thumbprint: Thumbprint::from_bytes(row.get(0)?),
                    key_id: row.get(1)?,
                    snapshots: row.get::<_, Whole>(2)?.0,
                    sealed: (row.get::<_, Time>(3)?.0, row.get::<_, Time>(4)?.0),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Says what the catalogue can speak for: snapshots elsewhere are unknown to it.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn coverage(&self) -> Result<Coverage, CatalogError> {
        self.read(|connection| {
            let (snapshots, unverified) =
                connection.query_row("SELECT count(*), coalesce(sum(verified = 0), 0) FROM snapshots", [], |row| {
                    Ok((row.get::<_, Whole>(0)?.0, row.get::<_, Whole>(1)?.0))
                })?;
            let mut statement = connection.prepare_cached("SELECT path, scanned, files, failures FROM folders")?;
            let folders = statement.query_map([], |row| {
                Ok(ScannedFolder {
                    path: path_of(row.get(0)?),
                    scanned: row.get::<_, Time>(1)?.0,
                    files: row.get::<_, Whole>(2)?.0,
                    failures: row.get::<_, Whole>(3)?.0,
                })
            })?;
            Ok(Coverage { snapshots, unverified, folders: folders.collect::<Result<_, _>>()? })
        })
    }

    /// Notes that a folder was scanned.
    pub(super) fn note_scan(&self, folder: &ScannedFolder) -> Result<(), CatalogError> {
        self.write(|connection| {
            connection.execute(
                "INSERT OR REPLACE INTO folders (path, scanned, files, failures) VALUES (?1, ?2, ?3, ?4)",
                params![
                    folder.path.as_os_str().as_bytes(),
                    number(folder.scanned.0),
                    number(folder.files),
                    number(folder.failures)
                ],
            )?;
            Ok(())
        })
    }

    /// Returns the paths of the known snapshots at or below `folder`, in order.
    pub(super) fn paths_below(&self, folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
        // Everything below begins with the folder's name and a slash; '0' comes right after '/'.
        let mut from = folder.as_os_str().as_bytes().to_vec();
        while from.last() == Some(&b'/') {
            from.pop();
        }
        let mut to = from.clone();
        from.push(b'/');
        to.push(b'0');
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT path FROM snapshots WHERE path >= ?1 AND path < ?2 ORDER BY path")?;
            let rows = statement.query_map(params![from, to], |row| row.get(0).map(path_of))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn insert(connection: &Connection, snapshot: &Snapshot) -> Result<(), Fault> {
    let known = at_path(connection, &snapshot.path)?;
    let verified = snapshot.verified || known.is_some_and(|known| known.verified && known.agrees_with(snapshot));
    connection
        .prepare_cached("DELETE FROM snapshots WHERE path = ?1")?
        .execute([snapshot.path.as_os_str().as_bytes()])?;
    connection
        .prepare_cached(
            "INSERT INTO snapshots (path, id, suite, disk_len, file_len, root, sealed, set_name, writable, verified, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            snapshot.path.as_os_str().as_bytes(),
            snapshot.id.as_bytes().as_slice(),
            snapshot.suite.name(),
            snapshot.disk_len.map(number),
            number(snapshot.file_len),
            snapshot.root.as_ref().map(<[u8; 32]>::as_slice),
            number(snapshot.sealed.0),
            snapshot.set,
            snapshot.writable,
            verified,
            number(snapshot.seen.0),
        ])?;
    let row = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached(
        "INSERT INTO wrapped_deks (snapshot, layer, slot, thumbprint, key_id, algorithm, epoch)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for dek in &snapshot.deks {
        statement.execute(params![
            row,
            dek.layer.number(),
            dek.slot,
            dek.thumbprint.as_bytes().as_slice(),
            dek.key_id,
            dek.algorithm,
            dek.epoch.as_ref().map(|epoch| epoch.as_bytes().as_slice()),
        ])?;
    }
    Ok(())
}

fn at_path(connection: &Connection, path: &Path) -> Result<Option<Snapshot>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM snapshots WHERE path = ?1")?;
    let found = statement.query_row([path.as_os_str().as_bytes()], from_row).optional()?;
    let Some(found) = found.transpose()? else { return Ok(None) };
    let row = found.0;
    let mut found = vec![found];
    add_deks(connection, &mut found, "SELECT * FROM wrapped_deks WHERE snapshot = ?1", [row])?;
    Ok(found.pop().map(|(_, snapshot)| snapshot))
}

fn collect(connection: &Connection, query: &str, values: impl rusqlite::Params) -> Result<Vec<(i64, Snapshot)>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map(values, from_row)?;
    let mut found = Vec::new();
    for row in rows {
        found.push(row??);
    }
    Ok(found)
}

fn add_deks(
    connection: &Connection,
    found: &mut [(i64, Snapshot)],
    query: &str,
    values: impl rusqlite::Params,
) -> Result<(), Fault> {
    let mut by_row: std::collections::HashMap<i64, &mut Snapshot> =
        found.iter_mut().map(|(row, snapshot)| (*row, snapshot)).collect();
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        let layer = layer_of(row.get("layer")?)?;
        let dek = WrappedDek {
            layer,
            slot: row.get("slot")?,
            thumbprint: Thumbprint::from_bytes(row.get("thumbprint")?),
            key_id: row.get("key_id")?,
            algorithm: row.get("algorithm")?,
            epoch: row.get::<_, Option<[u8; 16]>>("epoch")?.map(EpochId::from_bytes),
        };
        if let Some(snapshot) = by_row.get_mut(&row.get("snapshot")?) {
            snapshot.deks.push(dek);
        }
    }
    for snapshot in by_row.into_values() {
        snapshot.deks.sort_by_key(|dek| (dek.layer, dek.slot));
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<(i64, Snapshot), Fault>> {
    let suite: String = row.get("suite")?;
    let suites = [Suite::XtsBlake3, Suite::XtsGcm, Suite::XtsGmac];
    let Some(suite) = suites.into_iter().find(|known| known.name() == suite) else {
        return Ok(Err(CatalogDamage::Value.into()));
    };
    let snapshot = Snapshot {
        path: path_of(row.get("path")?),
        id: SnapshotId::from_bytes(row.get("id")?),
        suite,
        disk_len: row.get::<_, Option<Whole>>("disk_len")?.map(|Whole(len)| len),
        file_len: row.get::<_, Whole>("file_len")?.0,
        root: row.get("root")?,
        sealed: row.get::<_, Time>("sealed")?.0,
        set: row.get("set_name")?,
        writable: row.get("writable")?,
        verified: row.get("verified")?,
        seen: row.get::<_, Time>("seen")?.0,
        deks: Vec::new(),
    };
    Ok(Ok((row.get("row")?, snapshot)))
}
