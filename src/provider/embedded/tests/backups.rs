//! Backups: written, opened, refused and restored.

use std::sync::OnceLock;

use super::keys::{insert, pkcs8_of, private_parts};
use super::*;
use crate::io::{CommitError, partial_path};
use crate::key::Thumbprint;

fn passphrase() -> SecretBytes {
    SecretBytes::copied_from(b"battery staple")
}

fn recovery() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::generate(2048).expect("a key"))
}

fn recovery_public() -> RsaPublicKey {
    recovery().public().expect("public")
}

/// Seals with a passphrase at a cost for tests.
pub(super) fn sealed<'a>(vaults: &[&'a EmbeddedVault]) -> SealedBackup<'a> {
    let Protection::Passphrase(cost) = cheap() else { unreachable!("cheap is a passphrase") };
    SealedBackup::seal_at(vaults, &BackupRecipient::Passphrase(passphrase()), cost, &cx()).expect("seals").0
}

fn sealed_to_key(vault: &EmbeddedVault) -> Vec<u8> {
    let to = BackupRecipient::Key(recovery_public());
    SealedBackup::seal(&[vault], &to, &cx()).expect("seals").0.bytes().to_vec()
}

pub(super) fn unlocked(bytes: &[u8]) -> Result<Backup, BackupError> {
    BackupFile::parse(bytes.to_vec())?.unlock(BackupUnlock::Passphrase(&passphrase()))
}

#[test]
fn keys_restored_into_another_vault_unwrap_what_the_old_one_wrapped() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let first = wrap(&vault, &make(&vault, "Backup"));
    let second = wrap(&vault, &vault.rotate(&name("backup"), &cx()).expect("rotates"));
    let dated = insert(&vault, "dated", KeyState::Disabled, Some(UnixTime(5)), Some(UnixTime(6)));
    for bytes in [sealed(&[&vault]).bytes().to_vec(), sealed_to_key(&vault)] {
        let file = BackupFile::parse(bytes).expect("in bounds");
        let backup = match file.lock() {
            BackupLock::Key(thumbprint) => {
                assert_eq!(thumbprint, Thumbprint::of(&recovery_public()));
                file.unlock(BackupUnlock::Key(recovery()))
            }
            BackupLock::Passphrase => file.unlock(BackupUnlock::Passphrase(&passphrase())),
        };
        let backup = backup.expect("opens");
        let [content] = backup.vaults.as_slice() else { panic!("one vault") };
        assert_eq!((content.name.as_str(), content.owner), ("local", Owner::Customer));
        let (_other_folder, other) = folder();
        let other = plain(&other);
        let report = other.restore(content, &cx()).expect("restores");
        assert_eq!(report.added.len(), 3);
        assert_eq!(report.present, []);
        unwraps(&other, &first);
        unwraps(&other, &second);
        let found = other.version(&reference("dated"), &cx()).expect("finds");
        assert_eq!((found.thumbprint, found.state), (dated.thumbprint, KeyState::Disabled));
        assert_eq!(
            (found.not_before, found.not_after, found.created),
            (dated.not_before, dated.not_after, dated.created)
        );
        assert_eq!(other.version(&reference("backup"), &cx()).expect("finds").thumbprint, second.thumbprint);
        assert!(other.backup_status(&cx()).expect("status").current, "a restored vault counts as backed up");
        // Once more changes nothing.
        let again = other.restore(content, &cx()).expect("restores");
        assert_eq!((again.added.len(), again.present.len()), (0, 3));
        let path = other.path().to_owned();
        drop(other);
        unwraps(&open(&path).expect("opens"), &first);
    }
}

