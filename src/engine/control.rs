//! Watching and stopping a long operation from outside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared between an operation and whoever watches it: how far it is, and the wish to stop.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    total: AtomicU64,
    done: AtomicU64,
    stored: AtomicU64,
}

impl Control {
    /// Asks the operation to stop; it does after the chunks in hand, in a state from which it can be resumed.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of the disk, or snapshots to rewrap, there are; 0 while that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns how many of them are done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were stored, as against holes.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn start(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, disk_bytes: u64, stored: u64) {
        self.done.fetch_add(disk_bytes, Ordering::Relaxed);
        self.stored.fetch_add(stored, Ordering::Relaxed);
    }
}
