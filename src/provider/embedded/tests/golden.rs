//! Golden backups: files of every version of the format that open for ever.

use super::backups::{sealed, unlocked};
use super::keys::insert;
use super::*;
use crate::format::EpochRecord;

/// Written once by the first release of the format; `BACKUP.md` was checked against them with a reader in another language.
#[test]
fn golden_backups_open_for_ever() {
    let recovery = golden_recovery();
    let by_passphrase = unlocked(include_bytes!("golden/v1-passphrase.backup")).expect("opens");
    let file = BackupFile::parse(include_bytes!("golden/v1-key.backup").to_vec()).expect("in bounds");
    let by_key = file.unlock(BackupUnlock::Key(&recovery)).expect("opens");
    assert!(by_passphrase.epochs.is_empty());
    let [epoch] = by_key.epochs.as_slice() else { panic!("one epoch record") };
    assert_eq!(epoch.encode(), golden_epoch());
    for backup in [by_passphrase, by_key] {
        let [vault] = backup.vaults.as_slice() else { panic!("one vault") };
        assert_eq!(
            (vault.name.as_str(), vault.owner, vault.created),
            ("local", Owner::Customer, UnixTime(1_700_000_000))
        );
        assert_eq!((backup.taken, vault.taken), (UnixTime(1_700_000_000), UnixTime(1_700_000_000)));
        assert_eq!((vault.soft_delete.retention.days(), vault.soft_delete.purge_protection), (30, true));
        let [key, gone, old] = vault.keys.as_slice() else { panic!("three keys") };
        assert_eq!((key.details.name.as_str(), key.versions.len()), ("backup", 2));
        assert!(key.details.delete_lock && key.details.deletion.is_none());
        assert_eq!(key.details.policy.to_string(), "notify P30D before expiry, rotate P1Y after creation");
        let aliases = key.versions[0].aliases().iter().map(ToString::to_string);
        assert_eq!(aliases.collect::<Vec<_>>(), GOLDEN_ALIASES);
        assert!(key.versions[1].aliases().is_empty());
        let deletion = gone.details.deletion.expect("deleted");
        assert_eq!((gone.details.name.as_str(), gone.versions.len()), ("gone", 1));
        assert_eq!((deletion.deleted, deletion.recoverable_until), (UnixTime(1_750_000_000), UnixTime(1_752_592_000)));
        assert_eq!(old.details.name.as_str(), "Old-Key");
        assert!(old.details.policy.is_empty() && !old.details.delete_lock);
        let [old] = old.versions.as_slice() else { panic!("one version") };
        assert_eq!((old.is_enabled(), old.created()), (false, UnixTime(1)));
        assert_eq!(old.dates(), (Some(UnixTime(1_600_000_000)), Some(UnixTime(1_700_000_000))));
    }
}

/// Writes the files of `golden/` anew, which is right only as long as no release has written any.
#[test]
#[ignore = "writes into the repository"]
fn golden_files_are_written() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/embedded/tests/golden");
    let (_folder, path) = folder();
    let soft_delete = SoftDelete { retention: Retention::of_days(30).expect("in range"), purge_protection: true };
    let settings = settings(&path, &Answer::nothing());
    let vault = EmbeddedVault::create_with(settings, Protection::KeyFile, soft_delete).expect("a vault");
    let first = make(&vault, "backup");
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    let aliases = GOLDEN_ALIASES.map(|text| text.parse().expect("an alias"));
    vault.change_aliases(&name("backup"), Some(VersionNumber::FIRST), &aliases, &[], &cx()).expect("records");
    let policy = "notify P30D before expiry, rotate P1Y after creation".parse().expect("a policy");
    vault.set_policy(&name("backup"), &policy, &cx()).expect("sets");
    vault.set_delete_lock(&name("backup"), true, &cx()).expect("locks");
    insert(&vault, "Old-Key", KeyState::Disabled, Some(UnixTime(1_600_000_000)), Some(UnixTime(1_700_000_000)));
    make(&vault, "gone");
    vault.delete(&name("gone"), &at(1_750_000_000)).expect("deletes");
    std::fs::write(golden.join("v1.wrapped"), wrap(&vault, &first).ciphertext).expect("writes");
    let to = BackupRecipient::Key(golden_recovery().public().expect("public"));
    let epoch = EpochRecord::decode(golden_epoch()).expect("a record");
    let (for_key, _) = SealedBackup::seal_with(&[&vault], vec![epoch], &to, &cx()).expect("seals");
    std::fs::write(golden.join("v1-key.backup"), for_key.bytes()).expect("writes");
    drop(for_key);
    let backup = sealed(&[&vault]);
    backup.record(&cx()).expect("records");
    std::fs::write(golden.join("v1-passphrase.backup"), backup.bytes()).expect("writes");
    drop(backup);
    drop(vault);
    for suffix in ["", ".key"] {
        std::fs::copy(files::beside(&path, suffix), golden.join(format!("v1.db{suffix}"))).expect("copies");
    }
}

/// Any record does: what key it is wrapped under makes no difference to a backup.
fn golden_epoch() -> &'static [u8] {
    include_bytes!("../../../../vectors/golden/5a653dc86934269d41313631ad4ff538.sobre-epoch")
}

const GOLDEN_ALIASES: [&str; 3] = [
    "x5t:72e476889658275ef52ee97bfee6277c390f5df6",
    "cka:0a0b",
    "url:https://prod-weu.vault.azure.net/keys/backup/0123456789abcdef0123456789abcdef",
];

fn golden_recovery() -> RsaPrivateKey {
    let text: String = include_str!("golden/recovery.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let der = <base64ct::Base64 as base64ct::Encoding>::decode_vec(&text).expect("base64");
    RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(der)).expect("a key")
}
