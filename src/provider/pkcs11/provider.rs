//! The token as a provider of keys.

use crate::key::{KeyAlias, KeyRef, KeyVersion, SpkiHash, Thumbprint, VaultName};
use crate::oaep::{OaepError, WrapAlgorithm};
use crate::provider::pkcs11::Pkcs11Vault;
use crate::provider::pkcs11::connection::Access;
use crate::provider::pkcs11::keys;
use crate::provider::pkcs11::unwrap;
use crate::provider::{KeyProvider, OpContext, ProviderError, ProviderErrorKind, WrappedKey, wrap_locally};
use crate::secret::SecretBytes;

impl KeyProvider for Pkcs11Vault {
    fn name(&self) -> &VaultName {
        &self.name
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let text = key.to_string();
        let found = match key.clone() {
            KeyRef::Alias(prefix) => self.call(&text, Access::Public, cx, move |session, token| {
                keys::matching(session, token, |key, version| {
                    let id = key.id.clone().map(KeyAlias::CkaId);
                    let public = KeyAlias::Spki(SpkiHash::of(&version.public));
                    prefix.matches(&public) || id.is_some_and(|id| prefix.matches(&id))
                })
            })?,
            KeyRef::File(_) => None,
            KeyRef::Named { vault: Some(vault), .. } if !vault.as_str().eq_ignore_ascii_case(self.name.as_str()) => {
                None
            }
            KeyRef::Named { name, version, .. } => self.call(&text, Access::Public, cx, move |session, token| {
                keys::pick(keys::named(session, token, &name)?, version)?.map(|key| key.version).transpose()
            })?,
            KeyRef::Thumbprint(prefix) => self.call(&text, Access::Public, cx, move |session, token| {
                keys::matching(session, token, |_, version| prefix.matches(&version.thumbprint))
            })?,
        };
        cx.in_time(&self.name, &text)?;
        found.ok_or_else(|| self.missing(&text))
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let (of, text) = (*of, format!("jkt:{of}"));
        let found = self.call(&text, Access::Public, cx, move |session, token| {
            keys::with_thumbprint(session, token, &of)?.map(|key| key.version).transpose()
        })?;
        found.ok_or_else(|| self.missing(&text))
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        cx.in_time(&self.name, &kek.id)?;
        // As much as every vault carries: SHA-1 would leave room for more, which no other vault could take over.
        if secret.len() > kek.public.modulus().len().saturating_sub(OVERHEAD) {
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, &kek.id).because(OaepError));
        }
        wrap_locally(&self.name, kek, self.algorithm(kek, cx)?, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        let asked = wrapped.clone();
        let unwrapped =
            self.call(&wrapped.id, Access::Private, cx, move |session, token| unwrap::unwrap(session, token, &asked))?;
        unwrapped.map_err(|(key, fault)| self.answer(fault, &key))
    }
}

impl Pkcs11Vault {
    fn algorithm(&self, kek: &KeyVersion, cx: &OpContext) -> Result<WrapAlgorithm, ProviderError> {
        if let Some(algorithm) = self.algorithm.get() {
            return Ok(*algorithm);
        }
        let public = kek.public.clone();
        let found =
            self.call(&kek.id, Access::Public, cx, move |session, token| unwrap::algorithm(session, token, &public))?;
        Ok(*self.algorithm.get_or_init(|| found))
    }
}

/// What RSA-OAEP-256 takes of a key's size, in bytes.
const OVERHEAD: usize = 2 * 32 + 2;
