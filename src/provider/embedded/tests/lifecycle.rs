//! Keys that are imported, changed, copied and audited.

use super::*;

#[test]
fn a_disabled_version_does_nothing_and_the_others_go_on() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let first = import(&vault, "backup");
    let wrapped = wrap(&vault, &first);
    vault.import(&name("other"), &test_key("rsa3072"), &cx()).expect("a key");
    unwraps(&vault, &wrapped);
    let changed = vault.update(&name("backup"), None, &KeyChanges::disable(), &cx()).expect("disables");
    assert_eq!((changed.state, changed.thumbprint), (KeyState::Disabled, first.thumbprint));
    // Although the private key was in use a moment ago, and although somebody still has the old description.
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("disabled").kind, ProviderErrorKind::Disabled);
    assert_eq!(vault.wrap_key(&changed, &secret(), &cx()).expect_err("disabled").kind, ProviderErrorKind::Disabled);
    let other = vault.version(&reference("other"), &cx()).expect("finds");
    unwraps(&vault, &wrap(&vault, &other));
    vault.update(&name("backup"), Some(VersionNumber::FIRST), &KeyChanges::enable(), &cx()).expect("enables");
    unwraps(&vault, &wrapped);
    drop(vault);
    unwraps(&open(&path).expect("opens"), &wrapped);
}

#[test]
fn a_key_disabled_by_another_process_is_refused_at_once() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    unwraps(&vault, &wrapped);
    let other = open(&path).expect("opens");
    for _ in 0..3 {
        other.update(&name("backup"), None, &KeyChanges::disable(), &cx()).expect("disables");
        assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("disabled").kind, ProviderErrorKind::Disabled);
        other.update(&name("backup"), None, &KeyChanges::enable(), &cx()).expect("enables");
        unwraps(&vault, &wrapped);
    }
    other.delete(&name("backup"), &cx()).expect("deletes");
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("deleted").kind, ProviderErrorKind::Deleted);
}

#[test]
fn dates_are_set_and_taken_away() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    import(&vault, "backup");
    let update = |changes: KeyChanges| vault.update(&name("backup"), None, &changes, &cx());
    let (from, until) = (UnixTime(2_147_483_648), UnixTime(4_294_967_296));
    let dated =
        update(KeyChanges { not_before: Some(Some(from)), not_after: Some(Some(until)), ..KeyChanges::default() });
    let dated = dated.expect("sets");
    assert_eq!((dated.not_before, dated.not_after), (Some(from), Some(until)));
    for (time, kind) in [
        (from.0 - 1, Some(ProviderErrorKind::NotYetValid)),
        (from.0, None),
        (until.0 - 1, None),
        (until.0, Some(ProviderErrorKind::Expired)),
        (u64::MAX, Some(ProviderErrorKind::Expired)),
        (0, Some(ProviderErrorKind::NotYetValid)),
    ] {
        let wrapped = vault.wrap_key(&dated, &secret(), &at(time));
        assert_eq!(wrapped.as_ref().err().map(|error| error.kind), kind, "{time}");
        if let Ok(wrapped) = wrapped {
            // Expired and not yet valid ones still unwrap (R63).
            assert!(vault.unwrap_key(&wrapped, &at(0)).is_ok() && vault.unwrap_key(&wrapped, &at(u64::MAX)).is_ok());
        }
    }
    let turned = update(KeyChanges { not_after: Some(Some(from)), ..KeyChanges::default() }).expect_err("empty");
    assert_eq!((turned.kind, cause(&turned)), (ProviderErrorKind::Unsupported, &KeyRefusal::ExpiresBeforeItBegins));
    for time in [253_402_300_800, u64::MAX] {
        let far = update(KeyChanges { not_after: Some(Some(UnixTime(time))), ..KeyChanges::default() });
        assert_eq!(cause::<KeyRefusal>(&far.expect_err("too far")), &KeyRefusal::TimeOutOfRange);
    }
    let plain = update(KeyChanges { not_before: Some(None), not_after: Some(None), ..KeyChanges::default() });
    let plain = plain.expect("takes away");
    assert_eq!((plain.not_before, plain.not_after), (None, None));
    let missing = vault.update(&name("backup"), VersionNumber::new(2), &KeyChanges::disable(), &cx());
    assert_eq!(missing.expect_err("no version 2").kind, ProviderErrorKind::NotFound);
}

