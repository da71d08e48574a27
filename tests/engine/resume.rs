//! Going on with an interrupted run: the partial file is its own journal.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

use sobre::engine::{
    Control, OpenOptions as Opening, PolicyError, SealOptions, SealPolicy, SealSummary, Source, Target,
};
use sobre::format::{ChunkSize, Suite};
use sobre::io::{CommitError, PartialFile, partial_path};
use sobre::xts::SectorSize;
use sobre::{Engine, Error, ErrorKind};

use crate::common::forge::{BODY, Forge, HEAD};
use crate::common::{
    CUSTOMER, PLATFORM, engine_with, layer, named, names_in, open, same_bytes, seal, seal_with, small_chunks,
    sparse_file,
};

const K64: u64 = 65536;
/// Three pages: 1020, 1020 and 60 chunks.
const DISK: u64 = 2100 * K64;

/// A disk, and a run of sealing it that was finished and can be cut back to any point.
struct Run {
    _folder: tempfile::TempDir,
    folder: PathBuf,
    disk: PathBuf,
    target: PathBuf,
    engine: Engine,
    policy: SealPolicy,
    whole: Vec<u8>,
}

impl Run {
    fn new(suite: Suite) -> Self {
        let temporary = crate::common::folder();
        let folder = temporary.path().to_owned();
        let disk = folder.join("disk");
        let data = [3_u8; 70_000];
        sparse_file(&disk, DISK, &[(0, &data), (1019 * K64 + 5, b"x"), (1020 * K64, b"y"), (2099 * K64, &data[..100])]);
        let (engine, policy) = small_chunks(suite);
        let target = folder.join("snapshot");
        seal(&engine, &policy, &disk, &target).expect("seals");
        let whole = std::fs::read(&target).expect("reads");
        std::fs::remove_file(&target).expect("removes");
        Self { _folder: temporary, folder, disk, target, engine, policy, whole }
    }

    fn leave(&self, partial: &[u8]) {
        std::fs::write(partial_path(&self.target), partial).expect("writes");
    }

    fn resume(&self) -> Result<SealSummary, Error> {
        self.resume_as(&self.policy, &SealOptions::default())
    }

    fn resume_as(&self, policy: &SealPolicy, options: &SealOptions) -> Result<SealSummary, Error> {
        seal_with(
            &self.engine,
            policy,
            &self.disk,
            &self.target,
            &SealOptions { workers: 2, resume: true, ..options.clone() },
        )
    }

    /// The snapshot is whole, both heads included, and holds the disk.
    fn check(&self) {
        let file = File::open(&self.target).expect("the snapshot is there");
        let verdict = self.engine.verify(&file, 2, &Control::default()).expect("verifies");
        assert_eq!(verdict.disk_len, DISK);
        let out = self.folder.join("out");
        open(&self.engine, &self.target, &out).expect("opens");
        assert!(same_bytes(&out, &self.disk));
        assert!(!partial_path(&self.target).exists());
        std::fs::remove_file(out).expect("removes");
        std::fs::remove_file(&self.target).expect("removes");
    }

    /// The refusal left the partial file as it was.
    fn check_refused(&self, partial: &[u8]) {
        assert!(!self.target.exists());
        assert!(std::fs::read(partial_path(&self.target)).expect("it stays") == partial);
    }
}

#[test]
fn a_run_cut_at_any_part_goes_on_to_the_same_disk() {
    for suite in [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm] {
        let run = Run::new(suite);
        let forge = Forge::new(&run.whole);
        let (first, second, last) = (&forge.pages[0], &forge.pages[1], &forge.pages[2]);
        for (cut, chunks) in [
            (HEAD, 0),
            (BODY, 0),
            (BODY + 100, 0),
            (first.start, 0),
            (first.end - 1, 0),
            (first.end, 1020),
            (second.start, 1020),
            (second.end - 1, 1020),
            (second.end, 2040),
            (last.end, 2100),
            (forge.footer, 2100),
        ] {
            run.leave(&run.whole[..cut]);
            let summary = run.resume().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(summary.resumed, chunks * K64, "cut at {cut}");
            assert_eq!(summary.file_len, run.whole.len() as u64);
            run.check();
        }
    }
}

