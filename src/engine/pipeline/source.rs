//! Where the disk comes from: files and devices at any offset, pipes in order.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use crate::engine::error::AtFile;
use crate::engine::sealer::Sealer;
use crate::engine::{Chunk, Error, is_zero};
use crate::io::{Extent, FileIdentity, ReadAt, SourceKind, mount_point, next_extent, open_exclusive, read_exact_at};
use crate::kdf;

/// An opened disk.
pub(super) enum Input<'a> {
    Disk(Disk<'a>),
    Pipe(&'a mut (dyn Read + Send)),
}

/// A file or block device.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    pub(super) path: &'a Path,
    pub(super) file: File,
    pub(super) identity: FileIdentity,
    pub(super) kind: SourceKind,
}

impl<'a> Disk<'a> {
    /// Opens the file or device at `path`; a device that is in use only if `live`.
    pub(super) fn open(path: &'a Path, live: bool) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).at(path)?;
        let kind = SourceKind::of(&metadata);
        let file = match kind {
            SourceKind::File => open_without_waiting(path).at(path)?,
            SourceKind::BlockDevice if live => open_without_waiting(path).at(path)?,
            SourceKind::BlockDevice => match open_exclusive(path, false) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    return Err(Error::DeviceInUse { mounted: mount_point(metadata.rdev()) }.at(path));
                }
                Err(error) => return Err(Error::Io(error).at(path)),
            },
            SourceKind::Fifo => {
                let advice = "read it through standard input, as '-'";
                return Err(Error::UnsuitableFile { kind: kind.name(), advice }.at(path));
            }
            other => {
                let advice = "name a disk image or a block device";
                return Err(Error::UnsuitableFile { kind: other.name(), advice }.at(path));
            }
        };
        let identity = FileIdentity::of(&file).at(path)?;
        Ok(Self { path, file, identity, kind })
    }

    /// Returns the hash that stands for this state of this source in a section.
    pub(super) fn source_hash(&self) -> [u8; 32] {
        kdf::sha256(&[b"sobre/1 source\0", &self.identity.to_bytes()])
    }

    /// Checks that nothing changed since it was opened: length, times, and that the path still leads to it.
    pub(super) fn check_unchanged(&self) -> Result<(), Error> {
        let now = FileIdentity::of(&self.file).at(self.path)?;
        if now.len != self.identity.len {
            let how = if now.len > self.identity.len { "grew while it was read" } else { "shrank while it was read" };
            return Err(Error::SourceChanged(how).at(self.path));
        }
        if self.kind == SourceKind::BlockDevice {
            return Ok(());
        }
        if now != self.identity {
            return Err(Error::SourceChanged("changed while it was read").at(self.path));
        }
        let there = std::fs::metadata(self.path).ok();
        if there.is_none_or(|there| (there.dev(), there.ino()) != (now.device, now.inode)) {
            return Err(Error::SourceChanged("was replaced while it was read").at(self.path));
        }
        Ok(())
    }

    /// Reads exactly `buf` at `offset`.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        match read_exact_at(&self.file, buf, offset) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::SourceChanged("shrank while it was read").at(self.path))
            }
            Err(error) => Err(Error::Io(error).at(self.path)),
        }
    }
}

/// Hands the chunks of a source to workers, in order.
pub(super) struct Feed<'a, 'b> {
    sealer: &'a Sealer,
    sparse: bool,
    inner: FeedInner<'a, 'b>,
}

enum FeedInner<'a, 'b> {
    Disk { disk: &'a Disk<'b>, cursor: Mutex<Cursor> },
    Pipe { pipe: Mutex<PipeCursor<'a>> },
}

#[derive(Debug)]
struct Cursor {
    next: u64,
    /// The stretch of the file that was looked at last.
    extent: Extent,
}

struct PipeCursor<'a> {
    reader: &'a mut (dyn Read + Send),
    next: u64,
    ended: bool,
    len: u64,
}

/// A chunk that a worker took.
pub(super) enum Taken {
    /// The buffer holds its bytes.
    Data(Chunk),
    /// It is all zeros.
    Hole(Chunk),
}

