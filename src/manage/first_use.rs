//! Making vaults and keys: at first use, and when a person asks for it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::{FailureKind, Operation, Properties, Text};
use crate::io::PartialFile;
use crate::key::{KeyAlias, KeyName, KeyVersion, VaultName};
use crate::manage::config::{Config, OwnerName, VaultConfig, VaultKind};
use crate::manage::{Home, HomeError};
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::{EmbeddedVault, Owner, Protection, SoftDelete};
use crate::provider::{Audited, KeyAdmin, KeyProvider, ProviderErrorKind};

/// What a fresh home is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstUse {
    /// Double encryption: a customer's and the platform's vault, with a key each.
    Double,
    /// Sealing: the platform's vault with a key (R1).
    Single,
}

/// Something that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// The configuration file.
    Config(PathBuf),
    /// A key; its id.
    Key(String),
    /// A vault and the path of its database.
    Vault(VaultName, PathBuf),
}

impl Home {
    /// Sets a fresh home up; does nothing where there is a configuration. Of many processes that do it at once, one does it and the
    /// others wait.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`], [`HomeError::Vault`], [`HomeError::Provider`].
    pub fn set_up(&self, purpose: FirstUse) -> Result<Vec<Created>, HomeError> {
        let _lock = self.lock()?;
        if self.reread()? {
            return Ok(Vec::new());
        }
        self.vaults_as_they_are().begin_making();
        let owners: &[OwnerName] = match purpose {
            FirstUse::Double => &[OwnerName::Customer, OwnerName::Platform],
            FirstUse::Single => &[OwnerName::Platform],
        };
        let mut config = Config::default();
        let mut created = Vec::new();
        let default: KeyName = parse_name(DEFAULT_KEY)?;
        for &owner in owners {
            let name: VaultName = parse_vault(match owner {
                OwnerName::Customer => CUSTOMER,
                OwnerName::Platform => PLATFORM,
            })?;
            let usual = (Protection::KeyFile, SoftDelete::of(owner.into()));
            let vault = self.make_vault(&name, owner, usual, &mut config, &mut created)?;
            let key = make_key(self, &vault, &default, DEFAULT_BITS)?;
            created.push(Created::Key(key.id));
            let id = Some(format!("{name}/{default}"));
            match owner {
                OwnerName::Customer => config.customer_key = id,
                OwnerName::Platform => config.platform_key = id,
            }
        }
        config.key = config.customer_key.clone().or_else(|| config.platform_key.clone());
        self.write_config(config, &mut created)?;
        Ok(created)
    }

    /// Makes a vault and adds it to the configuration, which it makes where there is none.
    ///
    /// # Errors
    ///
    /// [`HomeError::VaultExists`], [`HomeError::Vault`], [`HomeError::Io`].
    pub fn create_vault(
        &self,
        name: &VaultName,
        owner: Owner,
        protection: Protection,
        soft_delete: SoftDelete,
    ) -> Result<Vec<Created>, HomeError> {
        let _lock = self.lock()?;
        let exists = self.reread()?;
        let mut config = self.config();
        if config.vault.contains_key(name.as_str()) {
            return Err(HomeError::VaultExists(name.to_string()));
        }
        let mut created = Vec::new();
        self.vaults_as_they_are().begin_making();
        self.make_vault(name, owner.into(), (protection, soft_delete), &mut config, &mut created)?;
        if exists {
            self.append_vault(name, &config)?;
        } else {
            self.write_config(config, &mut created)?;
        }
        Ok(created)
    }

    /// Generates a customer's key: in the vault of that name, else in the one that is chosen, else in the only one that is
    /// a customer's, which a fresh home gets with it.
    ///
    /// # Errors
    ///
    /// [`HomeError::PlatformVault`] for the platform's vault; [`HomeError::Engine`] when the name is taken.
    pub fn create_key(
        &self,
        vault: Option<&VaultName>,
        name: &KeyName,
        bits: usize,
    ) -> Result<(KeyVersion, Vec<Created>), HomeError> {
        self.new_key(Operation::KeyCreate, vault, name, |vault, fresh| match fresh {
            true => make_key(self, vault, name, bits),
            false => Ok(vault.create(name, bits, &self.context())?),
        })
    }

