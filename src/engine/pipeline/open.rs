//! Opening a whole snapshot.

use std::fs::{File, OpenOptions as FileOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::error::AtFile;
use crate::engine::opener::{Opened, read_stored};
use crate::engine::pipeline::order::Prefix;
use crate::engine::pipeline::sink::Sink;
use crate::engine::pipeline::source::{open_without_waiting, read_fully};
use crate::engine::pipeline::{OpenOptions, OpenSummary, Source, Target, run_workers};
use crate::engine::unlock::Heads;
use crate::engine::{Chunk, Control, Engine, Error};
use crate::format::{BODY_OFFSET, Fault, HEAD_LEN, Part, RECORDS_PER_PAGE, Record};
use crate::io::{PartialFile, ReadAt, SourceKind, length_of, mount_point, open_exclusive};

impl Engine {
    /// Opens a whole snapshot into a file, which appears under its name once every byte was verified; into an existing block
    /// device; or into a pipe. The last two get verified bytes only, and on an error the message says how far they are valid.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Commit`], [`Error::DeviceInUse`], [`Error::DeviceTooSmall`], [`Error::ManifestNeeded`],
    /// [`Error::PartlyWritten`], [`Error::Range`], [`Error::SameFile`], [`Error::UnsuitableFile`], [`Error::Cancelled`].
    pub fn open_whole(
        &self,
        source: Source<'_>,
        target: Target<'_>,
        options: &OpenOptions,
        ctl: &Control,
    ) -> Result<OpenSummary, Error> {
        let manifest = match &options.manifest {
            Some(path) => Some(open_manifest(path)?),
            None => None,
        };
        let sidecar = match &options.sidecar {
            Some(path) => Some(Heads::single(&read_head(path)?).at(path)?),
            None => None,
        };
        match source {
            Source::Path(path) => {
                let file = open_snapshot(path)?;
                let heads = match sidecar {
                    Some(sidecar) => check_sidecar(sidecar, &file).at(path)?,
                    None => Heads::read(&file).at(path)?,
                };
                match manifest {
                    Some(manifest) => {
                        let opened = self.open_manifest(heads, manifest).at(path)?;
                        deliver(&opened, &Fetch::File(&file, path), target, options, ctl, Some((&file, path)))
                    }
                    None => {
                        let opened = self.open_file(heads, &file).at(path)?;
                        deliver(&opened, &Fetch::File(&file, path), target, options, ctl, Some((&file, path)))
                    }
                }
            }
            Source::Stream(reader) => {
                let manifest = manifest.ok_or(Error::ManifestNeeded)?;
                let mut bytes = vec![0; 2 * HEAD_LEN];
                let have = read_fully(reader, &mut bytes)?;
                bytes.truncate(have);
                let own = Heads::parse(&bytes);
                let heads = match sidecar {
                    Some(sidecar) if own.as_ref().is_ok_and(|own| own.header != sidecar.header) => {
                        return Err(Error::Foreign);
                    }
                    Some(sidecar) => sidecar,
                    None => own?,
                };
                let opened = self.open_manifest(heads, manifest)?;
                let pipe = Mutex::new(Pipe { reader, offset: BODY_OFFSET, next: 0 });
                deliver(&opened, &Fetch::Pipe(&pipe), target, options, ctl, None)
            }
        }
    }
}

/// Where stored bytes are fetched from.
enum Fetch<'a> {
    File(&'a File, &'a Path),
    Pipe(&'a Mutex<Pipe<'a>>),
}

/// A snapshot that comes through a pipe, behind its heads.
struct Pipe<'a> {
    reader: &'a mut (dyn Read + Send),
    offset: u64,
    next: u64,
}

