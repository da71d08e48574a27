//! Encryption sets: made, changed and removed. Every key that becomes active in one is proved and pinned.

mod error;
pub(super) mod events;
mod keys;
mod sealing;

pub use error::SetError;
pub use sealing::{KeyWarning, SetKeys};

use crate::audit::{Operation, Outcome, Properties};
use crate::catalog::{Catalog, CatalogError, EncryptionSet, SetKey, SetKind, SetLink, SetName};
use crate::format::Layer;
use crate::key::KeyRef;
use crate::manage::{Created, Home, HomeError};

/// What a new set shall be.
#[derive(Clone, Debug)]
pub struct NewSet {
    /// Its name.
    pub name: SetName,
    /// Whose keys seal. Can't change afterwards (R5).
    pub kind: SetKind,
    /// The customer's key, where the kind has one. In a set of the platform's, the platform's.
    pub key: Option<KeyRef>,
    /// The platform's key; made by itself where none is named and there is none.
    pub platform_key: Option<KeyRef>,
    /// Where it belongs (R21).
    pub location: Option<String>,
    /// To whom it belongs.
    pub subscription: Option<String>,
    /// Whether it follows the newest version of its keys.
    pub auto_rotate: bool,
    /// Whether an epoch key shall stand between its KEK and its DEKs. A rotation then costs one unwrap and one wrap however many snapshots
    /// there are; and whoever learns the epoch key opens all of them, where a DEK opens one.
    pub epoch: bool,
    /// Whether the recovery keys of the configuration are added to what it seals. An escrow key survives revocation; a set may forbid it.
    pub recovery: bool,
}

/// What changes about a set; what is not named stays. Its kind can't change (R5).
#[derive(Clone, Debug, Default)]
pub struct SetChanges {
    /// A new active key of the customer's layer, or of the only one.
    pub key: Option<KeyRef>,
    /// A new active key of the platform's layer.
    pub platform_key: Option<KeyRef>,
    /// Where it belongs; `Some(None)` takes it away.
    pub location: Option<Option<String>>,
    /// To whom it belongs; `Some(None)` takes it away.
    pub subscription: Option<Option<String>>,
    /// Whether it follows the newest version of its keys.
    pub auto_rotate: Option<bool>,
    /// Whether the recovery keys of the configuration are added to what it seals.
    pub recovery: Option<bool>,
    /// Whether new epoch keys are made for what is sealed from now on. What was sealed before stays under the older ones.
    pub new_epoch: bool,
}

impl Home {
    /// Returns all encryption sets in order of their names.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`].
    pub fn sets(&self) -> Result<Vec<EncryptionSet>, HomeError> {
        Ok(self.catalog()?.map_or_else(|| Ok(Vec::new()), |catalog| catalog.sets())?)
    }

    /// Returns the set with this name.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`], with [`CatalogError::SetNotFound`] also where there is no catalogue.
    pub fn set(&self, name: &SetName) -> Result<EncryptionSet, HomeError> {
        Ok(self.catalog_with(name)?.set(name)?)
    }

    /// Makes a set. Its keys are proved first: a secret is wrapped under each and unwrapped by its vault. The platform's vault and key are
    /// made where they are needed and there are none.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] when the keys don't fit the kind; [`HomeError::Engine`] when a key may not wrap or does not stand the test;
    /// [`HomeError::Catalog`], with [`CatalogError::Exists`] for a name that is taken; and as [`find`](Self::find).
    pub fn create_set(&self, new: &NewSet) -> Result<(EncryptionSet, Vec<Created>), HomeError> {
        let made = |(set, _): &(EncryptionSet, _)| events::made(set);
        self.recorded_as(Operation::SetCreate, &events::about(&new.name), || self.make_set(new), made)
    }

