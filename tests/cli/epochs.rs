//! Sets whose DEKs are wrapped under an epoch key.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::world::{World, private_key, public_key};

/// A home with the key `backup`, the set `many` with an epoch key, and two of its snapshots in each of the folders `a` and `b`.
fn many() -> World {
    static MADE: OnceLock<World> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let world = World::fresh();
        world.write("small.img", [5; 70_000]);
        world.sobre("key create backup --size 2048").code(0);
        let created = world.sobre("set create many --type customer --key backup --epoch");
        created.code(0).prints("whoever learns it opens every snapshot of the set");
        for folder in ["a", "b"] {
            std::fs::create_dir(world.path(folder)).expect("makes");
            for number in 0..2 {
                world.sobre(&format!("seal -q --set many small.img {folder}/{number}.sobre")).code(0);
            }
        }
        world
    });
    let copy = made.copy();
    // The catalogue knows where the snapshots of the first world are.
    copy.sobre("catalog add a b").code(0);
    let stale = ["a/0", "a/1", "b/0", "b/1"].map(|name| made.path(format!("{name}.sobre")));
    copy.run(["catalog".as_ref(), "remove".as_ref()].into_iter().chain(stale.iter().map(|path| path.as_os_str())))
        .code(0);
    copy.sobre(&format!("verify -q {ALL}")).code(0);
    copy
}

const ALL: &str = "a/0.sobre a/1.sobre b/0.sobre b/1.sobre";

/// The epoch record of a folder.
fn record(world: &World, folder: &str) -> PathBuf {
    let entries = std::fs::read_dir(world.path(folder)).expect("lists").map(|entry| entry.expect("an entry").path());
    let mut records = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sobre-epoch"));
    let record = records.next().expect("a record");
    assert_eq!(records.next(), None, "one epoch key for all");
    record
}

fn verify_all(world: &World) {
    world.sobre(&format!("verify -q {ALL}")).code(0);
}

#[test]
fn a_rotation_rewraps_one_key_for_all_snapshots() {
    let world = many();
    let before: Vec<_> = ALL.split(' ').map(|name| world.read(name)).collect();
    let planned = world.sobre("set rotate many -n").code(0).clone();
    planned.prints("would re-wrap 1 epoch key, over 4 snapshots");
    let rotated = world.sobre("set rotate many").code(0).clone();
    rotated.prints("made key customer/backup@2").prints("re-wrapped 1 epoch key, over 4 snapshots");
    for (name, before) in ALL.split(' ').zip(before) {
        assert!(world.read(name) == before, "{name} was written to");
    }
    world.sobre("key disable customer/backup@1 --accept-loss").code(0);
    verify_all(&world);
    let inspected = world.sobre("inspect a/0.sobre").code(0).clone();
    inspected.prints("wrapped under customer/backup@2");
    assert_eq!(world.sobre("set rotate many --resume --json").json()["remaining"], serde_json::json!([]));
}

#[test]
fn without_the_catalogue_everything_opens() {
    let world = many();
    std::fs::remove_file(world.path("sobre/catalog.db")).expect("removes");
    verify_all(&world);
    for name in ALL.split(' ') {
        world.sobre(&format!("open --force {name} out")).code(0);
        assert_eq!(world.read("out"), [5; 70_000]);
    }
    // It comes back from the folders, the epoch key included.
    world.sobre("catalog rebuild a b").code(0);
    std::fs::remove_file(record(&world, "b")).expect("removes");
    world.sobre("open --force b/0.sobre out").code(0).warns("a copy from elsewhere served");
}

#[test]
fn a_snapshot_without_its_record_names_the_missing_file() {
    let world = many();
    let record = record(&world, "a");
    let name = record.file_name().expect("a name").to_str().expect("text").to_owned();
    std::fs::rename(&record, world.path("kept")).expect("moves");
    world.sobre("verify a/0.sobre").code(0).warns("a copy from elsewhere served");
    std::fs::remove_file(world.path("sobre/catalog.db")).expect("removes");
    world.sobre("verify a/0.sobre").code(10).warns(&name).warns("copy that file beside the snapshot");
    let preflight = world.sobre("preflight a/0.sobre b/0.sobre").code(14).clone();
    preflight.prints("the epoch record is missing").prints(&name).prints("1 of 2 snapshots");
    world.sobre("inspect a/0.sobre").code(0).prints("is not here");
    std::fs::rename(world.path("kept"), &record).expect("moves back");
    verify_all(&world);
}

#[test]
fn a_vault_backup_brings_the_records_to_another_home() {
    let world = many();
    world
        .run(["vault", "backup", "vault.bak", "--to", &public_key()])
        .code(0)
        .prints("with the records of 1 epoch key");
    std::fs::remove_file(record(&world, "a")).expect("removes");
    std::fs::rename(world.home(), world.path("lost")).expect("moves");
    world.run(["vault", "restore", "vault.bak", "--key", &private_key()]).code(0);
    world.sobre("open --force a/0.sobre out").code(0).warns("a copy from elsewhere served");
    assert_eq!(world.read("out"), [5; 70_000]);
}

