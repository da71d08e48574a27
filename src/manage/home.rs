//! A home and its vaults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::{AuditError, CorrelationId, FailurePolicy};
use crate::clock::Clock;
use crate::engine::{Engine, LayerPolicy, WrappingKey};
use crate::key::{KeyRef, VaultName};
use crate::manage::audit::{self, HomeLog};
use crate::manage::epochs::CataloguedEpochs;
use crate::manage::vaults::Vaults;
use crate::manage::{Config, HomeError, Paths, VaultConfig};
use crate::provider::embedded::{EmbeddedVault, PassphraseSource};
use crate::provider::{AmbiguousKey, Audited, KeyProvider, OpContext, PemFiles, ProviderErrorKind, Role, Trail};
use crate::random::SystemRandom;

/// What opening a home takes.
#[derive(Clone, Debug)]
pub struct HomeSettings {
    /// Where configuration and vaults are.
    pub paths: Paths,
    /// Use this vault only.
    pub only: Option<VaultName>,
    /// What vaults are opened for; `None` for everything. A seat-belt, not a boundary: see [`Role`].
    pub role: Option<Role>,
    /// Who is asked for passphrases.
    pub passphrase: Arc<dyn PassphraseSource>,
    /// Time for every operation on a vault.
    pub deadline: Duration,
}

/// The configuration and its vaults, opened when they are needed. Cheap to clone, shared between threads.
#[derive(Clone, Debug)]
pub struct Home {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: Arc<Vaults>,
    vaults: Mutex<BTreeMap<VaultName, Arc<Audited<EmbeddedVault>>>>,
    trail: Arc<Trail>,
}

/// Keys that a person named, and an engine that can use them.
#[derive(Debug)]
pub struct Resolved {
    /// The keys, in the order in which they were named.
    pub keys: Vec<WrappingKey>,
    /// Whether every one of them has a copy outside this machine's vaults: it is in a file, or its vault is backed up.
    pub recoverable: bool,
}

