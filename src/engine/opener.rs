//! The chunk API for opening: a head and a manifest say what every stored chunk must be.

use std::ops::Range;

use crate::engine::chunk::{chunk_of, object_name};
use crate::engine::cipher::ChunkCipher;
use crate::engine::pages::{Layout, Pages};
use crate::engine::unlock::Heads;
use crate::engine::{Chunk, Chunks, Engine, Error, Warning};
use crate::format::{
    Authenticated, FOOTER_LEN, Fault, Footer, HEAD_LEN, HEADER_LEN, Header, INDEX_ENTRY_LEN, Index, Keys, Layer,
    PAGE_LEN, Part, Record, page_len,
};
use crate::io::{ReadAt, read_exact_at};

/// A snapshot that was unlocked: everything but where its chunks are read from.
#[derive(Debug)]
pub(super) struct Opened<R> {
    pub(super) header: Header,
    pub(super) keys: Keys,
    pub(super) cipher: ChunkCipher,
    pub(super) footer: Authenticated<Footer>,
    pub(super) pages: Pages<R>,
    pub(super) warnings: Vec<Warning>,
    footer_bytes: [u8; FOOTER_LEN],
}

impl<R: ReadAt> Opened<R> {
    /// Returns the bytes of index and footer: how the snapshot must end.
    pub(super) fn ending_bytes(&self) -> Vec<u8> {
        let mut bytes = self.pages.index().encode();
        bytes.extend_from_slice(&self.footer_bytes);
        bytes
    }

    pub(super) fn chunks(&self) -> Chunks {
        Chunks::new(self.footer.shape, self.header.chunk.bytes())
    }

    pub(super) fn chunk(&self, index: u64) -> Option<Chunk> {
        let shape = self.footer.shape;
        (index < shape.chunk_count).then(|| chunk_of(&mut (shape, self.header.chunk.bytes()), index))
    }

    /// Returns the authenticated record of a chunk and where its stored bytes begin.
    pub(super) fn record(&self, chunk: Chunk) -> Result<(Record, u64), Error> {
        self.pages.record(chunk.index, Some(&self.keys.page))
    }

    /// Turns the stored bytes in `buf` into the chunk's bytes.
    pub(super) fn open_chunk(&self, chunk: Chunk, buf: &mut [u8]) -> Result<(), Error> {
        if buf.len() != chunk.padded_len {
            return Err(Error::BufferLength { found: buf.len(), expected: chunk.padded_len });
        }
        let record = self.record(chunk).map(|(record, _)| record).inspect_err(|_| buf.fill(0))?;
        match record {
            Record::Data { tag, .. } => self.cipher.open(chunk, &tag, buf),
            Record::Hole => {
                buf.fill(0);
                Ok(())
            }
        }
    }
}

/// Opens the chunks of one snapshot, in any order and from many threads, given their stored bytes.
#[derive(Debug)]
pub struct Opener {
    pub(super) opened: Opened<Vec<u8>>,
}

impl Opener {
    /// Returns the length of the disk in bytes, from authenticated bytes.
    pub fn disk_len(&self) -> u64 {
        self.opened.footer.shape.disk_len
    }

    /// Returns all chunks of the disk.
    pub fn chunks(&self) -> Chunks {
        self.opened.chunks()
    }

    /// Returns chunk `index`; `None` past the end of the disk.
    pub fn chunk(&self, index: u64) -> Option<Chunk> {
        self.opened.chunk(index)
    }

    /// Returns where the chunk's stored bytes are in a snapshot file; `None` for a hole.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when the manifest is damaged or forged.
    pub fn stored_range(&self, chunk: Chunk) -> Result<Option<Range<u64>>, Error> {
        let (record, offset) = self.opened.record(chunk)?;
        Ok(match record {
            Record::Data { len, .. } => Some(offset..offset + u64::from(len)),
            Record::Hole => None,
        })
    }

    /// Returns the name of the object that [`ChunkRecord::object_name`](crate::engine::ChunkRecord::object_name) gave; `None` for a hole.
    ///
    /// # Errors
    ///
    /// As [`stored_range`](Self::stored_range).
    pub fn object_name(&self, chunk: Chunk) -> Result<Option<String>, Error> {
        let (record, _) = self.opened.record(chunk)?;
        Ok(match record {
            Record::Data { .. } => Some(object_name(chunk.index, &record)),
            Record::Hole => None,
        })
    }

    /// Verifies, then decrypts the stored bytes in `buf` in place; the first [`len`](Chunk::len) bytes are the chunk's then. For a
    /// hole the buffer's contents don't matter and become zeros.
    ///
    /// # Errors
    ///
    /// [`Error::BufferLength`]; [`Error::Format`] when the bytes are damaged or forged, and `buf` is zeroed then.
    pub fn open_chunk(&self, chunk: Chunk, buf: &mut [u8]) -> Result<(), Error> {
        self.opened.open_chunk(chunk, buf)
    }

    /// Returns what was noticed while opening.
    pub fn warnings(&self) -> &[Warning] {
        &self.opened.warnings
    }

    /// Returns the snapshot's header.
    pub fn header(&self) -> &Header {
        &self.opened.header
    }

    /// Returns the hash that stands for the whole snapshot below its heads.
    pub fn root(&self) -> &[u8; 32] {
        &self.opened.footer.root
    }
}

