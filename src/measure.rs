//! What this machine can do: kernels against the roofline of the AES unit, integrity, suites, copies, RSA.
//!
//! Everything is timed in one process, and whatever is compared is timed in turn, in short slices, round after round
//! ([`Contest`]): on a machine that does other work too, ratios hold where seconds do not.

mod contest;
mod gmac;
mod integrity;
mod machine;
mod memory;
mod rsa;
mod suites;
mod xts;

use std::fmt;
use std::time::Duration;

pub use contest::{Contest, Rates};
pub use gmac::{GmacRate, GmacReport};
pub use integrity::IntegrityRow;
pub use machine::Machine;
pub use memory::MemoryReport;
pub use rsa::RsaRow;
pub use suites::{Limit, LimitingResource, SuiteRow};
pub use xts::{Direction, RooflineRow, XtsReport, XtsRow};

use crate::engine::Error;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// Integrity choices: CRC, BLAKE3, SHA-256, GMAC, GCM.
    Integrity,
    /// RSA-OAEP wraps and unwraps.
    Rsa,
    /// XTS kernels against their rooflines.
    Xts,
}

/// How long to measure: the more rounds and the longer their slices, the steadier the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How often every candidate gets its turn, 1 or more.
    pub rounds: usize,
    /// How long a turn is, at least.
    pub slice: Duration,
    /// Bytes of the buffers that shall not fit any cache.
    pub large_buffer: usize,
}

impl Default for Effort {
    /// About 20 seconds for everything, and 512 MiB of memory at most.
    fn default() -> Self {
        Self { rounds: 9, slice: Duration::from_millis(12), large_buffer: 256 << 20 }
    }
}

impl Effort {
    pub(crate) fn contest<'a>(self) -> Contest<'a> {
        Contest::new(self.rounds, self.slice)
    }
}

/// Figures of one run. What was not asked for is `None`.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// Kernels.
    pub xts: Option<XtsReport>,
    /// XTS with GMAC.
    pub gmac: Option<GmacReport>,
    /// Integrity choices.
    pub integrity: Option<Vec<IntegrityRow>>,
    /// Copies within memory.
    pub memory: Option<MemoryReport>,
    /// Whole suites, as sealing and opening run them.
    pub suites: Option<Vec<SuiteRow>>,
    /// What limits a snapshot here.
    pub limit: Option<Limit>,
    /// RSA.
    pub rsa: Option<Vec<RsaRow>>,
}

/// Measures one topic, or everything.
///
/// Takes about 20 seconds of every core with the default effort; changes nothing outside this process.
///
/// # Errors
///
/// [`MeasureError`] where the engine refuses its own test key or no memory-backed file can be made.
pub fn run(only: Option<Topic>, effort: Effort) -> Result<Report, MeasureError> {
    let wants = |topic| only.is_none_or(|only| only == topic);
    let (mut memory, mut suites, mut limit) = (None, None, None);
    if only.is_none() {
        let copies = memory::measure(effort)?;
        let rows = suites::measure(effort)?;
        limit = suites::limit(&rows, &copies);
        (memory, suites) = (Some(copies), Some(rows));
    }
    Ok(Report {
        machine: Machine::this(),
        xts: if wants(Topic::Xts) { Some(xts::measure(effort)?) } else { None },
        gmac: if wants(Topic::Xts) { Some(gmac::measure(effort)?) } else { None },
        integrity: if wants(Topic::Integrity) { Some(integrity::measure(effort)?) } else { None },
        memory,
        suites,
        limit,
        rsa: if wants(Topic::Rsa) { Some(rsa::measure(effort)?) } else { None },
    })
}

/// Why there are no figures.
#[derive(Debug)]
#[non_exhaustive]
pub enum MeasureError {
    /// The system gave no file in memory, or took no more bytes for it.
    Copies(std::io::Error),
    /// The engine, or what it stands on, refused.
    Engine(Error),
    /// A key of the measurement could not be made.
    Key,
    /// The threads could not be started.
    Threads(rayon::ThreadPoolBuildError),
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copies(_) => "copies through the kernel can't be measured",
            Self::Engine(_) => "the engine can't be measured",
            Self::Key => "no key to measure with could be made",
            Self::Threads(_) => "the threads of the measurement can't be started",
        })
    }
}

impl std::error::Error for MeasureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Copies(error) => Some(error),
            Self::Engine(error) => Some(error),
            Self::Key => None,
            Self::Threads(error) => Some(error),
        }
    }
}

impl From<Error> for MeasureError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// Bytes of the buffer that kernels and suites run over: the default chunk, which fits the second-level cache.
pub(crate) const CHUNK: usize = 256 << 10;

/// Returns a pool with a thread for every core, as sealing uses it.
pub(crate) fn all_cores() -> Result<rayon::ThreadPool, MeasureError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(cores).build().map_err(MeasureError::Threads)
}
