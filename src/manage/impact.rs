//! What becomes unreadable when a key goes (R47, R78).

mod assess;
mod record;

use std::fmt;
use std::path::PathBuf;

pub use record::PurgeRecord;

use crate::catalog::{Catalog, CatalogError, KeyUse, ScannedFolder, Snapshot};
use crate::io::escaped_path;
use crate::key::{KeyRef, KeyVersion, Thumbprint, VaultName};
use crate::manage::preflight::Vaults;
use crate::manage::{Home, HomeError};
use crate::provider::KeyCensus;

/// What becomes unreadable when key versions are disabled, deleted or purged, and what stays readable. As far as the catalogue knows.
#[derive(Debug)]
pub struct Impact {
    /// The key versions that go.
    pub targets: Vec<Target>,
    /// The snapshots that no usable key is left for, in order of their paths.
    pub lost: Vec<LostSnapshot>,
    /// The snapshots that need one of the versions and open without it.
    pub survivors: Vec<Survivor>,
    /// The encryption sets in which one of the versions is active or linked.
    pub sets: Vec<SetUse>,
    /// What all this is based on.
    pub coverage: ImpactCoverage,
    /// Why it may be wrong.
    pub doubts: Vec<Doubt>,
}

impl Impact {
    /// Whether nothing is lost, for certain.
    pub fn is_harmless(&self) -> bool {
        self.lost.is_empty() && self.doubts.is_empty()
    }
}

/// A key version that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is, with its version; empty for one that no vault has.
    pub id: String,
    /// The key.
    pub thumbprint: Thumbprint,
    /// The vault that it goes from. The same key in another vault stays. `None` for one that goes from everywhere.
    pub vault: Option<VaultName>,
    /// How many snapshots the catalogue knows with a DEK wrapped under it.
    pub snapshots: u64,
}

impl Target {
    fn of(vault: &VaultName, version: &KeyVersion) -> Self {
        Self { id: version.id.clone(), thumbprint: version.thumbprint, vault: Some(vault.clone()), snapshots: 0 }
    }
}

/// A snapshot that no usable key is left for.
#[derive(Clone, Debug)]
pub struct LostSnapshot {
    /// What is known of it.
    pub snapshot: Snapshot,
    /// The versions that it is lost with.
    pub keys: Vec<Thumbprint>,
    /// Its other wrappers, whose keys no vault here has or may use: a recovery key in a safe may be one.
    pub elsewhere: Vec<String>,
    /// Whether the file is not where it was: it may have been moved, or not be mounted.
    pub gone: bool,
}

/// A snapshot that opens without the versions that go.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// What is known of it.
    pub snapshot: Snapshot,
    /// The keys that open the layers which one of the versions opened, by their ids: they are there and may unwrap.
    pub through: Vec<String>,
}

/// A set that uses a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUse {
    /// The set's name.
    pub set: String,
    /// The key.
    pub thumbprint: Thumbprint,
    /// Whether it is the set's active key, which seals, as against a linked one.
    pub active: bool,
}

/// What an [`Impact`] is based on. Whatever lies in a folder that was never scanned, or on another machine, is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImpactCoverage {
    /// How many snapshots the catalogue knows.
    pub snapshots: u64,
    /// How many of them no key has authenticated, or have changed since one has.
    pub unverified: u64,
    /// How many are not where they were.
    pub gone: u64,
    /// How many could not be looked at.
    pub unreadable: u64,
    /// The folders that were scanned, and when.
    pub folders: Vec<ScannedFolder>,
}

/// Why more may be lost than is known.
#[derive(Debug)]
#[non_exhaustive]
pub enum Doubt {
    /// There is no catalogue.
    CatalogMissing,
    /// The catalogue can't be used.
    CatalogUnusable(CatalogError),
    /// No folder was ever scanned: only what was sealed here is known.
    NeverScanned,
    /// Not everything in a folder could be read when it was scanned.
    ScanIncomplete {
        /// The folder.
        folder: PathBuf,
        /// How many files and folders could not be read.
        failures: u64,
    },
    /// Some snapshots have changed since they were catalogued, and can't be read now.
    Unreadable(u64),
    /// What some snapshots say of their keys was never authenticated, or not since they changed: somebody may have written it who wants a
    /// key deleted.
    Unverified(u64),
}

