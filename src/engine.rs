//! Sealing and opening: turns disks into snapshots and back. Knows vaults, but no catalogue.

mod chunk;
mod cipher;
mod control;
mod epoch;
mod error;
mod inspect;
mod opener;
mod pages;
mod pipeline;
mod policy;
mod reader;
mod record_store;
mod recorded;
mod rewrap;
mod sealer;
mod unlock;
mod verify;

use std::sync::Arc;
use std::time::Duration;

pub use chunk::{Chunk, ChunkRecord, Chunks, Geometry, is_zero};
pub use control::Control;
pub use epoch::{EpochFolder, EpochKey, EpochRecords, read_epoch};
pub use error::{Error, ErrorKind};
pub use inspect::{Description, inspect};
pub use opener::Opener;
pub use pipeline::{OpenOptions, OpenSummary, SealOptions, SealSummary, Source, Target};
pub use policy::{LayerPolicy, PolicyError, SealPolicy, WrappingKey};
pub use reader::SnapshotReader;
#[cfg(feature = "store")]
pub(crate) use recorded::failure_of;
pub(crate) use recorded::kind_of_audit;
pub use rewrap::{Change, RewrapReport};
pub use sealer::{Sealer, Trailer};
pub use unlock::Warning;
pub use verify::{Verdict, verify_keyless};

use crate::audit::CorrelationId;
use crate::clock::{Clock, SystemClock};
use crate::key::Thumbprint;
use crate::provider::{KeyProvider, OpContext, Trail};
use crate::random::{Random, SystemRandom};

/// Seals and opens snapshots with the keys of the vaults it was given. Cheap to clone, shared between threads.
///
/// ```
/// use std::sync::Arc;
/// use sobre::provider::PemFiles;
///
/// let engine = sobre::Engine::new(vec![Arc::new(PemFiles::new())]);
/// let error = engine.open(vec![0_u8; 10]).expect_err("no snapshot");
/// assert_eq!(error.kind(), sobre::ErrorKind::Damaged);
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    providers: Vec<Arc<dyn KeyProvider>>,
    only: Vec<Thumbprint>,
    epochs: Vec<Arc<dyn EpochRecords>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    deadline: Duration,
    correlation: Option<CorrelationId>,
    trail: Option<Arc<Trail>>,
}

impl Engine {
    /// Uses these vaults, asked in this order, the system's clock and generator, and a deadline of two minutes for every
    /// operation on a vault.
    pub fn new(providers: Vec<Arc<dyn KeyProvider>>) -> Self {
        Self {
            providers,
            only: Vec::new(),
            epochs: Vec::new(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            deadline: Duration::from_secs(120),
            correlation: None,
            trail: None,
        }
    }

    /// Opens with exactly these keys, named by the operator, instead of the first key of a snapshot that a vault holds.
    #[must_use]
    pub fn with_keys(mut self, keys: Vec<Thumbprint>) -> Self {
        self.only = keys;
        self
    }

    /// Measures time with `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws keys and nonces from `random`: for test vectors. Whoever can predict it can open everything.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Gives every operation on a vault this much time.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Marks every operation on a vault as part of this request, in what is recorded of it.
    #[must_use]
    pub fn with_correlation(mut self, correlation: CorrelationId) -> Self {
        self.correlation = Some(correlation);
        self
    }

    /// Returns the vaults.
    pub fn providers(&self) -> &[Arc<dyn KeyProvider>] {
        &self.providers
    }

    /// Starts an operation: what calls to vaults carry.
    pub fn context(&self) -> OpContext {
        let cx = OpContext::new(Arc::clone(&self.clock), self.deadline);
        match self.correlation {
            Some(correlation) => cx.with_correlation(correlation),
            None => cx,
        }
    }
}
