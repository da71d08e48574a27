//! Keys in every state, and what a restore would find.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys::Vault;
use super::*;
use crate::catalog::WrappedDek;
use crate::clock::VirtualClock;
use crate::engine::{Control, Engine, LayerPolicy, SealOptions, SealPolicy, Source, Target, WrappingKey};
use crate::format::{Layer, SnapshotId, Suite};
use crate::key::{KeyName, KeyVersion, VaultName};
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::{
    EmbeddedVault, Owner, PassphraseError, PassphraseSource, Protection, Purpose, Retention, SoftDelete, VaultSettings,
};
use crate::provider::{KeyAdmin, KeyChanges, KeyRecovery, ProviderErrorKind};
use crate::random::SystemRandom;
use crate::secret::SecretBytes;
use crate::testing::key_der;

pub(in crate::manage) const NOW: u64 = 1_900_000_000;
const DAY: u64 = 86_400;

#[derive(Debug)]
pub(in crate::manage) struct Nobody;

impl PassphraseSource for Nobody {
    fn passphrase(&self, _: &VaultName, _: Purpose) -> Result<SecretBytes, PassphraseError> {
        Err(PassphraseError::NotGiven)
    }
}

/// A vault that keeps deleted keys for a week, and lets them be purged.
pub(in crate::manage) fn vault(folder: &Path, name: &str, role: Option<crate::provider::Role>) -> Arc<EmbeddedVault> {
    let settings = VaultSettings {
        path: folder.join(format!("{name}.db")),
        name: name.parse().expect("a name"),
        owner: Owner::Customer,
        role,
        passphrase: Arc::new(Nobody),
        clock: Arc::new(VirtualClock::at(UnixTime(NOW))),
        random: Arc::new(SystemRandom),
    };
    let soft_delete = SoftDelete { retention: Retention::of_days(7).expect("in range"), purge_protection: false };
    Arc::new(EmbeddedVault::open_or_create_with(settings, Protection::KeyFile, soft_delete).expect("a vault").0)
}

pub(in crate::manage) fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

/// Brings a key of `vectors/keys` into a vault: 2048, 3072 or 4096 bits, which takes no time to generate.
pub(in crate::manage) fn import(vault: &EmbeddedVault, key: &str, bits: u32) -> KeyVersion {
    let pkcs8 = SecretBytes::taken_from(key_der(&format!("rsa{bits}.pkcs8")));
    let private = RsaPrivateKey::from_pkcs8_der(&pkcs8).expect("a good key");
    vault.import(&name(key), &private, &at(NOW)).expect("imports")
}

pub(in crate::manage) fn at(time: u64) -> OpContext {
    OpContext::new(Arc::new(VirtualClock::at(UnixTime(time))), Duration::from_secs(60))
}

pub(in crate::manage) fn dek(layer: Layer, slot: u8, kek: &Thumbprint, key_id: &str) -> WrappedDek {
    WrappedDek {
        layer,
        slot,
        thumbprint: *kek,
        key_id: key_id.to_owned(),
        algorithm: "RSA-OAEP-256".to_owned(),
        epoch: None,
    }
}

/// A snapshot of which there is no file.
pub(in crate::manage) fn row(path: impl Into<PathBuf>, sealed: u64, deks: Vec<WrappedDek>) -> Snapshot {
    Snapshot {
        path: path.into(),
        id: SnapshotId::from_bytes([9; 16]),
        suite: Suite::XtsBlake3,
        disk_len: Some(1 << 40),
        file_len: 1 << 39,
        root: Some([4; 32]),
        sealed: UnixTime(sealed),
        set: None,
        writable: true,
        verified: false,
        seen: UnixTime(NOW),
        deks,
    }
}

pub(in crate::manage) fn vaults(of: &[&Arc<EmbeddedVault>]) -> Vaults {
    Vaults::these(of.iter().map(|vault| Arc::clone(vault) as Arc<dyn Vault>).collect())
}

fn check_at(time: u64, rows: Vec<Snapshot>, of: &[&Arc<EmbeddedVault>], challenge: bool) -> Preflight {
    let read = |snapshot: Snapshot| ReadSnapshot {
        path: snapshot.path.clone(),
        facts: Some(snapshot),
        from_catalog: false,
        error: None,
    };
    let read = rows.into_iter().map(read).collect();
    Preflight::of(read, vaults(of), PreflightOptions { challenge }, &|| at(time))
}

