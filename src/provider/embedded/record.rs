//! The records of a vault and their authentication.
//!
//! A record is bound twice. Its private key is sealed with everything public about the version as associated data, so that an edited
//! row never unseals. And a MAC under a key derived from the root key covers the whole row, so that a swapped public key is found
//! *before* something is sealed with it. The MAC of the one `meta` row covers the names and the MACs of all rows as well: a row that
//! was taken away, or put back as it was before, is found too. Only an old copy of the whole database passes.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::clock::UnixTime;
use crate::kdf;
use crate::key::{KeyName, KeyState, Thumbprint, VersionNumber};
use crate::oaep::{RsaPrivateKey, RsaPublicKey};
use crate::provider::embedded::Owner;
use crate::provider::embedded::error::{Damage, Fault, VaultError};
use crate::provider::embedded::root::{Protection, RootKey, Wrapping};
use crate::provider::embedded::sealed::{self, SALT_LEN};
use crate::random::Random;
use crate::secret::SecretBytes;

/// The vault itself.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) vault: [u8; 16],
    pub(super) owner: Owner,
    pub(super) created: UnixTime,
    pub(super) protection: Protection,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) root_key: Vec<u8>,
    /// Counts changes of keys. A count, not a clock, tells whether a backup is newer than a key.
    pub(super) sequence: u64,
    /// What `sequence` was when the newest backup was taken.
    pub(super) backed_up: u64,
    pub(super) backup_time: Option<UnixTime>,
    mac: [u8; kdf::LEN],
}

impl Meta {
    /// Describes a new vault, whose root key is sealed with [`protect`](Self::protect) next.
    pub(super) fn new(vault: [u8; 16], owner: Owner, created: UnixTime) -> Self {
        Self {
            vault,
            owner,
            created,
            protection: Protection::KeyFile,
            salt: [0; SALT_LEN],
            root_key: Vec::new(),
            sequence: 0,
            backed_up: 0,
            backup_time: None,
            mac: [0; kdf::LEN],
        }
    }

