//! The embedded vault: KEKs in an SQLite database on this machine.
//!
//! Private keys are sealed under a root key, which a key file beside the database (the default) or a passphrase protects.
//!
//! What is authenticated, and when: every record carries a MAC under a key that comes from the root key. With a key file the root key
//! is at hand, so every read checks it, also the reads that come before sealing. With a passphrase it is checked from the moment on
//! at which the passphrase was given; until then, public keys and states are read as the database has them (wrapping asks for
//! no passphrase), and whoever can write to the database could put another public key there. An encryption set pins the thumbprint of
//! its key, which finds that. What was authenticated is remembered until SQLite says that somebody has written. An old copy of the whole
//! database, with its key file, is not told from the present one.

pub(crate) mod access;
mod admin;
mod aliases;
mod audit;
mod audited;
mod backup;
mod cache;
mod census;
mod columns;
mod database;
mod error;
mod export;
mod files;
mod head;
mod key_row;
mod meta;
mod provider;
mod record;
mod recovery;
mod root;
mod sealed;
mod settings;
mod verify;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::Connection;

pub use audit::AuditHead;
pub use backup::{
    Backup, BackupError, BackupFile, BackupKey, BackupLock, BackupReport, BackupVault, BackupVersion, RestoreReport,
    SealedBackup, write_backup,
};
pub use error::{Damage, Exposure, PassphraseError, VaultError};
pub use export::ByokRecipient;
pub use head::VaultHead;
pub use root::Protection;
pub use sealed::PassphraseCost;
pub use settings::{Owner, PassphraseSource, Purpose, Retention, SoftDelete, VaultSettings};
pub use verify::VaultVerdict;

use crate::clock::UnixTime;
use crate::provider::{OpContext, Right};
use cache::Cache;
use database::{Database, Stamp};
use error::Fault;
use files::KeyFile;
use meta::Meta;
use record::Record;
use root::RootKey;

/// A vault in an SQLite database, for many processes at once.
///
/// Opening, wrapping and reading public keys ask for no passphrase; unwrapping and every change do, once in the life of the value.
#[derive(Debug)]
pub struct EmbeddedVault {
    settings: VaultSettings,
    database: Database,
    /// Never changes once it is known.
    root: OnceLock<Arc<RootKey>>,
    /// Held while a person is asked, so that many threads ask once. Reading goes on meanwhile.
    unlocking: Mutex<()>,
    cache: Cache,
}

/// Whether all keys of a vault exist elsewhere too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupStatus {
    /// When the newest version was made; `None` in a vault without keys.
    pub newest_version_created: Option<UnixTime>,
    /// When the vault was backed up last.
    pub last_backup: Option<UnixTime>,
    /// Whether that backup has every key as it is now. Counted, not taken from clocks. True for a vault without keys.
    pub current: bool,
}

impl EmbeddedVault {
    /// Makes a vault, and opens it. Of several processes that do it at once, one makes the vault.
    ///
    /// The database is built under another name and gets its own by a rename that replaces nothing, when its key file is durable
    /// already. A key file or log at the place of the new ones, which has lost its database, is set aside as `….orphan1`.
    ///
    /// # Errors
    ///
    /// [`Exists`](VaultError::Exists) when there is a file already, [`NetworkFilesystem`](VaultError::NetworkFilesystem),
    /// [`Passphrase`](VaultError::Passphrase), [`Io`](VaultError::Io).
    pub fn create(settings: VaultSettings, protection: Protection) -> Result<Self, VaultError> {
        let soft_delete = SoftDelete::of(settings.owner);
        Self::create_with(settings, protection, soft_delete)
    }

    /// As [`create`](Self::create), with other rules for deleted keys than those of [`SoftDelete::of`].
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_with(
        settings: VaultSettings,
        protection: Protection,
        soft_delete: SoftDelete,
    ) -> Result<Self, VaultError> {
        let settings = settings.absolute()?;
        if files::present(&settings.path)? {
            return Err(VaultError::Exists(settings.path));
        }
        files::check_file_system(files::folder_of(&settings.path))?;
        let mut vault = [0; 16];
        settings.random.fill(&mut vault)?;
        let root = RootKey::generate(&vault, &*settings.random)?;
        // Asked for and stretched before anything is locked: a person takes time.
        let (wrapping, key_file) = settings.wrapping(protection, &vault)?;
        let mut meta = Meta::new(vault, settings.owner, soft_delete, settings.clock.now());
        meta.protect(&wrapping, &root, &*settings.random)?;
        settings.publish(meta, &root, key_file.as_ref())?;
        Self::attach(settings, Some(Arc::new(root)))
    }

    /// Opens a vault; never makes one.
    ///
    /// # Errors
    ///
    /// Any [`VaultError`].
    pub fn open(settings: VaultSettings) -> Result<Self, VaultError> {
        Self::attach(settings.absolute()?, None)
    }

