//! Reads ranges of the disk inside a snapshot, without opening the whole of it: here the superblock of an ext4 file system.
//!
//! ```sh
//! cargo run --release --example random_access
//! ```

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use sobre::Engine;
use sobre::engine::{Control, LayerPolicy, SealOptions, SealPolicy, SnapshotReader, Source, Target, WrappingKey};
use sobre::provider::{KeyProvider, PemFiles};

fn main() -> Result<(), Box<dyn Error>> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let image = vectors.join("disks/ext4.img");
    let scratch = tempfile::tempdir()?;
    let snapshot = scratch.path().join("disk.sobre");

    let mut files = PemFiles::new();
    let version = files.add(&vectors.join("keys/test-rsa2048.pkcs8.pem"))?;
    let provider: Arc<dyn KeyProvider> = Arc::new(files);
    let keys = LayerPolicy::new(vec![WrappingKey { provider: Arc::clone(&provider), version }])?;
    let engine = Engine::new(vec![provider]);
    let policy = SealPolicy::new(keys);
    let (from, to) = (Source::Path(&image), Target::Path(&snapshot));
    engine.seal(from, to, &policy, &SealOptions::default(), &Control::default())?;

    // One request to the vault; after that any number of reads, from any number of threads.
    let reader = engine.open(File::open(&snapshot)?)?;
    println!("a disk of {} bytes, sealed {}", reader.len(), reader.header().created);

    let magic = read(&reader, 1024 + 56, 2)?;
    let label = read(&reader, 1024 + 120, 16)?;
    println!("ext4 magic {magic:02x?}, volume label '{}'", String::from_utf8_lossy(&label).trim_end_matches('\0'));

    // Ranges may begin and end anywhere, and reach over chunks; each byte is verified before it is returned.
    let disk = File::open(&image)?;
    for (offset, len) in [(0, 1), (262_143, 2), (1_000_003, 700_001), (reader.len() - 10, 100)] {
        let found = read(&reader, offset, len)?;
        let mut expected = vec![0; found.len()];
        disk.read_exact_at(&mut expected, offset)?;
        if found != expected {
            return Err(format!("the bytes at {offset} differ").into());
        }
        println!("{} bytes at {offset}: verified, and identical to the image", found.len());
    }
    Ok(())
}

/// Reads up to `len` bytes at `offset`: fewer only at the end of the disk.
fn read(reader: &SnapshotReader<File>, offset: u64, len: usize) -> Result<Vec<u8>, sobre::Error> {
    let mut bytes = vec![0; len];
    let count = reader.read_at(&mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}
