//! Rotation of epoch keys: one unwrap and one wrap each, and a small file in every folder that has snapshots under them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use crate::catalog::{Catalog, EncryptionSet, KnownEpoch, SetKey};
use crate::engine::{Change, Engine, EpochFolder, EpochRecords, Error, read_epoch};
use crate::format::{EpochId, EpochRecord};
use crate::key::Thumbprint;
use crate::manage::HomeError;
use crate::manage::rotation::stale::Obstacle;
use crate::manage::rotation::{Remaining, RotationReport};

/// What a rotation does about the epoch keys of a layer.
#[derive(Debug)]
pub(super) struct EpochRotation {
    epochs: Vec<KnownEpoch>,
    /// Folders whose copies are not what they shall be.
    behind: Vec<Behind>,
}

/// A folder whose copy of a record is older, damaged or missing.
#[derive(Debug)]
struct Behind {
    path: PathBuf,
    /// The KEK that its snapshots still need.
    key: Option<(Thumbprint, String)>,
    snapshots: u64,
    obstacle: Obstacle,
}

impl EpochRotation {
    pub(super) fn of(catalog: &Catalog, set: &EncryptionSet, key: &SetKey) -> Result<Self, HomeError> {
        Ok(Self { epochs: catalog.epochs_of_set(set.name.as_str(), key.layer)?, behind: Vec::new() })
    }

    pub(super) fn ids(&self) -> HashSet<EpochId> {
        self.epochs.iter().map(KnownEpoch::id).collect()
    }

    /// Re-wraps every epoch key and puts its record wherever it belongs. The catalogue's copy comes first: it serves a folder that is
    /// missing its own, and an interrupted rotation goes on from it without a vault.
    pub(super) fn run(
        &mut self,
        catalog: &Catalog,
        engine: &Engine,
        key: &SetKey,
        change: &Change,
        report: &mut RotationReport,
    ) -> Result<(), HomeError> {
        for known in &mut self.epochs {
            let folders = catalog.epoch_folders(&known.id())?;
            // What a folder that can't be looked at has is not known; it was this one before the rotation.
            let before = first_key(&known.record);
            if !is_current(&known.record, key) || !known.verified {
                match moved(engine, known, &folders, change) {
                    Ok(record) => {
                        catalog.keep_epoch(&record, true)?;
                        known.record = record;
                        known.verified = true;
                        report.epochs += 1;
                    }
                    Err(error) => {
                        let path = folders.first().map_or_else(PathBuf::new, |(folder, _)| folder.clone());
                        report.failed += 1;
                        report.failures.push((path.join(known.id().file_name()), error));
                        continue;
                    }
                }
            }
            for (folder, snapshots) in folders {
                let place = EpochFolder::new(folder);
                match place.put(&known.record) {
                    Ok(_) => report.covered += snapshots,
                    Err(error) => {
                        let obstacle = Obstacle::of(&error);
                        self.behind.push(Behind::at(&place, known, before.clone(), (snapshots, obstacle)));
                        if obstacle == Obstacle::Failed {
                            report.failed += 1;
                            report.failures.push((place.path(&known.id()), error));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Says what a run would do.
    pub(super) fn foresee(
        &mut self,
        catalog: &Catalog,
        key: &SetKey,
        report: &mut RotationReport,
    ) -> Result<(), HomeError> {
        for known in &self.epochs {
            report.epochs += u64::from(!is_current(&known.record, key));
            for (folder, snapshots) in catalog.epoch_folders(&known.id())? {
                let place = EpochFolder::new(folder.clone());
                match Obstacle::ahead(&folder) {
                    None => report.covered += snapshots,
                    Some(obstacle) => {
                        let before = first_key(&known.record);
                        self.behind.push(Behind::at(&place, known, before, (snapshots, obstacle)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether an epoch key is under an older KEK, or a folder that can be written has another copy of its record.
    pub(super) fn has_work(&self, catalog: &Catalog, key: &SetKey) -> Result<bool, HomeError> {
        for known in &self.epochs {
            if !is_current(&known.record, key) {
                return Ok(true);
            }
            for (folder, _) in catalog.epoch_folders(&known.id())? {
                let place = EpochFolder::new(folder.clone());
                let same = place.find(&known.id()).is_ok_and(|found| found.as_ref() == Some(&known.record));
                if !same && Obstacle::ahead(&folder).is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Adds what still needs an older key because its folder could not be written.
    pub(super) fn add_remaining(&self, remaining: &mut Vec<Remaining>) {
        let mut by_key: BTreeMap<Thumbprint, Remaining> = BTreeMap::new();
        for behind in &self.behind {
            let Some((thumbprint, key_id)) = &behind.key else { continue };
            let entry = by_key.entry(*thumbprint).or_insert_with(|| Remaining::none(*thumbprint, key_id.clone()));
            entry.snapshots += behind.snapshots;
            match behind.obstacle {
                Obstacle::Missing => entry.missing += behind.snapshots,
                Obstacle::ReadOnly => entry.read_only += behind.snapshots,
                Obstacle::NotLinked => entry.not_linked += behind.snapshots,
                Obstacle::Failed => {}
            }
            entry.folders.push(behind.path.clone());
        }
        remaining.extend(by_key.into_values());
    }
}

impl Behind {
    fn at(
        place: &EpochFolder,
        known: &KnownEpoch,
        before: Option<(Thumbprint, String)>,
        (snapshots, obstacle): (u64, Obstacle),
    ) -> Self {
        let path = place.path(&known.id());
        let key = read_epoch(&path).map_or(before, |copy| first_key(&copy));
        Self { key, path, snapshots, obstacle }
    }
}

/// Returns the key that a record is wrapped under first.
fn first_key(record: &EpochRecord) -> Option<(Thumbprint, String)> {
    let mut entries = record.section().into_iter().flat_map(|(section, _)| &section.entries);
    let entry = entries.find(|entry| entry.usable().is_some())?;
    Some((entry.thumbprint, entry.locators.first().cloned().unwrap_or_default()))
}

/// Re-wraps the catalogue's record, or where that is damaged one that lies beside snapshots.
fn moved(
    engine: &Engine,
    known: &KnownEpoch,
    folders: &[(PathBuf, u64)],
    change: &Change,
) -> Result<EpochRecord, Error> {
    let first = match engine.rewrap_epoch(known.record.clone(), change) {
        Err(error) if matches!(error.inner(), Error::Format(_)) => error,
        done => return done,
    };
    for (folder, _) in folders {
        let Ok(Some(copy)) = EpochFolder::new(folder.clone()).find(&known.id()) else { continue };
        if let Ok(record) = engine.rewrap_epoch(copy, change) {
            return Ok(record);
        }
    }
    Err(first)
}

fn is_current(record: &EpochRecord, key: &SetKey) -> bool {
    record.keys().eq([key.thumbprint])
}
