//! Index and footer: the end of a snapshot (SPEC §7).

use crate::format::wire::Fields;
use crate::format::{
    Authenticated, BODY_OFFSET, Fault, FormatError, Header, HeaderHash, MAX_CHUNKS, MAX_DISK_LEN, Part,
    RECORDS_PER_PAGE, page_len,
};
use crate::integrity::crc64;
use crate::kdf;
use crate::secret::SecretBytes;
use crate::xts::SectorSize;

/// Length of the footer in bytes.
pub const FOOTER_LEN: usize = 192;
/// Length of one entry of the index in bytes.
pub const INDEX_ENTRY_LEN: usize = 40;

/// How a disk of a certain length is cut into chunks and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Number of chunks.
    pub chunk_count: u64,
    /// Number of pages.
    pub page_count: u32,
    chunk_bytes: u64,
    sector_bytes: u64,
}

impl Shape {
    /// Cuts a disk of `disk_len` bytes as `header` says.
    ///
    /// # Errors
    ///
    /// [`Fault::Range`] for a disk that is too long, or no multiple of a sector size of 4096.
    pub fn of(header: &Header, disk_len: u64) -> Result<Self, FormatError> {
        let error =
            || FormatError { part: Part::Footer, fault: Fault::Range { field: "disk length", value: disk_len } };
        let chunk_count = disk_len.div_ceil(header.chunk.bytes());
        let misfit = header.sector == SectorSize::Bytes4096 && !disk_len.is_multiple_of(4096);
        if disk_len > MAX_DISK_LEN || chunk_count > MAX_CHUNKS || misfit {
            return Err(error());
        }
        let page_count = u32::try_from(chunk_count.div_ceil(RECORDS_PER_PAGE as u64)).map_err(|_| error())?;
        Ok(Self {
            disk_len,
            chunk_count,
            page_count,
            chunk_bytes: header.chunk.bytes(),
            sector_bytes: header.sector.bytes() as u64,
        })
    }

    /// Returns the length of chunk `index` on the disk; 0 past the end.
    pub fn chunk_len(&self, index: u64) -> u64 {
        let start = index.saturating_mul(self.chunk_bytes);
        self.disk_len.saturating_sub(start).min(self.chunk_bytes)
    }

    /// Returns the length of chunk `index` as it is stored: a whole number of sectors.
    pub fn padded_len(&self, index: u64) -> u64 {
        self.chunk_len(index).next_multiple_of(self.sector_bytes)
    }

    /// Returns how many records page `number` has; 0 past the end.
    pub fn records_in(&self, number: u32) -> usize {
        let first = u64::from(number) * RECORDS_PER_PAGE as u64;
        let rest = self.chunk_count.saturating_sub(first).min(RECORDS_PER_PAGE as u64);
        usize::try_from(rest).unwrap_or(RECORDS_PER_PAGE)
    }

    fn pages_len(&self) -> u64 {
        let full = u64::from(self.page_count).saturating_sub(1);
        let last = self.page_count.checked_sub(1).map_or(0, |last| page_len(self.records_in(last)));
        full * page_len(RECORDS_PER_PAGE) as u64 + last as u64
    }
}

/// Where each page is, and its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<(u64, [u8; 32])>,
}

impl Index {
    /// Adds the next page: its offset in the file and its bytes.
    pub fn push(&mut self, offset: u64, page: &[u8]) {
        self.entries.push((offset, kdf::sha256(&[page])));
    }

    /// Returns the offset of page `number` in the file.
    pub fn offset(&self, number: u32) -> Option<u64> {
        self.entry(number).map(|(offset, _)| *offset)
    }

    /// Whether `page` hashes to what the index says of page `number`.
    pub fn matches(&self, number: u32, page: &[u8]) -> bool {
        self.entry(number).is_some_and(|(_, hash)| *hash == kdf::sha256(&[page]))
    }

    /// Returns how many pages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no pages.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encodes the index.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * INDEX_ENTRY_LEN);
        for (offset, hash) in &self.entries {
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(hash);
        }
        bytes
    }

    /// Parses the index of a snapshot whose footer is `footer`, and checks its hash against the footer's root.
    ///
    /// # Errors
    ///
    /// [`Fault::Length`], [`Fault::Check`], or [`Fault::Range`] for an offset outside the body or out of order.
    pub fn decode(bytes: &[u8], footer: &Footer) -> Result<Self, FormatError> {
        let error = |fault| FormatError { part: Part::Index, fault };
        let expected = u64::from(footer.shape.page_count) * INDEX_ENTRY_LEN as u64;
        if bytes.len() as u64 != expected {
            return Err(error(Fault::Length { found: bytes.len() as u64, expected }));
        }
        if root(&footer.hash, footer.shape.disk_len, bytes) != footer.root {
            return Err(error(Fault::Check));
        }
        let mut fields = Fields::new(Part::Index, bytes);
        let mut entries = Vec::with_capacity(bytes.len() / INDEX_ENTRY_LEN);
        let mut earliest = BODY_OFFSET;
        while !fields.is_empty() {
            let offset = fields.u64()?;
            if !(earliest..footer.index_offset).contains(&offset) {
                return Err(error(Fault::Range { field: "page offset", value: offset }));
            }
            earliest = offset.saturating_add(1);
            entries.push((offset, fields.array()?));
        }
        Ok(Self { entries })
    }

    fn entry(&self, number: u32) -> Option<&(u64, [u8; 32])> {
        self.entries.get(usize::try_from(number).ok()?)
    }
}