#[test]
fn several_vaults_go_into_one_backup() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let one = plain(&one);
    let owner = VaultSettings {
        owner: Owner::Platform,
        name: "pmk".parse().expect("a name"),
        ..settings(&two, &Answer::nothing())
    };
    let two = EmbeddedVault::create(owner, Protection::KeyFile).expect("a vault");
    make(&one, "backup");
    let backup = unlocked(sealed(&[&one, &two]).bytes()).expect("opens");
    let shape: Vec<_> =
        backup.vaults.iter().map(|vault| (vault.name.as_str(), vault.owner, vault.keys.len())).collect();
    assert_eq!(shape, [("local", Owner::Customer, 1), ("pmk", Owner::Platform, 0)]);
    let error = two.restore(&backup.vaults[0], &cx()).expect_err("a customer's keys");
    assert!(matches!(error, VaultError::WrongOwner { expected: Owner::Customer, found: Owner::Platform, .. }));
}

#[test]
fn a_written_backup_counts_until_the_next_key() {
    let (folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let file = folder.path().join("keys.backup");
    let to = BackupRecipient::Key(recovery_public());
    let report = write_backup(&[&vault], Vec::new(), &to, &file, false, &cx()).expect("writes");
    assert_eq!(report.vaults, [("local".parse().expect("a name"), 1)]);
    let metadata = std::fs::metadata(&file).expect("metadata");
    assert_eq!(metadata.len(), report.bytes);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777, 0o600);
    assert!(!partial_path(&file).exists());
    let status = vault.backup_status(&cx()).expect("status");
    assert!(status.current && status.last_backup.is_some());
    let opened = open(&path).expect("opens");
    assert!(opened.backup_status(&cx()).expect("status").current);
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    assert!(!vault.backup_status(&cx()).expect("status").current);
    assert!(BackupFile::open(&file).expect("reads").unlock(BackupUnlock::Key(recovery())).is_ok());
}

#[test]
fn a_key_made_while_the_backup_runs_does_not_count() {
    let (folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let backup = sealed(&[&vault]);
    let later = sealed(&[&vault]);
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    let newest = sealed(&[&vault]);
    backup.write(&folder.path().join("one"), false, &cx()).expect("writes");
    assert!(!vault.backup_status(&cx()).expect("status").current);
    newest.record(&cx()).expect("records");
    // An older one that ends later takes nothing back.
    later.record(&cx()).expect("records");
    assert!(vault.backup_status(&cx()).expect("status").current);
}

#[test]
fn a_backup_that_is_not_written_does_not_count() {
    let (folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let file = folder.path().join("keys.backup");
    std::fs::write(&file, b"something else").expect("writes");
    let to = BackupRecipient::Key(recovery_public());
    let refused = write_backup(&[&vault], Vec::new(), &to, &file, false, &cx());
    assert!(matches!(refused, Err(BackupError::Write(CommitError::Exists(_)))));
    let nowhere = write_backup(&[&vault], Vec::new(), &to, &folder.path().join("none/keys"), false, &cx());
    assert!(matches!(nowhere, Err(BackupError::Write(CommitError::Io { .. }))));
    assert!(!vault.backup_status(&cx()).expect("status").current);
    // What an abandoned run left is longer than the backup.
    std::fs::write(partial_path(&file), vec![7; 100_000]).expect("writes");
    write_backup(&[&vault], Vec::new(), &to, &file, true, &cx()).expect("replaces");
    assert!(BackupFile::open(&file).expect("reads").unlock(BackupUnlock::Key(recovery())).is_ok());
    assert!(matches!(write_backup(&[], Vec::new(), &to, &file, true, &cx()), Err(BackupError::NoVaults)));
    let empty =
        write_backup(&[&vault], Vec::new(), &BackupRecipient::Passphrase(SecretBytes::zeroed(0)), &file, true, &cx());
    assert!(matches!(empty, Err(BackupError::Vault(VaultError::Passphrase { .. }))));
}

#[test]
fn a_backup_never_replaces_the_vault_itself() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    let to = BackupRecipient::Key(recovery_public());
    for suffix in ["", ".key", "-wal"] {
        let refused = write_backup(&[&vault], Vec::new(), &to, &files::beside(&path, suffix), true, &cx());
        assert!(matches!(refused, Err(BackupError::Write(CommitError::Exists(_)))), "{suffix}");
    }
    drop(vault);
    unwraps(&open(&path).expect("opens"), &wrapped);
}

#[test]
fn every_flipped_byte_is_refused() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let by_passphrase = sealed(&[&vault]).bytes().to_vec();
    for position in 0..by_passphrase.len() {
        let mut bytes = by_passphrase.clone();
        bytes[position] ^= 1;
        assert!(unlocked(&bytes).is_err(), "byte {position}");
    }
    let by_key = sealed_to_key(&vault);
    for position in 0..by_key.len() {
        let mut bytes = by_key.clone();
        bytes[position] ^= 1;
        let opened = BackupFile::parse(bytes).and_then(|file| file.unlock(BackupUnlock::Key(recovery())));
        assert!(opened.is_err(), "byte {position}");
    }
    assert!(unlocked(&by_passphrase).is_ok());
}

