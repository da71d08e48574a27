//! Bringing the keys of a vault backup back, into a home that may be empty.

use crate::audit::{Operation, Properties};
use crate::key::VaultName;
use crate::manage::config::OwnerName;
use crate::manage::{Created, Home, HomeError};
use crate::provider::embedded::{Backup, BackupVault, Owner, Protection, RestoreReport};

/// What was brought back into one vault.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The vault.
    pub vault: VaultName,
    /// Its keys.
    pub report: RestoreReport,
}

impl Home {
    /// Restores every vault of `backup` under its own name, or a single one into the vault that was chosen. Vaults that are not configured
    /// are made, with a key file each; a fresh home gets a configuration.
    ///
    /// # Errors
    ///
    /// [`HomeError::Vault`], for a conflict with keys that are there too; [`HomeError::SeveralVaults`]; [`HomeError::Io`].
    pub fn restore(&self, backup: &Backup) -> Result<(Vec<Restored>, Vec<Created>), HomeError> {
        if self.only().is_some() && backup.vaults.len() > 1 {
            return Err(HomeError::SeveralVaults(backup.vaults.iter().map(|vault| vault.name.to_string()).collect()));
        }
        let mut created = Vec::new();
        let mut restored = Vec::new();
        let fresh = self.is_fresh();
        for vault in &backup.vaults {
            let name = self.only().unwrap_or(&vault.name).clone();
            if !self.config().vault.contains_key(name.as_str()) {
                created.extend(self.create_vault(&name, vault.owner, Protection::KeyFile, vault.soft_delete)?);
            }
            let target = self.vault(&name)?;
            let about = Properties {
                vault: Some(name.clone()),
                items: u64::try_from(vault.keys.len()).ok(),
                ..Properties::default()
            };
            let report = self.recorded(Operation::VaultRestore, &about, || {
                Ok(target.unrecorded().restore(vault, &self.context())?)
            })?;
            restored.push(Restored { vault: name, report });
        }
        if fresh {
            self.set_default_keys(backup)?;
        }
        if !backup.epochs.is_empty() {
            let catalog = self.catalog_or_new()?;
            for record in &backup.epochs {
                catalog.keep_epoch(record, false)?;
            }
        }
        Ok((restored, created))
    }

    fn set_default_keys(&self, backup: &Backup) -> Result<(), HomeError> {
        let mut config = self.config();
        for vault in &backup.vaults {
            let name = self.only().unwrap_or(&vault.name);
            let Some(key) = usual_key(vault) else { continue };
            let id = Some(format!("{name}/{key}"));
            if vault.owner == Owner::Platform {
                config.platform_key = id;
            } else {
                config.customer_key = id;
            }
        }
        config.key = config.customer_key.clone().or_else(|| config.platform_key.clone());
        self.replace_config(config)
    }
}

/// The key that first use makes, or else the first one.
fn usual_key(vault: &BackupVault) -> Option<String> {
    let mut names = vault.keys.iter().map(|key| key.details.name.to_string());
    names.find(|name| name == "default").or_else(|| vault.keys.first().map(|key| key.details.name.to_string()))
}

impl From<Owner> for OwnerName {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Platform => Self::Platform,
            _ => Self::Customer,
        }
    }
}
