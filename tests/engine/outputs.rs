//! Opening: into files, pipes and ranges; what a pipe needs; what is left behind when it fails.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sobre::engine::{Change, Control, OpenOptions, OpenSummary, SealOptions, Source, Target, Warning, is_zero};
use sobre::format::{Layer, Suite};
use sobre::io::{CommitError, PartialFile, partial_path};
use sobre::{Engine, Error, ErrorKind};

use crate::common::forge::{BODY, Forge, HEAD};
use crate::common::{
    CUSTOMER, LARGE, PLATFORM, disk_of, engine_with, golden, named, names_in, open, oracle_layer, seal_with,
    small_chunks,
};

/// A snapshot of 20 chunks with its manifest, in a folder of its own.
struct Sealed {
    _temporary: tempfile::TempDir,
    folder: PathBuf,
    disk: Vec<u8>,
    engine: Engine,
}

const LEN: usize = 19 * 65536 + 4000;

impl Sealed {
    fn new(suite: Suite) -> Self {
        let temporary = crate::common::folder();
        let folder = temporary.path().to_owned();
        let mut disk = disk_of(LEN, 31);
        disk[3 * 65536..5 * 65536].fill(0);
        std::fs::write(folder.join("disk"), &disk).expect("writes");
        let (engine, policy) = small_chunks(suite);
        let options = SealOptions { workers: 2, manifest: Some(folder.join("manifest")), ..SealOptions::default() };
        seal_with(&engine, &policy, &folder.join("disk"), &folder.join("snapshot"), &options).expect("seals");
        std::fs::remove_file(folder.join("disk")).expect("removes");
        Self { _temporary: temporary, folder, disk, engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path("snapshot")).expect("reads")
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { workers: 3, manifest: Some(self.path("manifest")), ..OpenOptions::default() }
    }

    /// Opens from a pipe into a pipe; returns what came out as well.
    fn pipe(&self, bytes: &[u8], options: &OpenOptions) -> (Result<OpenSummary, Error>, Vec<u8>) {
        let mut out = Vec::new();
        let ctl = Control::default();
        let opened = self.engine.open_whole(Source::Stream(&mut &*bytes), Target::Stream(&mut out), options, &ctl);
        (opened, out)
    }

    /// Opens from a pipe into a file.
    fn pipe_to_file(&self, bytes: &[u8], options: &OpenOptions) -> Result<OpenSummary, Error> {
        let ctl = Control::default();
        self.engine.open_whole(Source::Stream(&mut &*bytes), Target::Path(&self.path("out")), options, &ctl)
    }

    fn leaves_nothing(&self) {
        assert_eq!(names_in(&self.folder), ["manifest", "snapshot"]);
    }
}

/// Checks that an error behind a pipe says truly how far the output is good.
fn check_valid(error: &Error, out: &[u8], disk: &[u8]) {
    let Error::PartlyWritten { valid, .. } = error else { panic!("{error}") };
    let valid = usize::try_from(*valid).expect("small");
    assert!(valid <= out.len() && out[..valid] == disk[..valid], "not valid up to {valid}");
    assert!(out == &disk[..out.len()], "unverified bytes were released");
}

#[test]
fn a_pipe_opens_with_its_manifest_only() {
    for suite in [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm] {
        let sealed = Sealed::new(suite);
        let (opened, out) = sealed.pipe(&sealed.bytes(), &sealed.options());
        assert_eq!(opened.expect("opens").disk_len, LEN as u64);
        assert!(out == sealed.disk);
        sealed.pipe_to_file(&sealed.bytes(), &sealed.options()).expect("opens");
        assert!(std::fs::read(sealed.path("out")).expect("reads") == sealed.disk);
        std::fs::remove_file(sealed.path("out")).expect("removes");

        let (opened, out) = sealed.pipe(&sealed.bytes(), &OpenOptions::default());
        let error = opened.expect_err("no manifest");
        assert!(matches!(error, Error::ManifestNeeded), "{error}");
        assert_eq!((error.kind(), out.len()), (ErrorKind::Usage, 0));
        let foreign = OpenOptions { manifest: Some(golden::folder().join("gmac-512-1.manifest")), ..sealed.options() };
        let (opened, out) = sealed.pipe(&sealed.bytes(), &foreign);
        assert!(matches!(opened.expect_err("foreign"), Error::Foreign));
        assert_eq!(out.len(), 0);
        assert!(matches!(sealed.pipe_to_file(&sealed.bytes(), &foreign), Err(Error::Foreign)));
        sealed.leaves_nothing();
    }
}

