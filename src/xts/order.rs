//! Memory accesses that happen where they are written.
//!
//! Kernels read round keys and tweaks through here. Plain reads would be hoisted out of the loops into more registers than
//! there are: the compiler would keep copies of round keys on the stack, where nobody zeroes them, and computations meant
//! to run beside the rounds would sink below them.

#![allow(unsafe_code, reason = "volatile reads and writes of register-sized values")]

use std::ptr;

/// Reads a round key or a tweak here and now.
#[inline(always)]
pub(super) fn fetch<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is readable and aligned; the copy is the compiler's own choice of instruction, so that no CPU
    // feature is assumed.
    unsafe { ptr::read_volatile(value) }
}

/// Writes a tweak here and now.
#[inline(always)]
pub(super) fn put<T: Copy>(slot: &mut T, value: T) {
    // SAFETY: a unique reference is writable and aligned; as for CPU features, the compiler picks from what the caller enables.
    unsafe { ptr::write_volatile(slot, value) }
}
