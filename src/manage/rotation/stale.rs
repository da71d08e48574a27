//! Which snapshots of a set still need an older key, and what stands in the way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::catalog::{Catalog, EncryptionSet, SetKey, Snapshot, WrappedDek};
use crate::engine::Error;
use crate::format::EpochId;
use crate::io::CommitError;
use crate::key::{KeyRef, Thumbprint};
use crate::manage::rotation::epochs::EpochRotation;
use crate::manage::rotation::{Remaining, RotationReport};
use crate::manage::{Home, HomeError};
use crate::provider::KeyCensus;

/// Why a snapshot was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Something went wrong.
    Failed,
    /// It is not where it was.
    Missing,
    /// It is wrapped under keys only that the set does not know.
    NotLinked,
    /// It can't be written here.
    ReadOnly,
}

impl Obstacle {
    pub(super) fn of(error: &Error) -> Self {
        let (Error::Io(error) | Error::Commit(CommitError::Io { source: error, .. })) = error.inner() else {
            return Self::Failed;
        };
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Failed,
        }
    }

    /// Looks before anything is tried.
    pub(super) fn ahead(path: &Path) -> Option<Self> {
        match path.metadata() {
            Err(error) => Some(Self::of(&Error::Io(error))),
            Ok(_) => access(path, Access::WRITE_OK).is_err().then_some(Self::ReadOnly),
        }
    }
}

/// A snapshot that still needs an older key.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) snapshot: Snapshot,
    /// Whether the set knows any of its keys, so that it can be moved.
    pub(super) known: bool,
}

impl Home {
    /// Returns the keys whose place `key` takes: the linked ones, and the other versions of the same name.
    pub(super) fn older_than(&self, key: &SetKey, set: &EncryptionSet) -> Result<Vec<Thumbprint>, HomeError> {
        let mut older: HashSet<Thumbprint> = set.links.iter().map(|link| link.thumbprint).collect();
        if let KeyRef::Named { vault: Some(vault), name, .. } = Self::key_ref(&key.key_id)? {
            let versions = self.vault(&vault)?.versions(&name, &self.context())?;
            older.extend(versions.into_iter().map(|(_, version)| version.thumbprint));
        }
        // Never what is active in any layer: the layers of a set have different keys.
        older.retain(|thumbprint| *thumbprint != key.thumbprint);
        for active in &set.keys {
            older.remove(&active.thumbprint);
        }
        Ok(older.into_iter().collect())
    }

    /// Fills in what a rotation would do.
    pub(super) fn foresee(
        &self,
        catalog: &Catalog,
        set: &EncryptionSet,
        key: &SetKey,
        report: &mut RotationReport,
    ) -> Result<(), HomeError> {
        let older = self.older_than(key, set)?;
        let mut obstacles = HashMap::new();
        let mut epochs = EpochRotation::of(catalog, set, key)?;
        epochs.foresee(catalog, key, report)?;
        for stale in stale(catalog, set, key, &older, &epochs.ids())? {
            match Obstacle::ahead(&stale.snapshot.path) {
                _ if !stale.known => {}
                None => report.rewrapped += 1,
                Some(obstacle) => {
                    obstacles.insert(stale.snapshot.path, obstacle);
                }
            }
        }
        report.remaining = remaining(catalog, set, key, (&older, &epochs.ids()), &obstacles)?;
        // What would be moved is still there.
        report.remaining.retain_mut(|remaining| {
            remaining.snapshots = remaining.missing + remaining.read_only + remaining.not_linked;
            remaining.snapshots > 0
        });
        epochs.add_remaining(&mut report.remaining);
        Ok(())
    }

    /// Whether anything of a set that can be written here still needs an older key.
    pub(super) fn has_work(&self, catalog: &Catalog, set: &EncryptionSet, key: &SetKey) -> Result<bool, HomeError> {
        let older = self.older_than(key, set)?;
        let epochs = EpochRotation::of(catalog, set, key)?;
        if epochs.has_work(catalog, key)? {
            return Ok(true);
        }
        let stale = stale(catalog, set, key, &older, &epochs.ids())?;
        Ok(stale.iter().any(|stale| stale.known && Obstacle::ahead(&stale.snapshot.path).is_none()))
    }
}

/// Returns the catalogued snapshots of the set that `key` does not open alone in its layer, apart from keys that the set has nothing to do
/// with.
pub(super) fn stale(
    catalog: &Catalog,
    set: &EncryptionSet,
    key: &SetKey,
    older: &[Thumbprint],
    epochs: &HashSet<EpochId>,
) -> Result<Vec<Stale>, HomeError> {
    let older: HashSet<&Thumbprint> = older.iter().collect();
    let chosen = |deks: &[(Thumbprint, Option<EpochId>)]| {
        // What is under an epoch key of the set rotates with that.
        let current = |(thumbprint, epoch): &(Thumbprint, Option<EpochId>)| {
            *thumbprint == key.thumbprint || epoch.is_some_and(|epoch| epochs.contains(&epoch))
        };
        deks.iter().any(|(thumbprint, _)| older.contains(thumbprint)) || !deks.iter().any(current)
    };
    let stale = |snapshot: Snapshot| {
        let mut deks = snapshot.deks.iter().filter(|dek| dek.layer == key.layer);
        let known = deks.any(|dek| older.contains(&dek.thumbprint));
        Stale { snapshot, known }
    };
    Ok(catalog.chosen_in_set(set.name.as_str(), key.layer, chosen)?.into_iter().map(stale).collect())
}

/// Counts what still needs an older key.
pub(super) fn remaining(
    catalog: &Catalog,
    set: &EncryptionSet,
    key: &SetKey,
    (older, epochs): (&[Thumbprint], &HashSet<EpochId>),
    obstacles: &HashMap<PathBuf, Obstacle>,
) -> Result<Vec<Remaining>, HomeError> {
    let mut by_key: BTreeMap<Thumbprint, Remaining> = BTreeMap::new();
    for Stale { snapshot, known } in stale(catalog, set, key, older, epochs)? {
        let needed = |dek: &&WrappedDek| dek.layer == key.layer && (!known || older.contains(&dek.thumbprint));
        let Some(dek) = snapshot.deks.iter().find(needed) else { continue };
        let entry = by_key.entry(dek.thumbprint).or_insert_with(|| Remaining::none(dek.thumbprint, dek.key_id.clone()));
        entry.snapshots += 1;
        let obstacle = if known { obstacles.get(&snapshot.path).copied() } else { Some(Obstacle::NotLinked) };
        match obstacle {
            Some(Obstacle::Missing) => entry.missing += 1,
            Some(Obstacle::NotLinked) => entry.not_linked += 1,
            Some(Obstacle::ReadOnly) => entry.read_only += 1,
            Some(Obstacle::Failed) | None => {}
        }
    }
    let mut remaining: Vec<_> = by_key.into_values().collect();
    remaining.sort_by_key(|remaining| std::cmp::Reverse(remaining.snapshots));
    Ok(remaining)
}