impl Fetch<'_> {
    /// Takes the next chunk off `queue` and reads its stored bytes into `buf`.
    fn take<R: ReadAt>(
        &self,
        opened: &Opened<R>,
        queue: &Mutex<Range<u64>>,
        buf: &mut Vec<u8>,
    ) -> Result<Option<(Chunk, Record)>, Error> {
        match self {
            Self::File(file, path) => {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(chunk) = next.and_then(|index| opened.chunk(index)) else { return Ok(None) };
                let (record, offset) = opened.record(chunk).at(path)?;
                buf.resize(chunk.padded_len(), 0);
                if matches!(record, Record::Data { .. }) {
                    read_stored(*file, buf, offset).at(path)?;
                }
                Ok(Some((chunk, record)))
            }
            Self::Pipe(pipe) => {
                let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    let Some(chunk) = opened.chunk(pipe.next) else { return Ok(None) };
                    let (record, offset) = opened.record(chunk)?;
                    pipe.next += 1;
                    buf.resize(chunk.padded_len(), 0);
                    if matches!(record, Record::Data { .. }) {
                        pipe.expect_offset(offset)?;
                        pipe.read(buf)?;
                    }
                    pipe.finish_page(opened, chunk)?;
                    // Chunks before the range are read past.
                    if queue.lock().unwrap_or_else(PoisonError::into_inner).contains(&chunk.index()) {
                        return Ok(Some((chunk, record)));
                    }
                }
            }
        }
    }

    /// Checks that a pipe ends as the manifest says.
    fn finish<R: ReadAt>(&self, opened: &Opened<R>) -> Result<(), Error> {
        let Self::Pipe(pipe) = self else { return Ok(()) };
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let ending = opened.ending_bytes();
        let mut there = vec![0; ending.len()];
        pipe.expect_offset(opened.footer.index_offset)?;
        pipe.read(&mut there)?;
        if there != ending {
            return Err(Error::damaged(Part::Footer, Fault::Differs));
        }
        if read_fully(pipe.reader, &mut [0])? != 0 {
            return Err(Error::damaged(
                Part::Snapshot,
                Fault::Length { found: pipe.offset + 1, expected: pipe.offset },
            ));
        }
        Ok(())
    }
}

impl Pipe<'_> {
    fn expect_offset(&self, offset: u64) -> Result<(), Error> {
        if self.offset == offset {
            return Ok(());
        }
        Err(Error::damaged(Part::Snapshot, Fault::Length { found: self.offset, expected: offset }))
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<(), Error> {
        if read_fully(self.reader, buf)? != buf.len() {
            return Err(Error::damaged(Part::Snapshot, Fault::Truncated));
        }
        self.offset += buf.len() as u64;
        Ok(())
    }

    /// Behind the last chunk of a page stands the page, as the manifest has it.
    fn finish_page<R: ReadAt>(&mut self, opened: &Opened<R>, chunk: Chunk) -> Result<(), Error> {
        let last = opened.chunk(chunk.index() + 1).is_none();
        if !last && !(chunk.index() + 1).is_multiple_of(RECORDS_PER_PAGE as u64) {
            return Ok(());
        }
        let number = u32::try_from(chunk.index() / RECORDS_PER_PAGE as u64).unwrap_or(u32::MAX);
        let expected = opened.pages.bytes(number)?;
        let mut there = vec![0; expected.len()];
        self.read(&mut there)?;
        if there != expected {
            return Err(Error::damaged(Part::Page(number), Fault::Differs));
        }
        Ok(())
    }
}

