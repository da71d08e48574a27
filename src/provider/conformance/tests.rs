//! The suite passes the providers of this crate, and catches providers that lie.

mod liar;

use std::path::PathBuf;
use std::sync::OnceLock;

use super::*;
use crate::audit::{AuditError, AuditSink, CorrelationId, Event, FailurePolicy};
use crate::clock::{SystemClock, UnixTime};
use crate::key::{KeyName, KeyState, VersionNumber};
use crate::oaep::RsaPrivateKey;
use crate::provider::embedded::{
    EmbeddedVault, Owner, PassphraseError, PassphraseSource, Protection, Purpose, VaultSettings,
};
use crate::provider::{Audited, KeyChanges, OpContext, PemFiles, Trail};
use crate::random::SystemRandom;
use crate::secret::SecretBytes;
use crate::testing::{key_der, path};
use liar::{Liar, Lie};

#[test]
fn embedded_vault_conforms_in_everything() {
    let vault = &vault().vault;
    let subject = administered(vault.clone(), vault.clone(), vault.clone());
    let report = run(&subject);
    assert!(report.is_conformant(), "{report}");
    assert_eq!(report.not_run().count(), 0, "{report}");
    assert!(!vault.deleted(&OpContext::default()).expect("lists").is_empty(), "the suite deletes its key");
}

#[test]
fn audited_vault_conforms() {
    let vault = vault().vault.clone();
    let trail = Trail::new(Arc::new(Nowhere), FailurePolicy::default(), CorrelationId::from_bytes([7; 16]));
    let audited = Arc::new(Audited::new(vault, Arc::new(trail)));
    let changes = [Change::ActivationDate, Change::Delete, Change::Disable, Change::ExpiryDate];
    let subject = Subject::new(audited.clone(), "main".parse().expect("a reference"))
        .with_census(audited.clone())
        .with_admin(audited.clone(), &changes)
        .with_recovery(audited);
    let report = run(&subject);
    assert!(report.is_conformant(), "{report}");
    assert_eq!(report.not_run().count(), 0, "{report}");
}

/// Keeps no events.
#[derive(Debug)]
struct Nowhere;

impl AuditSink for Nowhere {
    fn append(&self, _: &[Event]) -> Result<(), AuditError> {
        Ok(())
    }
}

#[test]
fn embedded_vault_with_keys_in_all_states_conforms() {
    let report = run(&given(Lie::None));
    assert!(report.is_conformant(), "{report}");
    let needs: Vec<_> = report.not_run().map(|(_, needs)| needs).collect();
    assert!(needs.iter().all(|needs| matches!(needs, Capability::Administration | Capability::Recovery)), "{report}");
}

#[test]
fn pem_files_conform_and_what_they_lack_is_not_passed() {
    let file = path("keys/test-rsa2048.pkcs8.pem");
    let mut files = PemFiles::new();
    files.add(&file).expect("a good key");
    let report = run(&Subject::new(Arc::new(files), KeyRef::File(file)));
    assert!(report.is_conformant(), "{report}");
    let needs = Outcome::NotRun { needs: Capability::Versions };
    assert_eq!(report.outcome("reference_with_version_gives_that_one"), Some(&needs));
    assert_eq!(report.outcome("secrets_of_all_lengths_come_back"), Some(&Outcome::Passed));
    assert!(
        report.to_string().contains("not run  versions_differ_in_id_and_material: it needs a key with two versions")
    );
}

#[test]
fn every_lie_at_run_time_is_caught() {
    let mut missed_ones = Vec::new();
    for group in Lie::AT_RUN_TIME.chunk_by(|(one, _), (next, _)| one == next) {
        let report = run(&given(group[0].0));
        missed_ones.extend(group.iter().filter_map(|(lie, check)| missed(*lie, check, &report)));
    }
    assert!(missed_ones.is_empty(), "{}", missed_ones.join("\n"));
}

