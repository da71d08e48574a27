//! Looking at vaults before anything depends on them (R17, R34, R37).

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use crate::clock::UnixTime;
use crate::io::Escaped;
use crate::key::{KeyVersion, PolicyAction, Thumbprint, VaultName};
use crate::manage::{Home, HomeError, KeyWarning};
use crate::provider::embedded::{BackupStatus, EmbeddedVault, Owner, SoftDelete, VaultVerdict};
use crate::provider::{KeyCensus, KeyProvider, OpContext, Right, Role};

/// What a look at one vault found.
#[derive(Debug)]
pub struct VaultCheck {
    /// The vault.
    pub vault: VaultName,
    /// Its database.
    pub path: PathBuf,
    /// Whose keys it holds, by the configuration.
    pub owner: Owner,
    /// The role in which it was looked at; `None` for every right.
    pub role: Option<Role>,
    /// What is in it, or why it can't be used.
    pub state: Result<VaultState, HomeError>,
    /// What should be known, and is no failure.
    pub warnings: Vec<VaultWarning>,
}

impl VaultCheck {
    /// Says of every right whether the role has it.
    pub fn rights(&self) -> impl Iterator<Item = (Right, bool)> + use<> {
        let role = self.role;
        Right::ALL.into_iter().map(move |right| (right, role.is_none_or(|role| role.has(right))))
    }
}

/// A vault that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultState {
    /// What its records are worth.
    pub verdict: VaultVerdict,
    /// What becomes of deleted keys.
    pub soft_delete: SoftDelete,
    /// Whether every key exists elsewhere too.
    pub backup: BackupStatus,
}

/// Something that should be known of a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultWarning {
    /// No backup has all its keys as they are.
    BackupOutdated {
        /// When the newest backup was taken; `None` where there is none.
        last: Option<UnixTime>,
    },
    /// Something is dated later than now: the clock was ahead then, or is behind.
    Clock {
        /// What: a key version, or the newest backup.
        what: String,
        /// Its date.
        dated: UnixTime,
        /// The clock now.
        now: UnixTime,
    },
    /// The platform's vault holds a customer's key as well (R6).
    CustomerKey {
        /// The platform's version.
        key: String,
        /// The customer's version with the same material.
        with: String,
    },
    /// The newest version of a key seals nothing any more.
    Expired {
        /// The version.
        key: String,
        /// Since when.
        since: UnixTime,
    },
    /// What a seal with this key would say, too.
    Key(KeyWarning),
    /// The role may not list, so no key was looked at.
    KeysNotListed(Role),
    /// Deleted keys of a customer can be purged at once (R36).
    NoPurgeProtection,
    /// A rotation policy wants somebody to be told.
    NotifyDue {
        /// The newest version of the key.
        key: String,
        /// Since when.
        since: UnixTime,
    },
    /// A rotation policy wants a new version.
    RotationDue {
        /// The newest version of the key.
        key: String,
        /// Since when.
        since: UnixTime,
    },
    /// A passphrase protects the vault and none was given: its records were read, but not authenticated.
    Unauthenticated,
}

impl VaultWarning {
    /// Returns the warning's name, in lower case with underscores, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BackupOutdated { .. } => "backup_outdated",
            Self::Clock { .. } => "clock",
            Self::CustomerKey { .. } => "customer_key",
            Self::Expired { .. } => "expired",
            Self::Key(KeyWarning::NearExpiry { .. }) => "near_expiry",
            Self::KeysNotListed(_) => "keys_not_listed",
            Self::NoPurgeProtection => "no_purge_protection",
            Self::NotifyDue { .. } => "notify_due",
            Self::RotationDue { .. } => "rotation_due",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// Returns the key that is meant, where it is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::CustomerKey { key, .. }
            | Self::Expired { key, .. }
            | Self::Key(KeyWarning::NearExpiry { key, .. })
            | Self::NotifyDue { key, .. }
            | Self::RotationDue { key, .. } => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for VaultWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupOutdated { last: None } => f.write_str("it was never backed up; run: sobre vault backup FILE"),
            Self::BackupOutdated { last: Some(last) } => {
                write!(f, "the backup of {last} does not have all its keys as they are; run: sobre vault backup FILE")
            }
            Self::Clock { what, dated, now } => {
                write!(f, "{} is dated {dated}, but the clock says {now}: it is wrong, or was", Escaped(what))
            }
            Self::CustomerKey { key, with } => write!(
                f,
                "{} is the customer's key {}: what the platform's vault may open, the customer can't revoke",
                Escaped(key),
                Escaped(with)
            ),
            Self::Expired { key, since } => {
                write!(f, "key {} expired on {since} and seals nothing; run: sobre key rotate KEY", Escaped(key))
            }
            Self::Key(warning) => warning.fmt(f),
            Self::KeysNotListed(role) => write!(f, "no key was looked at: the role '{role}' has no right 'list'"),
            Self::NoPurgeProtection => {
                f.write_str("deleted keys can be purged at once; run: sobre vault update NAME --purge-protection")
            }
            Self::NotifyDue { key, since } => {
                write!(f, "key {}: its policy wants you to know since {since}", Escaped(key))
            }
            Self::RotationDue { key, since } => {
                write!(f, "key {} is to be rotated since {since}; run: sobre key rotate KEY", Escaped(key))
            }
            Self::Unauthenticated => {
                f.write_str("no passphrase was given, so its records were read but not authenticated")
            }
        }
    }
}

