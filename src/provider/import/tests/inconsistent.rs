//! RSA numbers that do not belong together, in PKCS#1.

use der::asn1::{BitStringRef, OctetStringRef, UintRef};
use der::{Decode, Encode};

use super::*;

#[test]
fn every_changed_private_number_is_noticed() {
    for number in 0..8 {
        let size = numbers()[number].len();
        for at in [0, size / 2, size - 1] {
            let mut changed = numbers();
            changed[number][at] ^= 4;
            let reason = refusal(&encode(&changed));
            let allowed: &[&str] = match number {
                // A smaller modulus is noticed by its size.
                0 => &["Inconsistent", "Size(2047)", "Size(2048)"],
                1 => &["Inconsistent", "Exponent"],
                _ => &["Inconsistent"],
            };
            assert!(allowed.contains(&reason.as_str()), "number {number} byte {at}: {reason}");
        }
    }
}

#[test]
fn bad_exponents_are_named_even_when_nothing_else_fits() {
    for exponent in [vec![0], vec![1], vec![3], vec![17], vec![1, 0, 0], vec![0xff, 0xff], vec![4, 0, 0, 0, 1]] {
        let mut changed = numbers();
        changed[1] = exponent.clone();
        assert_eq!(refusal(&encode(&changed)), "Exponent", "{exponent:?}");
    }
}

#[test]
fn private_numbers_of_another_key_are_noticed() {
    let other = numbers_of("rsa3072.pkcs8");
    for number in 2..8 {
        let mut changed = numbers();
        changed[number].clone_from(&other[number]);
        assert_eq!(refusal(&encode(&changed)), "Inconsistent", "number {number}");
    }
}

#[test]
fn key_without_its_factors_is_refused() {
    for from in [3, 5] {
        let mut changed = numbers();
        changed[from..].iter_mut().for_each(|number| *number = vec![0]);
        assert_eq!(refusal(&encode(&changed)), "Inconsistent");
    }
}

#[test]
fn primes_that_change_places_need_another_coefficient() {
    let key = numbers();
    assert_eq!(refusal(&encode(&[0, 1, 2, 4, 3, 6, 5, 7].map(|number| key[number].clone()))), "Inconsistent");
}

#[test]
fn public_half_in_pkcs8_must_be_the_keys() {
    let (own, other) = (key_der("rsa2048.pkcs1-public"), {
        let pkcs8 = RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(key_der("rsa3072.pkcs8"))).expect("a key");
        let public = pkcs8.public().expect("a public half");
        let info = pkcs8::spki::SubjectPublicKeyInfoRef::from_der(public.spki_der()).expect("SPKI");
        info.subject_public_key.as_bytes().expect("bytes").to_vec()
    });
    let pkcs1 = key_der("rsa2048.pkcs1");
    let file = |public: &[u8]| {
        let mut info = pkcs8::PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, OctetStringRef::new(&pkcs1).expect("short"));
        info.public_key = Some(BitStringRef::from_bytes(public).expect("short"));
        SecretBytes::taken_from(info.to_der().expect("DER"))
    };
    assert_eq!(thumbprint(&Importer::new().read(&file(&own)).expect("a key")), expected(2048));
    assert_eq!(refusal(&file(&other)), "Inconsistent");
}

fn numbers() -> [Vec<u8>; 8] {
    numbers_of("rsa2048.pkcs8")
}

/// Returns n, e, d, p, q, dp, dq and qi.
fn numbers_of(name: &str) -> [Vec<u8>; 8] {
    let der = key_der(name);
    let info = pkcs8::PrivateKeyInfoRef::from_der(&der).expect("PKCS#8");
    let key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).expect("PKCS#1");
    [
        key.modulus,
        key.public_exponent,
        key.private_exponent,
        key.prime1,
        key.prime2,
        key.exponent1,
        key.exponent2,
        key.coefficient,
    ]
    .map(|number| number.as_bytes().to_vec())
}

fn encode(numbers: &[Vec<u8>; 8]) -> SecretBytes {
    let [n, e, d, p, q, dp, dq, qi] = numbers.each_ref().map(|number| UintRef::new(number).expect("short"));
    let key = pkcs1::RsaPrivateKeyRef {
        modulus: n,
        public_exponent: e,
        private_exponent: d,
        prime1: p,
        prime2: q,
        exponent1: dp,
        exponent2: dq,
        coefficient: qi,
        other_prime_infos: None,
    };
    SecretBytes::taken_from(key.to_der().expect("DER"))
}
