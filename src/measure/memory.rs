//! Copies: what a snapshot costs beside the cipher.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;

use crate::measure::xts::test_key;
use crate::measure::{CHUNK, Effort, MeasureError};
use crate::xts::{SectorSize, Xts256};

/// Rates in bytes a second on one core.
#[derive(Clone, Copy, Debug)]
pub struct MemoryReport {
    /// Bytes of the buffers that fit no cache.
    pub large_buffer: usize,
    /// `memcpy` from one such buffer to another.
    pub memcpy: f64,
    /// XTS with 512-byte sectors over such a buffer in place.
    pub xts: f64,
    /// XTS as a multiple of `memcpy`.
    pub xts_of_memcpy: f64,
    /// Reads of a file in memory, a chunk at a time.
    pub file_read: f64,
    /// Writes of new pages to a file in memory, a chunk at a time.
    pub file_write: f64,
}

pub(super) fn measure(effort: Effort) -> Result<MemoryReport, MeasureError> {
    let large = effort.large_buffer.next_multiple_of(CHUNK);
    let (memcpy, xts, xts_of_memcpy) = in_memory(effort, large)?;
    let (file_read, file_write) = through_the_kernel(effort)?;
    Ok(MemoryReport { large_buffer: large, memcpy, xts, xts_of_memcpy, file_read, file_write })
}

fn in_memory(effort: Effort, large: usize) -> Result<(f64, f64, f64), MeasureError> {
    let xts = Xts256::new(&test_key()).map_err(|_| MeasureError::Key)?;
    let from = RefCell::new(vec![0x5a; large]);
    // Written, so that its pages are there.
    let mut to = vec![0xa5; large];
    let mut contest = effort.contest();
    let copy = contest.add(large as u64, || {
        to.copy_from_slice(&from.borrow());
        std::hint::black_box(&to);
    });
    let cipher = contest.add(large as u64, || {
        let _ = xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut from.borrow_mut());
    });
    let rates = contest.run();
    Ok((rates.rate(copy), rates.rate(cipher), rates.ratio(cipher, copy)))
}

fn through_the_kernel(effort: Effort) -> Result<(f64, f64), MeasureError> {
    let memory_file = || rustix::fs::memfd_create("sobre-bench", MemfdFlags::CLOEXEC).map(File::from);
    let (source, target) = (
        memory_file().map_err(|e| MeasureError::Copies(e.into()))?,
        memory_file().map_err(|e| MeasureError::Copies(e.into()))?,
    );
    let mut chunk = vec![0x5a; CHUNK];
    let offsets = || (0..FILE_CHUNKS).map(|number| number * CHUNK as u64);
    for offset in offsets() {
        source.write_all_at(&chunk, offset).map_err(MeasureError::Copies)?;
    }
    let bytes = chunk.clone();
    let failed = RefCell::new(None);
    let note = |result: std::io::Result<()>| {
        if let Err(error) = result {
            failed.borrow_mut().get_or_insert(error);
        }
    };
    let mut contest = effort.contest();
    let read = contest.add(FILE_CHUNKS * CHUNK as u64, || {
        offsets().for_each(|offset| note(source.read_exact_at(&mut chunk, offset)));
    });
    let write = contest.add(FILE_CHUNKS * CHUNK as u64, || {
        // Emptied, so that every page is new, as in a snapshot that is being written.
        note(target.set_len(0));
        offsets().for_each(|offset| note(target.write_all_at(&bytes, offset)));
    });
    let rates = contest.run();
    match failed.into_inner() {
        Some(error) => Err(MeasureError::Copies(error)),
        None => Ok((rates.rate(read), rates.rate(write))),
    }
}

/// Chunks of the file in memory: 64 MiB.
const FILE_CHUNKS: u64 = 256;
