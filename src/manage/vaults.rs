//! The vaults of a home as they are, below what is recorded of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, SystemClock};
use crate::key::VaultName;
use crate::manage::{Config, HomeSettings, VaultConfig};
use crate::provider::embedded::{EmbeddedVault, VaultError, VaultSettings};
use crate::random::SystemRandom;

/// Settings, configuration and open vaults of a home: what the audit log needs of it.
#[derive(Debug)]
pub(super) struct Vaults {
    pub(super) settings: HomeSettings,
    config: Mutex<Option<Config>>,
    open: Mutex<BTreeMap<VaultName, Arc<EmbeddedVault>>>,
    /// Set while the home is being made, when there is no configuration yet.
    making: AtomicBool,
}

impl Vaults {
    pub(super) fn new(settings: HomeSettings, config: Option<Config>) -> Self {
        Self { settings, config: Mutex::new(config), open: Mutex::default(), making: AtomicBool::new(false) }
    }

    pub(super) fn config(&self) -> MutexGuard<'_, Option<Config>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// Opens a vault, or returns the one that is open.
    pub(super) fn open(&self, name: &VaultName, config: &VaultConfig) -> Result<Arc<EmbeddedVault>, VaultError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = open.get(name) {
            return Ok(Arc::clone(vault));
        }
        let vault = Arc::new(EmbeddedVault::open(self.vault_settings(name, config))?);
        open.insert(name.clone(), Arc::clone(&vault));
        Ok(vault)
    }

    pub(super) fn vault_settings(&self, name: &VaultName, config: &VaultConfig) -> VaultSettings {
        VaultSettings {
            path: self.settings.paths.data.join(&config.path),
            name: name.clone(),
            owner: config.owner.into(),
            role: self.settings.role,
            passphrase: Arc::clone(&self.settings.passphrase),
            clock: self.clock(),
            random: Arc::new(SystemRandom),
        }
    }

    /// Says that the home is being made: from now on there is something to record, and a place for it.
    pub(super) fn begin_making(&self) {
        self.making.store(true, Ordering::Relaxed);
    }

    /// Whether there is a home, so that there is a log.
    pub(super) fn is_recorded(&self) -> bool {
        self.making.load(Ordering::Relaxed)
            || self.config().is_some()
            || self.settings.paths.data.join(super::audit::FOLDER).exists()
    }
}
