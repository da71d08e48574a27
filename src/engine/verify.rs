//! Checking every byte of a snapshot, with its keys or without.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::opener::{read_footer, read_index, read_stored};
use crate::engine::pages::{Layout, Pages};
use crate::engine::pipeline::run_workers;
use crate::engine::unlock::Heads;
use crate::engine::{Chunk, Chunks, Control, Engine, Error, Warning};
use crate::format::{Fault, Header, Index, Part, Record, Suite};
use crate::integrity::{blake3, crc64};
use crate::io::ReadAt;

/// What a verification found: the snapshot is whole.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The fixed header.
    pub header: Header,
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Stored bytes that were checked.
    pub stored: u64,
    /// Hash that stands for everything below the heads.
    pub root: [u8; 32],
    /// Whether it was proved against tampering, as against damage only.
    pub authentic: bool,
    /// What was noticed.
    pub warnings: Vec<Warning>,
}

impl Engine {
    /// Checks with the keys that every byte of the snapshot is as it was sealed: both heads, all pages, all chunks.
    ///
    /// # Errors
    ///
    /// [`Error::HeadDamaged`] when only a head is damaged: the snapshot still opens. Else as [`open`](Self::open).
    pub fn verify<R: ReadAt>(&self, source: R, workers: usize, ctl: &Control) -> Result<Verdict, Error> {
        let heads = Heads::read(&source)?;
        let (agree, older) = (heads.agree(), heads.older());
        let opened = self.open_file(heads, source)?;
        let shape = opened.footer.shape;
        let stored = each_chunk(opened.chunks(), shape.disk_len, workers, ctl, |chunk, buf| {
            let (record, offset) = opened.record(chunk)?;
            let Record::Data { crc, tag, .. } = record else { return Ok(0) };
            read_stored(opened.pages.source(), buf, offset)?;
            if crc64(buf) != crc {
                return Err(Error::damaged(Part::Chunk(chunk.index), Fault::Check));
            }
            opened.cipher.verify(chunk, &tag, buf)?;
            Ok(buf.len() as u64)
        })?;
        check_pages(&opened.pages, Some(&opened.keys.page), shape.page_count)?;
        if !agree {
            return Err(Error::HeadDamaged { head: faulty_head(&opened.warnings, older) });
        }
        let root = opened.footer.root;
        let warnings = opened.warnings;
        Ok(Verdict { header: opened.header, disk_len: shape.disk_len, stored, root, authentic: true, warnings })
    }
}

/// Checks without keys that the snapshot has no damage; with the expected `root` and suite `xts-blake3`, that it is the very one.
///
/// # Errors
///
/// [`Error::Format`] for damage, [`Error::RootDiffers`], [`Error::HeadDamaged`]; [`Error::Io`].
pub fn verify_keyless<R: ReadAt>(
    source: R,
    root: Option<&[u8; 32]>,
    workers: usize,
    ctl: &Control,
) -> Result<Verdict, Error> {
    let heads = Heads::read(&source)?;
    let (_, footer) = read_footer(&source, &heads.header)?;
    let index = Index::decode(&read_index(&source, &footer)?, &footer)?;
    let hashed = heads.header.suite == Suite::XtsBlake3;
    let chunks = Chunks::new(footer.shape, heads.header.chunk.bytes());
    let pages = Pages::new(source, Layout::File, index, footer.index_offset, footer.shape, heads.hash);
    let stored = each_chunk(chunks, footer.shape.disk_len, workers, ctl, |chunk, buf| {
        let (record, offset) = pages.record(chunk.index, None)?;
        let Record::Data { crc, tag, .. } = record else { return Ok(0) };
        read_stored(pages.source(), buf, offset)?;
        if crc64(buf) != crc {
            return Err(Error::damaged(Part::Chunk(chunk.index), Fault::Check));
        }
        // The hash costs more than the rest together: it is what proves a known root, and nothing without one.
        if hashed && root.is_some() && blake3(buf) != tag {
            return Err(Error::damaged(Part::Chunk(chunk.index), Fault::Tag));
        }
        Ok(buf.len() as u64)
    })?;
    check_pages(&pages, None, footer.shape.page_count)?;
    if root.is_some_and(|root| *root != footer.root) {
        return Err(Error::RootDiffers);
    }
    if !heads.agree() {
        return Err(Error::HeadDamaged { head: faulty_head(&heads.warnings, heads.older()) });
    }
    Ok(Verdict {
        header: heads.header,
        disk_len: footer.shape.disk_len,
        stored,
        root: footer.root,
        authentic: hashed && root.is_some(),
        warnings: heads.warnings,
    })
}

/// Says which head is to be mended: the damaged one, or the one that an interrupted rewrap left behind.
fn faulty_head(warnings: &[Warning], older: u8) -> u8 {
    let damaged = warnings.iter().find_map(|warning| match warning {
        Warning::HeadDamaged { head } => Some(*head),
        Warning::EpochRecordAway(_) | Warning::RewrapUnfinished => None,
    });
    damaged.unwrap_or(older)
}

/// Pages without data chunks are reached by no chunk that is read: look at every page once.
fn check_pages<R: ReadAt>(pages: &Pages<R>, key: Option<&crate::secret::SecretBytes>, count: u32) -> Result<(), Error> {
    (0..count).try_for_each(|number| pages.page(number, key).map(|_| ()))
}

/// Hands every chunk to `check`, on several threads, with a buffer of its stored length.
fn each_chunk<F>(chunks: Chunks, disk_len: u64, workers: usize, ctl: &Control, check: F) -> Result<u64, Error>
where
    F: Fn(Chunk, &mut [u8]) -> Result<u64, Error> + Sync,
{
    ctl.start(disk_len);
    let queue = std::sync::Mutex::new(chunks);
    let stored = AtomicU64::new(0);
    run_workers(workers, ctl, |stop| {
        let mut buf = Vec::new();
        while !stop() {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some(chunk) = next else { break };
            buf.resize(chunk.padded_len, 0);
            let count = check(chunk, &mut buf)?;
            stored.fetch_add(count, Ordering::Relaxed);
            ctl.add(chunk.len as u64, count);
        }
        Ok(())
    })?;
    Ok(stored.into_inner())
}
