//! Input and output: positioned reads, holes, block devices, files that appear by rename, text safe for a terminal.

mod commit;
mod device;
mod escape;
mod pace;
mod sparse;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use commit::{CommitError, PartialFile, partial_path};
pub use device::{FileIdentity, SourceKind, length_of, mount_point, open_exclusive};
pub use escape::{Escaped, escaped_path};
pub use pace::WriteBehind;
pub use sparse::{Extent, next_extent, write_zeros};

/// Reads at an offset, without a cursor, from many threads at once.
pub trait ReadAt: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; 0 only at the end or for an empty `buf`.
    ///
    /// # Errors
    ///
    /// Whatever the medium reports.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the medium reports.
    fn size(&self) -> io::Result<u64>;
}

/// Fills `buf` from `offset`.
///
/// # Errors
///
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the source ends before `buf` is full; else the source's error.
pub fn read_exact_at<R: ReadAt + ?Sized>(source: &R, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let count = match source.read_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        buf = buf.get_mut(count..).ok_or(io::ErrorKind::InvalidData)?;
        offset = offset.checked_add(count as u64).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(())
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        length_of(self)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<R: ReadAt + ?Sized> ReadAt for std::sync::Arc<R> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_is_an_error() {
        let source = vec![1_u8, 2, 3];
        let mut buf = [0; 2];
        read_exact_at(&source, &mut buf, 1).expect("inside");
        assert_eq!(buf, [2, 3]);
        for offset in [2, 3, 4, u64::MAX] {
            let error = read_exact_at(&source, &mut buf, offset).expect_err("outside");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
