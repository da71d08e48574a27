//! Where a home keeps its catalogue, and what goes into it by itself.

use std::path::{Path, PathBuf};

use crate::catalog::{Catalog, CatalogError, Snapshot};
use crate::engine::{SealSummary, Verdict};
use crate::key::Thumbprint;
use crate::manage::{Home, HomeError};

/// What a rebuilt catalogue begins with.
#[derive(Debug)]
pub struct Rebuilt {
    /// The catalogue: the one that was there, where that is sound.
    pub catalog: Catalog,
    /// What the one that was not is called now. Its jobs are in there.
    pub aside: Option<PathBuf>,
    /// How many encryption sets were taken over from it; `None` when they can't be read any more.
    pub sets: Option<usize>,
}

impl Home {
    /// Returns the path of the catalogue, which may not exist.
    pub fn catalog_path(&self) -> PathBuf {
        self.paths().data.join("catalog.db")
    }

    /// Opens the catalogue; `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`].
    pub fn catalog(&self) -> Result<Option<Catalog>, HomeError> {
        match Catalog::open(&self.catalog_path(), self.context().remaining()) {
            Ok(catalog) => Ok(Some(catalog)),
            Err(CatalogError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the catalogue, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`].
    pub fn catalog_or_new(&self) -> Result<Catalog, HomeError> {
        Ok(Catalog::open_or_create(&self.catalog_path(), self.context().remaining())?)
    }

    /// Opens the catalogue to be filled anew. One that is damaged or newer is set aside, not removed.
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`].
    pub fn rebuild_catalog(&self) -> Result<Rebuilt, HomeError> {
        let path = self.catalog_path();
        match self.catalog_or_new() {
            Ok(catalog) => Ok(Rebuilt { catalog, aside: None, sets: Some(0) }),
            Err(HomeError::Catalog(CatalogError::Damaged { .. } | CatalogError::Newer { .. })) => {
                let aside = Catalog::set_aside(&path)?;
                let catalog = self.catalog_or_new()?;
                let sets = Catalog::salvage_sets(&aside);
                for record in Catalog::salvage_epochs(&aside) {
                    catalog.keep_epoch(&record, false)?;
                }
                // What the snapshots don't say would otherwise be gone with it.
                for set in sets.iter().flatten() {
                    catalog.create_set(set)?;
                }
                Ok(Rebuilt { catalog, aside: Some(aside), sets: sets.map(|sets| sets.len()) })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a snapshot that was just sealed into the catalogue; `false` when there is no home to keep one in.
    ///
    /// It counts as verified when the file says what the seal said; `keys` are the policy's
    /// [`thumbprints`](crate::engine::SealPolicy::thumbprints).
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when the snapshot can't be read, [`HomeError::Catalog`]. The snapshot stands in either case.
    pub fn register(&self, path: &Path, sealed: &SealSummary, keys: &[Thumbprint]) -> Result<bool, HomeError> {
        if self.is_fresh() {
            return Ok(false);
        }
        let snapshot = Snapshot::read(path, self.clock().now())?;
        let same = snapshot.id == sealed.id
            && snapshot.root == Some(sealed.root)
            && snapshot.deks.len() == keys.len()
            && snapshot.deks.iter().all(|dek| keys.contains(&dek.thumbprint));
        let snapshot = if same { snapshot.verified() } else { snapshot };
        self.catalog_or_new()?.register(&[snapshot])?;
        Ok(true)
    }

    /// Reads what a snapshot says of itself, if the catalogue knows it: see [`note_verified`](Self::note_verified).
    ///
    /// # Errors
    ///
    /// [`HomeError::Catalog`].
    pub fn known(&self, path: &Path) -> Result<Option<Snapshot>, HomeError> {
        let known = self.catalog()?.map(|catalog| catalog.snapshot(path)).transpose()?.flatten();
        Ok(known.and_then(|_| Snapshot::read(path, self.clock().now()).ok()))
    }

    /// Notes in the catalogue that a key has authenticated what a snapshot says: `before` is what was [`known`](Self::known) right before it
    /// was verified. `false` when the file is not any more what it was.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when the snapshot can't be read any more, [`HomeError::Catalog`].
    pub fn note_verified(&self, before: Snapshot, verdict: &Verdict) -> Result<bool, HomeError> {
        let after = Snapshot::read(&before.path, self.clock().now())?;
        let proved = verdict.authentic && after.id == verdict.header.id && after.root == Some(verdict.root);
        // A head that was exchanged while the data were being read is not the one that was verified.
        let same = proved && after.agrees_with(&before);
        if let (true, Some(catalog)) = (same, self.catalog()?) {
            catalog.register(&[after.verified()])?;
            return Ok(true);
        }
        Ok(false)
    }
}