fn check(rows: Vec<Snapshot>, of: &[&Arc<EmbeddedVault>]) -> Preflight {
    check_at(NOW, rows, of, false)
}

#[test]
fn a_key_is_named_in_every_state_that_it_can_be_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let key = import(&vault, "k", 2048);
    let one = || vec![row("/s", NOW, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")])];
    let state = |time| {
        let found = check_at(time, one(), &[&vault], false);
        (found.keys[0].state(), found.is_ok())
    };
    let here = NeedState::Here;
    assert_eq!(state(NOW), (here(Standing::Enabled), true));
    let dates = KeyChanges {
        not_before: Some(Some(UnixTime(NOW - DAY))),
        not_after: Some(Some(UnixTime(NOW + DAY))),
        ..KeyChanges::default()
    };
    vault.update(&name("k"), None, &dates, &at(NOW)).expect("dates it");
    assert_eq!(state(NOW - 2 * DAY), (here(Standing::NotYetValid(UnixTime(NOW - DAY))), true));
    for time in [NOW + DAY, 2_147_483_648, 4_294_967_296, u64::MAX] {
        assert_eq!(state(time), (here(Standing::Expired(UnixTime(NOW + DAY))), true), "{time}");
    }
    vault.update(&name("k"), None, &KeyChanges::disable(), &at(NOW)).expect("disables");
    assert_eq!(state(NOW), (here(Standing::Disabled), false));
    vault.update(&name("k"), None, &KeyChanges::enable(), &at(NOW)).expect("enables");
    let deletion = vault.delete(&name("k"), &at(NOW)).expect("deletes");
    assert_eq!(state(NOW), (here(Standing::Deleted(Some(deletion.recoverable_until))), false));
    vault.recover(&name("k"), &at(NOW)).expect("recovers");
    assert!(state(NOW).1);
    vault.delete(&name("k"), &at(NOW)).expect("deletes");
    vault.purge(&name("k"), &at(NOW)).expect("purges");
    assert_eq!(state(NOW), (NeedState::Gone, false));
}

#[test]
fn the_same_key_elsewhere_opens_and_is_said_to_be_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|vault_name| vault(folder.path(), vault_name, None));
    let key = import(&b, "other", 2048);
    let one = || vec![row("/s", NOW, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")])];
    let found = check(one(), &[&a, &b]);
    assert_eq!((found.keys[0].state(), found.is_ok()), (NeedState::Elsewhere(Standing::Enabled), true));
    assert_eq!(found.keys[0].label(), "b/other@1");
    // Where the first vault refuses, the other one is a choice and no fallback.
    import(&a, "k", 2048);
    a.update(&name("k"), None, &KeyChanges::disable(), &at(NOW)).expect("disables");
    let found = check(one(), &[&a, &b]);
    let choice = Choice::Vault("b".parse().expect("a name"));
    assert_eq!(found.snapshots[0].verdict, Verdict::OpensByChoice(vec![choice]));
    assert_eq!((found.keys[0].state(), found.is_ok()), (NeedState::Here(Standing::Disabled), false));
    b.update(&name("other"), None, &KeyChanges::disable(), &at(NOW)).expect("disables");
    assert_eq!(check(one(), &[&a, &b]).snapshots[0].verdict, Verdict::DoesNotOpen { missing: vec![key.thumbprint] });
}

#[test]
fn a_layer_with_several_wrappers_needs_one_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let (first, second) = (import(&vault, "first", 2048), import(&vault, "second", 3072));
    let gone = Thumbprint::from_bytes([7; 32]);
    let wrapped = |kek: &Thumbprint, slot| dek(Layer::Inner, slot, kek, "");
    let of = |keks: &[&Thumbprint]| {
        let deks = keks.iter().zip(0..).map(|(kek, slot)| wrapped(kek, slot)).collect();
        check(vec![row("/s", NOW, deks)], &[&vault]).snapshots.remove(0).verdict
    };
    assert_eq!(of(&[&gone, &second.thumbprint]), Verdict::Opens);
    assert_eq!(of(&[&gone]), Verdict::DoesNotOpen { missing: vec![gone] });
    vault.update(&name("first"), None, &KeyChanges::disable(), &at(NOW)).expect("disables");
    let by_second = Verdict::OpensByChoice(vec![Choice::Key("a/second@1".to_owned())]);
    assert_eq!(of(&[&first.thumbprint, &second.thumbprint]), by_second);
    assert_eq!(of(&[&second.thumbprint, &first.thumbprint]), Verdict::Opens);
    // A wrapper of a later version is none that this one can use.
    let mut strange = wrapped(&second.thumbprint, 0);
    strange.algorithm = "unknown".to_owned();
    let found = check(vec![row("/s", NOW, vec![strange])], &[&vault]);
    assert_eq!(found.snapshots[0].verdict, Verdict::DoesNotOpen { missing: vec![second.thumbprint] });
}