    /// Reads the row. It is in bounds, but not authenticated: see [`verify`](Self::verify).
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let row = connection.query_row(
            "SELECT vault, owner, created, protection, memory_kib, passes, lanes, salt, root_key, sequence, backed_up, backup_time, mac
             FROM meta",
            [],
            |row| Ok(Self::from_row(row)),
        );
        match row.optional()? {
            Some(meta) => meta,
            None => Err(Damage::Authentication.into()),
        }
    }

    fn from_row(row: &Row<'_>) -> Result<Self, Fault> {
        let numbers = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(Self {
            vault: array(row, 0)?,
            owner: Owner::from_number(row.get(1)?).ok_or(Damage::Value)?,
            created: time(row, 2)?.ok_or(Damage::Value)?,
            protection: Protection::from_numbers(numbers).ok_or(Damage::Value)?,
            salt: array(row, 7)?,
            root_key: bounded(row, 8, 32 + sealed::OVERHEAD)?,
            sequence: unsigned(row, 9)?,
            backed_up: unsigned(row, 10)?,
            backup_time: time(row, 11)?,
            mac: array(row, 12)?,
        })
    }

    /// Seals the root key under `wrapping`.
    pub(super) fn protect(
        &mut self,
        wrapping: &Wrapping,
        root: &RootKey,
        random: &dyn Random,
    ) -> Result<(), VaultError> {
        (self.protection, self.salt) = (wrapping.protection, wrapping.salt);
        self.root_key = wrapping.seal(root, &self.root_context(), random)?;
        Ok(())
    }

    /// What the sealed root key is bound to.
    pub(super) fn root_context(&self) -> Vec<u8> {
        let mut bytes = b"sobre/1 vault root key".to_vec();
        self.put_identity(&mut bytes);
        bytes
    }

    fn put_identity(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.vault);
        bytes.push(self.owner.number());
        put_time(bytes, Some(self.created));
        for number in self.protection.numbers() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.salt);
    }

    /// Writes the row, with the MAC over it and over what the other tables hold now.
    pub(super) fn write(&mut self, connection: &Connection, root: &RootKey) -> Result<(), Fault> {
        self.mac = kdf::hmac(&root.mac, &[&self.authenticated(connection)?]);
        let [protection, memory, passes, lanes] = self.protection.numbers();
        connection.execute(
            "INSERT OR REPLACE INTO meta (one, vault, owner, created, protection, memory_kib, passes, lanes, salt, root_key, sequence,
             backed_up, backup_time, mac) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            rusqlite::params![
                self.vault,
                self.owner.number(),
                stored(self.created.0)?,
                protection,
                memory,
                passes,
                lanes,
                self.salt,
                self.root_key,
                stored(self.sequence)?,
                stored(self.backed_up)?,
                self.backup_time.map(|time| stored(time.0)).transpose()?,
                self.mac,
            ],
        )?;
        Ok(())
    }

    /// Checks the MAC over this row and over which other rows there are.
    pub(super) fn verify(&self, connection: &Connection, root: &RootKey) -> Result<(), Fault> {
        let bytes = self.authenticated(connection)?;
        if kdf::hmac_matches(&root.mac, &[&bytes], &self.mac) { Ok(()) } else { Err(Damage::Authentication.into()) }
    }

    fn authenticated(&self, connection: &Connection) -> Result<Vec<u8>, Fault> {
        let mut bytes = b"sobre/1 vault".to_vec();
        self.put_identity(&mut bytes);
        put_bytes(&mut bytes, &self.root_key);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.backed_up.to_le_bytes());
        put_time(&mut bytes, self.backup_time);
        let mut keys = connection.prepare_cached("SELECT id, name FROM keys ORDER BY id")?;
        let mut rows = keys.query([])?;
        while let Some(row) = rows.next()? {
            bytes.push(1);
            bytes.extend_from_slice(&row.get::<_, i64>(0)?.to_le_bytes());
            put_bytes(&mut bytes, row.get_ref(1)?.as_bytes().map_err(|_| Damage::Value)?);
        }
        // With the MACs goes everything that rows are selected by: a row that a look-up misses is a row that nobody checks.
        let mut versions = connection
            .prepare_cached("SELECT sequence, key, number, thumbprint, mac FROM versions ORDER BY sequence")?;
        let mut rows = versions.query([])?;
        while let Some(row) = rows.next()? {
            bytes.push(2);
            for column in 0..3 {
                bytes.extend_from_slice(&row.get::<_, i64>(column)?.to_le_bytes());
            }
            put_bytes(&mut bytes, row.get_ref(3)?.as_blob().map_err(|_| Damage::Value)?);
            put_bytes(&mut bytes, row.get_ref(4)?.as_blob().map_err(|_| Damage::Value)?);
        }
        Ok(bytes)
    }
}

/// One version of a key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) key: i64,
    pub(super) name: KeyName,
    pub(super) number: VersionNumber,
    pub(super) created: UnixTime,
    pub(super) state: KeyState,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
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
        let mut statement = connection.prepare_cached(&format!(
            "SELECT versions.sequence, keys.id, keys.name, versions.number, versions.created, versions.state, versions.not_before,
             versions.not_after, versions.thumbprint, versions.spki, versions.private, versions.mac
             FROM versions JOIN keys ON keys.id = versions.key {condition}"
        ))?;
        let mut rows = statement.query(values)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let record = Self::from_row(row)?;
            if let Some(root) = root {
                record.verify(meta, root)?;
            }
            records.push(record);
        }
        Ok(records)
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
            state: state_from(row.get(5)?).ok_or(Damage::Value)?,
            not_before: time(row, 6)?,
            not_after: time(row, 7)?,
            thumbprint: Thumbprint::from_bytes(array(row, 8)?),
            public,
            private: bounded(row, 10, MOST_PRIVATE)?,
            mac: array(row, 11)?,
        };
        // Needs no key, so it holds for a locked vault too.
        if Thumbprint::of(&record.public) != record.thumbprint {
            return Err(Damage::Authentication.into());
        }
        Ok(record)
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
        self.private = sealed::seal(&root.private, &self.context(meta), pkcs8, random)?;
        self.mac = kdf::hmac(&root.mac, &[&self.authenticated(meta)]);
        connection.execute(
            "INSERT INTO versions (sequence, key, number, created, state, not_before, not_after, thumbprint, spki, private, mac)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            rusqlite::params![
                stored(self.sequence)?,
                self.key,
                self.number.get(),
                stored(self.created.0)?,
                state_number(self.state),
                self.not_before.map(|time| stored(time.0)).transpose()?,
                self.not_after.map(|time| stored(time.0)).transpose()?,
                self.thumbprint.as_bytes(),
                self.public.spki_der(),
                self.private,
                self.mac,
            ],
        )?;
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
        bytes.push(state_number(self.state));
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
    pub(super) state: KeyState,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
    pub(super) public: RsaPublicKey,
    pub(super) pkcs8: SecretBytes,
}

