//! Jobs that touch many snapshots: their journal, so that an interrupted one goes on where it stopped.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::catalog::error::Fault;
use crate::catalog::value::{Time, Whole, number, path_of};
use crate::catalog::{Catalog, CatalogDamage, CatalogError, SetName};
use crate::clock::UnixTime;
use crate::key::Thumbprint;

/// Number of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(i64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobKind {
    /// Re-wraps snapshots that a person named.
    Rewrap,
    /// Re-wraps the DEKs of a set under its new key.
    Rotation,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// Everything was done.
    Done,
    /// It ended, and not everything was done.
    Failed,
    /// It runs, or was interrupted.
    Running,
}

/// How far a job is with one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ItemState {
    /// Done.
    Done,
    /// It could not be done.
    Failed,
    /// Not done yet.
    Pending,
    /// Nothing was to be done.
    Skipped,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The set that it does it for. One job of a set runs at a time.
    pub set: Option<String>,
    /// The key that DEKs are moved from.
    pub from: Option<Thumbprint>,
    /// The key that they are moved to.
    pub to: Option<Thumbprint>,
    /// How far it is.
    pub state: JobState,
    /// When it began.
    pub started: UnixTime,
    /// When it ended.
    pub finished: Option<UnixTime>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One snapshot of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobItem {
    /// The snapshot.
    pub path: PathBuf,
    /// How far the job is with it.
    pub state: ItemState,
    /// Why it could not be done.
    pub error: Option<String>,
}

impl Catalog {
    /// Begins a job with its items, all pending, in one transaction.
    ///
    /// # Errors
    ///
    /// [`CatalogError::JobRunning`] when another job of the set runs; [`CatalogError::Busy`], [`CatalogError::Sqlite`],
    /// [`CatalogError::Damaged`].
    pub fn begin_job(
        &self,
        kind: JobKind,
        set: Option<&SetName>,
        keys: (Option<Thumbprint>, Option<Thumbprint>),
        items: &[PathBuf],
        now: UnixTime,
    ) -> Result<JobId, CatalogError> {
        self.write(|connection| {
            let bytes = |key: &Option<Thumbprint>| key.map(|key| key.as_bytes().to_vec());
            let inserted = connection.execute(
                "INSERT INTO jobs (kind, set_name, from_thumbprint, to_thumbprint, state, started)
                 VALUES (?1, ?2, ?3, ?4, 'running', ?5)",
                params![kind.name(), set.map(SetName::as_str), bytes(&keys.0), bytes(&keys.1), number(now.0)],
            );
            match (inserted, set) {
                (Err(error), Some(set)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(CatalogError::JobRunning(set.to_string()).into());
                }
                (inserted, _) => inserted?,
            };
            let id = connection.last_insert_rowid();
            let mut statement = connection
                .prepare_cached("INSERT OR IGNORE INTO job_items (job, path, state) VALUES (?1, ?2, 'pending')")?;
            for item in items {
                statement.execute(params![id, item.as_os_str().as_bytes()])?;
            }
            Ok(JobId(id))
        })
    }

    /// Notes what became of items, in one transaction.
    ///
    /// # Errors
    ///
    /// As [`begin_job`](Self::begin_job), without `JobRunning`.
    pub fn note_items(&self, job: JobId, items: &[JobItem]) -> Result<(), CatalogError> {
        self.write(|connection| {
            let mut statement = connection
                .prepare_cached("INSERT OR REPLACE INTO job_items (job, path, state, error) VALUES (?1, ?2, ?3, ?4)")?;
            for item in items {
                statement.execute(params![job.0, item.path.as_os_str().as_bytes(), item.state.name(), item.error])?;
            }
            Ok(())
        })
    }

    /// Ends a job.
    ///
    /// # Errors
    ///
    /// As [`note_items`](Self::note_items).
    pub fn end_job(&self, job: JobId, error: Option<&str>, now: UnixTime) -> Result<(), CatalogError> {
        let state = if error.is_some() { JobState::Failed } else { JobState::Done };
        self.write(|connection| {
            connection.execute(
                "UPDATE jobs SET state = ?2, finished = ?3, error = ?4 WHERE id = ?1",
                params![job.0, state.name(), number(now.0), error],
            )?;
            Ok(())
        })
    }

    /// Returns the job of a set that runs or was interrupted.
    ///
    /// # Errors
    ///
    /// As [`note_items`](Self::note_items).
    pub fn running_job(&self, set: &SetName) -> Result<Option<Job>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT * FROM jobs WHERE set_name = ?1 AND state = 'running'")?;
            statement.query_row([set.as_str()], |row| Ok(job_of(row))).optional()?.transpose()
        })
    }

    /// Returns all jobs, the latest first.
    ///
    /// # Errors
    ///
    /// As [`note_items`](Self::note_items).
    pub fn jobs(&self) -> Result<Vec<Job>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM jobs ORDER BY id DESC")?;
            let rows = statement.query_map([], |row| Ok(job_of(row)))?;
            rows.map(|row| row?).collect()
        })
    }

    /// Returns up to `most` items of a job in this state, in order of their paths, behind `after`.
    ///
    /// # Errors
    ///
    /// As [`note_items`](Self::note_items).
    pub fn items(
        &self,
        job: JobId,
        state: ItemState,
        after: Option<&Path>,
        most: u32,
    ) -> Result<Vec<JobItem>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT path, error FROM job_items WHERE job = ?1 AND state = ?2 AND (?3 IS NULL OR path > ?3)
                 ORDER BY path LIMIT ?4",
            )?;
            let after = after.map(|path| path.as_os_str().as_bytes());
            let rows = statement.query_map(params![job.0, state.name(), after, most], |row| {
                Ok(JobItem { path: path_of(row.get(0)?), state, error: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Counts the items of a job in this state.
    ///
    /// # Errors
    ///
    /// As [`note_items`](Self::note_items).
    pub fn count_items(&self, job: JobId, state: ItemState) -> Result<u64, CatalogError> {
        self.read(|connection: &Connection| {
            let mut statement =
                connection.prepare_cached("SELECT count(*) FROM job_items WHERE job = ?1 AND state = ?2")?;
            Ok(statement.query_row(params![job.0, state.name()], |row| row.get::<_, Whole>(0))?.0)
        })
    }
}

impl JobKind {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rewrap => "rewrap",
            Self::Rotation => "rotation",
        }
    }
}

impl JobState {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Running => "running",
        }
    }
}

impl ItemState {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
        }
    }
}

fn job_of(row: &Row<'_>) -> Result<Job, Fault> {
    let (kind, state): (String, String) = (row.get("kind")?, row.get("state")?);
    let kind = [JobKind::Rewrap, JobKind::Rotation].into_iter().find(|known| known.name() == kind);
    let states = [JobState::Done, JobState::Failed, JobState::Running];
    let state = states.into_iter().find(|known| known.name() == state);
    let from: Option<[u8; 32]> = row.get("from_thumbprint")?;
    let to: Option<[u8; 32]> = row.get("to_thumbprint")?;
    Ok(Job {
        id: JobId(row.get("id")?),
        kind: kind.ok_or(CatalogDamage::Value)?,
        set: row.get("set_name")?,
        from: from.map(Thumbprint::from_bytes),
        to: to.map(Thumbprint::from_bytes),
        state: state.ok_or(CatalogDamage::Value)?,
        started: row.get::<_, Time>("started")?.0,
        finished: row.get::<_, Option<Time>>("finished")?.map(|Time(time)| time),
        error: row.get("error")?,
    })
}
