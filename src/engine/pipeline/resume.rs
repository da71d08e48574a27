//! Going on with a partial file: it is its own journal (SPEC §11).

use std::fs::File;

use crate::engine::chunk::chunk_of;
use crate::engine::error::AtFile;
use crate::engine::pages::check_lengths;
use crate::engine::pipeline::SealOptions;
use crate::engine::pipeline::source::{Disk, Input};
use crate::engine::sealer::Sealer;
use crate::engine::unlock::Heads;
use crate::engine::{Control, Engine, Error, PolicyError, SealPolicy};
use crate::format::{BODY_OFFSET, Head, Layer, MAX_SESSIONS, Page, RECORDS_PER_PAGE, Record, Section, Shape, page_len};
use crate::io::{PartialFile, SourceKind, read_exact_at};

/// What an earlier run had done.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) sealer: Sealer,
    /// The good pages from the beginning.
    pub(super) pages: Vec<KeptPage>,
    /// Records of the page behind them, which a stopped run had begun: their chunks stay, the page is written again when it is full.
    pub(super) begun: Vec<Record>,
    /// Bytes of the disk that they cover.
    pub(super) done: u64,
}

/// A page that stays.
#[derive(Debug)]
pub(super) struct KeptPage {
    pub(super) offset: u64,
    pub(super) data_len: u64,
    len: usize,
}

impl KeptPage {
    pub(super) fn bytes(&self, file: &File) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.len];
        read_exact_at(file, &mut bytes, self.offset)?;
        Ok(bytes)
    }
}

impl Engine {
    /// Checks that `partial` was begun from this source as `policy` says, keeps the pages whose chunks all verify, and cuts off the
    /// rest.
    pub(super) fn resume_partial(
        &self,
        partial: &PartialFile,
        input: &Input<'_>,
        policy: &SealPolicy,
        options: &SealOptions,
        ctl: &Control,
    ) -> Result<Resumed, Error> {
        let Input::Disk(disk) = input else {
            let advice = "only a file or block device can be resumed";
            return Err(Error::UnsuitableFile { kind: "pipe", advice });
        };
        let path = partial.path();
        let heads = Heads::read(partial.file()).at(path)?;
        let unlocked = self.unlock(&heads, Layer::of(heads.header.suite)).at(path)?;
        let keys = unlocked.keys().at(path)?;
        check_policy(&unlocked.head.1, policy).at(path)?;
        let source = unlocked.head.1.envelope.section(Layer::Inner).map(|(section, _)| section.source.clone());
        if source.as_deref() != Some(disk.source_hash().as_slice()) {
            return Err(Error::SourceChanged("is not what the partial file was begun from").at(disk.path));
        }
        let shape = Shape::of(&heads.header, disk.identity.len).at(path)?;
        let sealer = self.sealer_with(unlocked.head.1, heads.hash, keys, 0, Some(shape))?;

        // A device has no times that would show a change: what was sealed is compared with what is there now.
        let compare = options.verify_source || disk.kind == SourceKind::BlockDevice;
        let scan = Scan { file: partial.file(), sealer: &sealer, shape, disk: compare.then_some(disk) };
        let (mut pages, mut begun) = (Vec::new(), Vec::new());
        let mut session = 0;
        let mut data_offset = BODY_OFFSET;
        let mut done = 0;
        for number in 0..shape.page_count {
            if ctl.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let Some((page, kept)) = scan.page(number, data_offset)? else { break };
            session = session.max(page.session);
            done = (page.first_chunk() + page.records.len() as u64) * heads.header.chunk.bytes();
            if page.records.len() < RECORDS_PER_PAGE {
                data_offset = kept.offset;
                begun = page.records;
                break;
            }
            data_offset = kept.offset + kept.len as u64;
            pages.push(kept);
        }
        let session = session + 1;
        if session >= MAX_SESSIONS {
            return Err(PolicyError::TooManySessions.into());
        }
        partial.file().set_len(data_offset).at(path)?;
        let sealer = sealer.in_session(session);
        Ok(Resumed { sealer, pages, begun, done: done.min(disk.identity.len) })
    }
}

struct Scan<'a> {
    file: &'a File,
    sealer: &'a Sealer,
    shape: Shape,
    disk: Option<&'a Disk<'a>>,
}

