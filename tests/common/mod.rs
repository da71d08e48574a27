//! What several integration tests share.

#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part")]

pub mod forge;
pub mod golden;
pub mod oracle;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sobre::engine::{
    Control, LayerPolicy, OpenOptions, OpenSummary, SealOptions, SealPolicy, SealSummary, Source, Target, WrappingKey,
};
use sobre::format::{ChunkSize, FormatError, Part, Suite};
use sobre::oaep::WrapAlgorithm;
use sobre::provider::{KeyProvider, PemFiles};
use sobre::{Engine, Error};

use oracle::Oracle;

/// A folder that is removed when dropped: in memory where there is room, for every test here syncs what it writes.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if room >= 512 << 20 { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// Path of a test key in `vectors/keys`.
pub fn test_key(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/keys").join(name)
}

/// The private keys of these files.
pub fn pem_files(keys: &[&str]) -> PemFiles {
    let mut files = PemFiles::new();
    for key in keys {
        files.add(&test_key(key)).expect("a test key");
    }
    files
}

/// An engine that holds the private keys of these files.
pub fn engine_with(keys: &[&str]) -> Engine {
    let golden = sobre::engine::EpochFolder::new(golden::folder());
    Engine::new(vec![Arc::new(pem_files(keys))]).with_epochs(vec![Arc::new(golden)])
}

/// A layer wrapped under these keys.
pub fn layer(keys: &[&str]) -> LayerPolicy {
    let mut files = PemFiles::new();
    let versions: Vec<_> = keys.iter().map(|key| files.add(&test_key(key)).expect("a test key")).collect();
    let provider: Arc<dyn KeyProvider> = Arc::new(files);
    let keys = versions.into_iter().map(|version| WrappingKey { provider: Arc::clone(&provider), version }).collect();
    LayerPolicy::new(keys).expect("a policy")
}

/// An engine and a policy for a suite, with one key a layer.
pub fn policy_for(suite: Suite) -> (Engine, SealPolicy) {
    let engine = engine_with(&[CUSTOMER, PLATFORM]);
    let policy = if suite == Suite::XtsGcm {
        SealPolicy::double(layer(&[CUSTOMER]), layer(&[PLATFORM]))
    } else {
        SealPolicy::new(layer(&[CUSTOMER])).suite(suite).expect("one layer")
    };
    (engine, policy)
}

/// A key that wraps deterministically: see [`Oracle`]. `platform:` in front makes it the platform's.
pub fn wrapping_key(name: &str) -> WrappingKey {
    let oracle = Oracle::new(&[name], WrapAlgorithm::RsaOaep256);
    let version = oracle.only_version();
    WrappingKey { provider: Arc::new(oracle), version }
}

/// A layer of such keys.
pub fn oracle_layer(names: &[&str]) -> LayerPolicy {
    LayerPolicy::new(names.iter().map(|name| wrapping_key(name)).collect()).expect("a policy")
}

/// An engine and a policy for a suite with 64 KiB chunks.
pub fn small_chunks(suite: Suite) -> (Engine, SealPolicy) {
    let (engine, policy) = policy_for(suite);
    (engine, policy.chunk_size(ChunkSize::from_log2(16).expect("64 KiB")))
}

/// Seals with two workers.
pub fn seal(engine: &Engine, policy: &SealPolicy, disk: &Path, target: &Path) -> Result<SealSummary, Error> {
    seal_with(engine, policy, disk, target, &SealOptions { workers: 2, ..SealOptions::default() })
}

pub fn seal_with(
    engine: &Engine,
    policy: &SealPolicy,
    disk: &Path,
    target: &Path,
    options: &SealOptions,
) -> Result<SealSummary, Error> {
    engine.seal(Source::Path(disk), Target::Path(target), policy, options, &Control::default())
}

/// Opens into a file with two workers.
pub fn open(engine: &Engine, snapshot: &Path, target: &Path) -> Result<OpenSummary, Error> {
    let options = OpenOptions { workers: 2, ..OpenOptions::default() };
    engine.open_whole(Source::Path(snapshot), Target::Path(target), &options, &Control::default())
}

/// Makes a sparse file of `len` bytes with some pieces of data.
pub fn sparse_file(path: &Path, len: u64, pieces: &[(u64, &[u8])]) {
    let file = File::create(path).expect("creates");
    file.set_len(len).expect("grows");
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset).expect("writes");
    }
}

/// Makes a file a little longer.
pub fn append(path: &Path) {
    let file = File::options().append(true).open(path).expect("opens");
    (&file).write_all(b"more").expect("writes");
}

/// The names in a folder, in order.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}

/// Whether two files have the same bytes.
pub fn same_bytes(one: &Path, other: &Path) -> bool {
    std::fs::read(one).expect("reads") == std::fs::read(other).expect("reads")
}

/// Names an error in a few words: kind of refusal, part, fault.
pub fn named(error: &Error) -> String {
    match error.inner() {
        Error::EpochMissing { .. } => "epoch-missing".to_owned(),
        Error::Foreign => "foreign".to_owned(),
        Error::Format(FormatError { part, fault }) => {
            let part = match part {
                Part::Head(0) => "head-a".to_owned(),
                Part::Head(_) => "head-b".to_owned(),
                part => format!("{part:?}").to_lowercase().replace('(', "-").replace(')', ""),
            };
            format!("{part} {}", fault_named(fault))
        }
        Error::HeadDamaged { head } => format!("only head {}", if *head == 0 { 'a' } else { 'b' }),
        Error::KeyMissing { layer, .. } => format!("key-missing {layer}"),
        Error::Provider(error) => format!("provider {:?}", error.kind),
        Error::RootDiffers => "root-differs".to_owned(),
        other => format!("{other:?}"),
    }
}

fn fault_named(fault: &sobre::format::Fault) -> String {
    use sobre::format::Fault;
    match fault {
        Fault::Duplicate(what) => format!("duplicate {what}"),
        Fault::Kind(_) => "unsupported kind".to_owned(),
        Fault::Length { .. } => "length".to_owned(),
        Fault::Range { field, .. } => format!("range {field}"),
        Fault::Text(field) => format!("text {field}"),
        Fault::Unsupported { field, .. } => format!("unsupported {field}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Test data with holes: about half of every 64 KiB stretch is zero.
pub fn disk_of(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut disk = vec![0; len];
    for (number, stretch) in disk.chunks_mut(65536).enumerate() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(3) && number > 0 {
            continue;
        }
        for byte in stretch.iter_mut() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
    disk
}

pub const CUSTOMER: &str = "test-rsa2048.pkcs8.pem";
pub const PLATFORM: &str = "test-rsa3072.pkcs8.pem";
pub const LARGE: &str = "test-rsa4096.pkcs8.pem";
pub const SMALL_EXTRA: &str = "test-rsa2056.pkcs8.pem";
