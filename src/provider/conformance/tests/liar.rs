//! A vault that behaves but for one lie.

use std::sync::Mutex;

use super::*;
use crate::key::{Deletion, KeyDetails, KeyVersion, RotationPolicy, Thumbprint};
use crate::oaep::WrapAlgorithm;
use crate::provider::{BackupRecipient, BackupUnlock, ProviderError, ProviderErrorKind, WrappedKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    AcceptsAnySize,
    AnotherAlgorithmUnwraps,
    AnotherSecret,
    AnotherVaultInErrors,
    CensusDisagrees,
    CensusHidesOldVersions,
    CensusKnowsEverything,
    CensusReverses,
    ConfusesThreads,
    CreateGivesWhatIsThere,
    DisabledUnwraps,
    DisabledWraps,
    ErrorsHoldSecrets,
    ExpiredIsRefused,
    ExpiredWraps,
    FindsAnything,
    ForgetsTheVersion,
    IgnoresDeadlines,
    NewestIsOldest,
    None,
    OmitsTheVersionInIds,
    OracleByCause,
    OracleByKind,
    OracleByText,
    PanicsOnNothing,
    RotationKeepsMaterial,
    SaysCaseMatters,
    ServesOtherVaults,
    ThumbprintOfAnother,
    TriesItsKey,
    Truncates,
    TrustsTheId,
    WrapsTheSameTwice,
    WrapsUnderItsOwnKey,
}

impl Lie {
    /// Every lie, and a check that must catch it.
    pub(super) const AT_RUN_TIME: &[(Self, &str)] = &[
        (Self::AnotherAlgorithmUnwraps, "unwrapping_by_another_algorithm_fails"),
        (Self::AnotherSecret, "secrets_of_all_lengths_come_back"),
        (Self::AnotherVaultInErrors, "errors_name_the_vault"),
        (Self::CensusDisagrees, "census_and_look_up_agree"),
        (Self::CensusHidesOldVersions, "census_lists_all_versions_oldest_first"),
        (Self::CensusKnowsEverything, "census_knows_no_unknown_key"),
        (Self::CensusReverses, "census_lists_all_versions_oldest_first"),
        (Self::ConfusesThreads, "eight_threads_share_the_provider"),
        (Self::DisabledUnwraps, "disabled_key_is_found_and_does_nothing"),
        (Self::DisabledWraps, "kek_described_as_disabled_does_not_wrap"),
        (Self::DisabledWraps, "disabled_key_is_found_and_does_nothing"),
        (Self::ErrorsHoldSecrets, "errors_hold_no_secret"),
        (Self::ExpiredIsRefused, "expired_key_unwraps_and_never_wraps"),
        (Self::ExpiredWraps, "kek_described_as_expired_does_not_wrap"),
        (Self::ExpiredWraps, "expired_key_unwraps_and_never_wraps"),
        (Self::ExpiredWraps, "key_not_yet_valid_unwraps_and_never_wraps"),
        (Self::FindsAnything, "unknown_thumbprint_is_not_found"),
        (Self::FindsAnything, "unknown_name_is_not_found"),
        (Self::ForgetsTheVersion, "reference_with_version_gives_that_one"),
        (Self::ForgetsTheVersion, "unknown_version_is_not_found"),
        (Self::IgnoresDeadlines, "passed_deadline_is_a_timeout_at_once"),
        (Self::NewestIsOldest, "reference_without_version_gives_the_newest"),
        (Self::OmitsTheVersionInIds, "id_finds_the_same_version"),
        (Self::OracleByCause, "failures_to_unwrap_look_alike_and_have_no_cause"),
        (Self::OracleByKind, "ciphertext_of_another_length_does_not_unwrap"),
        (Self::OracleByText, "failures_to_unwrap_look_alike_and_have_no_cause"),
        (Self::PanicsOnNothing, "empty_ciphertext_does_not_unwrap"),
        (Self::SaysCaseMatters, "names_are_compared_without_case"),
        (Self::ServesOtherVaults, "name_in_another_vault_is_not_found"),
        (Self::ThumbprintOfAnother, "thumbprint_is_that_of_the_public_key"),
        (Self::TriesItsKey, "unknown_thumbprint_unwraps_nothing"),
        (Self::Truncates, "secret_too_long_for_the_key_is_refused"),
        (Self::TrustsTheId, "id_in_a_wrapped_key_is_only_a_hint"),
        (Self::WrapsTheSameTwice, "wrapping_twice_gives_two_ciphertexts"),
        (Self::WrapsUnderItsOwnKey, "wrapping_needs_the_public_half_only"),
    ];
    pub(super) const OF_ADMINISTRATORS: &[(Self, &str)] = &[
        (Self::AcceptsAnySize, "sizes_that_no_vault_has_are_refused"),
        (Self::CreateGivesWhatIsThere, "taken_name_is_refused_in_any_case"),
        (Self::RotationKeepsMaterial, "rotation_makes_new_material_and_the_old_version_unwraps"),
    ];
}