#[test]
fn every_lie_of_an_administrator_is_caught() {
    let missed = Lie::OF_ADMINISTRATORS.iter().filter_map(|(lie, check)| {
        let vault = &vault().vault;
        let liar = Arc::new(Liar::new(vault.clone(), *lie));
        missed(*lie, check, &run(&administered(vault.clone(), liar, vault.clone())))
    });
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn names_of_checks_are_unique_and_all_run() {
    let report = run(&given(Lie::None));
    let mut names: Vec<_> = report.checks().iter().map(|check| check.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 45, "{all} checks");
}

/// Says so when a check did not catch a lie.
fn missed(lie: Lie, check: &str, report: &Report) -> Option<String> {
    let caught = matches!(report.outcome(check), Some(Outcome::Failed(_)));
    (!caught).then(|| format!("{lie:?} was not caught by {check}: {report}"))
}

fn administered(vault: Arc<EmbeddedVault>, admin: Arc<dyn KeyAdmin>, recovery: Arc<dyn KeyRecovery>) -> Subject {
    let changes = [Change::ActivationDate, Change::Delete, Change::Disable, Change::ExpiryDate];
    Subject::new(vault.clone(), "main".parse().expect("a reference"))
        .with_census(vault)
        .with_admin(admin, &changes)
        .with_recovery(recovery)
}

/// A subject without an administrator, with a key in every state: quick, for nothing is generated.
fn given(lie: Lie) -> Subject {
    let by = |text: &str| -> KeyRef { text.parse().expect("a reference") };
    let liar = Arc::new(Liar::new(vault().vault.clone(), lie));
    Subject::new(liar.clone(), by("main"))
        .with_older(by("main@1"))
        .with_disabled(by("off"))
        .with_expired(by("late"))
        .with_not_yet_valid(by("soon"))
        .with_census(liar)
}

struct Shared {
    vault: Arc<EmbeddedVault>,
    _folder: tempfile::TempDir,
}

/// One vault for all tests: its keys take time to make.
fn vault() -> &'static Shared {
    static VAULT: OnceLock<Shared> = OnceLock::new();
    VAULT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Arc::new(new_vault(folder.path().join("vault.db")));
        let cx = OpContext::default();
        let (now, day) = (cx.now(), 86_400);
        vault.import(&name("main"), &private("rsa2048"), &cx).expect("imports");
        vault.rotate(&name("main"), &cx).expect("rotates");
        vault.import(&name("off"), &private("rsa3072"), &cx).expect("imports");
        vault.import(&name("late"), &private("rsa4096"), &cx).expect("imports");
        vault.create(&name("soon"), 2048, &cx).expect("creates");
        let late = KeyChanges { not_after: Some(Some(UnixTime(now.0 - day))), ..KeyChanges::default() };
        let soon = KeyChanges { not_before: Some(Some(now.plus(day))), ..KeyChanges::default() };
        for (key, changes) in [("off", KeyChanges::disable()), ("late", late), ("soon", soon)] {
            let changed = vault.update(&name(key), Some(VersionNumber::FIRST), &changes, &cx).expect("changes");
            assert_eq!(changed.state == KeyState::Disabled, key == "off");
        }
        Shared { vault, _folder: folder }
    })
}

fn new_vault(path: PathBuf) -> EmbeddedVault {
    let settings = VaultSettings {
        path,
        name: "local".parse().expect("a name"),
        owner: Owner::Customer,
        role: None,
        passphrase: Arc::new(Nobody),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    EmbeddedVault::create(settings, Protection::KeyFile).expect("a vault")
}

#[derive(Debug)]
struct Nobody;

impl PassphraseSource for Nobody {
    fn passphrase(&self, _: &VaultName, _: Purpose) -> Result<SecretBytes, PassphraseError> {
        Err(PassphraseError::NotGiven)
    }
}

fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

fn private(text: &str) -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(key_der(&format!("{text}.pkcs8")))).expect("a good key")
}
