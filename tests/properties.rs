//! Properties of the engine over random disks, geometries, cuts and flips. `PROPTEST_CASES` makes it many more.

mod common;

use std::fs::File;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rayon::prelude::*;
use sobre::engine::{Control, OpenOptions, SealOptions, SealPolicy, Source, Target, Warning, inspect, verify_keyless};
use sobre::format::{ChunkSize, Suite};
use sobre::io::partial_path;
use sobre::xts::SectorSize;
use sobre::{Engine, Error, ErrorKind};

use common::forge::{BODY, Forge, HEAD};
use common::oracle::Remembering;
use common::{
    CUSTOMER, PLATFORM, golden, open, pem_files, policy_for, same_bytes, seal_with, small_chunks, sparse_file,
};

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(vec![Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm])
}

/// A disk: its length, and pieces of data as (where, length, byte), `where` as a fraction of 2^32.
fn disks(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..=max, Just(0), Just(65536), (1..=max / 65536).prop_map(|count| count * 65536)];
    (len, prop::collection::vec((any::<u32>(), 1..150_000_usize, any::<u64>()), 0..4)).prop_map(|(len, pieces)| {
        let mut disk = vec![0; len];
        for (place, count, seed) in pieces {
            let start = usize::try_from((u64::from(place) * len as u64) >> 32).expect("inside");
            let end = len.min(start + count);
            disk[start..end].copy_from_slice(&common::disk_of(end - start, seed));
        }
        disk
    })
}

fn policy_of(suite: Suite, sector: SectorSize, log2: u8) -> (Engine, SealPolicy) {
    let (engine, policy) = policy_for(suite);
    (engine, policy.sector_size(sector).chunk_size(ChunkSize::from_log2(log2).expect("a size")))
}

/// Three pages, almost all holes, and the finished snapshot of each suite.
struct Long {
    folder: tempfile::TempDir,
    whole: Vec<u8>,
    body_end: usize,
    suite: Suite,
}

