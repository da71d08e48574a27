//! Sealing with the keys of a set, and what should be known of keys before.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::{CatalogError, EncryptionSet, SetName};
use crate::clock::UnixTime;
use crate::engine::{EpochKey, LayerPolicy, PolicyError, SealPolicy};
use crate::format::Layer;
use crate::io::Escaped;
use crate::manage::{Home, HomeError, Resolved};

/// The keys that a set seals with.
#[derive(Debug)]
pub struct SetKeys {
    /// The set as it is now.
    pub set: EncryptionSet,
    /// The keys of layer 1, the recovery keys included.
    pub inner: Resolved,
    /// The keys of layer 2, in a set of double encryption.
    pub outer: Option<Resolved>,
    /// The epoch keys between them and the DEKs, in a set that has them.
    pub epochs: Vec<Arc<EpochKey>>,
}

impl SetKeys {
    /// Makes the policy that seals with them and names the set in the snapshot.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when there are too many keys.
    pub fn policy(&self) -> Result<SealPolicy, HomeError> {
        let inner = self.layer(Layer::Inner)?;
        Ok(match &self.outer {
            Some(_) => SealPolicy::double(inner, self.layer(Layer::Outer)?),
            None => SealPolicy::new(inner),
        })
    }

    /// Makes the policy of one layer.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when there are too many keys, or none for that layer.
    pub fn layer(&self, layer: Layer) -> Result<LayerPolicy, HomeError> {
        let resolved = match layer {
            Layer::Inner => &self.inner,
            Layer::Outer => self.outer.as_ref().ok_or(PolicyError::NoSuchLayer)?,
        };
        let epoch = self.epochs.iter().find(|epoch| epoch.layer() == layer);
        let policy = match (epoch, resolved.keys.split_first()) {
            (Some(epoch), Some((kek, others))) => {
                LayerPolicy::under_epoch(Arc::clone(epoch), kek.clone(), others.to_vec())?
            }
            _ => LayerPolicy::new(resolved.keys.clone())?,
        };
        Ok(policy.of_set(self.set.name.as_str())?)
    }
}

/// Something that should be known of a key that seals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyWarning {
    /// It wraps nothing from a time on that is less than 30 days away.
    NearExpiry {
        /// The key.
        key: String,
        /// When.
        expires: UnixTime,
    },
}

impl fmt::Display for KeyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NearExpiry { key, expires } => {
                write!(f, "key {} expires on {expires} and seals nothing from then on", Escaped(key))
            }
        }
    }
}

impl Home {
    /// Makes the policy of a set: its keys, checked, and its name.
    ///
    /// # Errors
    ///
    /// As [`keys_of_set`](Self::keys_of_set).
    pub fn policy(&self, set: &SetName) -> Result<SealPolicy, HomeError> {
        self.keys_of_set(set)?.policy()
    }

    /// Finds the keys that a set seals with: what its vaults have under the ids and with the material that the set pinned, and nothing else.
    /// The epoch keys of a set that has them are unwrapped by their vaults, one request for each layer; where there is none yet, one is made.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] with [`Pinned`](crate::manage::SetError::Pinned) when a vault gives other material; [`HomeError::Catalog`] when there is no such
    /// set; and as [`find`](Self::find).
    pub fn keys_of_set(&self, name: &SetName) -> Result<SetKeys, HomeError> {
        let set = self.set(name)?;
        let mut layers = Vec::new();
        let mut epochs = Vec::new();
        for key in &set.keys {
            let kek = self.pinned(name, key)?;
            if set.epoch {
                epochs.push(self.epoch_of(&set, key, &kek)?);
            }
            let resolved = match set.recovery {
                true => self.keys_for(std::slice::from_ref(&key.key_id), "key", None)?,
                false => self.keys_without_recovery(std::slice::from_ref(&key.key_id))?,
            };
            layers.push((key.layer, resolved));
        }
        let mut take = |layer: Layer| {
            let place = layers.iter().position(|(known, _)| *known == layer)?;
            Some(layers.swap_remove(place).1)
        };
        let inner = take(Layer::Inner).ok_or_else(|| CatalogError::SetNotFound(name.to_string()))?;
        let outer = take(Layer::Outer);
        Ok(SetKeys { set, inner, outer, epochs })
    }

    /// Says what should be known of keys that are about to seal.
    pub fn key_warnings(&self, layers: &[&Resolved]) -> Vec<KeyWarning> {
        let now = self.clock().now();
        let near = |expires: &UnixTime| now < *expires && *expires <= now.plus(NEAR);
        layers
            .iter()
            .flat_map(|layer| &layer.keys)
            .filter_map(|key| {
                let expires = key.version.not_after.filter(near)?;
                Some(KeyWarning::NearExpiry { key: key.version.id.clone(), expires })
            })
            .collect()
    }

    /// Moves a snapshot that was just sealed with a set's keys to those that the set has now: it may have been rotated meanwhile, and the
    /// rotation may be over. Returns the ids of the keys that it was moved to.
    ///
    /// # Errors
    ///
    /// As [`rotate_set`](Self::rotate_set). The snapshot stands, and the next rotation finds it.
    pub fn follow_set(&self, sealed: &EncryptionSet, path: &Path) -> Result<Vec<String>, HomeError> {
        let now = match self.set(&sealed.name) {
            Err(HomeError::Catalog(CatalogError::SetNotFound(_))) => return Ok(Vec::new()),
            now => now?,
        };
        let mut moved = Vec::new();
        if now.epoch {
            self.refresh_epochs(&now, path)?;
        }
        for key in now.keys.iter().filter(|key| !sealed.keys.contains(key)) {
            if !now.epoch {
                self.move_to(key, &now, path)?;
            }
            moved.push(key.key_id.clone());
        }
        Ok(moved)
    }
}

/// Seconds: 30 days.
const NEAR: u64 = 30 * 86_400;
