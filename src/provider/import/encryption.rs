//! Password-based encryption of keys: PBES2 (RFC 8018 §6.2) and what PKCS#12 had before it (RFC 7292 appendices B and C).

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Sequence};
use hmac::{Hmac, Mac};
use pkcs5::pbes2::{EncryptionScheme, Kdf, PBES2_OID, Parameters, Pbkdf2Prf, ScryptParams};
use pkcs8::spki::AlgorithmIdentifier;
use pkcs12::kdf::{Pkcs12KeyType, derive_key};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::{Format, ImportError, Passphrase};
use crate::secret::SecretBytes;

/// An algorithm with its parameters, undecoded.
pub(super) type Algorithm<'a> = AlgorithmIdentifier<AnyRef<'a>>;

/// `EncryptedPrivateKeyInfo` (RFC 5958 §3).
#[derive(Sequence)]
pub(super) struct EncryptedKey<'a> {
    pub(super) algorithm: Algorithm<'a>,
    pub(super) data: &'a OctetStringRef,
}

/// `MacData` without its digest's wrapping (RFC 7292 §4).
pub(super) struct PfxMac<'a> {
    pub(super) digest: &'a str,
    pub(super) salt: &'a [u8],
    pub(super) iterations: u32,
    pub(super) expected: &'a [u8],
}

/// The passphrase of one file, and the work that may still be done for it.
pub(super) struct Unlock<'a> {
    ask: Option<&'a mut Passphrase<'a>>,
    passphrase: Option<SecretBytes>,
    /// PKCS#12 writers disagree on what no passphrase is: an empty text with its end mark, or nothing at all.
    without_end_mark: bool,
    work: u64,
}

impl<'a> Unlock<'a> {
    pub(super) fn new(ask: Option<&'a mut Passphrase<'a>>) -> Self {
        Self { ask, passphrase: None, without_end_mark: false, work: MAX_WORK }
    }

    /// Decrypts `data`, without finding out whether the passphrase is right: only a MAC or the content can tell.
    pub(super) fn decrypt(
        &mut self,
        algorithm: &Algorithm<'_>,
        data: &[u8],
        format: Format,
    ) -> Result<SecretBytes, ImportError> {
        if algorithm.oid == PBES2_OID {
            self.decrypt_pbes2(algorithm, data, format)
        } else {
            self.decrypt_pkcs12(algorithm, data, format)
        }
    }

    /// Checks the MAC of a PFX file over `content`.
    pub(super) fn check(&mut self, mac: &PfxMac<'_>, content: &[u8]) -> Result<(), ImportError> {
        match mac.digest {
            "1.3.14.3.2.26" => self.check_with::<Hmac<Sha1>, Sha1>(mac, content),
            "2.16.840.1.101.3.4.2.1" => self.check_with::<Hmac<Sha256>, Sha256>(mac, content),
            "2.16.840.1.101.3.4.2.2" => self.check_with::<Hmac<Sha384>, Sha384>(mac, content),
            "2.16.840.1.101.3.4.2.3" => self.check_with::<Hmac<Sha512>, Sha512>(mac, content),
            other => Err(ImportError::Encryption(encryption_name(other))),
        }
    }

    fn check_with<M: Mac + hmac::KeyInit, D: Pkcs12Digest>(
        &mut self,
        mac: &PfxMac<'_>,
        content: &[u8],
    ) -> Result<(), ImportError> {
        let len = <D as hmac::digest::OutputSizeUser>::output_size();
        // Without an end mark there is nothing left of an empty passphrase.
        let variants = if self.passphrase()?.is_empty() { [false, true].as_slice() } else { &[false] };
        for &without_end_mark in variants {
            self.without_end_mark = without_end_mark;
            let key = self.pkcs12_key::<D>(Pkcs12KeyType::Mac, mac.salt, mac.iterations, len)?;
            let mut state = <M as hmac::KeyInit>::new_from_slice(&key).map_err(|_| wrong(Format::Pfx))?;
            state.update(content);
            if state.verify_slice(mac.expected).is_ok() {
                return Ok(());
            }
        }
        Err(wrong(Format::Pfx))
    }

