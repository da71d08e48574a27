//! A home: the configuration, its vaults, and what a person's words for keys mean in it.

mod audit;
mod catalog;
mod config;
mod error;
mod first_use;
mod home;
mod keys;
mod paths;
mod restore;
mod vaults;

pub use catalog::Rebuilt;
pub use config::{AuditFailure, Config, OwnerName, VaultConfig, VaultKind};
pub use error::HomeError;
pub use first_use::{Created, FirstUse};
pub use home::{Home, HomeSettings, Resolved};
pub use paths::{Environment, Origin, Paths};
pub use restore::Restored;
