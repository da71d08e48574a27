//! Sealing with the keys of a set, and what should be known of keys before.

use std::fmt;
use std::path::Path;

use crate::catalog::{CatalogError, EncryptionSet, SetName};
use crate::clock::UnixTime;
use crate::engine::{LayerPolicy, SealPolicy};
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
}

impl SetKeys {
    /// Makes the policy that seals with them and names the set in the snapshot.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when there are too many keys.
    pub fn policy(&self) -> Result<SealPolicy, HomeError> {
        let layer = |resolved: &Resolved| -> Result<LayerPolicy, HomeError> {
            Ok(LayerPolicy::new(resolved.keys.clone())?.of_set(self.set.name.as_str())?)
        };
        Ok(match &self.outer {
            Some(outer) => SealPolicy::double(layer(&self.inner)?, layer(outer)?),
            None => SealPolicy::new(layer(&self.inner)?),
        })
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
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] with [`Pinned`](crate::manage::SetError::Pinned) when a vault gives other material; [`HomeError::Catalog`] when there is no such
    /// set; and as [`find`](Self::find).
    pub fn keys_of_set(&self, name: &SetName) -> Result<SetKeys, HomeError> {
        let set = self.set(name)?;
        let mut layers = Vec::new();
        for key in &set.keys {
            self.pinned(name, key)?;
            let resolved = self.keys_for(std::slice::from_ref(&key.key_id), "key", None)?;
            layers.push((key.layer, resolved));
        }
        let mut take = |layer: Layer| {
            let place = layers.iter().position(|(known, _)| *known == layer)?;
            Some(layers.swap_remove(place).1)
        };
        let inner = take(Layer::Inner).ok_or_else(|| CatalogError::SetNotFound(name.to_string()))?;
        let outer = take(Layer::Outer);
        Ok(SetKeys { set, inner, outer })
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
        for key in now.keys.iter().filter(|key| !sealed.keys.contains(key)) {
            self.move_to(key, &now, path)?;
            moved.push(key.key_id.clone());
        }
        Ok(moved)
    }
}

/// Seconds: 30 days.
const NEAR: u64 = 30 * 86_400;
