//! Where the keys are that snapshots need, and what they may do there.

use std::fmt;
use std::sync::Arc;

use crate::catalog::{EPOCH_ALGORITHM as EPOCH, WrappedDek};
use crate::clock::UnixTime;
use crate::key::{KeyRef, KeyState, KeyVersion, Thumbprint, VaultName};
use crate::manage::{Home, HomeError};
use crate::oaep::WrapAlgorithm;
use crate::provider::{KeyCensus, KeyProvider, MissingRight, OpContext, ProviderErrorKind, Right, WrappedKey};
use crate::random::{SystemRandom, random_secret};

/// A key version that can open a layer of a snapshot, and where it is.
#[derive(Clone, Debug)]
pub struct NeededKey {
    /// The key.
    pub thumbprint: Thumbprint,
    /// Where it was when it wrapped, by one of the snapshots: a hint, not authenticated; empty without one.
    pub key_id: String,
    /// How many snapshots have a DEK wrapped under it.
    pub snapshots: u64,
    /// How many layers of snapshots have.
    pub layers: u64,
    /// By which algorithms; those that this version does not know are left out.
    pub algorithms: Vec<WrapAlgorithm>,
    /// How many snapshots it keeps from opening as things are.
    pub obstructs: u64,
    /// Where it is now, in the order in which vaults are asked.
    pub places: Vec<KeyPlace>,
    /// Whether a vault could not be asked, which may have it.
    pub uncertain: bool,
    /// The record of an epoch key, which is missing: the path of the file. What KEK is behind it is not known then.
    pub missing_record: Option<String>,
}

impl NeededKey {
    pub(super) fn new(dek: &WrappedDek) -> Self {
        Self {
            thumbprint: dek.thumbprint,
            key_id: dek.key_id.clone(),
            snapshots: 0,
            layers: 0,
            algorithms: Vec::new(),
            obstructs: 0,
            places: Vec::new(),
            uncertain: false,
            missing_record: dek.epoch.filter(|_| dek.algorithm == EPOCH).map(|_| dek.key_id.clone()),
        }
    }

    pub(super) fn count(&mut self, dek: &WrappedDek) {
        self.layers += 1;
        if self.key_id.is_empty() {
            self.key_id.clone_from(&dek.key_id);
        }
        if let Some(algorithm) = algorithm_of(dek).filter(|algorithm| !self.algorithms.contains(algorithm)) {
            self.algorithms.push(algorithm);
        }
    }

    /// Returns what is known of the key as a whole.
    pub fn state(&self) -> NeedState {
        let named = |place: &&KeyPlace| place.id.eq_ignore_ascii_case(&self.key_id);
        if self.missing_record.is_some() {
            return NeedState::RecordMissing;
        }
        match self.places.first() {
            None if self.uncertain => NeedState::Unknown,
            None => NeedState::Gone,
            Some(first) if self.key_id.is_empty() || self.places.iter().any(|place| named(&place)) => {
                NeedState::Here(first.standing)
            }
            Some(first) => NeedState::Elsewhere(first.standing),
        }
    }

    /// Returns the first place at which the key unwraps.
    pub fn usable(&self) -> Option<&KeyPlace> {
        self.places.iter().find(|place| place.is_usable())
    }

    /// Returns what a person calls the key: where it is, else where it was, else its thumbprint.
    pub fn label(&self) -> String {
        match self.places.first() {
            Some(place) => place.id.clone(),
            None if self.key_id.is_empty() => format!("jkt:{}", self.thumbprint),
            None => self.key_id.clone(),
        }
    }
}

/// What is known of a key as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeedState {
    /// Not where the snapshots say, but the same key under another name or in another vault.
    Elsewhere(Standing),
    /// In no vault.
    Gone,
    /// Where the snapshots say.
    Here(Standing),
    /// It is behind an epoch key whose record is missing.
    RecordMissing,
    /// In no vault that could be asked; others could not be.
    Unknown,
}

