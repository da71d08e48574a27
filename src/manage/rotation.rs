//! Rotation of encryption sets: a new key version becomes active, and every live DEK of the set is re-wrapped under it (R44, R64).
//!
//! A rotation holds a lock file of its set, which the system releases however the process ends, and writes a journal in the catalogue. At
//! every moment each snapshot opens with the old or with the new key: both stay enabled, and a snapshot's heads change one after the
//! other.

mod due;
mod epochs;
mod run;
mod stale;

pub use due::{DueReason, DueSet};

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{FailureKind, Operation, Outcome, Properties, Text};
use crate::catalog::{Catalog, EncryptionSet, Job, JobKind, SetKey, SetName};
use crate::engine::{Control, Error};
use crate::format::Layer;
use crate::key::{KeyName, KeyRef, Thumbprint, VersionNumber};
use crate::manage::sets::{activate, events};
use crate::manage::{Home, HomeError, SetError};
use crate::provider::embedded::EmbeddedVault;
use crate::provider::{Audited, KeyAdmin, KeyProvider};

/// Which rotation is asked for.
#[derive(Clone, Debug)]
pub struct RotationRequest {
    /// The set.
    pub set: SetName,
    /// The layer whose key rotates; the other one stays.
    pub layer: Layer,
    /// Makes no new version: only moves what still needs an older key. An unfinished rotation is finished in any case.
    pub resume: bool,
    /// A folder for the new heads of snapshots that can't be written: `ID.sobre-head` each (write-once storage). Without one they are listed.
    pub envelopes: Option<PathBuf>,
}

/// Where the key comes from that a rotation moves DEKs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOrigin {
    /// It was the newest version already, and the set follows it.
    Adopted,
    /// It was active already.
    Kept,
    /// A new version was made.
    Made,
}

/// What a rotation did, or would do.
#[derive(Debug)]
pub struct RotationReport {
    /// The set.
    pub set: SetName,
    /// The layer.
    pub layer: Layer,
    /// Id of the key that was active before; the same as `to` when a rotation was resumed.
    pub from: String,
    /// Id of the key that is active now.
    pub to: String,
    /// Its material; `None` when it would be made.
    pub thumbprint: Option<Thumbprint>,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// Whether an interrupted rotation was finished.
    pub resumed: bool,
    /// How many snapshots were moved to it, or would be.
    pub rewrapped: u64,
    /// How many snapshots that can't be written got a new head aside. They still count as in need of the older key, as they are.
    pub aside: u64,
    /// How many epoch keys were, or would be.
    pub epochs: u64,
    /// How many snapshots are under epoch keys whose records beside them are up to date, or would be.
    pub covered: u64,
    /// What still needs an older key, the most needed one first.
    pub remaining: Vec<Remaining>,
    /// What failed: the first thousand.
    pub failures: Vec<(PathBuf, Error)>,
    /// How many snapshots failed.
    pub failed: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// The snapshots of a set that still need an older key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The key.
    pub thumbprint: Thumbprint,
    /// Where it was, by one of the snapshots.
    pub key_id: String,
    /// How many snapshots need it.
    pub snapshots: u64,
    /// How many of them are not where they were.
    pub missing: u64,
    /// How many of them can't be written here.
    pub read_only: u64,
    /// How many of them are wrapped under keys only that the set does not know.
    pub not_linked: u64,
    /// Epoch records that could not be brought up to date.
    pub folders: Vec<PathBuf>,
}

impl Remaining {
    fn none(thumbprint: Thumbprint, key_id: String) -> Self {
        Self { thumbprint, key_id, snapshots: 0, missing: 0, read_only: 0, not_linked: 0, folders: Vec::new() }
    }
}

impl Home {
    /// Rotates a set: its key's newest version becomes active, and is made where the active one is the newest; it is proved once by a
    /// challenge; then every catalogued DEK of the set that is writable here is re-wrapped, on the threads of the current rayon pool.
    /// An interrupted rotation is finished instead. Older versions stay enabled. `ctl` counts snapshots.
    ///
    /// Snapshots that are missing or can't be written are listed and no failure.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] with [`SetError::Busy`] when another process rotates the set; [`HomeError::Catalog`] with
    /// [`CatalogError::Changed`](crate::catalog::CatalogError::Changed) when somebody changed it meanwhile; [`HomeError::Engine`] when
    /// the new version can't be made or does not stand the test: then nothing was changed. What fails later is in the report.
    pub fn rotate_set(&self, request: &RotationRequest, ctl: &Control) -> Result<RotationReport, HomeError> {
        let about = Properties { layer: Some(request.layer), ..events::about(&request.set) };
        self.recorded_as(Operation::SetRotate, &about, || self.rotate_locked(request, ctl), recorded)
    }

