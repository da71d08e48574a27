//! Vaults: where KEKs live and how they are reached. Wrapping uses the public half and stays local; only unwrapping
//! goes to the vault.

mod audited;
mod bulk;
mod change;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
#[cfg(feature = "store")]
pub mod embedded;
mod error;
#[cfg(feature = "store")]
pub mod import;
mod pem;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod rights;

use std::fmt;

pub use audited::{Audited, Batch, NotRecorded, Trail};
pub use bulk::{unwrap_each, wrap_all};
pub use change::{BackupRecipient, BackupUnlock, KeyChanges, KeyRefusal};
pub use context::OpContext;
pub use error::{AmbiguousKey, Disposition, ProviderError, ProviderErrorKind};
pub use pem::{PemError, PemFault, PemFiles, PemKey};
pub use rights::{MissingRight, Right, Role, RoleError};

use crate::key::{
    Deletion, KeyDetails, KeyName, KeyRef, KeyVersion, RotationPolicy, Thumbprint, VaultName, VersionNumber,
};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
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
/// Implementations are shared between threads and block until the deadline of the [`OpContext`] at the latest. Where it has passed
/// already, every method but `name` answers [`Timeout`](ProviderErrorKind::Timeout) and does nothing.
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// Returns the name under which the vault is configured.
    fn name(&self) -> &VaultName;

    /// Returns the version that `key` names: the newest where it names none.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when this vault has no such key; [`Unsupported`](ProviderErrorKind::Unsupported) because of
    /// [`AmbiguousKey`] when the reference fits several; else the vault's answer. A key that is disabled or deleted is *returned*, with its
    /// state.
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

/// Backup rights on a vault: which keys there are, and copies of them (R16).
pub trait KeyCensus: fmt::Debug + Send + Sync + 'static {
    /// Lists the names of all keys that are not deleted, in order.
    ///
    /// # Errors
    ///
    /// The vault's answer.
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError>;

    /// Lists the keys that are soft-deleted and not yet purged, in the order of their names.
    ///
    /// # Errors
    ///
    /// The vault's answer.
    fn deleted(&self, cx: &OpContext) -> Result<Vec<KeyDetails>, ProviderError>;

    /// Returns what is known of a key as a whole, also of a deleted one.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such key; else the vault's answer.
    fn details(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError>;

    /// Lists the versions of one key, oldest first, also of a deleted one.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such key; else the vault's answer.
    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError>;

    /// Copies one key with all its versions, for [`KeyAdmin::restore`] in a vault of the same kind (R56, R70). `to` is who can open the
    /// copy; a vault that seals its backups itself takes `None`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), [`Deleted`](ProviderErrorKind::Deleted);
    /// [`Unsupported`](ProviderErrorKind::Unsupported) when the vault does not seal in this way.
    fn backup(&self, key: &KeyName, to: Option<&BackupRecipient>, cx: &OpContext) -> Result<Vec<u8>, ProviderError>;
}