/// A key version in a vault.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    /// The vault.
    pub vault: VaultName,
    /// What the key is called there, with its version.
    pub id: String,
    /// What it may do there.
    pub standing: Standing,
    /// What came of the challenge, where there was one.
    pub challenge: Option<Challenge>,
}

impl KeyPlace {
    /// Whether the key unwraps here, by everything that is known.
    pub fn is_usable(&self) -> bool {
        self.standing.is_usable() && !matches!(self.challenge, Some(Challenge::Failed(_)))
    }
}

/// What a key version may do in a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Soft-deleted; the time until which it can be recovered for certain, where the caller may know it.
    Deleted(Option<UnixTime>),
    /// Switched off.
    Disabled,
    /// In use.
    Enabled,
    /// Its time to wrap is over; it still unwraps (R63).
    Expired(UnixTime),
    /// Its time to wrap has not come; it unwraps all the same (R63).
    NotYetValid(UnixTime),
    /// The vault does not say.
    Refused(ProviderErrorKind),
    /// The key is there, but the caller may not unwrap with it.
    RightMissing(MissingRight),
}

impl Standing {
    fn of(version: &KeyVersion, now: UnixTime) -> Self {
        match (version.state, version.not_before, version.not_after) {
            (KeyState::Deleted, ..) => Self::Deleted(None),
            (KeyState::Disabled, ..) => Self::Disabled,
            (KeyState::Enabled, Some(from), _) if now < from => Self::NotYetValid(from),
            (KeyState::Enabled, _, Some(until)) if now >= until => Self::Expired(until),
            (KeyState::Enabled, ..) => Self::Enabled,
        }
    }

    /// Whether the key unwraps.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Enabled | Self::Expired(_) | Self::NotYetValid(_))
    }

    /// Returns the standing's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted(_) => "deleted",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Expired(_) => "expired",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Refused(_) => "refused",
            Self::RightMissing(_) => "right_missing",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted(Some(until)) => write!(f, "deleted, can be recovered until {until} at least"),
            Self::Deleted(None) => f.write_str("deleted, may be recoverable"),
            Self::Disabled => f.write_str("disabled"),
            Self::Enabled => f.write_str("enabled"),
            Self::Expired(until) => write!(f, "expired on {until}, still unwraps"),
            Self::NotYetValid(from) => write!(f, "not valid before {from}, unwraps already"),
            Self::Refused(kind) => write!(f, "the vault does not answer ({kind:?})"),
            Self::RightMissing(missing) => missing.fmt(f),
        }
    }
}

/// What came of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// The vault refused, failed, or returned something else.
    Failed(ProviderErrorKind),
    /// The secret came back.
    Passed,
}

/// A vault that could not be asked.
#[derive(Debug)]
pub struct UnansweredVault {
    /// The vault.
    pub vault: VaultName,
    /// Why not.
    pub error: HomeError,
}

/// The vaults of a home, to be asked where keys are.
#[derive(Debug)]
pub(in crate::manage) struct Vaults {
    open: Vec<Arc<dyn Vault>>,
    pub(in crate::manage) unanswered: Vec<UnansweredVault>,
    missing: Option<MissingRight>,
}

/// What can be asked of a vault here.
pub(in crate::manage) trait Vault: KeyProvider + KeyCensus {}

impl<T: KeyProvider + KeyCensus> Vault for T {}

impl Vaults {
    /// Opens those of `home`, in the order in which the engine asks them.
    pub(in crate::manage) fn of(home: &Home) -> Result<Self, HomeError> {
        let missing = home.role().and_then(|role| role.require(Right::Unwrap).err());
        let mut vaults = Self { open: Vec::new(), unanswered: Vec::new(), missing };
        for name in home.vault_names()? {
            match home.vault(&name) {
                Ok(vault) => vaults.open.push(vault),
                Err(error) => vaults.unanswered.push(UnansweredVault { vault: name, error }),
            }
        }
        Ok(vaults)
    }

    #[cfg(test)]
    pub(in crate::manage) fn these(open: Vec<Arc<dyn Vault>>) -> Self {
        Self { open, unanswered: Vec::new(), missing: None }
    }