/// Carries the wanted bytes to the target.
fn deliver<R: ReadAt>(
    opened: &Opened<R>,
    fetch: &Fetch<'_>,
    target: Target<'_>,
    options: &OpenOptions,
    ctl: &Control,
    source: Option<(&File, &Path)>,
) -> Result<OpenSummary, Error> {
    let disk = opened.footer.shape.disk_len;
    let range = match options.range {
        Some((offset, len)) => match offset.checked_add(len) {
            Some(end) if end <= disk => offset..end,
            _ => return Err(Error::Range { offset, len, disk }),
        },
        None => 0..disk,
    };
    let mut summary = OpenSummary {
        id: opened.header.id,
        disk_len: disk,
        written: range.end - range.start,
        stored: 0,
        discarded: 0,
        warnings: opened.warnings.clone(),
    };
    match target {
        Target::Stream(writer) => {
            let sink = Sink::stream(writer);
            let prefix = Prefix::default();
            let done = carry(opened, fetch, &sink, range, &prefix, options, ctl).and_then(|stored| {
                sink.flush()?;
                fetch.finish(opened)?;
                Ok(stored)
            });
            summary.stored = done.map_err(|error| partly(error, &prefix))?;
        }
        Target::Path(path) if is_device(path) => {
            let file = open_device(path, range.end - range.start, options.force)?;
            let sink = Sink::device(&file, path);
            let prefix = Prefix::default();
            let done = carry(opened, fetch, &sink, range, &prefix, options, ctl).and_then(|stored| {
                fetch.finish(opened)?;
                file.sync_all().at(path)?;
                Ok(stored)
            });
            summary.stored = done.map_err(|error| partly(error, &prefix))?;
        }
        Target::Path(path) => {
            refuse_source_as_target(path, source)?;
            // A disk in the clear is for its owner only, until the owner says otherwise.
            let partial = PartialFile::open(path, 0o600, options.force)?;
            summary.discarded = partial.len()?;
            match write_file(opened, fetch, &partial, range, options, ctl) {
                Ok(stored) => summary.stored = stored,
                Err(error) => {
                    // What was written so far is the plaintext of somebody's disk, and can't be resumed.
                    partial.discard()?;
                    return Err(error);
                }
            }
            partial.commit()?;
        }
    }
    Ok(summary)
}

fn write_file<R: ReadAt>(
    opened: &Opened<R>,
    fetch: &Fetch<'_>,
    partial: &PartialFile,
    range: Range<u64>,
    options: &OpenOptions,
    ctl: &Control,
) -> Result<u64, Error> {
    let file = partial.file();
    file.set_len(0).and_then(|()| file.set_len(range.end - range.start)).at(partial.path())?;
    let sink = Sink::file(file, partial.path());
    let stored = carry(opened, fetch, &sink, range, &Prefix::default(), options, ctl)?;
    fetch.finish(opened)?;
    Ok(stored)
}

/// Fetches, verifies, decrypts and writes every chunk that touches `range`; returns how many stored bytes there were.
fn carry<R: ReadAt>(
    opened: &Opened<R>,
    fetch: &Fetch<'_>,
    sink: &Sink<'_>,
    range: Range<u64>,
    prefix: &Prefix,
    options: &OpenOptions,
    ctl: &Control,
) -> Result<u64, Error> {
    ctl.start(range.end - range.start);
    let chunk_bytes = opened.header.chunk.bytes();
    let wanted = if range.is_empty() { 0..0 } else { range.start / chunk_bytes..range.end.div_ceil(chunk_bytes) };
    // From a pipe everything is read, for what is behind the range must be seen to be whole.
    let queue = Mutex::new(wanted);
    let total = AtomicU64::new(0);
    run_workers(options.workers, ctl, |stop| {
        let mut buf = Vec::new();
        while !stop() {
            let Some((chunk, record)) = fetch.take(opened, &queue, &mut buf)? else { break };
            let start = chunk.range().start.max(range.start);
            let end = chunk.range().end.min(range.end);
            let place = start - range.start..end - range.start;
            let written = match record {
                Record::Data { tag, .. } => {
                    opened.cipher.open(chunk, &tag, &mut buf).map_err(|error| fetch.name(error))?;
                    let inside = |at: u64| usize::try_from(at - chunk.offset()).unwrap_or(usize::MAX);
                    let bytes = buf.get(inside(start)..inside(end)).unwrap_or_default();
                    let written = sink.write_at(place.start, bytes, &stop)?;
                    total.fetch_add(buf.len() as u64, Ordering::Relaxed);
                    ctl.add(end - start, buf.len() as u64);
                    written
                }
                Record::Hole => {
                    let written = sink.write_zeros(place.clone(), &stop)?;
                    ctl.add(end - start, 0);
                    written
                }
            };
            if written {
                prefix.add(place.start, place.end);
            }
        }
        Ok(())
    })?;
    Ok(total.into_inner())
}

