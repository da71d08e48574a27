//! Whole pages from the kernel for one secret.

#![allow(unsafe_code, reason = "mapping, locking and unmapping memory")]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munlock, munmap};
use zeroize::Zeroize;

/// Says how much secret memory could not be protected so far in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockReport {
    /// Secrets that could not be locked, so that they may reach swap (`RLIMIT_MEMLOCK` is used up).
    pub unlocked: usize,
    /// Secrets that could not be left out of core dumps.
    pub dumpable: usize,
}

/// Returns what could not be protected since the process started; all zero is the normal case.
pub fn lock_report() -> LockReport {
    LockReport { unlocked: UNLOCKED.load(Ordering::Relaxed), dumpable: DUMPABLE.load(Ordering::Relaxed) }
}

/// Owns whole pages that nothing else shares.
pub(super) struct Region {
    start: NonNull<u8>,
    /// Bytes mapped: a multiple of the page size, or 0 when nothing is mapped.
    mapped: usize,
    locked: bool,
}

impl Region {
    pub(super) fn new(len: usize) -> Self {
        let page = rustix::param::page_size();
        let mapped = len.div_ceil(page) * page;
        if mapped == 0 {
            return Self { start: NonNull::dangling(), mapped: 0, locked: false };
        }
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice aliases nothing.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), mapped, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let start = start.ok().and_then(|address| NonNull::new(address.cast::<u8>()));
        let Some(start) = start else {
            // An allocation that fails aborts everywhere else in a Rust program too.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 4096]>());
        };
        // SAFETY: the range is the mapping made above, and MADV_DONTDUMP changes no contents.
        if unsafe { madvise(start.as_ptr().cast(), mapped, Advice::LinuxDontDump) }.is_err() {
            DUMPABLE.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the range is the mapping made above; locking changes no contents.
        let locked = unsafe { mlock(start.as_ptr().cast(), mapped) }.is_ok();
        if !locked {
            UNLOCKED.fetch_add(1, Ordering::Relaxed);
        }
        Self { start, mapped, locked }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `mapped` readable, initialised bytes (dangling and 0 when nothing is mapped), and
        // the shared borrow of `self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.mapped) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the unique borrow of `self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.mapped) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        if self.mapped == 0 {
            return;
        }
        let address = self.start.as_ptr().cast();
        if self.locked {
            // SAFETY: the range was locked by `new` and is still mapped. A failure leaves it locked until unmapped below.
            let _ = unsafe { munlock(address, self.mapped) };
        }
        // SAFETY: the range is the mapping that `new` made; no borrow of it outlives `self`.
        let _ = unsafe { munmap(address, self.mapped) };
    }
}

// SAFETY: `Region` owns its pages like a `Box<[u8]>`: nothing else points to them.
unsafe impl Send for Region {}
// SAFETY: shared access only reads.
unsafe impl Sync for Region {}

static UNLOCKED: AtomicUsize = AtomicUsize::new(0);
static DUMPABLE: AtomicUsize = AtomicUsize::new(0);
