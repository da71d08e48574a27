//! What the fuzz targets share: fixed headers and keys, small valid files, and a language of mutations.

pub mod backup;
pub mod mutate;
pub mod snapshot;

use sobre::clock::UnixTime;
use sobre::format::{ChunkSize, Header, KeyOrigin, Labels, SnapshotId, Suite};
use sobre::xts::SectorSize;

/// A header to which pages, index and footer can belong.
pub fn header(suite: Suite, sector: SectorSize, chunk: ChunkSize) -> Header {
    Header {
        suite,
        sector,
        chunk,
        key_origin: KeyOrigin::Fresh,
        optional: 0,
        created: UnixTime(1_700_000_000),
        id: SnapshotId::from_bytes([7; 16]),
        disk_id: [0; 16],
        sequence: 0,
        previous: [0; 32],
        labels: Labels::default(),
    }
}

/// Returns the SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Returns the CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(bytes);
    digest.sum64()
}
