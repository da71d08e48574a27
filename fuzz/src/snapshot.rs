//! Small valid snapshots, and the repairs that someone without a key can make after changing one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sobre::Engine;
use sobre::engine::{Geometry, LayerPolicy, SealPolicy, Sealer, WrappingKey, is_zero};
use sobre::format::{BODY_OFFSET, ChunkSize, FOOTER_LEN, HEAD_LEN, HEADER_LEN, INDEX_ENTRY_LEN, Suite};
use sobre::provider::{KeyProvider, PemFiles};

use crate::{crc64, sha256};

/// A valid snapshot and what it holds.
pub struct Snapshot {
    /// Opens it.
    pub engine: Engine,
    /// The disk.
    pub disk: Vec<u8>,
    /// The file.
    pub file: Vec<u8>,
    /// The detached manifest.
    pub manifest: Vec<u8>,
    /// Hash of everything below the heads.
    pub root: [u8; 32],
    /// Offsets where its parts begin.
    pub anchors: Vec<usize>,
}

impl Snapshot {
    /// Seals a small disk: five chunks of 64 KiB, one of them a hole, the last one short.
    pub fn new(suite: Suite) -> Self {
        let mut disk: Vec<u8> = (0..4 * CHUNK + 777).map(|at| (at * 31 % 251) as u8 + 1).collect();
        disk[2 * CHUNK..3 * CHUNK].fill(0);
        let mut files = PemFiles::new();
        let inner = files.add(&key("test-rsa2048.pkcs8.pem")).expect("a test key");
        let outer = files.add(&key("test-rsa3072.pkcs8.pem")).expect("a test key");
        let provider: Arc<dyn KeyProvider> = Arc::new(files);
        let layer = |version| {
            LayerPolicy::new(vec![WrappingKey { provider: Arc::clone(&provider), version }]).expect("one key")
        };
        let policy = match suite {
            Suite::XtsGcm => SealPolicy::double(layer(inner), layer(outer)),
            suite => SealPolicy::new(layer(inner)).suite(suite).expect("one layer"),
        };
        let policy = policy.chunk_size(ChunkSize::from_log2(16).expect("64 KiB"));
        let engine = Engine::new(vec![provider]);
        let sealer = engine.sealer(Geometry::disk(disk.len() as u64), &policy).expect("a sealer");
        Self::join(engine, sealer, disk)
    }

    fn join(engine: Engine, sealer: Sealer, disk: Vec<u8>) -> Self {
        let mut file = [sealer.header(), sealer.header()].concat();
        let mut records = Vec::new();
        // Heads, envelopes, check hashes, chunks, the page, a few records, index, footer.
        let mut anchors = vec![0, HEADER_LEN, HEAD_LEN - 32, HEAD_LEN, HEAD_LEN + HEADER_LEN, 2 * HEAD_LEN - 32];
        for chunk in sealer.chunks() {
            let mut buf = vec![0; chunk.padded_len()];
            let bytes = &disk[chunk.offset() as usize..][..chunk.len()];
            buf[..chunk.len()].copy_from_slice(bytes);
            if is_zero(bytes) {
                records.push(sealer.zero(chunk));
            } else {
                anchors.push(file.len());
                records.push(sealer.seal_chunk(chunk, &mut buf).expect("seals"));
                file.extend_from_slice(&buf);
            }
        }
        let trailer = sealer.finish(records).expect("finishes");
        let manifest = trailer.as_bytes().to_vec();
        let ending = file.len();
        file.extend_from_slice(&manifest[HEADER_LEN..]);
        anchors.extend([ending, ending + 224, ending + 256, ending + 320]);
        anchors.extend([file.len() - FOOTER_LEN - INDEX_ENTRY_LEN, file.len() - FOOTER_LEN, file.len()]);
        Self { engine, disk, root: *trailer.root(), file, manifest, anchors }
    }
}

/// Mends what needs no key, as a careful attacker would: the heads' check hashes with bit 0 of `how`, the page's hash in the index and
/// the root with bit 1, the footer's CRC with bit 2.
pub fn mend(file: &mut [u8], how: u8) {
    if how & 1 != 0 {
        for head in 0..2 {
            if let Some((body, check)) =
                file.get_mut(head * HEAD_LEN..(head + 1) * HEAD_LEN).and_then(|head| head.split_last_chunk_mut::<32>())
            {
                *check = sha256(&[body]);
            }
        }
    }
    let Some(footer_at) = file.len().checked_sub(FOOTER_LEN).filter(|at| *at >= BODY_OFFSET as usize) else { return };
    if how & 2 != 0
        && let Some(index_at) = footer_at.checked_sub(INDEX_ENTRY_LEN)
        && let Some(page_at) = file[index_at..].first_chunk().map(|at| u64::from_le_bytes(*at) as usize)
        && let Some(page) = file.get(page_at..index_at)
    {
        let hash = sha256(&[page]);
        file[index_at + 8..footer_at].copy_from_slice(&hash);
        let footer = &file[footer_at..];
        let root = sha256(&[b"sobre/1 root\0", &footer[8..40], &footer[40..48], &file[index_at..footer_at]]);
        file[footer_at + 88..footer_at + 120].copy_from_slice(&root);
    }
    if how & 4 != 0 {
        let crc = crc64(&file[footer_at..footer_at + 184]);
        file[footer_at + 184..].copy_from_slice(&crc.to_le_bytes());
    }
}

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/keys").join(name)
}

const CHUNK: usize = 65536;