#[test]
fn every_change_makes_the_backup_an_old_one() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    import(&vault, "backup");
    let key = name("backup");
    let policy = "rotate P1Y after creation".parse().expect("a policy");
    type Change<'a> = Box<dyn Fn() -> Result<(), ProviderError> + 'a>;
    let changes: Vec<Change<'_>> = vec![
        Box::new(|| vault.update(&key, None, &KeyChanges::disable(), &cx()).map(drop)),
        Box::new(|| vault.set_policy(&key, &policy, &cx()).map(drop)),
        Box::new(|| vault.set_delete_lock(&key, false, &cx()).map(drop)),
        Box::new(|| vault.delete(&key, &cx()).map(drop)),
        Box::new(|| vault.recover(&key, &cx()).map(drop)),
        Box::new(|| vault.import(&name("more"), &test_key("rsa3072"), &cx()).map(drop)),
    ];
    let to = BackupRecipient::Key(test_key("rsa4096").public().expect("public"));
    for change in changes {
        SealedBackup::seal(&[&vault], &to, &cx()).expect("seals").0.record(&cx()).expect("records");
        assert!(vault.backup_status(&cx()).expect("status").current);
        change().expect("changes");
        assert!(!vault.backup_status(&cx()).expect("status").current);
    }
    assert_eq!(vault.details(&key, &cx()).expect("shows").policy, policy);
}

#[test]
fn an_imported_key_is_used_like_a_made_one_and_held_once() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    for (text, bits) in [("rsa2048", 2048), ("rsa3072", 3072), ("rsa4096", 4096)] {
        let key = vault.import(&name(text), &test_key(text), &cx()).expect("imports");
        assert_eq!((key.public.bits(), key.id), (bits, format!("local/{text}@1")));
        let error = vault.import(&name("again"), &test_key(text), &cx()).expect_err("held");
        assert_eq!(error.kind, ProviderErrorKind::Exists);
        assert_eq!(cause::<KeyRefusal>(&error), &KeyRefusal::Held { id: format!("local/{text}@1") });
    }
    let odd = vault.import(&name("odd"), &test_key("rsa2056"), &cx()).expect_err("another size");
    assert_eq!(odd.kind, ProviderErrorKind::Unsupported);
    let taken = vault.import(&name("RSA2048"), &test_key("rsa2056"), &cx()).expect_err("another size");
    assert_eq!(taken.kind, ProviderErrorKind::Unsupported);
    assert_eq!(vault.keys(&cx()).expect("lists").len(), 3);
}

#[test]
fn a_key_is_cloned_by_backup_and_restore() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let (one, two) = (plain(&one), plain(&two));
    let wrapped = wrap(&one, &import(&one, "Backup"));
    one.rotate_with(&name("backup"), &cx(), |_| {
        Ok(record::Draft::of(&test_key("rsa3072"), UnixTime(7)).expect("a draft"))
    })
    .expect("rotates");
    one.import(&name("private"), &test_key("rsa4096"), &cx()).expect("a key");
    one.update(&name("backup"), VersionNumber::new(2), &KeyChanges::disable(), &cx()).expect("disables");
    one.set_delete_lock(&name("backup"), true, &cx()).expect("locks");
    let Protection::Passphrase(cost) = cheap() else { unreachable!("cheap is a passphrase") };
    let passphrase = SecretBytes::copied_from(b"battery staple");
    let (recovery, wrong) = (test_key("rsa2048"), SecretBytes::copied_from(b"x"));
    for to in [
        BackupRecipient::Key(recovery.public().expect("public")),
        BackupRecipient::Passphrase(SecretBytes::copied_from(passphrase.expose())),
    ] {
        let blob = one.backup_at(&name("BACKUP"), Some(&to), cost, &cx()).expect("copies");
        let (by, not) = match to {
            BackupRecipient::Key(_) => (BackupUnlock::Key(&recovery), BackupUnlock::Passphrase(&wrong)),
            BackupRecipient::Passphrase(_) => (BackupUnlock::Passphrase(&passphrase), BackupUnlock::Passphrase(&wrong)),
        };
        assert_eq!(
            KeyAdmin::restore(&two, &blob, Some(not), &cx()).map(drop).expect_err("locked").kind,
            ProviderErrorKind::Locked
        );
        assert_eq!(
            KeyAdmin::restore(&two, &blob, None, &cx()).expect_err("sealed").kind,
            ProviderErrorKind::Unsupported
        );
        let cut = KeyAdmin::restore(&two, &blob[..blob.len() - 1], Some(by), &cx());
        assert_eq!(cut.expect_err("cut short").kind, ProviderErrorKind::Damaged);
        assert_eq!(KeyAdmin::restore(&two, &blob, Some(by), &cx()).expect("restores"), name("Backup"));
        assert_eq!(two.keys(&cx()).expect("lists"), [name("Backup")], "only this one");
        unwraps(&two, &wrapped);
        let states: Vec<KeyState> =
            two.versions(&name("backup"), &cx()).expect("lists").iter().map(|(_, version)| version.state).collect();
        assert_eq!(states, [KeyState::Enabled, KeyState::Disabled]);
        assert!(two.details(&name("backup"), &cx()).expect("shows").delete_lock);
        // Over an existing name it fails (R70), also over a deleted one.
        let again = KeyAdmin::restore(&two, &blob, Some(by), &cx()).expect_err("taken");
        assert_eq!(again.kind, ProviderErrorKind::Exists);
        two.set_delete_lock(&name("backup"), false, &cx()).expect("unlocks");
        let deletion = two.delete(&name("backup"), &cx()).expect("deletes");
        let again = KeyAdmin::restore(&two, &blob, Some(by), &cx()).expect_err("taken");
        assert_eq!(cause::<KeyRefusal>(&again), &KeyRefusal::Deleted(deletion.recoverable_until));
        two.purge(&name("backup"), &at(u64::MAX)).expect("purges");
    }
    assert_eq!(
        KeyCensus::backup(&one, &name("backup"), None, &cx()).expect_err("open").kind,
        ProviderErrorKind::Unsupported
    );
}