    /// Opens the vault, or makes it where there is none. The bool says whether this call made it.
    ///
    /// # Errors
    ///
    /// Any [`VaultError`] but [`NotFound`](VaultError::NotFound).
    pub fn open_or_create(settings: VaultSettings, protection: Protection) -> Result<(Self, bool), VaultError> {
        let soft_delete = SoftDelete::of(settings.owner);
        Self::open_or_create_with(settings, protection, soft_delete)
    }

    /// As [`open_or_create`](Self::open_or_create), with other rules for deleted keys where the vault is made.
    ///
    /// # Errors
    ///
    /// As [`open_or_create`](Self::open_or_create).
    pub fn open_or_create_with(
        settings: VaultSettings,
        protection: Protection,
        soft_delete: SoftDelete,
    ) -> Result<(Self, bool), VaultError> {
        match Self::open(settings.clone()) {
            Err(VaultError::NotFound(_)) => {}
            done => return done.map(|vault| (vault, false)),
        }
        match Self::create_with(settings.clone(), protection, soft_delete) {
            Err(VaultError::Exists(_)) => Self::open(settings).map(|vault| (vault, false)),
            done => done.map(|vault| (vault, true)),
        }
    }

    fn attach(settings: VaultSettings, root: Option<Arc<RootKey>>) -> Result<Self, VaultError> {
        files::check(&settings.path)?;
        let cx = settings.context();
        let database = Database::open(&settings.path, cx.remaining())?;
        let root = root.map_or_else(OnceLock::new, OnceLock::from);
        let vault = Self { database, root, unlocking: Mutex::new(()), cache: Cache::default(), settings };
        let meta = vault.inspect(&cx, |view| Ok(view.meta.clone()))?;
        // A key file beside a vault that says it has a passphrase: a change of the protection was cut short, or somebody wants us to
        // believe so and skip the checks that the key file makes possible. The passphrase tells.
        if meta.protection == Protection::KeyFile || files::present(&files::key_path(&vault.settings.path))? {
            vault.root_key(&cx)?;
        }
        let (expected, found) = (vault.settings.owner, meta.owner);
        if expected != found {
            return Err(VaultError::WrongOwner { path: vault.settings.path, expected, found });
        }
        Ok(vault)
    }

    /// Returns the database's path.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Whether `file` is one of the vault's own.
    pub(crate) fn has_file(&self, file: &Path) -> bool {
        files::is_part_of(&self.settings.path, file)
    }

    /// Returns whose keys the vault holds.
    pub fn owner(&self) -> Owner {
        self.settings.owner
    }

