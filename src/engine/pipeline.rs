//! Whole disks from and to files, devices and pipes: one worker carries a chunk from read to write while it is in cache.

mod open;
mod order;
mod resume;
mod seal;
mod sink;
mod source;

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::{Control, Error, Warning};
use crate::format::SnapshotId;

/// Where bytes come from.
pub enum Source<'a> {
    /// A file or block device.
    Path(&'a Path),
    /// A pipe.
    Stream(&'a mut (dyn Read + Send)),
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({})", path.display()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Where bytes go.
pub enum Target<'a> {
    /// A file, which appears complete or not at all, or an existing block device.
    Path(&'a Path),
    /// A pipe.
    Stream(&'a mut (dyn Write + Send)),
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({})", path.display()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// How to seal a whole disk.
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// Number of threads that carry chunks, 1 or more.
    pub workers: usize,
    /// Whether holes and all-zero chunks are left out.
    pub sparse: bool,
    /// Whether a source that is in use or changes is sealed all the same.
    pub live: bool,
    /// Whether to go on with the partial file of an earlier run.
    pub resume: bool,
    /// Whether resuming compares what was sealed with the source; always done for block devices.
    pub verify_source: bool,
    /// Whether an existing target may be replaced.
    pub force: bool,
    /// Where to write a detached manifest as well.
    pub manifest: Option<PathBuf>,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            workers: default_workers(),
            sparse: true,
            live: false,
            resume: false,
            verify_source: false,
            force: false,
            manifest: None,
        }
    }
}

/// What was sealed.
#[derive(Clone, Debug)]
pub struct SealSummary {
    /// The snapshot's random name.
    pub id: SnapshotId,
    /// Hash that stands for everything below the heads.
    pub root: [u8; 32],
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Stored bytes of all chunks together.
    pub stored: u64,
    /// Length of the snapshot in bytes.
    pub file_len: u64,
    /// Bytes of the disk that an earlier run had sealed already.
    pub resumed: u64,
    /// Bytes of an abandoned partial file that was discarded.
    pub discarded: u64,
}

/// How to open a whole snapshot.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Number of threads that carry chunks, 1 or more.
    pub workers: usize,
    /// Whether an existing target may be replaced, or a block device overwritten.
    pub force: bool,
    /// Which bytes of the disk: offset and length; all without.
    pub range: Option<(u64, u64)>,
    /// A detached manifest.
    pub manifest: Option<PathBuf>,
    /// A sidecar whose head serves instead of the snapshot's own.
    pub sidecar: Option<PathBuf>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { workers: default_workers(), force: false, range: None, manifest: None, sidecar: None }
    }
}

/// What was opened: every byte of it was verified.
#[derive(Clone, Debug)]
pub struct OpenSummary {
    /// The snapshot's random name.
    pub id: SnapshotId,
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Bytes of the disk that were written, holes included.
    pub written: u64,
    /// Stored bytes that were read.
    pub stored: u64,
    /// Bytes of an abandoned partial file that was discarded.
    pub discarded: u64,
    /// What was noticed.
    pub warnings: Vec<Warning>,
}

/// Runs `work` on `count` threads until all return; the first error stops the others. `work` asks its argument
/// between chunks whether to stop.
pub(super) fn run_workers<F>(count: usize, ctl: &Control, work: F) -> Result<(), Error>
where
    F: Fn(&(dyn Fn() -> bool + Sync)) -> Result<(), Error> + Sync,
{
    let failed = AtomicBool::new(false);
    let first = Mutex::new(None);
    let stop = || failed.load(Ordering::Relaxed) || ctl.is_cancelled();
    let run = || {
        if let Err(error) = work(&stop) {
            failed.store(true, Ordering::Relaxed);
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    if count <= 1 {
        run();
    } else {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|number| format!("sobre-{number}"))
            .build()
            .map_err(|error| Error::Io(std::io::Error::other(error)))?;
        pool.broadcast(|_| run());
    }
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None if ctl.is_cancelled() => Err(Error::Cancelled),
        None => Ok(()),
    }
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
