//! What others call the versions of a vault's keys. Authenticated with the vault's own row.

use rusqlite::{Connection, params};

use crate::key::{AliasKind, AliasPrefix, KeyAlias, KeyName, KeyVersion, SpkiHash, Thumbprint, VersionNumber};
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::columns::{put_bytes, stored};
use crate::provider::embedded::error::{Damage, Fault};
use crate::provider::embedded::provider::by_thumbprint;
use crate::provider::embedded::record::{Draft, Record};
use crate::provider::embedded::{EmbeddedVault, View};
use crate::provider::{KeyRefusal, OpContext, ProviderError, ProviderErrorKind, Right};

impl EmbeddedVault {
    /// Returns what the version with this thumbprint is called: the hash of its public half first, then what was recorded.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), [`Denied`](ProviderErrorKind::Denied); else the vault's answer.
    pub fn aliases(&self, of: &Thumbprint, cx: &OpContext) -> Result<Vec<KeyAlias>, ProviderError> {
        let text = format!("jkt:{of}");
        self.allow(Right::Get, &text)?;
        let found = self.looked_up(cx, &text, |view| {
            let Some(record) = by_thumbprint(view, of)?.into_iter().next() else { return Ok(None) };
            let mut known = vec![KeyAlias::Spki(SpkiHash::of(&record.public))];
            known.extend(list(view.connection, record.sequence)?);
            Ok(Some(known))
        })?;
        found.ok_or_else(|| self.missing(&text))
    }

    /// As [`KeyAdmin::import`](crate::provider::KeyAdmin::import), with what others call the key.
    ///
    /// # Errors
    ///
    /// As there; [`Unsupported`](ProviderErrorKind::Unsupported) for an alias that follows from the key itself, or too many.
    pub fn import_known(
        &self,
        key: &KeyName,
        private: &RsaPrivateKey,
        aliases: &[KeyAlias],
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        let mut draft = self.answered(key, Draft::of(private, self.settings.clock.now()))?;
        self.check_size(draft.public.bits(), key)?;
        draft.aliases = self.recordable(aliases.to_vec(), key.as_str())?;
        self.check_vacant(key, cx)?;
        self.add(key, &draft, cx)
    }

    /// Records aliases of one version, the newest where `version` is `None`, and forgets others. What is there already, or not there, is
    /// no error.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), [`Deleted`](ProviderErrorKind::Deleted), [`Denied`](ProviderErrorKind::Denied);
    /// [`Unsupported`](ProviderErrorKind::Unsupported) for an alias that follows from the key itself, or too many.
    pub fn change_aliases(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        add: &[KeyAlias],
        remove: &[KeyAlias],
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        self.allow(Right::Administer, key.as_str())?;
        let text = version.map_or_else(|| key.to_string(), |number| format!("{key}@{number}"));
        self.recordable([add, remove].concat(), &text)?;
        self.change_live(key, cx, |connection, meta, root, _| {
            let record = self.version_of(connection, meta, root, key, version)?.ok_or_else(|| self.missing(&text))?;
            let mut wanted = list(connection, record.sequence)?;
            wanted.retain(|alias| !remove.contains(alias));
            wanted.extend_from_slice(add);
            let wanted = self.recordable(wanted, &text)?;
            connection.prepare_cached("DELETE FROM aliases WHERE version = ?1")?.execute([stored(record.sequence)?])?;
            insert(connection, record.sequence, &wanted)?;
            meta.count_change()?;
            Ok(self.described(&record))
        })
    }

    /// Refuses aliases that are not recorded, and drops those that stand there twice.
    fn recordable(&self, mut aliases: Vec<KeyAlias>, key: &str) -> Result<Vec<KeyAlias>, ProviderError> {
        let refused = |cause| Err(self.declined(ProviderErrorKind::Unsupported, key, cause));
        aliases.sort_unstable();
        aliases.dedup();
        match aliases.iter().find(|alias| alias.kind() == AliasKind::Spki) {
            Some(computed) => refused(KeyRefusal::ComputedAlias(computed.clone())),
            None if aliases.len() > MOST => refused(KeyRefusal::TooManyAliases(aliases.len())),
            None => Ok(aliases),
        }
    }
}

/// Finds the versions to which an abbreviated alias may belong: no more than a person can choose from.
pub(super) fn find(view: &View<'_>, prefix: &AliasPrefix) -> Result<Vec<Record>, Fault> {
    let mut found: Vec<Record> = Vec::new();
    for (from, to) in prefix.ranges() {
        let records = match number(prefix.kind()) {
            None => view.records(
                &format!("WHERE versions.spki_sha256 >= ?1 AND versions.spki_sha256 < ?2 LIMIT {MOST_CANDIDATES}"),
                params![from, to],
            )?,
            Some(kind) => view.records(
                &format!(
                    "WHERE versions.sequence IN (SELECT version FROM aliases WHERE kind = ?3 AND value >= ?1 AND value < ?2
                     LIMIT {MOST_CANDIDATES})"
                ),
                params![from, to, kind],
            )?,
        };
        for record in records {
            if !found.iter().any(|known| known.sequence == record.sequence) {
                found.push(record);
            }
        }
    }
    Ok(found)
}

/// Returns the recorded aliases of a version in order.
pub(super) fn list(connection: &Connection, sequence: u64) -> Result<Vec<KeyAlias>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT kind, value FROM aliases WHERE version = ?1 ORDER BY kind, value")?;
    let mut rows = statement.query([stored(sequence)?])?;
    let mut aliases = Vec::new();
    while let Some(row) = rows.next()? {
        let value = row.get_ref(1)?.as_blob().map_err(|_| Damage::Value)?;
        let alias = kind_from(row.get(0)?).and_then(|kind| KeyAlias::from_bytes(kind, value));
        aliases.push(alias.ok_or(Damage::Value)?);
    }
    aliases.sort_unstable();
    Ok(aliases)
}

/// Records aliases that a version does not have yet.
pub(super) fn insert(connection: &Connection, sequence: u64, aliases: &[KeyAlias]) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("INSERT INTO aliases (kind, value, version) VALUES (?1, ?2, ?3)")?;
    for alias in aliases {
        let kind = number(alias.kind()).ok_or(Damage::Value)?;
        statement.execute(params![kind, alias.as_bytes(), stored(sequence)?])?;
    }
    Ok(())
}

/// Appends what the vault's MAC covers of all aliases.
pub(super) fn put_all(connection: &Connection, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let mut statement =
        connection.prepare_cached("SELECT version, kind, value FROM aliases ORDER BY version, kind, value")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        bytes.push(3);
        for column in 0..2 {
            bytes.extend_from_slice(&row.get::<_, i64>(column)?.to_le_bytes());
        }
        put_bytes(bytes, row.get_ref(2)?.as_blob().map_err(|_| Damage::Value)?);
    }
    Ok(())
}

/// Returns what a kind is stored as; `None` for one that is computed.
pub(super) fn number(kind: AliasKind) -> Option<u8> {
    match kind {
        AliasKind::Certificate => Some(1),
        AliasKind::CkaId => Some(2),
        AliasKind::Spki => None,
        AliasKind::Url => Some(3),
    }
}

/// Returns the kind that is stored as `stored`.
pub(super) fn kind_from(stored: u8) -> Option<AliasKind> {
    AliasKind::ALL.into_iter().find(|kind| number(*kind) == Some(stored))
}

/// What a person can choose from.
pub(super) const MOST_CANDIDATES: usize = 32;
/// A backup counts them in one byte.
pub(super) const MOST: usize = 255;
