//! A home: the configuration, its vaults, and what a person's words for keys mean in it.

mod audit;
mod catalog;
mod check;
mod config;
mod epochs;
mod error;
mod first_use;
mod home;
mod impact;
mod keys;
mod paths;
mod preflight;
mod replace;
mod restore;
mod rewrap;
mod rotation;
mod sets;
mod vaults;

pub use catalog::Rebuilt;
pub use check::{VaultCheck, VaultState, VaultWarning};
pub use config::{AuditFailure, Config, OwnerName, VaultConfig, VaultKind};
pub use error::HomeError;
pub use first_use::{Created, FirstUse};
pub use home::{Home, HomeSettings, Resolved};
pub use impact::{Doubt, Impact, ImpactCoverage, LostSnapshot, PurgeRecord, SetUse, Survivor, Target};
pub use paths::{Environment, Origin, Paths};
pub use preflight::{
    Challenge, Choice, KeyPlace, NeedState, NeededKey, Preflight, PreflightOptions, SnapshotCheck, Standing,
    UnansweredVault, UnreadSnapshot, Verdict,
};
pub use replace::{ReplaceReport, Replacement};
pub use restore::Restored;
pub use rotation::{DueReason, DueSet, KeyOrigin, Remaining, RotationReport, RotationRequest};
pub use sets::{KeyWarning, NewSet, SetChanges, SetError, SetKeys};
