//! What can be sealed, and what is refused before or while it is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sobre::engine::{Control, PolicyError, SealOptions, SealPolicy, Source, Target};
use sobre::format::{ChunkSize, Suite};
use sobre::io::{CommitError, partial_path};
use sobre::xts::SectorSize;
use sobre::{Engine, Error, ErrorKind};

use crate::common::{
    append, disk_of, names_in, open, policy_for, same_bytes, seal, seal_with, small_chunks, sparse_file,
};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_bits_truncate(0o600), 0).expect("a FIFO");
}

/// Seals from memory; the error, if any.
fn seal_stream(
    source: &mut (dyn Read + Send),
    target: Target<'_>,
    policy: &SealPolicy,
    options: &SealOptions,
) -> Result<u64, Error> {
    let engine = Engine::new(Vec::new());
    engine.seal(Source::Stream(source), target, policy, options, &Control::default()).map(|summary| summary.disk_len)
}

#[test]
fn files_of_every_length_round_trip() {
    let folder = crate::common::folder();
    let [disk, snapshot, out] = ["disk", "snapshot", "out"].map(|name| folder.path().join(name));
    for suite in [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm] {
        let (engine, policy) = small_chunks(suite);
        for len in [0, 1, 511, 512, 513, 65535, 65536, 65537, 3 * 65536 + 700] {
            std::fs::write(&disk, disk_of(len, 9)).expect("writes");
            let sealed = seal(&engine, &policy, &disk, &snapshot).expect("seals");
            assert_eq!(sealed.disk_len, len as u64);
            assert_eq!(sealed.file_len, std::fs::metadata(&snapshot).expect("stats").len());
            open(&engine, &snapshot, &out).expect("opens");
            assert!(same_bytes(&disk, &out), "{suite} {len}");
            std::fs::remove_file(&snapshot).expect("removes");
            std::fs::remove_file(&out).expect("removes");
        }
    }
}

#[test]
fn what_is_no_disk_is_refused_by_its_kind() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    fifo(&path("fifo"));
    symlink(path("fifo"), path("link-to-fifo")).expect("links");
    std::fs::create_dir(path("folder")).expect("makes");
    let (engine, policy) = policy_for(Suite::XtsBlake3);
    for (source, expected) in [
        (path("fifo"), "named pipe"),
        (path("link-to-fifo"), "named pipe"),
        (path("folder"), "folder"),
        ("/dev/null".into(), "special file"),
        ("/dev/zero".into(), "special file"),
    ] {
        let error = seal(&engine, &policy, &source, &path("out")).expect_err("no disk");
        match error.inner() {
            Error::UnsuitableFile { kind, .. } => assert_eq!(*kind, expected),
            _ => panic!("{error}"),
        }
    }
    symlink(path("loop"), path("loop")).expect("links");
    let error = seal(&engine, &policy, &path("loop"), &path("out")).expect_err("a loop");
    assert!(matches!(error.inner(), Error::Io(error) if error.raw_os_error() == Some(40)), "{error}");
    let error = seal(&engine, &policy, &path("nothing"), &path("out")).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(names_in(folder.path()), ["fifo", "folder", "link-to-fifo", "loop"]);
}

#[test]
fn a_symlink_to_a_disk_is_followed() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), [4; 1000]).expect("writes");
    symlink("disk", path("link")).expect("links");
    let (engine, policy) = policy_for(Suite::XtsGmac);
    seal(&engine, &policy, &path("link"), &path("snapshot")).expect("seals");
    open(&engine, &path("snapshot"), &path("out")).expect("opens");
    assert!(same_bytes(&path("disk"), &path("out")));
}