#[test]
fn a_double_snapshot_needs_a_key_of_each_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|vault_name| vault(folder.path(), vault_name, None));
    let (inner, outer) = (import(&a, "k", 2048), import(&b, "k", 3072));
    let double = || {
        let mut snapshot = row(
            "/d",
            NOW,
            vec![dek(Layer::Inner, 0, &inner.thumbprint, "a/k@1"), dek(Layer::Outer, 0, &outer.thumbprint, "b/k@1")],
        );
        snapshot.suite = Suite::XtsGcm;
        vec![snapshot]
    };
    assert!(check(double(), &[&a, &b]).is_ok());
    let found = check(double(), &[&a]);
    assert_eq!(found.snapshots[0].verdict, Verdict::DoesNotOpen { missing: vec![outer.thumbprint] });
    let obstacles: Vec<_> = found.obstacles().map(|key| key.label()).collect();
    assert_eq!(obstacles, ["b/k@1"]);
    a.delete(&name("k"), &at(NOW)).expect("deletes");
    let found = check(double(), &[&a]);
    assert_eq!(found.snapshots[0].verdict, Verdict::DoesNotOpen { missing: vec![inner.thumbprint, outer.thumbprint] });
}

#[test]
fn all_missing_keys_of_a_restore_are_named_once_with_the_span_of_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let there = import(&vault, "k", 2048);
    let [one, other] = [1, 2].map(|byte| Thumbprint::from_bytes([byte; 32]));
    let rows = vec![
        row("/full", 1_000_000_000, vec![dek(Layer::Inner, 0, &one, "a/old@1")]),
        row("/log1", 1_000_003_600, vec![dek(Layer::Inner, 0, &one, "a/old@1")]),
        row("/log2", 1_000_007_200, vec![dek(Layer::Inner, 0, &other, "a/old@2")]),
        row("/new", 1_800_000_000, vec![dek(Layer::Inner, 0, &there.thumbprint, "a/k@1")]),
    ];
    let mut found = check(rows, &[&vault]);
    let missing: Vec<_> = found.obstacles().map(|key| (key.label(), key.snapshots)).collect();
    assert_eq!(missing, [("a/old@1".to_owned(), 2), ("a/old@2".to_owned(), 1)]);
    assert_eq!((found.keys.len(), found.concerned().count()), (3, 3));
    found.server = "db1".to_owned();
    assert_eq!(
        found.azure_message().expect("keys are missing"),
        "Target server db1 does not have access to all AKV URIs created between 2001-09-09T01:46:40Z and \
         2001-09-09T03:46:40Z. Please retry operation after restoring all AKV URIs"
    );
    let fine = check(vec![row("/new", NOW, vec![dek(Layer::Inner, 0, &there.thumbprint, "")])], &[&vault]);
    assert_eq!(fine.azure_message(), None);
}

#[test]
fn a_right_that_is_missing_is_named_with_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = import(&vault(folder.path(), "a", None), "k", 2048);
    let role = crate::provider::Role::Backup;
    let mut vaults = vaults(&[&vault(folder.path(), "a", Some(role))]);
    vaults.without(role);
    let snapshot = row("/s", NOW, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")]);
    let read = ReadSnapshot { path: "/s".into(), facts: Some(snapshot), from_catalog: false, error: None };
    let found = Preflight::of(vec![read], vaults, PreflightOptions::default(), &|| at(NOW));
    let standing = found.keys[0].places[0].standing;
    assert_eq!(standing.to_string(), "the role 'backup' has no right 'unwrap'");
    assert!(!found.is_ok());
}