#[test]
fn a_run_cut_inside_the_first_head_can_not_be_resumed() {
    let run = Run::new(Suite::XtsBlake3);
    for cut in [1, 1024, HEAD - 1] {
        run.leave(&run.whole[..cut]);
        assert_eq!(named(&run.resume().expect_err("no head")), "head-a truncated");
        run.check_refused(&run.whole[..cut]);
    }
}

#[test]
fn pages_from_the_first_damaged_one_on_are_written_anew() {
    let run = Run::new(Suite::XtsGmac);
    let forge = Forge::new(&run.whole);
    let second = &forge.pages[1];
    for (at, pages) in [
        (BODY, 0),
        (BODY + 70_000, 0),
        (forge.pages[0].start + 8, 0),
        (forge.pages[0].start + 300, 0),
        (forge.pages[0].end, 1),
        (second.start + 250, 1),
        (second.end - 1, 1),
        (second.end, 2),
    ] {
        let mut partial = run.whole[..forge.index].to_vec();
        partial[at] ^= 1;
        run.leave(&partial);
        assert_eq!(run.resume().expect("resumes").resumed, pages * 1020 * K64, "damage at {at}");
        run.check();
    }
}

#[test]
fn a_damaged_head_of_a_partial_file_is_mended_on_resume() {
    let run = Run::new(Suite::XtsBlake3);
    let forge = Forge::new(&run.whole);
    for head in [0, 1] {
        let mut partial = run.whole[..forge.pages[0].end].to_vec();
        partial[head * HEAD + 40] ^= 1;
        run.leave(&partial);
        assert_eq!(run.resume().expect("resumes").resumed, 1020 * K64);
        run.check();
    }
}

#[test]
fn a_resumed_run_writes_a_whole_manifest() {
    let run = Run::new(Suite::XtsGcm);
    let forge = Forge::new(&run.whole);
    let manifest = run.folder.join("manifest");
    for (cut, workers) in [(BODY, 2), (forge.pages[0].end, 1), (forge.pages[1].end, 2)] {
        run.leave(&run.whole[..cut]);
        let options = SealOptions { manifest: Some(manifest.clone()), force: true, ..SealOptions::default() };
        run.resume_as(&run.policy, &options).expect("resumes");
        let snapshot = std::fs::read(&run.target).expect("reads");
        let options = Opening { manifest: Some(manifest.clone()), workers, ..Opening::default() };
        let out = run.folder.join("piped");
        run.engine
            .open_whole(Source::Stream(&mut snapshot.as_slice()), Target::Path(&out), &options, &Control::default())
            .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert!(same_bytes(&out, &run.disk));
        std::fs::remove_file(out).expect("removes");
        run.check();
    }
}

#[test]
fn a_source_of_another_length_or_time_is_refused() {
    let run = Run::new(Suite::XtsBlake3);
    let partial = &run.whole[..Forge::new(&run.whole).pages[0].end];
    let before = std::fs::metadata(&run.disk).expect("stats").modified().expect("a time");
    let file = OpenOptions::new().write(true).open(&run.disk).expect("opens");
    let times: [fn(&File, SystemTime); 3] = [
        |file, _| file.set_modified(SystemTime::UNIX_EPOCH).expect("sets"),
        |file, before| {
            file.set_len(DISK + 512).expect("grows");
            file.set_modified(before).expect("sets");
        },
        |file, before| {
            file.set_len(DISK - 512).expect("shrinks");
            file.set_modified(before).expect("sets");
        },
    ];
    for change in times {
        run.leave(partial);
        change(&file, before);
        let error = run.resume().expect_err("another source");
        assert!(matches!(error.inner(), Error::SourceChanged(_)), "{error}");
        run.check_refused(partial);
        file.set_len(DISK).expect("grows");
        file.set_modified(before).expect("sets");
    }
}

