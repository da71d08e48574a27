//! Every backend between two pages that must not be touched.

#![allow(unsafe_code, reason = "mapping guard pages")]

use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::*;

#[test]
fn units_at_either_edge_touch_nothing_outside() {
    let mut memory = Guarded::new(4096);
    let key = key_from([0x77; 32]);
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for len in (16..=1100).chain(4000..=4096) {
            for at in [Edge::Front, Edge::Back] {
                let unit = memory.slice(at, len);
                unit.copy_from_slice(&pattern(len));
                xts.encrypt_unit(&[0x80; 16], unit).expect("length in bounds");
                xts.decrypt_unit(&[0x80; 16], unit).expect("length in bounds");
                assert!(unit == pattern(len), "{backend}, {len} bytes");
            }
        }
    }
}

#[test]
fn sectors_at_either_edge_touch_nothing_outside() {
    let mut memory = Guarded::new(40 * 4096);
    let key = key_from([0x78; 32]);
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            for len in (0..=40).map(|count| count * sector.bytes()) {
                for at in [Edge::Front, Edge::Back] {
                    let data = memory.slice(at, len);
                    data.copy_from_slice(&pattern(len));
                    xts.encrypt_sectors(sector, 1 << 30, data).expect("aligned");
                    xts.decrypt_sectors(sector, 1 << 30, data).expect("aligned");
                    assert!(data == pattern(len), "{backend}, {len} bytes of {sector:?}");
                }
            }
        }
    }
}

/// Longer than any second-level cache: here the kernels prefetch, past the end too.
#[test]
fn long_runs_touch_nothing_outside_and_equal_short_ones() {
    let len = 3 << 20;
    let mut memory = Guarded::new(len);
    let key = key_from([0x79; 32]);
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let mut pieces = pattern(len);
            for (piece, offset) in pieces.chunks_mut(64 << 10).zip((0..).step_by(64 << 10)) {
                xts.encrypt_sectors(sector, offset, piece).expect("aligned");
            }
            let data = memory.slice(Edge::Back, len);
            data.copy_from_slice(&pattern(len));
            xts.encrypt_sectors(sector, 0, data).expect("aligned");
            assert!(data == pieces, "{backend}, {sector:?}");
            xts.decrypt_sectors(sector, 0, data).expect("aligned");
            assert!(data == pattern(len), "{backend}, {sector:?}");
        }
    }
}

#[test]
fn the_fused_kernel_touches_nothing_outside() {
    let mac = SecretBytes::taken_from(vec![0x31; 32]);
    let Some(fused) = XtsGmac::new(&key_from([0x7a; 32]), &mac).expect("good keys") else { return };
    let long = 3 << 20;
    let mut memory = Guarded::new(long);
    for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        for len in (0..=40).map(|count| count * sector.bytes()).chain([long]) {
            for at in [Edge::Front, Edge::Back] {
                let data = memory.slice(at, len);
                data.copy_from_slice(&pattern(len));
                let tag = fused.encrypt_sectors(sector, 1 << 30, &[7; 12], data).expect("aligned");
                assert!(fused.decrypt_sectors(sector, 1 << 30, &[7; 12], &tag, data).expect("aligned"), "{len} bytes");
                assert!(data == pattern(len), "{len} bytes of {sector:?}");
            }
        }
    }
}

/// Where in the usable pages a slice lies.
#[derive(Clone, Copy)]
enum Edge {
    Front,
    Back,
}

/// Usable pages between two that fault on any access.
struct Guarded {
    start: *mut u8,
    page: usize,
    usable: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Self {
        let page = rustix::param::page_size();
        let usable = bytes.next_multiple_of(page);
        // SAFETY: a new private mapping at an address of the kernel's choice aliases nothing.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), usable + 2 * page, ProtFlags::empty(), MapFlags::PRIVATE) };
        let start = start.expect("a mapping").cast::<u8>();
        // SAFETY: the mapping has a page before and a page after these; nobody has a reference into it yet.
        unsafe { mprotect(start.add(page).cast(), usable, MprotectFlags::READ | MprotectFlags::WRITE) }
            .expect("a protection");
        Self { start, page, usable }
    }

    fn slice(&mut self, at: Edge, len: usize) -> &mut [u8] {
        assert!(len <= self.usable);
        let skip = match at {
            Edge::Front => 0,
            Edge::Back => self.usable - len,
        };
        // SAFETY: `skip + len` is at most the number of usable bytes, which start a page into the mapping and read as zero
        // at first; the unique borrow of `self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(self.page + skip), len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping made by `new`; slices of it have ended with their borrows.
        let _ = unsafe { munmap(self.start.cast(), self.usable + 2 * self.page) };
    }
}
