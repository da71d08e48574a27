//! Keeping slow devices busy: reading ahead of the workers and writing behind them.
//!
//! Both are hints to the kernel, given a window at a time. Files in memory ignore them, and so does everything else here: a hint that
//! fails is no failure.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};

use crate::io::ReadAt;

/// Asks for what comes next while workers go through a source in order, more or less.
#[derive(Debug, Default)]
pub struct ReadAhead {
    /// Windows that were asked for, counted from the start.
    asked: AtomicU64,
}

impl ReadAhead {
    /// Notes that a worker is about to read at `offset`; asks for the window there and the one behind it, once.
    pub fn reached<R: ReadAt + ?Sized>(&self, source: &R, offset: u64) {
        let here = offset / WINDOW;
        let wanted = here + 2;
        let asked = self.asked.fetch_max(wanted, Ordering::Relaxed);
        if wanted > asked {
            source.will_read(asked.max(here).saturating_mul(WINDOW)..wanted.saturating_mul(WINDOW));
        }
    }
}

/// Has the kernel write what workers have left behind, instead of all of it at the end, when somebody waits.
#[derive(Debug, Default)]
pub struct WriteBehind {
    /// Windows whose writing was started, counted from the start.
    started: AtomicU64,
}

impl WriteBehind {
    /// Notes that everything before `offset`, more or less, was written.
    pub fn passed(&self, file: &File, offset: u64) {
        let whole = offset / WINDOW;
        let started = self.started.fetch_max(whole, Ordering::Relaxed);
        if whole > started {
            // That these pages are not needed any more starts writing the dirty ones, and waits for nothing.
            advise(file, started * WINDOW..whole * WINDOW, Advice::DontNeed);
        }
    }
}

/// Asks the kernel to read a stretch of a file now.
pub(super) fn will_read(file: &File, range: Range<u64>) {
    advise(file, range, Advice::WillNeed);
}

fn advise(file: &File, range: Range<u64>, advice: Advice) {
    if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
        let _ = fadvise(file, range.start, Some(len), advice);
    }
}

/// Enough to keep a device busy while another window is worked on.
const WINDOW: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Mutex;

    /// Notes what it is asked for.
    struct Asked(Mutex<Vec<Range<u64>>>);

    impl ReadAt for Asked {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(u64::MAX)
        }

        fn will_read(&self, range: Range<u64>) {
            self.0.lock().expect("no panic").push(range);
        }
    }

    #[test]
    fn every_window_is_asked_for_once_and_ahead() {
        let (source, ahead) = (Asked(Mutex::default()), ReadAhead::default());
        let chunk = 256 << 10;
        for number in 0..4 * WINDOW / chunk {
            ahead.reached(&source, number * chunk);
            let asked = source.0.lock().expect("no panic").iter().map(|range| range.end).max();
            assert!(asked >= Some(number * chunk + WINDOW), "chunk {number}");
        }
        let asked = source.0.into_inner().expect("no panic");
        let expected = [0..2 * WINDOW, 2 * WINDOW..3 * WINDOW, 3 * WINDOW..4 * WINDOW, 4 * WINDOW..5 * WINDOW];
        assert_eq!(asked, expected);
    }

    #[test]
    fn what_was_skipped_is_not_asked_for() {
        let (source, ahead) = (Asked(Mutex::default()), ReadAhead::default());
        ahead.reached(&source, 0);
        ahead.reached(&source, 100 * WINDOW);
        ahead.reached(&source, 0);
        ahead.reached(&source, u64::MAX);
        let asked = source.0.into_inner().expect("no panic");
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[1], 100 * WINDOW..102 * WINDOW);
    }

    #[test]
    fn hints_change_no_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * WINDOW).map(|number| (number / 511) as u8).collect();
        std::fs::write(&path, &bytes).expect("written");
        let file = File::options().read(true).write(true).open(&path).expect("there");
        let behind = WriteBehind::default();
        for offset in [1, WINDOW, WINDOW, 3 * WINDOW, 0] {
            behind.passed(&file, offset);
        }
        file.will_read(0..u64::MAX);
        assert!(std::fs::read(&path).expect("reads") == bytes);
    }
}
