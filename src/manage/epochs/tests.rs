//! Epoch keys of sets, as preflight and impact see them.

use std::time::Duration;

use super::*;
use crate::catalog::{EPOCH_ALGORITHM, SetKind, SetName};
use crate::clock::UnixTime;
use crate::format::{Layer, SnapshotId, Suite};
use crate::manage::preflight::tests::Nobody;
use crate::manage::{Environment, HomeSettings, NewSet, Paths};
use crate::provider::KeyAdmin;
use crate::provider::embedded::{Owner, Protection, SoftDelete};

/// A home with the set `many`, whose DEKs are wrapped under an epoch key.
pub(in crate::manage) fn home_with_epochs(folder: &Path) -> (Home, SetName) {
    let home = Home::open(HomeSettings {
        paths: Paths::decide(Some(&folder.join("home")), None, &Environment::default()).expect("a home"),
        only: None,
        role: None,
        passphrase: Arc::new(Nobody),
        deadline: Duration::from_secs(60),
    })
    .expect("a home");
    let vault = "local".parse().expect("a name");
    home.create_vault(&vault, Owner::Customer, Protection::KeyFile, SoftDelete::of(Owner::Customer)).expect("a vault");
    let key = "backup".parse().expect("a name");
    home.vault(&vault).expect("opens").create(&key, 2048, &home.context()).expect("a key");
    let name: SetName = "many".parse().expect("a name");
    let new = NewSet {
        name: name.clone(),
        kind: SetKind::Customer,
        key: Some(Home::key_ref("local/backup").expect("a key")),
        platform_key: None,
        location: None,
        subscription: None,
        auto_rotate: false,
        epoch: true,
        recovery: true,
    };
    home.create_set(&new).expect("a set");
    (home, name)
}

/// Rows of snapshots in ten folders, which are made, under this epoch key.
pub(in crate::manage) fn rows(folder: &Path, set: &SetName, record: &EpochRecord, count: u32) -> Vec<Snapshot> {
    let folders: Vec<PathBuf> = (0..10).map(|number| folder.join(format!("backups-{number}"))).collect();
    for folder in &folders {
        std::fs::create_dir(folder).expect("makes");
    }
    let id = record.header.id;
    let row = |number: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let dek = WrappedDek {
            layer: Layer::Inner,
            slot: 0,
            thumbprint: id.in_entry(),
            key_id: String::new(),
            algorithm: EPOCH_ALGORITHM.to_owned(),
            epoch: Some(id),
        };
        let folder = &folders[number as usize % folders.len()];
        Snapshot {
            path: folder.join(format!("{number}.sobre")),
            id: SnapshotId::from_bytes(bytes),
            suite: Suite::XtsBlake3,
            disk_len: Some(1 << 30),
            file_len: 1 << 30,
            root: Some([7; 32]),
            sealed: UnixTime(1_700_000_000),
            set: Some(set.to_string()),
            writable: true,
            verified: true,
            seen: UnixTime(1_700_000_000),
            deks: vec![dek],
        }
    };
    (0..count).map(row).collect()
}

#[test]
fn a_record_that_no_key_has_authenticated_counts_as_unverified() {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, set) = home_with_epochs(folder.path());
    let keys = home.keys_of_set(&set).expect("keys");
    let record = keys.epochs[0].record();
    let mut row = rows(folder.path(), &set, record, 1).remove(0);
    let catalog = home.catalog().expect("opens").expect("is there");
    let view = EpochView::with(Some(&catalog));
    let mut looked = row.clone();
    assert!(view.look_through(&mut looked), "the catalogue's own copy is authentic");
    assert_eq!(looked.deks[0].thumbprint, keys.inner.keys[0].version.thumbprint);
    // A copy beside it that differs is whoever's.
    let mut other = record.clone();
    other.envelope.generation += 1;
    home.put_epochs([&other], &row.path).expect("puts");
    assert!(!EpochView::with(Some(&catalog)).look_through(&mut row.clone()));
    assert!(!EpochView::with(None).look_through(&mut row));
}

#[test]
fn a_found_record_never_takes_the_place_of_a_proved_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, set) = home_with_epochs(folder.path());
    let record = home.keys_of_set(&set).expect("keys").epochs[0].record().clone();
    let catalog = home.catalog().expect("opens").expect("is there");
    let mut newer = record.clone();
    newer.envelope.generation = u64::MAX;
    assert!(!catalog.keep_epoch(&newer, false).expect("keeps"));
    assert_eq!(catalog.epoch(&record.header.id).expect("reads").expect("known").record, record);
    // Where none is proved, the newer one is kept, and a proved one replaces it.
    let mut strange = record.clone();
    strange.header.id = EpochId::from_bytes([9; 16]);
    assert!(catalog.keep_epoch(&strange, false).expect("keeps"));
    assert!(!catalog.keep_epoch(&strange, false).expect("keeps"), "the same again");
    let known = |verified| {
        let known = catalog.epoch(&strange.header.id).expect("reads").expect("known");
        assert_eq!((known.active, known.verified), (false, verified));
        known.record.envelope.generation
    };
    assert_eq!(known(false), 1);
    let mut later = strange.clone();
    later.envelope.generation = 7;
    assert!(catalog.keep_epoch(&later, false).expect("keeps"));
    assert_eq!(known(false), 7);
    assert!(catalog.keep_epoch(&strange, true).expect("keeps"));
    assert_eq!(known(true), 1);
}

#[test]
fn sealing_opens_the_same_epoch_key_and_a_new_one_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, set) = home_with_epochs(folder.path());
    let id = |home: &Home| home.keys_of_set(&set).expect("keys").epochs[0].id();
    let first = id(&home);
    assert_eq!(id(&home), first);
    let changes = crate::manage::SetChanges { new_epoch: true, ..Default::default() };
    home.update_set(&set, &changes).expect("changes");
    assert_ne!(id(&home), first);
    let catalog = home.catalog().expect("opens").expect("is there");
    let known = catalog.epochs_of_set(set.as_str(), Layer::Inner).expect("reads");
    assert_eq!(known.iter().filter(|known| known.active).count(), 1);
    assert_eq!(known.len(), 2);
}