#[test]
fn the_source_is_never_the_target() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    let bytes = disk_of(1000, 1);
    std::fs::write(path("disk"), &bytes).expect("writes");
    std::fs::hard_link(path("disk"), path("hard")).expect("links");
    symlink("disk", path("soft")).expect("links");
    std::fs::hard_link(path("disk"), path("victim.partial")).expect("links");
    let (engine, policy) = policy_for(Suite::XtsBlake3);
    for force in [false, true] {
        for target in ["disk", "hard", "soft", "victim"] {
            let options = SealOptions { force, ..SealOptions::default() };
            let error = seal_with(&engine, &policy, &path("disk"), &path(target), &options).expect_err("itself");
            assert!(matches!(error.inner(), Error::SameFile), "{target}: {error}");
        }
        // A manifest written over the disk is as bad.
        for manifest in ["disk", "hard", "soft", "victim"] {
            let options = SealOptions { force, manifest: Some(path(manifest)), ..SealOptions::default() };
            let error = seal_with(&engine, &policy, &path("disk"), &path("out"), &options).expect_err("itself");
            assert!(matches!(error.inner(), Error::SameFile), "manifest {manifest}: {error}");
        }
        let options = SealOptions { force, manifest: Some(path("out")), ..SealOptions::default() };
        seal_with(&engine, &policy, &path("disk"), &path("out"), &options).expect_err("one file for both");
    }
    assert!(std::fs::read(path("disk")).expect("reads") == bytes);
    assert_eq!(names_in(folder.path()), ["disk", "hard", "soft", "victim.partial"]);
}

#[test]
fn an_existing_target_is_replaced_only_by_force() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), [1; 600]).expect("writes");
    std::fs::write(path("taken"), b"precious").expect("writes");
    symlink("nowhere", path("dangling")).expect("links");
    std::fs::create_dir(path("folder")).expect("makes");
    let (engine, policy) = policy_for(Suite::XtsBlake3);
    for target in ["taken", "dangling"] {
        let error = seal(&engine, &policy, &path("disk"), &path(target)).expect_err("taken");
        assert!(matches!(error, Error::Commit(CommitError::Exists(_))), "{error}");
    }
    let force = SealOptions { force: true, ..SealOptions::default() };
    assert!(seal_with(&engine, &policy, &path("disk"), &path("folder"), &force).is_err());
    assert_eq!(std::fs::read(path("taken")).expect("reads"), b"precious");
    assert_eq!(names_in(folder.path()), ["dangling", "disk", "folder", "taken"]);
    for target in ["taken", "dangling"] {
        seal_with(&engine, &policy, &path("disk"), &path(target), &force).expect("replaces");
        open(&engine, &path(target), &path("out")).expect("opens");
        std::fs::remove_file(path("out")).expect("removes");
    }
    assert!(!path("nowhere").exists(), "the link itself was replaced");
}

#[test]
fn a_place_that_takes_no_files_is_an_error_and_leaves_nothing() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), [1; 600]).expect("writes");
    let (engine, policy) = policy_for(Suite::XtsBlake3);
    // /proc takes no files even from root.
    for target in [path("no/such/folder/out"), path("disk/out"), "/proc/sobre-test".into()] {
        let error = seal(&engine, &policy, &path("disk"), &target).expect_err("no place");
        assert!(matches!(error, Error::Commit(CommitError::Io { .. })), "{}: {error}", target.display());
    }
    for target in ["/dev/full", "/dev/null"] {
        let error = seal(&engine, &policy, &path("disk"), Path::new(target)).expect_err("no file");
        assert!(matches!(error.inner(), Error::UnsuitableFile { kind: "special file", .. }), "{error}");
    }
    assert_eq!(names_in(folder.path()), ["disk"]);
}

#[test]
fn a_run_that_is_refused_leaves_neither_partial_file_nor_manifest() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), [1; 600]).expect("writes");
    std::fs::write(path("taken"), b"precious").expect("writes");
    let (engine, policy) = policy_for(Suite::XtsBlake3);
    let options = SealOptions { manifest: Some(path("manifest")), ..SealOptions::default() };
    for (target, policy) in [
        (path("taken"), policy.clone()),
        (path("disk"), policy.clone()),
        (path("out"), policy.clone().sector_size(SectorSize::Bytes4096)),
        ("/dev/full".into(), policy.clone()),
    ] {
        seal_with(&engine, &policy, &path("disk"), &target, &options).expect_err("refused");
        assert_eq!(names_in(folder.path()), ["disk", "taken"], "{}", target.display());
    }
}