#[test]
fn a_challenge_proves_expired_keys_too_and_finds_a_vault_that_does_not_unwrap() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let key = import(&vault, "k", 2048);
    let past = KeyChanges { not_after: Some(Some(UnixTime(NOW - DAY))), ..KeyChanges::default() };
    vault.update(&name("k"), None, &past, &at(NOW)).expect("dates it");
    let rows = || vec![row("/s", NOW, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")])];
    let found = check_at(NOW, rows(), &[&vault], true);
    assert_eq!((found.keys[0].places[0].challenge, found.is_ok()), (Some(Challenge::Passed), true));
    // The vault gives out the public half and nothing more.
    let reader = self::vault(folder.path(), "a", Some(crate::provider::Role::Backup));
    assert!(check_at(NOW, rows(), &[&reader], false).is_ok());
    let found = check_at(NOW, rows(), &[&reader], true);
    assert_eq!(found.keys[0].places[0].challenge, Some(Challenge::Failed(ProviderErrorKind::Denied)));
    assert!(!found.is_ok());
}

/// A file in which somebody has made every byte of the data unreadable is as good as any other.
#[test]
fn only_heads_and_ends_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let path = sealed(folder.path(), &vault);
    let bytes = std::fs::read(&path).expect("reads");
    let read = std::sync::Mutex::new(Vec::new());
    let source = Watched { bytes: &bytes, read: &read };
    crate::engine::inspect(&source).expect("a snapshot");
    let mut read = read.into_inner().expect("no panic");
    read.sort_unstable();
    let payload = 65_536..bytes.len() as u64 - 4096;
    let inside = read.iter().filter(|(from, to)| *from < payload.end && *to > payload.start).count();
    assert_eq!(inside, 0, "{read:?} of {} bytes", bytes.len());
    assert!(read.len() >= 2);
}

struct Watched<'a> {
    bytes: &'a [u8],
    read: &'a std::sync::Mutex<Vec<(u64, u64)>>,
}

impl crate::io::ReadAt for Watched<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.read.lock().expect("no panic").push((offset, offset + buf.len() as u64));
        crate::io::ReadAt::read_at(self.bytes, buf, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

/// Seals half a megabyte of noise under a new key.
fn sealed(folder: &Path, vault: &Arc<EmbeddedVault>) -> PathBuf {
    let version = import(vault, "k", 2048);
    let provider = Arc::clone(vault) as Arc<dyn crate::provider::KeyProvider>;
    let keys = LayerPolicy::new(vec![WrappingKey { provider, version }]).expect("one key");
    let mut noise = vec![0; 512 << 10];
    crate::random::Random::fill(&SystemRandom, &mut noise).expect("random");
    let path = folder.join("s.sobre");
    Engine::new(Vec::new())
        .seal(
            Source::Stream(&mut noise.as_slice()),
            Target::Path(&path),
            &SealPolicy::new(keys),
            &SealOptions::default(),
            &Control::default(),
        )
        .expect("seals");
    path
}

#[test]
fn ten_thousand_rows_are_checked_in_under_two_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let key = import(&vault, "k", 2048);
    let rows = (0..10_000_u32).map(|number| {
        // A hundred keys, of which one is there.
        let kek = match number % 100 {
            0 => key.thumbprint,
            other => Thumbprint::from_bytes([other.to_le_bytes()[0]; 32]),
        };
        row(format!("/{number}"), NOW, vec![dek(Layer::Inner, 0, &kek, "a/k@1")])
    });
    let rows: Vec<_> = rows.collect();
    let begun = Instant::now();
    let found = check(rows, &[&vault]);
    let took = begun.elapsed();
    println!("preflight over 10,000 rows with 100 keys: {} ms", took.as_millis());
    assert_eq!((found.keys.len(), found.concerned().count()), (100, 9_900));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
#[ignore = "writes a gigabyte"]
fn ten_thousand_files_are_checked_in_under_two_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    let original = sealed(folder.path(), &vault);
    let bytes = std::fs::read(&original).expect("reads");
    // Heads and end as they are, the data between them a hole: it is not read.
    let end = bytes.len() - 64 * 1024;
    let paths: Vec<_> = (0..10_000).map(|number| folder.path().join(format!("{number}.sobre"))).collect();
    for path in &paths {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::create(path).expect("creates");
        file.write_all_at(&bytes[..65_536], 0).expect("writes");
        file.write_all_at(&bytes[end..], end as u64).expect("writes");
    }
    let begun = Instant::now();
    let read: Vec<_> = paths.par_iter().map(|path| ReadSnapshot::at(path, UnixTime(NOW))).collect();
    let found = Preflight::of(read, vaults(&[&vault]), PreflightOptions::default(), &|| at(NOW));
    let took = begun.elapsed();
    println!("preflight over 10,000 files, in the page cache: {} ms", took.as_millis());
    assert!(found.is_ok() && found.snapshots.len() == 10_000 && found.unread.is_empty());
    assert!(took < Duration::from_secs(2), "{took:?}");
}