/// The last bytes of a snapshot. In bounds, not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// How the disk is cut.
    pub shape: Shape,
    /// Stored bytes of all chunks together.
    pub data_len: u64,
    /// Where the index begins.
    pub index_offset: u64,
    /// Length of the whole file.
    pub file_len: u64,
    /// Hash of the whole snapshot below the heads.
    pub root: [u8; 32],
    hash: HeaderHash,
}

impl Footer {
    /// Describes a finished body.
    ///
    /// # Errors
    ///
    /// [`Fault::Range`] when the file would be longer than a `u64` can say.
    pub fn new(hash: HeaderHash, shape: Shape, data_len: u64, index: &[u8]) -> Result<Self, FormatError> {
        let error =
            || FormatError { part: Part::Footer, fault: Fault::Range { field: "data length", value: data_len } };
        let index_offset = BODY_OFFSET
            .checked_add(data_len)
            .and_then(|offset| offset.checked_add(shape.pages_len()))
            .ok_or_else(error)?;
        let file_len = index_offset.checked_add((index.len() + FOOTER_LEN) as u64).ok_or_else(error)?;
        Ok(Self { shape, data_len, index_offset, file_len, root: root(&hash, shape.disk_len, index), hash })
    }

    /// Encodes the footer with its MAC under `key`, the footer key.
    pub fn seal(&self, key: &SecretBytes) -> [u8; FOOTER_LEN] {
        let mut bytes = Vec::with_capacity(FOOTER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.hash.0);
        for field in [self.shape.disk_len, self.shape.chunk_count, self.data_len, self.shape.page_count.into()] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.index_offset.to_le_bytes());
        bytes.extend_from_slice(&self.file_len.to_le_bytes());
        bytes.extend_from_slice(&self.root);
        let mac = kdf::hmac(key, &[&bytes]);
        bytes.extend_from_slice(&mac);
        bytes.resize(CRC_AT, 0);
        let crc = crc64(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut footer = [0; FOOTER_LEN];
        for (to, from) in footer.iter_mut().zip(bytes) {
            *to = from;
        }
        footer
    }

    /// Parses the footer of the snapshot with this header, in a file of `file_len` bytes.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first thing that is wrong.
    pub fn decode(bytes: &[u8; FOOTER_LEN], header: &Header, file_len: Option<u64>) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Footer, bytes);
        if let Err(error) = fields.magic(MAGIC) {
            // Without the footer's magic the likeliest thing is that the end of the file is missing.
            let snapshot = FormatError { part: Part::Snapshot, fault: Fault::Truncated };
            return Err(if file_len.is_some() { snapshot } else { error });
        }
        let (body, crc) = bytes.split_last_chunk::<8>().ok_or(fields.error(Fault::Truncated))?;
        if crc64(body) != u64::from_le_bytes(*crc) {
            return Err(fields.error(Fault::Check));
        }
        let hash = header.hash();
        if fields.array::<32>()? != hash.0 {
            return Err(fields.error(Fault::Foreign));
        }
        let shape = Shape::of(header, fields.u64()?)?;
        let chunk_count = fields.u64()?;
        if chunk_count != shape.chunk_count {
            return Err(fields.error(Fault::Range { field: "number of chunks", value: chunk_count }));
        }
        let data_len = fields.u64()?;
        let page_count = fields.u32()?;
        if page_count != shape.page_count {
            return Err(fields.error(Fault::Range { field: "number of pages", value: page_count.into() }));
        }
        fields.zeros(4)?;
        let index_offset = fields.u64()?;
        let expected_offset = BODY_OFFSET.checked_add(data_len).and_then(|end| end.checked_add(shape.pages_len()));
        if expected_offset != Some(index_offset) {
            return Err(fields.error(Fault::Range { field: "index offset", value: index_offset }));
        }
        let claimed_len = fields.u64()?;
        let index_len = u64::from(page_count) * INDEX_ENTRY_LEN as u64 + FOOTER_LEN as u64;
        if index_offset.checked_add(index_len) != Some(claimed_len) {
            return Err(fields.error(Fault::Range { field: "file length", value: claimed_len }));
        }
        if let Some(found) = file_len
            && found != claimed_len
        {
            let fault = Fault::Length { found, expected: claimed_len };
            return Err(FormatError { part: Part::Snapshot, fault });
        }
        let root = fields.array()?;
        fields.bytes(MAC_LEN)?;
        fields.zeros(RESERVED_LEN)?;
        Ok(Self { shape, data_len, index_offset, file_len: claimed_len, root, hash })
    }

    /// Checks the MAC of the footer whose encoding is `bytes`.
    ///
    /// # Errors
    ///
    /// [`Fault::Mac`].
    pub fn authenticate(self, bytes: &[u8; FOOTER_LEN], key: &SecretBytes) -> Result<Authenticated<Self>, FormatError> {
        let error = FormatError { part: Part::Footer, fault: Fault::Mac };
        let (Some(body), Some(mac)) =
            (bytes.get(..MAC_AT), bytes.get(MAC_AT..MAC_AT + MAC_LEN).and_then(|mac| mac.first_chunk::<MAC_LEN>()))
        else {
            return Err(error);
        };
        if kdf::hmac_matches(key, &[body], mac) { Ok(Authenticated(self)) } else { Err(error) }
    }
}

fn root(hash: &HeaderHash, disk_len: u64, index: &[u8]) -> [u8; 32] {
    kdf::sha256(&[b"sobre/1 root\0", &hash.0, &disk_len.to_le_bytes(), index])
}

const MAGIC: &[u8; 8] = b"SOBREEND";
const MAC_AT: usize = 120;
const MAC_LEN: usize = 32;
const RESERVED_LEN: usize = 32;
const CRC_AT: usize = 184;