#[test]
fn a_full_device_stops_a_stream() {
    let (_, policy) = small_chunks(Suite::XtsBlake3);
    let mut full = OpenOptions::new().write(true).open("/dev/full").expect("opens");
    for workers in [1, 3] {
        let options = SealOptions { workers, ..SealOptions::default() };
        let disk = disk_of(1_000_000, 5);
        let error = seal_stream(&mut disk.as_slice(), Target::Stream(&mut full), &policy, &options).expect_err("full");
        assert!(matches!(error.inner(), Error::Io(error) if error.kind() == io::ErrorKind::StorageFull), "{error}");
    }
}

/// Runs this test again in a process of its own under a limit that the shell sets.
fn rerun(name: &str, limits: &str, folder: &Path) {
    let test = std::env::current_exe().expect("this test");
    let output = Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("SOBRE_TEST_FOLDER", folder)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_full_file_system_leaves_a_partial_file_that_goes_on() {
    let (engine, policy) = small_chunks(Suite::XtsGmac);
    if let Some(folder) = std::env::var_os("SOBRE_TEST_FOLDER") {
        let folder = Path::new(&folder);
        let error = seal(&engine, &policy, &folder.join("disk"), &folder.join("snapshot")).expect_err("no room");
        assert!(matches!(error.inner(), Error::Io(error) if error.kind() == io::ErrorKind::FileTooLarge), "{error}");
        return;
    }
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), disk_of(500_000, 8)).expect("writes");
    // 200 blocks of 512 bytes; with the signal ignored the write itself fails.
    rerun(
        "inputs::a_full_file_system_leaves_a_partial_file_that_goes_on",
        "trap '' XFSZ; ulimit -f 200",
        folder.path(),
    );
    assert_eq!(names_in(folder.path()), ["disk", "snapshot.partial"]);
    let options = SealOptions { resume: true, ..SealOptions::default() };
    seal_with(&engine, &policy, &path("disk"), &path("snapshot"), &options).expect("goes on with room");
    open(&engine, &path("snapshot"), &path("out")).expect("opens");
    assert!(same_bytes(&path("disk"), &path("out")));
}

/// Takes what is written and, at the first write behind the heads, does something to the source.
struct Meddler<'a> {
    written: Vec<u8>,
    meddle: Option<Box<dyn FnOnce() + Send + 'a>>,
}

impl Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        if self.written.len() > 65536
            && let Some(meddle) = self.meddle.take()
        {
            meddle();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_is_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change, bool); 5] = [
        ("grew while it was read", append, true),
        (
            "shrank while it was read",
            |disk| File::options().write(true).open(disk).expect("opens").set_len(100).expect("cuts"),
            false,
        ),
        (
            "changed while it was read",
            |disk| File::options().write(true).open(disk).expect("opens").write_all_at(b"!", 5).expect("writes"),
            true,
        ),
        (
            "was replaced while it was read",
            |disk| {
                let other = disk.with_extension("other");
                std::fs::write(&other, b"other").expect("writes");
                std::fs::rename(&other, disk).expect("renames");
            },
            true,
        ),
        ("was replaced while it was read", |disk| std::fs::remove_file(disk).expect("removes"), true),
    ];
    let (engine, policy) = small_chunks(Suite::XtsBlake3);
    for (expected, change, live_goes_on) in changes {
        for live in [false, true] {
            let folder = crate::common::folder();
            let disk = folder.path().join("disk");
            std::fs::write(&disk, vec![6; 20 * 65536]).expect("writes");
            // Times of some file systems are coarse: what is written now must not look as old as the file.
            let file = File::options().write(true).open(&disk).expect("opens");
            file.set_modified(std::time::UNIX_EPOCH).expect("sets");
            let mut target = Meddler { written: Vec::new(), meddle: Some(Box::new(|| change(&disk))) };
            let options = SealOptions { workers: 1, live, ..SealOptions::default() };
            let sealed =
                engine.seal(Source::Path(&disk), Target::Stream(&mut target), &policy, &options, &Control::default());
            if live && live_goes_on {
                sealed.expect("asked for");
                engine.open(target.written).expect("whole");
                continue;
            }
            let error = sealed.expect_err("changed");
            match error.inner() {
                // A change of the inode's own time is seen before the replacement.
                Error::SourceChanged(how) => {
                    assert!(*how == expected || *how == "changed while it was read", "{how}, not {expected}");
                }
                _ => panic!("{error}"),
            }
            assert!(engine.open(target.written).is_err(), "no whole snapshot came out");
        }
    }
}

