//! The records of a vault and their authentication.
//!
//! A record is bound twice. Its private key is sealed with everything public about the version as associated data, so that an edited
//! row never unseals. And a MAC under a key derived from the root key covers the whole row, so that a swapped public key is found
//! *before* something is sealed with it. The MAC of the one `meta` row covers the names and the MACs of all rows as well: a row that
//! was taken away, or put back as it was before, is found too. Only an old copy of the whole database passes.

use rusqlite::{Connection, Params, Row, params};

use crate::clock::UnixTime;
use crate::kdf;
use crate::key::{Deletion, KeyAlias, KeyName, KeyState, SpkiHash, Thumbprint, VersionNumber};
use crate::oaep::{RsaPrivateKey, RsaPublicKey};
use crate::provider::embedded::aliases;
use crate::provider::embedded::columns::{array, bounded, put_bytes, put_time, stored, stored_time, time, unsigned};
use crate::provider::embedded::error::{Damage, Fault, VaultError};
use crate::provider::embedded::key_row::{KeyRow, deletion};
use crate::provider::embedded::meta::Meta;
use crate::provider::embedded::root::RootKey;
use crate::provider::embedded::sealed;
use crate::random::Random;
use crate::secret::SecretBytes;

/// One version of a key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) key: i64,
    pub(super) name: KeyName,
    pub(super) number: VersionNumber,
    pub(super) created: UnixTime,
    pub(super) enabled: bool,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
    /// The key's, with all its versions.
    pub(super) deletion: Option<Deletion>,
    pub(super) thumbprint: Thumbprint,
    pub(super) public: RsaPublicKey,
    /// The sealed PKCS#8.
    pub(super) private: Vec<u8>,
    mac: [u8; kdf::LEN],
}

impl Record {
    /// Selects versions, in bounds and, where `root` is given, authenticated one by one.
    pub(super) fn select(
        connection: &Connection,
        meta: &Meta,
        root: Option<&RootKey>,
        condition: &str,
        values: impl Params,
    ) -> Result<Vec<Self>, Fault> {
        let mut records = Vec::new();
        Self::each(connection, meta, root, condition, values, |record| records.push(record))?;
        Ok(records)
    }

    /// As [`select`](Self::select), one at a time: a vault may have many thousands.
    pub(super) fn each(
        connection: &Connection,
        meta: &Meta,
        root: Option<&RootKey>,
        condition: &str,
        values: impl Params,
        mut take: impl FnMut(Self),
    ) -> Result<(), Fault> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT versions.sequence, keys.id, keys.name, versions.number, versions.created, versions.state, versions.not_before,
             versions.not_after, versions.thumbprint, versions.spki, versions.private, versions.mac,
             keys.deleted, keys.recoverable_until, versions.spki_sha256 FROM versions JOIN keys ON keys.id = versions.key {condition}"
        ))?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            let record = Self::from_row(row)?;
            if let Some(root) = root {
                record.verify(meta, root)?;
            }
            take(record);
        }
        Ok(())
    }

    fn from_row(row: &Row<'_>) -> Result<Self, Fault> {
        let spki = bounded(row, 9, MOST_SPKI)?;
        let public = RsaPublicKey::from_spki_der(&spki).map_err(|_| Damage::Value)?;
        let record = Self {
            sequence: unsigned(row, 0)?,
            key: row.get(1)?,
            name: row.get::<_, String>(2)?.parse().map_err(|_| Damage::Value)?,
            number: VersionNumber::new(row.get(3)?).ok_or(Damage::Value)?,
            created: time(row, 4)?.ok_or(Damage::Value)?,
            enabled: enabled_from(row.get(5)?).ok_or(Damage::Value)?,
            not_before: time(row, 6)?,
            not_after: time(row, 7)?,
            thumbprint: Thumbprint::from_bytes(array(row, 8)?),
            public,
            private: bounded(row, 10, MOST_PRIVATE)?,
            mac: array(row, 11)?,
            deletion: deletion(row, 12)?,
        };
        // Needs no key, so it holds for a locked vault too.
        let hash = SpkiHash::from_bytes(array(row, 14)?);
        if Thumbprint::of(&record.public) != record.thumbprint || SpkiHash::of(&record.public) != hash {
            return Err(Damage::Authentication.into());
        }
        Ok(record)
    }

    /// Returns what the version may be used for.
    pub(super) fn state(&self) -> KeyState {
        match (self.deletion, self.enabled) {
            (Some(_), _) => KeyState::Deleted,
            (None, true) => KeyState::Enabled,
            (None, false) => KeyState::Disabled,
        }
    }

    /// Returns the MAC, which is another one after every change.
    pub(super) fn mac(&self) -> &[u8; kdf::LEN] {
        &self.mac
    }

    fn verify(&self, meta: &Meta, root: &RootKey) -> Result<(), Fault> {
        let ok = kdf::hmac_matches(&root.mac, &[&self.authenticated(meta)], &self.mac);
        if ok { Ok(()) } else { Err(Damage::Authentication.into()) }
    }

    /// Opens the private key.
    pub(super) fn open(&self, meta: &Meta, root: &RootKey) -> Result<SecretBytes, Fault> {
        sealed::unseal(&root.private, &self.context(meta), &self.private).map_err(|_| Damage::Authentication.into())
    }

    /// Seals `pkcs8` as this version's private key, authenticates the row and inserts it.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        meta: &Meta,
        root: &RootKey,
        pkcs8: &SecretBytes,
        random: &dyn Random,
    ) -> Result<(), Fault> {
        self.seal(meta, root, pkcs8, random)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO versions (sequence, key, number, created, state, not_before, not_after, thumbprint, spki, private, mac,
             spki_sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?;
        statement.execute(params![
            stored(self.sequence)?,
            self.key,
            self.number.get(),
            stored(self.created.0)?,
            state_number(self.enabled),
            stored_time(self.not_before)?,
            stored_time(self.not_after)?,
            self.thumbprint.as_bytes(),
            self.public.spki_der(),
            self.private,
            self.mac,
            SpkiHash::of(&self.public).as_bytes(),
        ])?;
        Ok(())
    }

    /// Changes state and dates, to which the private key is bound: it is sealed anew. The caller writes `meta` afterwards.
    pub(super) fn update(
        &mut self,
        connection: &Connection,
        meta: &Meta,
        root: &RootKey,
        random: &dyn Random,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), Fault> {
        let pkcs8 = self.open(meta, root)?;
        change(self);
        self.seal(meta, root, &pkcs8, random)?;
        let mut statement = connection.prepare_cached(
            "UPDATE versions SET state = ?2, not_before = ?3, not_after = ?4, private = ?5, mac = ?6 WHERE sequence = ?1",
        )?;
        statement.execute(params![
            stored(self.sequence)?,
            state_number(self.enabled),
            stored_time(self.not_before)?,
            stored_time(self.not_after)?,
            self.private,
            self.mac,
        ])?;
        Ok(())
    }

    fn seal(
        &mut self,
        meta: &Meta,
        root: &RootKey,
        pkcs8: &SecretBytes,
        random: &dyn Random,
    ) -> Result<(), VaultError> {
        self.private = sealed::seal(&root.private, &self.context(meta), pkcs8, random)?;
        self.mac = kdf::hmac(&root.mac, &[&self.authenticated(meta)]);
        Ok(())
    }

    /// The canonical encoding of everything that the private key is bound to.
    fn context(&self, meta: &Meta) -> Vec<u8> {
        let mut bytes = b"sobre/1 vault version".to_vec();
        bytes.extend_from_slice(&meta.vault);
        bytes.push(meta.owner.number());
        put_bytes(&mut bytes, self.name.as_str().as_bytes());
        bytes.extend_from_slice(&self.number.get().to_le_bytes());
        put_time(&mut bytes, Some(self.created));
        bytes.push(state_number(self.enabled));
        put_time(&mut bytes, self.not_before);
        put_time(&mut bytes, self.not_after);
        bytes.extend_from_slice(&kdf::sha256(&[self.public.spki_der()]));
        bytes
    }

    fn authenticated(&self, meta: &Meta) -> Vec<u8> {
        let mut bytes = self.context(meta);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(self.thumbprint.as_bytes());
        bytes.extend_from_slice(&kdf::sha256(&[&self.private]));
        bytes
    }
}

