//! How databases are opened where the disk is full or can't be written: for reading, which then is all that is possible.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

/// Who else may use a database while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody: processes share memory in a file, for which a full disk has no room.
    Alone,
    /// Everybody who only reads: nothing is locked, and nothing is made beside the database.
    Immutable,
    /// Everybody.
    Shared,
}

impl Access {
    /// Returns what may still work when a database could not be opened for everybody.
    pub(crate) fn after(error: &rusqlite::Error, path: &Path) -> Option<Self> {
        if is_full(error) {
            return Some(Self::Alone);
        }
        // What a run that was cut off has left beside it would be passed over.
        let whole = path.symlink_metadata().is_ok() && !is_beside(path, "-wal");
        let cannot_open = error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen);
        (cannot_open && whole && !is_writable(path)).then_some(Self::Immutable)
    }

    /// Opens a database that exists. Nothing of it is read yet.
    pub(crate) fn open(self, path: &Path, wait: Duration) -> Result<Connection, rusqlite::Error> {
        let connection = match self {
            Self::Alone | Self::Shared => Connection::open_with_flags(path, READ_WRITE)?,
            Self::Immutable => Connection::open_with_flags(immutable(path), READ_ONLY)?,
        };
        // Two that wait to be alone would keep each other out: see `patiently`.
        connection.busy_timeout(if self == Self::Alone { Duration::ZERO } else { wait })?;
        if self == Self::Alone {
            // Before the first look at the database, which decides about the shared memory.
            connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
        }
        Ok(connection)
    }
}

/// Opens again while a database is busy, for as long as `wait`: where two want it alone, neither lets go of what it has while it waits.
pub(crate) fn patiently<T, E>(
    wait: Duration,
    is_busy: impl Fn(&E) -> bool,
    open: impl Fn() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now().checked_add(wait);
    loop {
        match open() {
            Err(error) if is_busy(&error) && deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Whether SQLite found no room on the disk, be it for the memory that processes share.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(rusqlite::ffi::SQLITE_FULL | rusqlite::ffi::SQLITE_IOERR_SHMSIZE))
}

/// Whether files can be made beside `path`.
pub(crate) fn is_writable(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn is_beside(path: &Path, suffix: &str) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    Path::new(&name).symlink_metadata().is_ok()
}

/// Names a database by a URI, in which every byte but the harmless ones is escaped.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

const PAUSE: Duration = Duration::from_millis(10);
const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX).union(OpenFlags::SQLITE_OPEN_URI);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_read_as_it_is_under_any_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["plain.db", "a?b#c%41 ä.db", "mode=rw&x.db"] {
            let path = folder.path().join(name);
            let made = Connection::open(&path).expect("makes");
            made.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE one (x); INSERT INTO one VALUES (7);")
                .expect("fills");
            made.close().expect("closes");
            let before = std::fs::read_dir(folder.path()).expect("lists").count();
            let opened = Access::Immutable.open(&path, Duration::ZERO).expect("opens");
            assert_eq!(
                opened.query_row("SELECT x FROM one", [], |row| row.get::<_, i64>(0)).expect("reads"),
                7,
                "{name}"
            );
            assert!(opened.execute("DELETE FROM one", []).is_err());
            assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), before, "nothing is made beside it");
        }
    }

    #[test]
    fn who_has_a_database_alone_needs_no_shared_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let made = Connection::open(&path).expect("makes");
        made.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE one (x);").expect("fills");
        made.close().expect("closes");
        let opened = Access::Alone.open(&path, Duration::ZERO).expect("opens");
        opened.query_row("SELECT count(*) FROM one", [], |_| Ok(())).expect("reads");
        assert!(!is_beside(&path, "-shm"));
        let other = Access::Shared.open(&path, Duration::ZERO).expect("opens");
        assert!(other.query_row("SELECT count(*) FROM one", [], |_| Ok(())).is_err(), "it is held");
    }
}