impl Home {
    /// Reads the configuration. Opens and makes nothing else.
    ///
    /// # Errors
    ///
    /// [`HomeError::Config`], [`HomeError::Io`]; [`HomeError::Audit`] when the random generator fails.
    pub fn open(settings: HomeSettings) -> Result<Self, HomeError> {
        let config = Config::read(&settings.paths.config)?;
        let policy = config.as_ref().and_then(|config| config.audit_failure);
        let policy = policy.map_or_else(FailurePolicy::default, FailurePolicy::from);
        let correlation = CorrelationId::fresh(&SystemRandom).map_err(AuditError::from)?;
        let notices = settings.paths.data.join(audit::FOLDER).join("near-expiry");
        let base = Arc::new(Vaults::new(settings, config));
        let trail = Trail::new(Arc::new(HomeLog::new(&base)), policy, correlation).with_notices(notices);
        let inner = Inner { base, vaults: Mutex::default(), trail: Arc::new(trail) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether nothing was set up yet: there is no configuration file.
    pub fn is_fresh(&self) -> bool {
        self.locked_config().is_none()
    }

    /// Returns the configuration; an empty one when nothing was set up yet.
    pub fn config(&self) -> Config {
        self.locked_config().clone().unwrap_or_default()
    }

    /// Returns where configuration and vaults are.
    pub fn paths(&self) -> &Paths {
        &self.inner.base.settings.paths
    }

    /// Starts an operation: what calls to vaults carry.
    pub fn context(&self) -> OpContext {
        OpContext::new(self.clock(), self.inner.base.settings.deadline).with_correlation(self.trail().correlation())
    }

    /// Returns the vaults that are configured and not ruled out, by name.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`], [`HomeError::VaultNotConfigured`].
    pub fn vault_names(&self) -> Result<Vec<VaultName>, HomeError> {
        let config = self.config();
        if let Some(only) = &self.inner.base.settings.only {
            self.vault_config(only)?;
            return Ok(vec![only.clone()]);
        }
        config
            .vault
            .keys()
            .map(|name| name.parse().map_err(|source| HomeError::Name { text: name.clone(), source }))
            .collect()
    }

    /// Opens a configured vault; never makes one. What is done with its keys is recorded.
    ///
    /// # Errors
    ///
    /// [`HomeError::VaultNotConfigured`], [`HomeError::Vault`].
    pub fn vault(&self, name: &VaultName) -> Result<Arc<Audited<EmbeddedVault>>, HomeError> {
        let mut vaults = self.inner.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = vaults.get(name) {
            return Ok(Arc::clone(vault));
        }
        let config = self.vault_config(name)?;
        let vault = Arc::new(Audited::new(self.inner.base.open(name, &config)?, Arc::clone(self.trail())));
        vaults.insert(name.clone(), Arc::clone(&vault));
        Ok(vault)
    }

    /// Opens every configured vault.
    ///
    /// # Errors
    ///
    /// As [`vault`](Self::vault).
    pub fn vaults(&self) -> Result<Vec<Arc<Audited<EmbeddedVault>>>, HomeError> {
        self.vault_names()?.iter().map(|name| self.vault(name)).collect()
    }

    /// Parses a person's words for a key.
    ///
    /// # Errors
    ///
    /// [`HomeError::KeyText`].
    pub fn key_ref(text: &str) -> Result<KeyRef, HomeError> {
        text.parse().map_err(|source| HomeError::KeyText { text: text.to_owned(), source })
    }

    /// Finds one key in whichever vault has it.
    ///
    /// # Errors
    ///
    /// [`HomeError::KeyNotFound`] with every vault that was searched, [`HomeError::AmbiguousKey`], [`HomeError::Pem`], [`HomeError::Vault`].
    pub fn find(&self, key: &KeyRef) -> Result<WrappingKey, HomeError> {
        if let KeyRef::File(path) = key {
            let mut files = PemFiles::new();
            let version = files.add(path)?;
            return Ok(WrappingKey { provider: self.audited(files), version });
        }
        let names = match (key, &self.inner.base.settings.only) {
            (KeyRef::Named { vault: Some(vault), .. }, Some(only)) if vault != only => {
                return Err(HomeError::KeyNotFound {
                    key: key.to_string(),
                    searched: vec![only.to_string()],
                    config: self.paths().config.clone(),
                });
            }
            (KeyRef::Named { vault: Some(vault), .. }, _) => vec![vault.clone()],
            _ => self.vault_names()?,
        };
        let cx = self.context();
        let mut found: Vec<WrappingKey> = Vec::new();
        let mut matches = Vec::new();
        for name in &names {
            let vault = self.vault(name)?;
            match vault.version(&local(key), &cx) {
                Ok(version) => {
                    matches.push(version.id.clone());
                    found.push(WrappingKey { provider: Arc::clone(&vault) as Arc<dyn KeyProvider>, version });
                }
                Err(error) if error.kind == ProviderErrorKind::NotFound => {}
                Err(error) => match std::error::Error::source(&error).and_then(|cause| cause.downcast_ref()) {
                    // Several fit: they are listed, so that the person can choose.
                    Some(AmbiguousKey { ids }) => matches.extend_from_slice(ids),
                    None => return Err(error.into()),
                },
            }
        }
        match (found.pop(), matches.len()) {
            (Some(only), 1) => Ok(only),
            (_, 2..) => Err(HomeError::AmbiguousKey { key: key.to_string(), matches }),
            _ if self.is_fresh() => Err(HomeError::NotSetUp { config: self.paths().config.clone() }),
            _ => Err(HomeError::KeyNotFound {
                key: key.to_string(),
                searched: names.iter().map(ToString::to_string).collect(),
                config: self.paths().config.clone(),
            }),
        }
    }

    /// Finds the keys of one layer: the named ones, else the configured one; and, for a layer that the vaults of this machine
    /// could lose, the recovery keys.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find); [`HomeError::NoKeyConfigured`].
    pub fn keys_for(
        &self,
        named: &[String],
        setting: &'static str,
        configured: Option<&String>,
    ) -> Result<Resolved, HomeError> {
        let config = self.config();
        let texts: Vec<&String> =
            if named.is_empty() { configured.into_iter().collect() } else { named.iter().collect() };
        if texts.is_empty() {
            let config = self.paths().config.clone();
            return Err(HomeError::NoKeyConfigured { config, setting });
        }
        self.resolved(texts.into_iter().chain(&config.recovery))
    }

    /// Finds the named keys of one layer, and adds no recovery key.
    pub(super) fn keys_without_recovery(&self, named: &[String]) -> Result<Resolved, HomeError> {
        self.resolved(named.iter())
    }

    fn resolved<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<Resolved, HomeError> {
        let mut keys = Vec::new();
        for text in texts {
            let key = self.find(&Self::key_ref(text)?)?;
            // A recovery key that was named as well counts once.
            if !keys.iter().any(|known: &WrappingKey| known.version.thumbprint == key.version.thumbprint) {
                keys.push(key);
            }
        }
        let recoverable = self.is_recoverable(&keys)?;
        Ok(Resolved { keys, recoverable })
    }

    /// Makes the policy of one layer.
    ///
    /// # Errors
    ///
    /// [`HomeError::Engine`] when there are too many keys.
    pub fn layer(&self, resolved: &Resolved) -> Result<LayerPolicy, HomeError> {
        Ok(LayerPolicy::new(resolved.keys.clone())?)
    }

    /// Returns an engine that opens with the configured vaults; a layer that is wrapped for one of `keys` opens with exactly those. Where
    /// all of them are in files, vaults that can't be opened are left out: the files may be all that is left.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn engine(&self, keys: &[String]) -> Result<Engine, HomeError> {
        let mut providers: Vec<Arc<dyn KeyProvider>> = Vec::new();
        let mut only = Vec::new();
        let mut files = PemFiles::new();
        let (mut needs_files, mut needs_vaults) = (false, keys.is_empty());
        for text in keys {
            match Self::key_ref(text)? {
                KeyRef::File(path) => {
                    only.push(files.add(&path)?.thumbprint);
                    needs_files = true;
                }
                other => {
                    only.push(self.find(&other)?.version.thumbprint);
                    needs_vaults = true;
                }
            }
        }
        if needs_files {
            providers.push(self.audited(files));
        }
        for name in self.vault_names()? {
            match self.vault(&name) {
                Ok(vault) => providers.push(vault),
                Err(error) if needs_vaults => return Err(error),
                // The keys in files may be all that is left of a home.
                Err(_) => {}
            }
        }
        Ok(self.engine_with(providers).with_keys(only))
    }

    /// Returns an engine that has the vaults of these keys and no others: sealing needs no more, also when it resumes.
    pub fn engine_for(&self, layers: &[&Resolved]) -> Engine {
        let mut providers: Vec<Arc<dyn KeyProvider>> = Vec::new();
        for key in layers.iter().flat_map(|layer| &layer.keys) {
            if !providers.iter().any(|known| Arc::ptr_eq(known, &key.provider)) {
                providers.push(Arc::clone(&key.provider));
            }
        }
        self.engine_with(providers)
    }

    pub(super) fn engine_with(&self, providers: Vec<Arc<dyn KeyProvider>>) -> Engine {
        let engine = Engine::new(providers).with_deadline(self.inner.base.settings.deadline);
        let engine = engine.with_epochs(vec![Arc::new(CataloguedEpochs::of(self))]);
        engine.with_correlation(self.trail().correlation()).with_trail(Arc::clone(self.trail()))
    }

    /// Records what is done with keys in files.
    fn audited(&self, files: PemFiles) -> Arc<dyn KeyProvider> {
        Arc::new(Audited::new(Arc::new(files), Arc::clone(self.trail())))
    }

    /// Whether the loss of this machine's vaults would still leave a key: one is in a file, or its vault is backed up.
    fn is_recoverable(&self, keys: &[WrappingKey]) -> Result<bool, HomeError> {
        let cx = self.context();
        for key in keys {
            if key.version.id.starts_with("file:") {
                return Ok(true);
            }
            let vault = self.vault(key.provider.name())?;
            if vault.backup_status(&cx)?.current {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.inner.base.clock()
    }

    pub(super) fn trail(&self) -> &Arc<Trail> {
        &self.inner.trail
    }

    /// Returns what is below the record.
    pub(super) fn vaults_as_they_are(&self) -> &Arc<Vaults> {
        &self.inner.base
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.inner.base.settings.role
    }

    pub(super) fn only(&self) -> Option<&VaultName> {
        self.inner.base.settings.only.as_ref()
    }

    pub(super) fn locked_config(&self) -> std::sync::MutexGuard<'_, Option<Config>> {
        self.inner.base.config()
    }

    pub(super) fn vault_config(&self, name: &VaultName) -> Result<VaultConfig, HomeError> {
        let config = self.config();
        if self.is_fresh() {
            return Err(HomeError::NotSetUp { config: self.paths().config.clone() });
        }
        let found = config.vault.get(name.as_str()).cloned();
        found.ok_or_else(|| HomeError::VaultNotConfigured {
            name: name.to_string(),
            known: config.vault.keys().cloned().collect(),
            config: self.paths().config.clone(),
        })
    }
}

/// Returns the reference without a vault: that need not know how it is called here.
fn local(key: &KeyRef) -> KeyRef {
    match key {
        KeyRef::Named { name, version, .. } => KeyRef::Named { vault: None, name: name.clone(), version: *version },
        other => other.clone(),
    }
}
