//! A hostile file costs neither memory nor time, whatever its counts say.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sobre::engine::{Control, OpenOptions, Source, Target, inspect, verify_keyless};

use crate::common::forge::{BODY, FOOTER, HEAD};
use crate::common::{CUSTOMER, PLATFORM, engine_with, golden, named};

/// The most that a disk can be with 64 KiB chunks: 2^28 of them, in 263173 pages.
const CHUNKS: u64 = 1 << 28;
const PAGES: u64 = CHUNKS.div_ceil(1020);

/// Makes a sparse snapshot of 17 GB whose footer says that: heads, CRC and root are good, the MAC can't be.
fn largest(path: &Path) {
    let base = golden::read("gmac-512-512.sobre");
    let index_offset = BODY as u64 + 256 * PAGES + 64 * CHUNKS;
    let index_len = 40 * PAGES;
    let mut footer = base[base.len() - FOOTER..].to_vec();
    for (at, value) in [
        (40, CHUNKS << 16),
        (48, CHUNKS),
        (56, 0),
        (64, PAGES),
        (72, index_offset),
        (80, index_offset + index_len + 192),
    ] {
        footer[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    let mut root = Sha256::new();
    root.update(b"sobre/1 root\0");
    root.update(Sha256::digest(&base[..1024]));
    root.update((CHUNKS << 16).to_le_bytes());
    root.update(vec![0; usize::try_from(index_len).expect("10 MB")]);
    footer[88..120].copy_from_slice(&root.finalize());
    let mut crc = crc64fast_nvme::Digest::new();
    crc.write(&footer[..184]);
    footer[184..].copy_from_slice(&crc.sum64().to_le_bytes());
    let file = File::create(path).expect("creates");
    file.write_all_at(&base[..BODY], 0).expect("writes");
    file.write_all_at(&footer, index_offset + index_len).expect("writes");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("reads");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn the_largest_counts_cost_a_second_and_64_mib_at_most() {
    if let Some(folder) = std::env::var_os("SOBRE_TEST_FOLDER") {
        return refuse_all(Path::new(&folder));
    }
    let folder = crate::common::folder();
    largest(&folder.path().join("largest"));
    // A manifest and a sidecar may be as long as they like, too.
    File::create(folder.path().join("terabyte")).expect("creates").set_len(1 << 40).expect("sparse");
    std::fs::write(folder.path().join("good"), golden::read("gmac-512-512.sobre")).expect("writes");
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "bounds::the_largest_counts_cost_a_second_and_64_mib_at_most", "--nocapture"])
        .env("SOBRE_TEST_FOLDER", folder.path())
        .output()
        .expect("a shell");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn refuse_all(folder: &Path) {
    let engine = engine_with(&[CUSTOMER, PLATFORM]);
    let before = peak_kib();
    let mut checks = 0;
    let mut within = |what: &str, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        checks += 1;
        assert!(begun.elapsed() < Duration::from_secs(1), "{what} takes {:?}", begun.elapsed());
        assert!(peak_kib() < before + 64 * 1024, "{what} takes {} KiB more", peak_kib() - before);
    };
    let largest = File::open(folder.join("largest")).expect("opens");
    let ctl = Control::default();
    within("opening", &mut || assert_eq!(named(&engine.open(&largest).map(|_| ()).expect_err("forged")), "footer mac"));
    within("verifying", &mut || {
        assert_eq!(named(&engine.verify(&largest, 2, &ctl).expect_err("forged")), "footer mac");
    });
    within("verifying without keys", &mut || {
        let error = verify_keyless(&largest, None, 2, &ctl).expect_err("an index of zeros");
        assert_eq!(named(&error), "index range page offset");
    });
    within("inspecting", &mut || {
        assert_eq!(inspect(&largest).expect("it says so").footer.expect("a footer").shape.page_count, PAGES as u32);
    });
    let terabyte = File::open(folder.join("terabyte")).expect("opens");
    within("a terabyte of zeros", &mut || {
        assert_eq!(named(&engine.open(&terabyte).map(|_| ()).expect_err("zeros")), "head-a magic");
    });
    for (manifest, sidecar) in [(true, false), (false, true)] {
        let name = |wanted: bool| wanted.then(|| folder.join("terabyte"));
        let options = OpenOptions { manifest: name(manifest), sidecar: name(sidecar), ..OpenOptions::default() };
        within("a terabyte beside a snapshot", &mut || {
            let error = engine
                .open_whole(
                    Source::Path(&folder.join("good")),
                    Target::Path(&folder.join("out")),
                    &options,
                    &Control::default(),
                )
                .expect_err("zeros");
            assert_eq!(error.kind(), sobre::ErrorKind::Damaged, "{error}");
            assert!(!folder.join("out").exists());
        });
    }
    let heads = golden::read("gmac-512-512.sobre")[..HEAD].to_vec();
    for len in [0, 1023, 1024, 1024 + 192, 1 << 20] {
        within("a manifest of zeros", &mut || {
            engine.open_parts(&heads, &vec![0; len]).map(|_| ()).expect_err("zeros");
        });
    }
    assert_eq!(checks, 12);
}
