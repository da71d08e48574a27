//! Which keys the token has.

use crate::key::{KeyDetails, KeyName, KeyVersion, RotationPolicy, VersionNumber};
use crate::provider::pkcs11::Pkcs11Vault;
use crate::provider::pkcs11::connection::Access;
use crate::provider::pkcs11::error::Fault;
use crate::provider::pkcs11::keys::{self, Label, Listing};
use crate::provider::{BackupRecipient, KeyCensus, OpContext, ProviderError, ProviderErrorKind};

/// Keys whose label is no name are not listed: they are found by thumbprint.
impl KeyCensus for Pkcs11Vault {
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError> {
        self.call("", Access::Public, cx, |session, token| {
            let mut names: Vec<_> = Listing::read(session, token)?
                .keys
                .into_iter()
                .filter_map(|key| match key.label {
                    Label::Name(name, _) => Some(name),
                    Label::Other => None,
                })
                .collect();
            names.sort_by_key(|name| name.as_str().to_ascii_lowercase());
            names.dedup_by(|one, other| one.as_str().eq_ignore_ascii_case(other.as_str()));
            Ok(names)
        })
    }

    fn deleted(&self, cx: &OpContext) -> Result<Vec<KeyDetails>, ProviderError> {
        cx.in_time(&self.name, "")?;
        Ok(Vec::new())
    }

    fn details(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.must_have(key, cx)?;
        Ok(KeyDetails { name: key.clone(), delete_lock: false, policy: RotationPolicy::default(), deletion: None })
    }

    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError> {
        let name = key.clone();
        let found = self.call(key.as_str(), Access::Public, cx, move |session, token| {
            let found = keys::named(session, token, &name)?;
            for number in found.iter().map(|(number, _)| *number) {
                let same = || found.iter().filter(|(other, _)| *other == number).map(|(_, key)| key);
                if same().nth(1).is_some() {
                    return Err(keys::ambiguous(same()));
                }
            }
            found.into_iter().map(|(number, key)| Ok((number, key.version?))).collect::<Result<Vec<_>, Fault>>()
        })?;
        if found.is_empty() { Err(self.missing(key.as_str())) } else { Ok(found) }
    }

    /// Refuses: what a token keeps does not leave it.
    fn backup(&self, key: &KeyName, _to: Option<&BackupRecipient>, cx: &OpContext) -> Result<Vec<u8>, ProviderError> {
        self.must_have(key, cx)?;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str()))
    }
}

impl Pkcs11Vault {
    pub(super) fn must_have(&self, key: &KeyName, cx: &OpContext) -> Result<(), ProviderError> {
        let name = key.clone();
        let found =
            self.call(key.as_str(), Access::Public, cx, move |session, token| keys::named(session, token, &name))?;
        if found.is_empty() { Err(self.missing(key.as_str())) } else { Ok(()) }
    }
}
