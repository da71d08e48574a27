//! What a home records of its keys, and where.

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{
    AuditError, AuditLog, AuditSettings, AuditSink, Event, FailureKind, FileHead, Head, HeadError, HeadStore,
    Operation, Outcome, Properties,
};
use crate::catalog::CatalogError;
use crate::engine::{ErrorKind, failure_of};
use crate::manage::config::OwnerName;
use crate::manage::vaults::Vaults;
use crate::manage::{Config, Home, HomeError, SetError};
use crate::provider::embedded::{BackupReport, Protection, VaultError, VaultHead, write_backup};
use crate::provider::{BackupRecipient, KeyProvider, NotRecorded};
use crate::random::SystemRandom;

impl Home {
    /// Returns the audit log: the folder `audit` of the data folder. Makes nothing yet.
    ///
    /// Its head is in the vault that has had it so far; else in the first vault of a customer, or the first one; and in the file
    /// `audit.head` beside the folder while no vault can be opened.
    pub fn audit(&self) -> AuditLog {
        log(self.vaults_as_they_are())
    }

    /// Records that something begins that is about a vault as a whole, does it, and records how it ended.
    pub(super) fn recorded<T>(
        &self,
        operation: Operation,
        about: &Properties,
        act: impl FnOnce() -> Result<T, HomeError>,
    ) -> Result<T, HomeError> {
        self.recorded_as(operation, about, act, |_| (Outcome::Success, Properties::default()))
    }

    /// The same, where `ended` says how it ended and what is known only then.
    pub(super) fn recorded_as<T>(
        &self,
        operation: Operation,
        about: &Properties,
        act: impl FnOnce() -> Result<T, HomeError>,
        ended: impl FnOnce(&T) -> (Outcome, Properties),
    ) -> Result<T, HomeError> {
        let clock = self.clock();
        let began = clock.monotonic();
        let record = |outcome, about: Properties, done| {
            let took = clock.monotonic().saturating_sub(began);
            let event = Event::new(operation, outcome, clock.now(), self.trail().correlation()).took(took).with(about);
            self.trail().record(vec![event]).map_err(|source| HomeError::NotRecorded(NotRecorded::new(done, source)))
        };
        record(Outcome::Started, about.clone(), false)?;
        let result = act();
        match &result {
            Ok(value) => {
                let (outcome, more) = ended(value);
                record(outcome, more.or(about), true)?;
            }
            // It was refused in any case: the reason is worth more than that the log is full.
            Err(error) => self.refused(operation, failure(error), about.clone()),
        }
        result
    }

    /// Records that something was refused before a vault was asked. Where the log does not take it, it goes to standard error.
    pub fn refused(&self, operation: Operation, kind: FailureKind, about: Properties) {
        let event = Event::new(operation, Outcome::Failure(kind), self.clock().now(), self.trail().correlation());
        self.trail().tell(event.with(about));
    }

    /// Switches a vault's purge protection on, for ever (R36).
    ///
    /// # Errors
    ///
    /// [`HomeError::Vault`], [`HomeError::NotRecorded`].
    pub fn protect_from_purge(&self, vault: &crate::key::VaultName) -> Result<(), HomeError> {
        let vault = self.vault(vault)?;
        let about = Properties { vault: Some(vault.name().clone()), ..Properties::default() };
        self.recorded(Operation::VaultUpdate, &about, || Ok(vault.unrecorded().protect_from_purge(&self.context())?))
    }

    /// Protects a vault in another way.
    ///
    /// # Errors
    ///
    /// [`HomeError::Vault`], [`HomeError::NotRecorded`].
    pub fn set_protection(&self, vault: &crate::key::VaultName, protection: Protection) -> Result<(), HomeError> {
        let vault = self.vault(vault)?;
        let about = Properties { vault: Some(vault.name().clone()), ..Properties::default() };
        self.recorded(Operation::VaultUpdate, &about, || {
            Ok(vault.unrecorded().set_protection(protection, &self.context())?)
        })
    }

    /// Writes all keys of all configured vaults into a sealed file.
    ///
    /// # Errors
    ///
    /// [`HomeError::Backup`], [`HomeError::NotRecorded`].
    pub fn backup(
        &self,
        to: &BackupRecipient,
        file: &std::path::Path,
        replace: bool,
    ) -> Result<BackupReport, HomeError> {
        let vaults = self.vaults()?;
        let only = if let [only] = vaults.as_slice() { Some(only.name().clone()) } else { None };
        let about = Properties { vault: only, items: u64::try_from(vaults.len()).ok(), ..Properties::default() };
        self.recorded(Operation::VaultBackup, &about, || {
            let vaults: Vec<_> = vaults.iter().map(|vault| vault.unrecorded()).collect();
            Ok(write_backup(&vaults, self.epochs_in(&vaults)?, to, file, replace, &self.context())?)
        })
    }
}

/// Keeps events in the log of a home, if there is a home.
#[derive(Debug)]
pub(super) struct HomeLog {
    vaults: Arc<Vaults>,
    log: AuditLog,
}