impl Fetch<'_> {
    fn name(&self, error: Error) -> Error {
        match self {
            Self::File(_, path) => error.at(path),
            Self::Pipe(_) => error,
        }
    }
}

fn partly(error: Error, prefix: &Prefix) -> Error {
    Error::PartlyWritten { valid: prefix.len(), source: Box::new(error) }
}

fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| SourceKind::of(&metadata) == SourceKind::BlockDevice)
}

fn open_device(path: &Path, disk: u64, force: bool) -> Result<File, Error> {
    if !force {
        let advice = "add --force to overwrite everything on it";
        return Err(Error::UnsuitableFile { kind: SourceKind::BlockDevice.name(), advice }.at(path));
    }
    let file = match open_exclusive(path, true) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let number = std::fs::metadata(path).map(|metadata| metadata.rdev()).unwrap_or_default();
            return Err(Error::DeviceInUse { mounted: mount_point(number) }.at(path));
        }
        Err(error) => return Err(Error::Io(error).at(path)),
    };
    let device = length_of(&file).at(path)?;
    if device < disk {
        return Err(Error::DeviceTooSmall { device, disk }.at(path));
    }
    Ok(file)
}

/// Opens a snapshot: a regular file only.
fn open_snapshot(path: &Path) -> Result<File, Error> {
    let kind = SourceKind::of(&std::fs::metadata(path).at(path)?);
    match kind {
        SourceKind::File => open_without_waiting(path).at(path),
        SourceKind::Fifo => {
            let advice = "read it through standard input, as '-', with --manifest";
            Err(Error::UnsuitableFile { kind: kind.name(), advice }.at(path))
        }
        other => Err(Error::UnsuitableFile { kind: other.name(), advice: "name a snapshot" }.at(path)),
    }
}

/// Opens a manifest: its pages are read when they are needed, so that it may be as long as it likes.
fn open_manifest(path: &Path) -> Result<File, Error> {
    match SourceKind::of(&std::fs::metadata(path).at(path)?) {
        SourceKind::File => open_without_waiting(path).at(path),
        other => Err(Error::UnsuitableFile { kind: other.name(), advice: "name a manifest" }.at(path)),
    }
}

fn refuse_source_as_target(target: &Path, source: Option<(&File, &Path)>) -> Result<(), Error> {
    let Some((file, path)) = source else { return Ok(()) };
    let snapshot = file.metadata().at(path)?;
    for candidate in [target.to_owned(), crate::io::partial_path(target)] {
        let same = std::fs::metadata(&candidate)
            .is_ok_and(|there| (there.dev(), there.ino()) == (snapshot.dev(), snapshot.ino()));
        if same {
            return Err(Error::SameFile.at(&candidate));
        }
    }
    Ok(())
}

fn read_head(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = FileOptions::new().read(true).open(path).at(path)?;
    file.take(HEAD_LEN as u64 + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() != HEAD_LEN {
        let fault = Fault::Length { found: bytes.len() as u64, expected: HEAD_LEN as u64 };
        return Err(Error::damaged(Part::Head(0), fault).at(path));
    }
    Ok(bytes)
}

fn check_sidecar(sidecar: Heads, snapshot: &File) -> Result<Heads, Error> {
    match Heads::read(snapshot) {
        Ok(own) if own.header != sidecar.header => Err(Error::Foreign),
        _ => Ok(sidecar),
    }
}