static LONG: LazyLock<Vec<Long>> = LazyLock::new(|| {
    [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm]
        .into_iter()
        .map(|suite| {
            let folder = common::folder();
            let disk = folder.path().join("disk");
            let data = [3_u8; 40_000];
            let pieces: [(u64, &[u8]); 6] = [
                (0, &data),
                (65536 * 3, &data),
                (65536 * 1018, &data),
                (65536 * 1500, &data),
                (65536 * 2039, b"x"),
                (65536 * 2099, b"y"),
            ];
            sparse_file(&disk, 65536 * 2100 - 100, &pieces);
            let (engine, policy) = small_chunks(suite);
            let target = folder.path().join("whole");
            common::seal(&engine, &policy, &disk, &target).expect("seals");
            let whole = std::fs::read(&target).expect("reads");
            let body_end = Forge::new(&whole).index;
            Long { folder, whole, body_end, suite }
        })
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_opens_to_the_same_bytes(
        suite in suites(),
        disk in disks(1_200_000),
        log2 in 16..=20_u8,
        large_sectors in any::<bool>(),
        sparse in any::<bool>(),
        workers in 1..4_usize,
        piped in any::<bool>(),
    ) {
        let mut disk = disk;
        let sector = if large_sectors { SectorSize::Bytes4096 } else { SectorSize::Bytes512 };
        if large_sectors {
            disk.truncate(disk.len() / 4096 * 4096);
        }
        let (engine, policy) = policy_of(suite, sector, log2);
        let options = SealOptions { workers, sparse, ..SealOptions::default() };
        let folder = common::folder();
        let [source, target, out] = ["disk", "snapshot", "out"].map(|name| folder.path().join(name));
        std::fs::write(&source, &disk).expect("writes");
        let sealed = if piped {
            let mut bytes = Vec::new();
            let sealed = engine.seal(
                Source::Stream(&mut disk.as_slice()), Target::Stream(&mut bytes), &policy, &options, &Control::default(),
            ).expect("seals");
            std::fs::write(&target, bytes).expect("writes");
            sealed
        } else {
            seal_with(&engine, &policy, &source, &target, &options).expect("seals")
        };
        prop_assert_eq!(sealed.disk_len, disk.len() as u64);
        let file = File::open(&target).expect("opens");
        prop_assert_eq!(sealed.file_len, file.metadata().expect("stats").len());
        let options = OpenOptions { workers, ..OpenOptions::default() };
        engine.open_whole(Source::Path(&target), Target::Path(&out), &options, &Control::default()).expect("opens");
        prop_assert!(same_bytes(&source, &out));
        let verdict = engine.verify(&file, workers, &Control::default()).expect("verifies");
        prop_assert_eq!(verdict.root, sealed.root);
        verify_keyless(&file, Some(&sealed.root), workers, &Control::default()).expect("no damage");
    }

    #[test]
    fn reading_at_any_place_gives_the_slice(
        suite in suites(),
        disk in disks(700_000),
        reads in prop::collection::vec((0..750_000_u64, 0..200_000_usize), 1..12),
    ) {
        let (engine, policy) = small_chunks(suite);
        let mut bytes = Vec::new();
        let options = SealOptions { workers: 1, ..SealOptions::default() };
        engine.seal(
            Source::Stream(&mut disk.as_slice()), Target::Stream(&mut bytes), &policy, &options, &Control::default(),
        ).expect("seals");
        let reader = engine.open(bytes).expect("opens");
        for (offset, len) in reads {
            let start = usize::try_from(offset).expect("small").min(disk.len());
            let end = disk.len().min(start + len);
            let mut buf = vec![0xA5; len];
            let count = reader.read_at(&mut buf, offset).expect("reads");
            prop_assert_eq!(count, end - start);
            prop_assert!(buf[..count] == disk[start..end]);
            prop_assert!(buf[count..].iter().all(|&byte| byte == 0xA5), "nothing behind the end is touched");
        }
    }

    #[test]
    fn a_run_goes_on_after_any_cut_and_any_damage(
        which in 0..3_usize,
        cut in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..3),
        workers in 1..4_usize,
    ) {
        let long = &LONG[which];
        let (engine, policy) = small_chunks(long.suite);
        let folder = common::folder();
        let [target, out] = ["snapshot", "out"].map(|name| folder.path().join(name));
        // The heads stay whole; the body is cut and damaged anywhere.
        let mut partial = long.whole[..BODY + cut.index(long.whole.len() - BODY + 1)].to_vec();
        for (place, flip) in damage {
            if partial.len() > BODY {
                let at = BODY + place.index(partial.len() - BODY);
                partial[at] ^= flip;
            }
        }
        std::fs::write(partial_path(&target), &partial).expect("writes");
        let disk = long.folder.path().join("disk");
        let options = SealOptions { workers, resume: true, ..SealOptions::default() };
        let sealed = seal_with(&engine, &policy, &disk, &target, &options).expect("goes on");
        prop_assert_eq!(sealed.file_len, long.whole.len() as u64);
        prop_assert_eq!(sealed.resumed % (1020 * 65536), 0);
        engine.verify(File::open(&target).expect("opens"), workers, &Control::default()).expect("verifies");
        open(&engine, &target, &out).expect("opens");
        prop_assert!(same_bytes(&disk, &out));
        prop_assert!(!partial_path(&target).exists());
    }

    #[test]
    fn a_long_snapshot_damaged_anywhere_never_opens_to_other_bytes(
        which in 0..3_usize,
        place in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let long = &LONG[which];
        let (engine, _) = small_chunks(long.suite);
        let at = BODY + place.index(long.whole.len() - BODY);
        let mut bytes = long.whole.clone();
        bytes[at] ^= flip;
        prop_assert!(at < long.body_end || engine.open(bytes.as_slice()).is_err());
        let error = engine.verify(bytes.as_slice(), 1, &Control::default()).expect_err("damaged");
        prop_assert_eq!(error.kind(), ErrorKind::Damaged, "{}", error);
        let error = verify_keyless(bytes.as_slice(), None, 1, &Control::default());
        // Without keys a MAC can't be checked, but it stands in a hashed page or under the footer's CRC.
        prop_assert_eq!(error.expect_err("damaged").kind(), ErrorKind::Damaged);
    }

    #[test]
    fn arbitrary_bytes_are_no_snapshot(
        bytes in prop::collection::vec(any::<u8>(), 0..70_000),
        magic in any::<bool>(),
    ) {
        let (engine, _) = small_chunks(Suite::XtsBlake3);
        let mut bytes = bytes;
        if magic && bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"\x89SOBRE\r\n");
        }
        prop_assert_eq!(engine.open(bytes.as_slice()).map(|_| ()).expect_err("junk").kind(), ErrorKind::Damaged);
        prop_assert!(inspect(bytes.as_slice()).is_err());
    }
}

