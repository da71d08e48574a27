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
use crate::format::{HEAD_LEN, HEADER_LEN, PAGE_LEN, RECORDS_PER_PAGE};
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
        let manifest = match &options.manifest {
            Some(path) => Some(begin_afresh(path, options.force)?.0),
            None => None,
        };
        let summary = match target {
            Target::Stream(writer) => {
                let (geometry, hash) = describe(&input);
                let sealer = self.sealer_of(geometry, policy, hash)?;
                let sink = Sink::stream(writer);
                let body = Body::new(&sealer);
                let summary = write_all(&sealer, &mut input, &sink, body, manifest.as_ref(), options, ctl)?;
                sink.flush()?;
                summary
            }
            Target::Path(path) => {
                refuse_target(path, &input)?;
                self.seal_to_file(path, &mut input, policy, manifest.as_ref(), options, ctl)?
            }
        };
        if let Some(manifest) = manifest {
            manifest.commit()?;
        }
        Ok(summary)
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
        let sink = Sink::File(partial.file(), partial.path());
        let summary = match &resumed {
            Some(Resumed { sealer, pages, done }) => {
                let mut body = Body::new(sealer);
                for page in pages {
                    body.keep(page.offset, &page.bytes(partial.file())?, page.data_len);
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
    let first_page = body.next_page();
    let first_chunk = u64::from(first_page) * RECORDS_PER_PAGE as u64;
    if first_page == 0 {
        sink.write_at(0, sealer.header(), &never)?;
        sink.write_at(HEAD_LEN as u64, sealer.header(), &never)?;
    }
    let manifest = manifest.map(|partial| ManifestWriter { file: partial.file(), path: partial.path() });
    if let Some(manifest) = &manifest {
        manifest.write(0, &sealer.header.encode())?;
    }
    if let Input::Disk(disk) = input {
        ctl.start(disk.identity.len);
    }
    ctl.add(first_chunk.saturating_mul(sealer.header.chunk.bytes()), 0);

    let places = Places::from(first_chunk, body.data_offset());
    let records = Records::new(body);
    let feed = Feed::new(sealer, input, first_chunk, options.sparse);
    run_workers(options.workers, ctl, |stop| {
        let mut buf = Vec::new();
        while !stop() {
            let Some(taken) = feed.take(&mut buf)? else { break };
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
            for (number, offset, page) in records.add(chunk.index(), record.record, &stop) {
                if let Some(manifest) = &manifest {
                    manifest.write_page(number, &page)?;
                }
                sink.write_at(offset, &page, &stop)?;
            }
        }
        Ok(())
    })?;
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

/// Writes a detached manifest while the pages come.
struct ManifestWriter<'a> {
    file: &'a File,
    path: &'a Path,
}

impl ManifestWriter<'_> {
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