#[test]
fn every_other_length_is_refused() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let bytes = sealed(&[&vault]).bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(BackupFile::parse(bytes[..len].to_vec()).is_err(), "{len} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(BackupFile::parse(longer), Err(BackupError::Damaged)));
    assert!(matches!(BackupFile::parse(vec![0; 64 * 1024 * 1024 + 1]), Err(BackupError::TooLarge)));
}

#[test]
fn each_refusal_has_its_name() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let good = sealed(&[&vault]).bytes().to_vec();
    let changed = |position: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[position] = value;
        bytes
    };
    assert!(matches!(BackupFile::parse(Vec::new()), Err(BackupError::NotABackup)));
    assert!(matches!(
        BackupFile::parse(b"PK\x03\x04 and so on, long enough for a magic".to_vec()),
        Err(BackupError::NotABackup)
    ));
    assert!(matches!(BackupFile::parse(changed(20, 2)), Err(BackupError::Newer(2))));
    assert!(matches!(BackupFile::parse(changed(20, 0)), Err(BackupError::Damaged)));
    assert!(matches!(BackupFile::parse(changed(22, 3)), Err(BackupError::Damaged)));
    assert!(matches!(BackupFile::parse(changed(23, 1)), Err(BackupError::Damaged)));
    // Four gigabytes of envelope, and memory that nobody should be made to take.
    assert!(matches!(BackupFile::parse(changed(27, 0xff)), Err(BackupError::Damaged)));
    assert!(matches!(BackupFile::parse(changed(35, 0xff)), Err(BackupError::Damaged)));
    assert!(matches!(BackupFile::parse(changed(39, 0xff)), Err(BackupError::Damaged)));
    // The sealed file key and what is in front of it: the passphrase seems wrong. Behind it: damage.
    for (position, locked) in [(50, true), (80, true), (139, true), (140, false), (good.len() - 1, false)] {
        let error = unlocked(&changed(position, good[position] ^ 0x80)).expect_err("refused");
        assert_eq!(matches!(error, BackupError::Locked), locked, "byte {position}");
        assert_eq!(matches!(error, BackupError::Damaged), !locked, "byte {position}");
    }
    let file = BackupFile::parse(good).expect("in bounds");
    let wrong = SecretBytes::copied_from(b"battery stapler");
    let error = file.unlock(BackupUnlock::Passphrase(&wrong)).expect_err("wrong");
    assert!(matches!(error, BackupError::Locked) && std::error::Error::source(&error).is_none());
    assert!(matches!(file.unlock(BackupUnlock::Key(recovery())), Err(BackupError::NeedsPassphrase)));
    let file = BackupFile::parse(sealed_to_key(&vault)).expect("in bounds");
    let thumbprint = Thumbprint::of(&recovery_public());
    for by in
        [BackupUnlock::Passphrase(&passphrase()), BackupUnlock::Key(&RsaPrivateKey::generate(2048).expect("a key"))]
    {
        assert!(matches!(file.unlock(by), Err(BackupError::NeedsKey(needed)) if needed == thumbprint));
    }
    let missing = BackupFile::open(&path.with_extension("none"));
    assert!(matches!(missing, Err(BackupError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound));
}

