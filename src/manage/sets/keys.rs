//! The keys of sets: found, checked, proved, and the platform's made where there is none.

use crate::audit::{FailureKind, Operation, Properties, Text};
use crate::catalog::{SetKey, SetKind, SetName};
use crate::engine::{PolicyError, WrappingKey};
use crate::format::Layer;
use crate::key::{KeyName, KeyRef, VaultName};
use crate::manage::config::OwnerName;
use crate::manage::sets::{NewSet, SetError, events};
use crate::manage::{Created, FirstUse, Home, HomeError};
use crate::provider::embedded::{Owner, Protection, SoftDelete};
use crate::provider::{KeyAdmin, ProviderErrorKind};
use crate::random::{SystemRandom, random_secret};

impl Home {
    /// Returns the customer's and the platform's key that a new set is to have; `None` for the platform's when it is still to be made.
    pub(super) fn named_keys(&self, new: &NewSet) -> Result<(Option<KeyRef>, Option<KeyRef>), HomeError> {
        match (new.kind, &new.key, &new.platform_key) {
            (SetKind::Customer, _, Some(_)) => Err(SetError::KeyNotNeeded { kind: new.kind }.into()),
            (SetKind::Customer | SetKind::PlatformAndCustomer, None, _) => {
                Err(SetError::KeyNeeded { kind: new.kind }.into())
            }
            (SetKind::Customer, Some(key), None) => Ok((Some(key.clone()), None)),
            (SetKind::Platform, Some(_), Some(_)) => Err(SetError::KeyNotNeeded { kind: new.kind }.into()),
            (SetKind::Platform, Some(key), None) | (SetKind::Platform, None, Some(key)) => {
                Ok((None, Some(key.clone())))
            }
            (SetKind::Platform, None, None) => Ok((None, self.platform_key()?)),
            (SetKind::PlatformAndCustomer, Some(key), Some(platform)) => {
                Ok((Some(key.clone()), Some(platform.clone())))
            }
            (SetKind::PlatformAndCustomer, Some(key), None) => Ok((Some(key.clone()), self.platform_key()?)),
        }
    }

    /// Finds and checks the key that shall be active in a layer. It is not proved yet.
    pub(super) fn set_key(&self, kind: SetKind, layer: Layer, key: &KeyRef) -> Result<SetKey, HomeError> {
        let version = self.in_vault(key)?.version;
        let wants_customer = layer == Layer::Inner && kind != SetKind::Platform;
        if version.customer != wants_customer {
            return Err(SetError::Owner { key: version.id, customer: version.customer, kind }.into());
        }
        version
            .may_wrap(self.clock().now())
            .map_err(|refusal| PolicyError::KeyRefused { key: version.id.clone(), refusal })?;
        Ok(SetKey { layer, thumbprint: version.thumbprint, key_id: version.id })
    }

    /// Finds a key that lives in a vault.
    pub(super) fn in_vault(&self, key: &KeyRef) -> Result<WrappingKey, HomeError> {
        match key {
            KeyRef::File(_) => Err(SetError::KeyInFile(key.to_string()).into()),
            key => self.find(key),
        }
    }

    /// Wraps a secret under the key and has its vault unwrap it: what is sealed under it can be opened today.
    pub(in crate::manage) fn prove(&self, set: &SetName, key: &SetKey) -> Result<WrappingKey, HomeError> {
        let found = self.pinned(set, key)?;
        let cx = self.context();
        let secret = random_secret(&SystemRandom, CHALLENGE).map_err(crate::engine::Error::from)?;
        let wrapped = found.provider.wrap_key(&found.version, &secret, &cx)?;
        let back = found.provider.unwrap_key(&wrapped, &cx)?;
        if wrapped.thumbprint != key.thumbprint || !back.ct_eq(secret.expose()) {
            return Err(SetError::Challenge { key: key.key_id.clone() }.into());
        }
        Ok(found)
    }

    /// Finds a set's key where the set says that it is, and with the material that the set pinned.
    pub(in crate::manage) fn pinned(&self, set: &SetName, key: &SetKey) -> Result<WrappingKey, HomeError> {
        let found = self.in_vault(&Self::key_ref(&key.key_id)?)?;
        if found.version.thumbprint != key.thumbprint {
            let about = Properties {
                key: Some(Text::new(&key.key_id)),
                thumbprint: Some(found.version.thumbprint),
                vault: Some(found.provider.name().clone()),
                ..events::about(set)
            };
            self.refused(Operation::KeyGet, FailureKind::Lying, about);
            return Err(SetError::Pinned {
                set: set.to_string(),
                key: key.key_id.clone(),
                pinned: key.thumbprint,
                found: found.version.thumbprint,
            }
            .into());
        }
        Ok(found)
    }

    /// Names the platform's key, if there is one.
    fn platform_key(&self) -> Result<Option<KeyRef>, HomeError> {
        if let Some(text) = &self.config().platform_key {
            return Ok(Some(Self::key_ref(text)?));
        }
        let Some(vault) = self.platform_vault()? else { return Ok(None) };
        let key = default_key(&vault)?;
        match self.find(&key) {
            Err(HomeError::KeyNotFound { .. }) => Ok(None),
            found => found.map(|_| Some(key)),
        }
    }

    /// Makes the platform's key, and its vault where there is none.
    pub(super) fn make_platform_key(&self) -> Result<(KeyRef, Vec<Created>), HomeError> {
        let mut created = Vec::new();
        if self.is_fresh() {
            created = self.set_up(FirstUse::Single)?;
        }
        // Somebody may have been faster.
        if let Some(key) = self.platform_key()? {
            return Ok((key, created));
        }
        let name = match self.platform_vault()? {
            Some(name) => name,
            None => {
                let name: VaultName = parse(PLATFORM)?;
                let soft_delete = SoftDelete::of(Owner::Platform);
                match self.create_vault(&name, Owner::Platform, Protection::KeyFile, soft_delete) {
                    Err(HomeError::VaultExists(_)) if self.platform_vault()?.is_some() => {}
                    made => created.extend(made?),
                }
                name
            }
        };
        let key: KeyName =
            DEFAULT_KEY.parse().map_err(|source| HomeError::Name { text: DEFAULT_KEY.to_owned(), source })?;
        match self.vault(&name)?.create(&key, DEFAULT_BITS, &self.context()) {
            Err(error) if error.kind == ProviderErrorKind::Exists => {}
            made => created.push(Created::Key(made?.id)),
        }
        Ok((default_key(&name)?, created))
    }

    fn platform_vault(&self) -> Result<Option<VaultName>, HomeError> {
        let config = self.config();
        let found = config.vault.iter().find(|(_, vault)| vault.owner == OwnerName::Platform);
        found.map(|(name, _)| parse(name)).transpose()
    }
}

fn default_key(vault: &VaultName) -> Result<KeyRef, HomeError> {
    Home::key_ref(&format!("{vault}/{DEFAULT_KEY}"))
}

fn parse(name: &str) -> Result<VaultName, HomeError> {
    name.parse().map_err(|source| HomeError::Name { text: name.to_owned(), source })
}

const PLATFORM: &str = "platform";
const DEFAULT_KEY: &str = "default";
const DEFAULT_BITS: usize = 3072;
/// Bytes: as long as the secret of a layer is at least.
const CHALLENGE: usize = 64;