impl Home {
    /// Looks at a configured vault: its files and who may use them, every record, the rights of the role, its backup, its keys and the
    /// clock. Nothing is changed and no key is used. A vault that can't be used is no error here, but what [`VaultCheck::state`] says.
    ///
    /// # Errors
    ///
    /// [`HomeError::VaultNotConfigured`], [`HomeError::NotSetUp`].
    pub fn check(&self, name: &VaultName) -> Result<VaultCheck, HomeError> {
        let config = self.vault_config(name)?;
        let mut warnings = Vec::new();
        let state = self.look_at(name, &mut warnings);
        Ok(VaultCheck {
            vault: name.clone(),
            path: self.paths().data.join(&config.path),
            owner: config.owner.into(),
            role: self.role(),
            state,
            warnings,
        })
    }

    fn look_at(&self, name: &VaultName, warnings: &mut Vec<VaultWarning>) -> Result<VaultState, HomeError> {
        let vault = self.vault(name)?;
        let cx = self.context();
        let state = look(&*vault, vault.unrecorded(), self.role(), warnings, &cx)?;
        if vault.owner() == Owner::Platform && self.may_list() {
            self.find_customers_keys(name, warnings)?;
        }
        Ok(state)
    }

    /// Compares the platform's keys with those of the customers' vaults that can be opened: the others have a check of their own.
    fn find_customers_keys(&self, platform: &VaultName, warnings: &mut Vec<VaultWarning>) -> Result<(), HomeError> {
        let cx = self.context();
        let own = versions(&*self.vault(platform)?, &cx)?;
        let own: HashMap<Thumbprint, String> =
            own.into_iter().map(|version| (version.thumbprint, version.id)).collect();
        for name in self.vault_names()? {
            let Ok(vault) = self.vault(&name) else { continue };
            if vault.owner() == Owner::Platform {
                continue;
            }
            for version in versions(&*vault, &cx)? {
                if let Some(key) = own.get(&version.thumbprint) {
                    warnings.push(VaultWarning::CustomerKey { key: key.clone(), with: version.id });
                }
            }
        }
        Ok(())
    }

    fn may_list(&self) -> bool {
        self.role().is_none_or(|role| role.has(Right::List))
    }
}

/// Looks at one vault, through `census` at its keys.
fn look(
    census: &dyn KeyCensus,
    vault: &EmbeddedVault,
    role: Option<Role>,
    warnings: &mut Vec<VaultWarning>,
    cx: &OpContext,
) -> Result<VaultState, HomeError> {
    let verdict = vault.verify(cx)?;
    let state = VaultState { verdict, soft_delete: vault.soft_delete(cx)?, backup: vault.backup_status(cx)? };
    let now = cx.now();
    if !verdict.authenticated {
        warnings.push(VaultWarning::Unauthenticated);
    }
    if !state.backup.current {
        warnings.push(VaultWarning::BackupOutdated { last: state.backup.last_backup });
    }
    if vault.owner() == Owner::Customer && !state.soft_delete.purge_protection {
        warnings.push(VaultWarning::NoPurgeProtection);
    }
    let mut dates: Vec<(String, UnixTime)> = Vec::new();
    dates.extend(state.backup.last_backup.map(|time| (format!("the newest backup of {}", vault.name()), time)));
    match role.filter(|role| !role.has(Right::List)) {
        Some(role) => warnings.push(VaultWarning::KeysNotListed(role)),
        None => look_at_keys(census, warnings, &mut dates, cx)?,
    }
    let late = dates.into_iter().filter(|(_, dated)| *dated > now.plus(TOLERANCE));
    warnings.extend(late.map(|(what, dated)| VaultWarning::Clock { what, dated, now }));
    Ok(state)
}

/// Looks at the newest version of every key, and at the dates of all.
fn look_at_keys(
    census: &dyn KeyCensus,
    warnings: &mut Vec<VaultWarning>,
    dates: &mut Vec<(String, UnixTime)>,
    cx: &OpContext,
) -> Result<(), HomeError> {
    let now = cx.now();
    for name in census.keys(cx)? {
        let details = census.details(&name, cx)?;
        let versions: Vec<KeyVersion> = census.versions(&name, cx)?.into_iter().map(|(_, version)| version).collect();
        for version in &versions {
            dates.extend(version.created.map(|created| (format!("key {}", version.id), created)));
        }
        let Some(newest) = versions.last() else { continue };
        let key = || newest.id.clone();
        match newest.not_after {
            Some(since) if since <= now => warnings.push(VaultWarning::Expired { key: key(), since }),
            Some(expires) if expires <= now.plus(NEAR) => {
                warnings.push(VaultWarning::Key(KeyWarning::NearExpiry { key: key(), expires }));
            }
            _ => {}
        }
        for due in details.policy.due(newest, now) {
            warnings.push(match due.action {
                PolicyAction::Notify => VaultWarning::NotifyDue { key: key(), since: due.since },
                PolicyAction::Rotate => VaultWarning::RotationDue { key: key(), since: due.since },
            });
        }
    }
    Ok(())
}

/// Lists every version of every key, of deleted ones too.
fn versions(census: &dyn KeyCensus, cx: &OpContext) -> Result<Vec<KeyVersion>, HomeError> {
    let deleted = census.deleted(cx)?.into_iter().map(|key| key.name);
    let mut found = Vec::new();
    for name in census.keys(cx)?.into_iter().chain(deleted) {
        found.extend(census.versions(&name, cx)?.into_iter().map(|(_, version)| version));
    }
    Ok(found)
}

/// Seconds before its expiry from which on a key is spoken of, here as when it seals: 30 days.
const NEAR: u64 = 30 * 86_400;
/// Seconds by which clocks may differ.
const TOLERANCE: u64 = 60;

#[cfg(test)]
mod tests;
