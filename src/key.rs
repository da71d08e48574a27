//! Keys as plain data: names, versions, thumbprints, states. No I/O and no secrets.

mod name;
mod reference;
mod thumbprint;
mod version;

pub use name::{KeyName, NameError, VaultName};
pub use reference::{KeyRef, KeyRefError};
pub use thumbprint::{TextError, Thumbprint, ThumbprintPrefix};
pub use version::{KeyState, KeyVersion, VersionNumber, WrapRefusal};
