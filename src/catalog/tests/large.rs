//! Many rows, and processes that are killed.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const PATH: &str = "SOBRE_TEST_CATALOG_PATH";

fn many(range: std::ops::Range<u32>) -> Vec<Snapshot> {
    let one = |number: u32| {
        let kek = u8::try_from(number % 200).expect("fits");
        let deks = vec![dek(Layer::Inner, 0, kek), dek(Layer::Inner, 1, 250), dek(Layer::Outer, 0, 251)];
        snapshot(format!("/backups/{}/vm-{number}.sobre", number % 100), deks)
    };
    range.map(one).collect()
}

/// Fills a catalogue, and measures what people wait for.
fn figures(count: u32) {
    let (_folder, catalog) = fresh();
    let start = Instant::now();
    let all = many(0..count);
    for batch in all.chunks(1000) {
        catalog.register(batch).expect("registers");
    }
    let filled = start.elapsed();
    let time = |what: &str, act: &dyn Fn() -> usize| {
        let start = Instant::now();
        let found = act();
        eprintln!("{count} snapshots: {what}: {found} in {:.1?}", start.elapsed());
        found
    };
    eprintln!("{count} snapshots: registered in {filled:.1?}");
    let wanted = usize::try_from(count).expect("fits");
    assert_eq!(
        time("needed by one key", &|| catalog.sealed_with(&key(17)).expect("reads").len()),
        wanted.div_ceil(200)
    );
    assert_eq!(time("uses of all keys", &|| catalog.key_uses().expect("reads").len()), 202);
    assert_eq!(time("all", &|| catalog.snapshots().expect("reads").len()), wanted);
    assert_eq!(time("opened", &|| usize::from(Catalog::open(catalog.path(), WAIT).is_ok())), 1);
}

#[test]
fn thousands_of_snapshots_are_found_by_their_keys() {
    figures(2000);
}

#[test]
#[ignore = "takes seconds; prints figures"]
fn a_hundred_thousand_snapshots_are_found_by_their_keys() {
    figures(100_000);
}

/// What the other processes do; nothing when the tests run it as a test.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    for start in (0..).step_by(50) {
        let catalog = Catalog::open_or_create(Path::new(&path), WAIT).expect("a catalogue");
        catalog.register(&many(start..start + 50)).expect("registers");
    }
}

#[test]
fn a_process_killed_while_it_registers_leaves_whole_batches() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.db");
    let mut before = 0;
    for delay in [30, 45, 60, 90, 140, 200] {
        let mut child = Command::new(std::env::current_exe().expect("a program"))
            .args(["catalog::tests::large::child", "--exact", "--test-threads=1"])
            .env(PATH, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("kills");
        child.wait().expect("ends");
        let found = Catalog::open_or_create(&path, WAIT).expect("opens").snapshots().expect("reads");
        assert_eq!(found.len() % 50, 0);
        assert!(found.len() >= before, "{} of {before}", found.len());
        assert!(found.iter().all(|snapshot| snapshot.deks.len() == 3));
        before = found.len();
    }
    assert!(before > 0, "no process got as far as registering");
}
