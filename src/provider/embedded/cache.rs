//! What is remembered between two calls, as long as the database stays as it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::kdf;
use crate::key::Thumbprint;
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::database::Stamp;
use crate::provider::embedded::error::Fault;
use crate::provider::embedded::meta::Meta;
use crate::provider::embedded::record::Record;
use crate::provider::embedded::root::RootKey;

/// The authenticated state, and some private keys.
///
/// Hashing all rows takes milliseconds when there are thousands, and parsing a private key costs as much as using it: AWS-LC checks its
/// numbers against each other. Both are done anew as soon as SQLite says that anything was written, by whomever.
#[derive(Debug, Default)]
pub(super) struct Cache {
    verified: Mutex<Option<(Stamp, Meta)>>,
    /// The oldest first.
    keys: Mutex<VecDeque<Entry>>,
}

impl Cache {
    /// Reads the vault's row, and checks that it authenticates all others.
    pub(super) fn verified(&self, connection: &Connection, stamp: Stamp, root: &RootKey) -> Result<Meta, Fault> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, meta)) = verified.as_ref()
            && *at == stamp
        {
            return Ok(meta.clone());
        }
        let meta = Meta::read(connection)?;
        meta.verify(connection, root)?;
        // An audit record moves the stamp as well, but changes no key.
        if verified.as_ref().is_none_or(|(_, before)| before.mac() != meta.mac()) {
            self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        *verified = Some((stamp, meta.clone()));
        Ok(meta)
    }

    /// Returns a key that was usable in the state of `stamp`.
    pub(super) fn key(&self, thumbprint: &Thumbprint, stamp: Stamp) -> Option<Arc<OpenedKey>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = keys.iter().find(|entry| entry.key.thumbprint == *thumbprint)?;
        (entry.stamp == stamp).then(|| Arc::clone(&entry.key))
    }

    /// Returns the key of a record that was just read and is usable: the database has changed, but not this record.
    pub(super) fn unchanged(&self, record: &Record, stamp: Stamp) -> Option<Arc<OpenedKey>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = keys.iter_mut().find(|entry| entry.key.thumbprint == record.thumbprint)?;
        (entry.mac == *record.mac()).then(|| {
            entry.stamp = stamp;
            Arc::clone(&entry.key)
        })
    }

    /// Remembers a key, and forgets the oldest if there are too many.
    pub(super) fn remember(&self, record: &Record, private: RsaPrivateKey, stamp: Stamp) -> Arc<OpenedKey> {
        let id = format!("{}@{}", record.name, record.number);
        let key = Arc::new(OpenedKey { id, thumbprint: record.thumbprint, private });
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|entry| entry.key.thumbprint != record.thumbprint);
        if keys.len() >= MOST_KEYS {
            keys.pop_front();
        }
        keys.push_back(Entry { stamp, mac: *record.mac(), key: Arc::clone(&key) });
        key
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.lock().expect("not poisoned").len()
    }
}

/// A private key, ready to be used.
#[derive(Debug)]
pub(super) struct OpenedKey {
    /// `name@n`
    pub(super) id: String,
    pub(super) thumbprint: Thumbprint,
    pub(super) private: RsaPrivateKey,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    mac: [u8; kdf::LEN],
    key: Arc<OpenedKey>,
}

/// A rotation of a whole set unwraps under one key; verifying old snapshots under a few.
pub(super) const MOST_KEYS: usize = 64;
