//! Keys as plain data: names, versions, thumbprints, states. No I/O and no secrets.

mod name;
mod policy;
mod reference;
mod thumbprint;
mod version;

pub use name::{KeyName, NameError, VaultName};
pub use policy::{DueAction, Period, PeriodError, PolicyAction, RotationPolicy, Trigger};
pub use reference::{KeyRef, KeyRefError};
pub use thumbprint::{TextError, Thumbprint, ThumbprintPrefix};
pub use version::{Deletion, KeyDetails, KeyState, KeyVersion, VersionNumber, WrapRefusal};