#[test]
fn a_source_changed_behind_its_times_is_found_by_comparing() {
    let run = Run::new(Suite::XtsBlake3);
    let partial = &run.whole[..Forge::new(&run.whole).pages[1].end];
    let compare = SealOptions { verify_source: true, ..SealOptions::default() };
    run.leave(partial);
    assert_eq!(run.resume_as(&run.policy, &compare).expect("unchanged").resumed, 2040 * K64);
    run.check();
    let before = std::fs::metadata(&run.disk).expect("stats").modified().expect("a time");
    let file = OpenOptions::new().write(true).open(&run.disk).expect("opens");
    // In a data chunk, in a hole, and in the first page's last chunk.
    for at in [9, 500 * K64, 1019 * K64] {
        run.leave(partial);
        let old = {
            let mut byte = [0];
            File::open(&run.disk).expect("opens").read_at(&mut byte, at).expect("reads");
            byte
        };
        file.write_all_at(b"!", at).expect("writes");
        file.set_modified(before).expect("sets");
        let error = run.resume_as(&run.policy, &compare).expect_err("another source");
        assert!(matches!(error.inner(), Error::SourceChanged(_)), "{error}");
        run.check_refused(partial);
        file.write_all_at(&old, at).expect("writes");
        file.set_modified(before).expect("sets");
    }
}

#[test]
fn a_foreign_partial_file_is_refused_and_stays() {
    let run = Run::new(Suite::XtsBlake3);
    // Of another disk, for a key that is not at hand, and no snapshot at all.
    let other = Run::new(Suite::XtsBlake3);
    run.leave(&other.whole[..BODY]);
    assert!(matches!(run.resume().expect_err("foreign").inner(), Error::SourceChanged(_)));
    run.check_refused(&other.whole[..BODY]);

    let strange = Run { policy: SealPolicy::new(layer(&[PLATFORM])), engine: engine_with(&[PLATFORM]), ..other };
    seal(&strange.engine, &strange.policy, &run.disk, &strange.target).expect("seals");
    let whole = std::fs::read(&strange.target).expect("reads");
    run.leave(&whole[..BODY]);
    let only_customer = Run { engine: engine_with(&[CUSTOMER]), ..run };
    let error = only_customer.resume().expect_err("no key");
    assert_eq!((named(&error).as_str(), error.kind()), ("key-missing 1", ErrorKind::NotFound));
    only_customer.check_refused(&whole[..BODY]);

    only_customer.leave(&[7; 100_000]);
    let error = only_customer.resume().expect_err("junk");
    assert_eq!((named(&error).as_str(), error.kind()), ("head-a magic", ErrorKind::Damaged));
    only_customer.check_refused(&[7; 100_000]);
}

#[test]
fn a_forged_partial_head_is_refused() {
    let run = Run::new(Suite::XtsGcm);
    let mut forge = Forge::new(&run.whole);
    // The customer flag of both sections, with a check hash that anyone can mend.
    for section in forge.sections.clone() {
        for head in [0, HEAD] {
            forge.bytes[head + section.start + 6] ^= 1;
        }
    }
    forge.mend(["checks"].into_iter());
    let partial = &forge.bytes[..BODY];
    run.leave(partial);
    assert_eq!(named(&run.resume().expect_err("forged")), "section-1 mac");
    run.check_refused(partial);
}

#[test]
fn a_forged_page_is_not_kept() {
    let run = Run::new(Suite::XtsBlake3);
    let mut forge = Forge::new(&run.whole);
    let page = forge.pages[0].clone();
    // A data chunk becomes a hole, as somebody without keys could write it.
    forge.bytes[page.start + 14] ^= 1;
    run.leave(&forge.bytes[..page.end]);
    assert_eq!(run.resume().expect("resumes").resumed, 0);
    run.check();
}

