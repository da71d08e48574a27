//! Sealing a whole disk.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::engine::error::AtFile;
use crate::engine::pipeline::order::{Places, Records};
use crate::engine::pipeline::resume::Resumed;
use crate::engine::pipeline::sink::Sink;
use crate::engine::pipeline::source::{Disk, Feed, Input, Taken};
use crate::engine::pipeline::{SealOptions, SealSummary, Source, Target, run_workers};
use crate::engine::sealer::{Body, Sealer};
use crate::engine::{Control, Engine, Error, Geometry, SealPolicy};
use crate::format::{HEAD_LEN, HEADER_LEN, PAGE_LEN};
use crate::io::{PartialFile, SourceKind};

impl Engine {
    /// Seals a whole disk into a file, which appears under its name complete or not at all, or into a pipe.
    ///
    /// When it is stopped or fails, the partial file stays, and [`SealOptions::resume`] goes on with it.
    ///
    /// # Errors
    ///
    /// [`Error::Commit`] when the target exists or is being written; [`Error::SourceChanged`]; [`Error::DeviceInUse`];
    /// [`Error::SameFile`]; [`Error::UnsuitableFile`]; [`Error::NothingToResume`]; [`Error::Cancelled`]; and as [`sealer`](Self::sealer).
    pub fn seal(
        &self,
        source: Source<'_>,
        target: Target<'_>,
        policy: &SealPolicy,
        options: &SealOptions,
        ctl: &Control,
    ) -> Result<SealSummary, Error> {
        let mut input = match source {
            Source::Path(path) => Input::Disk(Disk::open(path, options.live)?),
            Source::Stream(reader) => Input::Pipe(reader),
        };
        let Some(path) = &options.manifest else {
            return self.seal_to(target, &mut input, policy, None, options, ctl);
        };
        refuse_target(path, &input)?;
        if matches!(target, Target::Path(target) if target == path) {
            return Err(Error::SameFile.at(path));
        }
        let (manifest, _) = begin_afresh(path, options.force)?;
        match self.seal_to(target, &mut input, policy, Some(&manifest), options, ctl) {
            Ok(summary) => {
                manifest.commit()?;
                Ok(summary)
            }
            Err(error) => {
                // Resuming writes it anew. That it could not be removed would hide why the run failed.
                let _ = manifest.discard();
                Err(error)
            }
        }
    }

    fn seal_to(
        &self,
        target: Target<'_>,
        input: &mut Input<'_>,
        policy: &SealPolicy,
        manifest: Option<&PartialFile>,
        options: &SealOptions,
        ctl: &Control,
    ) -> Result<SealSummary, Error> {
        match target {
            Target::Stream(writer) => {
                let (geometry, hash) = describe(input);
                let sealer = self.sealer_of(geometry, policy, hash)?;
                let sink = Sink::stream(writer);
                let summary = write_all(&sealer, input, &sink, Body::new(&sealer), manifest, options, ctl)?;
                sink.flush()?;
                Ok(summary)
            }
            Target::Path(path) => {
                refuse_target(path, input)?;
                self.seal_to_file(path, input, policy, manifest, options, ctl)
            }
        }
    }

    fn seal_to_file(
        &self,
        path: &Path,
        input: &mut Input<'_>,
        policy: &SealPolicy,
        manifest: Option<&PartialFile>,
        options: &SealOptions,
        ctl: &Control,
    ) -> Result<SealSummary, Error> {
        let (partial, discarded, resumed) = if options.resume {
            let partial = PartialFile::open(path, 0o666, options.force)?;
            if partial.is_empty()? {
                partial.discard()?;
                return Err(Error::NothingToResume.at(path));
            }
            let resumed = self.resume_partial(&partial, input, policy, options, ctl)?;
            (partial, 0, Some(resumed))
        } else {
            let (partial, discarded) = begin_afresh(path, options.force)?;
            (partial, discarded, None)
        };
        let sink = Sink::file(partial.file(), partial.path());
        let summary = match &resumed {
            Some(Resumed { sealer, pages, begun, done }) => {
                let mut body = Body::new(sealer);
                for page in pages {
                    let bytes = page.bytes(partial.file())?;
                    if let Some(manifest) = manifest {
                        ManifestWriter::new(manifest).write_page(body.next_page(), &bytes)?;
                    }
                    body.keep(page.offset, &bytes, page.data_len);
                }
                for record in begun {
                    body.push(*record);
                }
                let summary = write_all(sealer, input, &sink, body, manifest, options, ctl)?;
                SealSummary { resumed: *done, ..summary }
            }
            None => {
                let (geometry, hash) = describe(input);
                let sealer = self.sealer_of(geometry, policy, hash).inspect_err(|_| remove_if_empty(&partial))?;
                write_all(&sealer, input, &sink, Body::new(&sealer), manifest, options, ctl)?
            }
        };
        partial.commit()?;
        Ok(SealSummary { discarded, ..summary })
    }
}

/// Opens a partial file for a new run and empties it; returns how many bytes of an abandoned run went.
pub(super) fn begin_afresh(path: &Path, force: bool) -> Result<(PartialFile, u64), Error> {
    let partial = PartialFile::open(path, 0o666, force)?;
    let discarded = partial.len()?;
    if discarded > 0 {
        partial.file().set_len(0).at(partial.path())?;
    }
    Ok((partial, discarded))
}

fn describe(input: &Input<'_>) -> (Geometry, Option<[u8; 32]>) {
    match input {
        Input::Disk(disk) => (Geometry::disk(disk.identity.len), Some(disk.source_hash())),
        Input::Pipe(_) => (Geometry::stream(), None),
    }
}

