//! Epoch keys of sets: made, found, put beside snapshots, and looked through by preflight and impact.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::catalog::{Catalog, EncryptionSet, SetKey, Snapshot, WrappedDek};
use crate::engine::{EpochFolder, EpochKey, EpochRecords, Error, LayerPolicy, WrappingKey};
use crate::format::{EpochId, EpochRecord};
use crate::key::Thumbprint;
use crate::manage::{Home, HomeError};
use crate::provider::KeyProvider;
use crate::provider::embedded::EmbeddedVault;

/// The catalogue's copies of epoch records, read when one is missing beside a snapshot.
#[derive(Debug)]
pub(super) struct CataloguedEpochs {
    home: Home,
    catalog: OnceLock<Option<Catalog>>,
}

impl CataloguedEpochs {
    pub(super) fn of(home: &Home) -> Self {
        Self { home: home.clone(), catalog: OnceLock::new() }
    }

    /// A catalogue that can't be read has no copy: what is missing then is said of the record.
    fn catalog(&self) -> Option<&Catalog> {
        self.catalog.get_or_init(|| self.home.catalog().ok().flatten()).as_ref()
    }
}

impl EpochRecords for CataloguedEpochs {
    fn find(&self, id: &EpochId) -> Result<Option<EpochRecord>, Error> {
        let known = self.catalog().and_then(|catalog| catalog.epoch(id).ok().flatten());
        Ok(known.map(|known| known.record))
    }

    fn place(&self, _: &EpochId) -> PathBuf {
        self.home.catalog_path()
    }
}

impl Home {
    /// Opens the epoch key with which a set seals in the layer of `key`; makes one where there is none.
    ///
    /// One unwrap request to the key's vault: it proves that what is sealed can be opened.
    pub(super) fn epoch_of(
        &self,
        set: &EncryptionSet,
        key: &SetKey,
        kek: &WrappingKey,
    ) -> Result<Arc<EpochKey>, HomeError> {
        let catalog = self.catalog_with(&set.name)?;
        let known = catalog.epochs_of_set(set.name.as_str(), key.layer)?;
        match known.into_iter().find(|known| known.active) {
            // A rotation that is under way may not have come to it yet: then an older key of the set opens it.
            Some(active) => Ok(Arc::new(self.engine_of(set, key)?.open_epoch(active.record)?)),
            None => self.start_epoch(&catalog, set, key, kek),
        }
    }

    /// Makes a new epoch key, with which the set seals from now on.
    pub(super) fn start_epoch(
        &self,
        catalog: &Catalog,
        set: &EncryptionSet,
        key: &SetKey,
        kek: &WrappingKey,
    ) -> Result<Arc<EpochKey>, HomeError> {
        let policy = LayerPolicy::new(vec![kek.clone()])?.of_set(set.name.as_str())?;
        let made = self.engine_with(vec![Arc::clone(&kek.provider)]).make_epoch(key.layer, &policy)?;
        catalog.start_epoch(&set.name, made.record())?;
        Ok(Arc::new(made))
    }

    /// Puts the records of a set's epoch keys into the folder of a snapshot. It must be done before the snapshot is there.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when the folder can't be written.
    pub fn put_epochs<'a>(
        &self,
        epochs: impl IntoIterator<Item = &'a EpochRecord>,
        snapshot: &Path,
    ) -> Result<(), HomeError> {
        let folder = EpochFolder::of(snapshot);
        for record in epochs {
            folder.put(record)?;
        }
        Ok(())
    }

    /// Returns the catalogued records of the epoch keys that are wrapped under keys of these vaults. A catalogue that can't be read keeps no
    /// backup from being made.
    pub(super) fn epochs_in(&self, vaults: &[&EmbeddedVault]) -> Result<Vec<EpochRecord>, HomeError> {
        let Ok(Some(catalog)) = self.catalog() else { return Ok(Vec::new()) };
        let cx = self.context();
        let mut found = Vec::new();
        for known in catalog.epochs()? {
            let held = |key: Thumbprint| vaults.iter().any(|vault| vault.find(&key, &cx).is_ok());
            if known.record.keys().any(held) {
                found.push(known.record);
            }
        }
        Ok(found)
    }

    /// Puts the catalogue's records of a set's epoch keys into the folder of a snapshot.
    pub(super) fn refresh_epochs(&self, set: &EncryptionSet, snapshot: &Path) -> Result<(), HomeError> {
        let catalog = self.catalog_with(&set.name)?;
        let Some(known) = catalog.snapshot(snapshot)? else { return Ok(()) };
        for id in known.deks.iter().filter_map(|dek| dek.epoch) {
            if let Some(known) = catalog.epoch(&id)?.filter(|known| known.verified) {
                self.put_epochs([&known.record], snapshot)?;
            }
        }
        Ok(())
    }
}

/// Looks through epoch keys at the KEKs behind them, reading each record once for each folder.
#[derive(Debug)]
pub(super) struct EpochView<'a> {
    catalog: Option<&'a Catalog>,
    seen: Mutex<HashMap<PathBuf, Option<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    record: EpochRecord,
    /// Whether a key has authenticated it.
    verified: bool,
}

impl<'a> EpochView<'a> {
    /// Reads records beside snapshots, and in this catalogue where one is missing there.
    pub(super) fn with(catalog: Option<&'a Catalog>) -> Self {
        Self { catalog, seen: Mutex::default() }
    }

    /// Puts the KEKs of a snapshot's epoch keys in the place of those. What has no record stays, with the path of the missing file as its
    /// key's name. Returns whether a key has authenticated every record: somebody may have written the others who wants a key deleted.
    pub(super) fn look_through(&self, snapshot: &mut Snapshot) -> bool {
        let mut verified = true;
        if snapshot.deks.iter().all(|dek| dek.epoch.is_none()) {
            return verified;
        }
        let folder = EpochFolder::of(&snapshot.path);
        let mut deks = Vec::with_capacity(snapshot.deks.len());
        for dek in snapshot.deks.drain(..) {
            let Some(id) = dek.epoch else {
                deks.push(dek);
                continue;
            };
            match self.record(&folder, &id) {
                Some(seen) => {
                    verified &= seen.verified;
                    deks.extend(keks(&seen.record, &dek));
                }
                None => {
                    let key_id = folder.path(&id).to_string_lossy().into_owned();
                    deks.push(WrappedDek { key_id, ..dek });
                }
            }
        }
        snapshot.deks = deks;
        verified
    }

    fn record(&self, folder: &EpochFolder, id: &EpochId) -> Option<Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.entry(folder.path(id)).or_insert_with(|| {
            let known = self.catalog.and_then(|catalog| catalog.epoch(id).ok().flatten());
            let here = folder.find(id).ok().flatten().map(|record| {
                let verified = known.as_ref().is_some_and(|known| known.verified && known.record == record);
                Seen { record, verified }
            });
            here.or_else(|| known.map(|known| Seen { record: known.record, verified: known.verified }))
        });
        found.clone()
    }
}

fn keks(record: &EpochRecord, dek: &WrappedDek) -> Vec<WrappedDek> {
    let entries = record.section().into_iter().flat_map(|(section, _)| &section.entries);
    let usable = entries.filter_map(|entry| Some((entry, entry.usable()?)));
    let through = usable.map(|(entry, algorithm)| WrappedDek {
        thumbprint: entry.thumbprint,
        key_id: entry.locators.first().cloned().unwrap_or_default(),
        algorithm: algorithm.name().to_owned(),
        ..dek.clone()
    });
    through.collect()
}

#[cfg(test)]
pub(super) mod tests;