#[test]
fn a_length_that_is_no_multiple_of_4096_is_refused_with_4096_byte_sectors() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    let (engine, policy) = policy_for(Suite::XtsGcm);
    let policy = policy.sector_size(SectorSize::Bytes4096).chunk_size(ChunkSize::from_log2(16).expect("a size"));
    for len in [1, 512, 4095, 4097, 65536 + 512] {
        std::fs::write(path("disk"), vec![1; len]).expect("writes");
        let error = seal(&engine, &policy, &path("disk"), &path("out")).expect_err("no multiple");
        assert!(matches!(error.inner(), Error::Policy(PolicyError::DiskLength { .. })), "{error}");
        assert_eq!(names_in(folder.path()), ["disk"]);
        let disk = vec![1; len];
        let mut out = Vec::new();
        let error = seal_stream(&mut disk.as_slice(), Target::Stream(&mut out), &policy, &SealOptions::default())
            .expect_err("no multiple");
        assert!(matches!(error.inner(), Error::Policy(PolicyError::DiskLength { .. })), "{error}");
        assert!(engine.open(out).is_err());
    }
}

/// Gives a few bytes at a time, and now and then an interruption.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buf.len().min(self.0.len()).min(1 + self.1 % 4000);
        buf[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn a_pipe_that_dribbles_is_read_to_its_end() {
    let disk = disk_of(5 * 65536 + 100, 4);
    for suite in [Suite::XtsBlake3, Suite::XtsGcm] {
        let (engine, policy) = small_chunks(suite);
        for workers in [1, 4] {
            let mut out = Vec::new();
            let options = SealOptions { workers, ..SealOptions::default() };
            let len = seal_stream(&mut Dribble(&disk, 0), Target::Stream(&mut out), &policy, &options).expect("seals");
            assert_eq!(len, disk.len() as u64);
            let reader = engine.open(out).expect("opens");
            let mut found = vec![1; disk.len()];
            reader.read_at(&mut found, 0).expect("reads");
            assert!(found == disk);
        }
    }
}

#[test]
fn a_pipe_that_breaks_is_no_end_of_the_disk() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let count = buf.len().min(self.0);
            buf[..count].fill(1);
            self.0 -= count;
            Ok(count)
        }
    }
    let folder = crate::common::folder();
    let target = folder.path().join("out");
    let (engine, policy) = small_chunks(Suite::XtsBlake3);
    for good in [0, 100, 65536, 200_000] {
        let error = seal_stream(&mut Broken(good), Target::Path(&target), &policy, &SealOptions::default())
            .expect_err("broken");
        assert!(matches!(error.inner(), Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset), "{error}");
        assert!(!target.exists());
        if let Ok(bytes) = std::fs::read(partial_path(&target)) {
            assert!(engine.open(bytes).is_err());
        }
    }
}

#[test]
fn holes_are_left_out_and_come_back_as_holes() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    // 1 GiB with three pieces: reading it all would take its time.
    sparse_file(&path("disk"), 1 << 30, &[(0, b"a"), (500 << 20, b"b"), ((1 << 30) - 1, b"c")]);
    let (engine, policy) = policy_for(Suite::XtsGmac);
    let sealed = seal(&engine, &policy, &path("disk"), &path("snapshot")).expect("seals");
    assert!(sealed.file_len < 1_500_000, "{}", sealed.file_len);
    let opened = open(&engine, &path("snapshot"), &path("out")).expect("opens");
    assert_eq!((opened.disk_len, opened.written, opened.stored), (1 << 30, 1 << 30, 3 << 18));
    use std::os::unix::fs::MetadataExt;
    let stored = std::fs::metadata(path("out")).expect("stats").blocks() * 512;
    assert!(stored < 8 << 20, "{stored} bytes on disk");
    for (offset, byte) in [(0, b"a"), (500 << 20, b"b"), ((1 << 30) - 1, b"c"), (1000, b"\0")] {
        let mut found = [9];
        File::open(path("out")).expect("opens").read_at(&mut found, offset).expect("reads");
        assert_eq!(&found, byte);
    }
    assert_eq!(std::fs::metadata(path("out")).expect("stats").permissions().mode() & 0o777, 0o600);
}