#[test]
fn other_options_are_refused() {
    let run = Run::new(Suite::XtsBlake3);
    let partial = &run.whole[..BODY];
    let policy = || SealPolicy::new(layer(&[CUSTOMER])).chunk_size(ChunkSize::from_log2(16).expect("a size"));
    run.leave(partial);
    for other in [
        policy().suite(Suite::XtsGmac).expect("one layer"),
        SealPolicy::double(layer(&[CUSTOMER]), layer(&[PLATFORM])).chunk_size(ChunkSize::from_log2(16).expect("ok")),
        policy().chunk_size(ChunkSize::from_log2(17).expect("a size")),
        policy().sector_size(SectorSize::Bytes4096),
        policy().label("a", "b").expect("a label"),
        SealPolicy::new(layer(&[PLATFORM])).chunk_size(ChunkSize::from_log2(16).expect("a size")),
        SealPolicy::new(layer(&[CUSTOMER, PLATFORM])).chunk_size(ChunkSize::from_log2(16).expect("a size")),
    ] {
        let error = run.resume_as(&other, &SealOptions::default()).expect_err("other options");
        assert!(matches!(error.inner(), Error::OtherOptions), "{error}");
        run.check_refused(partial);
    }
    run.resume_as(&policy(), &SealOptions::default()).expect("the same options");
    run.check();
}

#[test]
fn sixteen_sessions_are_the_limit() {
    let run = Run::new(Suite::XtsBlake3);
    for (session, allowed) in [(14_u8, true), (15, false)] {
        let mut forge = Forge::new(&run.whole);
        let page = forge.pages[0].clone();
        forge.bytes[page.start + 14] = session;
        forge.mend_pages();
        run.leave(&forge.bytes[..page.end]);
        match run.resume() {
            Ok(_) => {
                assert!(allowed, "session {session}");
                let resumed = std::fs::read(&run.target).expect("reads");
                assert_eq!(resumed[Forge::new(&resumed).pages[1].start + 14], session + 1);
                run.check();
            }
            Err(error) => {
                assert!(!allowed && matches!(error.inner(), Error::Policy(PolicyError::TooManySessions)), "{error}");
                run.check_refused(&forge.bytes[..page.end]);
            }
        }
    }
}

#[test]
fn a_new_run_discards_an_abandoned_partial_file_and_says_so() {
    let run = Run::new(Suite::XtsBlake3);
    run.leave(&[9; 12_345]);
    let summary = seal(&run.engine, &run.policy, &run.disk, &run.target).expect("seals");
    assert_eq!((summary.discarded, summary.resumed), (12_345, 0));
    run.check();
}

