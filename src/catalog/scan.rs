//! Finding the snapshots below a folder.

use std::fmt;
use std::fs::DirEntry;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::catalog::{Catalog, CatalogError, ScannedFolder, Snapshot};
use crate::clock::UnixTime;
use crate::engine::{Control, Error, read_epoch};
use crate::format::{EPOCH_SUFFIX, EpochRecord};
use crate::io::escaped_path;

/// What a scan found.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// How many snapshots were found and taken in.
    pub found: u64,
    /// How many epoch records were.
    pub epochs: u64,
    /// What could not be read: the first thousand.
    pub failures: Vec<ScanFailure>,
    /// How many more there are.
    pub more_failures: u64,
    /// Links, which are not followed.
    pub links: u64,
    /// Snapshots that the catalogue has below the folder and that are not there now. They stay in it: a volume may not be mounted.
    pub gone: Vec<PathBuf>,
    /// Whether the scan was stopped before its end.
    pub stopped: bool,
}

/// Something that could not be read.
#[derive(Debug)]
pub struct ScanFailure {
    /// Where.
    pub path: PathBuf,
    /// Why not.
    pub fault: ScanFault,
}

/// Why something could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScanFault {
    /// A folder can't be listed.
    Folder(io::Error),
    /// A file that is called a snapshot or an epoch record is none that can be read.
    Snapshot(Box<Error>),
}

impl fmt::Display for ScanFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            ScanFault::Folder(_) => write!(f, "can't list {}", escaped_path(&self.path)),
            ScanFault::Snapshot(_) => write!(f, "can't read {}", escaped_path(&self.path)),
        }
    }
}

impl std::error::Error for ScanFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            ScanFault::Folder(error) => Some(error),
            // The path is said already.
            ScanFault::Snapshot(error) => Some(error.inner()),
        }
    }
}

impl Catalog {
    /// Takes in every file `*.sobre` at or below `folder`, and notes that the folder was scanned: see [`find_snapshots`].
    ///
    /// # Errors
    ///
    /// [`CatalogError::Io`] when the folder itself is not there; else the catalogue's own.
    pub fn scan(&self, folder: &Path, now: UnixTime, ctl: &Control) -> Result<ScanReport, CatalogError> {
        let folder = folder.canonicalize().map_err(|error| CatalogError::io(folder, error))?;
        let mut report = find_snapshots(&folder, now, ctl, |batch| {
            for record in &batch.epochs {
                self.keep_epoch(record, false)?;
            }
            self.register(&batch.snapshots)
        })?;
        if !report.stopped {
            report.gone = self
                .paths_below(&folder)?
                .into_iter()
                .filter(|path| matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound))
                .collect();
            self.note_scan(&ScannedFolder {
                path: folder,
                scanned: now,
                files: report.found,
                failures: report.more_failures + report.failures.len() as u64,
            })?;
        }
        Ok(report)
    }
}

/// Some of what a scan found.
#[derive(Debug, Default)]
pub struct ScanBatch {
    /// Snapshots.
    pub snapshots: Vec<Snapshot>,
    /// Epoch records.
    pub epochs: Vec<EpochRecord>,
}

/// Hands every snapshot `*.sobre` and every epoch record `*.sobre-epoch` at or below `folder` to `keep`, a thousand at a time. Links are not followed, so that nothing is visited
/// twice; what can't be read is reported and does not end the search.
///
/// # Errors
///
/// [`CatalogError::Io`] when the folder itself is not there; else those of `keep`.
pub fn find_snapshots(
    folder: &Path,
    now: UnixTime,
    ctl: &Control,
    keep: impl FnMut(&ScanBatch) -> Result<(), CatalogError>,
) -> Result<ScanReport, CatalogError> {
    let folder = folder.canonicalize().map_err(|error| CatalogError::io(folder, error))?;
    let mut scan = Scan { keep, now, batch: ScanBatch::default(), report: ScanReport::default() };
    let mut waiting = vec![folder];
    while let Some(next) = waiting.pop() {
        if ctl.is_cancelled() {
            scan.report.stopped = true;
            break;
        }
        scan.folder(&next, &mut waiting)?;
    }
    scan.flush()?;
    Ok(scan.report)
}

struct Scan<K> {
    keep: K,
    now: UnixTime,
    batch: ScanBatch,
    report: ScanReport,
}

impl<K: FnMut(&ScanBatch) -> Result<(), CatalogError>> Scan<K> {
    fn folder(&mut self, folder: &Path, waiting: &mut Vec<PathBuf>) -> Result<(), CatalogError> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.failed(folder, ScanFault::Folder(error));
                return Ok(());
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry, waiting)?,
                Err(error) => self.failed(folder, ScanFault::Folder(error)),
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, waiting: &mut Vec<PathBuf>) -> Result<(), CatalogError> {
        let path = entry.path();
        let named = entry.file_name().as_bytes().ends_with(SUFFIX);
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) => {
                self.failed(&path, ScanFault::Folder(error));
                return Ok(());
            }
        };
        if kind.is_dir() {
            waiting.push(path);
        } else if kind.is_symlink() {
            self.report.links += 1;
        } else if named {
            match Snapshot::read(&path, self.now) {
                Ok(snapshot) => {
                    self.batch.snapshots.push(snapshot);
                    if self.batch.snapshots.len() >= BATCH {
                        self.flush()?;
                    }
                }
                Err(error) => self.failed(&path, ScanFault::Snapshot(Box::new(error))),
            }
        } else if entry.file_name().as_bytes().ends_with(EPOCH_SUFFIX.as_bytes()) {
            match read_epoch(&path) {
                Ok(record) => {
                    self.batch.epochs.push(record);
                    if self.batch.epochs.len() >= BATCH {
                        self.flush()?;
                    }
                }
                Err(error) => self.failed(&path, ScanFault::Snapshot(Box::new(error))),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CatalogError> {
        (self.keep)(&self.batch)?;
        self.report.found += self.batch.snapshots.len() as u64;
        self.report.epochs += self.batch.epochs.len() as u64;
        self.batch = ScanBatch::default();
        Ok(())
    }

    fn failed(&mut self, path: &Path, fault: ScanFault) {
        if self.report.failures.len() < MOST_FAILURES {
            self.report.failures.push(ScanFailure { path: path.to_owned(), fault });
        } else {
            self.report.more_failures += 1;
        }
    }
}

const SUFFIX: &[u8] = b".sobre";
const BATCH: usize = 1000;
const MOST_FAILURES: usize = 1000;
