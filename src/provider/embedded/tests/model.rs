//! Any sequence of changes, compared with a model of a few lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const START: u64 = 1_700_000_000;
const WEEK: u64 = 7 * 86_400;

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Rotate(usize),
    Enable(usize, u32, bool),
    Expire(usize, u32, Option<u64>),
    Lock(usize, bool),
    Plan(usize, bool),
    Delete(usize),
    Recover(usize),
    Purge(usize),
    Wait(u64),
    Reopen,
    BackUp,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..NAMES.len();
    prop_oneof![
        3 => key.clone().prop_map(Step::Add),
        2 => key.clone().prop_map(Step::Rotate),
        2 => (key.clone(), 1..4_u32, any::<bool>()).prop_map(|(key, number, on)| Step::Enable(key, number, on)),
        1 => (key.clone(), 1..3_u32, proptest::option::of(1..u64::MAX / 2)).prop_map(|(key, n, time)| Step::Expire(key, n, time)),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, locked)| Step::Lock(key, locked)),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, planned)| Step::Plan(key, planned)),
        2 => key.clone().prop_map(Step::Delete),
        2 => key.clone().prop_map(Step::Recover),
        2 => key.prop_map(Step::Purge),
        1 => (0..2 * WEEK).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
        1 => Just(Step::BackUp),
    ]
}

#[derive(Clone, Debug, Default)]
struct Key {
    /// Thumbprint, enabled, expiry.
    versions: Vec<(crate::key::Thumbprint, bool, Option<u64>)>,
    locked: bool,
    planned: bool,
    deleted: Option<u64>,
}

type Model = BTreeMap<usize, Key>;

/// What the vault must answer to a step on this key, apart from what only some steps refuse.
fn live(model: &mut Model, key: usize) -> Result<&mut Key, ProviderErrorKind> {
    match model.get_mut(&key) {
        None => Err(ProviderErrorKind::NotFound),
        Some(key) if key.deleted.is_some() => Err(ProviderErrorKind::Deleted),
        Some(key) => Ok(key),
    }
}

fn gone(model: &mut Model, key: usize) -> Result<&mut Key, ProviderErrorKind> {
    match model.get_mut(&key) {
        None => Err(ProviderErrorKind::NotFound),
        Some(key) if key.deleted.is_none() => Err(ProviderErrorKind::Unsupported),
        Some(key) => Ok(key),
    }
}

fn policy() -> RotationPolicy {
    "notify P30D before expiry".parse().expect("a policy")
}

fn weekly(path: &Path) -> EmbeddedVault {
    let soft_delete = SoftDelete { retention: Retention::of_days(7).expect("in range"), purge_protection: true };
    EmbeddedVault::create_with(settings(path, &Answer::nothing()), Protection::KeyFile, soft_delete).expect("a vault")
}