#[derive(Debug)]
pub(super) struct Liar {
    inner: Arc<EmbeddedVault>,
    lie: Lie,
    wrapped: Mutex<Option<WrappedKey>>,
    secret: Mutex<Vec<u8>>,
}

impl Liar {
    pub(super) fn new(inner: Arc<EmbeddedVault>, lie: Lie) -> Self {
        Self { inner, lie, wrapped: Mutex::default(), secret: Mutex::default() }
    }

    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    fn main(&self) -> KeyVersion {
        self.inner.version(&"main@1".parse().expect("a reference"), &OpContext::default()).expect("is there")
    }

    fn context(&self, cx: &OpContext) -> OpContext {
        if self.is(Lie::IgnoresDeadlines) { OpContext::default() } else { cx.clone() }
    }

    fn told(&self, mut version: KeyVersion) -> KeyVersion {
        if self.is(Lie::ThumbprintOfAnother) {
            version.thumbprint = Thumbprint::from_bytes([7; 32]);
        }
        if self.is(Lie::OmitsTheVersionInIds)
            && let Some((id, _)) = version.id.split_once('@')
        {
            version.id = id.to_owned();
        }
        version
    }

    fn named(&self, error: ProviderError) -> ProviderError {
        if self.is(Lie::AnotherVaultInErrors) {
            return ProviderError::new(error.kind, &"another".parse().expect("a name"), &error.key);
        }
        error
    }

    fn another_reference(&self, key: &KeyRef) -> KeyRef {
        match key.clone() {
            KeyRef::Named { vault, name, .. } if self.is(Lie::ForgetsTheVersion) => {
                KeyRef::Named { vault, name, version: None }
            }
            KeyRef::Named { vault, name, version: None } if self.is(Lie::NewestIsOldest) => {
                KeyRef::Named { vault, name, version: Some(VersionNumber::FIRST) }
            }
            KeyRef::Named { name, version, .. } if self.is(Lie::ServesOtherVaults) => {
                KeyRef::Named { vault: None, name, version }
            }
            key => key,
        }
    }
}

impl KeyProvider for Liar {
    fn name(&self) -> &VaultName {
        self.inner.name()
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        if let (Lie::SaysCaseMatters, KeyRef::Named { name, .. }) = (self.lie, key)
            && name.as_str().contains(char::is_uppercase)
        {
            return Err(ProviderError::new(ProviderErrorKind::NotFound, self.name(), &key.to_string()));
        }
        match self.inner.version(&self.another_reference(key), &self.context(cx)) {
            Ok(version) => Ok(self.told(version)),
            Err(_) if self.is(Lie::FindsAnything) => Ok(self.main()),
            Err(error) => Err(self.named(error)),
        }
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        match self.inner.find(of, &self.context(cx)) {
            Ok(version) => Ok(self.told(version)),
            Err(_) if self.is(Lie::FindsAnything) => Ok(self.main()),
            Err(error) => Err(self.named(error)),
        }
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        let mut kek = kek.clone();
        match self.lie {
            Lie::DisabledWraps => kek.state = KeyState::Enabled,
            Lie::ExpiredWraps => (kek.not_before, kek.not_after) = (None, None),
            Lie::WrapsUnderItsOwnKey => kek.public = self.main().public,
            _ => {}
        }
        if self.is(Lie::Truncates) && secret.len() > 190 {
            let mut short = SecretBytes::copied_from(secret.expose());
            short.truncate(190);
            return self.inner.wrap_key(&kek, &short, cx);
        }
        let wrapped = match self.inner.wrap_key(&kek, secret, &self.context(cx)) {
            Err(error) if self.is(Lie::ErrorsHoldSecrets) => {
                let text = String::from_utf8_lossy(secret.expose()).into_owned();
                return Err(ProviderError::new(error.kind, self.name(), &error.key).because(text));
            }
            wrapped => wrapped?,
        };
        if self.is(Lie::ConfusesThreads) {
            *self.secret.lock().expect("no panic") = secret.expose().to_vec();
        }
        if self.is(Lie::WrapsTheSameTwice) {
            return Ok(self.wrapped.lock().expect("no panic").get_or_insert(wrapped).clone());
        }
        Ok(wrapped)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        let other_length = wrapped.ciphertext.len() != 256;
        if self.is(Lie::PanicsOnNothing) {
            assert!(!wrapped.ciphertext.is_empty(), "a panic of this test's own");
        }
        if self.is(Lie::TrustsTheId) {
            let by = wrapped.id.parse().map_err(|_| ProviderErrorKind::NotFound);
            let by: KeyRef = by.map_err(|kind| ProviderError::new(kind, self.name(), &wrapped.id))?;
            self.inner.version(&by, cx)?;
        }
        let error = match self.inner.unwrap_key(wrapped, &self.context(cx)) {
            Ok(_) if self.is(Lie::AnotherSecret) => return Ok(SecretBytes::copied_from(b"another key's secret")),
            Ok(_) if self.is(Lie::ConfusesThreads) => {
                return Ok(SecretBytes::copied_from(&self.secret.lock().expect("no panic")));
            }
            Ok(_)
                if self.is(Lie::ExpiredIsRefused) && self.inner.find(&wrapped.thumbprint, cx)?.not_after.is_some() =>
            {
                return Err(ProviderError::new(ProviderErrorKind::Expired, self.name(), &wrapped.id));
            }
            Ok(secret) => return Ok(secret),
            Err(error) => error,
        };
        let say = |kind| ProviderError::new(kind, self.name(), &error.key);
        match (self.lie, error.kind) {
            (Lie::AnotherAlgorithmUnwraps, ProviderErrorKind::UnwrapFailed) => {
                let wrapped = WrappedKey { algorithm: WrapAlgorithm::RsaOaep256, ..wrapped.clone() };
                self.inner.unwrap_key(&wrapped, cx)
            }
            (Lie::DisabledUnwraps, ProviderErrorKind::Disabled) => {
                Ok(private("rsa3072").decrypt(wrapped.algorithm, &wrapped.ciphertext).expect("its own key"))
            }
            (Lie::OracleByCause, ProviderErrorKind::UnwrapFailed) => Err(error.because("bad padding")),
            (Lie::OracleByKind, ProviderErrorKind::UnwrapFailed) if other_length => {
                Err(say(ProviderErrorKind::Damaged))
            }
            (Lie::OracleByText, ProviderErrorKind::UnwrapFailed) if other_length => {
                Err(ProviderError::new(error.kind, self.name(), "a key of another length"))
            }
            (Lie::TriesItsKey, ProviderErrorKind::NotFound) => {
                let newest = self.inner.version(&"main".parse().expect("a reference"), cx)?;
                self.inner.unwrap_key(&WrappedKey { thumbprint: newest.thumbprint, ..wrapped.clone() }, cx)
            }
            _ => Err(self.named(error)),
        }
    }
}

