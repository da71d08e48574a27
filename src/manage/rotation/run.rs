//! The work of a rotation: snapshot by snapshot, in parallel, with a journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::catalog::{Catalog, EncryptionSet, ItemState, JobId, JobItem, SetKey, Snapshot};
use crate::engine::{Change, Control, Engine, Error, RewrapReport};
use crate::format::Layer;
use crate::key::{KeyRef, Thumbprint, VaultName};
use crate::manage::rotation::RotationReport;
use crate::manage::rotation::stale::{Obstacle, remaining, stale};
use crate::manage::{Home, HomeError};
use crate::provider::KeyProvider;

impl Home {
    /// Moves everything that is left of a rotation.
    pub(super) fn run_job(
        &self,
        catalog: &Catalog,
        set: &EncryptionSet,
        key: &SetKey,
        job: JobId,
        mut report: RotationReport,
        ctl: &Control,
    ) -> Result<RotationReport, HomeError> {
        let older = self.older_than(key, set)?;
        let engine = self.engine_of(set, key)?;
        let change = Change::Replace { from: older.clone(), to: self.pinned(&set.name, key)? };
        let mut obstacles: HashMap<PathBuf, Obstacle> = HashMap::new();
        // Seals that began with the old key add snapshots meanwhile. Each is tried once.
        for _ in 0..MOST_ROUNDS {
            let mut waiting = stale(catalog, set, key, &older)?;
            waiting.retain(|stale| stale.known && !obstacles.contains_key(&stale.snapshot.path));
            if waiting.is_empty() || ctl.is_cancelled() {
                break;
            }
            let waiting: Vec<Snapshot> = waiting.into_iter().map(|stale| stale.snapshot).collect();
            ctl.start(ctl.done() + waiting.len() as u64);
            let pending = |snapshot: &Snapshot| item(&snapshot.path, ItemState::Pending, None);
            catalog.note_items(job, &waiting.iter().map(pending).collect::<Vec<_>>())?;
            for batch in waiting.chunks(BATCH) {
                if ctl.is_cancelled() {
                    break;
                }
                let results: Vec<_> = batch
                    .par_iter()
                    .with_max_len(1)
                    .map(|snapshot| {
                        let moved = self.rewrapped(&engine, snapshot, key.layer, &change);
                        ctl.add(1, 0);
                        moved
                    })
                    .collect();
                self.note_batch(catalog, job, batch, results, &mut obstacles, &mut report)?;
            }
        }
        report.stopped = ctl.is_cancelled();
        report.remaining = remaining(catalog, set, key, &older, &obstacles)?;
        if !report.stopped {
            let error = (report.failed > 0).then(|| format!("{} snapshots could not be re-wrapped", report.failed));
            catalog.end_job(job, error.as_deref(), self.clock().now())?;
        }
        Ok(report)
    }

    /// Tells the catalogue that snapshots were rewrapped. Those that it does not know stay unknown.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`], [`HomeError::Engine`] when one of them can't be read any more. The snapshots stand in either case.
    pub fn note_rewrapped<P: AsRef<Path>>(
        &self,
        rewrapped: &[(P, &RewrapReport)],
        layer: Layer,
    ) -> Result<(), HomeError> {
        let Some(catalog) = self.catalog()? else { return Ok(()) };
        let mut moved = Vec::new();
        for (path, report) in rewrapped {
            if let Some(known) = catalog.snapshot(path.as_ref())? {
                let now = Snapshot::read(path.as_ref(), self.clock().now())?;
                moved.push(if vouched(&known, &now, layer, report) { now.verified() } else { now });
            }
        }
        Ok(catalog.register(&moved)?)
    }

