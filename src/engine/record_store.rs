//! Keeping records between processes: what lets a retry skip the chunks that are stored already.
//!
//! An exported record is `index u64 | len u32 | RECORD[64] | mac[32]`, where the MAC is
//! `HMAC(K_page, "sobre/1 record\0" | H | index | len | RECORD)`. It is no part of the container format: a record goes into a
//! page, under the page's MAC, when the snapshot is finished.

use crate::engine::{ChunkRecord, Error, Sealer};
use crate::format::{Fault, Part, RECORD_LEN, Record};
use crate::kdf;

impl ChunkRecord {
    /// Length of an exported record in bytes.
    pub const EXPORTED_LEN: usize = BODY_LEN + kdf::LEN;
}

impl Sealer {
    /// Encodes a record, to be stored beside the chunk's object: no secret, and authenticated under this snapshot's keys.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for another snapshot's record.
    pub fn export_record(&self, record: &ChunkRecord) -> Result<[u8; ChunkRecord::EXPORTED_LEN], Error> {
        if record.snapshot != self.hash {
            return Err(Error::Foreign);
        }
        let len = u32::try_from(record.len)
            .map_err(|_| Error::BufferLength { found: record.len, expected: u32::MAX as usize })?;
        let mut bytes = [0; ChunkRecord::EXPORTED_LEN];
        let (body, mac) = bytes.split_at_mut(BODY_LEN);
        let mut encoded = Vec::with_capacity(BODY_LEN);
        encoded.extend_from_slice(&record.index.to_le_bytes());
        encoded.extend_from_slice(&len.to_le_bytes());
        record.record.encode(&mut encoded);
        body.copy_from_slice(&encoded);
        mac.copy_from_slice(&kdf::hmac(&self.keys.page, &[CONTEXT, &self.hash.0, body]));
        Ok(bytes)
    }

    /// Takes back what [`export_record`](Self::export_record) gave, in this process or another one with the same header.
    ///
    /// It proves that a sealer of this snapshot made the record, not that the chunk's object still holds the bytes: opening the
    /// snapshot does.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when the bytes are damaged, forged or another snapshot's, or describe no chunk of this disk.
    pub fn import_record(&self, bytes: &[u8]) -> Result<ChunkRecord, Error> {
        // Unauthenticated so far: it only names the record in an error.
        let index = bytes.first_chunk().map_or(0, |index| u64::from_le_bytes(*index));
        let error = |fault| Error::damaged(Part::Record(index), fault);
        if bytes.len() != ChunkRecord::EXPORTED_LEN {
            return Err(error(Fault::Length { found: bytes.len() as u64, expected: ChunkRecord::EXPORTED_LEN as u64 }));
        }
        let (body, mac) = bytes.split_last_chunk().ok_or(error(Fault::Truncated))?;
        if !kdf::hmac_matches(&self.keys.page, &[CONTEXT, &self.hash.0, body], mac) {
            return Err(error(Fault::Mac));
        }
        let (front, record) = body.split_last_chunk::<RECORD_LEN>().ok_or(error(Fault::Truncated))?;
        let record = Record::decode(record, index)?;
        let len = front.last_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        let len = usize::try_from(len).map_err(|_| error(Fault::Truncated))?;
        // A sealer of the same header but another length of disk has the same keys.
        let chunk = match self.chunk(index) {
            Some(chunk) => chunk,
            None if self.is_stream() => self.stream_chunk(index, len)?,
            None => return Err(error(Fault::Range { field: "chunk", value: index })),
        };
        let stored = match record {
            Record::Hole => 0,
            Record::Data { .. } => chunk.padded_len as u64,
        };
        if len != chunk.len || u64::from(record.stored_len()) != stored {
            return Err(error(Fault::Range { field: "length", value: len as u64 }));
        }
        Ok(ChunkRecord { index, len, record, snapshot: self.hash })
    }
}

const CONTEXT: &[u8] = b"sobre/1 record\0";
/// index, len, RECORD.
const BODY_LEN: usize = 8 + 4 + RECORD_LEN;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Engine;
    use crate::engine::{Geometry, LayerPolicy, SealPolicy, WrappingKey};
    use crate::format::Suite;
    use crate::provider::PemFiles;
    use crate::testing;

    const DISK: u64 = 3 * 262_144 + 777;

    fn engine() -> (Engine, SealPolicy) {
        let mut files = PemFiles::new();
        let version = files.add(&testing::path("keys/test-rsa2048.pkcs8.pem")).expect("a test key");
        let provider = Arc::new(files);
        let keys =
            LayerPolicy::new(vec![WrappingKey { provider: Arc::clone(&provider) as _, version }]).expect("one key");
        let policy = SealPolicy::new(keys).suite(Suite::XtsGmac).expect("one layer");
        (Engine::new(vec![provider]), policy)
    }

    fn records(sealer: &Sealer) -> Vec<ChunkRecord> {
        sealer
            .chunks()
            .map(|chunk| match chunk.index() {
                1 => sealer.zero(chunk),
                index => sealer.seal_chunk(chunk, &mut vec![index as u8; chunk.padded_len()]).expect("seals"),
            })
            .collect()
    }

    #[test]
    fn records_come_back_in_another_process() {
        let (engine, policy) = engine();
        let first = engine.sealer(Geometry::disk(DISK), &policy).expect("a sealer");
        let records = records(&first);
        let kept: Vec<_> = records.iter().map(|record| first.export_record(record).expect("exports")).collect();
        let second = engine.resume(first.header(), Geometry::disk(DISK)).expect("resumes");
        let back: Vec<_> = kept.iter().map(|bytes| second.import_record(bytes).expect("imports")).collect();
        assert_eq!(back, records);
        let header = first.header().to_vec();
        let trailer = second.finish(back).expect("finishes");
        assert_eq!(engine.open_parts(&header, trailer.as_bytes()).expect("opens").disk_len(), DISK);
    }

    #[test]
    fn a_changed_record_is_refused() {
        let (engine, policy) = engine();
        let sealer = engine.sealer(Geometry::disk(DISK), &policy).expect("a sealer");
        for record in records(&sealer) {
            let good = sealer.export_record(&record).expect("exports");
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut bad = good;
                    bad[at] ^= 1 << bit;
                    assert!(sealer.import_record(&bad).is_err(), "bit {bit} of byte {at}");
                }
            }
            for len in 0..good.len() {
                assert!(sealer.import_record(&good[..len]).is_err());
            }
            assert!(sealer.import_record(&[&good[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_record_of_another_snapshot_or_disk_is_refused() {
        let (engine, policy) = engine();
        let sealer = engine.sealer(Geometry::disk(DISK), &policy).expect("a sealer");
        let other = engine.sealer(Geometry::disk(DISK), &policy).expect("a sealer");
        let shorter = engine.resume(sealer.header(), Geometry::disk(DISK - 1)).expect("resumes");
        let last = *records(&sealer).last().expect("four chunks");
        let kept = sealer.export_record(&last).expect("exports");
        assert!(matches!(other.export_record(&last), Err(Error::Foreign)));
        assert!(other.import_record(&kept).is_err());
        assert!(shorter.import_record(&kept).is_err(), "the last chunk is shorter there");
    }
}