impl KeyCensus for Liar {
    fn keys(&self, cx: &OpContext) -> Result<Vec<KeyName>, ProviderError> {
        self.inner.keys(cx)
    }

    fn deleted(&self, cx: &OpContext) -> Result<Vec<KeyDetails>, ProviderError> {
        self.inner.deleted(cx)
    }

    fn details(&self, key: &KeyName, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.inner.details(key, cx)
    }

    fn versions(&self, key: &KeyName, cx: &OpContext) -> Result<Vec<(VersionNumber, KeyVersion)>, ProviderError> {
        let mut versions = match self.inner.versions(key, cx) {
            Err(_) if self.is(Lie::CensusKnowsEverything) => return Ok(Vec::new()),
            versions => versions?,
        };
        match self.lie {
            Lie::CensusDisagrees => versions.iter_mut().for_each(|(_, version)| version.state = KeyState::Disabled),
            Lie::CensusHidesOldVersions => {
                versions.pop();
            }
            Lie::CensusReverses => versions.reverse(),
            _ => {}
        }
        Ok(versions)
    }

    fn backup(&self, key: &KeyName, to: Option<&BackupRecipient>, cx: &OpContext) -> Result<Vec<u8>, ProviderError> {
        self.inner.backup(key, to, cx)
    }
}

impl KeyAdmin for Liar {
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let bits = if self.is(Lie::AcceptsAnySize) { 2048 } else { bits };
        match self.inner.create(key, bits, &self.context(cx)) {
            Err(error) if self.is(Lie::CreateGivesWhatIsThere) && error.kind == ProviderErrorKind::Exists => {
                Ok(self.main())
            }
            created => created,
        }
    }

    fn import(&self, key: &KeyName, private: &RsaPrivateKey, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.inner.import(key, private, cx)
    }

    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        if self.is(Lie::RotationKeepsMaterial) {
            return self.inner.version(&key.as_str().parse().expect("a reference"), cx);
        }
        self.inner.rotate(key, &self.context(cx))
    }

    fn update(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        changes: &KeyChanges,
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        self.inner.update(key, version, changes, cx)
    }

    fn set_delete_lock(&self, key: &KeyName, locked: bool, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.inner.set_delete_lock(key, locked, cx)
    }

    fn set_policy(&self, key: &KeyName, policy: &RotationPolicy, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.inner.set_policy(key, policy, cx)
    }

    fn delete(&self, key: &KeyName, cx: &OpContext) -> Result<Deletion, ProviderError> {
        self.inner.delete(key, cx)
    }

    fn restore(&self, backup: &[u8], by: Option<BackupUnlock<'_>>, cx: &OpContext) -> Result<KeyName, ProviderError> {
        KeyAdmin::restore(&*self.inner, backup, by, cx)
    }
}