#[test]
fn a_pipe_cut_anywhere_is_refused_and_what_came_out_is_good() {
    let sealed = Sealed::new(Suite::XtsGcm);
    let bytes = sealed.bytes();
    let forge = Forge::new(&bytes);
    for cut in [0, 1, HEAD - 1] {
        let (opened, out) = sealed.pipe(&bytes[..cut], &sealed.options());
        assert_eq!(named(&opened.expect_err("cut")), "head-a truncated");
        assert!(out.is_empty());
    }
    let page = forge.pages[0].clone();
    for cut in [
        BODY,
        BODY + 1,
        BODY + 65536,
        BODY + 100_000,
        page.start,
        page.end - 1,
        forge.index,
        forge.footer,
        bytes.len() - 1,
    ] {
        let (opened, out) = sealed.pipe(&bytes[..cut], &sealed.options());
        let error = opened.expect_err("cut");
        assert_eq!(named(&error), "snapshot truncated", "cut at {cut}");
        check_valid(&error, &out, &sealed.disk);
        let error = sealed.pipe_to_file(&bytes[..cut], &sealed.options()).expect_err("cut");
        assert_eq!(named(&error), "snapshot truncated");
        sealed.leaves_nothing();
    }
    // With only head A the pipe has no body.
    let error = sealed.pipe(&bytes[..HEAD], &sealed.options()).0.expect_err("cut");
    assert_eq!(named(&error), "snapshot truncated");
}

#[test]
fn a_pipe_with_more_or_other_bytes_than_the_manifest_says_is_refused() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let good = sealed.bytes();
    let forge = Forge::new(&good);
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        bytes
    };
    for (bytes, expected) in [
        ([good.as_slice(), &[0]].concat(), "snapshot length"),
        ([good.as_slice(), &good].concat(), "snapshot length"),
        (changed(BODY), "chunk-0 tag"),
        (changed(forge.pages[0].start - 1), "chunk-19 tag"),
        (changed(forge.pages[0].start + 300), "page-0 differs"),
        (changed(forge.pages[0].end - 1), "page-0 differs"),
        (changed(forge.index), "footer differs"),
        (changed(forge.footer + 130), "footer differs"),
        (changed(good.len() - 1), "footer differs"),
    ] {
        let (opened, out) = sealed.pipe(&bytes, &sealed.options());
        let error = opened.expect_err("not what the manifest says");
        assert_eq!((named(&error).as_str(), error.kind()), (expected, ErrorKind::Damaged));
        check_valid(&error, &out, &sealed.disk);
        assert_eq!(named(&sealed.pipe_to_file(&bytes, &sealed.options()).expect_err("the same")), expected);
        sealed.leaves_nothing();
    }
    // One damaged head is a warning from a pipe as well.
    for head in [0_u8, 1] {
        let (opened, out) = sealed.pipe(&changed(usize::from(head) * HEAD + 50), &sealed.options());
        assert_eq!(opened.expect("opens").warnings, [Warning::HeadDamaged { head }]);
        assert!(out == sealed.disk);
    }
}

#[test]
fn a_damaged_manifest_is_refused() {
    let sealed = Sealed::new(Suite::XtsGmac);
    let good = std::fs::read(sealed.path("manifest")).expect("reads");
    let mut all: Vec<Vec<u8>> = [0, 1, 1023, 1024, 1300, good.len() - 192, good.len() - 1]
        .into_iter()
        .map(|cut| good[..cut].to_vec())
        .collect();
    for at in [0, 40, 1024, 1100, 1250, 1290, good.len() - 230, good.len() - 192, good.len() - 100, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        all.push(bad);
    }
    all.push([good.as_slice(), &[0]].concat());
    for bad in all {
        std::fs::write(sealed.path("manifest"), &bad).expect("writes");
        let (opened, out) = sealed.pipe(&sealed.bytes(), &sealed.options());
        assert_eq!(opened.expect_err("damaged").kind(), ErrorKind::Damaged);
        assert!(out.is_empty());
        // A manifest beside a file serves in place of the file's own pages, and must be as good.
        let error = sealed
            .engine
            .open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Path(&sealed.path("out")),
                &sealed.options(),
                &Control::default(),
            )
            .expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Damaged);
        sealed.leaves_nothing();
    }
}

