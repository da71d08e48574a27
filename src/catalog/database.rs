//! The SQLite database of the catalogue: how it is made, opened, checked and locked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::catalog::error::Fault;
use crate::catalog::{CatalogDamage, CatalogError};
use crate::io::{CommitError, PartialFile, partial_path};
use crate::provider::embedded::access::{self, Access};

/// The catalogue of a home. Shared between threads; several processes use one at once.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Catalog {
    /// Opens and checks a catalogue, waiting for locks no longer than `wait`. Costs one reading of the file.
    ///
    /// # Errors
    ///
    /// [`NotFound`](CatalogError::NotFound); [`Damaged`](CatalogError::Damaged), [`Newer`](CatalogError::Newer): then it can be made anew from
    /// the snapshots; [`Busy`](CatalogError::Busy), [`Sqlite`](CatalogError::Sqlite), [`SqliteTooOld`](CatalogError::SqliteTooOld),
    /// [`Io`](CatalogError::Io).
    pub fn open(path: &Path, wait: Duration) -> Result<Self, CatalogError> {
        assert_sqlite(rusqlite::version_number())?;
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {}
            Ok(_) => {
                let damage = CatalogDamage::NotACatalog;
                return Err(CatalogError::Damaged { path: path.to_owned(), damage });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CatalogError::NotFound(path.to_owned()));
            }
            Err(error) => return Err(CatalogError::io(path, error)),
        }
        let open = || {
            connect(path, wait, Access::Shared).or_else(|fault| match fault.otherwise(path) {
                Some(access) => connect(path, wait, access),
                None => Err(fault),
            })
        };
        let connection = access::patiently(wait, Fault::is_busy, open).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Opens a catalogue, and makes it and its folder where there is none. Of many processes that do it at once, one makes it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), without `NotFound`.
    pub fn open_or_create(path: &Path, wait: Duration) -> Result<Self, CatalogError> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            match Self::open(path, wait) {
                Err(CatalogError::NotFound(_)) => {}
                opened => return opened,
            }
            match make(path) {
                // Another process makes it, or has just made it.
                Err(CatalogError::Busy(_)) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
    }

    /// Gives the files of a catalogue that can't be used names that end in `.lostN`, so that it can be made anew. Nothing is removed.
    /// Returns the new name of the database.
    ///
    /// # Errors
    ///
    /// [`Io`](CatalogError::Io).
    pub fn set_aside(path: &Path) -> Result<PathBuf, CatalogError> {
        let aside = |number: u32| beside(path, &format!(".lost{number}"));
        let free = (1..=MOST_ASIDE).map(aside).find(|path| path.symlink_metadata().is_err());
        let aside = free.ok_or_else(|| CatalogError::io(path, io::ErrorKind::AlreadyExists.into()))?;
        for suffix in ["-wal", "-shm", ""] {
            let (from, to) = (beside(path, suffix), beside(&aside, suffix));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => {}
                Err(error) => return Err(CatalogError::io(&from, error)),
                Ok(()) => {}
            }
        }
        Ok(aside)
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a consistent state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, CatalogError> {
        self.transaction(TransactionBehavior::Deferred, read)
    }

    /// Changes the state: from one process at a time, all or nothing, durable when this returns.
    pub(super) fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, CatalogError> {
        self.transaction(TransactionBehavior::Immediate, write)
    }

    fn transaction<T>(
        &self,
        behavior: TransactionBehavior,
        act: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, CatalogError> {
        // A thread that panicked inside has rolled its transaction back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || -> Result<T, Fault> {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault| fault.at(&self.path))
    }
}

/// Refuses versions that can corrupt a database in WAL mode.
fn assert_sqlite(version: i32) -> Result<(), CatalogError> {
    if version < OLDEST_SQLITE { Err(CatalogError::SqliteTooOld(version)) } else { Ok(()) }
}

/// Makes an empty catalogue under another name and gives it its own when it is complete.
fn make(path: &Path) -> Result<(), CatalogError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| CatalogError::io(folder, error))?;
    }
    let partial = match PartialFile::open(path, 0o600, false) {
        Err(CommitError::Exists(_)) => return Ok(()),
        partial => partial?,
    };
    let at = partial_path(path);
    partial.file().set_len(0).map_err(|error| CatalogError::io(&at, error))?;
    // What a killed process left would be taken for this one's log.
    for suffix in ["-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(&at, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(CatalogError::io(&at, error)),
            _ => {}
        }
    }
    fill(&at).map_err(|fault| fault.at(&at))?;
    match partial.commit() {
        Err(CommitError::Exists(_)) => Ok(()),
        done => Ok(done?),
    }
}

