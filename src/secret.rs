//! Memory for key bytes: its own pages, locked, left out of core dumps, zeroed when dropped.

mod lock;

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use lock::{LockReport, lock_report};

/// Holds key bytes on pages of their own: locked against swap and left out of core dumps where the limits of the
/// process allow it, zeroed on drop.
///
/// There is no `Clone`, `PartialEq`, `Serialize` or `Display`; `Debug` prints the type's name. [`expose`](Self::expose)
/// is the only way out. One instance takes at least one page (4096 bytes) of `RLIMIT_MEMLOCK`; where that limit is used up
/// the memory still works, unlocked, and [`lock_report`] says so.
pub struct SecretBytes {
    region: lock::Region,
    len: usize,
}

impl SecretBytes {
    /// Allocates `len` zero bytes.
    ///
    /// # Panics
    ///
    /// If the system has no memory left, like every allocation.
    pub fn zeroed(len: usize) -> Self {
        Self { region: lock::Region::new(len), len }
    }

    /// Copies `bytes` in. The caller's copy stays the caller's to wipe.
    pub fn copied_from(bytes: &[u8]) -> Self {
        let mut secret = Self::zeroed(bytes.len());
        secret.expose_mut().copy_from_slice(bytes);
        secret
    }

    /// Moves `bytes` in and zeroes the vector's whole capacity.
    pub fn taken_from(mut bytes: Vec<u8>) -> Self {
        let secret = Self::copied_from(&bytes);
        bytes.zeroize();
        secret
    }

    /// Returns the bytes. Every use of a secret goes through this name or [`expose_mut`](Self::expose_mut).
    pub fn expose(&self) -> &[u8] {
        self.region.bytes().get(..self.len).unwrap_or_default()
    }

    /// Returns the bytes for filling in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.region.bytes_mut().get_mut(..len).unwrap_or_default()
    }

    /// Returns the length in bytes, which is not secret.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shortens to `len` bytes and zeroes the rest; does nothing when `len` is not shorter.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            if let Some(rest) = self.expose_mut().get_mut(len..) {
                rest.zeroize();
            }
            self.len = len;
        }
    }

    /// Compares with `other` in time that depends on the lengths only.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.expose().ct_eq(other).into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_type_only() {
        let secret = SecretBytes::copied_from(b"do not print");
        assert_eq!(format!("{secret:?}"), "SecretBytes");
    }

    #[test]
    fn truncation_zeroes_what_it_cuts() {
        let mut secret = SecretBytes::copied_from(b"0123456789");
        secret.truncate(4);
        assert_eq!(secret.expose(), b"0123");
        assert!(secret.region.bytes().iter().skip(4).all(|&byte| byte == 0));
    }

    #[test]
    fn an_empty_secret_is_usable() {
        let secret = SecretBytes::zeroed(0);
        assert!(secret.is_empty());
        assert!(secret.ct_eq(b""));
        assert!(!secret.ct_eq(b"x"));
    }

    #[test]
    fn pages_are_locked_and_left_out_of_core_dumps() {
        let secret = SecretBytes::copied_from(&[0x5a; 64]);
        let address = secret.expose().as_ptr() as usize;
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has smaps");
        let mut inside = false;
        let mut flags = None;
        for line in smaps.lines() {
            let head = line.split(' ').next().unwrap_or_default();
            if let Some((from, to)) = head.split_once('-')
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&address);
            }
            if inside && line.starts_with("VmFlags:") {
                flags = Some(line.to_owned());
            }
        }
        let flags = flags.expect("the mapping is listed");
        assert!(flags.contains(" dd"), "MADV_DONTDUMP is missing: {flags}");
        assert!(flags.contains(" lo") || lock_report().unlocked > 0, "neither locked nor reported: {flags}");
    }
}
