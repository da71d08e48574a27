//! Passphrases and key files, and the way from one to the other.

use super::*;

#[test]
fn a_passphrase_is_asked_for_once_and_only_when_a_private_key_is_needed() {
    let (_folder, path) = folder();
    let answer = Answer::of("correct horse");
    let vault = EmbeddedVault::create(settings(&path, &answer), cheap()).expect("a vault");
    assert!(!files::key_path(&path).exists());
    let key = make(&vault, "backup");
    assert_eq!(answer.asked(), 1, "the new passphrase");
    drop(vault);
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    let wrapped = wrap(&vault, &vault.version(&reference("backup"), &cx()).expect("finds"));
    vault.find(&key.thumbprint, &cx()).expect("finds");
    vault.keys(&cx()).expect("lists");
    vault.backup_status(&cx()).expect("status");
    assert_eq!(answer.asked(), 1, "nothing private yet");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| unwraps(&vault, &wrapped));
        }
    });
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    assert_eq!(answer.asked(), 2);
}

#[test]
fn a_wrong_passphrase_says_only_that() {
    let (_folder, path) = folder();
    let vault = EmbeddedVault::create(settings(&path, &Answer::of("right")), cheap()).expect("a vault");
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    drop(vault);
    for wrong in ["wrong", "Right", "right ", "righ"] {
        let vault = EmbeddedVault::open(settings(&path, &Answer::of(wrong))).expect("opens");
        let error = vault.unwrap_key(&wrapped, &cx()).expect_err("locked");
        assert_eq!(error.kind, ProviderErrorKind::Locked);
        assert!(std::error::Error::source(&error).is_none());
        assert!(vault.version(&reference("backup"), &cx()).is_ok());
    }
    // Asked again after a mistake.
    let answer = Answer::of("wrong");
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    assert!(vault.unwrap_key(&wrapped, &cx()).is_err());
    answer.change("right");
    unwraps(&vault, &wrapped);
}

#[test]
fn no_passphrase_is_its_own_refusal() {
    let (_folder, path) = folder();
    let empty = EmbeddedVault::create(settings(&path, &Answer::of("")), cheap());
    assert!(matches!(empty, Err(VaultError::Passphrase { source: PassphraseError::Empty, .. })));
    let none = EmbeddedVault::create(settings(&path, &Answer::nothing()), cheap());
    assert!(matches!(none, Err(VaultError::Passphrase { source: PassphraseError::NotGiven, .. })));
    assert!(!path.exists());
}

#[test]
fn the_protection_changes_back_and_forth_and_keys_stay() {
    let (folder, path) = folder();
    let answer = Answer::of("one");
    let vault = EmbeddedVault::create(settings(&path, &answer), Protection::KeyFile).expect("a vault");
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    let key_file = KeyFile::read(&path).expect("reads");
    vault.set_protection(cheap(), &cx()).expect("protects");
    assert!(!files::key_path(&path).exists());
    assert!(!anywhere(folder.path(), key_file.key.expose()));
    assert_eq!(vault.protection(&cx()).expect("reads"), cheap());
    answer.change("two");
    vault.set_protection(cheap(), &cx()).expect("changes the passphrase");
    drop(vault);
    for (text, opens) in [("one", false), ("two", true)] {
        let vault = EmbeddedVault::open(settings(&path, &Answer::of(text))).expect("opens");
        assert_eq!(vault.unwrap_key(&wrapped, &cx()).is_ok(), opens, "{text}");
    }
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    vault.set_protection(Protection::KeyFile, &cx()).expect("back to a key file");
    drop(vault);
    unwraps(&open(&path).expect("asks nobody"), &wrapped);
}

#[test]
fn the_old_form_of_the_root_key_is_gone_from_the_files() {
    let (folder, path) = folder();
    let vault = EmbeddedVault::create(settings(&path, &Answer::of("one")), Protection::KeyFile).expect("a vault");
    let old = vault.inspect(&cx(), |view| Ok(view.meta.root_key.clone())).expect("reads");
    assert!(anywhere(folder.path(), &old));
    vault.set_protection(cheap(), &cx()).expect("protects");
    assert!(!anywhere(folder.path(), &old));
}