    /// Takes over a customer's key that was made elsewhere, with what it is called there: into the vault that [`create_key`](Self::create_key)
    /// would take.
    ///
    /// # Errors
    ///
    /// As [`create_key`](Self::create_key); also when the vault has the same key under another name, which the error says.
    pub fn import_key(
        &self,
        vault: Option<&VaultName>,
        name: &KeyName,
        private: &RsaPrivateKey,
        aliases: &[KeyAlias],
    ) -> Result<(KeyVersion, Vec<Created>), HomeError> {
        self.new_key(Operation::KeyImport, vault, name, |vault, _| {
            Ok(vault.import_known(name, private, aliases, &self.context())?)
        })
    }

    /// Adds a key to a customer's vault, and makes that where the home is fresh: then `make` hears `true`.
    fn new_key(
        &self,
        operation: Operation,
        vault: Option<&VaultName>,
        name: &KeyName,
        make: impl FnOnce(&Audited<EmbeddedVault>, bool) -> Result<KeyVersion, HomeError>,
    ) -> Result<(KeyVersion, Vec<Created>), HomeError> {
        let made = self.new_key_in(vault, name, make);
        if let Err(HomeError::PlatformVault(_)) = made {
            let about = Properties {
                key: Some(Text::new(name.as_str())),
                vault: vault.or(self.only()).cloned(),
                ..Properties::default()
            };
            self.refused(operation, FailureKind::Denied, about);
        }
        made
    }

    fn new_key_in(
        &self,
        vault: Option<&VaultName>,
        name: &KeyName,
        make: impl FnOnce(&Audited<EmbeddedVault>, bool) -> Result<KeyVersion, HomeError>,
    ) -> Result<(KeyVersion, Vec<Created>), HomeError> {
        let mut created = Vec::new();
        let chosen = vault.or(self.only());
        if let Some(chosen) = chosen.filter(|chosen| chosen.as_str() == PLATFORM) {
            return Err(HomeError::PlatformVault(chosen.to_string()));
        }
        if self.is_fresh() {
            let customer = match chosen {
                Some(chosen) => chosen.clone(),
                None => parse_vault(CUSTOMER)?,
            };
            let _lock = self.lock()?;
            if !self.reread()? {
                self.vaults_as_they_are().begin_making();
                let mut config = Config::default();
                let usual = (Protection::KeyFile, SoftDelete::of(Owner::Customer));
                let vault = self.make_vault(&customer, OwnerName::Customer, usual, &mut config, &mut created)?;
                let key = make(&vault, true)?;
                config.key = Some(format!("{customer}/{name}"));
                config.customer_key.clone_from(&config.key);
                self.write_config(config, &mut created)?;
                return Ok((key, created));
            }
        }
        let vault = match chosen {
            Some(chosen) => chosen.clone(),
            None => self.only_customer_vault()?,
        };
        let vault = self.vault(&vault)?;
        if vault.owner() == Owner::Platform {
            return Err(HomeError::PlatformVault(KeyProvider::name(vault.as_ref()).to_string()));
        }
        let key = make(&vault, false)?;
        Ok((key, created))
    }

    fn only_customer_vault(&self) -> Result<VaultName, HomeError> {
        let config = self.config();
        let customers: Vec<_> =
            config.vault.iter().filter(|(_, vault)| vault.owner == OwnerName::Customer).map(|(name, _)| name).collect();
        match customers.as_slice() {
            [only] => parse_vault(only),
            [] => Err(HomeError::VaultNotConfigured {
                name: CUSTOMER.to_owned(),
                known: config.vault.keys().cloned().collect(),
                config: self.paths().config.clone(),
            }),
            several => Err(HomeError::VaultNotChosen(several.iter().map(ToString::to_string).collect())),
        }
    }

