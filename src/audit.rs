//! What happened to keys, to whom it is owed, and a record of it that can't be changed unseen.
//!
//! An [`Event`] is typed: there is no field that could carry a secret. An [`AuditSink`] keeps events; `AuditLog` (feature `store`) is the
//! one that writes JSON lines, chained by HMAC. Who has the log's key file can forge the log: the chain shows what others change. The
//! [`Head`] of the chain lives elsewhere, in a [`HeadStore`], so that cutting off the end shows as well.

mod error;
mod event;
#[cfg(feature = "store")]
mod files;
mod head;
mod identity;
#[cfg(feature = "store")]
mod line;
#[cfg(feature = "store")]
mod log;
mod policy;
mod properties;
#[cfg(feature = "store")]
mod reader;
#[cfg(feature = "store")]
mod record;
#[cfg(feature = "store")]
mod verify;

use std::fmt;

pub use error::{AuditError, Break, ChainFault};
pub use event::{Event, FailureKind, Operation, Outcome};
pub use head::{FileHead, Head, HeadError, HeadStore};
pub use identity::{CorrelationId, Identity};
#[cfg(feature = "store")]
pub use log::{AuditLog, AuditSettings};
pub(crate) use policy::tell;
pub use policy::{FailurePolicy, Kept, keep};
pub use properties::{Properties, Text};
#[cfg(feature = "store")]
pub use record::{Filter, Record, RecordIdentity, RecordProperties};
#[cfg(feature = "store")]
pub use verify::{Entry, Verification};

/// Keeps events.
pub trait AuditSink: fmt::Debug + Send + Sync + 'static {
    /// Keeps `events`, all of them or none, in this order and durably: what this returns `Ok` for survives a crash.
    ///
    /// # Errors
    ///
    /// [`AuditError`]: then nothing that depends on the record may go on (see [`FailurePolicy`]).
    fn append(&self, events: &[Event]) -> Result<(), AuditError>;
}

#[cfg(all(test, feature = "store"))]
mod tests;