/// The default number of cases, unless `PROPTEST_CASES` says otherwise.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Every byte of a tiny container, one bit each. Within the zero fill of the heads every 64th byte, at a phase that changes from
/// run to run; `SOBRE_EXHAUSTIVE=1` takes them all.
#[test]
fn a_flipped_bit_anywhere_is_detected() {
    let all = std::env::var_os("SOBRE_EXHAUSTIVE").is_some();
    let salt = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").subsec_nanos();
    println!("salt {salt}");
    for name in ["blake3-512-512", "gmac-512-512", "gcm-512-512"] {
        let good = golden::read(&format!("{name}.sobre"));
        let fill = Forge::new(&good).place("fill");
        let engine = Engine::new(vec![Arc::new(Remembering::new(pem_files(&[CUSTOMER, PLATFORM])))]);
        let flipped = |places: &[usize], at: usize| {
            let mut bytes = good.clone();
            let bit = 1 << ((at as u32).wrapping_mul(salt | 1) >> 7 & 7);
            for &place in places {
                bytes[place] ^= bit;
            }
            bytes
        };
        let wanted = |at: usize| all || at < fill || at >= 32_700 || (at + salt as usize).is_multiple_of(64);
        let tested: usize = (0..HEAD)
            .into_par_iter()
            .filter(|at| wanted(*at))
            .map(|at| {
                for head in [0_u8, 1] {
                    let bytes = flipped(&[usize::from(head) * HEAD + at], at);
                    // One damaged head: it opens, and says so.
                    let noticed = inspect(bytes.as_slice()).expect("the other head").warnings;
                    assert_eq!(noticed, [Warning::HeadDamaged { head }], "{name} {at}");
                    if at.is_multiple_of(16) {
                        assert_eq!(engine.open(bytes.as_slice()).expect("opens").warnings(), noticed);
                        match engine.verify(bytes.as_slice(), 1, &Control::default()) {
                            Err(Error::HeadDamaged { head: found }) => assert_eq!(found, head),
                            other => panic!("{name} {at}: {other:?}"),
                        }
                    }
                }
                let error = inspect(&flipped(&[at, HEAD + at], at)).map(|_| at).expect_err("no head");
                assert_eq!(error.kind(), ErrorKind::Damaged, "{name} {at}: {error}");
                1
            })
            .sum();
        assert!(tested > 1000);
        let body: usize = (BODY..good.len())
            .into_par_iter()
            .map(|at| {
                let bytes = flipped(&[at], at);
                let error = engine.verify(bytes.as_slice(), 1, &Control::default()).map(|_| at).expect_err("damaged");
                assert_eq!(error.kind(), ErrorKind::Damaged, "{name} {at}: {error}");
                verify_keyless(bytes.as_slice(), None, 1, &Control::default()).map(|_| at).expect_err("damaged");
                let mut out = [0; 512];
                let read = engine.open(bytes.as_slice()).and_then(|reader| reader.read_at(&mut out, 0));
                read.map(|_| at).expect_err("damaged");
                1
            })
            .sum();
        assert_eq!(body, good.len() - BODY);
    }
}
