//! The last gate of every import: the RSA numbers themselves (R38).

use der::{Decode, Encode};

use super::{Format, ImportError};
use crate::oaep::{RsaKeyError, RsaPrivateKey, WrapAlgorithm};
use crate::secret::SecretBytes;

/// Parses an unencrypted PKCS#8 `PrivateKeyInfo` in DER, and checks its key.
pub(super) fn from_pkcs8(pkcs8: &SecretBytes, format: Format) -> Result<RsaPrivateKey, ImportError> {
    let info = pkcs8::PrivateKeyInfoRef::from_der(pkcs8.expose()).map_err(|error| der_fault(&error, format))?;
    if info.algorithm.oid != pkcs1::ALGORITHM_OID {
        return Err(ImportError::Algorithm(algorithm_name(&info.algorithm.oid.to_string())));
    }
    if info.algorithm != pkcs1::ALGORITHM_ID {
        return Err(ImportError::Malformed(format));
    }
    let numbers = SecretBytes::copied_from(info.private_key.as_bytes());
    if let Some(public) = info.public_key {
        let private = pkcs1::RsaPrivateKeyRef::from_der(numbers.expose()).map_err(|error| der_fault(&error, format))?;
        let derived = private.public_key().to_der().map_err(|_| ImportError::Malformed(format))?;
        if public.as_bytes() != Some(derived.as_slice()) {
            return Err(ImportError::Inconsistent);
        }
    }
    from_pkcs1(&numbers, format)
}

/// As [`from_pkcs8`], for what a passphrase has decrypted without a MAC.
pub(super) fn from_decrypted(pkcs8: &SecretBytes, format: Format) -> Result<RsaPrivateKey, ImportError> {
    from_pkcs8(pkcs8, format).map_err(|error| match error {
        // Damage can make any exponent a bad one; a key whose numbers belong together was made with it.
        ImportError::Exponent if RsaPrivateKey::from_pkcs8_der(pkcs8).err() != Some(RsaKeyError::Exponent) => {
            ImportError::Undecryptable(format)
        }
        other => unauthenticated(other, format),
    })
}

/// Parses a PKCS#1 `RSAPrivateKey` in DER, and checks it.
pub(super) fn from_pkcs1(pkcs1: &SecretBytes, format: Format) -> Result<RsaPrivateKey, ImportError> {
    let numbers = pkcs1::RsaPrivateKeyRef::from_der(pkcs1.expose()).map_err(|error| der_fault(&error, format))?;
    if numbers.other_prime_infos.is_some() {
        return Err(ImportError::OtherPrimes);
    }
    let size = bit_length(numbers.modulus.as_bytes());
    if !SIZES.contains(&size) {
        return Err(ImportError::Size(size));
    }
    // AWS-LC checks p * q = n, d against e, p and q, and dp, dq, qi against all of them.
    let key = RsaPrivateKey::from_pkcs1_der(pkcs1).map_err(|error| match error {
        RsaKeyError::Exponent => ImportError::Exponent,
        _ if !exponent_fits(numbers.public_exponent.as_bytes()) => ImportError::Exponent,
        _ => ImportError::Inconsistent,
    })?;
    prove(&key)?;
    Ok(key)
}

/// Turns what a wrong passphrase or a damaged ciphertext may look like into the one error for it: there was no MAC.
///
/// Damage does not give another algorithm that has a name, a third prime or a size without breaking the structure as well.
fn unauthenticated(error: ImportError, format: Format) -> ImportError {
    match error {
        ImportError::Algorithm(name) if ALGORITHMS.iter().any(|(_, known)| *known == name) => {
            ImportError::Algorithm(name)
        }
        ImportError::Algorithm(_)
        | ImportError::Inconsistent
        | ImportError::IndefiniteLength
        | ImportError::Malformed(_)
        | ImportError::TrailingData(_) => ImportError::Undecryptable(format),
        other => other,
    }
}

/// Tells bytes behind a good structure from a bad structure.
pub(super) fn der_fault(error: &der::Error, format: Format) -> ImportError {
    match error.kind() {
        der::ErrorKind::TrailingData { .. } => ImportError::TrailingData(format),
        der::ErrorKind::IndefiniteLength => ImportError::IndefiniteLength,
        _ => ImportError::Malformed(format),
    }
}

/// Names the algorithm of an object identifier, where it has a name.
fn algorithm_name(oid: &str) -> String {
    ALGORITHMS.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| name).to_owned()
}

/// Unwraps what the public half wrapped: AWS-LC takes factors for primes without looking.
fn prove(key: &RsaPrivateKey) -> Result<(), ImportError> {
    let public = key.public().map_err(|_| ImportError::Inconsistent)?;
    let challenge = SecretBytes::copied_from(CHALLENGE);
    let wrapped = public.encrypt(WrapAlgorithm::RsaOaep256, &challenge).map_err(|_| ImportError::Inconsistent)?;
    let unwrapped = key.decrypt(WrapAlgorithm::RsaOaep256, &wrapped).map_err(|_| ImportError::Inconsistent)?;
    if unwrapped.ct_eq(challenge.expose()) { Ok(()) } else { Err(ImportError::Inconsistent) }
}

fn exponent_fits(exponent: &[u8]) -> bool {
    exponent.last().is_some_and(|last| last & 1 == 1) && (17..=33).contains(&bit_length(exponent))
}

fn bit_length(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|&&byte| byte == 0);
    digits.next().map_or(0, |first| digits.count() * 8 + first.checked_ilog2().map_or(0, |log| log as usize + 1))
}

const SIZES: [usize; 3] = [2048, 3072, 4096];

/// Not secret: OAEP makes it random.
const CHALLENGE: &[u8] = b"what a key wraps, it unwraps";

/// Object identifiers of the keys that people try to import.
const ALGORITHMS: [(&str, &str); 9] = [
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10045.2.1", "EC"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.113549.1.1.7", "RSAES-OAEP"),
    ("1.2.840.113549.1.3.1", "DH"),
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
];
