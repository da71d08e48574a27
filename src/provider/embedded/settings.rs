//! What making and opening an embedded vault takes, and how its files come into being.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::io::{CommitError, PartialFile};
use crate::key::VaultName;
use crate::provider::embedded::database::Database;
use crate::provider::embedded::error::{PassphraseError, VaultError};
use crate::provider::embedded::files::{self, KeyFile};
use crate::provider::embedded::meta::Meta;
use crate::provider::embedded::root::{Protection, RootKey, Wrapping};
use crate::provider::{OpContext, Role};
use crate::random::{Random, random_secret};
use crate::secret::SecretBytes;

/// What opening an embedded vault takes.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// The database. Its key file is the same path with `.key` behind it.
    pub path: PathBuf,
    /// The name under which the vault is configured.
    pub name: VaultName,
    /// Whose keys these are.
    pub owner: Owner,
    /// What the vault is opened for; `None` for everything. A seat-belt, not a boundary: see [`Role`].
    pub role: Option<Role>,
    /// Who is asked for passphrases.
    pub passphrase: Arc<dyn PassphraseSource>,
    /// Dates new keys and backups, and measures how long opening waits for locks.
    pub clock: Arc<dyn Clock>,
    /// Makes keys, salts and nonces. RSA keys come from AWS-LC's own generator.
    pub random: Arc<dyn Random>,
}

impl VaultSettings {
    /// Makes the path independent of the working directory.
    pub(super) fn absolute(mut self) -> Result<Self, VaultError> {
        self.path = std::path::absolute(&self.path).map_err(|error| VaultError::io(&self.path, error))?;
        Ok(self)
    }

    pub(super) fn context(&self) -> OpContext {
        OpContext::new(Arc::clone(&self.clock), OPEN_WAIT)
    }

    pub(super) fn ask(&self, purpose: Purpose) -> Result<SecretBytes, VaultError> {
        let fail = |source| VaultError::Passphrase { vault: self.name.clone(), source };
        let passphrase = self.passphrase.passphrase(&self.name, purpose).map_err(fail)?;
        if passphrase.is_empty() { Err(fail(PassphraseError::Empty)) } else { Ok(passphrase) }
    }

    /// Prepares a protection, and a key file where it needs one.
    pub(super) fn wrapping(
        &self,
        protection: Protection,
        vault: &[u8; 16],
    ) -> Result<(Wrapping, Option<KeyFile>), VaultError> {
        let random = &*self.random;
        match protection {
            Protection::KeyFile => {
                let file = KeyFile { vault: *vault, key: random_secret(random, 32)? };
                Ok((Wrapping::by_key_file(&file.key, random)?, Some(file)))
            }
            Protection::Passphrase(cost) => {
                Ok((Wrapping::by_passphrase(&self.ask(Purpose::New)?, cost, random)?, None))
            }
        }
    }

    /// Builds the database and gives it its name, while no other process does the same.
    pub(super) fn publish(&self, meta: Meta, root: &RootKey, key_file: Option<&KeyFile>) -> Result<(), VaultError> {
        let cx = self.context();
        // Only its lock serves: SQLite and a file that we hold open must not be the same one.
        let lock = loop {
            match PartialFile::open(&self.path, 0o600, false) {
                Err(CommitError::Busy(_)) if !cx.remaining().is_zero() => std::thread::sleep(CREATE_PAUSE),
                done => break done?,
            }
        };
        let result = self.publish_locked(meta, root, key_file);
        // A lock file that stays behind hinders nobody: its lock goes with this process.
        let _ = lock.discard();
        result
    }

    fn publish_locked(&self, mut meta: Meta, root: &RootKey, key_file: Option<&KeyFile>) -> Result<(), VaultError> {
        if files::present(&self.path)? {
            return Err(VaultError::Exists(self.path.clone()));
        }
        let new = files::beside(&self.path, ".new");
        for suffix in ["", "-wal", "-shm", "-journal"] {
            files::remove(&files::beside(&new, suffix))?;
        }
        files::make_empty(&new)?;
        Database::make(&new, |connection| meta.write(connection, root))?;
        // A log that has lost its database would be played into the new one.
        for suffix in ["-wal", "-shm", "-journal", ".key"] {
            files::set_aside(&files::beside(&self.path, suffix))?;
        }
        if let Some(key_file) = key_file {
            key_file.write(&self.path)?;
        }
        files::rename_new(&new, &self.path)
    }
}

/// Whose keys a vault holds (R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A customer's: what they seal never goes back to a platform key.
    Customer,
    /// The platform's.
    Platform,
}

impl Owner {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Customer => 1,
            Self::Platform => 2,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Customer),
            2 => Some(Self::Platform),
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer => "customer",
            Self::Platform => "platform",
        })
    }
}

/// What becomes of keys that are deleted (R36). Recovering them is possible until somebody purges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftDelete {
    /// How long a deleted key is kept for certain.
    pub retention: Retention,
    /// Whether nobody can purge a key before that time is over. Can be switched on, never off.
    pub purge_protection: bool,
}

impl SoftDelete {
    /// Returns what a new vault has: 90 days; protected where the keys are a customer's.
    pub fn of(owner: Owner) -> Self {
        Self { retention: Retention::default(), purge_protection: owner == Owner::Customer }
    }
}

/// How long a deleted key is kept: 7 to 90 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Retention(u8);

impl Retention {
    /// Takes a number of days; `None` outside 7 to 90.
    pub fn of_days(days: u8) -> Option<Self> {
        (7..=90).contains(&days).then_some(Self(days))
    }

    /// Returns the number of days.
    pub fn days(self) -> u8 {
        self.0
    }

    /// Returns the same in seconds.
    pub(super) fn seconds(self) -> u64 {
        u64::from(self.0) * 86_400
    }
}

impl Default for Retention {
    /// 90 days.
    fn default() -> Self {
        Self(90)
    }
}

/// Gives passphrases when they are needed, from a terminal, a file or a command.
pub trait PassphraseSource: fmt::Debug + Send + Sync {
    /// Returns the passphrase of `vault`. For a new one the source has it repeated where a person types it.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`] with the reason for which there is none.
    fn passphrase(&self, vault: &VaultName, purpose: Purpose) -> Result<SecretBytes, PassphraseError>;
}

/// What a passphrase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To protect a vault from now on.
    New,
    /// To open a vault.
    Open,
}

/// How long opening waits for another process's lock.
const OPEN_WAIT: Duration = Duration::from_secs(30);
const CREATE_PAUSE: Duration = Duration::from_millis(5);
