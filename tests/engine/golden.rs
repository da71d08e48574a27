//! Golden containers: made again byte for byte, and opened, by everything that reads.

use std::process::Command;

use sha2::{Digest, Sha256};
use sobre::Engine;
use sobre::engine::{Control, EpochFolder, OpenOptions, Source, Target, inspect, verify_keyless};
use sobre::oaep::WrapAlgorithm;
use std::sync::Arc;

use crate::common::golden::{self, hex};
use crate::common::oracle::Oracle;
use crate::common::{CUSTOMER, LARGE, PLATFORM, SMALL_EXTRA, engine_with, test_key};

const ALL_KEYS: [&str; 4] = [CUSTOMER, PLATFORM, LARGE, SMALL_EXTRA];

#[test]
fn golden_containers_are_reproduced() {
    let bless = std::env::var_os("SOBRE_BLESS").is_some();
    let mut lines = Vec::new();
    let mut total = 0;
    for spec in golden::all() {
        let (container, manifest, root) = spec.seal(1);
        let (again, manifest_again, _) = spec.seal(3);
        assert!(container == again && manifest == manifest_again, "{}: depends on the number of workers", spec.name);
        total += container.len() + manifest.len();
        lines.push(spec.entry(&root).to_string());
        let mut files =
            vec![(format!("{}.sobre", spec.name), container), (format!("{}.manifest", spec.name), manifest)];
        files.extend(spec.records().into_iter().map(|record| (record.header.id.file_name(), record.encode())));
        for (name, bytes) in files {
            let path = golden::folder().join(name);
            if bless {
                std::fs::write(&path, &bytes).expect("writes");
            }
            assert!(std::fs::read(&path).expect("SOBRE_BLESS=1 makes it") == bytes, "{} differs", path.display());
        }
    }
    let index = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = golden::folder().join("index.json");
    if bless {
        std::fs::write(&path, &index).expect("writes");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("SOBRE_BLESS=1 makes it"), index);
    assert!(total < 6 << 20, "{total} bytes are too many for a repository");
}

#[test]
fn golden_containers_open_and_verify() {
    let engine = engine_with(&ALL_KEYS);
    for spec in golden::all() {
        let container = golden::read(&format!("{}.sobre", spec.name));
        let disk = spec.disk();
        let reader = engine.open(container.as_slice()).expect(&spec.name);
        assert!(reader.warnings().is_empty());
        assert_eq!(reader.len(), disk.len() as u64);
        let mut found = vec![1; disk.len()];
        assert_eq!(reader.read_at(&mut found, 0).expect("reads"), disk.len());
        assert!(found == disk, "{}", spec.name);
        let verdict = engine.verify(container.as_slice(), 1, &Control::default()).expect(&spec.name);
        assert!(verdict.authentic);
        let keyless = verify_keyless(container.as_slice(), Some(&verdict.root), 1, &Control::default());
        assert_eq!(keyless.expect("no damage").root, verdict.root);
        let labels: Vec<_> = verdict.header.labels.iter().collect();
        assert_eq!(labels, spec.labels);
    }
}

#[test]
fn golden_containers_open_from_a_pipe_with_their_manifest() {
    let engine = engine_with(&ALL_KEYS);
    for spec in golden::all() {
        let container = golden::read(&format!("{}.sobre", spec.name));
        let options = OpenOptions {
            workers: 2,
            manifest: Some(golden::folder().join(format!("{}.manifest", spec.name))),
            ..OpenOptions::default()
        };
        let mut out = Vec::new();
        engine
            .open_whole(
                Source::Stream(&mut container.as_slice()),
                Target::Stream(&mut out),
                &options,
                &Control::default(),
            )
            .expect(&spec.name);
        assert!(out == spec.disk(), "{}", spec.name);
    }
}

#[test]
fn any_one_key_of_every_layer_opens_a_golden_container() {
    let several = |spec: &golden::Golden| spec.epochs.is_empty() && spec.keys.iter().any(|keys| keys.len() > 1);
    for spec in golden::all().into_iter().filter(several) {
        let container = golden::read(&format!("{}.sobre", spec.name));
        let plain = |name: &&'static str| name.trim_start_matches("sha1:");
        let last = vec![""];
        let second = spec.keys.get(1).unwrap_or(&last);
        for first in &spec.keys[0] {
            for second in second {
                let keys: Vec<_> = [plain(first), plain(second)].into_iter().filter(|key| !key.is_empty()).collect();
                let engine = engine_with(&keys);
                let reader = engine.open(container.as_slice()).unwrap_or_else(|error| panic!("{keys:?}: {error}"));
                assert_eq!(reader.len(), spec.disk_len as u64);
            }
        }
    }
}

