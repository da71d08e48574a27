//! Soft deletion, recovery, purging, locks and retention.

use super::keys::{pkcs8_of, private_parts};
use super::*;
use crate::oaep::WrapAlgorithm;

const NOW: u64 = 1_700_000_000;
const DAY: u64 = 86_400;

/// A vault whose deleted keys are kept for a week, protected or not.
fn weekly(path: &Path, purge_protection: bool) -> EmbeddedVault {
    let soft_delete = SoftDelete { retention: Retention::of_days(7).expect("in range"), purge_protection };
    EmbeddedVault::create_with(settings(path, &Answer::nothing()), Protection::KeyFile, soft_delete).expect("a vault")
}

#[test]
fn a_deleted_key_does_nothing_but_be_listed_recovered_and_purged() {
    let (_folder, path) = folder();
    let vault = weekly(&path, true);
    let key = import(&vault, "backup");
    let wrapped = wrap(&vault, &key);
    let backup = name("backup");
    let deletion = vault.delete(&name("BACKUP"), &at(NOW)).expect("deletes");
    let until = UnixTime(NOW + 7 * DAY);
    assert_eq!((deletion.deleted, deletion.recoverable_until), (UnixTime(NOW), until));
    assert_eq!(vault.keys(&cx()).expect("lists"), []);
    let [listed] = vault.deleted(&cx()).expect("lists").try_into().expect("one");
    assert_eq!((listed.name, listed.deletion), (backup.clone(), Some(deletion)));
    let shown = vault.version(&reference("backup"), &cx()).expect("shown");
    assert_eq!(shown.state, KeyState::Deleted);
    assert_eq!(vault.versions(&backup, &cx()).expect("shown").len(), 1);
    let to = BackupRecipient::Key(test_key("rsa3072").public().expect("public"));
    let refused = [
        vault.wrap_key(&shown, &secret(), &cx()).map(drop).expect_err("wrap"),
        vault.unwrap_key(&wrapped, &cx()).map(drop).expect_err("unwrap"),
        vault.rotate(&backup, &cx()).map(drop).expect_err("rotate"),
        vault.update(&backup, None, &KeyChanges::enable(), &cx()).map(drop).expect_err("update"),
        vault.set_delete_lock(&backup, true, &cx()).map(drop).expect_err("lock"),
        vault.set_policy(&backup, &RotationPolicy::default(), &cx()).map(drop).expect_err("policy"),
        vault.delete(&backup, &cx()).map(drop).expect_err("delete"),
        KeyCensus::backup(&vault, &backup, Some(&to), &cx()).map(drop).expect_err("backup"),
    ];
    for error in &refused {
        assert_eq!(error.kind, ProviderErrorKind::Deleted, "{error}");
    }
    assert_eq!(cause::<KeyRefusal>(&refused[1]), &KeyRefusal::Recoverable(until));
    // The name stays taken (R71), and the material too.
    for error in [
        KeyAdmin::create(&vault, &name("Backup"), 2048, &cx()).expect_err("create"),
        vault.import(&backup, &test_key("rsa3072"), &cx()).expect_err("import"),
    ] {
        assert_eq!((error.kind, cause(&error)), (ProviderErrorKind::Exists, &KeyRefusal::Deleted(until)));
    }
    let error = vault.import(&name("other"), &test_key("rsa2048"), &cx()).expect_err("held");
    assert_eq!(cause::<KeyRefusal>(&error), &KeyRefusal::Held { id: "local/backup@1".to_owned() });
    drop(vault);
    let vault = open(&path).expect("opens");
    assert_eq!(vault.recover(&backup, &cx()).expect("recovers").deletion, None);
    unwraps(&vault, &wrapped);
    assert_eq!(vault.version(&reference("backup"), &cx()).expect("shown").state, KeyState::Enabled);
}

