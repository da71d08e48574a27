//! How a disk is cut, and what is known of a sealed piece.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, MapWith, ParallelIterator};

use crate::format::{HeaderHash, Record, Shape};

/// The length of a disk, known or found out at the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(super) disk_len: Option<u64>,
}

impl Geometry {
    /// A disk of `len` bytes.
    pub fn disk(len: u64) -> Self {
        Self { disk_len: Some(len) }
    }

    /// A disk whose length shows when it has been read.
    pub fn stream() -> Self {
        Self { disk_len: None }
    }
}

/// One piece of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub(super) index: u64,
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) padded_len: usize,
}

impl Chunk {
    /// Returns the number of the chunk, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns where it begins on the disk, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns its length on the disk in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes, which no chunk of a disk is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns its length as it is stored: a whole number of sectors.
    pub fn padded_len(&self) -> usize {
        self.padded_len
    }

    /// Returns which bytes of the disk it covers.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len as u64
    }
}

/// All chunks of a disk, in order; also a parallel iterator.
#[derive(Clone, Debug)]
pub struct Chunks {
    shape: Shape,
    chunk_bytes: u64,
    range: Range<u64>,
}

impl Chunks {
    pub(super) fn new(shape: Shape, chunk_bytes: u64) -> Self {
        Self { shape, chunk_bytes, range: 0..shape.chunk_count }
    }
}

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.range.next().map(|index| chunk_of(&mut (self.shape, self.chunk_bytes), index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Chunks {
    fn len(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)
    }
}

impl IntoParallelIterator for Chunks {
    type Iter = MapWith<rayon::range::Iter<u64>, (Shape, u64), fn(&mut (Shape, u64), u64) -> Chunk>;
    type Item = Chunk;

    fn into_par_iter(self) -> Self::Iter {
        self.range.into_par_iter().map_with((self.shape, self.chunk_bytes), chunk_of)
    }
}

/// What is known of a sealed chunk: goes into a page, in the order of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    pub(super) index: u64,
    pub(super) len: usize,
    pub(super) record: Record,
    pub(super) snapshot: HeaderHash,
}

impl ChunkRecord {
    /// Returns the number of the chunk.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether nothing is stored.
    pub fn is_hole(&self) -> bool {
        matches!(self.record, Record::Hole)
    }

    /// Returns a name for the stored bytes that no other write has: the chunk's number and the beginning of its tag. Writing
    /// the same name again writes the same bytes.
    pub fn object_name(&self) -> String {
        object_name(self.index, &self.record)
    }
}

pub(super) fn object_name(index: u64, record: &Record) -> String {
    match record {
        Record::Data { tag, .. } => {
            let tag: String = tag.iter().take(NAME_TAG_LEN).map(|byte| format!("{byte:02x}")).collect();
            format!("{index:08x}-{tag}")
        }
        Record::Hole => format!("{index:08x}-hole"),
    }
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<128>();
    blocks.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|&byte| byte == 0)
}

pub(super) fn chunk_of(cut: &mut (Shape, u64), index: u64) -> Chunk {
    let (shape, chunk_bytes) = cut;
    // A chunk has at most 1 MiB.
    let len = |len: u64| usize::try_from(len).unwrap_or(0);
    Chunk {
        index,
        offset: index.saturating_mul(*chunk_bytes),
        len: len(shape.chunk_len(index)),
        padded_len: len(shape.padded_len(index)),
    }
}

/// 12 bytes of nonce and 16 of tag, or as much of a hash.
const NAME_TAG_LEN: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_found_at_every_length() {
        for len in 0..400 {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in 0..len {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "a one at {at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