#[test]
fn preflight_and_impact_look_through_the_epoch_key() {
    let world = many();
    let preflight = world.sobre("preflight --set many --challenge --json").code(0).json();
    assert_eq!(preflight["keys"][0]["places"][0]["id"], "customer/backup@1", "{preflight}");
    world.sobre("key impact customer/backup@1").prints("4 snapshots become unreadable");
    let refused = world.sobre("key disable customer/backup@1").clone();
    assert_eq!(refused.code, Some(14), "{refused:#?}");
    world.sobre("catalog list --key customer/backup@1 --json").code(0);
    let listed = world.sobre("catalog list --key customer/backup@1 --json").json();
    assert_eq!(listed["snapshots"].as_array().expect("a list").len(), 4);
    world.sobre("set rotate many").code(0);
    world.sobre("key impact customer/backup@1").prints("no known snapshot becomes unreadable");
}

#[test]
fn a_record_that_somebody_else_wrote_does_not_hide_what_a_key_is_needed_for() {
    let world = many();
    world.sobre("catalog rebuild a b").code(0);
    // As if somebody had put an older or forged copy there that names another key.
    let ours = record(&world, "a");
    let before = std::fs::read(&ours).expect("reads");
    world.sobre("set rotate many").code(0);
    std::fs::write(&ours, before).expect("writes");
    let impact = world.sobre("key impact customer/backup@2").clone();
    impact.prints("2 snapshots become unreadable").prints("2 snapshots were never verified");
    let refused = world.sobre("key disable customer/backup@1");
    assert_eq!(refused.code, Some(14), "{refused:#?}");
}

#[test]
fn a_folder_that_missed_a_rotation_is_listed_and_made_up_for() {
    let world = many();
    std::fs::rename(world.path("b"), world.path("away")).expect("moves");
    let rotated = world.sobre("set rotate many").code(0).clone();
    rotated.prints("over 2 snapshots").prints("2 snapshots still need customer/backup@1").prints("not where they were");
    world.sobre("verify -q away/0.sobre").code(0);
    std::fs::rename(world.path("away"), world.path("b")).expect("moves back");
    world.sobre("set rotate --due").code(0).prints("over 4 snapshots");
    assert_eq!(std::fs::read(record(&world, "a")).expect("reads"), std::fs::read(record(&world, "b")).expect("reads"));
    verify_all(&world);
}

#[test]
fn a_killed_rotation_leaves_everything_readable_and_goes_on() {
    let world = many();
    for round in 0..10 {
        let mut child = world.start(&mut world.command(["set", "rotate", "many", "--quiet"]));
        std::thread::sleep(Duration::from_millis(10 + 30 * round));
        let _ = child.kill();
        child.wait().expect("ends");
        verify_all(&world);
    }
    world.sobre("set rotate many --resume").code(0);
    let shown = world.sobre("set show many --json").json();
    let active = shown["set"]["keys"][0]["id"].as_str().expect("text").to_owned();
    world.sobre("inspect b/1.sobre").code(0).prints(&format!("wrapped under {active} "));
    verify_all(&world);
}

#[test]
fn a_new_epoch_key_seals_from_now_on_and_both_rotate() {
    let world = many();
    world.sobre("set update many --new-epoch").code(0);
    world.sobre("seal -q --set many small.img new.sobre").code(0);
    let rotated = world.sobre("set rotate many").code(0).clone();
    rotated.prints("re-wrapped 2 epoch keys, over 5 snapshots");
    world.sobre("verify -q new.sobre").code(0);
    verify_all(&world);
    world.sobre("set create plain --type customer --key backup").code(0);
    world.sobre("set update plain --new-epoch").code(2).warns("has no epoch keys");
}

#[test]
fn rewrapping_to_a_key_makes_a_snapshot_direct() {
    let world = many();
    world.sobre("rewrap a/0.sobre --to backup").code(0);
    std::fs::remove_file(record(&world, "a")).expect("removes");
    std::fs::remove_file(world.path("sobre/catalog.db")).expect("removes");
    world.sobre("verify a/0.sobre").code(0);
    world.sobre("verify a/1.sobre").code(10);
}

#[test]
fn what_has_no_folder_is_refused_before_anything_is_written() {
    let world = many();
    world.sobre_with("seal --set many - -", b"disk").code(2).warns("has to lie beside the snapshot");
}

#[test]
fn double_encryption_has_an_epoch_key_for_each_layer() {
    let world = many();
    world.sobre("set create both --type platform-and-customer --key backup --epoch").code(0);
    std::fs::create_dir(world.path("d")).expect("makes");
    world.sobre("seal -q --set both small.img d/0.sobre").code(0);
    let records = std::fs::read_dir(world.path("d")).expect("lists").count();
    assert_eq!(records, 3, "the snapshot and two records");
    world.sobre("verify d/0.sobre").code(0);
    world.sobre("set rotate both --layer platform").code(0).prints("re-wrapped 1 epoch key, over 1 snapshot");
    world.sobre("verify d/0.sobre").code(0);
    world.sobre("set rotate both").code(0).prints("re-wrapped 1 epoch key, over 1 snapshot");
    world.sobre("verify d/0.sobre").code(0);
}
