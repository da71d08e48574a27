//! Rows go in and come out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

#[test]
fn a_snapshot_comes_back_as_it_went_in() {
    let (_folder, catalog) = fresh();
    let mut odd = snapshot(
        Path::new(OsStr::from_bytes(b"/nowhere/\xff\n' ;--.sobre")),
        vec![dek(Layer::Inner, 0, 1), dek(Layer::Inner, 1, 2), dek(Layer::Outer, 0, 3)],
    );
    odd.deks[1].epoch = Some(crate::format::EpochId::from_bytes([6; 16]));
    let plain = Snapshot {
        disk_len: None,
        root: None,
        set: None,
        ..snapshot("/nowhere/a.sobre", vec![dek(Layer::Inner, 0, 1)])
    };
    catalog.register(&[odd.clone(), plain.clone()]).expect("registers");
    assert_eq!(catalog.snapshot(&odd.path).expect("reads").as_ref(), Some(&odd));
    assert_eq!(catalog.snapshots().expect("reads"), [plain.clone(), odd.clone()]);
    assert_eq!(catalog.sealed_with(&key(1)).expect("reads"), [plain.clone(), odd.clone()]);
    assert_eq!(catalog.sealed_with(&key(3)).expect("reads"), [odd.clone()]);
    assert_eq!(catalog.sealed_with(&key(7)).expect("reads"), []);
    assert_eq!(catalog.sealed_in_set("prod-weu").expect("reads"), [odd.clone()]);
    assert!(catalog.forget(&odd.path).expect("forgets"));
    assert!(!catalog.forget(&odd.path).expect("forgets"));
    assert_eq!(catalog.sealed_with(&key(3)).expect("reads"), []);
    assert_eq!(catalog.coverage().expect("reads").snapshots, 1);
}

#[test]
fn a_new_snapshot_takes_the_place_of_the_old_one() {
    let (_folder, catalog) = fresh();
    let old = snapshot("/nowhere/a.sobre", vec![dek(Layer::Inner, 0, 1), dek(Layer::Inner, 1, 2)]);
    let new = snapshot("/nowhere/a.sobre", vec![dek(Layer::Inner, 0, 5)]);
    catalog.register(&[old]).expect("registers");
    catalog.register(std::slice::from_ref(&new)).expect("registers");
    assert_eq!(catalog.snapshots().expect("reads"), [new]);
    assert_eq!(catalog.sealed_with(&key(2)).expect("reads"), []);
}

#[test]
fn a_verified_snapshot_stays_so_only_while_it_says_the_same() {
    let (_folder, catalog) = fresh();
    let seen = snapshot("/nowhere/a.sobre", vec![dek(Layer::Inner, 0, 1)]);
    let is_verified = || catalog.snapshot(&seen.path).expect("reads").expect("known").verified;
    catalog.register(std::slice::from_ref(&seen)).expect("registers");
    assert!(!is_verified());
    catalog.register(&[seen.clone().verified()]).expect("registers");
    assert!(is_verified());
    catalog.register(&[Snapshot { seen: UnixTime(5), writable: false, ..seen.clone() }]).expect("registers");
    assert!(is_verified());
    assert_eq!(catalog.coverage().expect("reads").unverified, 0);
    // Somebody adds a wrapper, so that the loss of the first key would look harmless.
    let forged = Snapshot { deks: vec![dek(Layer::Inner, 0, 1), dek(Layer::Inner, 1, 2)], ..seen.clone() };
    catalog.register(&[forged]).expect("registers");
    assert!(!is_verified());
    assert_eq!(catalog.coverage().expect("reads").unverified, 1);
}

#[test]
fn keys_are_counted_by_snapshots() {
    let (_folder, catalog) = fresh();
    let mut early = snapshot("/n/a.sobre", vec![dek(Layer::Inner, 0, 1), dek(Layer::Outer, 0, 2)]);
    early.sealed = UnixTime(5);
    catalog.register(&[early, snapshot("/n/b.sobre", vec![dek(Layer::Inner, 0, 1)])]).expect("registers");
    let uses = catalog.key_uses().expect("reads");
    let counts: Vec<_> = uses.iter().map(|found| (found.thumbprint, found.snapshots)).collect();
    assert_eq!(counts, [(key(1), 2), (key(2), 1)]);
    assert_eq!(uses[0].sealed, (UnixTime(5), UnixTime(1_700_000_000)));
    assert_eq!(uses[0].key_id, "prod/backup@1");
}

#[test]
fn a_folder_is_no_beginning_of_a_name() {
    let (_folder, catalog) = fresh();
    let all = ["/a/b/x.sobre", "/a/b0/x.sobre", "/a/bc.sobre", "/a/b.sobre", "/a/b/c/y.sobre", "/a"];
    catalog.register(&all.map(|path| snapshot(path, vec![]))).expect("registers");
    assert_eq!(
        catalog.paths_below(Path::new("/a/b")).expect("reads"),
        ["/a/b/c/y.sobre", "/a/b/x.sobre"].map(PathBuf::from)
    );
    assert_eq!(catalog.paths_below(Path::new("/")).expect("reads").len(), 6);
}

#[test]
fn times_beyond_reason_are_kept_within_it() {
    let (_folder, catalog) = fresh();
    let odd = Snapshot { sealed: UnixTime(u64::MAX), ..snapshot("/n/a.sobre", vec![]) };
    catalog.register(std::slice::from_ref(&odd)).expect("registers");
    let found = catalog.snapshot(&odd.path).expect("reads").expect("known");
    assert_eq!(found.sealed, UnixTime(i64::MAX.unsigned_abs()));
}

