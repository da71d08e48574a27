//! What to do when a key is compromised (R47, R78): another key, in another vault, takes its place wherever it can.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::catalog::{EncryptionSet, SetKey, Snapshot};
use crate::engine::{Change, Control, Error, WrappingKey};
use crate::format::Layer;
use crate::key::{KeyName, KeyRef, KeyVersion, Thumbprint, VaultName};
use crate::manage::sets::platform_layer;
use crate::manage::{Created, Home, HomeError, Impact, RotationReport, RotationRequest, SetChanges, SetError};
use crate::provider::{KeyAdmin, KeyCensus, KeyChanges};

/// A key, and the one that shall take its place.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// The vault of the compromised key.
    pub vault: VaultName,
    /// Its name.
    pub name: KeyName,
    /// The vault of the new one: another, as whoever took the key may have the vault.
    pub new_vault: VaultName,
    /// Its name; it is made where there is none.
    pub new_name: KeyName,
}

/// What a replacement did, or would do.
#[derive(Debug)]
pub struct ReplaceReport {
    /// Id of the new key.
    pub to: String,
    /// What was made for it.
    pub created: Vec<Created>,
    /// The sets that sealed with the compromised key, and what became of their snapshots.
    pub sets: Vec<RotationReport>,
    /// How many snapshots outside of those sets were moved.
    pub rewrapped: u64,
    /// What could not be.
    pub failures: Vec<(PathBuf, Error)>,
    /// What still needs the compromised key.
    pub impact: Impact,
}

impl Home {
    /// Puts another key in the place of a compromised one: it is made in its own vault and proved, becomes the active one of every set that
    /// sealed with the old key, with new epoch keys, and every catalogued snapshot that can be written here is moved to it. The old key expires now: it
    /// seals nothing more and still opens what could not be moved, which is in the report.
    ///
    /// This closes files, not copies: whoever has the old key and an old copy of a head opens that copy for ever.
    ///
    /// # Errors
    ///
    /// [`HomeError::Set`] with [`SetError::SameVault`]; and as [`create_key`](Self::create_key), [`update_set`](Self::update_set),
    /// [`rotate_set`](Self::rotate_set). Run again, it goes on.
    pub fn replace_key(&self, replacement: &Replacement, ctl: &Control) -> Result<ReplaceReport, HomeError> {
        let versions = self.versions_to_replace(replacement)?;
        let (key, created) = self.new_key_of(replacement)?;
        let text = format!("{}/{}", replacement.new_vault, replacement.new_name);
        let mut rotated = Vec::new();
        for (set, layer) in self.sets_sealing_with(&versions)? {
            let reference = Self::key_ref(&text)?;
            let changes = match is_platform(&set, layer) {
                true => SetChanges { platform_key: Some(reference), ..SetChanges::default() },
                false => SetChanges { key: Some(reference), ..SetChanges::default() },
            };
            self.update_set(&set.name, &SetChanges { new_epoch: set.epoch, ..changes })?;
            let request = RotationRequest { set: set.name.clone(), layer, resume: true, envelopes: None };
            rotated.push(self.rotate_set(&request, ctl)?);
        }
        let mut report = ReplaceReport {
            to: key.version.id.clone(),
            created,
            sets: rotated,
            rewrapped: 0,
            failures: Vec::new(),
            impact: self.impact_of(&replacement.vault, &versions)?,
        };
        self.stop_sealing(replacement, &versions)?;
        self.move_the_rest(&versions, &key, ctl, &mut report)?;
        report.impact = self.impact_of(&replacement.vault, &versions)?;
        Ok(report)
    }

    /// Says which sets and how many snapshots outside of them [`replace_key`](Self::replace_key) would change, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`replace_key`](Self::replace_key).
    pub fn plan_replacement(&self, replacement: &Replacement) -> Result<(Vec<String>, u64, Impact), HomeError> {
        let versions = self.versions_to_replace(replacement)?;
        let sets = self.sets_sealing_with(&versions)?.into_iter().map(|(set, _)| set.name.to_string());
        let wrapped = self.wrapped_under(&versions)?.len() as u64;
        Ok((sets.collect(), wrapped, self.impact_of(&replacement.vault, &versions)?))
    }

    fn versions_to_replace(&self, replacement: &Replacement) -> Result<Vec<KeyVersion>, HomeError> {
        if replacement.vault == replacement.new_vault {
            return Err(SetError::SameVault(replacement.vault.to_string()).into());
        }
        let versions = self.vault(&replacement.vault)?.versions(&replacement.name, &self.context())?;
        Ok(versions.into_iter().map(|(_, version)| version).collect())
    }

