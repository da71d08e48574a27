//! Which sets are due to be rotated: for a timer (R65, R73).

use crate::catalog::{EncryptionSet, SetKey, SetName};
use crate::clock::UnixTime;
use crate::format::Layer;
use crate::key::PolicyAction;
use crate::manage::{Home, HomeError};
use crate::provider::{KeyCensus, KeyProvider};

/// A layer of a set that is due, or of which that can't be said.
#[derive(Debug)]
pub struct DueSet {
    /// The set.
    pub set: SetName,
    /// The layer.
    pub layer: Layer,
    /// Why it is due, or why that can't be said.
    pub reason: Result<DueReason, HomeError>,
}

/// Why a set is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DueReason {
    /// It follows its key, of which there is a newer version.
    NewerVersion(String),
    /// Its key's rotation policy says so, since this time.
    Policy(UnixTime),
    /// A rotation was interrupted, or snapshots that can be written here still need an older key.
    Unfinished,
}

impl Home {
    /// Says which sets are due: those with an unfinished rotation, those whose key's policy wants a rotation, and those that follow
    /// the newest version of a key that has a newer one. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`]. A vault that can't be asked is in the answer of its set.
    pub fn due_sets(&self) -> Result<Vec<DueSet>, HomeError> {
        let mut due = Vec::new();
        for set in self.sets()? {
            for key in &set.keys {
                if let Some(reason) = self.due(&set, key).transpose() {
                    due.push(DueSet { set: set.name.clone(), layer: key.layer, reason });
                }
            }
        }
        Ok(due)
    }

    fn due(&self, set: &EncryptionSet, key: &SetKey) -> Result<Option<DueReason>, HomeError> {
        let (vault, name) = self.key_of(key)?;
        let cx = self.context();
        let policy = vault.details(&name, &cx)?.policy;
        let version = vault.find(&key.thumbprint, &cx)?;
        let due = policy.due(&version, self.clock().now());
        if let Some(rotate) = due.iter().find(|action| action.action == PolicyAction::Rotate) {
            return Ok(Some(DueReason::Policy(rotate.since)));
        }
        if set.auto_rotate {
            let newest = self.newest_of(key)?;
            if newest.thumbprint != key.thumbprint {
                return Ok(Some(DueReason::NewerVersion(newest.key_id)));
            }
        }
        let catalog = self.catalog_with(&set.name)?;
        let running = catalog.running_job(&set.name)?;
        let unfinished = running.is_some_and(|job| super::layer_of(set, &job) == Some(key.layer));
        Ok((unfinished || self.has_work(&catalog, set, key)?).then_some(DueReason::Unfinished))
    }
}
