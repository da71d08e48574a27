//! Changing who can open a snapshot: new wrapped keys in the heads, the payload untouched.

mod aside;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use crate::engine::error::AtFile;
use crate::engine::recorded::Purpose;
use crate::engine::unlock::Heads;
use crate::engine::{Control, Engine, Error, LayerPolicy, PolicyError, WrappingKey};
use crate::format::{Entry, Fault, HEAD_LEN, Head, Layer, Part, Section, SnapshotId};
use crate::io::read_exact_at;
use crate::key::Thumbprint;
use crate::secret::SecretBytes;

/// What shall change about a layer's wrapped keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// One more key opens the layer.
    Add(WrappingKey),
    /// A key no longer opens the layer in this file.
    Remove(Thumbprint),
    /// Nothing changes; both heads are made the same again.
    Repair,
    /// Another key takes the place of these; every other key stays. Where that was done already, nothing is written but what an
    /// interrupted run left undone.
    Replace {
        /// The keys that no longer open the layer in this file; those of them that it is not wrapped under don't matter.
        from: Vec<Thumbprint>,
        /// The key that does.
        to: WrappingKey,
    },
    /// These keys and no others open the layer.
    To(LayerPolicy),
}

/// What a rewrap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrapReport {
    /// Generation of the layer's section now.
    pub generation: u64,
    /// Whether anything was written.
    pub changed: bool,
    /// Keys that open the layer now, in order of preference.
    pub keys: Vec<Thumbprint>,
}

impl Engine {
    /// Rewraps one layer of the snapshot at `path` in place: O(1) in its size, two syncs. The old wrappers are then nowhere in
    /// this file; older copies of it still open with the old key.
    ///
    /// A crash at any point leaves at least one whole head.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] when the change may not be made; [`ErrorKind::Busy`](crate::engine::ErrorKind::Busy) when another process rewraps the
    /// same file; and as [`open`](Self::open).
    pub fn rewrap(&self, path: &Path, layer: Layer, change: &Change) -> Result<RewrapReport, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path).at(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(crate::io::CommitError::Busy(path.to_owned()).into()),
            Err(TryLockError::Error(error)) => return Err(Error::Io(error).at(path)),
        }
        self.beside(path).rewrap_locked(&file, layer, change).at(path)
    }

    /// Rewraps many snapshots on the threads of the current rayon pool, and hands each one's result to `each`, with its place in `paths`,
    /// as it comes. `ctl` counts snapshots; when it is cancelled, what was not begun is left out. Returns whether everything was begun.
    ///
    /// The cost is the vaults' private-key operations and two syncs for each snapshot.
    pub fn rewrap_each<P, F>(&self, paths: &[P], layer: Layer, change: &Change, ctl: &Control, each: F) -> bool
    where
        P: AsRef<Path> + Sync,
        F: Fn(usize, Result<RewrapReport, Error>) + Sync,
    {
        ctl.start(paths.len() as u64);
        let run = |(place, path): (usize, &P)| {
            if ctl.is_cancelled() {
                return false;
            }
            each(place, self.rewrap(path.as_ref(), layer, change));
            ctl.add(1, 0);
            true
        };
        paths.par_iter().enumerate().with_max_len(1).map(run).reduce(|| true, |one, other| one && other)
    }

    fn rewrap_locked(&self, file: &File, layer: Layer, change: &Change) -> Result<RewrapReport, Error> {
        let heads = Heads::read(file)?;
        let result = self.rewrap_heads(file, &heads, layer, change);
        self.end_rewrap(heads.header.id, layer, change, &result);
        result
    }

    fn rewrap_heads(&self, file: &File, heads: &Heads, layer: Layer, change: &Change) -> Result<RewrapReport, Error> {
        if !Layer::of(heads.header.suite).contains(&layer) {
            return Err(PolicyError::NoSuchLayer.into());
        }
        let unlocked = self.unlock(heads, &[layer])?;
        let (number, head) = &unlocked.head;
        let missing = || Error::damaged(Part::Section(layer.number()), Fault::Truncated);
        let (section, _) = head.envelope.section(layer).ok_or_else(missing)?;
        let (secret, keys) = unlocked.layers.first().ok_or_else(missing)?;
        let updated = match self.changed(section, secret.blob(), change, Some(heads.header.id))? {
            Changed::Nothing => {
                let both = heads.agree();
                if !both {
                    write_head(file, 1 - *number, head)?;
                }
                return Ok(report_of(section, !both));
            }
            Changed::Section(updated) => *updated,
        };
        let bytes = updated.seal(&keys.envelope);
        let report = report_of(&updated, true);
        let fresh = Head { header: head.header.clone(), envelope: head.envelope.replacing(updated, bytes)? };
        // Another program that does not know the lock may have written meanwhile.
        if Heads::read(file)?.best().1 != heads.best().1 {
            return Err(Error::SourceChanged("changed while it was rewrapped"));
        }
        self.start_rewrap(heads.header.id, layer, change)?;
        write_head(file, 1 - *number, &fresh)?;
        write_head(file, *number, &fresh)?;
        Ok(report)
    }

    /// Makes the section that a change asks for; its MAC is still to be made.
    pub(super) fn changed(
        &self,
        section: &Section,
        blob: &SecretBytes,
        change: &Change,
        snapshot: Option<SnapshotId>,
    ) -> Result<Changed, Error> {
        if matches!(change, Change::Repair) || is_done(section, change) {
            return Ok(Changed::Nothing);
        }
        let (entries, set) = self.changed_entries(section, blob, change, (snapshot, section.layer))?;
        let generation = section.generation.checked_add(1).ok_or_else(|| {
            Error::damaged(
                Part::Section(section.layer.number()),
                Fault::Range { field: "generation", value: section.generation },
            )
        })?;
        Ok(Changed::Section(Box::new(Section {
            layer: section.layer,
            customer: section.customer || customer_of(change),
            generation,
            updated: self.clock.now(),
            set,
            source: section.source.clone(),
            entries,
        })))
    }

    fn changed_entries(
        &self,
        section: &Section,
        blob: &SecretBytes,
        change: &Change,
        of: Purpose,
    ) -> Result<(Vec<Entry>, String), Error> {
        let wrapped = |key: &WrappingKey| self.wrap_under_keys(std::slice::from_ref(key), blob, of);
        match change {
            Change::Add(key) => {
                check_owner(section, key)?;
                let mut entries = section.entries.clone();
                if entries.iter().any(|entry| entry.thumbprint == key.version.thumbprint) {
                    return Err(PolicyError::SameKeyTwice.into());
                }
                if entries.len() >= usize::from(crate::format::MAX_ENTRIES) {
                    return Err(PolicyError::KeyCount(entries.len() + 1).into());
                }
                entries.extend(wrapped(key)?);
                Ok((entries, section.set.clone()))
            }
            Change::Remove(thumbprint) => {
                let mut entries = section.entries.clone();
                entries.retain(|entry| entry.thumbprint != *thumbprint);
                if entries.len() == section.entries.len() {
                    return Err(PolicyError::NoSuchEntry.into());
                }
                if entries.is_empty() {
                    return Err(PolicyError::LastKey.into());
                }
                Ok((entries, section.set.clone()))
            }
            Change::Replace { from, to } => {
                check_owner(section, to)?;
                let goes = |entry: &Entry| goes(entry, from, to);
                let place = section.entries.iter().position(goes).ok_or(PolicyError::NoSuchEntry)?;
                let mut entries: Vec<Entry> = section.entries.iter().filter(|entry| !goes(entry)).cloned().collect();
                if !entries.iter().any(|entry| entry.thumbprint == to.version.thumbprint) {
                    // The preference stays: nothing before the first that goes has gone.
                    entries.splice(place..place, wrapped(to)?);
                }
                Ok((entries, section.set.clone()))
            }
            Change::To(keys) => {
                for key in keys.keks() {
                    check_owner(section, key)?;
                }
                Ok((self.wrap(keys, blob, of)?, keys.set.clone()))
            }
            Change::Repair => Ok((section.entries.clone(), section.set.clone())),
        }
    }
}