/// Administration rights on a vault. Not a subtrait of the others: an administrator need not be able to unwrap (R34).
///
/// All methods but `create`, `import` and `restore` answer [`NotFound`](ProviderErrorKind::NotFound) for a key that is not there and
/// [`Deleted`](ProviderErrorKind::Deleted) for one that is soft-deleted (R71).
pub trait KeyAdmin: fmt::Debug + Send + Sync + 'static {
    /// Generates version 1 of a new key of `bits` bits: 2048, 3072 or 4096.
    ///
    /// # Errors
    ///
    /// [`Exists`](ProviderErrorKind::Exists) when the name is taken, also by a deleted key (R71);
    /// [`Unsupported`](ProviderErrorKind::Unsupported) for another size.
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Makes `private` version 1 of a new key.
    ///
    /// # Errors
    ///
    /// [`Exists`](ProviderErrorKind::Exists) when the name is taken, also by a deleted key, or the vault has the same material under another
    /// name, which the cause names; [`Unsupported`](ProviderErrorKind::Unsupported) for another size than 2048, 3072 or 4096 bits.
    fn import(&self, key: &KeyName, private: &RsaPrivateKey, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Generates the next version of a key, of the same size as the newest.
    ///
    /// # Errors
    ///
    /// As all methods.
    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError>;

    /// Changes one version: the newest where `version` is `None`. The other versions stay as they are.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ProviderErrorKind::Unsupported) for dates in the wrong order or out of range; else as all methods.
    fn update(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        changes: &KeyChanges,
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError>;

    /// Locks a key against deletion, or unlocks it (R42).
    ///
    /// # Errors
    ///
    /// As all methods.
    fn set_delete_lock(&self, key: &KeyName, locked: bool, cx: &OpContext) -> Result<KeyDetails, ProviderError>;

    /// Sets when a key is rotated and when somebody is told (R73). The vault does neither by itself.
    ///
    /// # Errors
    ///
    /// As all methods.
    fn set_policy(&self, key: &KeyName, policy: &RotationPolicy, cx: &OpContext) -> Result<KeyDetails, ProviderError>;

    /// Deletes a key with all its versions, softly: they do nothing any more, can be listed, recovered and purged, and the name stays taken
    /// (R71).
    ///
    /// # Errors
    ///
    /// [`Denied`](ProviderErrorKind::Denied) when the key is locked against deletion; else as all methods.
    fn delete(&self, key: &KeyName, cx: &OpContext) -> Result<Deletion, ProviderError>;

    /// Puts the key of a [`KeyCensus::backup`] into the vault, with its versions, dates and states (R56). `by` opens it; `None` where
    /// the vault does.
    ///
    /// # Errors
    ///
    /// [`Exists`](ProviderErrorKind::Exists) when the name is taken, also by a deleted key, or the vault has the same material under another
    /// name; [`Damaged`](ProviderErrorKind::Damaged) when it is no whole backup; [`Locked`](ProviderErrorKind::Locked) when it does not
    /// open; [`Unsupported`](ProviderErrorKind::Unsupported) when it is another kind of vault's, or another owner's.
    fn restore(&self, backup: &[u8], by: Option<BackupUnlock<'_>>, cx: &OpContext) -> Result<KeyName, ProviderError>;
}

/// The right to undo deletions, or to make them final. Apart from [`KeyAdmin`], so that one person alone can't destroy a key (R36).
pub trait KeyRecovery: fmt::Debug + Send + Sync + 'static {
    /// Brings a deleted key back as it was, with all its versions.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound); [`Unsupported`](ProviderErrorKind::Unsupported) when the key is not deleted.
    fn recover(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError>;

    /// Destroys a deleted key with all its versions, for ever. What was wrapped under it and nothing else is lost.
    ///
    /// # Errors
    ///
    /// [`Denied`](ProviderErrorKind::Denied) when purge protection keeps it, with the date until which it does;
    /// [`NotFound`](ProviderErrorKind::NotFound); [`Unsupported`](ProviderErrorKind::Unsupported) when the key is not deleted.
    fn purge(&self, key: &KeyName, cx: &OpContext) -> Result<(), ProviderError>;
}

/// Wraps `secret` under the public half of `kek`: what every vault does that wraps locally.
pub(crate) fn wrap_locally(
    vault: &VaultName,
    kek: &KeyVersion,
    algorithm: WrapAlgorithm,
    secret: &SecretBytes,
    cx: &OpContext,
) -> Result<WrappedKey, ProviderError> {
    cx.in_time(vault, &kek.id)?;
    kek.may_wrap(cx.now()).map_err(|refusal| ProviderError::new(refusal.into(), vault, &kek.id))?;
    let ciphertext = kek
        .public
        .encrypt(algorithm, secret)
        .map_err(|error| ProviderError::new(ProviderErrorKind::Unsupported, vault, &kek.id).because(error))?;
    Ok(WrappedKey { thumbprint: kek.thumbprint, id: kek.id.clone(), algorithm, ciphertext })
}