    /// Moves one snapshot, outside of any rotation, to an active key of the set.
    pub(in crate::manage) fn move_to(&self, key: &SetKey, set: &EncryptionSet, path: &Path) -> Result<(), HomeError> {
        let change = Change::Replace { from: self.older_than(key, set)?, to: self.pinned(&set.name, key)? };
        let engine = self.engine_of(set, key)?;
        let catalog = self.catalog_with(&set.name)?;
        if let Some(known) = catalog.snapshot(path)? {
            let moved = self.rewrapped(&engine, &known, key.layer, &change)?;
            catalog.register(&[moved])?;
        }
        Ok(())
    }

    fn rewrapped(&self, engine: &Engine, known: &Snapshot, layer: Layer, change: &Change) -> Result<Snapshot, Error> {
        let report = engine.rewrap(&known.path, layer, change)?;
        let now = Snapshot::read(&known.path, self.clock().now())?;
        Ok(if vouched(known, &now, layer, &report) { now.verified() } else { now })
    }

    fn note_batch(
        &self,
        catalog: &Catalog,
        job: JobId,
        batch: &[Snapshot],
        results: Vec<Result<Snapshot, Error>>,
        obstacles: &mut HashMap<PathBuf, Obstacle>,
        report: &mut RotationReport,
    ) -> Result<(), HomeError> {
        let (mut moved, mut items) = (Vec::new(), Vec::new());
        for (snapshot, result) in batch.iter().zip(results) {
            let path = &snapshot.path;
            match result {
                Ok(now) => {
                    items.push(item(path, ItemState::Done, None));
                    report.rewrapped += 1;
                    moved.push(now);
                }
                Err(error) => {
                    let obstacle = Obstacle::of(&error);
                    let failed = obstacle == Obstacle::Failed;
                    let state = if failed { ItemState::Failed } else { ItemState::Skipped };
                    items.push(item(path, state, Some(error.to_string())));
                    obstacles.insert(path.clone(), obstacle);
                    if failed {
                        report.failed += 1;
                        if report.failures.len() < MOST_FAILURES {
                            report.failures.push((path.clone(), error));
                        }
                    }
                }
            }
        }
        catalog.register(&moved)?;
        Ok(catalog.note_items(job, &items)?)
    }

    /// Returns an engine with the vaults that a set needs. Those of linked keys may be gone; what needs them fails one by one.
    fn engine_of(&self, set: &EncryptionSet, key: &SetKey) -> Result<Engine, HomeError> {
        let mut providers: Vec<Arc<dyn KeyProvider>> = vec![self.pinned(&set.name, key)?.provider];
        for id in set.links.iter().map(|link| link.key_id.as_str()) {
            let Some(name) = vault_of(id) else { continue };
            if providers.iter().any(|known| *known.name() == name) {
                continue;
            }
            if let Ok(vault) = self.vault(&name) {
                providers.push(vault);
            }
        }
        Ok(self.engine_with(providers))
    }
}

/// Whether a key has authenticated everything that the catalogue says of a snapshot: the rewrap has for its own layer.
fn vouched(known: &Snapshot, now: &Snapshot, layer: Layer, report: &RewrapReport) -> bool {
    let of = |snapshot: &Snapshot, own: bool| -> Vec<Thumbprint> {
        let deks = snapshot.deks.iter().filter(|dek| (dek.layer == layer) == own);
        deks.map(|dek| dek.thumbprint).collect()
    };
    let others = of(now, false);
    let same = known.verified && known.id == now.id && of(known, false) == others;
    of(now, true) == report.keys && (others.is_empty() || same)
}

fn vault_of(id: &str) -> Option<VaultName> {
    match id.parse() {
        Ok(KeyRef::Named { vault, .. }) => vault,
        _ => None,
    }
}

fn item(path: &Path, state: ItemState, error: Option<String>) -> JobItem {
    JobItem { path: path.to_owned(), state, error }
}

/// Seals end; more rounds than these mean that something else is wrong.
const MOST_ROUNDS: usize = 16;
/// Snapshots between two commits of the catalogue.
const BATCH: usize = 64;
const MOST_FAILURES: usize = 1000;
