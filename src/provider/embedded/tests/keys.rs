//! Keys: made, found, rotated, used and refused.

use super::*;
use crate::clock::Clock;

#[test]
fn a_key_is_made_found_and_used() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = make(&vault, "Backup");
    assert_eq!(key.id, "local/Backup@1");
    assert!(key.customer);
    assert_eq!(key.public.bits(), 2048);
    for text in ["backup", "BACKUP@1", "LOCAL/backup", &format!("jkt:{}", key.thumbprint.short())] {
        assert_eq!(vault.version(&reference(text), &cx()).expect(text).thumbprint, key.thumbprint);
    }
    assert_eq!(vault.find(&key.thumbprint, &cx()).expect("finds").id, key.id);
    let wrapped = wrap(&vault, &key);
    unwraps(&vault, &wrapped);
    drop(vault);
    unwraps(&open(&path).expect("opens"), &wrapped);
}

#[test]
fn what_is_not_there_is_not_found() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = make(&vault, "backup");
    for text in ["backup@2", "other", "elsewhere/backup", "jkt:AAAAAAAAAAAA", "file:/x.pem"] {
        let error = vault.version(&reference(text), &cx()).expect_err(text);
        assert_eq!(error.kind, ProviderErrorKind::NotFound, "{text}");
    }
    let mut wrapped = wrap(&vault, &key);
    wrapped.thumbprint = crate::key::Thumbprint::from_bytes([0; 32]);
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("no key").kind, ProviderErrorKind::NotFound);
    assert_eq!(vault.versions(&name("other"), &cx()).expect_err("no key").kind, ProviderErrorKind::NotFound);
    assert_eq!(vault.rotate(&name("other"), &cx()).expect_err("no key").kind, ProviderErrorKind::NotFound);
}

#[test]
fn names_that_differ_in_case_only_are_the_same() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    let error = KeyAdmin::create(&vault, &name("BackUp"), 2048, &cx()).expect_err("taken");
    assert_eq!(error.kind, ProviderErrorKind::Exists);
    assert_eq!(vault.keys(&cx()).expect("lists"), [name("backup")]);
}

#[test]
fn only_the_three_sizes_are_made() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    for bits in [0, 1024, 2047, 2560, 8192, usize::MAX] {
        let error = KeyAdmin::create(&vault, &name("x"), bits, &cx()).expect_err("refused");
        assert_eq!(error.kind, ProviderErrorKind::Unsupported);
    }
    let key = KeyAdmin::create(&vault, &name("three"), 3072, &cx()).expect("a key");
    assert_eq!(key.public.bits(), 3072);
    assert_eq!(vault.rotate(&name("three"), &cx()).expect("rotates").public.bits(), 3072);
}

#[test]
fn the_version_that_is_not_named_is_the_newest_and_old_ones_still_unwrap() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let first = make(&vault, "backup");
    let wrapped = wrap(&vault, &first);
    let second = vault.rotate(&name("BACKUP"), &cx()).expect("rotates");
    assert_eq!(second.id, "local/backup@2");
    assert_eq!(vault.version(&reference("backup"), &cx()).expect("finds").id, second.id);
    let versions = vault.versions(&name("backup"), &cx()).expect("lists");
    let numbers: Vec<u32> = versions.iter().map(|(number, _)| number.get()).collect();
    assert_eq!(numbers, [1, 2]);
    unwraps(&vault, &wrapped);
}

