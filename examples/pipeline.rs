//! A backup pipeline on the chunk API: seals the chunks of a disk image in parallel into a folder of objects, as into a bucket,
//! and survives being killed halfway.
//!
//! ```sh
//! cargo run --release --example pipeline [IMAGE [FOLDER]]
//! ```
//!
//! What the folder holds, each put there only if it is absent unless said otherwise:
//!
//! | object | contents |
//! |---|---|
//! | `header` | the head with the wrapped keys: a second run finds it and goes on with the same keys |
//! | `<chunk>-<tag>` | the stored bytes of a chunk; the name is that of its contents |
//! | `<chunk>.record` | what the manifest will say of the chunk; replaced when the chunk is sealed again |
//! | `manifest` | the commit point: with it the snapshot exists, without it the rest is litter |
//!
//! Which chunks have to be sealed is the caller's decision: here those without a record, and those that a change tracker names. Only
//! do that within one snapshot that is not finished: whoever sees two objects of one chunk under the same keys sees which 16-byte
//! blocks changed. The next snapshot gets a sealer, and so keys, of its own.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sobre::Engine;
use sobre::engine::{Chunk, ChunkRecord, Geometry, LayerPolicy, SealPolicy, Sealer, WrappingKey, is_zero};
use sobre::format::Suite;
use sobre::io::read_exact_at;
use sobre::provider::{KeyProvider, PemFiles};

/// Errors cross threads here.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let original = arguments.next().unwrap_or_else(|| vectors.join("disks/ext4.img"));
    let scratch = tempfile::tempdir()?;
    let store = Store::new(arguments.next().unwrap_or_else(|| scratch.path().join("objects")))?;
    let image = scratch.path().join("disk.img");
    fs::copy(&original, &image)?;

    let mut files = PemFiles::new();
    let version = files.add(&vectors.join("keys/test-rsa2048.pkcs8.pem"))?;
    let provider: Arc<dyn KeyProvider> = Arc::new(files);
    let keys = LayerPolicy::new(vec![WrappingKey { provider: Arc::clone(&provider), version }])?;
    let policy = SealPolicy::new(keys).suite(Suite::XtsGmac)?;
    let engine = Engine::new(vec![provider]);

    // The first attempt dies halfway: the folder holds objects, and no snapshot.
    let half = File::open(&image)?.metadata()?.len().div_ceil(2 * policy_chunk_bytes());
    match seal(&engine, &policy, &image, &store, &BTreeSet::new(), Some(half)) {
        Err(error) => println!("first attempt: {error}"),
        Ok(_) => println!("first attempt: the disk is too small to fail halfway"),
    }

    // Meanwhile the disk goes on living; the change tracker of a hypervisor would know where.
    File::options().write(true).open(&image)?.write_all_at(b"changed between the attempts", 4096)?;
    let changed = BTreeSet::from([0]);

    // The second attempt, in life another process or host: same header, only what is missing or changed.
    let report = seal(&engine, &policy, &image, &store, &changed, None)?;
    println!("second attempt: {} chunks sealed, {} kept, {} holes", report.sealed, report.kept, report.holes);
    println!("snapshot committed: {}", report.committed);

    let disk = open(&engine, &store)?;
    if disk != fs::read(&image)? {
        return Err("the opened disk differs".into());
    }
    println!("opened from its parts: {} bytes, identical to the disk as it is now", disk.len());
    Ok(())
}

/// What a run did.
#[derive(Debug)]
struct Report {
    sealed: u64,
    kept: u64,
    holes: u64,
    /// Whether this run made the snapshot, as against finding one there.
    committed: bool,
}

