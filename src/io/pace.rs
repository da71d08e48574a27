//! Keeping slow devices busy: writing behind the workers.
//!
//! The kernel would begin to write when much has piled up, or when the file is synced at the end and somebody waits. Reading ahead is
//! left to it: hints on top of its own made a cold verification a third slower.

use std::fs::File;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};

/// Has the kernel write what workers have left behind, a window at a time. Files in memory ignore it.
#[derive(Debug, Default)]
pub struct WriteBehind {
    /// Windows whose writing was started, counted from the start.
    started: AtomicU64,
}

impl WriteBehind {
    /// Notes that everything before `offset`, more or less, was written. A hint: that it fails is no failure.
    pub fn passed(&self, file: &File, offset: u64) {
        let whole = offset / WINDOW;
        let started = self.started.fetch_max(whole, Ordering::Relaxed);
        if let Some(len) = NonZeroU64::new(whole.saturating_sub(started).saturating_mul(WINDOW)) {
            // That these pages are not needed any more starts writing the dirty ones, and waits for nothing.
            let _ = fadvise(file, started * WINDOW, Some(len), Advice::DontNeed);
        }
    }
}

/// Enough to keep a device busy while the next window is worked on.
const WINDOW: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_change_no_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * WINDOW).map(|number| (number / 511) as u8).collect();
        std::fs::write(&path, &bytes).expect("written");
        let file = File::options().read(true).write(true).open(&path).expect("there");
        let behind = WriteBehind::default();
        for offset in [1, WINDOW, WINDOW, 3 * WINDOW, 0, u64::MAX] {
            behind.passed(&file, offset);
        }
        assert_eq!(behind.started.load(Ordering::Relaxed), u64::MAX / WINDOW);
        assert!(std::fs::read(&path).expect("reads") == bytes);
    }
}
