//! Fetching what a kernel needs next from memory, for buffers that fit no second-level cache.

#![allow(unsafe_code, reason = "the prefetch instruction takes a raw pointer")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ptr;

/// Whether to fetch ahead: it costs one to three per cent in cache, and pays where one core waits for memory.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    pays: bool,
}

impl Prefetch {
    /// Decides for a run over `len` bytes.
    pub(super) fn over(len: usize) -> Self {
        Self { pays: len > LARGEST_CACHE }
    }

    /// Fetches as many bytes as `group` has, from a few KiB behind it.
    #[inline(always)]
    pub(super) fn behind<T>(self, group: &T) {
        if self.pays {
            for line in 0..size_of::<T>().div_ceil(64) {
                let ahead = ptr::from_ref(group).cast::<i8>().wrapping_add(DISTANCE + 64 * line);
                // SAFETY: a hint, which reads nothing and faults nowhere, also behind the buffer's end; part of sse, as every x86-64 has.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead) }
            }
        }
    }
}

/// The second-level caches of today's cores have 1 or 2 MiB.
const LARGEST_CACHE: usize = 2 << 20;
/// Bytes between the work and what is fetched: time enough for memory, little enough for the first-level cache.
const DISTANCE: usize = 4096;