#[test]
fn versions_come_back_in_the_state_that_they_had() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    import(&vault, "backup");
    vault.rotate_with(&name("backup"), &cx(), |_| Ok(synthetic())).expect("rotates");
    vault.update(&name("backup"), Some(VersionNumber::FIRST), &KeyChanges::disable(), &cx()).expect("disables");
    let states = |vault: &EmbeddedVault| -> Vec<KeyState> {
        vault.versions(&name("backup"), &cx()).expect("lists").iter().map(|(_, version)| version.state).collect()
    };
    vault.delete(&name("backup"), &cx()).expect("deletes");
    assert_eq!(states(&vault), [KeyState::Deleted, KeyState::Deleted]);
    vault.recover(&name("backup"), &cx()).expect("recovers");
    assert_eq!(states(&vault), [KeyState::Disabled, KeyState::Enabled]);
}

#[test]
fn purge_protection_holds_until_the_second_at_which_the_retention_ends() {
    let (_folder, path) = folder();
    let vault = weekly(&path, true);
    import(&vault, "backup");
    vault.delete(&name("backup"), &at(NOW)).expect("deletes");
    let until = UnixTime(NOW + 7 * DAY);
    for time in [0, NOW, until.0 - 1] {
        let error = vault.purge(&name("backup"), &at(time)).expect_err("protected");
        assert_eq!((error.kind, cause(&error)), (ProviderErrorKind::Denied, &KeyRefusal::PurgeProtected(until)));
    }
    vault.purge(&name("backup"), &at(until.0)).expect("purges");
    assert_eq!(vault.deleted(&cx()).expect("lists"), []);
    assert_eq!(vault.version(&reference("backup"), &cx()).expect_err("gone").kind, ProviderErrorKind::NotFound);
    // The name and the material are free again.
    import(&vault, "backup");
}

#[test]
fn nothing_is_purged_by_itself_and_time_runs_past_2038_and_2106() {
    for now in [0, 2_147_483_647, 4_294_967_295, 253_402_300_799, u64::MAX] {
        let (_folder, path) = folder();
        let vault = weekly(&path, true);
        let wrapped = wrap(&vault, &import(&vault, "backup"));
        let deletion = vault.delete(&name("backup"), &at(now)).expect("deletes");
        assert_eq!(deletion.recoverable_until.0 - deletion.deleted.0, 7 * DAY);
        drop(vault);
        let vault = open(&path).expect("opens");
        assert_eq!(vault.deleted(&at(u64::MAX)).expect("lists").len(), 1);
        // A clock that was set back makes a deletion last longer, never shorter.
        assert!(vault.purge(&name("backup"), &at(deletion.deleted.0 / 2)).is_err(), "{now}");
        vault.recover(&name("backup"), &at(u64::MAX)).expect("recovers");
        unwraps(&vault, &wrapped);
    }
}

#[test]
fn without_protection_a_deleted_key_is_purged_at_once_and_a_live_one_never() {
    let (_folder, path) = folder();
    let vault = weekly(&path, false);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    for result in [vault.purge(&name("backup"), &cx()), vault.recover(&name("backup"), &cx()).map(drop)] {
        let error = result.expect_err("not deleted");
        assert_eq!((error.kind, cause(&error)), (ProviderErrorKind::Unsupported, &KeyRefusal::NotDeleted));
    }
    unwraps(&vault, &wrapped);
    vault.delete(&name("backup"), &at(NOW)).expect("deletes");
    vault.purge(&name("backup"), &at(NOW)).expect("purges");
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("gone").kind, ProviderErrorKind::NotFound);
    assert_eq!(vault.purge(&name("backup"), &cx()).expect_err("gone").kind, ProviderErrorKind::NotFound);
    assert!(vault.backup_status(&cx()).expect("status").current, "there is nothing to back up");
}