#[test]
fn a_restore_that_meets_its_material_elsewhere_leaves_nothing() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let (one, two) = (plain(&one), plain(&two));
    one.import(&name("both"), &test_key("rsa3072"), &cx()).expect("a key");
    one.rotate_with(&name("both"), &cx(), |_| {
        Ok(record::Draft::of(&test_key("rsa2048"), UnixTime(7)).expect("a draft"))
    })
    .expect("rotates");
    import(&two, "mine");
    let recovery = test_key("rsa4096");
    let to = BackupRecipient::Key(recovery.public().expect("public"));
    let blob = KeyCensus::backup(&one, &name("both"), Some(&to), &cx()).expect("copies");
    let error = KeyAdmin::restore(&two, &blob, Some(BackupUnlock::Key(&recovery)), &cx()).expect_err("held");
    assert_eq!(cause::<KeyRefusal>(&error), &KeyRefusal::Held { id: "local/mine@1".to_owned() });
    assert_eq!(two.keys(&cx()).expect("lists"), [name("mine")]);
    // A backup of a whole vault is not one key.
    KeyAdmin::create(&one, &name("more"), 2048, &cx()).expect("a key");
    let whole = SealedBackup::seal(&[&one], &to, &cx()).expect("seals").0.bytes().to_vec();
    let error = KeyAdmin::restore(&two, &whole, Some(BackupUnlock::Key(&recovery)), &cx()).expect_err("two keys");
    assert_eq!(cause::<KeyRefusal>(&error), &KeyRefusal::NotOneKey(2));
}