impl HomeLog {
    pub(super) fn new(vaults: &Arc<Vaults>) -> Self {
        Self { vaults: Arc::clone(vaults), log: log(vaults) }
    }
}

impl AuditSink for HomeLog {
    fn append(&self, events: &[Event]) -> Result<(), AuditError> {
        // Keys in files leave no trace where nothing was ever set up.
        if self.vaults.is_recorded() { self.log.append(events) } else { Ok(()) }
    }
}

/// Finds the head in the vaults of a home, or beside the log.
///
/// The highest count counts. So a head that moved, from the file into the first vault or because a vault was away for a while, is taken up
/// where it is, and a crash on the way leaves an older one behind that nobody looks at.
#[derive(Debug)]
struct HomeHeads {
    vaults: Arc<Vaults>,
    file: FileHead,
    path: PathBuf,
}

/// How long a record waits for its head at most: a head that lags is taken up by the next record.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A place for the head, and the head in it.
type Place = (VaultHead, Option<Head>);

impl HomeHeads {
    /// Returns the places in vaults, customers' first.
    fn places(&self) -> Result<Vec<Place>, HeadError> {
        let config: Config = self.vaults.config().clone().unwrap_or_default();
        let (customers, others): (Vec<_>, Vec<_>) =
            config.vault.iter().partition(|(_, vault)| vault.owner == OwnerName::Customer);
        let mut places = Vec::new();
        for (name, vault) in customers.into_iter().chain(others) {
            let Ok(name) = name.parse() else { continue };
            let vault = match self.vaults.open(&name, vault) {
                Ok(vault) => vault,
                Err(error @ VaultError::Busy(_)) => return Err(HeadError::Busy(Box::new(error))),
                // What can't be opened can't be kept up either. The log goes on without it, and says so when it is back.
                Err(_) => continue,
            };
            let place = VaultHead::new(vault, self.vaults.clock(), self.vaults.settings.deadline.min(PATIENCE));
            let head = place.read()?;
            places.push((place, head));
        }
        Ok(places)
    }

    fn in_file(&self, places: &[Place]) -> Result<Option<Head>, HeadError> {
        match self.file.read() {
            // What is left of an older time does not matter.
            Err(_) if places.iter().any(|(_, head)| head.is_some()) => Ok(None),
            result => result,
        }
    }
}

impl HeadStore for HomeHeads {
    fn read(&self) -> Result<Option<Head>, HeadError> {
        let places = self.places()?;
        let file = self.in_file(&places)?;
        Ok(newest(&places, file))
    }

    fn advance(&self, expected: Option<Head>, next: Head) -> Result<(), HeadError> {
        let places = self.places()?;
        let file = self.in_file(&places)?;
        let present = newest(&places, file);
        if present != expected {
            return Err(HeadError::Changed);
        }
        let current = places.iter().find(|(_, head)| head.is_some() && *head == present);
        match current.or(places.first()) {
            Some((place, head)) => {
                place.advance(*head, next)?;
                if file.is_some() {
                    // A crash before this leaves a lower count.
                    let _ = std::fs::remove_file(&self.path);
                }
                Ok(())
            }
            None => self.file.advance(file, next),
        }
    }
}

/// Returns the head with the highest count; of equals the first.
fn newest(places: &[Place], file: Option<Head>) -> Option<Head> {
    let heads = places.iter().map(|(_, head)| *head).chain([file]).flatten();
    heads.reduce(|best, head| if head.count > best.count { head } else { best })
}

fn log(vaults: &Arc<Vaults>) -> AuditLog {
    let data = &vaults.settings.paths.data;
    let path = data.join("audit.head");
    let heads = HomeHeads { vaults: Arc::clone(vaults), file: FileHead::new(path.clone()), path };
    AuditLog::new(AuditSettings {
        folder: data.join(FOLDER),
        heads: Arc::new(heads),
        clock: vaults.clock(),
        random: Arc::new(SystemRandom),
        part_bytes: AuditSettings::PART_BYTES,
        wait: AuditSettings::WAIT.min(vaults.settings.deadline),
    })
}

fn failure(error: &HomeError) -> FailureKind {
    match error {
        HomeError::Catalog(CatalogError::Exists(_)) => return FailureKind::Exists,
        HomeError::Engine(error) => return failure_of(error),
        HomeError::Set(SetError::Challenge { .. } | SetError::Pinned { .. }) => return FailureKind::Lying,
        HomeError::Set(SetError::Owner { .. }) => return FailureKind::Denied,
        HomeError::Set(SetError::InUse { .. }) => return FailureKind::Protected,
        _ => {}
    }
    match error.kind() {
        ErrorKind::Busy => FailureKind::Busy,
        ErrorKind::Damaged => FailureKind::Damaged,
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::Refused => FailureKind::Denied,
        ErrorKind::Unavailable => FailureKind::Unavailable,
        ErrorKind::WrongKey => FailureKind::Locked,
        _ => FailureKind::Failed,
    }
}

/// The folder of the log, in the data folder.
pub(super) const FOLDER: &str = "audit";