    /// Returns how the root key is protected.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn protection(&self, cx: &OpContext) -> Result<Protection, VaultError> {
        self.inspect(cx, |view| Ok(view.meta.protection))
    }

    /// Returns what becomes of deleted keys.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn soft_delete(&self, cx: &OpContext) -> Result<SoftDelete, VaultError> {
        self.inspect(cx, |view| Ok(view.meta.soft_delete))
    }

    /// Switches purge protection on, for ever: also for keys that are deleted already (R36).
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn protect_from_purge(&self, cx: &OpContext) -> Result<(), VaultError> {
        self.permit(Right::Administer)?;
        let root = self.root_key(cx)?;
        self.change(cx, &root, |connection, meta| {
            meta.soft_delete.purge_protection = true;
            meta.write(connection, &root)
        })
    }

    /// Says whether every key exists in a backup too (R43).
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn backup_status(&self, cx: &OpContext) -> Result<BackupStatus, VaultError> {
        self.inspect(cx, |view| {
            let newest = view.records("ORDER BY versions.sequence DESC LIMIT 1", [])?;
            Ok(BackupStatus {
                newest_version_created: newest.first().map(|record| record.created),
                last_backup: view.meta.backup_time,
                current: newest.is_empty() || view.meta.backed_up >= view.meta.sequence,
            })
        })
    }

    /// Protects the root key in another way, or with another passphrase. The root key itself and what it seals stay as they are: who
    /// has an old copy of the database *and* what opened it can open this one too.
    ///
    /// At every moment the vault can be opened by the old or by the new means. A new key file is durable before the database
    /// refers to it; an old one is overwritten and removed only when the database durably does without, and its log, which still has
    /// the old form, is empty. If that is cut short, the next unlocking of the vault finishes it. All of it happens under the
    /// database's write lock, so that no two processes undo each other.
    ///
    /// # Errors
    ///
    /// [`VaultError`].
    pub fn set_protection(&self, protection: Protection, cx: &OpContext) -> Result<(), VaultError> {
        self.permit(Right::Administer)?;
        let root = self.root_key(cx)?;
        let meta = self.inspect(cx, |view| Ok(view.meta.clone()))?;
        if (meta.protection, protection) == (Protection::KeyFile, Protection::KeyFile) {
            return Ok(());
        }
        let (wrapping, key_file) = self.settings.wrapping(protection, &meta.vault)?;
        self.change(cx, &root, |connection, meta| {
            if let Some(key_file) = &key_file {
                if meta.protection == Protection::KeyFile {
                    // Another process switched meanwhile: replacing its key file would lose the vault if we are killed here.
                    return Ok(());
                }
                key_file.write(self.database.path())?;
            }
            meta.protect(&wrapping, &root, &*self.settings.random)?;
            meta.write(connection, &root)
        })?;
        self.database.truncate_log(cx.remaining())?;
        self.remove_unused_key_file(cx)
    }

    /// Removes the key file if a passphrase protects the vault.
    fn remove_unused_key_file(&self, cx: &OpContext) -> Result<(), VaultError> {
        // Under the write lock: another process may be switching to a key file that the database does not mention yet.
        self.database.write_aside(cx.remaining(), |connection| match Meta::read(connection)?.protection {
            Protection::KeyFile => Ok(()),
            Protection::Passphrase(_) => Ok(files::remove_key_file(self.database.path())?),
        })
    }

    /// Returns the root key; asks for the passphrase if it must, and checks all records the first time.
    fn root_key(&self, cx: &OpContext) -> Result<Arc<RootKey>, VaultError> {
        if let Some(root) = self.root.get() {
            return Ok(Arc::clone(root));
        }
        let _unlocking = self.unlocking.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(root) = self.root.get() {
            return Ok(Arc::clone(root));
        }
        let mut meta = self.database.read(cx.remaining(), |connection, _| Meta::read(connection))?;
        let root = loop {
            let failure = match self.unseal(&meta) {
                Ok(root) => break Arc::new(root),
                Err(failure) => failure,
            };
            // Another process may have changed the protection between our look at the database and at the key file.
            let now = self.database.read(cx.remaining(), |connection, _| Meta::read(connection))?;
            if now.root_key == meta.root_key {
                return Err(failure);
            }
            meta = now;
        };
        self.database.read(cx.remaining(), |connection, stamp| {
            let meta = self.cache.verified(connection, stamp, &root)?;
            Record::each(connection, &meta, Some(&root), "", [], drop)
        })?;
        if meta.protection != Protection::KeyFile && files::present(&files::key_path(self.database.path()))? {
            self.remove_unused_key_file(cx)?;
        }
        Ok(Arc::clone(self.root.get_or_init(|| root)))
    }

    fn unseal(&self, meta: &Meta) -> Result<RootKey, VaultError> {
        let path = self.database.path();
        let key = match meta.protection {
            Protection::KeyFile => {
                let file = KeyFile::read(path)?;
                if file.vault != meta.vault {
                    return Err(VaultError::damaged(&files::key_path(path), Damage::KeyFile));
                }
                root::key_file_key(&file.key, &meta.salt)?
            }
            Protection::Passphrase(cost) => root::passphrase_key(&self.settings.ask(Purpose::Open)?, &meta.salt, cost)?,
        };
        let secret = sealed::unseal(&key, &meta.root_context(), &meta.root_key).map_err(|_| match meta.protection {
            Protection::KeyFile => VaultError::damaged(path, Damage::Authentication),
            Protection::Passphrase(_) => VaultError::Locked(self.settings.name.clone()),
        })?;
        RootKey::derive(&meta.vault, secret)
    }

    /// Reads a consistent, and where the root key is at hand authenticated, state.
    fn inspect<T>(&self, cx: &OpContext, read: impl FnOnce(&View<'_>) -> Result<T, Fault>) -> Result<T, VaultError> {
        let root = self.root.get().cloned();
        self.database.read(cx.remaining(), |connection, stamp| {
            let meta = match &root {
                Some(root) => self.cache.verified(connection, stamp, root)?,
                None => Meta::read(connection)?,
            };
            read(&View { connection, meta, root, stamp })
        })
    }

    /// Changes an authenticated state. `change` ends with [`Meta::write`].
    fn change<T>(
        &self,
        cx: &OpContext,
        root: &RootKey,
        change: impl FnOnce(&Connection, &mut Meta) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let changed = self.database.write(cx.remaining(), |connection, stamp| {
            let mut meta = self.cache.verified(connection, stamp, root)?;
            change(connection, &mut meta)
        });
        changed.map_err(|fault: Fault| fault.at(self.database.path()))
    }

    /// Refuses what the role that the vault was opened in may not do.
    fn permit(&self, right: Right) -> Result<(), VaultError> {
        self.settings.role.map_or(Ok(()), |role| role.require(right)).map_err(VaultError::Denied)
    }
}

/// A state of the vault inside a transaction.
struct View<'a> {
    connection: &'a Connection,
    meta: Meta,
    root: Option<Arc<RootKey>>,
    stamp: Stamp,
}

impl View<'_> {
    fn records(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Record>, Fault> {
        Record::select(self.connection, &self.meta, self.root.as_deref(), condition, values)
    }
}

#[cfg(test)]
mod tests;