#[test]
fn purge_protection_is_switched_on_and_never_off() {
    let (_folder, path) = folder();
    let vault = weekly(&path, false);
    import(&vault, "backup");
    vault.delete(&name("backup"), &at(NOW)).expect("deletes");
    vault.protect_from_purge(&cx()).expect("protects");
    assert_eq!(vault.purge(&name("backup"), &at(NOW)).expect_err("protected").kind, ProviderErrorKind::Denied);
    drop(vault);
    let vault = open(&path).expect("opens");
    let soft_delete = vault.soft_delete(&cx()).expect("reads");
    assert_eq!((soft_delete.retention.days(), soft_delete.purge_protection), (7, true));
}

#[test]
fn customer_vaults_are_protected_from_the_start_for_90_days() {
    let (_folder, path) = folder();
    let soft_delete = plain(&path).soft_delete(&cx()).expect("reads");
    assert_eq!((soft_delete.retention.days(), soft_delete.purge_protection), (90, true));
    assert!(!SoftDelete::of(Owner::Platform).purge_protection);
    for days in [0, 1, 6, 91, 255] {
        assert_eq!(Retention::of_days(days), None, "{days}");
    }
}

#[test]
fn a_locked_key_is_not_deleted() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    assert!(vault.set_delete_lock(&name("backup"), true, &cx()).expect("locks").delete_lock);
    let error = vault.delete(&name("backup"), &cx()).expect_err("locked");
    assert_eq!((error.kind, cause(&error)), (ProviderErrorKind::Denied, &KeyRefusal::DeleteLocked));
    unwraps(&vault, &wrapped);
    vault.set_delete_lock(&name("backup"), false, &cx()).expect("unlocks");
    vault.delete(&name("backup"), &cx()).expect("deletes");
}

#[test]
fn a_purged_key_is_nowhere_in_the_files() {
    let (folder, path) = folder();
    let vault = weekly(&path, false);
    let key = import(&vault, "zebra");
    vault.rotate_with(&name("zebra"), &cx(), |_| Ok(synthetic())).expect("rotates");
    let sealed = vault
        .inspect(&cx(), |view| Ok(view.records("", [])?.into_iter().map(|record| record.private).collect::<Vec<_>>()))
        .expect("reads");
    assert!(sealed.iter().all(|bytes| anywhere(folder.path(), bytes)));
    vault.delete(&name("zebra"), &cx()).expect("deletes");
    vault.purge(&name("zebra"), &cx()).expect("purges");
    for needle in sealed.iter().map(|bytes| &bytes[..32]).chain([b"zebra".as_slice(), &key.public.modulus()[..32]]) {
        assert!(!anywhere(folder.path(), needle), "{needle:x?}");
    }
    drop(vault);
    assert!(!anywhere(folder.path(), b"zebra"));
    open(&path).expect("opens");
}

#[test]
fn an_unwrap_under_a_deleted_key_asks_nobody_for_a_passphrase() {
    let (_folder, path) = folder();
    let vault = EmbeddedVault::create(settings(&path, &Answer::of("one")), cheap()).expect("a vault");
    let key = import(&vault, "backup");
    let ciphertext = key.public.encrypt(WrapAlgorithm::RsaOaep256, &secret()).expect("encrypts");
    vault.delete(&name("backup"), &cx()).expect("deletes");
    drop(vault);
    let answer = Answer::of("one");
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    let wrapped =
        WrappedKey { thumbprint: key.thumbprint, id: key.id, algorithm: WrapAlgorithm::RsaOaep256, ciphertext };
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("deleted").kind, ProviderErrorKind::Deleted);
    assert_eq!(answer.asked(), 0);
}

#[test]
fn sealed_private_keys_change_with_every_change_of_state() {
    let (folder, path) = folder();
    let vault = plain(&path);
    import(&vault, "backup");
    let sealed = |vault: &EmbeddedVault| {
        vault.inspect(&cx(), |view| Ok(view.records("", [])?.remove(0).private)).expect("reads")
    };
    let before = sealed(&vault);
    vault.update(&name("backup"), None, &KeyChanges::disable(), &cx()).expect("disables");
    assert_ne!(sealed(&vault), before);
    for part in private_parts(&pkcs8_of(&vault, "backup")) {
        assert!(!anywhere(folder.path(), &part));
    }
}