#[test]
fn private_keys_are_not_in_the_backup_in_clear() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = make(&vault, "zebra");
    let pkcs8 = pkcs8_of(&vault, "zebra");
    for bytes in [sealed(&[&vault]).bytes().to_vec(), sealed_to_key(&vault)] {
        for needle in private_parts(&pkcs8) {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
        // Names and public halves neither.
        assert!(!bytes.windows(5).any(|window| window == b"zebra"));
        assert!(!bytes.windows(32).any(|window| window == &key.public.modulus()[..32]));
    }
}

#[test]
fn a_conflict_restores_nothing() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let (one, two) = (plain(&one), plain(&two));
    make(&one, "alone");
    make(&one, "Both");
    let mine = make(&two, "both");
    let backup = unlocked(sealed(&[&one]).bytes()).expect("opens");
    let error = two.restore(&backup.vaults[0], &cx()).expect_err("another key of that name");
    assert!(matches!(&error, VaultError::Conflict { key, with, .. } if key == "both@1" && with == "both@1"), "{error}");
    assert_eq!(error.kind(), ProviderErrorKind::Exists);
    assert_eq!(two.keys(&cx()).expect("lists"), [name("both")]);
    assert_eq!(two.version(&reference("both"), &cx()).expect("finds").thumbprint, mine.thumbprint);
    assert!(!two.backup_status(&cx()).expect("status").current);
}

#[test]
fn the_same_key_under_another_name_is_a_conflict() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let (one, two) = (plain(&one), plain(&two));
    make(&one, "mine");
    let mut backup = unlocked(sealed(&[&one]).bytes()).expect("opens");
    let content = &mut backup.vaults[0];
    two.restore(content, &cx()).expect("restores");
    content.keys[0].details.name = name("yours");
    let error = two.restore(content, &cx()).expect_err("has it");
    assert!(
        matches!(&error, VaultError::Conflict { key, with, .. } if key == "yours@1" && with == "mine@1"),
        "{error}"
    );
    assert_eq!(two.keys(&cx()).expect("lists"), [name("mine")]);
}

#[test]
fn an_older_vault_gets_the_versions_that_it_lacks() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let old = unlocked(sealed(&[&vault]).bytes()).expect("opens");
    let newest = vault.rotate(&name("backup"), &cx()).expect("rotates");
    let new = unlocked(sealed(&[&vault]).bytes()).expect("opens");
    let (_other_folder, other) = folder_with(&old);
    let report = other.restore(&new.vaults[0], &cx()).expect("restores");
    assert_eq!(report.added, [(name("backup"), VersionNumber::new(2).expect("a number"))]);
    assert_eq!(report.present, [(name("backup"), VersionNumber::FIRST)]);
    assert_eq!(other.version(&reference("backup"), &cx()).expect("finds").thumbprint, newest.thumbprint);
    // The older backup brings nothing, and does not have everything: the vault's state of backup stays.
    assert_eq!(vault.restore(&old.vaults[0], &cx()).expect("restores").added, []);
    assert!(!vault.backup_status(&cx()).expect("status").current);
    assert_eq!(vault.restore(&new.vaults[0], &cx()).expect("restores").added, []);
    assert!(vault.backup_status(&cx()).expect("status").current, "a backup with every key was shown to open");
}

fn folder_with(backup: &Backup) -> (TempDir, EmbeddedVault) {
    let (folder, path) = folder();
    let vault = plain(&path);
    vault.restore(&backup.vaults[0], &cx()).expect("restores");
    (folder, vault)
}