impl Engine {
    /// Opens a snapshot that is stored in parts: `header` is a head, or both; `manifest` a detached manifest.
    ///
    /// One unwrap per layer.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when something is damaged or forged; [`Error::Foreign`] when the manifest is another snapshot's;
    /// [`Error::KeyMissing`], [`Error::KeyNotWanted`], [`Error::Provider`].
    pub fn open_parts(&self, header: &[u8], manifest: &[u8]) -> Result<Opener, Error> {
        let heads = if header.len() > HEAD_LEN { Heads::parse(header)? } else { Heads::single(header)? };
        let opened = self.open_manifest(heads, manifest.to_vec())?;
        Ok(Opener { opened })
    }

    pub(super) fn open_manifest<R: ReadAt>(&self, heads: Heads, manifest: R) -> Result<Opened<R>, Error> {
        let error = |fault| Error::damaged(Part::Manifest, fault);
        let size = manifest.size()?;
        let footer_at = size.checked_sub(FOOTER_LEN as u64).filter(|offset| *offset >= HEADER_LEN as u64);
        let footer_at = footer_at.ok_or(error(Fault::Truncated))?;
        let mut fixed = [0; HEADER_LEN];
        read_exact_at(&manifest, &mut fixed, 0)?;
        if Header::decode(&fixed).map_err(|_| error(Fault::Magic))? != heads.header {
            return Err(Error::Foreign);
        }
        let mut footer_bytes = [0; FOOTER_LEN];
        read_exact_at(&manifest, &mut footer_bytes, footer_at)?;
        let footer = Footer::decode(&footer_bytes, &heads.header, None)?;
        let count = u64::from(footer.shape.page_count);
        let last = footer.shape.page_count.checked_sub(1).map_or(0, |last| page_len(footer.shape.records_in(last)));
        let index_at = HEADER_LEN as u64 + count.saturating_sub(1) * PAGE_LEN as u64 + last as u64;
        let expected = index_at + count * INDEX_ENTRY_LEN as u64 + FOOTER_LEN as u64;
        if size != expected {
            return Err(error(Fault::Length { found: size, expected }));
        }
        let mut index = vec![0; footer.shape.page_count as usize * INDEX_ENTRY_LEN];
        read_exact_at(&manifest, &mut index, index_at)?;
        self.finish_opening(heads, manifest, Layout::Manifest, &footer_bytes, footer, &index)
    }

    /// Opens a snapshot that can be read at any offset; `heads` may come from a sidecar.
    pub(super) fn open_file<R: ReadAt>(&self, heads: Heads, source: R) -> Result<Opened<R>, Error> {
        let (footer_bytes, footer) = read_footer(&source, &heads.header)?;
        let index = read_index(&source, &footer)?;
        self.finish_opening(heads, source, Layout::File, &footer_bytes, footer, &index)
    }

    fn finish_opening<R: ReadAt>(
        &self,
        heads: Heads,
        source: R,
        layout: Layout,
        footer_bytes: &[u8; FOOTER_LEN],
        footer: Footer,
        index: &[u8],
    ) -> Result<Opened<R>, Error> {
        let unlocked = self.unlock(&heads, Layer::of(heads.header.suite))?;
        let keys = unlocked.keys()?;
        let footer = footer.authenticate(footer_bytes, &keys.footer)?;
        let index = Index::decode(index, &footer)?;
        Ok(Opened {
            cipher: ChunkCipher::new(heads.header.suite, heads.header.sector, &keys)?,
            pages: Pages::new(source, layout, index, footer.index_offset, footer.shape, heads.hash),
            header: heads.header,
            keys,
            footer,
            warnings: unlocked.warnings,
            footer_bytes: *footer_bytes,
        })
    }
}

/// Reads stored bytes. That they end too early is damage of the snapshot, also where a manifest says that there are more.
pub(super) fn read_stored<R: ReadAt + ?Sized>(source: &R, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    read_exact_at(source, buf, offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::damaged(Part::Snapshot, Fault::Truncated),
        _ => Error::Io(error),
    })
}

/// Reads the footer at the end of a snapshot.
pub(super) fn read_footer<R: ReadAt + ?Sized>(
    source: &R,
    header: &Header,
) -> Result<([u8; FOOTER_LEN], Footer), Error> {
    let truncated = || Error::damaged(Part::Snapshot, Fault::Truncated);
    let size = source.size()?;
    let mut bytes = [0; FOOTER_LEN];
    let offset = size.checked_sub(FOOTER_LEN as u64).filter(|offset| *offset >= crate::format::BODY_OFFSET);
    read_exact_at(source, &mut bytes, offset.ok_or_else(truncated)?)?;
    let footer = Footer::decode(&bytes, header, Some(size))?;
    Ok((bytes, footer))
}

/// Reads the bytes of the index. The footer's own checks have bounded its length by the file's.
pub(super) fn read_index<R: ReadAt + ?Sized>(source: &R, footer: &Footer) -> Result<Vec<u8>, Error> {
    let mut index = vec![0; footer.shape.page_count as usize * INDEX_ENTRY_LEN];
    read_exact_at(source, &mut index, footer.index_offset)?;
    Ok(index)
}