    #[cfg(test)]
    pub(super) fn without(&mut self, role: crate::provider::Role) {
        self.missing = role.require(Right::Unwrap).err();
    }

    /// Returns every place at which a key version is.
    pub(in crate::manage) fn places(&self, of: &Thumbprint, cx: &OpContext) -> Vec<KeyPlace> {
        self.found(of, cx).into_iter().map(|found| found.place).collect()
    }

    pub(super) fn look_up(&self, key: &mut NeededKey, challenge: bool, cx: &(dyn Fn() -> OpContext + Sync)) {
        key.uncertain = !self.unanswered.is_empty();
        let found = self.found(&key.thumbprint, &cx());
        for Found { vault, version, mut place } in found {
            if let (true, Some(version)) = (challenge && place.standing.is_usable(), version) {
                place.challenge = Some(prove(&*vault, &version, &key.algorithms, &cx()));
            }
            key.places.push(place);
        }
    }

    fn found(&self, of: &Thumbprint, cx: &OpContext) -> Vec<Found> {
        let mut found = Vec::new();
        for vault in &self.open {
            let place = |id: String, standing| KeyPlace { vault: vault.name().clone(), id, standing, challenge: None };
            match vault.find(of, cx) {
                Ok(version) => {
                    let standing = match Standing::of(&version, cx.now()) {
                        Standing::Deleted(_) => Standing::Deleted(recoverable_until(&**vault, &version, cx)),
                        usable if usable.is_usable() => self.missing.map_or(usable, Standing::RightMissing),
                        other => other,
                    };
                    let place = place(version.id.clone(), standing);
                    found.push(Found { vault: Arc::clone(vault), version: Some(version), place });
                }
                Err(error) if error.kind == ProviderErrorKind::NotFound => {}
                Err(error) => {
                    let place = place(format!("jkt:{of}"), Standing::Refused(error.kind));
                    found.push(Found { vault: Arc::clone(vault), version: None, place });
                }
            }
        }
        found
    }
}

struct Found {
    vault: Arc<dyn Vault>,
    version: Option<KeyVersion>,
    place: KeyPlace,
}

/// Returns the algorithm of a wrapped DEK; `None` for what this version can't unwrap.
pub(in crate::manage) fn algorithm_of(dek: &WrappedDek) -> Option<WrapAlgorithm> {
    [WrapAlgorithm::RsaOaep, WrapAlgorithm::RsaOaep256].into_iter().find(|known| known.name() == dek.algorithm)
}

/// Until when a deleted key is kept, where the caller may list keys.
fn recoverable_until(vault: &dyn Vault, version: &KeyVersion, cx: &OpContext) -> Option<UnixTime> {
    let Ok(KeyRef::Named { name, .. }) = version.id.parse() else { return None };
    vault.details(&name, cx).ok()?.deletion.map(|deletion| deletion.recoverable_until)
}

/// Wraps a random secret with the public half and has the vault unwrap it.
fn prove(vault: &dyn Vault, version: &KeyVersion, algorithms: &[WrapAlgorithm], cx: &OpContext) -> Challenge {
    let Ok(secret) = random_secret(&SystemRandom, CHALLENGE) else {
        return Challenge::Failed(ProviderErrorKind::Unavailable);
    };
    for &algorithm in algorithms {
        // Not by `wrap_key`: an expired key does not wrap, and it is to be proved that it unwraps.
        let Ok(ciphertext) = version.public.encrypt(algorithm, &secret) else {
            return Challenge::Failed(ProviderErrorKind::Unsupported);
        };
        let wrapped = WrappedKey { thumbprint: version.thumbprint, id: version.id.clone(), algorithm, ciphertext };
        match vault.unwrap_key(&wrapped, cx) {
            Ok(answer) if answer.ct_eq(secret.expose()) => {}
            Ok(_) => return Challenge::Failed(ProviderErrorKind::Lying),
            Err(error) => return Challenge::Failed(error.kind),
        }
    }
    Challenge::Passed
}

/// As many bytes as an XTS key has.
const CHALLENGE: usize = 64;