#[test]
fn roles_have_their_rights_and_no_others() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = import(&vault, "backup");
    let wrapped = wrap(&vault, &key);
    let backup = name("backup");
    let to = BackupRecipient::Key(test_key("rsa3072").public().expect("public"));
    type Deed<'a> = (&'a str, &'a [Role], Box<dyn Fn(&EmbeddedVault) -> Result<(), ProviderError> + 'a>);
    let (all, look): (&[Role], &[Role]) = (
        &[Role::Administrator, Role::Backup, Role::Recovery, Role::RunTime],
        &[Role::Administrator, Role::Backup, Role::Recovery],
    );
    let deeds: Vec<Deed<'_>> = vec![
        ("version", all, Box::new(|vault| vault.version(&reference("backup"), &cx()).map(drop))),
        ("find", all, Box::new(|vault| vault.find(&key.thumbprint, &cx()).map(drop))),
        ("wrap", &[Role::RunTime], Box::new(|vault| vault.wrap_key(&key, &secret(), &cx()).map(drop))),
        ("unwrap", &[Role::RunTime], Box::new(|vault| vault.unwrap_key(&wrapped, &cx()).map(drop))),
        ("keys", look, Box::new(|vault| vault.keys(&cx()).map(drop))),
        ("deleted", look, Box::new(|vault| vault.deleted(&cx()).map(drop))),
        ("details", look, Box::new(|vault| vault.details(&backup, &cx()).map(drop))),
        ("versions", look, Box::new(|vault| vault.versions(&backup, &cx()).map(drop))),
        ("backup", &[Role::Backup], Box::new(|vault| KeyCensus::backup(vault, &backup, Some(&to), &cx()).map(drop))),
        (
            "update",
            &[Role::Administrator],
            Box::new(|vault| vault.update(&backup, None, &KeyChanges::enable(), &cx()).map(drop)),
        ),
        ("lock", &[Role::Administrator], Box::new(|vault| vault.set_delete_lock(&backup, false, &cx()).map(drop))),
        (
            "policy",
            &[Role::Administrator],
            Box::new(|vault| vault.set_policy(&backup, &RotationPolicy::default(), &cx()).map(drop)),
        ),
        ("rotate", &[Role::Administrator], Box::new(|vault| vault.rotate(&backup, &cx()).map(drop))),
        ("delete", &[Role::Administrator], Box::new(|vault| vault.delete(&backup, &cx()).map(drop))),
        ("recover", &[Role::Recovery], Box::new(|vault| vault.recover(&backup, &cx()).map(drop))),
    ];
    for (deed, may, act) in &deeds {
        for role in all {
            let vault = EmbeddedVault::open(VaultSettings { role: Some(*role), ..settings(&path, &Answer::nothing()) });
            let vault = vault.expect("opens");
            match act(&vault) {
                Ok(()) => assert!(may.contains(role), "{deed} as {role}"),
                Err(error) => {
                    assert_eq!(error.kind, ProviderErrorKind::Denied, "{deed} as {role}: {error}");
                    assert!(!may.contains(role), "{deed} as {role}");
                    assert_eq!(cause::<crate::provider::MissingRight>(&error).role, *role);
                }
            }
        }
    }
    for role in all {
        let vault = EmbeddedVault::open(VaultSettings { role: Some(*role), ..settings(&path, &Answer::nothing()) });
        let vault = vault.expect("opens");
        let denied = |kind| kind == ProviderErrorKind::Denied;
        // What would change too much to be tried by those who may.
        if *role != Role::Administrator {
            assert!(denied(KeyAdmin::create(&vault, &backup, 2048, &cx()).expect_err("denied").kind));
            assert!(denied(vault.import(&backup, &test_key("rsa2048"), &cx()).expect_err("denied").kind));
            assert!(denied(KeyAdmin::restore(&vault, b"", None, &cx()).expect_err("denied").kind));
            assert!(denied(vault.set_protection(cheap(), &cx()).expect_err("denied").kind()));
            assert!(denied(vault.protect_from_purge(&cx()).expect_err("denied").kind()));
        }
        if *role != Role::Recovery {
            assert!(denied(vault.purge(&backup, &cx()).expect_err("denied").kind));
        }
        if *role != Role::Backup {
            assert!(matches!(
                SealedBackup::seal(&[&vault], &to, &cx()),
                Err(BackupError::Vault(VaultError::Denied(_)))
            ));
        }
    }
}

#[test]
fn the_head_of_the_audit_log_moves_only_from_where_it_is() {
    let (_folder, path) = folder();
    let answer = Answer::of("one");
    let vault = EmbeddedVault::create(settings(&path, &answer), cheap()).expect("a vault");
    drop(vault);
    let (one, two) = (
        EmbeddedVault::open(settings(&path, &answer)).expect("opens"),
        EmbeddedVault::open(settings(&path, &answer)).expect("opens"),
    );
    let head = |count: u64| AuditHead { count, mac: [u8::try_from(count).expect("small"); 32] };
    assert_eq!(one.audit_head(&cx()).expect("reads"), None);
    assert!(!one.advance_audit_head(Some(&head(1)), &head(2), &cx()).expect("compares"));
    assert!(one.advance_audit_head(None, &head(1), &cx()).expect("sets"));
    assert!(!two.advance_audit_head(None, &head(9), &cx()).expect("compares"));
    assert!(two.advance_audit_head(Some(&head(1)), &head(2), &cx()).expect("sets"));
    assert!(!one.advance_audit_head(Some(&head(1)), &head(3), &cx()).expect("compares"));
    assert_eq!(one.audit_head(&cx()).expect("reads"), Some(head(2)));
    assert_eq!(answer.asked(), 1, "only the new passphrase");
    drop((one, two));
    tamper(&path, "UPDATE audit SET mac = x'00'");
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    assert!(damaged(vault.audit_head(&cx())));
}

#[test]
fn threads_that_advance_the_audit_head_at_once_lose_no_step() {
    let (_folder, path) = folder();
    drop(plain(&path));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let vault = open(&path).expect("opens");
                let mut done = 0;
                while done < 10 {
                    let now = vault.audit_head(&cx()).expect("reads");
                    let next = AuditHead { count: now.map_or(0, |head| head.count) + 1, mac: [7; 32] };
                    done += u64::from(vault.advance_audit_head(now.as_ref(), &next, &cx()).expect("compares"));
                }
            });
        }
    });
    assert_eq!(open(&path).expect("opens").audit_head(&cx()).expect("reads").map(|head| head.count), Some(40));
}
