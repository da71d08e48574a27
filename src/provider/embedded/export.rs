//! Handing a private key to another vault.

use crate::key::KeyVersion;
use crate::oaep::{RsaPrivateKey, RsaPublicKey};
use crate::provider::embedded::EmbeddedVault;
use crate::provider::embedded::provider::by_thumbprint;
use crate::provider::import::write_byok;
use crate::provider::{OpContext, ProviderError, ProviderErrorKind, Right};

/// Who can open a `.byok` file.
#[derive(Clone, Copy, Debug)]
pub struct ByokRecipient<'a> {
    /// The public half of the key that the file is wrapped for.
    pub target: &'a RsaPublicKey,
    /// What that key's vault calls it.
    pub kid: &'a str,
}

impl EmbeddedVault {
    /// Writes one version of a key as a `.byok` file (R69). The private half leaves the vault only wrapped for `to`.
    ///
    /// Takes two rights, to administer and to back up, which no single role has.
    ///
    /// # Errors
    ///
    /// [`Denied`](ProviderErrorKind::Denied), [`NotFound`](ProviderErrorKind::NotFound);
    /// [`Disabled`](ProviderErrorKind::Disabled) and [`Deleted`](ProviderErrorKind::Deleted) for a key that may not be used;
    /// [`Unsupported`](ProviderErrorKind::Unsupported) when it can't be wrapped for `to`.
    pub fn export_byok(
        &self,
        key: &KeyVersion,
        to: &ByokRecipient<'_>,
        cx: &OpContext,
    ) -> Result<Vec<u8>, ProviderError> {
        self.allow(Right::Administer, &key.id)?;
        self.allow(Right::Backup, &key.id)?;
        let root = self.root_key(cx).map_err(|error| self.answer(error, &key.id))?;
        let (record, pkcs8) = self.looked_up(cx, &key.id, |view| {
            let Some(record) = by_thumbprint(view, &key.thumbprint)?.into_iter().next() else {
                return Ok((None, None));
            };
            let pkcs8 = record.open(&view.meta, &root)?;
            Ok((Some(record), Some(pkcs8)))
        })?;
        let record = self.usable(record.as_ref(), &key.id)?;
        let pkcs8 = pkcs8.ok_or_else(|| self.missing(&key.id))?;
        let private =
            RsaPrivateKey::from_pkcs8_der(&pkcs8).map_err(|_| self.refused(ProviderErrorKind::Damaged, record))?;
        write_byok(&private, to.target, to.kid)
            .map_err(|error| self.refused(ProviderErrorKind::Unsupported, record).because(error))
    }
}
