//! The backup file around its payload: header, envelope, seal.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::aead::Gcm256;
use crate::kdf;
use crate::key::Thumbprint;
use crate::oaep::{RsaKeyError, WrapAlgorithm};
use crate::provider::embedded::backup::{Backup, BackupError};
use crate::provider::embedded::error::VaultError;
use crate::provider::embedded::sealed::{self, OVERHEAD, PassphraseCost, SALT_LEN};
use crate::provider::{BackupRecipient, BackupUnlock, import};
use crate::random::{Random, random_secret};
use crate::secret::SecretBytes;

/// A backup file whose header is in bounds: nothing is decrypted yet.
pub struct BackupFile {
    bytes: Vec<u8>,
    envelope: Envelope,
    /// Where the sealed payload begins.
    payload: usize,
}

/// What opens a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackupLock {
    /// The private key with this thumbprint.
    Key(Thumbprint),
    /// A passphrase.
    Passphrase,
}

enum Envelope {
    Key { thumbprint: Thumbprint, ciphertext: Vec<u8> },
    Passphrase { cost: PassphraseCost, salt: [u8; SALT_LEN], file_key: Vec<u8> },
}

impl BackupFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`BackupError::Read`]; else as [`parse`](Self::parse).
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let fail = |source| BackupError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // One byte more than allowed: what grows while it is read is found too.
        File::open(path).map_err(fail)?.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
        Self::parse(bytes)
    }

    /// Checks the header and all lengths.
    ///
    /// # Errors
    ///
    /// [`NotABackup`](BackupError::NotABackup), [`KeyVaultBackup`](BackupError::KeyVaultBackup), [`Newer`](BackupError::Newer), [`TooLarge`](BackupError::TooLarge),
    /// [`Damaged`](BackupError::Damaged).
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BackupError> {
        if bytes.len() > MOST_BYTES {
            return Err(BackupError::TooLarge);
        }
        let (magic, rest) = bytes.split_first_chunk().ok_or(BackupError::NotABackup)?;
        if magic != MAGIC {
            let foreign = import::is_key_vault_backup(&bytes);
            return Err(if foreign { BackupError::KeyVaultBackup } else { BackupError::NotABackup });
        }
        let mut cursor = Cursor(rest);
        match u16::from_le_bytes(cursor.array()?) {
            VERSION => {}
            version if version > VERSION => return Err(BackupError::Newer(version)),
            _ => return Err(BackupError::Damaged),
        }
        let [mode, zero] = cursor.array()?;
        let envelope_len = usize::try_from(u32::from_le_bytes(cursor.array()?)).map_err(|_| BackupError::Damaged)?;
        let payload_len = usize::try_from(u64::from_le_bytes(cursor.array()?)).map_err(|_| BackupError::Damaged)?;
        let envelope = cursor.take(envelope_len)?;
        if zero != 0 || cursor.0.len() != payload_len || payload_len < OVERHEAD {
            return Err(BackupError::Damaged);
        }
        let envelope = Envelope::parse(mode, envelope)?;
        let payload = bytes.len() - payload_len;
        Ok(Self { bytes, envelope, payload })
    }

    /// Says what opens the backup.
    pub fn lock(&self) -> BackupLock {
        match &self.envelope {
            Envelope::Key { thumbprint, .. } => BackupLock::Key(*thumbprint),
            Envelope::Passphrase { .. } => BackupLock::Passphrase,
        }
    }

    /// Opens the backup.
    ///
    /// # Errors
    ///
    /// [`Locked`](BackupError::Locked) when the passphrase or the key is wrong, [`NeedsKey`](BackupError::NeedsKey) or
    /// [`NeedsPassphrase`](BackupError::NeedsPassphrase) when it is of the other kind, [`Damaged`](BackupError::Damaged) when what lies
    /// behind is not what was written.
    pub fn unlock(&self, by: BackupUnlock<'_>) -> Result<Backup, BackupError> {
        let file_key = self.file_key(by)?;
        let (aad, sealed) = self.bytes.split_at_checked(self.payload).ok_or(BackupError::Damaged)?;
        let payload = sealed::unseal(&payload_key(&file_key)?, aad, sealed).map_err(|_| BackupError::Damaged)?;
        Backup::decoded(&payload)
    }

    fn file_key(&self, by: BackupUnlock<'_>) -> Result<SecretBytes, BackupError> {
        let key = match (&self.envelope, by) {
            (Envelope::Passphrase { cost, salt, file_key }, BackupUnlock::Passphrase(passphrase)) => {
                let key = passphrase_key(passphrase, *cost, salt)?;
                let aad = self.bytes.get(..BEFORE_FILE_KEY).ok_or(BackupError::Damaged)?;
                sealed::unseal(&key, aad, file_key).map_err(|_| BackupError::Locked)?
            }
            (Envelope::Passphrase { .. }, BackupUnlock::Key(_)) => return Err(BackupError::NeedsPassphrase),
            (Envelope::Key { thumbprint, ciphertext }, BackupUnlock::Key(private)) => {
                let public = private.public().map_err(VaultError::Key)?;
                // Both are public, so this comparison tells nobody anything.
                if Thumbprint::of(&public) != *thumbprint {
                    return Err(BackupError::NeedsKey(*thumbprint));
                }
                private.decrypt(WrapAlgorithm::RsaOaep256, ciphertext).map_err(|_| BackupError::Locked)?
            }
            (Envelope::Key { thumbprint, .. }, BackupUnlock::Passphrase(_)) => {
                return Err(BackupError::NeedsKey(*thumbprint));
            }
        };
        if key.len() == kdf::LEN { Ok(key) } else { Err(BackupError::Locked) }
    }
}

