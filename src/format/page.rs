//! Pages: where the chunks are and what they must be (SPEC §5).

use crate::format::wire::Fields;
use crate::format::{Authenticated, Fault, FormatError, HeaderHash, MAX_SESSIONS, Part};
use crate::kdf;
use crate::secret::SecretBytes;

/// Length of a full page in bytes.
pub const PAGE_LEN: usize = 65536;
/// Length of a record in bytes.
pub const RECORD_LEN: usize = 64;
/// Records in every page but the last.
pub const RECORDS_PER_PAGE: usize = (PAGE_LEN - PREFIX_LEN) / RECORD_LEN;

/// Returns the length of a page of `count` records.
pub fn page_len(count: usize) -> usize {
    PREFIX_LEN + RECORD_LEN * count
}

/// A page of records. In bounds, not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Number of the page.
    pub number: u32,
    /// Which run of the writer wrote it.
    pub session: u16,
    /// Where its first data chunk begins in the file.
    pub data_offset: u64,
    /// One record per chunk, in order.
    pub records: Vec<Record>,
}

impl Page {
    /// Returns the number of the first chunk.
    pub fn first_chunk(&self) -> u64 {
        u64::from(self.number) * RECORDS_PER_PAGE as u64
    }

    /// Returns the sum of the stored lengths of the page's data chunks.
    pub fn data_len(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.stored_len())).sum()
    }

    /// Encodes the page with its MAC under `key`, the page key.
    pub fn seal(&self, hash: &HeaderHash, key: &SecretBytes) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(page_len(self.records.len()));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(self.records.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.session.to_le_bytes());
        bytes.extend_from_slice(&self.first_chunk().to_le_bytes());
        bytes.extend_from_slice(&self.data_offset.to_le_bytes());
        bytes.extend_from_slice(&self.data_len().to_le_bytes());
        bytes.extend_from_slice(&hash.0);
        bytes.resize(PREFIX_LEN, 0);
        for record in &self.records {
            record.encode(&mut bytes);
        }
        let mac = kdf::hmac(key, &[&bytes]);
        if let Some(slot) = bytes.get_mut(MAC_AT..PREFIX_LEN) {
            slot.copy_from_slice(&mac);
        }
        bytes
    }

    /// Parses page `number` of the snapshot with this header hash.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first thing that is wrong.
    pub fn decode(bytes: &[u8], number: u32, hash: &HeaderHash) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Page(number), bytes);
        fields.magic(MAGIC)?;
        let found = fields.u32()?;
        if found != number {
            return Err(fields.error(Fault::Foreign));
        }
        let count = usize::from(fields.u16()?);
        if !(1..=RECORDS_PER_PAGE).contains(&count) {
            return Err(fields.error(Fault::Range { field: "number of records", value: count as u64 }));
        }
        if bytes.len() != page_len(count) {
            let (found, expected) = (bytes.len() as u64, page_len(count) as u64);
            return Err(fields.error(Fault::Length { found, expected }));
        }
        let session = fields.u16()?;
        if session >= MAX_SESSIONS {
            return Err(fields.error(Fault::Range { field: "session", value: session.into() }));
        }
        let first_chunk = fields.u64()?;
        if first_chunk != u64::from(number) * RECORDS_PER_PAGE as u64 {
            return Err(fields.error(Fault::Foreign));
        }
        let data_offset = fields.u64()?;
        let data_len = fields.u64()?;
        if fields.array::<32>()? != hash.0 {
            return Err(fields.error(Fault::Foreign));
        }
        fields.zeros(RESERVED_LEN)?;
        fields.bytes(MAC_LEN)?;
        let mut records = Vec::with_capacity(count);
        for chunk in first_chunk.. {
            if records.len() == count {
                break;
            }
            records.push(Record::decode(&fields.array()?, chunk)?);
        }
        let page = Self { number, session, data_offset, records };
        if page.data_len() != data_len {
            return Err(fields.error(Fault::Range { field: "data length", value: data_len }));
        }
        Ok(page)
    }

    /// Checks the MAC of the page whose encoding is `bytes`.
    ///
    /// # Errors
    ///
    /// [`Fault::Mac`].
    pub fn authenticate(self, bytes: &[u8], key: &SecretBytes) -> Result<Authenticated<Self>, FormatError> {
        let error = FormatError { part: Part::Page(self.number), fault: Fault::Mac };
        let (Some(before), Some(mac), Some(after)) = (
            bytes.get(..MAC_AT),
            bytes.get(MAC_AT..PREFIX_LEN).and_then(|mac| mac.first_chunk::<MAC_LEN>()),
            bytes.get(PREFIX_LEN..),
        ) else {
            return Err(error);
        };
        if kdf::hmac_matches(key, &[before, &[0; MAC_LEN], after], mac) { Ok(Authenticated(self)) } else { Err(error) }
    }
}

/// What is known of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Stored bytes.
    Data {
        /// How many.
        len: u32,
        /// CRC-64/NVME of them.
        crc: u64,
        /// Authenticates them.
        tag: Tag,
    },
    /// All zeros; nothing is stored.
    Hole,
}

/// Authenticates a chunk: `BLAKE3-256`, or `nonce[12] | tag[16] | zero[4]`.
pub type Tag = [u8; 32];

impl Record {
    /// Returns how many bytes are stored: 0 for a hole.
    pub fn stored_len(&self) -> u32 {
        match self {
            Self::Data { len, .. } => *len,
            Self::Hole => 0,
        }
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let mut record = [0; RECORD_LEN];
        if let Self::Data { len, crc, tag } = self {
            let fields: [&[u8]; 5] =
                [&u32::from(KIND_DATA).to_le_bytes(), &len.to_le_bytes(), &crc.to_le_bytes(), &[0; 16], tag];
            for (to, from) in record.iter_mut().zip(fields.into_iter().flatten()) {
                *to = *from;
            }
        }
        bytes.extend_from_slice(&record);
    }

    pub(crate) fn decode(bytes: &[u8; RECORD_LEN], chunk: u64) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Record(chunk), bytes);
        let kind = fields.u8()?;
        fields.zeros(3)?;
        match kind {
            KIND_HOLE => {
                fields.zeros(RECORD_LEN - 4)?;
                Ok(Self::Hole)
            }
            KIND_DATA => {
                let len = fields.u32()?;
                let crc = fields.u64()?;
                fields.zeros(16)?;
                Ok(Self::Data { len, crc, tag: fields.array()? })
            }
            _ => Err(fields.error(Fault::Range { field: "kind", value: kind.into() })),
        }
    }
}

const MAGIC: &[u8; 8] = b"SOBREPAG";
const PREFIX_LEN: usize = 256;
const MAC_LEN: usize = 32;
const MAC_AT: usize = PREFIX_LEN - MAC_LEN;
const RESERVED_LEN: usize = 152;
const KIND_HOLE: u8 = 0;
const KIND_DATA: u8 = 1;