    fn rotate_locked(&self, request: &RotationRequest, ctl: &Control) -> Result<RotationReport, HomeError> {
        let catalog = self.catalog_with(&request.set)?;
        let set = catalog.set(&request.set)?;
        active(&set, request.layer)?;
        let _lock = self.rotation_lock(&set.name)?;
        // Whoever held the lock before may have changed it.
        let set = catalog.set(&request.set)?;
        if let Some(job) = catalog.running_job(&set.name)? {
            match layer_of(&set, &job) {
                Some(layer) => {
                    let report = self.resume_job(&catalog, set, (layer, request), &job, ctl)?;
                    if layer == request.layer || report.stopped {
                        return Ok(report);
                    }
                }
                // The set's key was changed since: its rotation leads nowhere any more.
                None => {
                    catalog.end_job(job.id, Some("the key of the set was changed meanwhile"), self.clock().now())?
                }
            }
        }
        let set = catalog.set(&request.set)?;
        let before = active(&set, request.layer)?.clone();
        // A vault with other material under the same names is not followed.
        self.pinned(&set.name, &before)?;
        let (key, origin) = match request.resume {
            true => (before.clone(), KeyOrigin::Kept),
            false => self.next_key(&before)?,
        };
        self.prove(&set.name, &key)?;
        let ends = (Some(before.thumbprint), Some(key.thumbprint));
        // The journal first: after a crash between the two, the new version is not forgotten and another one made.
        let job = catalog.begin_job(JobKind::Rotation, Some(&set.name), ends, &[], self.clock().now())?;
        let set = match adopt(&catalog, set, &key) {
            Ok(set) => set,
            Err(error) => {
                catalog.end_job(job, Some("the set was changed meanwhile"), self.clock().now())?;
                return Err(error);
            }
        };
        let report = report(&set, request.layer, &before, &key, origin);
        self.run_job(&catalog, (&set, request), &key, job, report, ctl)
    }

    /// Says what [`rotate_set`](Self::rotate_set) would do, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`rotate_set`](Self::rotate_set); no key is proved.
    pub fn plan_rotation(&self, request: &RotationRequest) -> Result<RotationReport, HomeError> {
        let catalog = self.catalog_with(&request.set)?;
        let mut set = catalog.set(&request.set)?;
        let before = active(&set, request.layer)?.clone();
        self.pinned(&set.name, &before)?;
        let unfinished = catalog.running_job(&set.name)?.filter(|job| layer_of(&set, job) == Some(request.layer));
        let (to, thumbprint, origin) = match &unfinished {
            Some(_) => (before.key_id.clone(), Some(before.thumbprint), KeyOrigin::Kept),
            None if request.resume => (before.key_id.clone(), Some(before.thumbprint), KeyOrigin::Kept),
            None => match self.newest_of(&before)? {
                newest if newest.thumbprint == before.thumbprint => (next_id(&before.key_id), None, KeyOrigin::Made),
                newest => (newest.key_id, Some(newest.thumbprint), KeyOrigin::Adopted),
            },
        };
        let to_be = SetKey {
            layer: request.layer,
            // Of a version that is not there yet nothing is known, but that nothing is wrapped under it.
            thumbprint: thumbprint.unwrap_or(Thumbprint::from_bytes([0; 32])),
            key_id: to.clone(),
        };
        if to_be.thumbprint != before.thumbprint {
            activate(&mut set, to_be.clone());
        }
        let mut report = report(&set, request.layer, &before, &to_be, origin);
        report.thumbprint = thumbprint;
        report.resumed = unfinished.is_some();
        self.foresee(&catalog, &set, &to_be, &mut report)?;
        Ok(report)
    }

    /// Finishes an interrupted rotation.
    fn resume_job(
        &self,
        catalog: &Catalog,
        set: EncryptionSet,
        (layer, request): (Layer, &RotationRequest),
        job: &Job,
        ctl: &Control,
    ) -> Result<RotationReport, HomeError> {
        let before = active(&set, layer)?.clone();
        let key = match job.to {
            Some(to) if to != before.thumbprint => {
                let (vault, _) = self.key_of(&before)?;
                let version = vault.find(&to, &self.context())?;
                SetKey { layer, thumbprint: version.thumbprint, key_id: version.id }
            }
            _ => before.clone(),
        };
        self.prove(&set.name, &key)?;
        let set = adopt(catalog, set, &key)?;
        let mut report = report(&set, layer, &before, &key, KeyOrigin::Kept);
        report.resumed = true;
        self.run_job(catalog, (&set, request), &key, job.id, report, ctl)
    }