#[test]
fn an_open_vault_goes_on_when_another_process_changes_the_protection() {
    let (_folder, path) = folder();
    let first = EmbeddedVault::create(settings(&path, &Answer::nothing()), Protection::KeyFile).expect("a vault");
    let second = EmbeddedVault::open(settings(&path, &Answer::of("one"))).expect("opens");
    second.set_protection(cheap(), &cx()).expect("protects");
    let wrapped = wrap(&first, &make(&first, "backup"));
    unwraps(&second, &wrapped);
}

#[test]
fn a_key_file_left_by_a_change_that_was_cut_short_is_removed_at_the_next_unlocking() {
    let (_folder, path) = folder();
    let answer = Answer::of("one");
    let vault = EmbeddedVault::create(settings(&path, &answer), Protection::KeyFile).expect("a vault");
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    let left = std::fs::read(files::key_path(&path)).expect("reads");
    vault.set_protection(cheap(), &cx()).expect("protects");
    drop(vault);
    // As if killed between the commit and the removal.
    std::fs::write(files::key_path(&path), &left).expect("writes");
    rustix::fs::chmod(files::key_path(&path), rustix::fs::Mode::from_raw_mode(0o600)).expect("chmod");
    let vault = EmbeddedVault::open(settings(&path, &answer)).expect("opens");
    unwraps(&vault, &wrapped);
    assert!(!files::key_path(&path).exists());
}

#[test]
fn a_vault_can_not_be_talked_out_of_its_checks_by_a_false_protection() {
    let (_folder, path) = folder();
    drop(plain(&path));
    tamper(&path, "UPDATE meta SET protection = 2, memory_kib = 64, passes = 1, lanes = 1");
    // With the key file there, the passphrase is wanted at once: it can't be the right one.
    let locked = EmbeddedVault::open(settings(&path, &Answer::of("any")));
    assert!(matches!(locked, Err(VaultError::Locked(_))));
}

#[test]
fn a_hostile_database_can_not_ask_for_gigabytes() {
    for set in ["memory_kib = 4194304", "passes = 100000", "lanes = 0", "memory_kib = -1", "lanes = 4294967295"] {
        let (_folder, path) = folder();
        drop(EmbeddedVault::create(settings(&path, &Answer::of("one")), cheap()).expect("a vault"));
        tamper(&path, &format!("UPDATE meta SET {set}"));
        assert!(damaged(EmbeddedVault::open(settings(&path, &Answer::of("one")))), "{set}");
    }
}

#[test]
fn no_secret_reaches_debug_output() {
    let (_folder, path) = folder();
    let vault = EmbeddedVault::create(settings(&path, &Answer::nothing()), Protection::KeyFile).expect("a vault");
    let text = format!("{vault:?}");
    assert!(text.contains("RootKey") && !text.contains("secret:"), "{text}");
}

/// Answers only when it is told to.
#[derive(Debug)]
struct Slow(std::sync::Barrier);

impl PassphraseSource for Slow {
    fn passphrase(&self, _: &VaultName, _: Purpose) -> Result<SecretBytes, PassphraseError> {
        self.0.wait();
        self.0.wait();
        Ok(SecretBytes::copied_from(b"one"))
    }
}

#[test]
fn public_keys_are_read_while_somebody_types_the_passphrase() {
    let (_folder, path) = folder();
    let vault = EmbeddedVault::create(settings(&path, &Answer::of("one")), cheap()).expect("a vault");
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    drop(vault);
    let slow = Arc::new(Slow(std::sync::Barrier::new(2)));
    let settings = VaultSettings {
        passphrase: Arc::clone(&slow) as Arc<dyn PassphraseSource>,
        ..settings(&path, &Answer::nothing())
    };
    let vault = EmbeddedVault::open(settings).expect("opens");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| unwraps(&vault, &wrapped));
        slow.0.wait();
        wrap(&vault, &vault.version(&reference("backup"), &cx()).expect("reads"));
        slow.0.wait();
        thread.join().expect("unwraps");
    });
}
