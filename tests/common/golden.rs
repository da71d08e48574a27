//! The golden containers: what each of them is, and how it is made again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sobre::Engine;
use sobre::clock::{UnixTime, VirtualClock};
use sobre::engine::{Control, EpochKey, LayerPolicy, SealOptions, SealPolicy, Source, Target, WrappingKey};
use sobre::format::{ChunkSize, EpochRecord, Layer, Suite};
use sobre::oaep::WrapAlgorithm;
use sobre::provider::KeyProvider;
use sobre::xts::SectorSize;

use super::oracle::{Oracle, SeededRandom, Stream};
use super::{CUSTOMER, LARGE, PLATFORM, SMALL_EXTRA};

/// One golden container.
#[derive(Clone, Debug)]
pub struct Golden {
    pub name: String,
    pub suite: Suite,
    pub sector: SectorSize,
    pub chunk_log2: u8,
    pub disk_len: usize,
    /// Where the disk is not zero: offset, length, seed.
    pub pieces: Vec<(usize, usize, u64)>,
    /// Keys of each layer, as names of files in `vectors/keys`, `sha1:` in front for RSA-OAEP with SHA-1.
    pub keys: Vec<Vec<&'static str>>,
    /// The key of each layer's epoch key, before those; none without epoch keys.
    pub epochs: Vec<&'static str>,
    pub labels: Vec<(&'static str, &'static str)>,
    pub set: &'static str,
    pub sparse: bool,
}

impl Golden {
    fn new(name: &str, suite: Suite, sector: SectorSize, disk_len: usize, pieces: &[(usize, usize)]) -> Self {
        let keys = if suite == Suite::XtsGcm { vec![vec![CUSTOMER], vec![PLATFORM]] } else { vec![vec![CUSTOMER]] };
        Self {
            name: format!("{}-{}-{name}", suite.name().trim_start_matches("xts-"), sector.bytes()),
            suite,
            sector,
            chunk_log2: 16,
            disk_len,
            pieces: (1..).zip(pieces).map(|(seed, (offset, len))| (*offset, *len, seed)).collect(),
            keys,
            epochs: Vec::new(),
            labels: Vec::new(),
            set: "",
            sparse: true,
        }
    }

    /// The disk's bytes.
    pub fn disk(&self) -> Vec<u8> {
        let mut disk = vec![0; self.disk_len];
        for (offset, len, seed) in &self.pieces {
            let mut name = b"sobre golden\0".to_vec();
            name.extend_from_slice(&seed.to_le_bytes());
            Stream::new(&name).fill(&mut disk[*offset..offset + len]);
        }
        disk
    }

    /// Seals the disk; returns the container, its manifest and its root.
    pub fn seal(&self, workers: usize) -> (Vec<u8>, Vec<u8>, [u8; 32]) {
        let folder = super::folder();
        let manifest = folder.path().join("manifest");
        let engine = self.engine();
        let mut epochs = self.make_epochs(&engine).into_iter();
        let mut layers = self.keys.iter().map(|keys| {
            let keys = keys.iter().map(|name| wrapping_key(name)).collect();
            let layer = match epochs.next() {
                Some((epoch, kek)) => LayerPolicy::under_epoch(Arc::new(epoch), kek, keys),
                None => LayerPolicy::new(keys),
            };
            layer.and_then(|layer| layer.of_set(self.set)).expect("a layer")
        });
        let first = layers.next().expect("a layer");
        let mut policy = match layers.next() {
            Some(second) => SealPolicy::double(first, second),
            None => SealPolicy::new(first),
        }
        .suite(self.suite)
        .expect("the layers fit")
        .sector_size(self.sector)
        .chunk_size(ChunkSize::from_log2(self.chunk_log2).expect("a size"));
        for (key, value) in &self.labels {
            policy = policy.label(key, value).expect("a label");
        }
        let options =
            SealOptions { workers, sparse: self.sparse, manifest: Some(manifest.clone()), ..SealOptions::default() };
        // A path would bring the file's inode and times into the container.
        let disk = self.disk();
        let mut container = Vec::new();
        let sealed = engine
            .seal(
                Source::Stream(&mut disk.as_slice()),
                Target::Stream(&mut container),
                &policy,
                &options,
                &Control::default(),
            )
            .expect("seals");
        (container, std::fs::read(&manifest).expect("a manifest"), sealed.root)
    }

    /// The records of the epoch keys.
    pub fn records(&self) -> Vec<EpochRecord> {
        self.make_epochs(&self.engine()).into_iter().map(|(epoch, _)| epoch.record().clone()).collect()
    }

    fn engine(&self) -> Engine {
        Engine::new(Vec::new())
            .with_clock(Arc::new(VirtualClock::at(UnixTime(1_700_000_000))))
            .with_random(Arc::new(SeededRandom::new(&self.name)))
    }

    fn make_epochs(&self, engine: &Engine) -> Vec<(EpochKey, WrappingKey)> {
        let made = [Layer::Inner, Layer::Outer].into_iter().zip(&self.epochs).map(|(layer, name)| {
            let kek = wrapping_key(name);
            let policy = LayerPolicy::new(vec![kek.clone()]).and_then(|layer| layer.of_set(self.set)).expect("a key");
            (engine.make_epoch(layer, &policy).expect("makes"), kek)
        });
        made.collect()
    }