/// Takes a step in the vault and in the model, and returns what each answers.
fn take(step: &Step, vault: &EmbeddedVault, model: &mut Model, now: u64) -> [Result<(), ProviderErrorKind>; 2] {
    let named = |key: usize| name(NAMES[key]);
    let (context, kind) = (at(now), |error: ProviderError| error.kind);
    match *step {
        Step::Add(key) => {
            let draft = synthetic();
            let expected = if model.contains_key(&key) { Err(ProviderErrorKind::Exists) } else { Ok(()) };
            if expected.is_ok() {
                let versions = vec![(crate::key::Thumbprint::of(&draft.public), true, None)];
                model.insert(key, Key { versions, ..Key::default() });
            }
            [vault.add(&named(key), &draft, &context).map(drop).map_err(kind), expected]
        }
        Step::Rotate(key) => {
            let made = vault.rotate_with(&named(key), &context, |_| Ok(synthetic())).map_err(kind);
            let expected = live(model, key).map(|key| {
                key.versions.extend(made.as_ref().ok().map(|version| (version.thumbprint, true, None)));
            });
            [made.map(drop), expected]
        }
        Step::Enable(key, number, on) => {
            let changes = KeyChanges { enabled: Some(on), ..KeyChanges::default() };
            let expected = live(model, key).and_then(|key| {
                let version = key.versions.get_mut(number as usize - 1).ok_or(ProviderErrorKind::NotFound)?;
                version.1 = on;
                Ok(())
            });
            [
                vault.update(&named(key), VersionNumber::new(number), &changes, &context).map(drop).map_err(kind),
                expected,
            ]
        }
        Step::Expire(key, number, time) => {
            let too_far = time.is_some_and(|time| time > 253_402_300_799);
            let changes = KeyChanges { not_after: Some(time.map(UnixTime)), ..KeyChanges::default() };
            let expected = if too_far { Err(ProviderErrorKind::Unsupported) } else { live(model, key) };
            let expected = expected.and_then(|key| {
                key.versions.get_mut(number as usize - 1).ok_or(ProviderErrorKind::NotFound)?.2 = time;
                Ok(())
            });
            [
                vault.update(&named(key), VersionNumber::new(number), &changes, &context).map(drop).map_err(kind),
                expected,
            ]
        }
        Step::Lock(key, locked) => {
            let expected = live(model, key).map(|key| key.locked = locked);
            [vault.set_delete_lock(&named(key), locked, &context).map(drop).map_err(kind), expected]
        }
        Step::Plan(key, planned) => {
            let policy = if planned { policy() } else { RotationPolicy::default() };
            let expected = live(model, key).map(|key| key.planned = planned);
            [vault.set_policy(&named(key), &policy, &context).map(drop).map_err(kind), expected]
        }
        Step::Delete(key) => {
            let expected = live(model, key).and_then(|key| match key.locked {
                true => Err(ProviderErrorKind::Denied),
                false => {
                    key.deleted = Some(now + WEEK);
                    Ok(())
                }
            });
            [vault.delete(&named(key), &context).map(drop).map_err(kind), expected]
        }
        Step::Recover(key) => {
            let expected = gone(model, key).map(|key| key.deleted = None);
            [vault.recover(&named(key), &context).map(drop).map_err(kind), expected]
        }
        Step::Purge(key) => {
            let expected = gone(model, key).and_then(|key| match key.deleted {
                Some(until) if now < until => Err(ProviderErrorKind::Denied),
                _ => Ok(()),
            });
            if expected.is_ok() {
                model.remove(&key);
            }
            [vault.purge(&named(key), &context).map_err(kind), expected]
        }
        Step::Wait(_) | Step::Reopen | Step::BackUp => [Ok(()), Ok(())],
    }
}

/// Asserts that the vault has what the model has, and nothing else.
fn compare(vault: &EmbeddedVault, model: &Model) {
    let listed = |deleted: bool| -> Vec<KeyName> {
        model.iter().filter(|(_, key)| key.deleted.is_some() == deleted).map(|(&key, _)| name(NAMES[key])).collect()
    };
    assert_eq!(vault.keys(&cx()).expect("lists"), listed(false));
    let deleted: Vec<KeyName> = vault.deleted(&cx()).expect("lists").into_iter().map(|key| key.name).collect();
    assert_eq!(deleted, listed(true));
    for (&index, key) in model {
        let details = vault.details(&name(NAMES[index]), &cx()).expect("is there");
        assert_eq!(details.delete_lock, key.locked);
        assert_eq!(details.policy, if key.planned { policy() } else { RotationPolicy::default() });
        assert_eq!(details.deletion.map(|deletion| deletion.recoverable_until.0), key.deleted);
        let versions = vault.versions(&name(NAMES[index]), &cx()).expect("is there");
        let found: Vec<_> = versions
            .iter()
            .map(|(_, version)| (version.thumbprint, version.state, version.not_after.map(|time| time.0)))
            .collect();
        let state = |enabled: bool| match (key.deleted, enabled) {
            (Some(_), _) => KeyState::Deleted,
            (None, true) => KeyState::Enabled,
            (None, false) => KeyState::Disabled,
        };
        let expected: Vec<_> =
            key.versions.iter().map(|&(thumbprint, enabled, until)| (thumbprint, state(enabled), until)).collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_where_the_model_ends(steps in proptest::collection::vec(step(), 1..40)) {
        let (_folder, path) = folder();
        let mut vault = weekly(&path);
        let (mut model, mut now) = (Model::new(), START);
        for step in &steps {
            let [answer, expected] = take(step, &vault, &mut model, now);
            prop_assert_eq!(answer, expected, "{:?}", step);
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Reopen => {
                    drop(vault);
                    vault = open(&path).expect("opens");
                    compare(&vault, &model);
                }
                // A synthetic private key is none, so a backup can't be read back: only its making is tried.
                Step::BackUp => {
                    let to = BackupRecipient::Key(test_key("rsa3072").public().expect("public"));
                    let (sealed, report) = SealedBackup::seal(&[&vault], &to, &cx()).expect("seals");
                    let all: usize = model.values().map(|key| key.versions.len()).sum();
                    prop_assert_eq!(report.vaults[0].1, all);
                    sealed.record(&cx()).expect("records");
                    prop_assert!(vault.backup_status(&cx()).expect("status").current);
                }
                _ => {}
            }
        }
        compare(&vault, &model);
        drop(vault);
        compare(&open(&path).expect("opens"), &model);
    }
}