#[test]
fn one_unwrap_per_layer_opens_a_container() {
    for (name, layers) in [("blake3-512-1", 1), ("gcm-512-1", 2)] {
        let oracle = Arc::new(Oracle::new(&ALL_KEYS, WrapAlgorithm::RsaOaep256));
        let engine = Engine::new(vec![oracle.clone()]);
        engine.open(golden::read(&format!("{name}.sobre"))).expect("opens");
        assert_eq!(oracle.unwrapped(), layers, "{name}");
    }
}

#[test]
fn inspection_needs_no_key_and_names_every_key() {
    let container = golden::read("gcm-4096-two-keys.sobre");
    let description = inspect(container.as_slice()).expect("inspects");
    let locators: Vec<Vec<_>> = description
        .sections
        .iter()
        .map(|section| section.entries.iter().flat_map(|entry| entry.locators.clone()).collect())
        .collect();
    assert_eq!(
        locators,
        [["oracle/test-rsa4096@1", "oracle/test-rsa3072@1"], ["oracle/test-rsa2056@1", "oracle/test-rsa2048@1"]]
    );
    assert_eq!(description.footer.expect("a footer").shape.disk_len, 8192);
    assert_eq!(description.file_len, container.len() as u64);
}

#[test]
fn either_the_epoch_keys_kek_or_the_key_beside_it_opens_a_layer() {
    let container = golden::read("gcm-512-epoch.sobre");
    for customer in [CUSTOMER, LARGE] {
        let reader = engine_with(&[customer, PLATFORM]).open(container.as_slice()).expect(customer);
        assert_eq!(reader.len(), 70_000);
    }
    for lacking in [vec![CUSTOMER, LARGE], vec![PLATFORM]] {
        let error = engine_with(&lacking).open(container.as_slice()).expect_err("a layer has no key");
        assert_eq!(error.kind(), sobre::ErrorKind::NotFound, "{lacking:?}");
    }
}

/// The other direction: what the independent writer makes, this engine opens.
#[test]
#[ignore = "needs python3 with cryptography and blake3; run by tests/run.sh"]
fn containers_of_the_independent_writer_open() {
    let python = std::env::var("SOBRE_PYTHON").expect("SOBRE_PYTHON names a python");
    let writer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent_reader/writer.py");
    let folder = crate::common::folder();
    let [disk, snapshot, manifest] = ["disk", "snapshot", "manifest"].map(|name| folder.path().join(name));
    let engine = engine_with(&ALL_KEYS).with_epochs(vec![Arc::new(EpochFolder::of(&snapshot))]);
    for spec in golden::all() {
        std::fs::write(&disk, spec.disk()).expect("writes");
        let mut command = Command::new(&python);
        command.arg(writer).arg(&disk).arg(&snapshot);
        let suite = spec.suite.name();
        let code = ["xts-blake3", "xts-gmac", "xts-gcm"].iter().position(|name| *name == suite).expect("known") + 1;
        command.args(["--suite", &code.to_string(), "--seed", &spec.name]);
        command.args(["--sector-log2", &spec.sector.log2().to_string()]);
        command.args(["--chunk-log2", &spec.chunk_log2.to_string()]);
        command.arg("--manifest").arg(&manifest);
        for (keys, option) in spec.keys.iter().zip(["--pub", "--pub2"]) {
            for name in keys {
                let name = name.trim_start_matches("sha1:");
                if name != SMALL_EXTRA {
                    command.arg(option).arg(test_key(&name.replace("pkcs8", "spki")));
                }
            }
        }
        for (name, option) in spec.epochs.iter().zip(["--epoch", "--epoch2"]) {
            let name = name.trim_start_matches("sha1:");
            command.arg(option).arg(test_key(&name.replace("pkcs8", "spki")));
        }
        assert!(command.status().expect("runs").success(), "{}", spec.name);
        let bytes = std::fs::read(&snapshot).expect("written");
        let reader = engine.open(bytes.as_slice()).expect(&spec.name);
        let mut found = vec![1; spec.disk_len];
        assert_eq!(reader.read_at(&mut found, 0).expect("reads"), spec.disk_len);
        assert_eq!(hex(&Sha256::digest(&found)), hex(&Sha256::digest(spec.disk())), "{}", spec.name);
        engine.verify(bytes.as_slice(), 1, &Control::default()).expect(&spec.name);
        let opener = engine
            .open_parts(&bytes[..2 * sobre::format::HEAD_LEN], &std::fs::read(&manifest).expect("written"))
            .expect("the manifest fits");
        assert_eq!(opener.disk_len(), spec.disk_len as u64);
    }
}