#[test]
fn a_foreign_ciphertext_is_refused_without_a_reason() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let key = make(&vault, "backup");
    let good = wrap(&vault, &key);
    let other = wrap(&vault, &make(&vault, "other"));
    for ciphertext in [other.ciphertext, Vec::new(), vec![0; 256], vec![0xff; 256], vec![1; 1000]] {
        let error = vault.unwrap_key(&WrappedKey { ciphertext, ..good.clone() }, &cx()).expect_err("refused");
        assert_eq!(error.kind, ProviderErrorKind::UnwrapFailed);
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[test]
fn expired_and_future_keys_unwrap_but_do_not_wrap() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let clock = Arc::new(VirtualClock::at(UnixTime(1000)));
    let context = OpContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Duration::from_secs(3600));
    let key = insert(&vault, "dated", KeyState::Enabled, Some(UnixTime(500)), Some(UnixTime(2000)));
    let wrapped = vault.wrap_key(&key, &secret(), &context).expect("wraps");
    clock.advance(Duration::from_secs(1000));
    let error = vault.wrap_key(&key, &secret(), &context).expect_err("over");
    assert_eq!(error.kind, ProviderErrorKind::Expired);
    assert!(vault.unwrap_key(&wrapped, &context).expect("unwraps").ct_eq(secret().expose()));
    let future = insert(&vault, "future", KeyState::Enabled, Some(UnixTime(9000)), None);
    let error = vault.wrap_key(&future, &secret(), &context).expect_err("not yet");
    assert_eq!(error.kind, ProviderErrorKind::NotYetValid);
    let ciphertext = future.public.encrypt(wrapped.algorithm, &secret()).expect("encrypts");
    let wrapped = WrappedKey { thumbprint: future.thumbprint, ciphertext, ..wrapped };
    unwraps(&vault, &wrapped);
}

#[test]
fn a_vault_with_new_keys_is_not_backed_up() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let empty = BackupStatus { newest_version_created: None, last_backup: None, current: true };
    assert_eq!(vault.backup_status(&cx()).expect("status"), empty);
    let key = make(&vault, "backup");
    let status = vault.backup_status(&cx()).expect("status");
    assert_eq!((status.newest_version_created, status.current), (key.created, false));
}

#[test]
fn private_keys_are_nowhere_in_the_files_in_clear() {
    let (folder, path) = folder();
    let vault = plain(&path);
    let key = make(&vault, "backup");
    let pkcs8 = pkcs8_of(&vault, "backup");
    let needles = private_parts(&pkcs8);
    // While the log is still there, and after the last process has closed the vault.
    for needle in &needles {
        assert!(!anywhere(folder.path(), needle));
    }
    assert!(anywhere(folder.path(), &key.public.modulus()[..32]), "the search finds what is there");
    drop(vault);
    for needle in &needles {
        assert!(!anywhere(folder.path(), needle));
    }
}

/// Inserts a version with a state and dates from before the vault was made.
pub(super) fn insert(
    vault: &EmbeddedVault,
    key: &str,
    state: KeyState,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
) -> KeyVersion {
    let private = RsaPrivateKey::generate(2048).expect("a key");
    let draft = record::Draft {
        enabled: state == KeyState::Enabled,
        not_before,
        not_after,
        ..record::Draft::of(&private, UnixTime(1)).expect("a draft")
    };
    let root = vault.root_key(&cx()).expect("unlocked");
    let insert = |connection: &Connection, meta: &mut Meta| {
        let details =
            KeyDetails { name: name(key), delete_lock: false, policy: RotationPolicy::default(), deletion: None };
        let row = KeyRow::insert(connection, details)?;
        draft.insert(connection, meta, &root, (&row, VersionNumber::FIRST), &SystemRandom)?;
        meta.write(connection, &root)
    };
    vault.change(&cx(), &root, insert).expect("inserts");
    vault.version(&reference(key), &cx()).expect("finds")
}

/// Opens the newest private key of a name.
pub(super) fn pkcs8_of(vault: &EmbeddedVault, key: &str) -> SecretBytes {
    let root = vault.root_key(&cx()).expect("unlocked");
    let found = vault.inspect(&cx(), |view| {
        let records = view.records(provider::NEWEST, [key])?;
        records.first().expect("a version").open(&view.meta, &root)
    });
    found.expect("opens")
}

/// The beginnings of the private exponent, the primes and their exponents.
pub(super) fn private_parts(pkcs8: &SecretBytes) -> Vec<Vec<u8>> {
    use der::Decode;
    let info = pkcs8::PrivateKeyInfoRef::from_der(pkcs8.expose()).expect("PKCS#8");
    let key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).expect("PKCS#1");
    [key.private_exponent, key.prime1, key.prime2, key.exponent1, key.coefficient]
        .iter()
        .map(|number| number.as_bytes()[..16].to_vec())
        .collect()
}