/// What is needed for a new version, before its place in the vault is known.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) created: UnixTime,
    pub(super) enabled: bool,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
    pub(super) public: RsaPublicKey,
    pub(super) pkcs8: SecretBytes,
    /// What others call it, without what follows from the public half.
    pub(super) aliases: Vec<KeyAlias>,
}

impl Draft {
    /// Generates a key. Takes a quarter of a second to several seconds, so no lock is held meanwhile.
    pub(super) fn generate(bits: usize, created: UnixTime) -> Result<Self, VaultError> {
        Self::of(&RsaPrivateKey::generate(bits).map_err(VaultError::Key)?, created)
    }

    /// Takes a key that is there.
    pub(super) fn of(private: &RsaPrivateKey, created: UnixTime) -> Result<Self, VaultError> {
        Ok(Self {
            created,
            enabled: true,
            not_before: None,
            not_after: None,
            public: private.public().map_err(VaultError::Key)?,
            pkcs8: private.to_pkcs8_der().map_err(VaultError::Key)?,
            aliases: Vec::new(),
        })
    }

    /// Gives the version its place, and inserts it. The caller writes `meta` afterwards.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        meta: &mut Meta,
        root: &RootKey,
        place: (&KeyRow, VersionNumber),
        random: &dyn Random,
    ) -> Result<Record, Fault> {
        meta.count_change()?;
        let (key, number) = place;
        let mut record = Record {
            sequence: meta.sequence,
            key: key.id,
            name: key.details.name.clone(),
            number,
            created: self.created,
            enabled: self.enabled,
            not_before: self.not_before,
            not_after: self.not_after,
            deletion: key.details.deletion,
            thumbprint: Thumbprint::of(&self.public),
            public: self.public.clone(),
            private: Vec::new(),
            mac: [0; kdf::LEN],
        };
        record.insert(connection, meta, root, &self.pkcs8, random)?;
        aliases::insert(connection, record.sequence, &self.aliases)?;
        Ok(record)
    }
}

/// Returns what a state is stored as.
pub(super) fn state_number(enabled: bool) -> u8 {
    if enabled { 1 } else { 2 }
}

/// Returns whether the state that is stored as `number` is that of an enabled version.
pub(super) fn enabled_from(number: u8) -> Option<bool> {
    match number {
        1 => Some(true),
        2 => Some(false),
        _ => None,
    }
}

/// RSA-4096 takes 550 bytes.
const MOST_SPKI: usize = 1024;
/// RSA-4096 takes 2.4 kB.
const MOST_PRIVATE: usize = 4096;
