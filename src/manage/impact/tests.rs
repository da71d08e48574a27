//! Keys that go, and what goes with them.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::catalog::{EncryptionSet, SetKey, SetKind, SetLink};
use crate::clock::UnixTime;
use crate::engine::Control;
use crate::format::{Layer, Suite};
use crate::manage::preflight::tests::{NOW, at, dek, import, name, row, vault, vaults};
use crate::provider::{KeyAdmin, KeyChanges, KeyRecovery};

const WAIT: Duration = Duration::from_secs(30);

/// A catalogue with these rows, and a scanned folder that has nothing in it.
fn catalog(folder: &Path, rows: &[Snapshot]) -> Catalog {
    let catalog = Catalog::open_or_create(&folder.join("catalog.db"), WAIT).expect("a catalogue");
    let scanned = folder.join("scanned");
    std::fs::create_dir(&scanned).expect("makes");
    catalog.scan(&scanned, UnixTime(NOW), &Control::default()).expect("scans");
    catalog.register(rows).expect("registers");
    catalog
}

fn impact(target: &Target, catalog: Catalog, left: &Vaults) -> Impact {
    Impact::of(vec![target.clone()], Ok(Some(catalog)), left, &at(NOW))
}

fn names(list: &[LostSnapshot]) -> Vec<&str> {
    list.iter().map(|lost| lost.snapshot.path.to_str().expect("text")).collect()
}

#[test]
fn what_has_no_other_usable_wrapper_is_lost_and_the_rest_says_through_what_it_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let (going, other, disabled) = (import(&a, "going", 2048), import(&a, "other", 3072), import(&a, "off", 4096));
    a.update(&name("off"), None, &KeyChanges::disable(), &at(NOW)).expect("disables");
    let wrapped = |kek: &KeyVersion, slot| dek(Layer::Inner, slot, &kek.thumbprint, &kek.id);
    let rows = [
        row("/alone", 1, vec![wrapped(&going, 0)]).verified(),
        row("/both", 1, vec![wrapped(&going, 0), wrapped(&other, 1)]).verified(),
        row("/off", 1, vec![wrapped(&disabled, 0), wrapped(&going, 1)]).verified(),
        row("/without", 1, vec![wrapped(&other, 0)]).verified(),
    ];
    let target = Target::of(&"a".parse().expect("a name"), &going);
    let found = impact(&target, catalog(folder.path(), &rows), &vaults(&[&a]));
    assert_eq!(names(&found.lost), ["/alone", "/off"]);
    assert_eq!(found.lost[1].elsewhere, [format!("a/off@1 (jkt:{})", disabled.thumbprint.short())]);
    assert!(found.lost[0].gone);
    assert_eq!(found.survivors.len(), 1);
    assert_eq!(found.survivors[0].through, ["a/other@1"]);
    assert_eq!((found.targets[0].snapshots, found.coverage.snapshots, found.coverage.gone), (3, 4, 4));
    assert!(found.doubts.is_empty() && !found.is_harmless(), "{:?}", found.doubts);
}

#[test]
fn the_same_key_in_another_vault_keeps_snapshots_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|vault_name| vault(folder.path(), vault_name, None));
    let key = import(&a, "k", 2048);
    import(&b, "copy", 2048);
    let rows = [row("/s", 1, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")]).verified()];
    let target = Target::of(&"a".parse().expect("a name"), &key);
    let known = catalog(folder.path(), &rows);
    let found = impact(&target, known, &vaults(&[&a, &b]));
    assert!(found.is_harmless());
    assert_eq!(found.survivors[0].through, ["b/copy@1"]);
    b.delete(&name("copy"), &at(NOW)).expect("deletes");
    let known = Catalog::open(&folder.path().join("catalog.db"), WAIT).expect("opens");
    assert_eq!(names(&impact(&target, known, &vaults(&[&a, &b])).lost), ["/s"]);
    b.recover(&name("copy"), &at(NOW)).expect("recovers");
    let known = Catalog::open(&folder.path().join("catalog.db"), WAIT).expect("opens");
    assert!(impact(&target, known, &vaults(&[&a, &b])).is_harmless());
}

#[test]
fn a_double_snapshot_is_lost_with_either_of_its_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|vault_name| vault(folder.path(), vault_name, None));
    let (inner, outer) = (import(&a, "k", 2048), import(&b, "k", 3072));
    let mut double = row(
        "/d",
        1,
        vec![dek(Layer::Inner, 0, &inner.thumbprint, "a/k@1"), dek(Layer::Outer, 0, &outer.thumbprint, "b/k@1")],
    );
    double.suite = Suite::XtsGcm;
    drop(catalog(folder.path(), &[double.verified()]));
    for (vault, key) in [("a", &inner), ("b", &outer)] {
        let known = Catalog::open(&folder.path().join("catalog.db"), WAIT).expect("opens");
        let target = Target::of(&vault.parse().expect("a name"), key);
        let found = impact(&target, known, &vaults(&[&a, &b]));
        assert_eq!((names(&found.lost), &found.lost[0].keys), (vec!["/d"], &vec![key.thumbprint]));
    }
}

/// Whoever can write a snapshot's head can add a wrapper under a key that is there, or leave the true one out.
#[test]
fn a_forged_wrapper_makes_the_answer_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let (going, other) = (import(&a, "going", 2048), import(&a, "other", 3072));
    let forged = |path: &str, keks: &[&KeyVersion]| {
        let deks = keks.iter().zip(0..).map(|(kek, slot)| dek(Layer::Inner, slot, &kek.thumbprint, &kek.id));
        row(path, 1, deks.collect())
    };
    let rows = [forged("/added", &[&going, &other]), forged("/left-out", &[&other])];
    let target = Target::of(&"a".parse().expect("a name"), &going);
    let found = impact(&target, catalog(folder.path(), &rows), &vaults(&[&a]));
    assert!(found.lost.is_empty());
    assert!(!found.is_harmless());
    assert!(matches!(found.doubts[..], [Doubt::Unverified(2)]), "{:?}", found.doubts);
}