    /// The container's entry in `index.json`.
    pub fn entry(&self, root: &[u8; 32]) -> Value {
        json!({
            "name": self.name,
            "file": format!("{}.sobre", self.name),
            "manifest": format!("{}.manifest", self.name),
            "suite": self.suite.name(),
            "sector": self.sector.bytes(),
            "chunk": 1_u64 << self.chunk_log2,
            "sparse": self.sparse,
            "labels": self.labels.iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>(),
            "set": self.set,
            "keys": self.keys,
            "epochs": self.epochs.iter().zip(self.records()).map(|(key, record)| {
                json!({ "key": key, "file": record.header.id.file_name() })
            }).collect::<Vec<_>>(),
            "disk_len": self.disk_len,
            "pieces": self.pieces,
            "disk_sha256": hex(&Sha256::digest(self.disk())),
            "root": hex(root),
        })
    }
}

/// All golden containers of format version 1.
pub fn all() -> Vec<Golden> {
    const K64: usize = 65536;
    let mut all = Vec::new();
    for suite in [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm] {
        let small = SectorSize::Bytes512;
        all.push(Golden::new("empty", suite, small, 0, &[]));
        all.push(Golden::new("1", suite, small, 1, &[(0, 1)]));
        all.push(Golden::new("512", suite, small, 512, &[(0, 512)]));
        all.push(Golden::new("70000", suite, small, 70_000, &[(0, 70_000)]));
        let holes = [(0, 100), (2 * K64 + 5, 1000), (4 * K64, 1)];
        all.push(Golden::new("holes", suite, small, 4 * K64 + 1300, &holes));
        let large = SectorSize::Bytes4096;
        all.push(Golden::new("empty", suite, large, 0, &[]));
        all.push(Golden::new("4096", suite, large, 4096, &[(0, 4096)]));
        all.push(Golden::new("holes", suite, large, 3 * K64 + 8192, &[(0, 4096), (3 * K64 + 5000, 3000)]));
    }
    let blake3 = |name: &str, len, pieces: &[(usize, usize)]| {
        Golden::new(name, Suite::XtsBlake3, SectorSize::Bytes512, len, pieces)
    };
    for log2 in 17..=20 {
        let name = format!("chunk-{}k", (1 << log2) / 1024);
        let len = (1 << log2) + 700;
        all.push(Golden { chunk_log2: log2, ..blake3(&name, len, &[((1 << log2) + 10, 600)]) });
    }
    for suite in [Suite::XtsGmac, Suite::XtsGcm] {
        let pieces = [(0, 10), (1019 * K64 + 7, 20), (1029 * K64, 30)];
        all.push(Golden::new("two-pages", suite, SectorSize::Bytes512, 1029 * K64 + 500, &pieces));
    }
    all.push(Golden {
        labels: vec![("host.name", "db-1"), ("lun", "7"), ("tenant/id", "Grüße 名"), ("z", "")],
        set: "prod éü",
        ..blake3("labels", 600, &[(0, 600)])
    });
    all.push(Golden { sparse: false, ..blake3("stored-zeros", K64 + 9, &[]) });
    all.push(Golden { keys: vec![vec![CUSTOMER, PLATFORM]], ..blake3("two-keys", 600, &[(0, 600)]) });
    all.push(Golden { keys: vec![vec![LARGE]], ..blake3("rsa4096", 600, &[(0, 600)]) });
    all.push(Golden { keys: vec![vec!["sha1:test-rsa2048.pkcs8.pem"]], ..blake3("oaep-sha1", 600, &[(0, 600)]) });
    all.push(Golden {
        keys: vec![vec![LARGE, "sha1:test-rsa3072.pkcs8.pem"], vec![SMALL_EXTRA, CUSTOMER]],
        ..Golden::new("two-keys", Suite::XtsGcm, SectorSize::Bytes4096, 8192, &[(1, 8000)])
    });
    all.push(Golden { keys: vec![vec![]], epochs: vec![CUSTOMER], ..blake3("epoch", 600, &[(0, 600)]) });
    all.push(Golden {
        keys: vec![vec![LARGE], vec![]],
        epochs: vec![CUSTOMER, "sha1:test-rsa3072.pkcs8.pem"],
        set: "prod éü",
        ..Golden::new("epoch", Suite::XtsGcm, SectorSize::Bytes512, 70_000, &[(1, 8000)])
    });
    all
}

fn wrapping_key(name: &str) -> WrappingKey {
    let file = name.trim_start_matches("sha1:");
    let algorithm = if file == name { WrapAlgorithm::RsaOaep256 } else { WrapAlgorithm::RsaOaep };
    let oracle = Oracle::new(&[file], algorithm);
    let version = oracle.only_version();
    WrappingKey { provider: Arc::new(oracle) as Arc<dyn KeyProvider>, version }
}

/// The folder of golden containers.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/golden")
}

/// Reads a golden container, or its manifest, by file name.
pub fn read(file: &str) -> Vec<u8> {
    std::fs::read(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