    fn make_vault(
        &self,
        name: &VaultName,
        owner: OwnerName,
        (protection, soft_delete): (Protection, SoftDelete),
        config: &mut Config,
        created: &mut Vec<Created>,
    ) -> Result<Audited<EmbeddedVault>, HomeError> {
        let path = PathBuf::from("vaults").join(format!("{name}.db"));
        make_folder(&self.paths().data.join("vaults"))?;
        let entry = VaultConfig { kind: VaultKind::Embedded, owner, path };
        // A run that was cut off before it wrote the configuration has left its vault: it is used, not replaced.
        let settings = self.vaults_as_they_are().vault_settings(name, &entry);
        let about = Properties { vault: Some(name.clone()), ..Properties::default() };
        let (vault, made) = self.recorded(Operation::VaultCreate, &about, || {
            Ok(EmbeddedVault::open_or_create_with(settings, protection, soft_delete)?)
        })?;
        if made {
            created.push(Created::Vault(name.clone(), vault.path().to_owned()));
        }
        config.vault.insert(name.to_string(), entry);
        Ok(Audited::new(Arc::new(vault), Arc::clone(self.trail())))
    }

    /// Takes the lock under which homes are set up.
    fn lock(&self) -> Result<File, HomeError> {
        make_folder(&self.paths().data)?;
        let path = self.paths().data.join(".lock");
        let fail = |source| HomeError::Io { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        file.lock().map_err(fail)?;
        Ok(file)
    }

    /// Reads the configuration again; returns whether there is one.
    fn reread(&self) -> Result<bool, HomeError> {
        let config = Config::read(&self.paths().config)?;
        let exists = config.is_some();
        *self.locked_config() = config;
        Ok(exists)
    }

    fn write_config(&self, config: Config, created: &mut Vec<Created>) -> Result<(), HomeError> {
        let path = &self.paths().config;
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        write_file(path, &config.to_text(), false)?;
        created.push(Created::Config(path.clone()));
        *self.locked_config() = Some(config);
        Ok(())
    }

    /// Writes another configuration over the present one.
    pub(super) fn replace_config(&self, config: Config) -> Result<(), HomeError> {
        write_file(&self.paths().config, &config.to_text(), true)?;
        *self.locked_config() = Some(config);
        Ok(())
    }

    /// Adds a vault's table at the end of the file, so that what a person wrote there stays as it is.
    fn append_vault(&self, name: &VaultName, config: &Config) -> Result<(), HomeError> {
        let path = &self.paths().config;
        let fail = |source| HomeError::Io { path: path.clone(), source };
        let mut text = std::fs::read_to_string(path).map_err(fail)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if let Some(entry) = config.vault.get(name.as_str()) {
            text.push('\n');
            text.push_str(&entry.to_text(name.as_str()));
        }
        write_file(path, &text, true)?;
        self.reread().map(|_| ())
    }
}

fn make_key(home: &Home, vault: &Audited<EmbeddedVault>, name: &KeyName, bits: usize) -> Result<KeyVersion, HomeError> {
    match vault.create(name, bits, &home.context()) {
        Err(error) if error.kind == ProviderErrorKind::Exists => {
            let key = crate::key::KeyRef::Named { vault: None, name: name.clone(), version: None };
            Ok(vault.version(&key, &home.context())?)
        }
        made => Ok(made?),
    }
}

fn make_folder(path: &Path) -> Result<(), HomeError> {
    let fail = |source| HomeError::Io { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(fail(error)),
    }
}

fn write_file(path: &Path, text: &str, replace: bool) -> Result<(), HomeError> {
    let partial = PartialFile::open(path, 0o600, replace)?;
    let fail = |source| HomeError::Io { path: partial.path().to_owned(), source };
    partial.file().set_len(0).and_then(|()| partial.file().write_all_at(text.as_bytes(), 0)).map_err(fail)?;
    Ok(partial.commit()?)
}

fn parse_vault(text: &str) -> Result<VaultName, HomeError> {
    text.parse().map_err(|source| HomeError::Name { text: text.to_owned(), source })
}

fn parse_name(text: &str) -> Result<KeyName, HomeError> {
    text.parse().map_err(|source| HomeError::Name { text: text.to_owned(), source })
}

const CUSTOMER: &str = "customer";
const PLATFORM: &str = "platform";
const DEFAULT_KEY: &str = "default";
const DEFAULT_BITS: usize = 3072;