/// Refuses a target that is the source itself, also through another name, or no place for a snapshot.
fn refuse_target(target: &Path, input: &Input<'_>) -> Result<(), Error> {
    for path in [target.to_owned(), crate::io::partial_path(target)] {
        let Ok(there) = std::fs::metadata(&path) else { continue };
        if let Input::Disk(disk) = input
            && disk.kind == SourceKind::File
            && (there.dev(), there.ino()) == (disk.identity.device, disk.identity.inode)
        {
            return Err(Error::SameFile.at(&path));
        }
        let kind = SourceKind::of(&there);
        if kind != SourceKind::File {
            let advice = "name a file that does not exist yet";
            return Err(Error::UnsuitableFile { kind: kind.name(), advice }.at(&path));
        }
    }
    Ok(())
}

/// A run that failed before its first byte leaves nothing that could be resumed.
fn remove_if_empty(partial: &PartialFile) {
    if partial.is_empty().unwrap_or(false) {
        let _ = std::fs::remove_file(partial.path());
    }
}

/// Writes heads, body, index and footer.
fn write_all(
    sealer: &Sealer,
    input: &mut Input<'_>,
    sink: &Sink<'_>,
    body: Body<'_>,
    manifest: Option<&PartialFile>,
    options: &SealOptions,
    ctl: &Control,
) -> Result<SealSummary, Error> {
    let never = || false;
    let first_chunk = body.next_chunk();
    // Also when resuming: one of the heads there may be damaged.
    sink.write_at(0, sealer.header(), &never)?;
    sink.write_at(HEAD_LEN as u64, sealer.header(), &never)?;
    let manifest = manifest.map(ManifestWriter::new);
    if let Some(manifest) = &manifest {
        manifest.write(0, &sealer.header.encode())?;
    }
    if let Input::Disk(disk) = input {
        ctl.start(disk.identity.len);
    }
    ctl.add(first_chunk.saturating_mul(sealer.header.chunk.bytes()), 0);

    let places = Places::from(first_chunk, body.next_offset());
    let records = Records::new(body);
    let feed = Feed::new(sealer, input, first_chunk, options.sparse);
    let ran = run_workers(options.workers, ctl, |stop| {
        let mut buf = Vec::new();
        while !stop() {
            let Some(taken) = feed.take(&mut buf)? else { break };
            let (Taken::Hole(chunk) | Taken::Data(chunk)) = &taken;
            if !records.wait_for_room(chunk.index(), &stop) {
                break;
            }
            let (chunk, record) = match taken {
                Taken::Hole(chunk) => {
                    let Some(_) = places.take(chunk.index(), 0, &stop) else { break };
                    (chunk, sealer.zero(chunk))
                }
                Taken::Data(chunk) => {
                    let Some(place) = places.take(chunk.index(), buf.len() as u64, &stop) else { break };
                    let record = sealer.seal_chunk(chunk, &mut buf)?;
                    sink.write_at(place, &buf, &stop)?;
                    (chunk, record)
                }
            };
            ctl.add(chunk.len() as u64, u64::from(record.record.stored_len()));
            for (number, offset, page) in records.add(chunk.index(), record.record) {
                if let Some(manifest) = &manifest {
                    manifest.write_page(number, &page)?;
                }
                sink.write_at(offset, &page, &stop)?;
            }
        }
        Ok(())
    });
    if let Err(error) = ran {
        if matches!(error, Error::Cancelled) {
            keep_begun_page(records.into_body(), sink)?;
        }
        return Err(error);
    }
    let disk_len = feed.disk_len();
    if let Input::Disk(disk) = input
        && !options.live
    {
        disk.check_unchanged()?;
    }
    let mut body = records.into_body();
    let number = body.next_page();
    if let Some((offset, page)) = body.close() {
        if let Some(manifest) = &manifest {
            manifest.write_page(number, &page)?;
        }
        sink.write_at(offset, &page, &never)?;
    }
    let ending = body.ending(sealer.shape_of(disk_len)?)?;
    let footer_offset = ending.index_offset + ending.index.len() as u64;
    sink.write_at(ending.index_offset, &ending.index, &never)?;
    sink.write_at(footer_offset, &ending.footer, &never)?;
    if let Some(manifest) = &manifest {
        manifest.finish(body.next_page(), &ending.index, &ending.footer)?;
    }
    Ok(SealSummary {
        id: sealer.header.id,
        root: ending.root,
        disk_len,
        stored: ending.data_len,
        file_len: ending.file_len,
        resumed: 0,
        discarded: 0,
    })
}

/// Ends a stopped run's partial file with the page it had begun, so that resuming keeps its chunks too. Chunks behind it, which
/// other workers had finished early, are written again.
fn keep_begun_page(mut body: Body<'_>, sink: &Sink<'_>) -> Result<(), Error> {
    if let (Sink::File(partial), Some((offset, page))) = (sink, body.close()) {
        partial.file.set_len(offset).at(partial.path)?;
        sink.write_at(offset, &page, &|| true)?;
    }
    Ok(())
}

/// Writes a detached manifest while the pages come.
struct ManifestWriter<'a> {
    file: &'a File,
    path: &'a Path,
}

impl<'a> ManifestWriter<'a> {
    fn new(partial: &'a PartialFile) -> Self {
        Self { file: partial.file(), path: partial.path() }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).at(self.path)
    }

    fn write_page(&self, number: u32, page: &[u8]) -> Result<(), Error> {
        self.write(HEADER_LEN as u64 + u64::from(number) * PAGE_LEN as u64, page)
    }

    fn finish(&self, pages: u32, index: &[u8], footer: &[u8]) -> Result<(), Error> {
        // The last page may be shorter than its slot: the index follows its end.
        let end = if pages == 0 { HEADER_LEN as u64 } else { self.file.metadata().at(self.path)?.len() };
        self.write(end, index)?;
        self.write(end + index.len() as u64, footer)
    }
}
