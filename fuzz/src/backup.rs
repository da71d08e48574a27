//! Vault backups written by `BACKUP.md` with other libraries, at a cost that lets a fuzzer run.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

/// The passphrase of every backup here.
pub const PASSPHRASE: &[u8] = b"fuzz";

/// A backup of one vault with one key.
pub fn valid() -> Vec<u8> {
    seal(&payload())
}

/// Seals `payload` under [`PASSPHRASE`] with the least memory and one pass.
pub fn seal(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"SOBRE vault backup\r\n".to_vec();
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&104_u32.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64 + 28).to_le_bytes());
    for number in [8_u32, 1, 1] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let salt = [5; 32];
    bytes.extend_from_slice(&salt);
    let file_key = [9; 32];
    let mut stretched = [0; 32];
    let params = argon2::Params::new(8, 1, 1, Some(32)).expect("in bounds");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(PASSPHRASE, &salt, &mut stretched)
        .expect("stretches");
    let mut input = b"sobre/1 vault backup passphrase".to_vec();
    input.extend_from_slice(&stretched);
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt), &input).expand(b"sobre/1 vault backup file key", &mut key).expect("32 bytes");
    let sealed = gcm(&key, 1, &bytes, &file_key);
    bytes.extend_from_slice(&sealed);
    let mut key = [0; 32];
    Hkdf::<Sha256>::from_prk(&file_key)
        .expect("32 bytes")
        .expand(b"sobre/1 vault backup payload", &mut key)
        .expect("32 bytes");
    let sealed = gcm(&key, 2, &bytes, payload);
    bytes.extend_from_slice(&sealed);
    bytes
}

/// What a valid backup holds in clear.
pub fn payload() -> Vec<u8> {
    let pem = include_bytes!("../../vectors/keys/test-rsa2048.pkcs8.pem");
    let (_, pkcs8) = pem_rfc7468::decode_vec(pem).expect("a test key");
    let mut bytes = 1_700_000_000_u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(b"\x04home");
    bytes.extend_from_slice(&[3; 16]);
    bytes.push(1);
    bytes.extend_from_slice(&1_600_000_000_u64.to_le_bytes());
    bytes.extend_from_slice(&[90, 1]);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(b"\x05disks");
    bytes.push(1);
    bytes.extend_from_slice(b"\x19rotate P1Y after creation");
    bytes.extend_from_slice(&[0; 18]);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&1_600_000_000_u64.to_le_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&[0; 18]);
    bytes.extend_from_slice(&(pkcs8.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&pkcs8);
    bytes.extend_from_slice(b"\x01\x02\x02\x00\x0a\x0b");
    let record = include_bytes!("../../vectors/golden/5a653dc86934269d41313631ad4ff538.sobre-epoch");
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

/// Whether unlocking `file` would take more work than a fuzzer should spend.
pub fn is_costly(file: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = file.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 4]);
        u64::from(u32::from_le_bytes(*bytes))
    };
    number(36).saturating_mul(number(40)) > 1024
}

fn gcm(key: &[u8; 32], nonce: u8, aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let nonce = [nonce; 12];
    let cipher = Aes256Gcm::new(key.into());
    let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad }).expect("seals");
    [nonce.as_slice(), &sealed].concat()
}
