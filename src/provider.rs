//! Vaults: where KEKs live and how they are reached. Wrapping uses the public half and stays local; only unwrapping
//! goes to the vault.

mod bulk;
mod context;
#[cfg(feature = "store")]
pub mod embedded;
mod error;
#[cfg(feature = "store")]
pub mod import;
mod pem;

use std::fmt;

pub use bulk::{unwrap_each, wrap_all};
pub use context::OpContext;
pub use error::{Disposition, ProviderError, ProviderErrorKind};
pub use pem::{PemError, PemFault, PemFiles, PemKey};

use crate::key::{KeyName, KeyRef, KeyVersion, Thumbprint, VaultName, VersionNumber};
use crate::oaep::WrapAlgorithm;
use crate::secret::SecretBytes;

/// A secret wrapped under a KEK: it travels with the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which key unwraps it.
    pub thumbprint: Thumbprint,
    /// Where that key was, with its version: a hint.
    pub id: String,
    /// How it was wrapped.
    pub algorithm: WrapAlgorithm,
    /// RSA-OAEP ciphertext, as long as the modulus.
    pub ciphertext: Vec<u8>,
}

/// Run-time rights on a vault: get, wrap, unwrap (R34).
///
/// Implementations are shared between threads and block until the deadline of the [`OpContext`] at the latest.
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// Returns the name under which the vault is configured.
    fn name(&self) -> &VaultName;

    /// Returns the version that `key` names: the newest where it names none.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when this vault has no such key; else the vault's answer. A key that is disabled or deleted
    /// is *returned*, with its state.
    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Returns the version with this thumbprint.
    ///
    /// # Errors
    ///
    /// As [`version`](Self::version).
    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Wraps `secret`, at most 190 bytes for RSA-2048, under `kek` with RSA-OAEP (RFC 8017 §7.1). No remote call.
    ///
    /// # Errors
    ///
    /// [`Deleted`](ProviderErrorKind::Deleted), [`Disabled`](ProviderErrorKind::Disabled), [`Expired`](ProviderErrorKind::Expired) or
    /// [`NotYetValid`](ProviderErrorKind::NotYetValid) when `kek` may not wrap (R39, R63);
    /// [`Unsupported`](ProviderErrorKind::Unsupported) when `secret` is too long for it.
    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError>;

    /// Unwraps with the private half, which stays in the vault.
    ///
    /// # Errors
    ///
    /// [`UnwrapFailed`](ProviderErrorKind::UnwrapFailed), opaque, when the ciphertext is not this key's;
    /// [`NotFound`](ProviderErrorKind::NotFound) when the vault has no key with that thumbprint;
    /// [`Disabled`](ProviderErrorKind::Disabled) or [`Deleted`](ProviderErrorKind::Deleted) when the key may not be used. An expired key still
    /// unwraps.
    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError>;
}

/// Backup rights on a vault: which keys there are (R16).
pub trait KeyCensus: fmt::Debug + Send + Sync + 'static {
    /// Lists the names of all keys, in order.
    ///
    /// # Errors
    ///
    /// The vault's answer.
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError>;

    /// Lists the versions of one key, oldest first.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such key; else the vault's answer.
    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError>;
}

/// Administration rights on a vault. Not a subtrait of the others: an administrator need not be able to unwrap (R34).
pub trait KeyAdmin: fmt::Debug + Send + Sync + 'static {
    /// Generates version 1 of a new key of `bits` bits: 2048, 3072 or 4096.
    ///
    /// # Errors
    ///
    /// [`Exists`](ProviderErrorKind::Exists) when the name is taken, also by a deleted key (R71);
    /// [`Unsupported`](ProviderErrorKind::Unsupported) for another size.
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Generates the next version of a key, of the same size as the newest.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such key; else the vault's answer.
    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError>;
}

/// Wraps `secret` under the public half of `kek`: what every vault does that wraps locally.
pub(crate) fn wrap_locally(
    vault: &VaultName,
    kek: &KeyVersion,
    algorithm: WrapAlgorithm,
    secret: &SecretBytes,
    cx: &OpContext,
) -> Result<WrappedKey, ProviderError> {
    kek.may_wrap(cx.now()).map_err(|refusal| ProviderError::new(refusal.into(), vault, &kek.id))?;
    let ciphertext = kek
        .public
        .encrypt(algorithm, secret)
        .map_err(|error| ProviderError::new(ProviderErrorKind::Unsupported, vault, &kek.id).because(error))?;
    Ok(WrappedKey { thumbprint: kek.thumbprint, id: kek.id.clone(), algorithm, ciphertext })
}