#[test]
fn a_range_gives_exactly_its_bytes() {
    let sealed = Sealed::new(Suite::XtsGcm);
    let bytes = sealed.bytes();
    let len = LEN as u64;
    for (offset, count) in [
        (0, 0),
        (0, 1),
        (0, len),
        (len, 0),
        (len - 1, 1),
        (1, len - 1),
        (65535, 2),
        (65536, 65536),
        (100, 300_000),
        (3 * 65536 + 7, 50),
        (2 * 65536 + 60_000, 4 * 65536),
        (19 * 65536, 4000),
    ] {
        let expected =
            &sealed.disk[usize::try_from(offset).expect("small")..][..usize::try_from(count).expect("small")];
        let options = OpenOptions { range: Some((offset, count)), ..OpenOptions::default() };
        let out = sealed.path("out");
        let summary = sealed
            .engine
            .open_whole(Source::Path(&sealed.path("snapshot")), Target::Path(&out), &options, &Control::default())
            .unwrap_or_else(|error| panic!("{offset}:{count}: {error}"));
        assert_eq!((summary.written, summary.disk_len), (count, len));
        assert!(std::fs::read(&out).expect("reads") == expected, "{offset}:{count}");
        std::fs::remove_file(out).expect("removes");
        let options = OpenOptions { range: Some((offset, count)), ..sealed.options() };
        let (opened, out) = sealed.pipe(&bytes, &options);
        opened.unwrap_or_else(|error| panic!("{offset}:{count}: {error}"));
        assert!(out == expected, "{offset}:{count} from a pipe");
    }
    sealed.leaves_nothing();
}

#[test]
fn a_range_outside_the_disk_is_refused() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let len = LEN as u64;
    for range in [(0, len + 1), (len, 1), (len + 1, 0), (1, len), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        let options = OpenOptions { range: Some(range), ..sealed.options() };
        let error = sealed
            .engine
            .open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Path(&sealed.path("out")),
                &options,
                &Control::default(),
            )
            .expect_err("outside");
        assert!(matches!(error.inner(), Error::Range { disk, .. } if *disk == len), "{error}");
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(matches!(sealed.pipe(&sealed.bytes(), &options).0, Err(Error::Range { .. })));
    }
    sealed.leaves_nothing();
}

#[test]
fn a_pipe_out_gets_the_verified_beginning_and_the_error_says_how_much() {
    let sealed = Sealed::new(Suite::XtsGmac);
    let good = sealed.bytes();
    let forge = Forge::new(&good);
    for (stored, _) in &forge.chunks {
        let mut bad = good.clone();
        bad[stored.start + 9] ^= 1;
        std::fs::write(sealed.path("snapshot"), &bad).expect("writes");
        for workers in [1, 4] {
            let mut out = Vec::new();
            let options = OpenOptions { workers, ..OpenOptions::default() };
            let error = sealed
                .engine
                .open_whole(
                    Source::Path(&sealed.path("snapshot")),
                    Target::Stream(&mut out),
                    &options,
                    &Control::default(),
                )
                .expect_err("damaged");
            assert!(named(&error).ends_with(" tag"), "{error}");
            check_valid(&error, &out, &sealed.disk);
        }
        let error = open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("out")).expect_err("damaged");
        assert!(named(&error).ends_with(" tag"), "{error}");
        sealed.leaves_nothing();
    }
}

#[test]
fn a_pipe_out_that_breaks_is_an_error() {
    struct Narrow(usize);
    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = bytes.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sealed = Sealed::new(Suite::XtsBlake3);
    for room in [0, 1, 65536, LEN - 1] {
        let error = sealed
            .engine
            .open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Stream(&mut Narrow(room)),
                &OpenOptions { workers: 2, ..OpenOptions::default() },
                &Control::default(),
            )
            .expect_err("broken");
        assert!(matches!(error.inner(), Error::Io(error) if error.kind() == io::ErrorKind::BrokenPipe), "{error}");
        let Error::PartlyWritten { valid, .. } = error else { panic!("{error}") };
        assert!(valid <= room as u64);
    }
}

