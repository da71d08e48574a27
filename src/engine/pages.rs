//! Reading pages: found by the index or the manifest's layout, checked, and kept while they are near.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::Error;
use crate::format::{
    BODY_OFFSET, Fault, FormatError, HEADER_LEN, HeaderHash, Index, PAGE_LEN, Page, Part, RECORDS_PER_PAGE, Record,
    Shape, page_len,
};
use crate::io::{ReadAt, read_exact_at};
use crate::secret::SecretBytes;

/// A page whose hash, place and records were checked, and its MAC where there is a key.
#[derive(Debug)]
pub(super) struct CheckedPage {
    number: u32,
    records: Vec<Record>,
    /// Where each record's stored bytes begin in the file.
    offsets: Vec<u64>,
}

impl CheckedPage {
    /// Returns the record at `position` and where its stored bytes begin.
    fn record(&self, position: usize) -> Option<(Record, u64)> {
        Some((*self.records.get(position)?, *self.offsets.get(position)?))
    }
}

/// Where the pages of a snapshot are read from.
#[derive(Debug)]
pub(super) struct Pages<R> {
    source: R,
    layout: Layout,
    index: Index,
    index_offset: u64,
    shape: Shape,
    hash: HeaderHash,
    recent: Mutex<Vec<Arc<CheckedPage>>>,
}

/// How pages are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in a snapshot: page `p` where the index says.
    File,
    /// As in a detached manifest: page `p` at 1024 + 65536 * p.
    Manifest,
}

impl<R: ReadAt> Pages<R> {
    pub(super) fn new(
        source: R,
        layout: Layout,
        index: Index,
        index_offset: u64,
        shape: Shape,
        hash: HeaderHash,
    ) -> Self {
        Self { source, layout, index, index_offset, shape, hash, recent: Mutex::new(Vec::with_capacity(KEPT)) }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the record of chunk `chunk` and where its stored bytes begin in the snapshot.
    pub(super) fn record(&self, chunk: u64, key: Option<&SecretBytes>) -> Result<(Record, u64), Error> {
        let per_page = RECORDS_PER_PAGE as u64;
        let missing = || Error::damaged(Part::Record(chunk), Fault::Truncated);
        let number = u32::try_from(chunk / per_page).map_err(|_| missing())?;
        let position = usize::try_from(chunk % per_page).map_err(|_| missing())?;
        self.page(number, key)?.record(position).ok_or_else(missing)
    }

    /// Returns page `number`, checked; without `key`, all but its MAC.
    pub(super) fn page(&self, number: u32, key: Option<&SecretBytes>) -> Result<Arc<CheckedPage>, Error> {
        if let Some(page) = self.lock().iter().find(|page| page.number == number) {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(self.load(number, key)?);
        let mut recent = self.lock();
        if recent.len() >= KEPT {
            recent.remove(0);
        }
        recent.push(Arc::clone(&page));
        Ok(page)
    }

    /// Reads the bytes of page `number`, checked against the index.
    pub(super) fn bytes(&self, number: u32) -> Result<Vec<u8>, Error> {
        let error = |fault| Error::damaged(Part::Page(number), fault);
        let offset = match self.layout {
            Layout::File => self.index.offset(number).ok_or(error(Fault::Truncated))?,
            Layout::Manifest => HEADER_LEN as u64 + u64::from(number) * PAGE_LEN as u64,
        };
        let mut bytes = vec![0; page_len(self.shape.records_in(number))];
        read_exact_at(&self.source, &mut bytes, offset)?;
        if !self.index.matches(number, &bytes) {
            return Err(error(Fault::Check));
        }
        Ok(bytes)
    }

    fn load(&self, number: u32, key: Option<&SecretBytes>) -> Result<CheckedPage, Error> {
        let bytes = self.bytes(number)?;
        let page = Page::decode(&bytes, number, &self.hash)?;
        let expected = match number.checked_sub(1) {
            None => Some(BODY_OFFSET),
            Some(before) => self.index.offset(before).and_then(|offset| offset.checked_add(PAGE_LEN as u64)),
        };
        let ends = page.data_offset.checked_add(page.data_len());
        let tiles = expected == Some(page.data_offset) && ends == self.index.offset(number);
        let is_last = number.checked_add(1) == Some(self.shape.page_count);
        let closes = !is_last || ends.and_then(|end| end.checked_add(bytes.len() as u64)) == Some(self.index_offset);
        if !tiles || !closes {
            let fault = Fault::Range { field: "data offset", value: page.data_offset };
            return Err(Error::damaged(Part::Page(number), fault));
        }
        check_lengths(&page, &self.shape)?;
        let records = match key {
            Some(key) => page.authenticate(&bytes, key)?.records.clone(),
            None => page.records,
        };
        let mut offset = expected.unwrap_or_default();
        let offsets = records
            .iter()
            .map(|record| {
                let start = offset;
                offset += u64::from(record.stored_len());
                start
            })
            .collect();
        Ok(CheckedPage { number, records, offsets })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<CheckedPage>>> {
        // Nothing panics while it is held, and every state of the list is a good one.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that every record is a hole or exactly as long as its chunk is stored.
pub(super) fn check_lengths(page: &Page, shape: &Shape) -> Result<(), FormatError> {
    for (chunk, record) in (page.first_chunk()..).zip(&page.records) {
        if let Record::Data { len, .. } = record
            && u64::from(*len) != shape.padded_len(chunk)
        {
            let fault = Fault::Length { found: u64::from(*len), expected: shape.padded_len(chunk) };
            return Err(FormatError { part: Part::Record(chunk), fault });
        }
    }
    Ok(())
}

/// Enough for a few workers at the seam of two pages.
const KEPT: usize = 4;
