//! CRC-64/NVME and BLAKE3 against published and self-made vectors.

use super::*;
use crate::testing::load;

#[test]
fn crc64_vectors_agree() {
    for test in load("crc64nvme/check.json", 38).iter().flat_map(|group| &group.tests) {
        let data: Vec<u8> = test.bytes("unit").into_iter().cycle().take(test.number("length")).collect();
        assert_eq!(data.len(), test.number("length"));
        assert_eq!(crc64(&data), u64::from_be_bytes(test.array("crc")), "{}", test.text("id"));
    }
}

#[test]
fn blake3_vectors_agree() {
    for test in load("blake3/official.json", 44).iter().flat_map(|group| &group.tests) {
        let data: Vec<u8> = (0..251).cycle().take(test.number("length")).collect();
        assert_eq!(blake3(&data), test.array("digest"), "{}", test.text("id"));
    }
}

#[test]
fn any_changed_bit_changes_both() {
    let data = [0x5a; 70];
    for bit in 0..8 * data.len() {
        let mut changed = data;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(crc64(&changed), crc64(&data));
        assert_ne!(blake3(&changed), blake3(&data));
    }
}
