//! The root key of a vault, how it is protected, and what is derived from it.

use std::fmt;

use crate::aead::Gcm256;
use crate::kdf;
use crate::provider::embedded::error::VaultError;
use crate::provider::embedded::sealed::{self, PassphraseCost, SALT_LEN};
use crate::random::{Random, random_secret};
use crate::secret::SecretBytes;

/// How the root key of a vault is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// By 32 random bytes in a file beside the database, mode 0600: whoever can read both files has the keys.
    #[default]
    KeyFile,
    /// By a passphrase, through Argon2id.
    Passphrase(PassphraseCost),
}

impl Protection {
    /// What the database stores: the kind, and memory, passes and lanes.
    pub(super) fn numbers(self) -> [u32; 4] {
        match self {
            Self::KeyFile => [1, 0, 0, 0],
            Self::Passphrase(cost) => {
                let (memory, passes, lanes) = cost.parameters();
                [2, memory, passes, lanes]
            }
        }
    }

    pub(super) fn from_numbers(numbers: [u32; 4]) -> Option<Self> {
        match numbers {
            [1, 0, 0, 0] => Some(Self::KeyFile),
            [2, memory, passes, lanes] => PassphraseCost::read(memory, passes, lanes).map(Self::Passphrase),
            _ => None,
        }
    }
}

/// A fresh protection: a salt, and the key under which the root key gets sealed.
pub(super) struct Wrapping {
    pub(super) protection: Protection,
    pub(super) salt: [u8; SALT_LEN],
    key: Gcm256,
}

impl Wrapping {
    /// Starts a protection by the key file's bytes.
    pub(super) fn by_key_file(key: &SecretBytes, random: &dyn Random) -> Result<Self, VaultError> {
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt)?;
        Ok(Self { protection: Protection::KeyFile, salt, key: key_file_key(key, &salt)? })
    }

    /// Starts a protection by a passphrase. Takes as long as `cost` says.
    pub(super) fn by_passphrase(
        passphrase: &SecretBytes,
        cost: PassphraseCost,
        random: &dyn Random,
    ) -> Result<Self, VaultError> {
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt)?;
        Ok(Self { protection: Protection::Passphrase(cost), salt, key: passphrase_key(passphrase, &salt, cost)? })
    }

    /// Seals the root key; `context` is what it is bound to.
    pub(super) fn seal(&self, root: &RootKey, context: &[u8], random: &dyn Random) -> Result<Vec<u8>, VaultError> {
        sealed::seal(&self.key, context, &root.secret, random)
    }
}

/// Returns the key under which a key file seals the root key.
pub(super) fn key_file_key(key: &SecretBytes, salt: &[u8; SALT_LEN]) -> Result<Gcm256, VaultError> {
    expanded(&kdf::extract(salt, b"sobre/1 vault key file", key), "sobre/1 vault root key")
}

/// Returns the key under which a passphrase seals the root key.
pub(super) fn passphrase_key(
    passphrase: &SecretBytes,
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
) -> Result<Gcm256, VaultError> {
    let stretched = cost.stretch(passphrase, salt).map_err(|_| VaultError::OutOfMemory)?;
    expanded(&kdf::extract(salt, b"sobre/1 vault passphrase", &stretched), "sobre/1 vault root key")
}

/// The root key in memory, with the keys derived from it.
pub(super) struct RootKey {
    secret: SecretBytes,
    /// Seals private keys.
    pub(super) private: Gcm256,
    /// Authenticates records.
    pub(super) mac: SecretBytes,
}

impl RootKey {
    pub(super) fn generate(vault: &[u8; 16], random: &dyn Random) -> Result<Self, VaultError> {
        Self::derive(vault, random_secret(random, 32)?)
    }

    pub(super) fn derive(vault: &[u8; 16], secret: SecretBytes) -> Result<Self, VaultError> {
        let prk = kdf::extract(vault, b"sobre/1 vault root", &secret);
        Ok(Self {
            private: expanded(&prk, "sobre/1 vault private keys")?,
            mac: kdf::expand(&prk, "sobre/1 vault records"),
            secret,
        })
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey")
    }
}

fn expanded(prk: &SecretBytes, info: &str) -> Result<Gcm256, VaultError> {
    // 32 bytes make a key always; the error is AWS-LC's, when it has no memory.
    Gcm256::new(&kdf::expand(prk, info)).map_err(|_| VaultError::Random)
}