    /// Lets the compromised versions expire: they wrap nothing from now on, and still open what is left.
    fn stop_sealing(&self, replacement: &Replacement, versions: &[KeyVersion]) -> Result<(), HomeError> {
        let (vault, now, cx) = (self.vault(&replacement.vault)?, self.clock().now(), self.context());
        for version in versions.iter().filter(|version| version.may_wrap(now).is_ok()) {
            let Ok(KeyRef::Named { version: number, .. }) = version.id.parse() else { continue };
            let changes = KeyChanges { not_after: Some(Some(now)), ..KeyChanges::default() };
            vault.update(&replacement.name, number, &changes, &cx)?;
        }
        Ok(())
    }

    fn new_key_of(&self, replacement: &Replacement) -> Result<(WrappingKey, Vec<Created>), HomeError> {
        let Replacement { new_vault, new_name, .. } = replacement;
        let reference = KeyRef::Named { vault: Some(new_vault.clone()), name: new_name.clone(), version: None };
        let mut created = Vec::new();
        let key = match self.find(&reference) {
            Err(HomeError::KeyNotFound { .. }) => {
                let (version, made) = self.create_key(Some(new_vault), new_name, BITS)?;
                created = made;
                created.push(Created::Key(version.id));
                self.find(&reference)?
            }
            found => found?,
        };
        Ok((key, created))
    }

    fn sets_sealing_with(&self, versions: &[KeyVersion]) -> Result<Vec<(EncryptionSet, Layer)>, HomeError> {
        let active = |key: &SetKey| versions.iter().any(|version| version.thumbprint == key.thumbprint);
        let mut found = Vec::new();
        for set in self.sets()? {
            for layer in set.keys.iter().filter(|key| active(key)).map(|key| key.layer).collect::<Vec<_>>() {
                found.push((set.clone(), layer));
            }
        }
        Ok(found)
    }

    /// Returns the catalogued snapshots that are wrapped under any of these versions directly.
    fn wrapped_under(&self, versions: &[KeyVersion]) -> Result<Vec<Snapshot>, HomeError> {
        let Some(catalog) = self.catalog()? else { return Ok(Vec::new()) };
        let going: BTreeSet<Thumbprint> = versions.iter().map(|version| version.thumbprint).collect();
        let mut found = Vec::new();
        for thumbprint in &going {
            found.extend(catalog.sealed_with(thumbprint)?);
        }
        found.retain(|snapshot| snapshot.deks.iter().any(|dek| going.contains(&dek.thumbprint)));
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found.dedup_by(|one, other| one.path == other.path);
        Ok(found)
    }

    /// Moves what is sealed with the compromised key outside of its sets.
    fn move_the_rest(
        &self,
        versions: &[KeyVersion],
        key: &WrappingKey,
        ctl: &Control,
        report: &mut ReplaceReport,
    ) -> Result<(), HomeError> {
        let from: Vec<Thumbprint> = versions.iter().map(|version| version.thumbprint).collect();
        let engine = self.engine(&[])?;
        let change = Change::Replace { from: from.clone(), to: key.clone() };
        for layer in [Layer::Inner, Layer::Outer] {
            let needs = |snapshot: &Snapshot| {
                snapshot.deks.iter().any(|dek| dek.layer == layer && from.contains(&dek.thumbprint))
            };
            let waiting: Vec<Snapshot> = self.wrapped_under(versions)?.into_iter().filter(|one| needs(one)).collect();
            let paths: Vec<PathBuf> = waiting.into_iter().map(|snapshot| snapshot.path).collect();
            let results = std::sync::Mutex::new(Vec::new());
            engine.rewrap_each(&paths, layer, &change, ctl, |place, result| {
                results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((place, result));
            });
            let mut moved = Vec::new();
            for (place, result) in results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
                let Some(path) = paths.get(place) else { continue };
                match result {
                    Ok(done) => moved.push((path, done)),
                    Err(error) => report.failures.push((path.clone(), error)),
                }
            }
            let told: Vec<_> = moved.iter().map(|(path, done)| (path, done)).collect();
            self.note_rewrapped(&told, layer)?;
            report.rewrapped += moved.len() as u64;
        }
        Ok(())
    }
}

fn is_platform(set: &EncryptionSet, layer: Layer) -> bool {
    set.kind != crate::catalog::SetKind::Customer && layer == platform_layer(set.kind)
}

const BITS: usize = 3072;
