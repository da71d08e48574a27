//! Making and opening: every refusal.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn all_files_are_their_owners_alone() {
    let (folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("lists") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o7777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().expect("UTF-8"));
    }
    names.sort();
    assert_eq!(names, ["vault.db", "vault.db-shm", "vault.db-wal", "vault.db.key"]);
    drop(vault);
    assert!(!files::beside(&path, "-wal").exists(), "closing leaves no log");
}

#[test]
fn a_missing_vault_is_not_made_by_opening() {
    let (folder, path) = folder();
    assert!(matches!(open(&path), Err(VaultError::NotFound(_))));
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
    let nowhere = folder.path().join("none").join("vault.db");
    assert!(matches!(open(&nowhere), Err(VaultError::NotFound(_))));
    let create = EmbeddedVault::create(settings(&nowhere, &Answer::nothing()), Protection::KeyFile);
    assert!(matches!(create, Err(VaultError::Io { .. })));
}

#[test]
fn an_existing_file_is_never_made_into_a_vault() {
    for contents in [b"".as_slice(), b"text"] {
        let (_folder, path) = folder();
        std::fs::write(&path, contents).expect("writes");
        chmod(&path, 0o600);
        let create = EmbeddedVault::create(settings(&path, &Answer::nothing()), Protection::KeyFile);
        assert!(matches!(create, Err(VaultError::Exists(_))));
        assert_eq!(std::fs::read(&path).expect("reads"), contents);
        let both = EmbeddedVault::open_or_create(settings(&path, &Answer::nothing()), Protection::KeyFile);
        assert!(both.is_err());
        assert_eq!(std::fs::read(&path).expect("reads"), contents);
    }
}

#[test]
fn what_is_no_vault_is_told_from_what_is_damaged() {
    let (_folder, path) = folder();
    std::fs::write(&path, b"").expect("writes");
    chmod(&path, 0o600);
    assert!(matches!(open(&path), Err(VaultError::NotAVault(_))));
    std::fs::write(&path, vec![b'x'; 5000]).expect("writes");
    assert!(matches!(open(&path), Err(VaultError::Damaged { damage: Damage::NotADatabase, .. })));
    std::fs::remove_file(&path).expect("removes");
    Connection::open(&path)
        .expect("opens")
        .execute_batch("CREATE TABLE x (y); PRAGMA user_version = 1;")
        .expect("makes");
    chmod(&path, 0o600);
    assert!(matches!(open(&path), Err(VaultError::NotAVault(_))));
    std::fs::remove_file(&path).expect("removes");
    std::fs::create_dir(&path).expect("makes");
    assert!(matches!(open(&path), Err(VaultError::NotAVault(_))));
}

#[test]
fn a_newer_schema_is_left_alone() {
    let (_folder, path) = folder();
    drop(plain(&path));
    tamper(&path, "PRAGMA user_version = 7");
    assert!(matches!(open(&path), Err(VaultError::Newer { schema: 7, .. })));
    tamper(&path, "PRAGMA user_version = 0");
    assert!(damaged(open(&path)));
}

#[test]
fn another_schema_is_damage() {
    for sql in [
        "CREATE TABLE extra (x)",
        "DROP INDEX versions_census",
        "CREATE TRIGGER evil AFTER INSERT ON versions BEGIN DELETE FROM versions; END",
        "CREATE VIEW evil AS SELECT 1",
        "ALTER TABLE keys ADD COLUMN more TEXT",
    ] {
        let (_folder, path) = folder();
        drop(plain(&path));
        tamper(&path, sql);
        assert!(matches!(open(&path), Err(VaultError::Damaged { damage: Damage::Schema, .. })), "{sql}");
    }
}

#[test]
fn a_database_cut_short_is_damage() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    drop(vault);
    let whole = std::fs::read(&path).expect("reads");
    for len in [1, 50, 99, 100, 512, 4096, 4097, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).expect("writes");
        // SQLite takes less than a page's least size for an empty database.
        let refused = matches!(open(&path), Err(VaultError::Damaged { .. } | VaultError::NotAVault(_)));
        assert!(refused, "{len} of {} bytes", whole.len());
        assert_eq!(std::fs::read(&path).expect("reads"), &whole[..len], "left as it was");
    }
    std::fs::write(&path, &whole).expect("writes");
    open(&path).expect("the whole one opens");
}

