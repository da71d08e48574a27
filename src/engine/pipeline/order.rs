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

impl<'a> Records<'a> {
    pub(super) fn new(body: Body<'a>) -> Self {
        let next = body.next_chunk();
        Self { inner: Mutex::new(RecordsInner { body, next, early: BTreeMap::new() }), moved: Condvar::new() }
    }

    /// Waits until chunk `index` is not too far ahead of the slowest one: early records take memory. `false` when the work was
    /// stopped meanwhile.
    pub(super) fn wait_for_room(&self, index: u64, stop: &dyn Fn() -> bool) -> bool {
        let mut inner = lock(&self.inner);
        while index >= inner.next.saturating_add(FARTHEST) {
            if stop() {
                return false;
            }
            inner = self.moved.wait_timeout(inner, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Adds a record; returns the pages that became full, each with its number and its offset.
    pub(super) fn add(&self, index: u64, record: Record) -> Vec<(u32, u64, Vec<u8>)> {
        let mut inner = lock(&self.inner);
        inner.early.insert(index, record);
        // While one worker encrypts, the others may run any number of holes ahead: several pages can fill up at once.
        let mut full = Vec::new();
        loop {
            let next = inner.next;
            let Some(record) = inner.early.remove(&next) else { break };
            inner.next += 1;
            let number = inner.body.next_page();
            if let Some((offset, page)) = inner.body.push(record) {
                full.push((number, offset, page));
            }
        }
        drop(inner);
        self.moved.notify_all();
        full
    }

    pub(super) fn into_body(self) -> Body<'a> {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).body
    }
}

/// Knows up to where everything was written, while parts of the rest may be.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    inner: Mutex<(u64, BTreeMap<u64, u64>)>,
}

impl Prefix {
    /// Says that `start..end` was written. Neighbours become one stretch: holes far ahead of a slow chunk take no memory.
    pub(super) fn add(&self, mut start: u64, mut end: u64) {
        let mut inner = lock(&self.inner);
        let (done, ahead) = &mut *inner;
        if let Some(behind) = ahead.remove(&end) {
            end = behind;
        }
        if let Some((&before, &before_end)) = ahead.range(..start).next_back()
            && before_end == start
        {
            ahead.remove(&before);
            start = before;
        }
        if start == *done {
            *done = end;
        } else {
            ahead.insert(start, end);
        }
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

/// How many chunks a worker may be ahead of the slowest: a few pages.
const FARTHEST: u64 = 4 * RECORDS_PER_PAGE as u64;

/// How long a worker waits for its turn before it asks whether the work was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Engine, Geometry, LayerPolicy, SealPolicy, WrappingKey};
    use crate::format::ChunkSize;
    use crate::provider::PemFiles;

    #[test]
    fn the_prefix_grows_over_stretches_in_any_order_and_keeps_few() {
        let prefix = Prefix::default();
        for start in (2..1000).rev() {
            prefix.add(start, start + 1);
        }
        for start in 1001..2000 {
            prefix.add(start, start + 1);
        }
        assert_eq!(prefix.len(), 0);
        assert_eq!(lock(&prefix.inner).1.len(), 2, "neighbours are one stretch");
        prefix.add(0, 1);
        assert_eq!(prefix.len(), 1);
        prefix.add(1, 2);
        assert_eq!(prefix.len(), 1000);
        prefix.add(1000, 1001);
        assert_eq!(prefix.len(), 2000);
        assert!(lock(&prefix.inner).1.is_empty());
    }

    #[test]
    fn every_page_that_fills_up_at_once_is_returned() {
        let mut files = PemFiles::new();
        let key = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/keys/test-rsa2048.spki.pem"));
        let version = files.add(key).expect("a test key");
        let layer = LayerPolicy::new(vec![WrappingKey { provider: Arc::new(files), version }]).expect("one key");
        let policy = SealPolicy::new(layer).chunk_size(ChunkSize::from_log2(16).expect("64 KiB"));
        let sealer = Engine::new(Vec::new()).sealer(Geometry::disk(2100 << 16), &policy).expect("a sealer");
        let records = Records::new(Body::new(&sealer));
        for index in 1..2100 {
            assert!(records.add(index, Record::Hole).is_empty());
        }
        let pages = records.add(0, Record::Hole);
        let places: Vec<_> = pages.iter().map(|(number, offset, page)| (*number, *offset, page.len())).collect();
        assert_eq!(places, [(0, 65536, PAGE_LEN), (1, 2 * 65536, PAGE_LEN)]);
        assert_eq!(records.into_body().next_page(), 2);
    }
}