    /// Returns the newest version of a set's key, and makes one where that is active already.
    fn next_key(&self, before: &SetKey) -> Result<(SetKey, KeyOrigin), HomeError> {
        let newest = self.newest_of(before)?;
        if newest.thumbprint != before.thumbprint {
            return Ok((newest, KeyOrigin::Adopted));
        }
        let (vault, name) = self.key_of(before)?;
        let made = vault.rotate(&name, &self.context())?;
        Ok((SetKey { layer: before.layer, thumbprint: made.thumbprint, key_id: made.id }, KeyOrigin::Made))
    }

    pub(in crate::manage) fn newest_of(&self, key: &SetKey) -> Result<SetKey, HomeError> {
        let (vault, name) = self.key_of(key)?;
        let newest = KeyRef::Named { vault: None, name, version: None };
        let version = vault.version(&newest, &self.context())?;
        Ok(SetKey { layer: key.layer, thumbprint: version.thumbprint, key_id: version.id })
    }

    /// Returns the vault and the name of a set's key.
    fn key_of(&self, key: &SetKey) -> Result<(Arc<Audited<EmbeddedVault>>, KeyName), HomeError> {
        match Self::key_ref(&key.key_id)? {
            KeyRef::Named { vault: Some(vault), name, .. } => Ok((self.vault(&vault)?, name)),
            other => Err(SetError::KeyInFile(other.to_string()).into()),
        }
    }

    /// Takes the lock under which a set is rotated. It goes with the process.
    fn rotation_lock(&self, set: &SetName) -> Result<File, HomeError> {
        let folder = self.paths().data.join("rotations");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| HomeError::Io { path: folder.clone(), source })?;
        // Sets don't differ in case only.
        let path = folder.join(format!("{}.lock", set.as_str().to_ascii_lowercase()));
        let fail = |source: io::Error| HomeError::Io { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(SetError::Busy(set.to_string()).into()),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }
}

/// Says how a rotation ended.
fn recorded(report: &RotationReport) -> (Outcome, Properties) {
    let whole = report.failed == 0 && !report.stopped;
    let about = Properties {
        layer: Some(report.layer),
        key: Some(Text::new(&report.to)),
        items: Some(report.rewrapped),
        successor: report.thumbprint,
        ..Properties::default()
    };
    (if whole { Outcome::Success } else { Outcome::Failure(FailureKind::Failed) }, about)
}

/// Returns the active key of a layer.
fn active(set: &EncryptionSet, layer: Layer) -> Result<&SetKey, HomeError> {
    let found = set.keys.iter().find(|key| key.layer == layer);
    found.ok_or_else(|| SetError::NoSuchLayer(set.name.to_string()).into())
}

/// Returns the layer that an unfinished rotation is of: that of the key that it leads to, or comes from.
fn layer_of(set: &EncryptionSet, job: &Job) -> Option<Layer> {
    let with = |end: Option<Thumbprint>| set.keys.iter().find(|key| Some(key.thumbprint) == end).map(|key| key.layer);
    with(job.to).or_else(|| with(job.from))
}

/// Points the set to the key, if it still is what it was.
fn adopt(catalog: &Catalog, mut set: EncryptionSet, key: &SetKey) -> Result<EncryptionSet, HomeError> {
    if set.keys.contains(key) {
        return Ok(set);
    }
    activate(&mut set, key.clone());
    catalog.replace_set(&set)?;
    Ok(catalog.set(&set.name)?)
}

fn report(set: &EncryptionSet, layer: Layer, before: &SetKey, key: &SetKey, origin: KeyOrigin) -> RotationReport {
    RotationReport {
        set: set.name.clone(),
        layer,
        from: before.key_id.clone(),
        to: key.key_id.clone(),
        thumbprint: Some(key.thumbprint),
        origin,
        resumed: false,
        rewrapped: 0,
        aside: 0,
        epochs: 0,
        covered: 0,
        remaining: Vec::new(),
        failures: Vec::new(),
        failed: 0,
        stopped: false,
    }
}

/// Returns the id of the version after this one.
fn next_id(id: &str) -> String {
    let next = id.rsplit_once('@').and_then(|(name, number)| {
        let number: VersionNumber = number.parse().ok()?;
        Some(format!("{name}@{}", number.next()?))
    });
    next.unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
mod tests;
