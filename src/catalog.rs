//! What is known of snapshots, encryption sets and jobs: an index that can be lost.
//!
//! Everything about snapshots is read from the snapshots themselves, and comes back by scanning the folders that they lie in. Facts from
//! headers that no key has authenticated are marked as such: see [`Snapshot::verified`].

mod database;
mod epochs;
mod error;
mod jobs;
mod scan;
mod sets;
mod snapshot;
mod snapshots;
mod value;

pub use database::Catalog;
pub use epochs::KnownEpoch;
pub use error::{CatalogDamage, CatalogError};
pub use jobs::{ItemState, Job, JobId, JobItem, JobKind, JobState};
pub use scan::{ScanBatch, ScanFailure, ScanFault, ScanReport, find_snapshots};
pub use sets::{EncryptionSet, SetKey, SetKind, SetLink, SetName, SetNameError};
pub use snapshot::{EPOCH_ALGORITHM, Snapshot, WrappedDek};
pub use snapshots::{Coverage, KeyUse, ScannedFolder};

#[cfg(test)]
mod tests;