impl Scan<'_> {
    /// Finds page `number`, full or begun, whose data begins at `data_offset`, and checks everything about it; `None` when it is not
    /// there whole.
    fn page(&self, number: u32, data_offset: u64) -> Result<Option<(Page, KeptPage)>, Error> {
        let count = self.shape.records_in(number);
        let chunk_bytes = self.sealer.header.chunk.bytes();
        let last = self.shape.chunk_count.saturating_sub(1);
        let short = chunk_bytes - self.shape.padded_len(last).min(chunk_bytes);
        for data_chunks in 0..=count as u64 {
            let full = data_offset + data_chunks * chunk_bytes;
            for offset in if short > 0 { vec![full, full.saturating_sub(short)] } else { vec![full] } {
                let Some(bytes) = self.page_bytes(offset, count)? else { continue };
                if let Some(page) = self.authentic(&bytes, number, data_offset, offset) {
                    if !self.chunks_hold(&page)? {
                        return Ok(None);
                    }
                    let kept = KeptPage { offset, data_len: page.data_len(), len: bytes.len() };
                    return Ok(Some((page, kept)));
                }
            }
        }
        Ok(None)
    }

    /// Reads what may be a page of at most `most` records; `None` when it can't be one.
    fn page_bytes(&self, offset: u64, most: usize) -> Result<Option<Vec<u8>>, Error> {
        let read = |bytes: &mut [u8]| match read_exact_at(self.file, bytes, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        };
        let mut front = [0; FRONT_LEN];
        if !read(&mut front)? || !front.starts_with(b"SOBREPAG") {
            return Ok(None);
        }
        let count = front.last_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)));
        if !(1..=most).contains(&count) {
            return Ok(None);
        }
        let mut bytes = vec![0; page_len(count)];
        Ok(read(&mut bytes)?.then_some(bytes))
    }

    fn authentic(&self, bytes: &[u8], number: u32, data_offset: u64, offset: u64) -> Option<Page> {
        let page =
            Page::decode(bytes, number, &self.sealer.hash).ok()?.authenticate(bytes, self.sealer.page_key()).ok()?;
        let tiles = page.data_offset == data_offset && data_offset.checked_add(page.data_len()) == Some(offset);
        (tiles && check_lengths(&page, &self.shape).is_ok()).then(|| (*page).clone())
    }

    /// Verifies the page's chunks as they are in the file, and against the source where that is asked for.
    fn chunks_hold(&self, page: &Page) -> Result<bool, Error> {
        let mut offset = page.data_offset;
        let mut stored = Vec::new();
        let mut there = Vec::new();
        for (index, record) in (page.first_chunk()..).zip(&page.records) {
            let chunk = chunk_of(&mut (self.shape, self.sealer.header.chunk.bytes()), index);
            stored.resize(chunk.padded_len(), 0);
            match record {
                Record::Data { tag, .. } => {
                    read_exact_at(self.file, &mut stored, offset)?;
                    offset += stored.len() as u64;
                    let held = match self.disk {
                        Some(_) => self.sealer.cipher.open(chunk, tag, &mut stored),
                        None => self.sealer.cipher.verify(chunk, tag, &mut stored),
                    };
                    if held.is_err() {
                        return Ok(false);
                    }
                }
                Record::Hole => stored.fill(0),
            }
            if let Some(disk) = self.disk {
                there.resize(chunk.len(), 0);
                disk.read(&mut there, chunk.offset())?;
                if stored.get(..chunk.len()) != Some(there.as_slice()) {
                    return Err(Error::SourceChanged("is not what the partial file was begun from").at(disk.path));
                }
            }
        }
        Ok(true)
    }
}

/// Refuses to go on with other options than those that the run was begun with: the result would not be what was asked for.
fn check_policy(head: &Head, policy: &SealPolicy) -> Result<(), Error> {
    let header = &head.header;
    let thumbprints = |section: &Section| {
        let mut all: Vec<_> = section.entries.iter().map(|entry| entry.thumbprint).collect();
        all.sort_unstable();
        all
    };
    let same_keys = policy.layers.iter().all(|(layer, keys)| {
        let mut wanted: Vec<_> = keys.thumbprints();
        wanted.sort_unstable();
        head.envelope.section(*layer).is_some_and(|(section, _)| thumbprints(section) == wanted)
    });
    let same_cut = (header.suite, header.sector, header.chunk) == (policy.suite, policy.sector, policy.chunk);
    if !same_cut || header.labels != policy.labels || !same_keys {
        return Err(Error::OtherOptions);
    }
    Ok(())
}

/// The beginning of a page up to its count of records (SPEC §5).
const FRONT_LEN: usize = 14;
