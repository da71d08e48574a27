//! Encryption sets.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::catalog::database::read_only;
use crate::catalog::error::Fault;
use crate::catalog::value::{Time, Whole, layer_of, number};
use crate::catalog::{Catalog, CatalogDamage, CatalogError};
use crate::clock::UnixTime;
use crate::format::Layer;
use crate::key::Thumbprint;

/// Name of an encryption set: 1 to 80 characters `0-9 a-z A-Z . _ -`, the first one a letter or digit. Two sets don't differ in case only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetName(String);

impl SetName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SetName {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, SetNameError> {
        let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
        if let Some(character) = text.chars().find(|&character| !plain(character)) {
            return Err(SetNameError::Character(character));
        }
        match text.chars().next() {
            Some(first) if !first.is_ascii_alphanumeric() => Err(SetNameError::Character(first)),
            Some(_) if text.len() <= MAX_NAME => Ok(Self(text.to_owned())),
            _ => Err(SetNameError::Length),
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no set's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetNameError {
    /// A character that a name has not, or not at its beginning.
    Character(char),
    /// No characters, or more than 80.
    Length,
}

impl fmt::Display for SetNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(character) => write!(
                f,
                "a set's name has letters, digits, '.', '_' and '-' only and begins with a letter or digit, unlike '{}'",
                character.escape_debug()
            ),
            Self::Length => write!(f, "a set's name has 1 to {MAX_NAME} characters"),
        }
    }
}

impl std::error::Error for SetNameError {}

/// Whose keys a set seals with (R5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetKind {
    /// A customer's.
    Customer,
    /// The platform's.
    Platform,
    /// Both: double encryption.
    PlatformAndCustomer,
}

impl SetKind {
    /// Returns the name: `platform`, `customer` or `platform-and-customer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Platform => "platform",
            Self::PlatformAndCustomer => "platform-and-customer",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Customer, Self::Platform, Self::PlatformAndCustomer].into_iter().find(|kind| kind.name() == name)
    }
}

/// A named policy: which keys seal, and which ones open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionSet {
    /// Its name.
    pub name: SetName,
    /// Whose keys. Can't change.
    pub kind: SetKind,
    /// The one active key of each layer (R30), in order of layers.
    pub keys: Vec<SetKey>,
    /// Further keys: they never wrap, and unwrap what has their thumbprint (R31).
    pub links: Vec<SetLink>,
    /// Where it belongs (R21).
    pub location: Option<String>,
    /// To whom it belongs.
    pub subscription: Option<String>,
    /// Follows the newest version of its keys.
    pub auto_rotate: bool,
    /// An epoch key stands between its KEK and its DEKs.
    pub epoch: bool,
    /// Recovery keys are added to what it seals. An escrow key survives revocation; a set may forbid it.
    pub recovery: bool,
    /// Goes up with every change.
    pub generation: u64,
    /// When it was made.
    pub created: UnixTime,
}

/// A set's active key of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKey {
    /// The layer.
    pub layer: Layer,
    /// Its material: pinned.
    pub thumbprint: Thumbprint,
    /// Where it is, with its version.
    pub key_id: String,
}

/// A linked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetLink {
    /// Its material.
    pub thumbprint: Thumbprint,
    /// Where it is, with its version.
    pub key_id: String,
}

impl Catalog {
    /// Makes a set, of generation 1 whatever `set` says.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Exists`]; [`CatalogError::Busy`], [`CatalogError::Sqlite`], [`CatalogError::Damaged`].
    pub fn create_set(&self, set: &EncryptionSet) -> Result<(), CatalogError> {
        self.write(|connection| {
            if row_of(connection, &set.name)?.is_some() {
                return Err(CatalogError::Exists(set.name.to_string()).into());
            }
            connection.execute(
                "INSERT INTO sets (name, kind, location, subscription, auto_rotate, epoch, recovery, generation, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8)",
                params![
                    set.name.as_str(),
                    set.kind.name(),
                    set.location,
                    set.subscription,
                    set.auto_rotate,
                    set.epoch,
                    set.recovery,
                    number(set.created.0)
                ],
            )?;
            insert_keys(connection, connection.last_insert_rowid(), set)
        })
    }

    /// Returns the set with this name.
    ///
    /// # Errors
    ///
    /// [`CatalogError::SetNotFound`]; else as [`create_set`](Self::create_set).
    pub fn set(&self, name: &SetName) -> Result<EncryptionSet, CatalogError> {
        self.read(|connection| {
            let mut found = load(connection, "WHERE name = ?1", [name.as_str()])?;
            found.pop().ok_or_else(|| CatalogError::SetNotFound(name.to_string()).into())
        })
    }

    /// Returns all sets in order of their names.
    ///
    /// # Errors
    ///
    /// As [`create_set`](Self::create_set).
    pub fn sets(&self) -> Result<Vec<EncryptionSet>, CatalogError> {
        self.read(|connection| load(connection, "ORDER BY name", []))
    }

