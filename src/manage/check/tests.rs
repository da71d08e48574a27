//! Vaults in every state, and what is said of them.

use super::*;
use crate::key::{KeyName, RotationPolicy};
use crate::manage::preflight::tests::{NOW, at, import, name, vault};
use crate::provider::{KeyAdmin, KeyChanges};

const DAY: u64 = 86_400;

fn found(vault: &EmbeddedVault, role: Option<Role>, time: u64) -> Vec<VaultWarning> {
    let mut warnings = Vec::new();
    look(vault, vault, role, &mut warnings, &at(time)).expect("can be used");
    warnings
}

fn expire(vault: &EmbeddedVault, key: &KeyName, time: u64) {
    let changes = KeyChanges { not_after: Some(Some(UnixTime(time))), ..KeyChanges::default() };
    vault.update(key, None, &changes, &at(NOW)).expect("updates");
}

#[test]
fn a_vault_says_that_it_is_not_backed_up_and_not_protected() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    assert_eq!(found(&vault, None, NOW), [VaultWarning::NoPurgeProtection], "nothing is in it");
    import(&vault, "k", 2048);
    let outdated = VaultWarning::BackupOutdated { last: None };
    assert_eq!(found(&vault, None, NOW), [outdated.clone(), VaultWarning::NoPurgeProtection]);
    vault.protect_from_purge(&at(NOW)).expect("protects");
    assert_eq!(found(&vault, None, NOW), [outdated]);
}

#[test]
fn keys_near_their_end_and_behind_it_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    import(&vault, "k", 2048);
    expire(&vault, &name("k"), NOW + 31 * DAY);
    let of_keys = |time| {
        let mut warnings = found(&vault, None, time);
        warnings.retain(|warning| warning.key().is_some());
        warnings
    };
    assert_eq!(of_keys(NOW), []);
    let (key, expires) = ("a/k@1".to_owned(), UnixTime(NOW + 31 * DAY));
    assert_eq!(of_keys(NOW + DAY), [VaultWarning::Key(KeyWarning::NearExpiry { key: key.clone(), expires })]);
    assert_eq!(of_keys(expires.0), [VaultWarning::Expired { key, since: expires }]);
}

#[test]
fn what_a_policy_wants_is_said_when_it_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    import(&vault, "k", 2048);
    let policy: RotationPolicy = "notify P10D after creation, rotate P20D after creation".parse().expect("a policy");
    vault.set_policy(&name("k"), &policy, &at(NOW)).expect("sets");
    let names = |time| {
        let warnings = found(&vault, None, time);
        warnings.iter().filter(|warning| warning.key().is_some()).map(VaultWarning::name).collect::<Vec<_>>()
    };
    assert!(names(NOW + 9 * DAY).is_empty());
    assert_eq!(names(NOW + 10 * DAY), ["notify_due"]);
    assert_eq!(names(NOW + 20 * DAY), ["notify_due", "rotation_due"]);
}

#[test]
fn a_clock_that_was_set_back_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = vault(folder.path(), "a", None);
    import(&vault, "k", 2048);
    let clocks = |time| found(&vault, None, time).iter().filter(|warning| warning.name() == "clock").count();
    assert_eq!((clocks(NOW), clocks(NOW - 60), clocks(NOW - 61)), (0, 0, 1));
}

#[test]
fn a_role_that_may_not_list_sees_no_key_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    import(&vault(folder.path(), "a", None), "k", 2048);
    let role = Some(Role::RunTime);
    let warnings = found(&vault(folder.path(), "a", role), role, NOW - DAY);
    assert!(warnings.contains(&VaultWarning::KeysNotListed(Role::RunTime)), "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.key().is_none()));
}

#[test]
fn warnings_are_one_clause_each_and_have_names_of_their_own() {
    let (key, since) = ("a/k@1".to_owned(), UnixTime(NOW));
    let warnings = [
        VaultWarning::BackupOutdated { last: Some(since) },
        VaultWarning::Clock { what: "key \u{1b}".to_owned(), dated: since, now: UnixTime(0) },
        VaultWarning::CustomerKey { key: key.clone(), with: key.clone() },
        VaultWarning::Expired { key: key.clone(), since },
        VaultWarning::Key(KeyWarning::NearExpiry { key: key.clone(), expires: since }),
        VaultWarning::KeysNotListed(Role::RunTime),
        VaultWarning::NoPurgeProtection,
        VaultWarning::NotifyDue { key: key.clone(), since },
        VaultWarning::RotationDue { key, since },
        VaultWarning::Unauthenticated,
    ];
    let names: std::collections::BTreeSet<_> = warnings.iter().map(VaultWarning::name).collect();
    assert_eq!(names.len(), warnings.len());
    for text in warnings.iter().map(ToString::to_string) {
        assert!(!text.contains('\u{1b}') && !text.ends_with('.'), "{text}");
    }
}