#[test]
fn a_file_that_has_changed_is_no_longer_what_was_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let key = import(&a, "k", 2048);
    let path = folder.path().canonicalize().expect("there").join("s.sobre");
    std::fs::write(&path, "no snapshot any more").expect("writes");
    let target = Target::of(&"a".parse().expect("a name"), &key);
    let mut seen = row(&path, 1, vec![]).verified();
    // The virtual clock stands in the future of the file's.
    seen.seen = UnixTime(NOW);
    drop(catalog(folder.path(), &[seen.clone()]));
    let open = || Catalog::open(&folder.path().join("catalog.db"), WAIT).expect("opens");
    assert!(impact(&target, open(), &vaults(&[&a])).is_harmless());
    for (wrong, time) in [(1, NOW), (4_294_967_296, NOW)] {
        seen.seen = UnixTime(wrong);
        let catalog = open();
        catalog.register(&[seen.clone()]).expect("registers");
        let found = Impact::of(vec![target.clone()], Ok(Some(catalog)), &vaults(&[&a]), &at(time));
        assert!(matches!(found.doubts[..], [Doubt::Unreadable(1)]), "{wrong}: {:?}", found.doubts);
    }
}

#[test]
fn without_a_catalogue_or_a_scan_nothing_is_certain() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let target = Target::of(&"a".parse().expect("a name"), &import(&a, "k", 2048));
    let none = Impact::of(vec![target.clone()], Ok(None), &vaults(&[&a]), &at(NOW));
    assert!(matches!(none.doubts[..], [Doubt::CatalogMissing]) && !none.is_harmless());
    let path = folder.path().join("catalog.db");
    let empty = Catalog::open_or_create(&path, WAIT).expect("a catalogue");
    let never = impact(&target, empty, &vaults(&[&a]));
    assert!(matches!(never.doubts[..], [Doubt::NeverScanned]) && !never.is_harmless());
    std::fs::write(folder.path().join("junk.sobre"), "junk").expect("writes");
    let catalog = Catalog::open(&path, WAIT).expect("opens");
    catalog.scan(folder.path(), UnixTime(NOW), &Control::default()).expect("scans");
    let partly = impact(&target, catalog, &vaults(&[&a]));
    assert!(matches!(partly.doubts[..], [Doubt::ScanIncomplete { failures: 1, .. }]), "{:?}", partly.doubts);
    let damaged = CatalogError::NotFound(path);
    let unusable = Impact::of(vec![target], Err(damaged), &vaults(&[&a]), &at(NOW));
    assert!(matches!(unusable.doubts[..], [Doubt::CatalogUnusable(_)]) && !unusable.is_harmless());
}

#[test]
fn the_sets_of_a_key_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let key = import(&a, "k", 2048);
    let catalog = catalog(folder.path(), &[]);
    for (set, active) in [("active", true), ("linked", false)] {
        catalog
            .create_set(&EncryptionSet {
                name: set.parse().expect("a name"),
                kind: SetKind::Customer,
                keys: active
                    .then(|| SetKey { layer: Layer::Inner, thumbprint: key.thumbprint, key_id: key.id.clone() })
                    .into_iter()
                    .collect(),
                links: (!active)
                    .then(|| SetLink { thumbprint: key.thumbprint, key_id: key.id.clone() })
                    .into_iter()
                    .collect(),
                location: None,
                subscription: None,
                auto_rotate: false,
                epoch: false,
                recovery: true,
                generation: 1,
                created: UnixTime(NOW),
            })
            .expect("makes");
    }
    let found = impact(&Target::of(&"a".parse().expect("a name"), &key), catalog, &vaults(&[&a]));
    let sets: Vec<_> = found.sets.iter().map(|one| (one.set.as_str(), one.active)).collect();
    assert_eq!(sets, [("active", true), ("linked", false)]);
    assert!(found.is_harmless());
}

#[test]
fn a_record_is_there_before_the_purge_and_never_replaces_a_file() {
    use crate::provider::KeyCensus;
    let folder = tempfile::tempdir().expect("a folder");
    let a = vault(folder.path(), "a", None);
    let key = import(&a, "k", 2048);
    a.delete(&name("k"), &at(NOW)).expect("deletes");
    let rows = [row("/s", 1, vec![dek(Layer::Inner, 0, &key.thumbprint, "a/k@1")]).verified()];
    let vault_name: VaultName = "a".parse().expect("a name");
    let found = impact(&Target::of(&vault_name, &key), catalog(folder.path(), &rows), &vaults(&[&a]));
    let path = folder.path().join("record.json");
    let details = a.details(&name("k"), &at(NOW)).expect("there");
    let begin = || PurgeRecord::begin(&path, &vault_name, &details, std::slice::from_ref(&key), &found, UnixTime(NOW));
    let read =
        || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&path).expect("reads")).expect("an object") };
    let record = begin().expect("writes");
    assert_eq!((&read()["status"], &read()["lost"][0]), (&"intended".into(), &"/s".into()));
    assert_eq!(read()["versions"][0]["thumbprint"], key.thumbprint.to_string());
    assert!(begin().is_err(), "a record is not replaced");
    record.complete(UnixTime(NOW + 1)).expect("completes");
    assert_eq!(read()["status"], "completed");
    assert!(read()["cannot_know"].as_array().is_some_and(|list| list.len() == 4));
}
