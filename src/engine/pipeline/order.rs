//! Keeping the order of the disk between workers that run ahead of each other.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::sealer::Body;
use crate::format::{PAGE_LEN, RECORDS_PER_PAGE, Record};

/// Hands out places in the snapshot: chunk after chunk, each behind the one before.
#[derive(Debug)]
pub(super) struct Places {
    next: Mutex<(u64, u64)>,
    moved: Condvar,
}

impl Places {
    /// Starts with chunk `first` at `offset`.
    pub(super) fn from(first: u64, offset: u64) -> Self {
        Self { next: Mutex::new((first, offset)), moved: Condvar::new() }
    }

    /// Waits for the turn of chunk `index` and returns the place of its `stored` bytes; `None` when the work was stopped meanwhile.
    pub(super) fn take(&self, index: u64, stored: u64, stop: &dyn Fn() -> bool) -> Option<u64> {
        let mut next = lock(&self.next);
        while next.0 != index {
            if stop() {
                return None;
            }
            next = self.moved.wait_timeout(next, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        let place = next.1;
        next.0 += 1;
        next.1 += stored;
        // Behind the last chunk of a page stands the page.
        if next.0.is_multiple_of(RECORDS_PER_PAGE as u64) {
            next.1 += PAGE_LEN as u64;
        }
        drop(next);
        self.moved.notify_all();
        Some(place)
    }
}

/// Puts records that come in any order into pages.
#[derive(Debug)]
pub(super) struct Records<'a> {
    inner: Mutex<RecordsInner<'a>>,
    moved: Condvar,
}

#[derive(Debug)]
struct RecordsInner<'a> {
    body: Body<'a>,
    next: u64,
    early: BTreeMap<u64, Record>,
}

/// A page that became full: its number, its offset in the snapshot, its bytes.
pub(super) type FullPage = (u32, u64, Vec<u8>);

impl<'a> Records<'a> {
    pub(super) fn new(body: Body<'a>) -> Self {
        let next = u64::from(body.next_page()) * RECORDS_PER_PAGE as u64;
        Self { inner: Mutex::new(RecordsInner { body, next, early: BTreeMap::new() }), moved: Condvar::new() }
    }

    /// Adds a record and returns the pages that became full.
    ///
    /// A worker with one slow chunk is overtaken by thousands of holes: who is too far ahead waits here, empty-handed, so that
    /// what has to be kept is bounded. Returns nothing when the work was stopped meanwhile.
    pub(super) fn add(&self, index: u64, record: Record, stop: &dyn Fn() -> bool) -> Vec<FullPage> {
        let mut inner = lock(&self.inner);
        while index > inner.next + MOST_AHEAD {
            if stop() {
                return Vec::new();
            }
            inner = self.moved.wait_timeout(inner, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.early.insert(index, record);
        let mut full = Vec::new();
        let before = inner.next;
        loop {
            let next = inner.next;
            let Some(record) = inner.early.remove(&next) else { break };
            inner.next += 1;
            let number = inner.body.next_page();
            if let Some((offset, page)) = inner.body.push(record) {
                full.push((number, offset, page));
            }
        }
        if inner.next != before {
            drop(inner);
            self.moved.notify_all();
        }
        full
    }

    pub(super) fn into_body(self) -> Body<'a> {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).body
    }
}

/// Knows up to where everything was written, while parts of the rest may be.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    /// The end of what was written from the beginning, and the stretches behind it, by start: as many as there are workers at most.
    inner: Mutex<(u64, BTreeMap<u64, u64>)>,
}

impl Prefix {
    /// Says that `start..end` was written.
    pub(super) fn add(&self, start: u64, end: u64) {
        let mut inner = lock(&self.inner);
        let (done, ahead) = &mut *inner;
        if start != *done {
            let before = ahead.range_mut(..start).next_back().filter(|(_, stop)| **stop == start);
            let begin = before.map_or(start, |(begin, _)| *begin);
            let stop = ahead.remove(&end).unwrap_or(end);
            ahead.insert(begin, stop);
            return;
        }
        *done = ahead.remove(&end).unwrap_or(end);
    }

    /// Returns how many bytes from the beginning were written without a gap.
    pub(super) fn len(&self) -> u64 {
        lock(&self.inner).0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete when it is made: a panic elsewhere leaves a good state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a worker waits for its turn before it asks whether the work was stopped.
const PATIENCE: Duration = Duration::from_millis(50);
/// By how many chunks a record may come too early.
const MOST_AHEAD: u64 = RECORDS_PER_PAGE as u64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Engine;
    use crate::engine::sealer::Sealer;
    use crate::engine::{Geometry, LayerPolicy, SealPolicy, WrappingKey};
    use crate::provider::PemFiles;
    use crate::testing;

    fn sealer() -> Sealer {
        let mut files = PemFiles::new();
        let version = files.add(&testing::path("keys/test-rsa2048.spki.pem")).expect("a test key");
        let keys = LayerPolicy::new(vec![WrappingKey { provider: Arc::new(files), version }]).expect("one key");
        Engine::new(Vec::new()).sealer(Geometry::stream(), &SealPolicy::new(keys)).expect("a sealer")
    }

    #[test]
    fn no_page_is_lost_behind_a_slow_chunk() {
        let sealer = sealer();
        let records = Records::new(Body::new(&sealer));
        let count = 3 * RECORDS_PER_PAGE as u64 + 7;
        let mut pages = std::thread::scope(|scope| {
            let fast = scope
                .spawn(|| (1..count).flat_map(|index| records.add(index, Record::Hole, &|| false)).collect::<Vec<_>>());
            std::thread::sleep(4 * PATIENCE);
            assert!(lock(&records.inner).early.len() as u64 <= MOST_AHEAD, "what is kept is bounded");
            let mut pages = records.add(0, Record::Hole, &|| false);
            pages.extend(fast.join().expect("no panic"));
            pages
        });
        pages.sort_unstable();
        let numbers: Vec<_> = pages.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(records.into_body().next_page(), 3);
    }

    #[test]
    fn whoever_waits_for_a_slow_chunk_can_be_stopped() {
        let sealer = sealer();
        let records = Records::new(Body::new(&sealer));
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let early = scope.spawn(|| records.add(MOST_AHEAD + 1, Record::Hole, &|| stopped.load(Ordering::Relaxed)));
            std::thread::sleep(PATIENCE);
            assert!(!early.is_finished());
            stopped.store(true, Ordering::Relaxed);
            assert!(early.join().expect("no panic").is_empty());
        });
    }

    #[test]
    fn a_prefix_grows_over_any_order_and_keeps_few_stretches() {
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 3, 2, 4, 0], [3, 1, 4, 2, 0]] {
            let prefix = Prefix::default();
            let mut done = [false; 5];
            for (number, step) in order.into_iter().enumerate() {
                prefix.add(step * 10, step * 10 + 10);
                if let Some(slot) = usize::try_from(step).ok().and_then(|step| done.get_mut(step)) {
                    *slot = true;
                }
                let whole = done.iter().take_while(|done| **done).count() as u64;
                assert_eq!(prefix.len(), whole * 10, "{order:?} after {number}");
            }
            assert!(lock(&prefix.inner).1.is_empty());
        }
        let prefix = Prefix::default();
        for chunk in 1..100_000 {
            prefix.add(chunk, chunk + 1);
        }
        assert_eq!(lock(&prefix.inner).1.len(), 1);
        prefix.add(0, 1);
        assert_eq!(prefix.len(), 100_000);
    }
}