    fn decrypt_pbes2(
        &mut self,
        algorithm: &Algorithm<'_>,
        data: &[u8],
        format: Format,
    ) -> Result<SecretBytes, ImportError> {
        let parameters = algorithm.parameters.and_then(|parameters| parameters.to_der().ok()).unwrap_or_default();
        let parameters = Parameters::from_der(&parameters).map_err(|error| match error.kind() {
            der::ErrorKind::OidUnknown { oid } => ImportError::Encryption(encryption_name(&oid.to_string())),
            _ => ImportError::Malformed(format),
        })?;
        let key_len = parameters.encryption.key_size();
        if parameters.kdf.key_length().is_some_and(|len| usize::from(len) != key_len) {
            return Err(ImportError::Malformed(format));
        }
        let mut key = SecretBytes::zeroed(key_len);
        match &parameters.kdf {
            Kdf::Pbkdf2(kdf) => {
                let (hash, blocks) = match kdf.prf {
                    // A hash of 20 bytes takes two turns for a key of 24 or 32.
                    Pbkdf2Prf::HmacWithSha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 2),
                    Pbkdf2Prf::HmacWithSha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 1),
                    Pbkdf2Prf::HmacWithSha384 => (pbkdf2::PBKDF2_HMAC_SHA384, 1),
                    Pbkdf2Prf::HmacWithSha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 1),
                    other => return Err(ImportError::Encryption(other.oid().to_string())),
                };
                let iterations = NonZeroU32::new(kdf.iteration_count).ok_or(ImportError::Malformed(format))?;
                self.spend(u64::from(kdf.iteration_count).saturating_mul(blocks))?;
                pbkdf2::derive(hash, iterations, kdf.salt.as_ref(), self.passphrase()?.expose(), key.expose_mut());
            }
            Kdf::Scrypt(kdf) => {
                let cost = self.scrypt_cost(kdf, format)?;
                scrypt::scrypt(self.passphrase()?.expose(), kdf.salt.as_ref(), &cost, key.expose_mut())
                    .map_err(|_| ImportError::Malformed(format))?;
            }
            _ => return Err(ImportError::Encryption("another key derivation".into())),
        }
        match &parameters.encryption {
            EncryptionScheme::Aes128Cbc { iv } => cbc_decrypt::<aes::Aes128>(&key, iv, data, format),
            EncryptionScheme::Aes192Cbc { iv } => cbc_decrypt::<aes::Aes192>(&key, iv, data, format),
            EncryptionScheme::Aes256Cbc { iv } => cbc_decrypt::<aes::Aes256>(&key, iv, data, format),
            other => Err(ImportError::Encryption(encryption_name(&other.oid().to_string()))),
        }
    }

    fn decrypt_pkcs12(
        &mut self,
        algorithm: &Algorithm<'_>,
        data: &[u8],
        format: Format,
    ) -> Result<SecretBytes, ImportError> {
        let name = algorithm.oid.to_string();
        let Some(&(_, key_len, decrypt)) = PKCS12_CIPHERS.iter().find(|(known, ..)| *known == name) else {
            return Err(ImportError::Encryption(encryption_name(&name)));
        };
        let parameters: Pkcs12Parameters<'_> = algorithm
            .parameters
            .and_then(|parameters| parameters.decode_as().ok())
            .ok_or(ImportError::Malformed(format))?;
        let (salt, iterations) = (parameters.salt.as_bytes(), parameters.iterations);
        let key = self.pkcs12_key::<Sha1>(Pkcs12KeyType::EncryptionKey, salt, iterations, key_len)?;
        let iv = self.pkcs12_key::<Sha1>(Pkcs12KeyType::Iv, salt, iterations, DES_BLOCK)?;
        decrypt(&SecretBytes::copied_from(&key), &iv, data, format)
    }

    /// Derives a key or an IV in PKCS#12's own way (RFC 7292 appendix B).
    fn pkcs12_key<D: Pkcs12Digest>(
        &mut self,
        purpose: Pkcs12KeyType,
        salt: &[u8],
        iterations: u32,
        len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        let blocks = len.div_ceil(<D as hmac::digest::OutputSizeUser>::output_size());
        self.spend(u64::from(iterations).saturating_mul(u64::try_from(blocks).unwrap_or(u64::MAX)))?;
        let rounds = i32::try_from(iterations).map_err(|_| ImportError::Cost)?;
        let without_end_mark = self.without_end_mark;
        let passphrase = utf16(self.passphrase()?, without_end_mark)?;
        Ok(Zeroizing::new(derive_key::<D>(passphrase.expose(), salt, purpose, rounds, len)))
    }

    fn scrypt_cost(&mut self, kdf: &ScryptParams, format: Format) -> Result<scrypt::Params, ImportError> {
        let (cost, block, turns) = (kdf.cost_parameter, u64::from(kdf.block_size), u64::from(kdf.parallelization));
        // All turns' blocks are held at once, beside the table of one turn (RFC 7914 §6).
        if cost.saturating_add(turns).saturating_mul(block) > MAX_SCRYPT_MEMORY / SCRYPT_BLOCK {
            return Err(ImportError::Cost);
        }
        self.spend(cost.saturating_mul(block).saturating_mul(turns))?;
        if !cost.is_power_of_two() {
            return Err(ImportError::Malformed(format));
        }
        let log = u8::try_from(cost.trailing_zeros()).map_err(|_| ImportError::Malformed(format))?;
        scrypt::Params::new(log, kdf.block_size.into(), kdf.parallelization.into())
            .map_err(|_| ImportError::Malformed(format))
    }

    /// Takes `work` from what is left for the file: many small derivations add up.
    fn spend(&mut self, work: u64) -> Result<(), ImportError> {
        self.work = self.work.checked_sub(work).ok_or(ImportError::Cost)?;
        Ok(())
    }

    fn passphrase(&mut self) -> Result<&SecretBytes, ImportError> {
        if self.passphrase.is_none() {
            let ask = self.ask.as_mut().ok_or(ImportError::PassphraseNeeded)?;
            self.passphrase = Some(ask().map_err(ImportError::Passphrase)?);
        }
        self.passphrase.as_ref().ok_or(ImportError::PassphraseNeeded)
    }
}