#[test]
fn restoring_enables_nothing_that_was_disabled_since() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    insert(&vault, "off", KeyState::Disabled, None, None);
    let mut backup = unlocked(sealed(&[&vault]).bytes()).expect("opens");
    backup.vaults[0].keys[0].versions[0].draft.enabled = true;
    let report = vault.restore(&backup.vaults[0], &cx()).expect("restores");
    assert_eq!(report.present.len(), 1);
    assert_eq!(vault.version(&reference("off"), &cx()).expect("finds").state, KeyState::Disabled);
}

#[test]
fn a_locked_vault_is_unlocked_for_its_backup() {
    let (_folder, path) = folder();
    let answer = Answer::of("one");
    let vault = EmbeddedVault::create(settings(&path, &answer), cheap()).expect("a vault");
    make(&vault, "backup");
    drop(vault);
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    assert_eq!(unlocked(sealed(&[&vault]).bytes()).expect("opens").vaults[0].keys.len(), 1);
    assert_eq!(answer.asked(), 2);
}

#[test]
fn what_the_payload_may_not_say_is_damage() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    vault.set_policy(&name("backup"), &"rotate P9Y after creation".parse().expect("a policy"), &cx()).expect("sets");
    let backup = || unlocked(sealed(&[&vault]).bytes()).expect("opens");
    let good = backup().encoded().expect("encodes");
    assert!(Backup::decoded(&good).is_ok());
    // taken 8, vaults 4, name 1+5, id 16, owner 1, created 8, retention 1, protection 1, keys 4, name 1+6, lock 1, policy 1+25,
    // deletion 18, versions 4, number 4, created 8, state 1, times 18.
    for (position, value, what) in [
        (7, 0xff, "a time of 2^63 and more"),
        (8, 0, "no vaults"),
        (8, 2, "more vaults than there are"),
        (11, 0xff, "four billion vaults"),
        (12, 25, "a name that is too long"),
        (13, b'/', "a name with a slash"),
        (34, 3, "no such owner"),
        (43, 6, "six days of retention"),
        (43, 91, "91 days of retention"),
        (44, 2, "a protection that is neither"),
        (45, 2, "more keys than there are"),
        (48, 0xff, "four billion keys"),
        (49, 0, "an empty name"),
        (56, 2, "a lock that is neither"),
        (57, 24, "half a policy"),
        (58, b'R', "no such action"),
        (67, b'0', "a policy of no time"),
        (83, 1, "a deletion without its end"),
        (91, 1, "a time that is not there"),
        (92, 1, "the end of no deletion"),
        (101, 0, "a key without versions"),
        (105, 0, "version 0"),
        (117, 3, "no such state"),
        (118, 2, "a flag that is neither"),
        (119, 1, "a time that is not there"),
        (136, 0, "a shorter private key"),
        (137, 0xff, "a longer private key"),
        (147, 0x55, "a broken private key"),
    ] {
        let mut bytes = SecretBytes::copied_from(good.expose());
        assert_ne!(bytes.expose()[position], value, "{what}");
        bytes.expose_mut()[position] = value;
        assert!(matches!(Backup::decoded(&bytes), Err(BackupError::Damaged)), "{what}");
    }
    let longer = SecretBytes::taken_from([good.expose(), &[0]].concat());
    assert!(matches!(Backup::decoded(&longer), Err(BackupError::Damaged)));
    let twice = |change: fn(&mut BackupVault, BackupVault)| {
        let (mut one, mut two) = (backup(), backup());
        change(&mut one.vaults[0], two.vaults.remove(0));
        Backup::decoded(&one.encoded().expect("encodes"))
    };
    let names = twice(|one, two| {
        one.keys.extend(two.keys);
        one.keys[1].details.name = name("BACKUP");
    });
    assert!(matches!(names, Err(BackupError::Damaged)));
    let order = twice(|one, mut two| one.keys[0].versions.append(&mut two.keys[0].versions));
    assert!(matches!(order, Err(BackupError::Damaged)));
}