impl<'a, 'b> Feed<'a, 'b> {
    /// Feeds the chunks from `first` on.
    pub(super) fn new(sealer: &'a Sealer, input: &'a mut Input<'b>, first: u64, sparse: bool) -> Self {
        let inner = match input {
            Input::Disk(disk) => {
                FeedInner::Disk { disk, cursor: Mutex::new(Cursor { next: first, extent: Extent::Data(0..0) }) }
            }
            Input::Pipe(reader) => FeedInner::Pipe {
                pipe: Mutex::new(PipeCursor { reader: &mut **reader, next: first, ended: false, len: 0 }),
            },
        };
        Self { sealer, sparse, inner }
    }

    /// Takes the next chunk and reads it into `buf`, which gets its padded length; `None` at the end.
    pub(super) fn take(&self, buf: &mut Vec<u8>) -> Result<Option<Taken>, Error> {
        match &self.inner {
            FeedInner::Disk { disk, cursor } => self.take_from_disk(disk, cursor, buf),
            FeedInner::Pipe { pipe } => self.take_from_pipe(pipe, buf),
        }
    }

    /// Returns how long the disk turned out to be.
    pub(super) fn disk_len(&self) -> u64 {
        match &self.inner {
            FeedInner::Disk { disk, .. } => disk.identity.len,
            FeedInner::Pipe { pipe } => pipe.lock().unwrap_or_else(PoisonError::into_inner).len,
        }
    }

    fn take_from_disk(
        &self,
        disk: &Disk<'_>,
        cursor: &Mutex<Cursor>,
        buf: &mut Vec<u8>,
    ) -> Result<Option<Taken>, Error> {
        let chunk = {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(chunk) = self.sealer.chunk(cursor.next) else { return Ok(None) };
            cursor.next += 1;
            if self.sparse && cursor.is_hole(disk, chunk.range()).at(disk.path)? {
                return Ok(Some(Taken::Hole(chunk)));
            }
            chunk
        };
        buf.resize(chunk.padded_len, 0);
        disk.read(buf.get_mut(..chunk.len).unwrap_or_default(), chunk.offset)?;
        Ok(Some(self.judge(chunk, buf)))
    }

    fn take_from_pipe(&self, pipe: &Mutex<PipeCursor<'_>>, buf: &mut Vec<u8>) -> Result<Option<Taken>, Error> {
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if pipe.ended {
            return Ok(None);
        }
        let chunk_len = usize::try_from(self.sealer.header.chunk.bytes()).unwrap_or(0);
        buf.resize(chunk_len, 0);
        let len = read_fully(pipe.reader, buf)?;
        pipe.ended = len < chunk_len;
        if len == 0 {
            return Ok(None);
        }
        let chunk = self.sealer.stream_chunk(pipe.next, len)?;
        pipe.next += 1;
        pipe.len = chunk.range().end;
        drop(pipe);
        buf.resize(chunk.padded_len, 0);
        Ok(Some(self.judge(chunk, buf)))
    }

    fn judge(&self, chunk: Chunk, buf: &[u8]) -> Taken {
        if self.sparse && is_zero(buf.get(..chunk.len).unwrap_or_default()) {
            Taken::Hole(chunk)
        } else {
            Taken::Data(chunk)
        }
    }
}

impl Cursor {
    /// Whether `range`, which lies behind every range asked before, is a hole of the file.
    fn is_hole(&mut self, disk: &Disk<'_>, range: Range<u64>) -> io::Result<bool> {
        if disk.kind != SourceKind::File {
            return Ok(false);
        }
        let known = match &self.extent {
            Extent::Data(known) | Extent::Hole(known) => known.contains(&range.start),
        };
        if !known {
            self.extent = next_extent(&disk.file, range.start, disk.file.size()?)?;
        }
        Ok(matches!(&self.extent, Extent::Hole(hole) if hole.start <= range.start && range.end <= hole.end))
    }
}

/// Opens a regular file or device; a FIFO that took its place meanwhile does not block.
pub(super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads until `buf` is full or the end.
pub(super) fn read_fully(reader: &mut (dyn Read + Send), buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