    /// Returns the sets in which a key version is active or linked.
    ///
    /// # Errors
    ///
    /// As [`create_set`](Self::create_set).
    pub fn sets_with(&self, key: &Thumbprint) -> Result<Vec<EncryptionSet>, CatalogError> {
        self.read(|connection| {
            load(
                connection,
                "WHERE row IN (SELECT encryption_set FROM set_keys WHERE thumbprint = ?1
                               UNION SELECT encryption_set FROM set_links WHERE thumbprint = ?1) ORDER BY name",
                [key.as_bytes().as_slice()],
            )
        })
    }

    /// Reads what sets there are in a catalogue that can't be used any more; `None` when that can't be read either.
    pub fn salvage_sets(path: &Path) -> Option<Vec<EncryptionSet>> {
        read_only(path).and_then(|connection| load(&connection, "ORDER BY name", [])).ok()
    }

    /// Replaces a set that still has `set`'s generation, and returns the new generation. Two changes at once: one of them fails.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Changed`], [`CatalogError::SetNotFound`], [`CatalogError::KindFixed`]; else as [`create_set`](Self::create_set).
    pub fn replace_set(&self, set: &EncryptionSet) -> Result<u64, CatalogError> {
        self.write(|connection| {
            let row = expect(connection, &set.name, set.generation)?;
            let next = set.generation.saturating_add(1);
            let kind: String = connection.query_row("SELECT kind FROM sets WHERE row = ?1", [row], |row| row.get(0))?;
            if kind != set.kind.name() {
                return Err(CatalogError::KindFixed(set.name.to_string()).into());
            }
            connection.execute(
                "UPDATE sets SET location = ?2, subscription = ?3, auto_rotate = ?4, epoch = ?5, recovery = ?6,
                                 generation = ?7 WHERE row = ?1",
                params![row, set.location, set.subscription, set.auto_rotate, set.epoch, set.recovery, number(next)],
            )?;
            connection.execute("DELETE FROM set_keys WHERE encryption_set = ?1", [row])?;
            connection.execute("DELETE FROM set_links WHERE encryption_set = ?1", [row])?;
            insert_keys(connection, row, set)?;
            Ok(next)
        })
    }

    /// Removes a set that still has this generation. Its snapshots and their keys stay as they are.
    ///
    /// # Errors
    ///
    /// As [`replace_set`](Self::replace_set).
    pub fn delete_set(&self, name: &SetName, generation: u64) -> Result<(), CatalogError> {
        self.write(|connection| {
            let row = expect(connection, name, generation)?;
            connection.execute("DELETE FROM sets WHERE row = ?1", [row])?;
            Ok(())
        })
    }
}

fn row_of(connection: &Connection, name: &SetName) -> Result<Option<(i64, u64)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT row, generation FROM sets WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], |row| Ok((row.get(0)?, row.get::<_, Whole>(1)?.0))).optional()?)
}

fn expect(connection: &Connection, name: &SetName, generation: u64) -> Result<i64, Fault> {
    match row_of(connection, name)? {
        None => Err(CatalogError::SetNotFound(name.to_string()).into()),
        Some((_, found)) if found != generation => Err(CatalogError::Changed(name.to_string()).into()),
        Some((row, _)) => Ok(row),
    }
}

fn insert_keys(connection: &Connection, row: i64, set: &EncryptionSet) -> Result<(), Fault> {
    for key in &set.keys {
        connection.execute(
            "INSERT INTO set_keys (encryption_set, layer, thumbprint, key_id) VALUES (?1, ?2, ?3, ?4)",
            params![row, key.layer.number(), key.thumbprint.as_bytes().as_slice(), key.key_id],
        )?;
    }
    for link in &set.links {
        connection.execute(
            "INSERT OR REPLACE INTO set_links (encryption_set, thumbprint, key_id) VALUES (?1, ?2, ?3)",
            params![row, link.thumbprint.as_bytes().as_slice(), link.key_id],
        )?;
    }
    Ok(())
}

fn load(connection: &Connection, rest: &str, values: impl rusqlite::Params) -> Result<Vec<EncryptionSet>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM sets {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut sets = Vec::new();
    while let Some(row) = rows.next()? {
        let mut set = from_row(row)?;
        let id: i64 = row.get("row")?;
        let mut keys = connection.prepare_cached(
            "SELECT layer, thumbprint, key_id FROM set_keys WHERE encryption_set = ?1 ORDER BY layer",
        )?;
        let mut found = keys.query([id])?;
        while let Some(key) = found.next()? {
            set.keys.push(SetKey {
                layer: layer_of(key.get(0)?)?,
                thumbprint: Thumbprint::from_bytes(key.get(1)?),
                key_id: key.get(2)?,
            });
        }
        let mut links = connection.prepare_cached(
            "SELECT thumbprint, key_id FROM set_links WHERE encryption_set = ?1 ORDER BY key_id, thumbprint",
        )?;
        let found = links.query_map([id], |link| {
            Ok(SetLink { thumbprint: Thumbprint::from_bytes(link.get(0)?), key_id: link.get(1)? })
        })?;
        set.links = found.collect::<Result<_, _>>()?;
        sets.push(set);
    }
    Ok(sets)
}

fn from_row(row: &Row<'_>) -> Result<EncryptionSet, Fault> {
    let (name, kind): (String, String) = (row.get("name")?, row.get("kind")?);
    Ok(EncryptionSet {
        name: name.parse().map_err(|_| CatalogDamage::Value)?,
        kind: SetKind::from_name(&kind).ok_or(CatalogDamage::Value)?,
        keys: Vec::new(),
        links: Vec::new(),
        location: row.get("location")?,
        subscription: row.get("subscription")?,
        auto_rotate: row.get("auto_rotate")?,
        epoch: row.get("epoch")?,
        recovery: row.get("recovery")?,
        generation: row.get::<_, Whole>("generation")?.0,
        created: row.get::<_, Time>("created")?.0,
    })
}

const MAX_NAME: usize = 80;
