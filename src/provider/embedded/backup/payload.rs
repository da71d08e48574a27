//! What a backup holds, and its canonical encoding.

use std::fmt;

use crate::clock::UnixTime;
use crate::format::{EpochRecord, HEAD_LEN};
use crate::key::{Deletion, KeyAlias, KeyDetails, RotationPolicy, Thumbprint, VaultName, VersionNumber};
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::aliases;
use crate::provider::embedded::backup::BackupError;
use crate::provider::embedded::backup::format::{Cursor, MOST_BYTES};
use crate::provider::embedded::record::{Draft, Record, enabled_from, state_number};
use crate::provider::embedded::{Owner, Retention, SoftDelete};
use crate::secret::SecretBytes;

/// The contents of a backup.
#[derive(Debug)]
pub struct Backup {
    /// When it was taken.
    pub taken: UnixTime,
    /// The vaults in it, at least one.
    pub vaults: Vec<BackupVault>,
    /// Records of epoch keys that are wrapped under the vaults' keys: no secrets.
    pub epochs: Vec<EpochRecord>,
}

/// One vault in a backup.
#[derive(Debug)]
pub struct BackupVault {
    /// The name under which it was configured.
    pub name: VaultName,
    /// Its id, random and its own.
    pub id: [u8; 16],
    /// Whose keys these are.
    pub owner: Owner,
    /// When the vault was made.
    pub created: UnixTime,
    /// What became of deleted keys in it.
    pub soft_delete: SoftDelete,
    /// When the backup was taken.
    pub taken: UnixTime,
    /// Its keys.
    pub keys: Vec<BackupKey>,
}

/// One key in a backup.
#[derive(Debug)]
pub struct BackupKey {
    /// Its name, lock, policy and deletion.
    pub details: KeyDetails,
    /// Its versions, oldest first, at least one.
    pub versions: Vec<BackupVersion>,
}

/// One version of a key in a backup, with its private half.
pub struct BackupVersion {
    /// Its number.
    pub number: VersionNumber,
    /// What it is.
    pub thumbprint: Thumbprint,
    pub(in crate::provider::embedded) draft: Draft,
}

impl BackupVersion {
    pub(super) fn of(record: &Record, pkcs8: SecretBytes, aliases: Vec<KeyAlias>) -> Self {
        Self {
            number: record.number,
            thumbprint: record.thumbprint,
            draft: Draft {
                created: record.created,
                enabled: record.enabled,
                not_before: record.not_before,
                not_after: record.not_after,
                public: record.public.clone(),
                pkcs8,
                aliases,
            },
        }
    }

    /// Whether the vault has this version with the same state, dates and aliases.
    pub(super) fn is_same(&self, record: &Record, aliases: &[KeyAlias]) -> bool {
        let draft = &self.draft;
        (draft.created, draft.enabled, draft.not_before, draft.not_after)
            == (record.created, record.enabled, record.not_before, record.not_after)
            && draft.aliases == aliases
    }

    /// Returns when it was made.
    pub fn created(&self) -> UnixTime {
        self.draft.created
    }

    /// Returns whether it was enabled when the backup was taken.
    pub fn is_enabled(&self) -> bool {
        self.draft.enabled
    }

    /// Returns what was recorded of its other names.
    pub fn aliases(&self) -> &[KeyAlias] {
        &self.draft.aliases
    }

    /// Returns when its time to wrap begins and ends.
    pub fn dates(&self) -> (Option<UnixTime>, Option<UnixTime>) {
        (self.draft.not_before, self.draft.not_after)
    }
}

impl fmt::Debug for BackupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupVersion({}, {})", self.number, self.thumbprint)
    }
}

impl Backup {
    /// Encodes into locked memory, which is measured first so that it never moves.
    pub(in crate::provider::embedded) fn encoded(&self) -> Result<SecretBytes, BackupError> {
        let mut len = 0_usize;
        self.encode(&mut |bytes: &[u8]| {
            len = len.saturating_add(bytes.len());
            Ok(())
        })?;
        if len > MOST_BYTES {
            return Err(BackupError::TooLarge);
        }
        let mut secret = SecretBytes::zeroed(len);
        let mut rest = secret.expose_mut();
        self.encode(&mut |bytes: &[u8]| {
            let (to, behind) =
                std::mem::take(&mut rest).split_at_mut_checked(bytes.len()).ok_or(BackupError::TooLarge)?;
            to.copy_from_slice(bytes);
            rest = behind;
            Ok(())
        })?;
        Ok(secret)
    }