/// Seals what is missing or changed and commits; fails after `fail_after` chunks, to show a retry.
fn seal(
    engine: &Engine,
    policy: &SealPolicy,
    image: &Path,
    store: &Store,
    changed: &BTreeSet<u64>,
    fail_after: Option<u64>,
) -> Result<Report, Failure> {
    if store.has("manifest") {
        // A committed snapshot never changes: the next one goes elsewhere.
        return Ok(Report { sealed: 0, kept: 0, holes: 0, committed: false });
    }
    let source = File::open(image)?;
    let geometry = Geometry::disk(source.metadata()?.len());
    let sealer = match store.get("header")? {
        Some(header) => engine.resume(&header, geometry)?,
        None => {
            let sealer = engine.sealer(geometry, policy)?;
            if store.put_if_absent("header", sealer.header())? {
                sealer
            } else {
                // Another run was faster: its keys count.
                engine.resume(&store.get("header")?.ok_or("the header vanished")?, geometry)?
            }
        }
    };
    let (started, sealed, kept) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let records = sealer
        .chunks()
        .into_par_iter()
        .map(|chunk| {
            if fail_after.is_some_and(|limit| started.fetch_add(1, Ordering::Relaxed) >= limit) {
                return Err("the network went away (injected)".into());
            }
            if !changed.contains(&chunk.index())
                && let Some(record) = known(&sealer, store, chunk)?
            {
                kept.fetch_add(1, Ordering::Relaxed);
                return Ok(record);
            }
            sealed.fetch_add(1, Ordering::Relaxed);
            seal_chunk(&sealer, store, &source, chunk)
        })
        .collect::<Result<Vec<ChunkRecord>, Failure>>()?;
    let holes = records.iter().filter(|record| record.is_hole()).count() as u64;
    let trailer = sealer.finish(records)?;
    let committed = store.put_if_absent("manifest", trailer.as_bytes())?;
    Ok(Report { sealed: sealed.into_inner(), kept: kept.into_inner(), holes, committed })
}

/// The record of a chunk that an earlier attempt stored. Its MAC says that a sealer of this snapshot wrote it.
fn known(sealer: &Sealer, store: &Store, chunk: Chunk) -> Result<Option<ChunkRecord>, Failure> {
    let Some(bytes) = store.get(&record_name(chunk))? else { return Ok(None) };
    let record = sealer.import_record(&bytes)?;
    // The object goes first, the record second: a record without its object means that someone tidied up.
    let there = record.index() == chunk.index() && (record.is_hole() || store.has(&record.object_name()));
    Ok(there.then_some(record))
}

/// Reads, seals and stores one chunk. Upload errors are retried with the sealed bytes in hand, never by sealing again.
fn seal_chunk(sealer: &Sealer, store: &Store, source: &File, chunk: Chunk) -> Result<ChunkRecord, Failure> {
    let mut buf = vec![0; chunk.padded_len()];
    let bytes = buf.get_mut(..chunk.len()).ok_or("a chunk is longer than its padded length")?;
    read_exact_at(source, bytes, chunk.offset())?;
    let record = if is_zero(bytes) {
        sealer.zero(chunk)
    } else {
        let record = sealer.seal_chunk(chunk, &mut buf)?;
        store.put_if_absent(&record.object_name(), &buf)?;
        record
    };
    store.put(&record_name(chunk), &sealer.export_record(&record)?)?;
    Ok(record)
}

/// Opens the snapshot from its parts, in parallel.
fn open(engine: &Engine, store: &Store) -> Result<Vec<u8>, Failure> {
    let header = store.get("header")?.ok_or("there is no header")?;
    let manifest = store.get("manifest")?.ok_or("there is no manifest, so there is no snapshot")?;
    let opener = engine.open_parts(&header, &manifest)?;
    let chunks = opener
        .chunks()
        .into_par_iter()
        .map(|chunk| {
            let mut buf = match opener.object_name(chunk)? {
                Some(name) => store.get(&name)?.ok_or_else(|| format!("the object {name} is missing"))?,
                None => vec![0; chunk.padded_len()],
            };
            opener.open_chunk(chunk, &mut buf)?;
            buf.truncate(chunk.len());
            Ok(buf)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(chunks.concat())
}

fn record_name(chunk: Chunk) -> String {
    format!("{:08x}.record", chunk.index())
}

fn policy_chunk_bytes() -> u64 {
    sobre::format::ChunkSize::default().bytes()
}

/// A folder that behaves like an object store: objects appear complete or not at all.
#[derive(Debug)]
struct Store {
    folder: PathBuf,
    uploads: AtomicU64,
}

impl Store {
    fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, uploads: AtomicU64::new(0) })
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an object unless there is one; returns whether it did (`If-None-Match: *` with S3 and Azure).
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let upload = self.upload(bytes)?;
        let linked = fs::hard_link(&upload, self.folder.join(name));
        fs::remove_file(&upload)?;
        match linked {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores an object in place of any that is there.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::rename(self.upload(bytes)?, self.folder.join(name))?;
        self.sync()
    }

    fn upload(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!(".upload-{}-{number}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(path)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}