#[test]
fn the_snapshot_is_never_the_target() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let before = sealed.bytes();
    std::fs::hard_link(sealed.path("snapshot"), sealed.path("hard")).expect("links");
    symlink("snapshot", sealed.path("soft")).expect("links");
    std::fs::hard_link(sealed.path("snapshot"), sealed.path("victim.partial")).expect("links");
    let options = OpenOptions { force: true, ..OpenOptions::default() };
    for target in ["snapshot", "hard", "soft", "victim"] {
        let error = sealed
            .engine
            .open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Path(&sealed.path(target)),
                &options,
                &Control::default(),
            )
            .expect_err("itself");
        assert!(matches!(error.inner(), Error::SameFile), "{target}: {error}");
    }
    assert!(sealed.bytes() == before);
}

#[test]
fn an_existing_file_is_replaced_only_by_force_and_only_by_a_whole_disk() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    std::fs::write(sealed.path("taken"), b"precious").expect("writes");
    let error = open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("taken")).expect_err("taken");
    assert!(matches!(error, Error::Commit(CommitError::Exists(_))), "{error}");
    let good = sealed.bytes();
    let mut bad = good.clone();
    let last = Forge::new(&good).chunks.last().expect("chunks").0.start;
    bad[last] ^= 1;
    let force = |bytes: &[u8]| {
        std::fs::write(sealed.path("snapshot"), bytes).expect("writes");
        sealed.engine.open_whole(
            Source::Path(&sealed.path("snapshot")),
            Target::Path(&sealed.path("taken")),
            &OpenOptions { force: true, ..OpenOptions::default() },
            &Control::default(),
        )
    };
    force(&bad).expect_err("damaged");
    assert_eq!(std::fs::read(sealed.path("taken")).expect("reads"), b"precious");
    force(&good).expect("opens");
    assert!(std::fs::read(sealed.path("taken")).expect("reads") == sealed.disk);
    assert_eq!(names_in(&sealed.folder), ["manifest", "snapshot", "taken"]);
}

#[test]
fn an_abandoned_partial_disk_is_discarded_and_reported() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    std::fs::write(partial_path(&sealed.path("out")), vec![9; 5_000_000]).expect("writes");
    let summary = open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("out")).expect("opens");
    assert_eq!(summary.discarded, 5_000_000);
    assert!(std::fs::read(sealed.path("out")).expect("reads") == sealed.disk, "longer junk must not show");
}

#[test]
fn a_disk_that_is_being_written_is_busy() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let held = PartialFile::open(&sealed.path("out"), 0o600, false).expect("opens");
    let error = open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("out")).expect_err("held");
    assert_eq!(error.kind(), ErrorKind::Busy);
    held.discard().expect("removes");
    open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("out")).expect("free");
    let mode = std::fs::metadata(sealed.path("out")).expect("stats").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a disk in the clear is for its owner only");
}

#[test]
fn a_symlink_in_place_of_the_partial_disk_is_not_followed() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    std::fs::write(sealed.path("victim"), b"keep").expect("writes");
    symlink("victim", sealed.path("out.partial")).expect("links");
    open(&sealed.engine, &sealed.path("snapshot"), &sealed.path("out")).expect_err("a trap");
    assert_eq!(std::fs::read(sealed.path("victim")).expect("reads"), b"keep");
    assert!(!sealed.path("out").exists());
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let out = sealed.path("out");
    for (source, kind) in [(sealed.folder.clone(), "folder"), ("/dev/zero".into(), "special file")] {
        let error = open(&sealed.engine, &source, &out).expect_err("no file");
        assert!(matches!(error.inner(), Error::UnsuitableFile { kind: found, .. } if *found == kind), "{error}");
    }
    assert_eq!(open(&sealed.engine, &sealed.path("nothing"), &out).expect_err("not there").kind(), ErrorKind::NotFound);
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/golden/index.json");
    let error = open(&sealed.engine, &text, &out).expect_err("text");
    assert!(error.to_string().ends_with("not a sobre snapshot"), "{error}");
    sealed.leaves_nothing();
}