#[test]
fn files_that_others_may_use_are_refused_with_the_command_that_helps() {
    for suffix in ["", ".key"] {
        for mode in [0o640, 0o604, 0o660, 0o602, 0o610, 0o644] {
            let (_folder, path) = folder();
            drop(plain(&path));
            let file = files::beside(&path, suffix);
            chmod(&file, mode);
            let error = open(&path).expect_err("exposed");
            assert!(matches!(error, VaultError::Permissions { exposure: Exposure::Mode(found), .. } if found == mode));
            assert!(error.to_string().contains("chmod 600"), "{error}");
            chmod(&file, 0o600);
            open(&path).expect("opens again");
        }
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: giving a file away takes root");
        return;
    }
    for suffix in ["", ".key"] {
        let (_folder, path) = folder();
        drop(plain(&path));
        std::os::unix::fs::chown(files::beside(&path, suffix), Some(4711), None).expect("chown");
        let error = open(&path).expect_err("another user's");
        assert!(matches!(error, VaultError::Permissions { exposure: Exposure::Owner(4711), .. }));
    }
}

#[test]
fn a_vault_without_its_key_file_says_which_file_is_missing() {
    let (_folder, path) = folder();
    drop(plain(&path));
    std::fs::remove_file(files::key_path(&path)).expect("removes");
    let error = open(&path).expect_err("no key file");
    assert!(matches!(&error, VaultError::KeyFileMissing(file) if *file == files::key_path(&path)));
    assert!(error.to_string().contains("vault.db.key"));
}

#[test]
fn another_key_file_is_damage() {
    let (_folder, path) = folder();
    drop(plain(&path));
    let (_other_folder, other) = folder_of_other();
    let good = std::fs::read(files::key_path(&path)).expect("reads");
    let foreign = std::fs::read(files::key_path(&other)).expect("reads");
    std::fs::write(files::key_path(&path), &foreign).expect("writes");
    assert!(matches!(open(&path), Err(VaultError::Damaged { damage: Damage::KeyFile, .. })));
    std::fs::write(files::key_path(&path), &good[..63]).expect("writes");
    assert!(matches!(open(&path), Err(VaultError::Damaged { damage: Damage::KeyFile, .. })));
    for position in 0..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 1;
        std::fs::write(files::key_path(&path), &bytes).expect("writes");
        assert!(damaged(open(&path)), "byte {position}");
    }
}

fn folder_of_other() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    drop(plain(&path));
    (folder, path)
}

#[test]
fn a_vault_of_the_other_owner_is_refused() {
    let (_folder, path) = folder();
    drop(plain(&path));
    let error = EmbeddedVault::open(VaultSettings { owner: Owner::Platform, ..settings(&path, &Answer::nothing()) });
    let error = error.expect_err("a customer's");
    assert!(matches!(error, VaultError::WrongOwner { expected: Owner::Platform, found: Owner::Customer, .. }));
}

#[test]
fn platform_keys_are_not_customer_keys() {
    let (_folder, path) = folder();
    let settings = VaultSettings { owner: Owner::Platform, ..settings(&path, &Answer::nothing()) };
    let vault = EmbeddedVault::create(settings, Protection::KeyFile).expect("a vault");
    assert!(!make(&vault, "pmk").customer);
}

#[test]
fn a_locked_database_is_busy_by_the_deadline_and_readable_meanwhile() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let blocker = Connection::open(&path).expect("opens");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let short = OpContext::new(Arc::new(crate::clock::SystemClock), Duration::from_millis(50));
    assert_eq!(vault.rotate(&name("backup"), &short).expect_err("locked").kind, ProviderErrorKind::Busy);
    assert!(vault.version(&reference("backup"), &cx()).is_ok());
    blocker.execute_batch("COMMIT").expect("unlocks");
    vault.rotate(&name("backup"), &cx()).expect("rotates");
}