impl fmt::Debug for BackupFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupFile({} bytes, {:?})", self.bytes.len(), self.lock())
    }
}

impl Envelope {
    fn parse(mode: u8, bytes: &[u8]) -> Result<Self, BackupError> {
        let mut cursor = Cursor(bytes);
        let envelope = match mode {
            BY_PASSPHRASE => {
                let mut number = || cursor.array().map(u32::from_le_bytes);
                let cost = PassphraseCost::read(number()?, number()?, number()?).ok_or(BackupError::Damaged)?;
                let salt = cursor.array()?;
                Self::Passphrase { cost, salt, file_key: cursor.take(kdf::LEN + OVERHEAD)?.to_vec() }
            }
            BY_KEY => {
                let thumbprint = Thumbprint::from_bytes(cursor.array()?);
                let ciphertext = cursor.take(cursor.0.len())?.to_vec();
                if !(256..=512).contains(&ciphertext.len()) {
                    return Err(BackupError::Damaged);
                }
                Self::Key { thumbprint, ciphertext }
            }
            _ => return Err(BackupError::Damaged),
        };
        if cursor.0.is_empty() { Ok(envelope) } else { Err(BackupError::Damaged) }
    }
}

/// Builds the file around a payload.
pub(super) fn sealed(
    payload: &SecretBytes,
    to: &BackupRecipient,
    cost: PassphraseCost,
    random: &dyn Random,
) -> Result<Vec<u8>, BackupError> {
    let file_key = random_secret(random, kdf::LEN).map_err(VaultError::from)?;
    let payload_len = (payload.len() + OVERHEAD) as u64;
    let header = |mode: u8, envelope_len: usize| -> Result<Vec<u8>, BackupError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[mode, 0]);
        bytes.extend_from_slice(&u32::try_from(envelope_len).map_err(|_| BackupError::TooLarge)?.to_le_bytes());
        bytes.extend_from_slice(&payload_len.to_le_bytes());
        Ok(bytes)
    };
    let mut bytes = match to {
        BackupRecipient::Key(public) => {
            let ciphertext = public
                .encrypt(WrapAlgorithm::RsaOaep256, &file_key)
                .map_err(|_| VaultError::Key(RsaKeyError::Malformed))?;
            let mut bytes = header(BY_KEY, kdf::LEN + ciphertext.len())?;
            bytes.extend_from_slice(Thumbprint::of(public).as_bytes());
            bytes.extend_from_slice(&ciphertext);
            bytes
        }
        BackupRecipient::Passphrase(passphrase) => {
            let mut salt = [0; SALT_LEN];
            random.fill(&mut salt).map_err(VaultError::from)?;
            let mut bytes = header(BY_PASSPHRASE, 12 + SALT_LEN + kdf::LEN + OVERHEAD)?;
            let (memory, passes, lanes) = cost.parameters();
            for number in [memory, passes, lanes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&salt);
            let file_key = sealed::seal(&passphrase_key(passphrase, cost, &salt)?, &bytes, &file_key, random)?;
            bytes.extend_from_slice(&file_key);
            bytes
        }
    };
    let payload = sealed::seal(&payload_key(&file_key)?, &bytes, payload, random)?;
    bytes.extend_from_slice(&payload);
    if bytes.len() > MOST_BYTES { Err(BackupError::TooLarge) } else { Ok(bytes) }
}

fn passphrase_key(
    passphrase: &SecretBytes,
    cost: PassphraseCost,
    salt: &[u8; SALT_LEN],
) -> Result<Gcm256, BackupError> {
    let stretched = cost.stretch(passphrase, salt).map_err(|_| VaultError::OutOfMemory)?;
    let prk = kdf::extract(salt, b"sobre/1 vault backup passphrase", &stretched);
    gcm(&kdf::expand(&prk, "sobre/1 vault backup file key"))
}

fn payload_key(file_key: &SecretBytes) -> Result<Gcm256, BackupError> {
    gcm(&kdf::expand(file_key, "sobre/1 vault backup payload"))
}

fn gcm(key: &SecretBytes) -> Result<Gcm256, BackupError> {
    Gcm256::new(key).map_err(|_| BackupError::Vault(VaultError::OutOfMemory))
}

/// Bytes that were not read yet. What is not there is damage.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BackupError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(BackupError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BackupError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// The longest file that is written or read.
pub(super) const MOST_BYTES: usize = 64 * 1024 * 1024;
const MAGIC: &[u8; 20] = b"SOBRE vault backup\r\n";
const VERSION: u16 = 1;
const BY_PASSPHRASE: u8 = 1;
const BY_KEY: u8 = 2;
/// Header, cost and salt.
const BEFORE_FILE_KEY: usize = 36 + 12 + SALT_LEN;