#[test]
fn a_cancelled_opening_leaves_nothing() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let ctl = Control::default();
    ctl.cancel();
    let opened = sealed.engine.open_whole(
        Source::Path(&sealed.path("snapshot")),
        Target::Path(&sealed.path("out")),
        &OpenOptions::default(),
        &ctl,
    );
    assert!(matches!(opened, Err(Error::Cancelled)));
    sealed.leaves_nothing();
}

#[test]
fn the_wrong_keys_leave_nothing() {
    let sealed = Sealed::new(Suite::XtsGcm);
    for (keys, layer) in [(vec![LARGE], 1), (vec![PLATFORM], 1), (vec![CUSTOMER], 2)] {
        let error = open(&engine_with(&keys), &sealed.path("snapshot"), &sealed.path("out")).expect_err("no key");
        assert_eq!(named(&error), format!("key-missing {layer}"));
        sealed.leaves_nothing();
    }
}

#[test]
fn a_sidecar_opens_a_snapshot_that_could_not_be_rewritten() {
    let sealed = Sealed::new(Suite::XtsBlake3);
    let old = sealed.bytes();
    sealed.engine.rewrap(&sealed.path("snapshot"), Layer::Inner, &Change::To(oracle_layer(&[LARGE]))).expect("rewraps");
    let sidecar = sealed.bytes()[..HEAD].to_vec();
    std::fs::write(sealed.path("sidecar"), &sidecar).expect("writes");
    let engine = engine_with(&[LARGE]);
    // The snapshot with its old heads, with damaged ones, and with none.
    let mut damaged = old.clone();
    damaged[40] ^= 1;
    damaged[HEAD + 40] ^= 1;
    let zero = [vec![0; BODY], old[BODY..].to_vec()].concat();
    for bytes in [old.clone(), damaged, zero] {
        std::fs::write(sealed.path("snapshot"), &bytes).expect("writes");
        assert!(engine.open(bytes.clone()).is_err());
        let options = OpenOptions { sidecar: Some(sealed.path("sidecar")), ..OpenOptions::default() };
        let opened = |options: &OpenOptions| {
            engine.open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Path(&sealed.path("out")),
                options,
                &Control::default(),
            )
        };
        opened(&options).expect("opens");
        assert!(std::fs::read(sealed.path("out")).expect("reads") == sealed.disk);
        std::fs::remove_file(sealed.path("out")).expect("removes");
        assert_eq!(engine.open_with_sidecar(bytes, &sidecar).expect("opens").len(), LEN as u64);
        let foreign = golden::read("blake3-512-1.sobre")[..HEAD].to_vec();
        for (bad, expected) in [
            (sidecar[..HEAD - 1].to_vec(), "head-a length"),
            ([sidecar.as_slice(), &[0]].concat(), "head-a length"),
            (Vec::new(), "head-a length"),
            (vec![0; HEAD], "head-a magic"),
        ] {
            std::fs::write(sealed.path("bad"), &bad).expect("writes");
            let options = OpenOptions { sidecar: Some(sealed.path("bad")), ..OpenOptions::default() };
            assert_eq!(named(&opened(&options).expect_err("no sidecar")), expected);
        }
        std::fs::write(sealed.path("bad"), &foreign).expect("writes");
        let options = OpenOptions { sidecar: Some(sealed.path("bad")), ..OpenOptions::default() };
        // A foreign sidecar is told from the snapshot's own heads, or at the latest from its footer.
        let error = engine_with(&[CUSTOMER])
            .open_whole(
                Source::Path(&sealed.path("snapshot")),
                Target::Path(&sealed.path("out")),
                &options,
                &Control::default(),
            )
            .expect_err("foreign");
        assert!(["foreign", "footer foreign"].contains(&named(&error).as_str()), "{error}");
        assert!(!sealed.path("out").exists() && !partial_path(&sealed.path("out")).exists());
    }
}