    fn make_set(&self, new: &NewSet) -> Result<(EncryptionSet, Vec<Created>), HomeError> {
        // Nothing is made for a set that can't be.
        let mut set = self.plan_set(new)?;
        let created = match set.keys.len() == layers(set.kind).len() {
            true => Vec::new(),
            false => {
                let (key, created) = self.make_platform_key()?;
                set.keys.push(self.set_key(set.kind, platform_layer(set.kind), &key)?);
                created
            }
        };
        for key in &set.keys {
            self.prove(&set.name, key)?;
        }
        self.catalog_or_new()?.create_set(&set)?;
        Ok((self.set(&set.name)?, created))
    }

    /// Says what [`create_set`](Self::create_set) would make, and makes nothing. A key that would be made is not among the set's keys.
    ///
    /// # Errors
    ///
    /// As [`create_set`](Self::create_set); no key is proved.
    pub fn plan_set(&self, new: &NewSet) -> Result<EncryptionSet, HomeError> {
        check_label("location", new.location.as_deref())?;
        check_label("subscription", new.subscription.as_deref())?;
        if let Some(catalog) = self.catalog()? {
            match catalog.set(&new.name) {
                Err(CatalogError::SetNotFound(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(set) => return Err(CatalogError::Exists(set.name.to_string()).into()),
            }
        }
        let mut keys = Vec::new();
        let (key, platform_key) = self.named_keys(new)?;
        if let Some(key) = key {
            keys.push(self.set_key(new.kind, Layer::Inner, &key)?);
        }
        if let Some(key) = platform_key {
            keys.push(self.set_key(new.kind, platform_layer(new.kind), &key)?);
        }
        Ok(EncryptionSet {
            name: new.name.clone(),
            kind: new.kind,
            keys,
            links: Vec::new(),
            location: new.location.clone(),
            subscription: new.subscription.clone(),
            auto_rotate: new.auto_rotate,
            epoch: new.epoch,
            recovery: new.recovery,
            generation: 1,
            created: self.clock().now(),
        })
    }

    /// Changes a set. A key that becomes active is proved first; the one that was is linked, so that what it sealed still belongs to the
    /// set. Existing snapshots move with [`rotate_set`](Self::rotate_set).
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] with [`CustomerToPlatform`](crate::engine::PolicyError::CustomerToPlatform) (R6); [`HomeError::Catalog`] with
    /// [`CatalogError::Changed`] when somebody else changed the set meanwhile; else as [`create_set`](Self::create_set).
    pub fn update_set(&self, name: &SetName, changes: &SetChanges) -> Result<EncryptionSet, HomeError> {
        let before = self.set(name).map(|set| set.keys).unwrap_or_default();
        let changed = |set: &EncryptionSet| events::changed(&before, set);
        self.recorded_as(Operation::SetUpdate, &events::about(name), || self.change_set(name, changes), changed)
    }

    fn change_set(&self, name: &SetName, changes: &SetChanges) -> Result<EncryptionSet, HomeError> {
        let set = self.plan_changes(name, changes)?;
        let catalog = self.catalog_with(name)?;
        let before = catalog.set(name)?;
        for key in set.keys.iter().filter(|key| !before.keys.contains(key)) {
            self.prove(&set.name, key)?;
        }
        catalog.replace_set(&set)?;
        if changes.new_epoch {
            for key in &set.keys {
                let kek = self.prove(&set.name, key)?;
                self.start_epoch(&catalog, &set, key, &kek)?;
            }
        }
        Ok(catalog.set(name)?)
    }

    /// Says what [`update_set`](Self::update_set) would make of a set, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`update_set`](Self::update_set); no key is proved.
    pub fn plan_changes(&self, name: &SetName, changes: &SetChanges) -> Result<EncryptionSet, HomeError> {
        let mut set = self.set(name)?;
        if changes.new_epoch && !set.epoch {
            return Err(SetError::NoEpochs(name.to_string()).into());
        }
        if let Some(location) = &changes.location {
            check_label("location", location.as_deref())?;
            set.location.clone_from(location);
        }
        if let Some(subscription) = &changes.subscription {
            check_label("subscription", subscription.as_deref())?;
            set.subscription.clone_from(subscription);
        }
        set.auto_rotate = changes.auto_rotate.unwrap_or(set.auto_rotate);
        set.recovery = changes.recovery.unwrap_or(set.recovery);
        if let Some(key) = &changes.key {
            let key = self.set_key(set.kind, Layer::Inner, key).map_err(|error| back_to_platform(error, set.kind))?;
            activate(&mut set, key);
        }
        if let Some(key) = &changes.platform_key {
            if set.kind == SetKind::Customer {
                return Err(SetError::KeyNotNeeded { kind: set.kind }.into());
            }
            let key = self.set_key(set.kind, platform_layer(set.kind), key)?;
            activate(&mut set, key);
        }
        Ok(set)
    }

    /// Links a key to a set: it never wraps, and what has its thumbprint belongs to the set (R31). Returns the set as it is then; with
    /// `dry_run`, as it would be.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] for a key that is active or linked already, or in a file; [`HomeError::Catalog`]; and as [`find`](Self::find).
    pub fn link_key(&self, name: &SetName, key: &KeyRef, dry_run: bool) -> Result<EncryptionSet, HomeError> {
        let act = || self.add_link(name, key, dry_run);
        match dry_run {
            true => act(),
            false => {
                let linked = |set: &EncryptionSet| events::linked(set.links.last());
                self.recorded_as(Operation::SetLink, &events::about(name), act, linked)
            }
        }
    }

    fn add_link(&self, name: &SetName, key: &KeyRef, dry_run: bool) -> Result<EncryptionSet, HomeError> {
        let mut set = self.set(name)?;
        let found = self.in_vault(key)?.version;
        let id = found.id.clone();
        if set.keys.iter().any(|active| active.thumbprint == found.thumbprint) {
            return Err(SetError::Active { set: name.to_string(), key: id }.into());
        }
        if set.links.iter().any(|link| link.thumbprint == found.thumbprint) {
            return Err(SetError::Linked { set: name.to_string(), key: id }.into());
        }
        set.links.push(SetLink { thumbprint: found.thumbprint, key_id: id });
        self.replaced(set, dry_run)
    }

    /// Takes a linked key out of a set; the key itself stays. It need not be in any vault any more. Returns the set as it is then, and the
    /// key; with `dry_run`, as it would be.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] for a key that is not linked; [`HomeError::AmbiguousKey`]; [`HomeError::Catalog`].
    pub fn unlink_key(
        &self,
        name: &SetName,
        key: &KeyRef,
        dry_run: bool,
    ) -> Result<(EncryptionSet, SetLink), HomeError> {
        let act = || self.remove_link(name, key, dry_run);
        match dry_run {
            true => act(),
            false => {
                let unlinked = |(_, link): &(_, SetLink)| events::linked(Some(link));
                self.recorded_as(Operation::SetUnlink, &events::about(name), act, unlinked)
            }
        }
    }

    fn remove_link(&self, name: &SetName, key: &KeyRef, dry_run: bool) -> Result<(EncryptionSet, SetLink), HomeError> {
        let mut set = self.set(name)?;
        let named = |link: &SetLink| match key {
            KeyRef::Thumbprint(prefix) => prefix.matches(&link.thumbprint),
            other => link.key_id == other.to_string(),
        };
        let mut fitting: Vec<SetLink> = set.links.iter().filter(|link| named(link)).cloned().collect();
        if fitting.is_empty() && !matches!(key, KeyRef::Thumbprint(_)) {
            let thumbprint = self.in_vault(key)?.version.thumbprint;
            fitting = set.links.iter().filter(|link| link.thumbprint == thumbprint).cloned().collect();
        }
        let link = match fitting.as_slice() {
            [one] => one.clone(),
            [] => return Err(SetError::NotLinked { set: name.to_string(), key: key.to_string() }.into()),
            several => {
                let matches = several.iter().map(|link| link.key_id.clone()).collect();
                return Err(HomeError::AmbiguousKey { key: key.to_string(), matches });
            }
        };
        set.links.retain(|other| other.thumbprint != link.thumbprint);
        Ok((self.replaced(set, dry_run)?, link))
    }

    /// Removes a set. Its snapshots stay and open as before; they don't rotate any more. Returns how many the catalogue knows.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] with [`SetError::InUse`] when there are any and `even_in_use` is false; [`HomeError::Catalog`].
    pub fn delete_set(&self, name: &SetName, even_in_use: bool, dry_run: bool) -> Result<u64, HomeError> {
        let act = || self.remove_set(name, even_in_use, dry_run);
        match dry_run {
            true => act(),
            false => {
                let counted =
                    |items: &u64| (Outcome::Success, Properties { items: Some(*items), ..Properties::default() });
                self.recorded_as(Operation::SetDelete, &events::about(name), act, counted)
            }
        }
    }

    fn remove_set(&self, name: &SetName, even_in_use: bool, dry_run: bool) -> Result<u64, HomeError> {
        let catalog = self.catalog_with(name)?;
        let set = catalog.set(name)?;
        let snapshots = catalog.sealed_in_set(name.as_str())?.len() as u64;
        if snapshots > 0 && !even_in_use && !dry_run {
            return Err(SetError::InUse { set: name.to_string(), snapshots }.into());
        }
        if !dry_run {
            catalog.delete_set(name, set.generation)?;
        }
        Ok(snapshots)
    }

    fn replaced(&self, set: EncryptionSet, dry_run: bool) -> Result<EncryptionSet, HomeError> {
        if dry_run {
            return Ok(set);
        }
        let catalog = self.catalog_with(&set.name)?;
        catalog.replace_set(&set)?;
        Ok(catalog.set(&set.name)?)
    }

    /// Opens the catalogue that must have this set.
    pub(super) fn catalog_with(&self, name: &SetName) -> Result<Catalog, HomeError> {
        Ok(self.catalog()?.ok_or_else(|| CatalogError::SetNotFound(name.to_string()))?)
    }
}

/// Makes `key` the active one of its layer and links the one that was.
pub(super) fn activate(set: &mut EncryptionSet, key: SetKey) {
    set.links.retain(|link| link.thumbprint != key.thumbprint);
    if let Some(active) = set.keys.iter_mut().find(|active| active.layer == key.layer) {
        let before = std::mem::replace(active, key);
        if before.thumbprint != active.thumbprint {
            set.links.push(SetLink { thumbprint: before.thumbprint, key_id: before.key_id });
        }
    }
}

fn layers(kind: SetKind) -> &'static [Layer] {
    match kind {
        SetKind::Customer | SetKind::Platform => &[Layer::Inner],
        SetKind::PlatformAndCustomer => &[Layer::Inner, Layer::Outer],
    }
}

pub(super) fn platform_layer(kind: SetKind) -> Layer {
    match kind {
        SetKind::PlatformAndCustomer => Layer::Outer,
        SetKind::Customer | SetKind::Platform => Layer::Inner,
    }
}

fn check_label(field: &'static str, text: Option<&str>) -> Result<(), SetError> {
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_LABEL || text.chars().any(char::is_control) => {
            Err(SetError::Label { field, text: text.to_owned() })
        }
        _ => Ok(()),
    }
}

/// What a set of another owner's key is at its beginning is a way back later (R6).
fn back_to_platform(error: HomeError, kind: SetKind) -> HomeError {
    match error {
        HomeError::Set(SetError::Owner { .. }) if kind != SetKind::Platform => {
            crate::engine::PolicyError::CustomerToPlatform.into()
        }
        error => error,
    }
}

/// Bytes.
const MAX_LABEL: usize = 90;

#[cfg(test)]
mod tests;
