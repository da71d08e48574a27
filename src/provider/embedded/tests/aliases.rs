//! Keys by what others call them.

use super::*;
use crate::key::{AliasKind, KeyAlias, SpkiHash};
use crate::provider::AmbiguousKey;

const URL: &str = "url:https://prod.vault.azure.net/keys/backup/0123456789abcdef0123456789abcdef";
const X5T: &str = "x5t:72e476889658275ef52ee97bfee6277c390f5df6";

fn alias(text: &str) -> KeyAlias {
    text.parse().expect("an alias")
}

fn id_of(vault: &EmbeddedVault, text: &str) -> String {
    vault.version(&reference(text), &cx()).unwrap_or_else(|error| panic!("{text}: {error:?}")).id
}

fn known(vault: &EmbeddedVault, key: &KeyVersion) -> Vec<String> {
    vault.aliases(&key.thumbprint, &cx()).expect("lists").iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_is_found_by_every_alias_and_by_its_beginning() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let aliases = [alias(URL), alias(X5T), alias("cka:01")];
    let key = vault.import_known(&name("backup"), &test_key("rsa2048"), &aliases, &cx()).expect("imports");
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    drop(vault);
    let vault = open(&path).expect("opens");
    let spki = KeyAlias::Spki(SpkiHash::of(&key.public)).to_string();
    assert_eq!(known(&vault, &key), [spki.clone(), X5T.to_owned(), "cka:01".to_owned(), URL.to_owned()]);
    let upper = URL.replace("prod", "PROD");
    for text in
        [&spki, &spki[..11], &spki[..20], X5T, &X5T[..10], "x5t:72:E4:76", "x5t:cuR2iJZY", "cka:01", URL, &upper]
    {
        assert_eq!(id_of(&vault, text), "local/backup@1", "{text}");
    }
    for text in ["x5t:72e47689", "spki:000000", "cka:02", "cka:0102", &URL.replace("prod", "test")] {
        let error = vault.version(&reference(text), &cx()).expect_err(text);
        assert_eq!(error.kind, ProviderErrorKind::NotFound, "{text}");
    }
}

#[test]
fn a_prefix_that_fits_several_keys_names_none_and_says_which() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let id = [alias("cka:0102")];
    vault.import_known(&name("one"), &test_key("rsa2048"), &id, &cx()).expect("imports");
    vault.import_known(&name("two"), &test_key("rsa3072"), &id, &cx()).expect("imports");
    let error = vault.version(&reference("cka:0102"), &cx()).expect_err("two");
    assert_eq!(error.kind, ProviderErrorKind::Unsupported);
    assert_eq!(cause::<AmbiguousKey>(&error).ids, ["local/one@1", "local/two@1"]);
}

#[test]
fn aliases_are_recorded_and_forgotten_later() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = import(&vault, "backup");
    let change = |add: &[KeyAlias], remove: &[KeyAlias]| {
        vault.change_aliases(&name("backup"), None, add, remove, &cx()).map(|version| version.id)
    };
    assert_eq!(change(&[alias(X5T), alias("cka:01"), alias(X5T)], &[]).expect("records"), "local/backup@1");
    assert_eq!(known(&vault, &key)[1..], [X5T, "cka:01"]);
    change(&[alias("cka:01"), alias("cka:02")], &[alias(X5T), alias("cka:03")]).expect("records");
    assert_eq!(known(&vault, &key)[1..], ["cka:01", "cka:02"]);
    let spki = vault.aliases(&key.thumbprint, &cx()).expect("lists").remove(0);
    assert_eq!(spki.kind(), AliasKind::Spki);
    let error = change(std::slice::from_ref(&spki), &[]).expect_err("computed");
    assert_eq!(cause::<KeyRefusal>(&error), &KeyRefusal::ComputedAlias(spki));
    let many: Vec<KeyAlias> = (0..256).map(|number| alias(&format!("cka:{number:06x}"))).collect();
    let error = change(&many, &[]).expect_err("too many");
    assert!(matches!(cause(&error), KeyRefusal::TooManyAliases(258 | 256)), "{error:?}");
    assert_eq!(known(&vault, &key).len(), 3);
    vault.delete(&name("backup"), &cx()).expect("deletes");
    assert_eq!(change(&[alias("cka:09")], &[]).expect_err("deleted").kind, ProviderErrorKind::Deleted);
    assert_eq!(vault.version(&reference("cka:02"), &cx()).expect("finds").state, KeyState::Deleted);
}

#[test]
fn a_purged_key_leaves_no_alias() {
    let (_folder, path) = folder();
    let soft_delete = SoftDelete { retention: Retention::default(), purge_protection: false };
    let vault = EmbeddedVault::create_with(settings(&path, &Answer::nothing()), Protection::KeyFile, soft_delete);
    let vault = vault.expect("a vault");
    vault.import_known(&name("backup"), &test_key("rsa2048"), &[alias(X5T)], &cx()).expect("imports");
    vault.delete(&name("backup"), &cx()).expect("deletes");
    vault.purge(&name("backup"), &cx()).expect("purges");
    assert_eq!(vault.version(&reference(X5T), &cx()).expect_err("gone").kind, ProviderErrorKind::NotFound);
    let again = import(&vault, "backup");
    assert_eq!(known(&vault, &again).len(), 1);
}

#[test]
fn backups_keep_aliases_and_a_vault_with_more_of_them_is_not_backed_up() {
    let ((_one_folder, one), (_two_folder, two)) = (folder(), folder());
    let (vault, other) = (plain(&one), plain(&two));
    let key = vault.import_known(&name("backup"), &test_key("rsa2048"), &[alias(URL), alias(X5T)], &cx());
    let key = key.expect("imports");
    let to = BackupRecipient::Key(test_key("rsa3072").public().expect("public"));
    let (sealed, _) = SealedBackup::seal(&[&vault], &to, &cx()).expect("seals");
    sealed.record(&cx()).expect("records");
    assert!(vault.backup_status(&cx()).expect("says").current);
    let opened = || {
        let file = BackupFile::parse(sealed.bytes().to_vec()).expect("in bounds");
        file.unlock(BackupUnlock::Key(&test_key("rsa3072"))).expect("opens")
    };
    other.restore(&opened().vaults[0], &cx()).expect("restores");
    assert_eq!(known(&other, &key)[1..], [X5T, URL]);
    assert!(other.backup_status(&cx()).expect("says").current);
    assert_eq!(id_of(&other, X5T), "local/backup@1");
    for vault in [&vault, &other] {
        vault.change_aliases(&name("backup"), None, &[alias("cka:0a")], &[], &cx()).expect("records");
        assert!(!vault.backup_status(&cx()).expect("says").current);
    }
    other.restore(&opened().vaults[0], &cx()).expect("restores");
    assert!(!other.backup_status(&cx()).expect("says").current);
}

#[test]
fn who_may_not_administer_records_no_alias() {
    let (_folder, path) = folder();
    let key = import(&plain(&path), "backup");
    let role = VaultSettings { role: Some(Role::RunTime), ..settings(&path, &Answer::nothing()) };
    let vault = EmbeddedVault::open(role).expect("opens");
    assert_eq!(known(&vault, &key).len(), 1);
    let error = vault.change_aliases(&name("backup"), None, &[alias(X5T)], &[], &cx()).expect_err("denied");
    assert_eq!(error.kind, ProviderErrorKind::Denied);
}
