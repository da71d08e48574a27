//! What a restore needs: every key version, and whether it is there (R17, R18, R45, R46, R48).

mod keys;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use keys::{Challenge, KeyPlace, NeedState, NeededKey, Standing, UnansweredVault};
pub use verdict::{Choice, Verdict};

pub(super) use keys::{Vaults, algorithm_of};

use crate::audit::Identity;
use crate::catalog::Snapshot;
use crate::clock::UnixTime;
use crate::engine::Error;
use crate::format::{Fault, FormatError, Part};
use crate::key::Thumbprint;
use crate::manage::epochs::EpochView;
use crate::manage::{Home, HomeError};
use crate::provider::OpContext;

/// How thoroughly keys are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreflightOptions {
    /// Proves every key version that seems usable: a random secret, wrapped here with its public half by the algorithms that the snapshots
    /// use, must come back from the vault. One call for each key version and algorithm, however many snapshots there are; no snapshot can
    /// spoil it, and it shows a vault nothing of the data. That the *snapshots'* wrapped DEKs are whole takes verifying them.
    pub challenge: bool,
}

/// What opening some snapshots together needs, and what of it is there.
#[derive(Debug)]
pub struct Preflight {
    /// The snapshots, in the order in which they were named.
    pub snapshots: Vec<SnapshotCheck>,
    /// Every key version that can open a layer of any of them, once each; those that keep most snapshots from opening first.
    pub keys: Vec<NeededKey>,
    /// What could not be read.
    pub unread: Vec<UnreadSnapshot>,
    /// Vaults that could not be asked. Nothing opens until they are back or ruled out.
    pub unanswered: Vec<UnansweredVault>,
    /// The machine's name.
    pub server: String,
}

/// What became of one snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotCheck {
    /// What it says of itself.
    pub snapshot: Snapshot,
    /// Whether that comes from the catalogue alone, because the file can't be read.
    pub from_catalog: bool,
    /// Whether it opens.
    pub verdict: Verdict,
}

/// A snapshot that could not be read.
#[derive(Debug)]
pub struct UnreadSnapshot {
    /// Where it is.
    pub path: PathBuf,
    /// Why not.
    pub error: Error,
}

impl Preflight {
    /// Whether every snapshot that could be read opens as things are, with no key or vault named by hand.
    pub fn is_ok(&self) -> bool {
        self.unanswered.is_empty() && self.concerned().next().is_none()
    }

    /// Returns the snapshots that don't open as things are.
    pub fn concerned(&self) -> impl Iterator<Item = &SnapshotCheck> {
        self.snapshots.iter().filter(|check| check.verdict != Verdict::Opens)
    }

    /// Returns when the first and the last of the concerned snapshots were sealed.
    pub fn concerned_span(&self) -> Option<(UnixTime, UnixTime)> {
        let sealed = || self.concerned().map(|check| check.snapshot.sealed);
        sealed().min().zip(sealed().max())
    }

    /// Returns the key versions that keep a snapshot from opening.
    pub fn obstacles(&self) -> impl Iterator<Item = &NeededKey> {
        self.keys.iter().filter(|key| key.obstructs > 0)
    }

    /// Returns the sentence that Azure's databases answer with when keys are missing at a restore (R48); `None` when none is.
    pub fn azure_message(&self) -> Option<String> {
        let (first, last) = self.concerned_span()?;
        Some(format!(
            "Target server {} does not have access to all AKV URIs created between {first} and {last}. \
             Please retry operation after restoring all AKV URIs",
            self.server
        ))
    }

    /// Looks up what `read` needs in `vaults`.
    pub(super) fn of(
        read: Vec<ReadSnapshot>,
        vaults: Vaults,
        options: PreflightOptions,
        cx: &(dyn Fn() -> OpContext + Sync),
    ) -> Self {
        let mut needs: BTreeMap<Thumbprint, NeededKey> = BTreeMap::new();
        for read in &read {
            let deks = read.facts.iter().flat_map(|snapshot| &snapshot.deks);
            for dek in deks {
                needs.entry(dek.thumbprint).or_insert_with(|| NeededKey::new(dek)).count(dek);
            }
            for thumbprint in read.thumbprints() {
                if let Some(key) = needs.get_mut(&thumbprint) {
                    key.snapshots += 1;
                }
            }
        }
        needs.par_iter_mut().for_each(|(_, key)| vaults.look_up(key, options.challenge, cx));
        let mut snapshots = Vec::with_capacity(read.len());
        let mut unread = Vec::new();
        for ReadSnapshot { path, facts, from_catalog, error } in read {
            if let Some(error) = error {
                unread.push(UnreadSnapshot { path, error });
            }
            let Some(snapshot) = facts else { continue };
            let (verdict, obstacles) = verdict::of(&snapshot, &needs);
            for thumbprint in obstacles {
                if let Some(key) = needs.get_mut(&thumbprint) {
                    key.obstructs += 1;
                }
            }
            snapshots.push(SnapshotCheck { snapshot, from_catalog, verdict });
        }
        let mut keys: Vec<NeededKey> = needs.into_values().collect();
        keys.sort_by_key(|key| (std::cmp::Reverse((key.obstructs, key.snapshots)), key.thumbprint));
        let server = Identity::of_process().host.map_or_else(|| "this machine".to_owned(), |host| host.to_string());
        Self { snapshots, keys, unread, unanswered: vaults.unanswered, server }
    }
}