    fn encode(&self, put: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>) -> Result<(), BackupError> {
        put(&self.taken.0.to_le_bytes())?;
        put(&count(self.vaults.len())?)?;
        for vault in &self.vaults {
            put_name(put, vault.name.as_str())?;
            put(&vault.id)?;
            put(&[vault.owner.number()])?;
            put(&vault.created.0.to_le_bytes())?;
            put(&[vault.soft_delete.retention.days(), u8::from(vault.soft_delete.purge_protection)])?;
            put(&count(vault.keys.len())?)?;
            for key in &vault.keys {
                let details = &key.details;
                put_name(put, details.name.as_str())?;
                put(&[u8::from(details.delete_lock)])?;
                let policy = if details.policy.is_empty() { String::new() } else { details.policy.to_string() };
                put_name(put, &policy)?;
                put_time(put, details.deletion.map(|deletion| deletion.deleted))?;
                put_time(put, details.deletion.map(|deletion| deletion.recoverable_until))?;
                put(&count(key.versions.len())?)?;
                for version in &key.versions {
                    let draft = &version.draft;
                    put(&version.number.get().to_le_bytes())?;
                    put(&draft.created.0.to_le_bytes())?;
                    put(&[state_number(draft.enabled)])?;
                    put_time(put, draft.not_before)?;
                    put_time(put, draft.not_after)?;
                    put(&u16::try_from(draft.pkcs8.len()).map_err(|_| BackupError::TooLarge)?.to_le_bytes())?;
                    put(draft.pkcs8.expose())?;
                    put(&[u8::try_from(draft.aliases.len()).map_err(|_| BackupError::TooLarge)?])?;
                    for alias in &draft.aliases {
                        let bytes = alias.as_bytes();
                        let kind = aliases::number(alias.kind()).ok_or(BackupError::Damaged)?;
                        put(&[kind])?;
                        put(&u16::try_from(bytes.len()).map_err(|_| BackupError::TooLarge)?.to_le_bytes())?;
                        put(bytes)?;
                    }
                }
            }
        }
        put(&count(self.epochs.len())?)?;
        for record in &self.epochs {
            put(&record.encode())?;
        }
        Ok(())
    }

    /// Decodes what [`encoded`](Self::encoded) makes, and nothing else. Counts take no memory: every item has bytes of its own.
    pub(in crate::provider::embedded) fn decoded(payload: &SecretBytes) -> Result<Self, BackupError> {
        let mut cursor = Cursor(payload.expose());
        let taken = time(&mut cursor)?;
        let count = u32::from_le_bytes(cursor.array()?);
        if !(1..=MOST_VAULTS).contains(&count) {
            return Err(BackupError::Damaged);
        }
        let vaults = (0..count).map(|_| vault(&mut cursor, taken)).collect::<Result<_, _>>()?;
        let count = u32::from_le_bytes(cursor.array()?);
        let epochs = (0..count).map(|_| epoch(&mut cursor)).collect::<Result<_, _>>()?;
        if cursor.0.is_empty() { Ok(Self { taken, vaults, epochs }) } else { Err(BackupError::Damaged) }
    }
}

