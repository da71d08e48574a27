//! Keys as plain data: names, versions, thumbprints, states. No I/O and no secrets.

mod alias;
mod name;
mod policy;
mod reference;
mod thumbprint;
mod version;

pub(crate) use alias::BitPrefix;
pub use alias::{AliasError, AliasKind, AliasPrefix, CertificateHash, CkaId, KeyAlias, KeyUrl, SpkiHash};
pub use name::{KeyName, NameError, VaultName};
pub use policy::{DueAction, Period, PeriodError, PolicyAction, RotationPolicy, Trigger};
pub use reference::{KeyRef, KeyRefError};
pub use thumbprint::{TextError, Thumbprint, ThumbprintPrefix};
pub use version::{Deletion, KeyDetails, KeyState, KeyVersion, VersionNumber, WrapRefusal};
