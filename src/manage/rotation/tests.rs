use super::stale::Obstacle;
use super::*;

#[test]
fn the_next_version_has_the_next_number() {
    assert_eq!(next_id("customer/backup@3"), "customer/backup@4");
    assert_eq!(next_id("customer/backup@4294967295"), "customer/backup@4294967295");
    assert_eq!(next_id("strange"), "strange");
}

#[test]
fn what_can_not_be_reached_is_no_failure() {
    let of = |kind: io::ErrorKind| Obstacle::of(&Error::Io(kind.into()).at("a".as_ref()));
    assert_eq!(of(io::ErrorKind::NotFound), Obstacle::Missing);
    assert_eq!(of(io::ErrorKind::PermissionDenied), Obstacle::ReadOnly);
    assert_eq!(of(io::ErrorKind::ReadOnlyFilesystem), Obstacle::ReadOnly);
    assert_eq!(of(io::ErrorKind::StorageFull), Obstacle::Failed);
    assert_eq!(Obstacle::of(&Error::SourceChanged("changed")), Obstacle::Failed);
}

/// 100,000 snapshots in ten folders that only the catalogue knows, under one epoch key of a real set.
#[test]
#[ignore = "prints figures"]
fn an_epoch_rotation_of_a_hundred_thousand_deks_takes_less_than_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, set) = crate::manage::epochs::tests::home_with_epochs(folder.path());
    let keys = home.keys_of_set(&set).expect("keys");
    let record = keys.epochs[0].record().clone();
    let catalog = home.catalog().expect("opens").expect("is there");
    let snapshots = crate::manage::epochs::tests::rows(folder.path(), &set, &record, 100_000);
    catalog.register(&snapshots).expect("registers");
    let ctl = Control::default();
    let request = RotationRequest { set: set.clone(), layer: Layer::Inner, resume: false, envelopes: None };
    let mut times = Vec::new();
    for _ in 0..5 {
        // The time to make an RSA key is not the rotation's.
        let (vault, name) = home.key_of(&home.set(&set).expect("a set").keys[0]).expect("a key");
        vault.rotate(&name, &home.context()).expect("makes a version");
        let start = std::time::Instant::now();
        let report = home.rotate_set(&request, &ctl).expect("rotates");
        times.push(start.elapsed());
        assert_eq!((report.epochs, report.covered, report.rewrapped), (1, 100_000, 0));
        assert!(report.remaining.is_empty() && report.failed == 0, "{report:?}");
    }
    times.sort();
    println!("epoch rotation of 100,000 wrapped DEKs in 10 folders: median {:?}, worst {:?}", times[2], times[4]);
    assert!(times[2] < std::time::Duration::from_secs(1));
}
