//! Random access to the disk inside a snapshot.

use std::sync::{Mutex, PoisonError};

use crate::engine::opener::{Opened, read_stored};
use crate::engine::unlock::Heads;
use crate::engine::{Chunk, Chunks, Engine, Error, Warning};
use crate::format::{Header, Record};
use crate::io::ReadAt;

/// Reads the disk inside a snapshot at any offset, from many threads. Every byte it returns was verified.
#[derive(Debug)]
pub struct SnapshotReader<R> {
    pub(super) opened: Opened<R>,
    recent: Mutex<Option<(u64, Vec<u8>)>>,
}

impl<R: ReadAt> SnapshotReader<R> {
    pub(super) fn new(opened: Opened<R>) -> Self {
        Self { opened, recent: Mutex::new(None) }
    }

    /// Returns the length of the disk in bytes, from authenticated bytes.
    pub fn len(&self) -> u64 {
        self.opened.footer.shape.disk_len
    }

    /// Whether the disk has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads into `buf` from `offset` of the disk and returns how many bytes there were: fewer than asked only at the end.
    ///
    /// Reads and verifies whole chunks; the last one is kept, so that small reads in order cost one decryption.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when a chunk is damaged or forged: nothing of it is in `buf`. [`Error::Io`].
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        let rest = self.len().saturating_sub(offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let index = at / self.opened.header.chunk.bytes();
            let Some(chunk) = self.opened.chunk(index) else { break };
            let inside = usize::try_from(at - chunk.offset).unwrap_or(chunk.len);
            let room = buf.get_mut(done..wanted).unwrap_or_default();
            done += self.copy_from(chunk, inside, room)?;
        }
        Ok(done)
    }

    /// Returns all chunks of the disk.
    pub fn chunks(&self) -> Chunks {
        self.opened.chunks()
    }

    /// Reads, verifies and decrypts one chunk into `buf`, of [`padded_len`](Chunk::padded_len) bytes; returns `false` for a hole, which leaves
    /// zeros.
    ///
    /// # Errors
    ///
    /// [`Error::BufferLength`]; [`Error::Format`], [`Error::Io`], and `buf` is zeroed then.
    pub fn read_chunk(&self, chunk: Chunk, buf: &mut [u8]) -> Result<bool, Error> {
        if buf.len() != chunk.padded_len {
            return Err(Error::BufferLength { found: buf.len(), expected: chunk.padded_len });
        }
        let (record, offset) = self.opened.record(chunk).inspect_err(|_| buf.fill(0))?;
        match record {
            Record::Data { tag, .. } => {
                read_stored(self.opened.pages.source(), buf, offset).inspect_err(|_| buf.fill(0))?;
                self.opened.cipher.open(chunk, &tag, buf)?;
                Ok(true)
            }
            Record::Hole => {
                buf.fill(0);
                Ok(false)
            }
        }
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

    fn copy_from(&self, chunk: Chunk, inside: usize, to: &mut [u8]) -> Result<usize, Error> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = match recent.take() {
            Some((index, bytes)) if index == chunk.index => bytes,
            Some((_, mut bytes)) => {
                bytes.resize(chunk.padded_len, 0);
                self.read_chunk(chunk, &mut bytes)?;
                bytes
            }
            None => {
                let mut bytes = vec![0; chunk.padded_len];
                self.read_chunk(chunk, &mut bytes)?;
                bytes
            }
        };
        bytes.truncate(chunk.padded_len);
        let from = bytes.get(inside..chunk.len).unwrap_or_default();
        let count = from.len().min(to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        *recent = Some((chunk.index, bytes));
        Ok(count)
    }
}

impl Engine {
    /// Opens a snapshot for reading at any offset. One unwrap per layer.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when it is damaged, forged or not supported; [`Error::KeyMissing`], [`Error::KeyNotWanted`], [`Error::Provider`];
    /// [`Error::Io`].
    pub fn open<R: ReadAt>(&self, source: R) -> Result<SnapshotReader<R>, Error> {
        let heads = Heads::read(&source)?;
        Ok(SnapshotReader::new(self.open_file(heads, source)?))
    }

    /// Opens a snapshot with the head of a sidecar in place of its own (SPEC §8).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`Error::Foreign`] when the sidecar is another snapshot's.
    pub fn open_with_sidecar<R: ReadAt>(&self, source: R, sidecar: &[u8]) -> Result<SnapshotReader<R>, Error> {
        let heads = Heads::single(sidecar)?;
        if let Ok(own) = Heads::read(&source)
            && own.header != heads.header
        {
            return Err(Error::Foreign);
        }
        Ok(SnapshotReader::new(self.open_file(heads, source)?))
    }
}
