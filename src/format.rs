#![doc = include_str!("format/SPEC.md")]

mod blob;
mod envelope;
mod epoch;
mod error;
mod head;
mod header;
mod labels;
mod page;
mod schedule;
mod section;
mod trailer;
mod wire;

pub use blob::{Layer, LayerSecret};
pub use envelope::Envelope;
pub use epoch::{EPOCH_SUFFIX, EpochHeader, EpochId, EpochKeys, EpochRecord, EpochSecret};
pub use error::{Fault, FormatError, Part};
pub use head::{HEAD_LEN, Head};
pub use header::{ChunkSize, HEADER_LEN, Header, HeaderHash, KeyOrigin, SnapshotId, Suite};
pub use labels::{LabelError, Labels};
pub use page::{PAGE_LEN, Page, RECORD_LEN, RECORDS_PER_PAGE, Record, Tag, page_len};
pub use schedule::{Keys, LayerKeys};
pub use section::{Entry, Section};
pub(crate) use section::{MAX_ENTRIES, MAX_SET};
pub use trailer::{FOOTER_LEN, Footer, INDEX_ENTRY_LEN, Index, Shape};

/// Bytes before the body: both heads.
pub const BODY_OFFSET: u64 = 2 * HEAD_LEN as u64;

/// Most chunks that a snapshot has.
pub const MAX_CHUNKS: u64 = 1 << 28;

/// Most bytes that a disk has: 2^44 AES blocks under one XTS key.
pub const MAX_DISK_LEN: u64 = 1 << 48;

/// Most sessions (first run and resumes) that write one snapshot.
pub const MAX_SESSIONS: u16 = 16;

/// Something whose MAC was checked. The only constructors check one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated<T>(T);

impl<T> std::ops::Deref for Authenticated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