fn vault(cursor: &mut Cursor<'_>, taken: UnixTime) -> Result<BackupVault, BackupError> {
    let name = name(cursor)?;
    let id = cursor.array()?;
    let [owner] = cursor.array()?;
    let owner = Owner::from_number(owner).ok_or(BackupError::Damaged)?;
    let created = time(cursor)?;
    let [retention] = cursor.array()?;
    let retention = Retention::of_days(retention).ok_or(BackupError::Damaged)?;
    let soft_delete = SoftDelete { retention, purge_protection: flag(cursor)? };
    let count = u32::from_le_bytes(cursor.array()?);
    let keys: Vec<BackupKey> = (0..count).map(|_| key(cursor)).collect::<Result<_, _>>()?;
    let mut names: Vec<String> = keys.iter().map(|key| key.details.name.as_str().to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != keys.len() {
        return Err(BackupError::Damaged);
    }
    Ok(BackupVault { name, id, owner, created, soft_delete, taken, keys })
}

fn epoch(cursor: &mut Cursor<'_>) -> Result<EpochRecord, BackupError> {
    EpochRecord::decode(cursor.take(HEAD_LEN)?).map_err(|_| BackupError::Damaged)
}

fn key(cursor: &mut Cursor<'_>) -> Result<BackupKey, BackupError> {
    let name = name(cursor)?;
    let delete_lock = flag(cursor)?;
    let policy = policy(cursor)?;
    let deletion = match (optional_time(cursor)?, optional_time(cursor)?) {
        (None, None) => None,
        (Some(deleted), Some(recoverable_until)) => Some(Deletion { deleted, recoverable_until }),
        _ => return Err(BackupError::Damaged),
    };
    let details = KeyDetails { name, delete_lock, policy, deletion };
    let count = u32::from_le_bytes(cursor.array()?);
    let versions: Vec<BackupVersion> = (0..count).map(|_| version(cursor)).collect::<Result<_, _>>()?;
    let ascending = versions.iter().zip(versions.iter().skip(1)).all(|(one, next)| one.number < next.number);
    if versions.is_empty() || !ascending { Err(BackupError::Damaged) } else { Ok(BackupKey { details, versions }) }
}

fn version(cursor: &mut Cursor<'_>) -> Result<BackupVersion, BackupError> {
    let number = VersionNumber::new(u32::from_le_bytes(cursor.array()?)).ok_or(BackupError::Damaged)?;
    let created = time(cursor)?;
    let [state] = cursor.array()?;
    let enabled = enabled_from(state).ok_or(BackupError::Damaged)?;
    let (not_before, not_after) = (optional_time(cursor)?, optional_time(cursor)?);
    let len = usize::from(u16::from_le_bytes(cursor.array()?));
    if len > MOST_PRIVATE {
        return Err(BackupError::Damaged);
    }
    let pkcs8 = SecretBytes::copied_from(cursor.take(len)?);
    let private = RsaPrivateKey::from_pkcs8_der(&pkcs8).map_err(|_| BackupError::Damaged)?;
    let public = private.public().map_err(|_| BackupError::Damaged)?;
    let thumbprint = Thumbprint::of(&public);
    let aliases = version_aliases(cursor)?;
    let draft = Draft { created, enabled, not_before, not_after, public, pkcs8, aliases };
    Ok(BackupVersion { number, thumbprint, draft })
}

/// Reads aliases in their one order, none twice.
fn version_aliases(cursor: &mut Cursor<'_>) -> Result<Vec<KeyAlias>, BackupError> {
    let [count] = cursor.array()?;
    let mut found: Vec<KeyAlias> = Vec::new();
    for _ in 0..count {
        let [kind] = cursor.array()?;
        let len = usize::from(u16::from_le_bytes(cursor.array()?));
        let bytes = cursor.take(len)?;
        let alias = aliases::kind_from(kind).and_then(|kind| KeyAlias::from_bytes(kind, bytes));
        let alias = alias.filter(|alias| found.last().is_none_or(|last| last < alias)).ok_or(BackupError::Damaged)?;
        found.push(alias);
    }
    Ok(found)
}

fn name<T: std::str::FromStr>(cursor: &mut Cursor<'_>) -> Result<T, BackupError> {
    let [len] = cursor.array()?;
    let text = std::str::from_utf8(cursor.take(usize::from(len))?).map_err(|_| BackupError::Damaged)?;
    text.parse().map_err(|_| BackupError::Damaged)
}

/// Reads a policy in its one text; no text for none.
fn policy(cursor: &mut Cursor<'_>) -> Result<RotationPolicy, BackupError> {
    let [len] = cursor.array()?;
    if len == 0 {
        return Ok(RotationPolicy::default());
    }
    let text = std::str::from_utf8(cursor.take(usize::from(len))?).map_err(|_| BackupError::Damaged)?;
    let policy: RotationPolicy = text.parse().map_err(|_| BackupError::Damaged)?;
    if policy.is_empty() { Err(BackupError::Damaged) } else { Ok(policy) }
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, BackupError> {
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(BackupError::Damaged),
    }
}

fn time(cursor: &mut Cursor<'_>) -> Result<UnixTime, BackupError> {
    let seconds = u64::from_le_bytes(cursor.array()?);
    if i64::try_from(seconds).is_ok() { Ok(UnixTime(seconds)) } else { Err(BackupError::Damaged) }
}

fn optional_time(cursor: &mut Cursor<'_>) -> Result<Option<UnixTime>, BackupError> {
    let [there] = cursor.array()?;
    match (there, time(cursor)?) {
        (0, UnixTime(0)) => Ok(None),
        (1, time) => Ok(Some(time)),
        _ => Err(BackupError::Damaged),
    }
}

fn count(items: usize) -> Result<[u8; 4], BackupError> {
    u32::try_from(items).map(u32::to_le_bytes).map_err(|_| BackupError::TooLarge)
}

fn put_name(put: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>, name: &str) -> Result<(), BackupError> {
    put(&[u8::try_from(name.len()).map_err(|_| BackupError::TooLarge)?])?;
    put(name.as_bytes())
}

fn put_time(put: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>, time: Option<UnixTime>) -> Result<(), BackupError> {
    put(&[u8::from(time.is_some())])?;
    put(&time.unwrap_or_default().0.to_le_bytes())
}

const MOST_VAULTS: u32 = 1024;
const MOST_PRIVATE: usize = 4096;
