//! Folders with snapshots, and with everything else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::*;
use crate::engine::{Control, Engine, LayerPolicy, SealOptions, SealPolicy, Source, Target, WrappingKey};
use crate::provider::{KeyProvider, PemFiles};

/// Seals a small disk, and returns the key.
fn seal(target: &Path, set: &str) -> Thumbprint {
    let mut files = PemFiles::new();
    let version = files.add(&crate::testing::path("keys/test-rsa2048.spki.pem")).expect("a key");
    let thumbprint = version.thumbprint;
    let files: Arc<dyn KeyProvider> = Arc::new(files);
    let layer = LayerPolicy::new(vec![WrappingKey { provider: Arc::clone(&files), version }]).expect("one key");
    let policy = SealPolicy::new(layer.of_set(set).expect("a set"));
    let mut disk = &[7_u8; 100_000][..];
    Engine::new(vec![files])
        .seal(
            Source::Stream(&mut disk),
            Target::Path(target),
            &policy,
            &SealOptions::default(),
            &Arc::new(Control::default()),
        )
        .expect("seals");
    thumbprint
}

#[test]
fn a_scan_finds_every_snapshot_and_reports_the_rest() {
    let (folder, catalog) = fresh();
    let root = folder.path().join("backups");
    let deep = root.join("a/b/c");
    std::fs::create_dir_all(&deep).expect("makes");
    let thumbprint = seal(&root.join("one.sobre"), "prod");
    std::fs::copy(root.join("one.sobre"), deep.join(OsStr::from_bytes(b"\xff\n.sobre"))).expect("copies");
    std::fs::write(root.join("junk.sobre"), b"junk").expect("writes");
    std::fs::write(root.join("ignored.txt"), b"text").expect("writes");
    std::fs::create_dir(root.join("folder.sobre")).expect("makes");
    symlink(&root, deep.join("loop")).expect("links");
    symlink(root.join("one.sobre"), root.join("link.sobre")).expect("links");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe.sobre"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("makes");
    let report = catalog.scan(&root, UnixTime(77), &Control::default()).expect("scans");
    assert_eq!((report.found, report.links, report.gone.len()), (2, 2, 0));
    let mut failed: Vec<_> = report.failures.iter().map(|failure| failure.path.file_name().expect("a name")).collect();
    failed.sort();
    assert_eq!(failed, ["junk.sobre", "pipe.sobre"]);
    let found = catalog.sealed_with(&thumbprint).expect("reads");
    let real = root.canonicalize().expect("there");
    assert_eq!(paths(&found), [real.join("a/b/c").join(OsStr::from_bytes(b"\xff\n.sobre")), real.join("one.sobre")]);
    let one = &found[1];
    assert_eq!(
        (one.disk_len, one.set.as_deref(), one.verified, one.seen),
        (Some(100_000), Some("prod"), false, UnixTime(77))
    );
    assert_eq!(one.deks[0].algorithm, "RSA-OAEP-256");
    assert_eq!(one.file_len, std::fs::metadata(root.join("one.sobre")).expect("there").len());
    let coverage = catalog.coverage().expect("reads");
    assert_eq!((coverage.snapshots, coverage.unverified), (2, 2));
    assert_eq!(coverage.folders, [ScannedFolder { path: real, scanned: UnixTime(77), files: 2, failures: 2 }]);
}

#[test]
fn a_snapshot_that_is_gone_is_named_and_stays_known() {
    let (folder, catalog) = fresh();
    let root = folder.path().join("backups");
    std::fs::create_dir(&root).expect("makes");
    seal(&root.join("one.sobre"), "");
    catalog.scan(&root, UnixTime(1), &Control::default()).expect("scans");
    std::fs::remove_file(root.join("one.sobre")).expect("removes");
    let report = catalog.scan(&root, UnixTime(2), &Control::default()).expect("scans");
    assert_eq!(report.gone, [root.canonicalize().expect("there").join("one.sobre")]);
    assert_eq!(catalog.snapshots().expect("reads").len(), 1);
    assert!(catalog.forget(&root.join("one.sobre")).expect("forgets"));
    assert_eq!(catalog.scan(&root, UnixTime(3), &Control::default()).expect("scans").gone.len(), 0);
}

#[test]
fn a_folder_that_is_not_there_was_not_scanned() {
    let (folder, catalog) = fresh();
    let error = catalog.scan(&folder.path().join("nowhere"), UnixTime(1), &Control::default()).expect_err("not there");
    assert!(matches!(error, CatalogError::Io { .. }), "{error:?}");
    let stopped = Control::default();
    stopped.cancel();
    assert!(catalog.scan(folder.path(), UnixTime(1), &stopped).expect("stops").stopped);
    assert_eq!(catalog.coverage().expect("reads").folders, []);
}

#[test]
fn one_file_has_one_path() {
    let (folder, catalog) = fresh();
    let root = folder.path().join("backups");
    std::fs::create_dir(&root).expect("makes");
    seal(&root.join("one.sobre"), "");
    symlink(&root, folder.path().join("other")).expect("links");
    for path in [root.join("one.sobre"), folder.path().join("other/one.sobre"), root.join("../backups/one.sobre")] {
        catalog.register(&[Snapshot::read(&path, UnixTime(1)).expect("reads")]).expect("registers");
    }
    assert_eq!(catalog.snapshots().expect("reads").len(), 1);
}