impl Draft {
    /// Generates a key. Takes a quarter of a second to several seconds, so no lock is held meanwhile.
    pub(super) fn generate(bits: usize, created: UnixTime) -> Result<Self, VaultError> {
        let private = RsaPrivateKey::generate(bits).map_err(VaultError::Key)?;
        Ok(Self {
            created,
            state: KeyState::Enabled,
            not_before: None,
            not_after: None,
            public: private.public().map_err(VaultError::Key)?,
            pkcs8: private.to_pkcs8_der().map_err(VaultError::Key)?,
        })
    }

    /// Gives the version its place, and inserts it. The caller writes `meta` afterwards.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        meta: &mut Meta,
        root: &RootKey,
        place: (i64, &KeyName, VersionNumber),
        random: &dyn Random,
    ) -> Result<Record, Fault> {
        meta.sequence = meta.sequence.checked_add(1).ok_or(Damage::Value)?;
        let (key, name, number) = place;
        let mut record = Record {
            sequence: meta.sequence,
            key,
            name: name.clone(),
            number,
            created: self.created,
            state: self.state,
            not_before: self.not_before,
            not_after: self.not_after,
            thumbprint: Thumbprint::of(&self.public),
            public: self.public.clone(),
            private: Vec::new(),
            mac: [0; kdf::LEN],
        };
        record.insert(connection, meta, root, &self.pkcs8, random)?;
        Ok(record)
    }
}

/// Returns what a state is stored as.
pub(super) fn state_number(state: KeyState) -> u8 {
    match state {
        KeyState::Deleted => 3,
        KeyState::Disabled => 2,
        KeyState::Enabled => 1,
    }
}

/// Returns the state that is stored as `number`.
pub(super) fn state_from(number: u8) -> Option<KeyState> {
    match number {
        1 => Some(KeyState::Enabled),
        2 => Some(KeyState::Disabled),
        3 => Some(KeyState::Deleted),
        _ => None,
    }
}

/// SQLite's integers have a sign.
pub(super) fn stored(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Damage::Value.into())
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Damage::Value.into())
}

fn time(row: &Row<'_>, column: usize) -> Result<Option<UnixTime>, Fault> {
    match row.get::<_, Option<i64>>(column)? {
        Some(seconds) => {
            u64::try_from(seconds).map(|seconds| Some(UnixTime(seconds))).map_err(|_| Damage::Value.into())
        }
        None => Ok(None),
    }
}

fn array<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N], Fault>
where
    [u8; N]: FromSql,
{
    Ok(row.get(column)?)
}

fn bounded(row: &Row<'_>, column: usize, most: usize) -> Result<Vec<u8>, Fault> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| Damage::Value)?;
    if bytes.len() > most { Err(Damage::Value.into()) } else { Ok(bytes.to_vec()) }
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}

fn put_time(bytes: &mut Vec<u8>, time: Option<UnixTime>) {
    bytes.push(u8::from(time.is_some()));
    bytes.extend_from_slice(&time.unwrap_or_default().0.to_le_bytes());
}

/// RSA-4096 takes 550 bytes.
const MOST_SPKI: usize = 1024;
/// RSA-4096 takes 2.4 kB.
const MOST_PRIVATE: usize = 4096;