#[test]
fn an_orphaned_key_file_and_log_are_kept_aside() {
    let (_folder, path) = folder();
    drop(plain(&path));
    let old = std::fs::read(files::key_path(&path)).expect("reads");
    std::fs::remove_file(&path).expect("removes");
    std::fs::write(files::beside(&path, "-wal"), b"a log without its database").expect("writes");
    let vault = plain(&path);
    make(&vault, "backup");
    assert_eq!(std::fs::read(files::beside(&path, ".key.orphan1")).expect("kept"), old);
    assert!(files::beside(&path, "-wal.orphan1").exists());
}

#[test]
fn what_a_killed_creation_left_does_not_hinder_the_next() {
    let (_folder, path) = folder();
    for suffix in [".new", ".new-wal", ".partial", ".key.partial"] {
        std::fs::write(files::beside(&path, suffix), b"left over").expect("writes");
        chmod(&files::beside(&path, suffix), 0o600);
    }
    make(&plain(&path), "backup");
    assert!(!files::beside(&path, ".new").exists());
    assert!(!files::beside(&path, ".partial").exists());
}

#[test]
fn a_golden_vault_opens_for_ever() {
    let (_folder, path) = folder();
    let parts: [(&str, &[u8]); 2] =
        [("", include_bytes!("golden/v1.db")), (".key", include_bytes!("golden/v1.db.key"))];
    for (suffix, bytes) in parts {
        let file = files::beside(&path, suffix);
        std::fs::write(&file, bytes).expect("writes");
        chmod(&file, 0o600);
    }
    let vault = open(&path).expect("opens");
    assert_eq!(vault.keys(&cx()).expect("lists"), [name("backup"), name("Old-Key")]);
    let [gone] = vault.deleted(&cx()).expect("lists").try_into().expect("one");
    assert_eq!(gone.name, name("gone"));
    assert_eq!(gone.deletion.expect("deleted").recoverable_until, UnixTime(1_752_592_000));
    assert_eq!(vault.soft_delete(&cx()).expect("reads").retention.days(), 30);
    assert!(vault.backup_status(&cx()).expect("status").current);
    let kek = vault.version(&reference("backup@1"), &cx()).expect("finds");
    let wrapped = WrappedKey {
        thumbprint: kek.thumbprint,
        id: kek.id,
        algorithm: crate::oaep::WrapAlgorithm::RsaOaep256,
        ciphertext: include_bytes!("golden/v1.wrapped").to_vec(),
    };
    unwraps(&vault, &wrapped);
}

#[test]
fn errors_are_one_clause_and_name_their_causes() {
    let path = PathBuf::from("/home/x\u{1b}[2J/vault.db");
    let io = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let vault: VaultName = "local".parse().expect("a name");
    let errors = [
        (VaultError::Busy(path.clone()), ProviderErrorKind::Busy, false),
        (VaultError::damaged(&path, Damage::Check), ProviderErrorKind::Damaged, false),
        (VaultError::Exists(path.clone()), ProviderErrorKind::Exists, false),
        (VaultError::io(&path, io()), ProviderErrorKind::Unavailable, true),
        (VaultError::KeyFileMissing(path.clone()), ProviderErrorKind::Locked, false),
        (VaultError::Locked(vault.clone()), ProviderErrorKind::Locked, false),
        (VaultError::NetworkFilesystem(path.clone()), ProviderErrorKind::Unsupported, false),
        (VaultError::Newer { path: path.clone(), schema: 2 }, ProviderErrorKind::Unsupported, false),
        (VaultError::NotAVault(path.clone()), ProviderErrorKind::Damaged, false),
        (VaultError::NotFound(path.clone()), ProviderErrorKind::NotFound, false),
        (VaultError::OutOfMemory, ProviderErrorKind::Unavailable, false),
        (VaultError::Passphrase { vault, source: PassphraseError::NotGiven }, ProviderErrorKind::Locked, true),
        (VaultError::Random, ProviderErrorKind::Unavailable, false),
        (VaultError::SqliteTooOld(1), ProviderErrorKind::Unsupported, false),
    ];
    for (error, kind, cause) in errors {
        let text = error.to_string();
        assert!(!text.ends_with('.') && !text.contains('\u{1b}') && !text.contains('\n'), "{text}");
        assert_eq!(error.kind(), kind, "{text}");
        assert_eq!(error.source().is_some(), cause, "{text}");
    }
}
