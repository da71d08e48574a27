//! Tests of the embedded vault, and what they share.

mod backups;
mod keys;
mod opening;
mod processes;
mod protection;
mod tampering;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::clock::VirtualClock;
use crate::key::{KeyName, KeyRef, KeyVersion};
use crate::provider::{KeyAdmin, KeyCensus, KeyProvider, ProviderErrorKind, WrappedKey};
use crate::random::SystemRandom;

/// Answers with one passphrase, or with none, and counts how often it is asked.
#[derive(Debug, Default)]
struct Answer {
    passphrase: Mutex<Option<String>>,
    asked: AtomicUsize,
}

impl Answer {
    fn of(text: &str) -> Arc<Self> {
        Arc::new(Self { passphrase: Mutex::new(Some(text.to_owned())), asked: AtomicUsize::new(0) })
    }

    fn nothing() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn change(&self, text: &str) {
        *self.passphrase.lock().expect("not poisoned") = Some(text.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl PassphraseSource for Answer {
    fn passphrase(&self, _: &VaultName, _: Purpose) -> Result<SecretBytes, PassphraseError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let text = self.passphrase.lock().expect("not poisoned");
        text.as_ref().map(|text| SecretBytes::copied_from(text.as_bytes())).ok_or(PassphraseError::NotGiven)
    }
}

fn settings(path: &Path, passphrase: &Arc<Answer>) -> VaultSettings {
    VaultSettings {
        path: path.to_owned(),
        name: "local".parse().expect("a name"),
        owner: Owner::Customer,
        passphrase: Arc::clone(passphrase) as Arc<dyn PassphraseSource>,
        clock: Arc::new(VirtualClock::at(UnixTime(1_700_000_000))),
        random: Arc::new(SystemRandom),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vault.db");
    (folder, path)
}

/// A new vault with a key file, without keys.
fn plain(path: &Path) -> EmbeddedVault {
    EmbeddedVault::create(settings(path, &Answer::nothing()), Protection::KeyFile).expect("a vault")
}

fn open(path: &Path) -> Result<EmbeddedVault, VaultError> {
    EmbeddedVault::open(settings(path, &Answer::nothing()))
}

/// Far too cheap for anything but tests.
fn cheap() -> Protection {
    Protection::Passphrase(PassphraseCost::read(64, 1, 1).expect("in bounds"))
}

fn cx() -> OpContext {
    OpContext::default()
}

fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

fn reference(text: &str) -> KeyRef {
    text.parse().expect("a reference")
}

fn make(vault: &EmbeddedVault, key: &str) -> KeyVersion {
    KeyAdmin::create(vault, &name(key), 2048, &cx()).expect("a key")
}

fn secret() -> SecretBytes {
    SecretBytes::copied_from(&[0x5a; 100])
}

fn wrap(vault: &EmbeddedVault, kek: &KeyVersion) -> WrappedKey {
    vault.wrap_key(kek, &secret(), &cx()).expect("wraps")
}

fn unwraps(vault: &EmbeddedVault, wrapped: &WrappedKey) {
    assert!(vault.unwrap_key(wrapped, &cx()).expect("unwraps").ct_eq(secret().expose()));
}

/// Changes the database behind the vault's back.
fn tamper(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("opens");
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").expect("configures");
    connection.execute_batch(sql).expect(sql);
}

/// Copies all files of a vault into a new folder.
fn copied(path: &Path) -> (TempDir, PathBuf) {
    let (folder, copy) = folder();
    for entry in std::fs::read_dir(path.parent().expect("a folder")).expect("lists") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copies");
    }
    (folder, copy)
}

/// Whether any file of the folder has these bytes in it.
fn anywhere(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("lists").any(|entry| {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("reads");
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

fn damaged(result: Result<impl std::fmt::Debug, VaultError>) -> bool {
    matches!(result, Err(VaultError::Damaged { .. }))
}