#[test]
fn a_partial_file_that_is_being_written_is_busy() {
    let run = Run::new(Suite::XtsBlake3);
    let held = PartialFile::open(&run.target, 0o600, false).expect("opens");
    held.file().write_all_at(&run.whole[..BODY], 0).expect("writes");
    for error in
        [run.resume().expect_err("held"), seal(&run.engine, &run.policy, &run.disk, &run.target).expect_err("held")]
    {
        assert!(matches!(error, Error::Commit(CommitError::Busy(_))), "{error}");
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
    drop(held);
    run.check_refused(&run.whole[..BODY]);
}

#[test]
fn without_a_partial_file_there_is_nothing_to_resume() {
    let run = Run::new(Suite::XtsBlake3);
    let error = run.resume().expect_err("nothing there");
    assert!(matches!(error.inner(), Error::NothingToResume), "{error}");
    run.leave(&[]);
    assert!(matches!(run.resume().expect_err("nothing in it").inner(), Error::NothingToResume));
    assert_eq!(names_in(&run.folder), ["disk"]);
}

#[test]
fn a_pipe_can_not_be_resumed() {
    let run = Run::new(Suite::XtsBlake3);
    run.leave(&run.whole[..BODY]);
    let options = SealOptions { resume: true, ..SealOptions::default() };
    let error = run
        .engine
        .seal(
            Source::Stream(&mut [1_u8].as_slice()),
            Target::Path(&run.target),
            &run.policy,
            &options,
            &Control::default(),
        )
        .expect_err("a pipe");
    assert!(matches!(error.inner(), Error::UnsuitableFile { kind: "pipe", .. }), "{error}");
    run.check_refused(&run.whole[..BODY]);
}

#[test]
fn a_target_that_exists_is_refused_on_resume_too() {
    let run = Run::new(Suite::XtsBlake3);
    run.leave(&run.whole[..BODY]);
    std::fs::write(&run.target, b"other").expect("writes");
    assert!(matches!(run.resume(), Err(Error::Commit(CommitError::Exists(_)))));
    assert_eq!(std::fs::read(&run.target).expect("reads"), b"other");
    let force = SealOptions { force: true, ..SealOptions::default() };
    run.resume_as(&run.policy, &force).expect("replaces");
    run.check();
}

#[test]
fn a_cancelled_run_stays_and_goes_on() {
    let run = Run::new(Suite::XtsBlake3);
    let ctl = Control::default();
    ctl.cancel();
    let sealed =
        run.engine.seal(Source::Path(&run.disk), Target::Path(&run.target), &run.policy, &SealOptions::default(), &ctl);
    assert!(matches!(sealed, Err(Error::Cancelled)));
    assert!(!run.target.exists());
    run.resume().expect("goes on");
    run.check();
}

#[test]
fn every_session_draws_other_nonces() {
    // A copied partial file that is resumed twice must not seal two disks under one nonce.
    let run = Run::new(Suite::XtsGmac);
    let nonces = |bytes: &[u8]| -> Vec<[u8; 12]> {
        let forge = Forge::new(bytes);
        forge.chunks.iter().map(|(_, record)| bytes[record + 32..record + 44].try_into().expect("12")).collect()
    };
    let mut all = nonces(&run.whole);
    for _ in 0..2 {
        run.leave(&run.whole[..BODY]);
        run.resume().expect("resumes");
        all.extend(nonces(&std::fs::read(&run.target).expect("reads")));
        run.check();
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((count, all.len()), (15, 15));
}

#[test]
fn a_run_that_was_stopped_inside_a_page_keeps_what_it_had_sealed() {
    let temporary = crate::common::folder();
    let disk = temporary.path().join("disk");
    let target = temporary.path().join("snapshot");
    let len = 48 * 1024 * 1024 + 12_345_u64;
    std::fs::write(&disk, crate::common::disk_of(usize::try_from(len).expect("fits"), 11)).expect("writes");
    for suite in [Suite::XtsBlake3, Suite::XtsGcm] {
        let (engine, policy) = crate::common::policy_for(suite);
        let options = SealOptions { workers: 2, ..SealOptions::default() };
        // The whole disk is less than a page. Stopped as soon as something is done; a run that was too fast is made again.
        let stopped = (0..50).any(|_| {
            let _ = std::fs::remove_file(&target);
            let ctl = Control::default();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while ctl.done() < 2 << 20 {
                        std::hint::spin_loop();
                    }
                    ctl.cancel();
                });
                let sealed = engine.seal(Source::Path(&disk), Target::Path(&target), &policy, &options, &ctl);
                matches!(sealed, Err(Error::Cancelled))
            })
        });
        assert!(stopped, "no run could be stopped in time");
        let resume = SealOptions { resume: true, ..options };
        let summary = seal_with(&engine, &policy, &disk, &target, &resume).expect("resumes");
        assert!(summary.resumed >= 1 << 20, "only {} bytes were kept", summary.resumed);
        assert!(summary.resumed < len);
        let verdict = engine.verify(File::open(&target).expect("opens"), 2, &Control::default()).expect("verifies");
        assert_eq!(verdict.root, summary.root);
        let out = temporary.path().join("out");
        open(&engine, &target, &out).expect("opens");
        assert!(same_bytes(&out, &disk), "{suite}");
        std::fs::remove_file(&out).expect("removes");
        std::fs::remove_file(&target).expect("removes");
    }
}