#[test]
fn a_snapshot_cut_while_it_is_read_is_an_error() {
    // The footer was good when it was looked at; the bytes are gone when their turn comes.
    struct Vanishing(Vec<u8>, u64);
    impl sobre::io::ReadAt for Vanishing {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if (self.1..self.1 + 65536).contains(&offset) { Ok(0) } else { self.0.read_at(buf, offset) }
        }
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }
    let sealed = Sealed::new(Suite::XtsGmac);
    let second = Forge::new(&sealed.bytes()).chunks[1].0.start;
    let reader = sealed.engine.open(Vanishing(sealed.bytes(), second as u64)).expect("opens");
    let mut buf = vec![7; 65536];
    // The second chunk that is stored is the first behind the holes.
    let chunk = reader.chunks().skip(1).find(|chunk| !is_zero(&sealed.disk[chunk.offset() as usize..][..chunk.len()]));
    let error = reader.read_chunk(chunk.expect("data"), &mut buf).expect_err("gone");
    let cut =
        sobre::format::FormatError { part: sobre::format::Part::Snapshot, fault: sobre::format::Fault::Truncated };
    assert!(matches!(&error, Error::Format(found) if *found == cut), "{error}");
    assert_eq!(error.kind(), sobre::ErrorKind::Damaged);
    assert!(is_zero(&buf));
    assert_eq!(reader.read_at(&mut buf, 0).expect("the first chunk is there"), 65536);
    assert!(buf == sealed.disk[..65536]);
}

#[test]
#[ignore = "needs root and loop devices; run by tests/run.sh"]
fn a_block_device_is_sealed_and_overwritten_zeros_included() {
    let folder = crate::common::folder();
    let path = |name: &str| folder.path().join(name);
    let disk = [disk_of(300_032, 3), vec![0; 3 * 65536], disk_of(512, 9)].concat();
    std::fs::write(path("image"), &disk).expect("writes");
    let source = Loop::of(&path("image"));
    let (engine, policy) = small_chunks(Suite::XtsGcm);
    let sealed = seal_with(&engine, &policy, &source.0, &path("snapshot"), &SealOptions::default()).expect("seals");
    assert_eq!(sealed.disk_len, disk.len() as u64);

    let larger = disk.len() as u64 + 65536;
    File::create(path("larger"))
        .expect("creates")
        .write_all_at(&vec![0xFF; usize::try_from(larger).expect("small")], 0)
        .expect("writes");
    let target = Loop::of(&path("larger"));
    let error = open(&engine, &path("snapshot"), &target.0).expect_err("without force");
    assert!(matches!(error.inner(), Error::UnsuitableFile { kind: "block device", .. }), "{error}");
    let force = OpenOptions { force: true, ..OpenOptions::default() };
    let onto = |device: &Path| {
        engine.open_whole(Source::Path(&path("snapshot")), Target::Path(device), &force, &Control::default())
    };
    onto(&target.0).expect("opens");
    let found = std::fs::read(path("larger")).expect("reads");
    assert!(found[..disk.len()] == disk, "holes must be zeros on a device");
    assert!(found[disk.len()..].iter().all(|&byte| byte == 0xFF), "nothing behind the disk is touched");

    std::fs::write(path("small"), vec![1; 65536]).expect("writes");
    let small = Loop::of(&path("small"));
    let error = onto(&small.0).expect_err("too small");
    assert!(matches!(error.inner(), Error::DeviceTooSmall { device: 65536, .. }), "{error}");
    assert!(std::fs::read(path("small")).expect("reads") == vec![1; 65536]);

    // A device in use, here by its own mount.
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/disks/ext4.img"), path("ext4")).expect("copies");
    let mounted = Loop::of(&path("ext4"));
    std::fs::create_dir(path("mount")).expect("makes");
    run("mount", &["-o".as_ref(), "ro".as_ref(), mounted.0.as_os_str(), path("mount").as_os_str()]);
    let busy = [
        onto(&mounted.0).map(|_| ()),
        seal_with(&engine, &policy, &mounted.0, &path("busy"), &SealOptions::default()).map(|_| ()),
    ];
    run("umount", &[path("mount").as_os_str()]);
    for error in busy.map(|result| result.expect_err("mounted")) {
        assert!(matches!(error.inner(), Error::DeviceInUse { mounted: Some(_) }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
}

/// A loop device over a file, detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn of(image: &Path) -> Self {
        let output =
            std::process::Command::new("losetup").args(["--find", "--show"]).arg(image).output().expect("losetup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).expect("a path").trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    assert!(std::process::Command::new(program).args(arguments).status().expect("runs").success(), "{program}");
}