fn fill(path: &Path) -> Result<(), Fault> {
    let mut connection = Connection::open_with_flags(path, FLAGS)?;
    configure(&connection, Access::Shared)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Opens a catalogue without any of the checks, for reading what can still be read.
pub(super) fn read_only(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn connect(path: &Path, wait: Duration, access: Access) -> Result<Connection, Fault> {
    let connection = access.open(path, wait.min(LONGEST_WAIT))?;
    connection.set_prepared_statement_cache_capacity(64);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // Before anything is written, even a change of the journal mode.
    if pragma("application_id")? != APPLICATION_ID {
        return Err(CatalogDamage::NotACatalog.into());
    }
    let schema = pragma("user_version")?;
    if schema > SCHEMA_VERSION {
        return Err(CatalogError::Newer { path: path.to_owned(), schema }.into());
    }
    if schema != SCHEMA_VERSION {
        return Err(CatalogDamage::Schema.into());
    }
    configure(&connection, access)?;
    if objects(&connection)? != expected_objects()? {
        return Err(CatalogDamage::Schema.into());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(CatalogDamage::Check.into());
    }
    Ok(connection)
}

fn configure(connection: &Connection, access: Access) -> Result<(), Fault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;
         PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
    )?;
    if access == Access::Immutable {
        return Ok(());
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(CatalogDamage::Check.into());
    }
    // After the journal mode, on which its default depends.
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    Ok(())
}

/// Lists every table, index, view and trigger: a hostile database could bring triggers that run inside our transactions.
fn objects(connection: &Connection) -> Result<Vec<Object>, Fault> {
    let mut statement =
        connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn expected_objects() -> Result<Vec<Object>, Fault> {
    let model = Connection::open_in_memory()?;
    model.execute_batch(SCHEMA)?;
    objects(&model)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

type Object = (String, String, String, Option<String>);

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// 3.51.3: the releases before it can corrupt a database in WAL mode (sqlite.org/wal.html, "WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;
/// "sobc".
const APPLICATION_ID: i64 = 0x736f_6263;
const SCHEMA_VERSION: i64 = 1;
/// SQLite counts milliseconds in 32 bits.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
const PAUSE: Duration = Duration::from_millis(20);
const MOST_ASIDE: u32 = 999;

/// Paths are bytes: a file's name need not be text. Times are seconds since 1970.
const SCHEMA: &str = "
CREATE TABLE snapshots (
    row INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    id BLOB NOT NULL,
    suite TEXT NOT NULL,
    disk_len INTEGER,
    file_len INTEGER NOT NULL,
    root BLOB,
    sealed INTEGER NOT NULL,
    set_name TEXT COLLATE NOCASE,
    writable INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;
CREATE INDEX snapshots_set ON snapshots (set_name) WHERE set_name IS NOT NULL;
CREATE INDEX snapshots_id ON snapshots (id);
CREATE TABLE wrapped_deks (
    snapshot INTEGER NOT NULL REFERENCES snapshots (row) ON DELETE CASCADE,
    layer INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    thumbprint BLOB NOT NULL,
    key_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    epoch BLOB,
    PRIMARY KEY (snapshot, layer, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX wrapped_deks_thumbprint ON wrapped_deks (thumbprint);
CREATE INDEX wrapped_deks_epoch ON wrapped_deks (epoch) WHERE epoch IS NOT NULL;
CREATE TABLE epochs (
    id BLOB PRIMARY KEY,
    set_name TEXT COLLATE NOCASE,
    layer INTEGER NOT NULL,
    created INTEGER NOT NULL,
    active INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX epochs_active ON epochs (set_name, layer) WHERE active = 1;
CREATE TABLE folders (
    path BLOB PRIMARY KEY,
    scanned INTEGER NOT NULL,
    files INTEGER NOT NULL,
    failures INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sets (
    row INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    kind TEXT NOT NULL,
    location TEXT,
    subscription TEXT,
    auto_rotate INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    recovery INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE set_keys (
    encryption_set INTEGER NOT NULL REFERENCES sets (row) ON DELETE CASCADE,
    layer INTEGER NOT NULL,
    thumbprint BLOB NOT NULL,
    key_id TEXT NOT NULL,
    PRIMARY KEY (encryption_set, layer)
) STRICT, WITHOUT ROWID;
CREATE INDEX set_keys_thumbprint ON set_keys (thumbprint);
CREATE TABLE set_links (
    encryption_set INTEGER NOT NULL REFERENCES sets (row) ON DELETE CASCADE,
    thumbprint BLOB NOT NULL,
    key_id TEXT NOT NULL,
    PRIMARY KEY (encryption_set, thumbprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX set_links_thumbprint ON set_links (thumbprint);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    set_name TEXT COLLATE NOCASE,
    from_thumbprint BLOB,
    to_thumbprint BLOB,
    state TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    error TEXT
) STRICT;
CREATE UNIQUE INDEX jobs_running ON jobs (set_name) WHERE state = 'running' AND set_name IS NOT NULL;
CREATE TABLE job_items (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (job, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_items_state ON job_items (job, state, path);
";
