//! The SQLite database of a vault: how it is opened, checked and locked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::provider::embedded::access::{self, Access};
use crate::provider::embedded::error::{Damage, Fault, VaultError};

/// One connection, shared by the threads of this process.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connected: Mutex<Connected>,
}

#[derive(Debug)]
struct Connected {
    connection: Connection,
    /// Counts what this connection has written to the keys: SQLite's own count leaves it out.
    writes: u64,
}

/// Which state of the keys a connection sees. While the stamp is the same, so is every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    others: i64,
    writes: u64,
}

impl Database {
    /// Opens and checks an existing vault's database.
    pub(super) fn open(path: &Path, wait: Duration) -> Result<Self, VaultError> {
        assert_sqlite(rusqlite::version_number())?;
        let open = || {
            connect(path, wait, Access::Shared).or_else(|fault| match fault.otherwise(path) {
                Some(access) => connect(path, wait, access),
                None => Err(fault),
            })
        };
        let connection = access::patiently(wait, Fault::is_busy, open).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_owned(), connected: Mutex::new(Connected { connection, writes: 0 }) })
    }

    /// Fills an empty file with a vault's tables and whatever `fill` adds, and closes it: no log is left beside it.
    pub(super) fn make(path: &Path, fill: impl FnOnce(&Connection) -> Result<(), Fault>) -> Result<(), VaultError> {
        assert_sqlite(rusqlite::version_number())?;
        let make = || -> Result<(), Fault> {
            let mut connection = Connection::open_with_flags(path, FLAGS)?;
            configure(&connection, Access::Shared)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            fill(&transaction)?;
            transaction.commit()?;
            connection.close().map_err(|(_, error)| error.into())
        };
        make().map_err(|fault| fault.at(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a consistent state, waiting for locks no longer than `wait`.
    pub(super) fn read<T>(
        &self,
        wait: Duration,
        read: impl FnOnce(&Connection, Stamp) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let mut connected = self.connected();
        let Connected { connection, writes } = &mut *connected;
        transaction(connection, *writes, TransactionBehavior::Deferred, wait, read)
            .map_err(|fault| fault.at(&self.path))
    }

    /// Changes the state: from one process at a time, all or nothing, durable when this returns. The error is as it came, and leaves
    /// everything as it was.
    pub(super) fn write<T, E: From<rusqlite::Error>>(
        &self,
        wait: Duration,
        write: impl FnOnce(&Connection, Stamp) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connected = self.connected();
        let Connected { connection, writes } = &mut *connected;
        let before = *writes;
        *writes = writes.wrapping_add(1);
        transaction(connection, before, TransactionBehavior::Immediate, wait, write)
    }

    /// As [`write`](Self::write), for what is no part of the keys' state.
    pub(super) fn write_aside<T>(
        &self,
        wait: Duration,
        write: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let mut connected = self.connected();
        let Connected { connection, writes } = &mut *connected;
        let act = |connection: &Connection, _: Stamp| write(connection);
        transaction(connection, *writes, TransactionBehavior::Immediate, wait, act)
            .map_err(|fault| fault.at(&self.path))
    }

    /// Returns which state the next read would see, if nothing is written meanwhile. Cheap: one read of shared memory.
    pub(super) fn stamp(&self, wait: Duration) -> Result<Stamp, VaultError> {
        let connected = self.connected();
        let stamp = || {
            connected.connection.busy_timeout(wait.min(LONGEST_WAIT))?;
            stamp(&connected.connection, connected.writes)
        };
        stamp().map_err(|error| Fault::from(error).at(&self.path))
    }

    /// Empties the write-ahead log, so that overwritten records don't live on in it. Left undone while another process reads: then
    /// the last process that closes the vault does it.
    pub(super) fn truncate_log(&self, wait: Duration) -> Result<(), VaultError> {
        let connected = self.connected();
        let truncate = || {
            connected.connection.busy_timeout(wait.min(LONGEST_WAIT))?;
            connected.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        truncate().map_err(|error| Fault::from(error).at(&self.path))
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        // A thread that panicked inside has rolled its transaction back.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transaction<T, E: From<rusqlite::Error>>(
    connection: &mut Connection,
    writes: u64,
    behavior: TransactionBehavior,
    wait: Duration,
    act: impl FnOnce(&Connection, Stamp) -> Result<T, E>,
) -> Result<T, E> {
    connection.busy_timeout(wait.min(LONGEST_WAIT))?;
    let transaction = connection.transaction_with_behavior(behavior)?;
    // The first read of the transaction: from here on it sees one state.
    let stamp = stamp(&transaction, writes)?;
    let value = act(&transaction, stamp)?;
    transaction.commit()?;
    Ok(value)
}

fn stamp(connection: &Connection, writes: u64) -> Result<Stamp, rusqlite::Error> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    Ok(Stamp { others: statement.query_row([], |row| row.get(0))?, writes })
}

/// Refuses versions that can corrupt a database in WAL mode.
fn assert_sqlite(version: i32) -> Result<(), VaultError> {
    if version < OLDEST_SQLITE { Err(VaultError::SqliteTooOld(version)) } else { Ok(()) }
}

fn connect(path: &Path, wait: Duration, access: Access) -> Result<Connection, Fault> {
    let connection = access.open(path, wait.min(LONGEST_WAIT))?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // Before anything is written, even a change of the journal mode.
    if pragma("application_id")? != APPLICATION_ID {
        return Err(VaultError::NotAVault(path.to_owned()).into());
    }
    let schema = pragma("user_version")?;
    if schema > SCHEMA_VERSION {
        return Err(VaultError::Newer { path: path.to_owned(), schema }.into());
    }
    if schema != SCHEMA_VERSION {
        return Err(Damage::Schema.into());
    }
    configure(&connection, access)?;
    if objects(&connection)? != expected_objects()? {
        return Err(Damage::Schema.into());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Damage::Check.into());
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
        return Err(Damage::Check.into());
    }
    // After the journal mode, on which the default of the first depends.
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
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

type Object = (String, String, String, Option<String>);

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// 3.51.3: the releases before it can corrupt a database in WAL mode (sqlite.org/wal.html, "WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;
/// "sobv".
const APPLICATION_ID: i64 = 0x736f_6276;
const SCHEMA_VERSION: i64 = 1;
/// SQLite counts milliseconds in 32 bits.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Every record is covered by `meta.mac` or its own `mac`: see [`super::record`]. `audit` is not: its MAC belongs to the audit log, and it
/// moves without a passphrase.
const SCHEMA: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    vault BLOB NOT NULL,
    owner INTEGER NOT NULL,
    created INTEGER NOT NULL,
    protection INTEGER NOT NULL,
    memory_kib INTEGER NOT NULL,
    passes INTEGER NOT NULL,
    lanes INTEGER NOT NULL,
    salt BLOB NOT NULL,
    root_key BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    backed_up INTEGER NOT NULL,
    backup_time INTEGER,
    retention_days INTEGER NOT NULL,
    purge_protection INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    delete_lock INTEGER NOT NULL,
    policy TEXT,
    deleted INTEGER,
    recoverable_until INTEGER
) STRICT;
CREATE TABLE versions (
    sequence INTEGER PRIMARY KEY,
    key INTEGER NOT NULL REFERENCES keys (id),
    number INTEGER NOT NULL,
    created INTEGER NOT NULL,
    state INTEGER NOT NULL,
    not_before INTEGER,
    not_after INTEGER,
    thumbprint BLOB NOT NULL UNIQUE,
    spki BLOB NOT NULL,
    spki_sha256 BLOB NOT NULL,
    private BLOB NOT NULL,
    mac BLOB NOT NULL,
    UNIQUE (key, number)
) STRICT;
CREATE TABLE aliases (
    kind INTEGER NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL REFERENCES versions (sequence),
    PRIMARY KEY (kind, value, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX aliases_of_versions ON aliases (version, kind, value);
CREATE INDEX versions_by_spki ON versions (spki_sha256);
CREATE INDEX versions_census ON versions (sequence, key, number, thumbprint, spki_sha256, mac);
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_versions_that_can_corrupt_are_refused() {
        assert!(matches!(assert_sqlite(3_051_002), Err(VaultError::SqliteTooOld(3_051_002))));
        assert!(assert_sqlite(OLDEST_SQLITE).is_ok());
        assert!(assert_sqlite(rusqlite::version_number()).is_ok(), "{}", rusqlite::version());
    }
}
