//! A typed value on secret pages.

#![allow(unsafe_code, reason = "viewing secret pages as one typed value")]

use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use crate::secret::SecretBytes;

/// Owns a `T` that lives in [`SecretBytes`]: locked, left out of core dumps, zeroed on drop.
pub(super) struct Placed<T> {
    value: NonNull<T>,
    /// Keeps the pages that `value` points into.
    _pages: SecretBytes,
}

impl<T> Placed<T> {
    /// Builds the value and moves it to pages of its own, then wipes the stack that building it used.
    pub(super) fn new(build: impl FnOnce() -> T) -> Self {
        let placed = Self::build(build);
        zeroize::zeroize_stack::<STACK_TO_WIPE>();
        placed
    }

    #[inline(never)]
    fn build(build: impl FnOnce() -> T) -> Self {
        let mut pages = SecretBytes::zeroed(size_of::<T>());
        let slot = NonNull::from(pages.expose_mut()).cast::<T>();
        assert!(pages.len() == size_of::<T>() && slot.is_aligned(), "secret memory starts on a page of its own");
        // SAFETY: the slot has room for a `T`, is aligned (both just checked), and nothing else refers to it.
        unsafe { slot.write(build()) };
        Self { value: slot, _pages: pages }
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `build` wrote a `T` there, the pages live as long as `self`, and only `self` hands out references.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the unique borrow of `self` makes this the only reference.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for Placed<T> {
    fn drop(&mut self) {
        // SAFETY: the value is initialised, is dropped only here, and the pages are freed after this.
        unsafe { ptr::drop_in_place(self.value.as_ptr()) };
        // SAFETY: the slot has room for `size_of::<T>()` bytes; this leaves no byte uninitialised (padding) for the owner
        // of the pages, who sees them as bytes.
        unsafe { ptr::write_bytes(self.value.as_ptr(), 0, 1) };
    }
}

// SAFETY: `Placed` owns its value like a `Box<T>`.
unsafe impl<T: Send> Send for Placed<T> {}
// SAFETY: shared access gives out `&T` only, like `Box<T>`.
unsafe impl<T: Sync> Sync for Placed<T> {}

/// Eight times the largest expanded key: room for the copies that an expansion leaves behind.
const STACK_TO_WIPE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn value_is_dropped_once_and_can_be_changed() {
        struct Counts(Rc<Cell<u32>>, u64);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Rc::new(Cell::new(0));
        let mut placed = Placed::new(|| Counts(Rc::clone(&drops), 1));
        placed.1 += 41;
        assert_eq!(placed.1, 42);
        assert_eq!(drops.get(), 0);
        drop(placed);
        assert_eq!(drops.get(), 1);
    }
}
