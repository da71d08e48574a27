//! Goes through a catalogue and looks at its files.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;

use rayon::prelude::*;

use crate::catalog::{Catalog, CatalogError, Snapshot};
use crate::clock::UnixTime;
use crate::format::Layer;
use crate::key::Thumbprint;
use crate::manage::epochs::EpochView;
use crate::manage::impact::{Doubt, Impact, LostSnapshot, SetUse, Survivor, Target};
use crate::manage::preflight::{KeyPlace, Vaults, algorithm_of};
use crate::provider::OpContext;

impl Impact {
    pub(super) fn take_from(&mut self, catalog: &Catalog, vaults: &Vaults, cx: &OpContext) -> Result<(), CatalogError> {
        let coverage = catalog.coverage()?;
        for target in &self.targets {
            for set in catalog.sets_with(&target.thumbprint)? {
                let active = set.keys.iter().any(|key| key.thumbprint == target.thumbprint);
                self.sets.push(SetUse { set: set.name.to_string(), thumbprint: target.thumbprint, active });
            }
        }
        let now = cx.now();
        let view = EpochView::with(Some(catalog));
        let seen: Vec<Seen> =
            catalog.snapshots()?.into_par_iter().map(|known| Seen::of(known, now).through(&view)).collect();
        let places = self.places_left(&seen, vaults, cx);
        let mut unreadable = 0;
        for one in seen {
            self.coverage.snapshots += 1;
            self.coverage.unverified += u64::from(!one.is_verified());
            self.coverage.gone += u64::from(one.gone);
            unreadable += u64::from(one.unreadable);
            for target in &mut self.targets {
                target.snapshots += u64::from(one.needs(&target.thumbprint));
            }
            self.place(one, &places);
        }
        self.coverage.unreadable = unreadable;
        self.note_doubts(&coverage.folders);
        self.coverage.folders = coverage.folders;
        Ok(())
    }

    fn note_doubts(&mut self, folders: &[crate::catalog::ScannedFolder]) {
        if folders.is_empty() {
            self.doubts.push(Doubt::NeverScanned);
        }
        if self.coverage.unverified > 0 {
            self.doubts.push(Doubt::Unverified(self.coverage.unverified));
        }
        if self.coverage.unreadable > 0 {
            self.doubts.push(Doubt::Unreadable(self.coverage.unreadable));
        }
        let incomplete = folders.iter().filter(|folder| folder.failures > 0);
        self.doubts.extend(
            incomplete.map(|folder| Doubt::ScanIncomplete { folder: folder.path.clone(), failures: folder.failures }),
        );
    }

    /// Looks up, once each, where the keys are that are left when the targets are gone.
    fn places_left(&self, seen: &[Seen], vaults: &Vaults, cx: &OpContext) -> BTreeMap<Thumbprint, Vec<KeyPlace>> {
        let mut wanted: Vec<Thumbprint> = seen
            .iter()
            .filter(|one| self.targets.iter().any(|target| one.needs(&target.thumbprint)))
            .flat_map(|one| one.states().flat_map(|state| &state.deks).map(|dek| dek.thumbprint))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let left = |thumbprint: &Thumbprint| {
            let mut places = vaults.places(thumbprint, cx);
            places.retain(|place| place.is_usable() && !self.targets.iter().any(|target| target.is(thumbprint, place)));
            places
        };
        wanted.into_iter().map(|thumbprint| (thumbprint, left(&thumbprint))).collect()
    }

    /// Decides about one snapshot. One that has changed is lost when it was or is lost.
    fn place(&mut self, seen: Seen, places: &BTreeMap<Thumbprint, Vec<KeyPlace>>) {
        let (mut keys, mut elsewhere, mut through) = (Vec::new(), Vec::new(), Vec::new());
        for state in seen.states() {
            for layer in [Layer::Inner, Layer::Outer] {
                let deks = || state.deks.iter().filter(move |dek| dek.layer == layer);
                let goes = |thumbprint: &Thumbprint| self.targets.iter().any(|one| one.thumbprint == *thumbprint);
                let going: Vec<_> = deks().map(|dek| dek.thumbprint).filter(goes).collect();
                if going.is_empty() {
                    continue;
                }
                let usable = deks()
                    .filter(|dek| algorithm_of(dek).is_some())
                    .find_map(|dek| places.get(&dek.thumbprint)?.first());
                match usable {
                    Some(place) => through.push(place.id.clone()),
                    None => {
                        let others = deks().filter(|dek| !goes(&dek.thumbprint));
                        elsewhere.extend(others.map(|dek| match dek.key_id.as_str() {
                            "" => format!("jkt:{}", dek.thumbprint),
                            id => format!("{id} (jkt:{})", dek.thumbprint.short()),
                        }));
                        keys.extend(going);
                    }
                }
            }
        }
        for list in [&mut elsewhere, &mut through] {
            list.sort();
            list.dedup();
        }
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            self.lost.push(LostSnapshot { snapshot: seen.known, keys, elsewhere, gone: seen.gone });
        } else if !through.is_empty() {
            self.survivors.push(Survivor { snapshot: seen.known, through });
        }
    }
}

impl Target {
    fn is(&self, thumbprint: &Thumbprint, place: &KeyPlace) -> bool {
        self.thumbprint == *thumbprint && self.vault.as_ref().is_none_or(|vault| *vault == place.vault)
    }
}

/// A catalogued snapshot, and what became of its file.
#[derive(Debug)]
struct Seen {
    known: Snapshot,
    /// What the file says now, where that is something else.
    now: Option<Snapshot>,
    gone: bool,
    unreadable: bool,
    /// Whether a key has authenticated the records of its epoch keys.
    proved: bool,
}

impl Seen {
    /// Puts the KEKs behind epoch keys in their place.
    fn through(mut self, view: &EpochView<'_>) -> Self {
        self.proved = view.look_through(&mut self.known);
        if let Some(now) = &mut self.now {
            self.proved &= view.look_through(now);
        }
        self
    }

    fn of(known: Snapshot, time: UnixTime) -> Self {
        let mut seen = Self { known, now: None, gone: false, unreadable: false, proved: true };
        match seen.known.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => seen.gone = true,
            Err(_) => seen.unreadable = true,
            Ok(metadata) => {
                // The time of the last change of anything can't be set by hand. A clock that was wrong when the row was written proves nothing.
                let changed = u64::try_from(metadata.ctime()).unwrap_or(u64::MAX);
                if changed >= seen.known.seen.0 || seen.known.seen > time {
                    match Snapshot::read(&seen.known.path, time) {
                        Ok(now) if now.agrees_with(&seen.known) => {}
                        Ok(now) => seen.now = Some(now),
                        Err(_) => seen.unreadable = true,
                    }
                }
            }
        }
        seen
    }

    fn states(&self) -> impl Iterator<Item = &Snapshot> {
        std::iter::once(&self.known).chain(&self.now)
    }

    fn is_verified(&self) -> bool {
        self.known.verified && self.now.is_none() && self.proved
    }

    fn needs(&self, key: &Thumbprint) -> bool {
        self.states().any(|state| state.deks.iter().any(|dek| dek.thumbprint == *key))
    }
}