impl Doubt {
    /// Returns the doubt's name in lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CatalogMissing => "catalog_missing",
            Self::CatalogUnusable(_) => "catalog_unusable",
            Self::NeverScanned => "never_scanned",
            Self::ScanIncomplete { .. } => "scan_incomplete",
            Self::Unreadable(_) => "unreadable",
            Self::Unverified(_) => "unverified",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CatalogMissing => f.write_str("there is no catalogue, so no snapshot is known"),
            Self::CatalogUnusable(error) => error.fmt(f),
            Self::NeverScanned => f.write_str("no folder was ever scanned, so only what was sealed here is known"),
            Self::ScanIncomplete { folder, failures } => {
                write!(f, "{failures} paths in {} could not be read when it was scanned", escaped_path(folder))
            }
            Self::Unreadable(1) => f.write_str("1 snapshot has changed and can't be read now"),
            Self::Unreadable(count) => write!(f, "{count} snapshots have changed and can't be read now"),
            Self::Unverified(1) => f.write_str("1 snapshot was never verified with a key, or not since it changed"),
            Self::Unverified(count) => {
                write!(f, "{count} snapshots were never verified with a key, or not since they changed")
            }
        }
    }
}

impl Home {
    /// Says what becomes unreadable when `key` goes: the version that it names, or all versions where it names a key without one. A
    /// thumbprint of a key that no vault has any more is looked for in the catalogue.
    ///
    /// Looks at every catalogued file, and reads the heads of those that have changed since they were catalogued.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find). A catalogue that is not there or damaged is no error but a [`Doubt`].
    pub fn impact(&self, key: &KeyRef) -> Result<Impact, HomeError> {
        if let Some((vault, name)) = self.whole_key(key)? {
            let versions = vault.versions(&name, &self.context())?;
            let versions: Vec<_> = versions.into_iter().map(|(_, version)| version).collect();
            let place: VaultName = crate::provider::KeyProvider::name(&*vault).clone();
            return self.impact_of(&place, &versions);
        }
        match (self.find(key), key) {
            (Ok(found), KeyRef::File(_)) => {
                let thumbprint = found.version.thumbprint;
                self.assess(vec![Target { id: found.version.id, thumbprint, vault: None, snapshots: 0 }])
            }
            (Ok(found), _) => self.impact_of(found.provider.name(), &[found.version]),
            (Err(error @ (HomeError::KeyNotFound { .. } | HomeError::NotSetUp { .. })), KeyRef::Thumbprint(prefix)) => {
                let known = self.catalog().ok().flatten().map(|catalog| catalog.key_uses()).transpose()?;
                let fitting = |known: &KeyUse| prefix.matches(&known.thumbprint);
                let targets: Vec<_> = known
                    .into_iter()
                    .flatten()
                    .filter(fitting)
                    .map(|known| Target { id: String::new(), thumbprint: known.thumbprint, vault: None, snapshots: 0 })
                    .collect();
                if targets.is_empty() { Err(error) } else { self.assess(targets) }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Says what becomes unreadable when these versions go from `vault`.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`], [`HomeError::VaultNotConfigured`].
    pub fn impact_of(&self, vault: &VaultName, versions: &[KeyVersion]) -> Result<Impact, HomeError> {
        self.assess(versions.iter().map(|version| Target::of(vault, version)).collect())
    }

    fn assess(&self, targets: Vec<Target>) -> Result<Impact, HomeError> {
        let vaults = Vaults::of(self)?;
        let catalog = match self.catalog() {
            Ok(catalog) => Ok(catalog),
            Err(HomeError::Catalog(error)) => Err(error),
            Err(error) => return Err(error),
        };
        Ok(Impact::of(targets, catalog, &vaults, &self.context()))
    }
}

impl Impact {
    /// As [`Home::impact`], with a catalogue and vaults at hand.
    pub(super) fn of(
        targets: Vec<Target>,
        catalog: Result<Option<Catalog>, CatalogError>,
        vaults: &Vaults,
        cx: &crate::provider::OpContext,
    ) -> Self {
        let mut impact = Self {
            targets,
            lost: Vec::new(),
            survivors: Vec::new(),
            sets: Vec::new(),
            coverage: ImpactCoverage::default(),
            doubts: Vec::new(),
        };
        let assessed = match catalog {
            Ok(Some(catalog)) => impact.take_from(&catalog, vaults, cx),
            Ok(None) => {
                impact.doubts.push(Doubt::CatalogMissing);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = assessed {
            impact.doubts.push(Doubt::CatalogUnusable(error));
        }
        impact
    }
}

#[cfg(test)]
mod tests;