#[test]
fn a_set_changes_only_from_what_it_was() {
    let (_folder, catalog) = fresh();
    catalog.create_set(&set("prod-weu")).expect("creates");
    assert!(matches!(catalog.create_set(&set("PROD-WEU")), Err(CatalogError::Exists(_))));
    let first = catalog.set(&name("Prod-WEU")).expect("reads");
    assert_eq!(first, set("prod-weu"));
    let mut changed = first.clone();
    changed.keys[0] = SetKey { layer: Layer::Inner, thumbprint: key(8), key_id: "customer/a@2".into() };
    changed.links.push(SetLink { thumbprint: key(1), key_id: "customer/a@1".into() });
    changed.location = None;
    assert_eq!(catalog.replace_set(&changed).expect("replaces"), 2);
    assert!(matches!(catalog.replace_set(&first), Err(CatalogError::Changed(_))));
    assert!(matches!(catalog.delete_set(&first.name, 1), Err(CatalogError::Changed(_))));
    let found = catalog.set(&first.name).expect("reads");
    assert_eq!((found.generation, found.links.len(), found.location), (2, 2, None));
    let other = EncryptionSet { kind: SetKind::Customer, generation: 2, ..first.clone() };
    assert!(matches!(catalog.replace_set(&other), Err(CatalogError::KindFixed(_))));
    for number in [1, 2, 3, 8] {
        assert_eq!(catalog.sets_with(&key(number)).expect("reads").len(), 1, "{number}");
    }
    assert_eq!(catalog.sets_with(&key(9)).expect("reads"), []);
    catalog.delete_set(&first.name, 2).expect("deletes");
    assert!(matches!(catalog.set(&first.name), Err(CatalogError::SetNotFound(_))));
    assert!(catalog.sets_with(&key(8)).expect("reads").is_empty());
}

#[test]
fn two_changes_of_a_set_at_once_make_one() {
    let (_folder, catalog) = fresh();
    catalog.create_set(&set("a")).expect("creates");
    let other = Catalog::open(catalog.path(), WAIT).expect("opens");
    let done = std::thread::scope(|scope| {
        let change = |catalog| scope.spawn(move || Catalog::replace_set(catalog, &set("a")).is_ok());
        [change(&catalog), change(&other)].map(|thread| thread.join().expect("ends"))
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    assert_eq!(catalog.set(&name("a")).expect("reads").generation, 2);
}

#[test]
fn names_of_sets_are_plain() {
    for text in ["a", "prod-weu", "0.1_x", &"a".repeat(80)] {
        assert_eq!(name(text).as_str(), text);
    }
    for (text, error) in [
        ("", SetNameError::Length),
        (&*"a".repeat(81), SetNameError::Length),
        ("../x", SetNameError::Character('/')),
        ("..", SetNameError::Character('.')),
        ("-n", SetNameError::Character('-')),
        ("a\nb", SetNameError::Character('\n')),
        ("ä", SetNameError::Character('ä')),
    ] {
        assert_eq!(text.parse::<SetName>(), Err(error), "{text}");
    }
}

#[test]
fn one_job_of_a_set_runs_at_a_time() {
    let (_folder, catalog) = fresh();
    let items: Vec<PathBuf> = (0..5).map(|number| PathBuf::from(format!("/n/{number}.sobre"))).collect();
    let begin = |set: &str| {
        catalog.begin_job(JobKind::Rotation, Some(&name(set)), (Some(key(1)), Some(key(2))), &items, UnixTime(7))
    };
    let job = begin("a").expect("begins");
    assert!(matches!(begin("A"), Err(CatalogError::JobRunning(_))));
    begin("b").expect("begins");
    for _ in 0..2 {
        catalog.begin_job(JobKind::Rewrap, None, (None, None), &[], UnixTime(8)).expect("begins");
    }
    let done = |path: &PathBuf, state, error: Option<&str>| JobItem {
        path: path.clone(),
        state,
        error: error.map(str::to_owned),
    };
    catalog
        .note_items(
            job,
            &[done(&items[0], ItemState::Done, None), done(&items[3], ItemState::Failed, Some("read-only"))],
        )
        .expect("notes");
    // Another process goes on where this one stopped.
    let again = Catalog::open(catalog.path(), WAIT).expect("opens");
    let running = again.running_job(&name("A")).expect("reads").expect("runs");
    assert_eq!((running.id, running.from, running.to, running.started), (job, Some(key(1)), Some(key(2)), UnixTime(7)));
    let left = again.items(job, ItemState::Pending, None, 2).expect("reads");
    assert_eq!(left.iter().map(|item| &item.path).collect::<Vec<_>>(), [&items[1], &items[2]]);
    let left = again.items(job, ItemState::Pending, Some(&items[2]), 9).expect("reads");
    assert_eq!(left.iter().map(|item| &item.path).collect::<Vec<_>>(), [&items[4]]);
    assert_eq!(again.items(job, ItemState::Failed, None, 9).expect("reads")[0].error.as_deref(), Some("read-only"));
    assert_eq!(again.count_items(job, ItemState::Pending).expect("counts"), 3);
    again.end_job(job, Some("1 of 5 failed"), UnixTime(9)).expect("ends");
    assert_eq!(catalog.running_job(&name("a")).expect("reads"), None);
    let ended = catalog.jobs().expect("reads").into_iter().find(|found| found.id == job).expect("there");
    assert_eq!(
        (ended.state, ended.finished, ended.error.as_deref()),
        (JobState::Failed, Some(UnixTime(9)), Some("1 of 5 failed"))
    );
    begin("a").expect("begins again");
}
