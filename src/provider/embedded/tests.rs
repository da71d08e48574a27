//! Tests of the embedded vault, and what they share.

mod aliases;
mod backups;
mod deletion;
mod golden;
mod keys;
mod lifecycle;
mod model;
mod opening;
mod processes;
mod protection;
mod speed;
mod tampering;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::clock::VirtualClock;
use crate::key::{KeyDetails, KeyName, KeyRef, KeyState, KeyVersion, RotationPolicy, VaultName, VersionNumber};
use crate::oaep::{RsaPrivateKey, RsaPublicKey};
use crate::provider::{
    BackupRecipient, BackupUnlock, KeyAdmin, KeyCensus, KeyChanges, KeyProvider, KeyRecovery, KeyRefusal,
    ProviderError, ProviderErrorKind, Role, WrappedKey,
};
use crate::random::SystemRandom;
use crate::secret::SecretBytes;
use crate::testing::key_der;
use key_row::KeyRow;

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
        role: None,
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

/// The context of an operation at this time.
fn at(time: u64) -> OpContext {
    OpContext::new(Arc::new(VirtualClock::at(UnixTime(time))), Duration::from_secs(60))
}

/// A refusal's typed cause.
fn cause<T: std::error::Error + 'static>(error: &ProviderError) -> &T {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.unwrap_or_else(|| panic!("another cause: {error:?}"))
}

/// A private key of `vectors/keys`, which takes no time to generate.
fn test_key(text: &str) -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(key_der(&format!("{text}.pkcs8")))).expect("a good key")
}

fn import(vault: &EmbeddedVault, key: &str) -> KeyVersion {
    vault.import(&name(key), &test_key("rsa2048"), &cx()).expect("a key")
}

/// A new public key each time, which nobody has the private half of, with a few bytes in the place of that: for tests of the vault
/// itself, because generating a pair takes a quarter of a second.
fn synthetic() -> record::Draft {
    let mut spki = key_der("rsa2048.spki");
    let known = RsaPublicKey::from_spki_der(&spki).expect("a good key");
    let at = spki.windows(256).position(|window| window == known.modulus()).expect("has the modulus");
    let modulus = &mut spki[at..at + 256];
    crate::random::Random::fill(&SystemRandom, modulus).expect("random");
    modulus[0] |= 0x80;
    modulus[255] |= 1;
    record::Draft {
        created: UnixTime(1_700_000_000),
        enabled: true,
        not_before: None,
        not_after: None,
        public: RsaPublicKey::from_spki_der(&spki).expect("an odd number"),
        pkcs8: SecretBytes::copied_from(&spki[at..at + 32]),
        aliases: Vec::new(),
    }
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