/// What PKCS#12's key derivation asks of a hash.
trait Pkcs12Digest: hmac::digest::Digest + hmac::digest::FixedOutputReset + hmac::digest::block_api::BlockSizeUser {}

impl<D: hmac::digest::Digest + hmac::digest::FixedOutputReset + hmac::digest::block_api::BlockSizeUser> Pkcs12Digest
    for D
{
}

/// `pkcs-12PbeParams` (RFC 7292 appendix C).
#[derive(Sequence)]
struct Pkcs12Parameters<'a> {
    salt: &'a OctetStringRef,
    iterations: u32,
}

type Decrypt = fn(&SecretBytes, &[u8], &[u8], Format) -> Result<SecretBytes, ImportError>;

fn cbc_decrypt<C: BlockCipherDecrypt + KeyInit>(
    key: &SecretBytes,
    iv: &[u8],
    data: &[u8],
    format: Format,
) -> Result<SecretBytes, ImportError> {
    let cipher = Decryptor::<C>::new_from_slices(key.expose(), iv).map_err(|_| wrong(format))?;
    let mut plaintext = SecretBytes::copied_from(data);
    let len = cipher.decrypt_padded::<Pkcs7>(plaintext.expose_mut()).map_err(|_| wrong(format))?.len();
    plaintext.truncate(len);
    Ok(plaintext)
}

/// Returns the passphrase as PKCS#12 has it: UTF-16, big-endian, with an end mark.
fn utf16(passphrase: &SecretBytes, without_end_mark: bool) -> Result<SecretBytes, ImportError> {
    let text = str::from_utf8(passphrase.expose()).map_err(|_| ImportError::PassphraseText)?;
    let mark = if without_end_mark { 0 } else { 2 };
    let mut units = SecretBytes::zeroed(text.encode_utf16().count() * 2 + mark);
    for (unit, out) in text.encode_utf16().zip(units.expose_mut().as_chunks_mut::<2>().0) {
        *out = unit.to_be_bytes();
    }
    Ok(units)
}

fn wrong(format: Format) -> ImportError {
    ImportError::Undecryptable(format)
}

fn encryption_name(oid: &str) -> String {
    NAMES.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| name).to_owned()
}

/// Turns of a hash or of scrypt's mixing of 128 bytes, for a whole file: some seconds at the slowest. Guides ask for 1,300,000 at most.
const MAX_WORK: u64 = 4_000_000;
/// Bytes.
const MAX_SCRYPT_MEMORY: u64 = 256 << 20;
/// Bytes that scrypt holds for each unit of (N + p) * r.
const SCRYPT_BLOCK: u64 = 128;
/// Bytes; RC2's is the same.
const DES_BLOCK: usize = 8;

/// PKCS#12's ciphers that can be read: identifier, key length in bytes, and how.
const PKCS12_CIPHERS: [(&str, usize, Decrypt); 4] = [
    ("1.2.840.113549.1.12.1.3", 24, cbc_decrypt::<des::TdesEde3>),
    ("1.2.840.113549.1.12.1.4", 16, cbc_decrypt::<des::TdesEde2>),
    ("1.2.840.113549.1.12.1.5", 16, cbc_decrypt::<rc2::Rc2>),
    ("1.2.840.113549.1.12.1.6", 5, cbc_decrypt::<rc2::Rc2>),
];

/// Names of what is met but not supported.
const NAMES: [(&str, &str); 12] = [
    ("1.2.840.113549.1.12.1.1", "SHA-1 and RC4-128"),
    ("1.2.840.113549.1.12.1.2", "SHA-1 and RC4-40"),
    ("1.2.840.113549.1.5.10", "PBES1 with SHA-1 and DES"),
    ("1.2.840.113549.1.5.11", "PBES1 with SHA-1 and RC2"),
    ("1.2.840.113549.1.5.14", "PBMAC1"),
    ("1.2.840.113549.1.5.3", "PBES1 with MD5 and DES"),
    ("1.2.840.113549.1.5.6", "PBES1 with MD5 and RC2"),
    ("1.2.840.113549.2.5", "MD5"),
    ("1.2.840.113549.3.7", "PBES2 with 3DES"),
    ("1.3.14.3.2.7", "PBES2 with DES"),
    ("2.16.840.1.101.3.4.1.46", "PBES2 with AES-256-GCM"),
    ("2.16.840.1.101.3.4.1.6", "PBES2 with AES-128-GCM"),
];