impl Home {
    /// Says what opening the snapshots at `paths` together needs. Reads their heads and ends, a few kilobytes each, and nothing of the data;
    /// asks each vault once for each key version.
    ///
    /// What a head says is not authenticated: somebody who can write to a snapshot can make it ask for another key.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`], [`HomeError::VaultNotConfigured`] for the home itself. What is wrong with a snapshot, a key or a vault is part of
    /// the answer.
    pub fn preflight(&self, paths: &[PathBuf], options: PreflightOptions) -> Result<Preflight, HomeError> {
        let now = self.context().now();
        let read = paths.par_iter().map(|path| ReadSnapshot::at(path, now)).collect();
        Ok(Preflight::of(self.through_epochs(read), Vaults::of(self)?, options, &|| self.context()))
    }

    /// As [`preflight`](Self::preflight), for snapshots that a catalogue knows. The files are read; where one can't be, the catalogue's word
    /// stands for it, and it is reported as unread too.
    ///
    /// # Errors
    ///
    /// As [`preflight`](Self::preflight).
    pub fn preflight_catalogued(
        &self,
        known: Vec<Snapshot>,
        options: PreflightOptions,
    ) -> Result<Preflight, HomeError> {
        let now = self.context().now();
        let read = known.into_par_iter().map(|known| ReadSnapshot::or_known(known, now)).collect();
        Ok(Preflight::of(self.through_epochs(read), Vaults::of(self)?, options, &|| self.context()))
    }

    /// Looks through the epoch keys of snapshots at the KEKs behind them.
    fn through_epochs(&self, mut read: Vec<ReadSnapshot>) -> Vec<ReadSnapshot> {
        let deks = read.iter().filter_map(|read| read.facts.as_ref()).flat_map(|snapshot| &snapshot.deks);
        if deks.into_iter().all(|dek| dek.epoch.is_none()) {
            return read;
        }
        // Records beside the snapshots count; a catalogue that can't be read has none for those that are missing.
        let catalog = self.catalog().ok().flatten();
        let view = EpochView::with(catalog.as_ref());
        read.par_iter_mut().filter_map(|read| read.facts.as_mut()).for_each(|snapshot| {
            view.look_through(snapshot);
        });
        read
    }
}

/// A snapshot as it was read, or could not be.
#[derive(Debug)]
pub(super) struct ReadSnapshot {
    pub(super) path: PathBuf,
    pub(super) facts: Option<Snapshot>,
    pub(super) from_catalog: bool,
    pub(super) error: Option<Error>,
}

impl ReadSnapshot {
    pub(super) fn at(path: &Path, now: UnixTime) -> Self {
        let (facts, error) = match Snapshot::read(path, now) {
            // It never opens, whatever keys there are; which ones it would need is known all the same.
            Ok(snapshot) if snapshot.root.is_none() => {
                let damage = FormatError { part: Part::Snapshot, fault: Fault::Truncated };
                (Some(snapshot), Some(Error::Format(damage).at(path)))
            }
            Ok(snapshot) => (Some(snapshot), None),
            Err(error) => (None, Some(error)),
        };
        Self { path: path.to_owned(), facts, from_catalog: false, error }
    }

    fn or_known(known: Snapshot, now: UnixTime) -> Self {
        let mut read = Self::at(&known.path, now);
        if read.facts.is_none() {
            read.facts = Some(known);
            read.from_catalog = true;
        }
        read
    }

    fn thumbprints(&self) -> Vec<Thumbprint> {
        let deks = self.facts.iter().flat_map(|snapshot| &snapshot.deks);
        let mut found: Vec<_> = deks.map(|dek| dek.thumbprint).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
pub(super) mod tests;