/// What a change makes of a section.
pub(super) enum Changed {
    /// It is as asked for already.
    Nothing,
    /// The section as it shall be.
    Section(Box<Section>),
}

fn report_of(section: &Section, changed: bool) -> RewrapReport {
    let keys = section.entries.iter().map(|entry| entry.thumbprint).collect();
    RewrapReport { generation: section.generation, changed, keys }
}

/// Whether a key has taken the place of the others already.
fn is_done(section: &Section, change: &Change) -> bool {
    let Change::Replace { from, to } = change else { return false };
    section.entries.iter().any(|entry| entry.thumbprint == to.version.thumbprint)
        && !section.entries.iter().any(|entry| goes(entry, from, to))
}

fn goes(entry: &Entry, from: &[Thumbprint], to: &WrappingKey) -> bool {
    entry.thumbprint != to.version.thumbprint && from.contains(&entry.thumbprint)
}

/// A disk sealed for a customer's key never goes back to the platform's (R6). The outer layer is the platform's own: whoever
/// has held it for a while, it may go back.
fn check_owner(section: &Section, key: &WrappingKey) -> Result<(), PolicyError> {
    let goes_back = section.layer == Layer::Inner && section.customer && !key.version.customer;
    if goes_back { Err(PolicyError::CustomerToPlatform) } else { Ok(()) }
}

fn customer_of(change: &Change) -> bool {
    match change {
        Change::Add(key) | Change::Replace { to: key, .. } => key.version.customer,
        Change::To(keys) => keys.customer(),
        Change::Remove(_) | Change::Repair => false,
    }
}

/// Writes a head, makes it durable, and reads it back.
fn write_head(file: &File, number: u8, head: &Head) -> Result<(), Error> {
    let offset = u64::from(number) * HEAD_LEN as u64;
    let bytes = head.encode();
    file.write_all_at(&bytes, offset)?;
    file.sync_data()?;
    let mut back = vec![0; HEAD_LEN];
    read_exact_at(file, &mut back, offset)?;
    if back == bytes { Ok(()) } else { Err(Error::damaged(Part::Head(number), Fault::Differs)) }
}

#[cfg(test)]
mod tests;
