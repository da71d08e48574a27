//! Epoch keys: one key between a KEK and the DEKs of many snapshots (SPEC §3.3).
//!
//! With one, a rotation costs one unwrap and one wrap however many snapshots there are. The price: whoever learns the epoch key opens all
//! of them, and sealing asks a vault to unwrap it, where wrapping under a KEK needs the public half only.

mod folder;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use folder::{EpochFolder, read_epoch};

use crate::aead::{unwrap_key, wrap_key};
use crate::audit::Properties;
use crate::engine::rewrap::Changed;
use crate::engine::{Change, Engine, Error, LayerPolicy};
use crate::format::{
    Entry, Envelope, EpochHeader, EpochId, EpochKeys, EpochRecord, EpochSecret, Fault, Layer, Part, Section,
};
use crate::secret::SecretBytes;

/// Where epoch records are looked for.
pub trait EpochRecords: fmt::Debug + Send + Sync + 'static {
    /// Returns the record of this epoch key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Format`]: another place may have a copy.
    fn find(&self, id: &EpochId) -> Result<Option<EpochRecord>, Error>;

    /// Returns the file in which the record is, or would be, for a person who has to bring it back.
    fn place(&self, id: &EpochId) -> PathBuf;
}

/// An epoch key in hand, and its authenticated record.
#[derive(Debug)]
pub struct EpochKey {
    record: EpochRecord,
    secret: EpochSecret,
    keys: EpochKeys,
}

impl EpochKey {
    /// Returns the record: no secret. A copy of it must be wherever snapshots under this key are.
    pub fn record(&self) -> &EpochRecord {
        &self.record
    }

    /// Returns the key's name.
    pub fn id(&self) -> EpochId {
        self.record.header.id
    }

    /// Returns the layer whose DEKs it wraps.
    pub fn layer(&self) -> Layer {
        self.record.header.layer
    }

    /// Whether it is a customer's.
    pub fn customer(&self) -> bool {
        self.record.section().is_some_and(|(section, _)| section.customer)
    }

    pub(super) fn wrap(&self, blob: &SecretBytes) -> Result<Entry, Error> {
        let damaged = |_| Error::damaged(Part::Epoch, Fault::Range { field: "length of a DEK", value: 0 });
        Ok(Entry::under_epoch(&self.id(), wrap_key(&self.keys.wrap, blob).map_err(damaged)?))
    }

    fn unwrap(&self, layer: Layer, wrapped: &[u8]) -> Result<SecretBytes, Error> {
        unwrap_key(&self.keys.wrap, wrapped).map_err(|_| Error::damaged(Part::Blob(layer.number()), Fault::Tag))
    }
}

impl Engine {
    /// Looks for epoch records in these places too, in this order, behind those that it has already.
    #[must_use]
    pub fn with_epochs(mut self, places: Vec<Arc<dyn EpochRecords>>) -> Self {
        self.epochs.extend(places);
        self
    }

    /// Looks for epoch records beside this snapshot first.
    #[must_use]
    pub fn beside(&self, snapshot: &Path) -> Self {
        let mut engine = self.clone();
        engine.epochs.insert(0, Arc::new(EpochFolder::of(snapshot)));
        engine
    }

    /// Draws a new epoch key for the DEKs of `layer` and wraps it as `keys` say. No vault is asked to unwrap.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] when a key may not wrap; [`Error::Provider`]; [`Error::Random`].
    pub fn make_epoch(&self, layer: Layer, keys: &LayerPolicy) -> Result<EpochKey, Error> {
        let now = self.clock.now();
        let mut id = [0; 16];
        self.random.fill(&mut id)?;
        let header = EpochHeader { layer, optional: 0, created: now, id: EpochId::from_bytes(id) };
        let hash = header.hash();
        let secret = EpochSecret::fresh(layer, &hash, self.random.as_ref())?;
        let derived = EpochKeys::derive(&secret, &hash);
        let section = Section {
            layer,
            customer: keys.customer(),
            generation: 1,
            updated: now,
            set: keys.set.clone(),
            source: Vec::new(),
            entries: self.wrap_under_keys(&keys.keys, secret.blob(), (None, layer))?,
        };
        let bytes = section.seal(&derived.envelope);
        let record = EpochRecord { header, envelope: Envelope::new(1, vec![(section, bytes)])? };
        Ok(EpochKey { record, secret, keys: derived })
    }

    /// Opens an epoch key: one unwrap request. Its record is authentic then.
    ///
    /// # Errors
    ///
    /// [`Error::KeyMissing`] when no vault holds any of its KEKs; [`Error::Format`] when the record is damaged or forged; [`Error::Provider`].
    pub fn open_epoch(&self, record: EpochRecord) -> Result<EpochKey, Error> {
        let about = Properties { layer: Some(record.header.layer), ..Properties::default() };
        self.open_epoch_for(record, &about)
    }

    fn open_epoch_for(&self, record: EpochRecord, about: &Properties) -> Result<EpochKey, Error> {
        let (section, bytes) = section_of(&record)?;
        let hash = record.header.hash();
        let blob = self.unwrap_direct(section, about)?;
        let secret = EpochSecret::from_blob(record.header.layer, &hash, blob)?;
        let keys = EpochKeys::derive(&secret, &hash);
        section.clone().authenticate(bytes, &keys.envelope)?;
        Ok(EpochKey { record, secret, keys })
    }

    /// Changes the keys that an epoch key is wrapped under: one unwrap and one wrap for all snapshots under it. Nothing is written: the
    /// record that is returned has to take the place of every copy. Returns the same record where there is nothing to change.
    ///
    /// # Errors
    ///
    /// As [`open_epoch`](Self::open_epoch); [`Error::Policy`] when the change may not be made.
    pub fn rewrap_epoch(&self, record: EpochRecord, change: &Change) -> Result<EpochRecord, Error> {
        let key = self.open_epoch(record)?;
        let (section, _) = section_of(&key.record)?;
        match self.changed(section, key.secret.blob(), change, None)? {
            Changed::Nothing => Ok(key.record),
            Changed::Section(section) => {
                let bytes = section.seal(&key.keys.envelope);
                let envelope = key.record.envelope.replacing(*section, bytes)?;
                Ok(EpochRecord { header: key.record.header, envelope })
            }
        }
    }

    /// Looks for copies of a record, place by place, the nearest first, which is number 0.
    pub(super) fn epoch_copies<'a>(
        &'a self,
        id: &'a EpochId,
    ) -> impl Iterator<Item = (usize, Result<EpochRecord, Error>)> + use<'a> {
        self.epochs.iter().enumerate().filter_map(|(number, place)| Some((number, place.find(id).transpose()?)))
    }

    pub(super) fn unwrap_under_epoch(
        &self,
        record: EpochRecord,
        wrapped: &[u8],
        about: &Properties,
    ) -> Result<SecretBytes, Error> {
        let layer = record.header.layer;
        if about.layer != Some(layer) {
            return Err(Error::damaged(Part::Epoch, Fault::Foreign));
        }
        self.open_epoch_for(record, about)?.unwrap(layer, wrapped)
    }

    pub(super) fn epoch_missing(&self, id: EpochId) -> Error {
        Error::EpochMissing { id, looked: self.epochs.iter().map(|place| place.place(&id)).collect() }
    }
}

fn section_of(record: &EpochRecord) -> Result<(&Section, &[u8]), Error> {
    record.section().ok_or_else(|| Error::damaged(Part::Epoch, Fault::Truncated))
}

#[cfg(test)]
mod tests;
