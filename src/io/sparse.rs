//! Holes: where a file stores nothing, and how to leave or make them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

/// One stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that the file stores, or may store.
    Data(Range<u64>),
    /// Bytes that read as zeros and take no space.
    Hole(Range<u64>),
}

/// Returns the stretch of `file` that begins at `offset`, up to `end` at most (`SEEK_HOLE`, `SEEK_DATA`).
///
/// A file system that does not know its holes answers with data. Moves the file's cursor, which positioned reads don't use.
///
/// # Errors
///
/// The file's own I/O error.
pub fn next_extent(file: &File, offset: u64, end: u64) -> io::Result<Extent> {
    let data = match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data,
        Err(Errno::NXIO) => return Ok(Extent::Hole(offset..end)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Extent::Data(offset..end)),
        Err(error) => return Err(error.into()),
    };
    if data > offset {
        return Ok(Extent::Hole(offset..data.min(end)));
    }
    let hole = seek(file, SeekFrom::Hole(offset))?;
    Ok(Extent::Data(offset..hole.clamp(offset, end)))
}

/// Makes `range` of a block device or an existing file read as zeros, without writing them where the device can do that.
///
/// # Errors
///
/// The device's own I/O error.
pub fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let len = range.end.saturating_sub(range.start);
    if len == 0 {
        return Ok(());
    }
    for flags in [FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, FallocateFlags::ZERO_RANGE] {
        if fallocate(file, flags, range.start, len).is_ok() {
            return Ok(());
        }
    }
    let zeros = vec![0_u8; ZERO_BLOCK.min(usize::try_from(len).unwrap_or(ZERO_BLOCK))];
    let mut offset = range.start;
    while offset < range.end {
        let count = usize::try_from(range.end - offset).unwrap_or(ZERO_BLOCK).min(zeros.len());
        file.write_all_at(zeros.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    Ok(())
}

const ZERO_BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_found_and_made() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4 << 20).expect("grows");
        file.write_all_at(&[7; 4096], 1 << 20).expect("writes");
        let end = 4 << 20;
        assert_eq!(next_extent(&file, 0, end).expect("hole"), Extent::Hole(0..1 << 20));
        let Extent::Data(data) = next_extent(&file, 1 << 20, end).expect("data") else { panic!("data expected") };
        assert_eq!(data.start, 1 << 20);
        assert!(data.end >= (1 << 20) + 4096 && data.end < end);
        assert_eq!(next_extent(&file, data.end, end).expect("hole"), Extent::Hole(data.end..end));

        write_zeros(&file, 1 << 20..(1 << 20) + 4096).expect("zeroes");
        let mut buf = [1; 4096];
        file.read_exact_at(&mut buf, 1 << 20).expect("reads");
        assert!(buf.iter().all(|&byte| byte == 0));
    }
}
