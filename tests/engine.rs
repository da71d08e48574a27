//! The engine through its public API, with keys in PEM files.

mod common;

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use common::{engine_with, layer, policy_for, test_key};
use proptest::prelude::*;
use rayon::prelude::*;
use sobre::engine::{
    Change, Chunk, Control, Geometry, LayerPolicy, OpenOptions, SealOptions, SealPolicy, Source, Target, Warning,
    is_zero, verify_keyless,
};
use sobre::format::{ChunkSize, Layer, Suite};
use sobre::provider::PemFiles;
use sobre::xts::SectorSize;
use sobre::{Engine, Error, ErrorKind};

fn seal(engine: &Engine, policy: &SealPolicy, disk: &Path, target: &Path) -> sobre::engine::SealSummary {
    let options = SealOptions { workers: 2, ..SealOptions::default() };
    engine.seal(Source::Path(disk), Target::Path(target), policy, &options, &Control::default()).expect("seals")
}

fn open(engine: &Engine, snapshot: &Path, target: &Path) -> Result<sobre::engine::OpenSummary, Error> {
    let options = OpenOptions { workers: 2, ..OpenOptions::default() };
    engine.open_whole(Source::Path(snapshot), Target::Path(target), &options, &Control::default())
}

#[test]
fn every_suite_gives_the_disk_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    std::fs::write(&disk, common::disk_of(3_000_000, 7)).expect("writes");
    for (suite, sector) in [
        (Suite::XtsBlake3, SectorSize::Bytes512),
        (Suite::XtsGmac, SectorSize::Bytes512),
        (Suite::XtsGcm, SectorSize::Bytes512),
    ] {
        let (engine, policy) = policy_for(suite);
        let policy = policy.sector_size(sector).chunk_size(ChunkSize::from_log2(16).expect("64 KiB"));
        let snapshot = folder.path().join(format!("{suite}.sobre"));
        let out = folder.path().join(format!("{suite}.out"));
        let sealed = seal(&engine, &policy, &disk, &snapshot);
        assert_eq!(sealed.disk_len, 3_000_000);
        let opened = open(&engine, &snapshot, &out).expect("opens");
        assert_eq!(opened.disk_len, 3_000_000);
        assert!(std::fs::read(&out).expect("reads") == std::fs::read(&disk).expect("reads"), "{suite}");
        let file = std::fs::File::open(&snapshot).expect("opens");
        let verdict = engine.verify(&file, 2, &Control::default()).expect("verifies");
        assert_eq!(verdict.root, sealed.root);
        verify_keyless(&file, Some(&sealed.root), 2, &Control::default()).expect("no damage");
    }
}
