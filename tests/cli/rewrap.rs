//! Changing who can open a snapshot.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::world::{Ran, World, assert_disk, private_key, public_key};

fn keys_of(world: &World, snapshot: &str, layer: usize) -> Vec<String> {
    let object = world.sobre(&format!("inspect --json {snapshot}")).json();
    let keys = object["snapshots"][0]["layers"][layer]["keys"].as_array().expect("keys").clone();
    keys.iter().map(|key| key["locators"][0].as_str().expect("text").to_owned()).collect()
}

#[test]
fn keys_come_and_go_while_the_data_stay() {
    let world = World::double();
    world.sobre("key create other --size 2048").code(0).prints("customer/other@1");
    world.sobre("rewrap s.sobre --add other").code(0).prints("opens with");
    assert_eq!(keys_of(&world, "s.sobre", 0).len(), 2);
    world.sobre("verify s.sobre --key other").code(0);
    world.sobre("verify s.sobre --key customer/default").code(0);
    world.sobre("rewrap s.sobre --remove customer/default").code(0).prints("older copies");
    assert_eq!(keys_of(&world, "s.sobre", 0), ["customer/other@1"]);
    world.sobre("verify s.sobre --key customer/default").code(12).warns("customer/other@1");
    world.sobre("rewrap s.sobre --remove other").code(1).warns("s.sobre").warns("--add");
    world.sobre("rewrap s.sobre --remove customer/default").code(10).warns("s.sobre");
    world.sobre("rewrap s.sobre --to customer/default").code(0);
    assert_eq!(keys_of(&world, "s.sobre", 0), ["customer/default@1"]);
    world.sobre("open s.sobre out").code(0);
    assert_disk(&world, "out");
}

#[test]
fn a_rotated_key_takes_snapshots_over() {
    let world = World::double();
    world.sobre("key rotate customer/default").code(0).prints("rewrap --to KEY");
    world.sobre("verify s.sobre d.sobre").code(0);
    world.sobre("rewrap s.sobre d.sobre --to customer/default").code(0);
    assert_eq!(keys_of(&world, "s.sobre", 0), ["customer/default@2"]);
    assert_eq!(keys_of(&world, "d.sobre", 0), ["customer/default@2"]);
    assert_eq!(keys_of(&world, "d.sobre", 1), ["platform/default@1"]);
    world.sobre("rewrap d.sobre --layer platform --to platform/default@1").code(0);
    world.sobre("key rotate platform/default").code(0);
    world.sobre("rewrap d.sobre --layer platform --to platform/default").code(0);
    assert_eq!(keys_of(&world, "d.sobre", 1), ["platform/default@2"]);
    world.sobre("verify s.sobre d.sobre").code(0);
}

#[test]
fn either_layer_is_rewrapped_alone() {
    let world = World::double();
    world.run(["rewrap", "d.sobre", "--layer", "platform", "--add", &public_key()]).code(0);
    world.run(["rewrap", "d.sobre", "--add", &public_key()]).code(0);
    world.run(["open", "d.sobre", "out", "--key", &private_key()]).code(0);
    assert_disk(&world, "out");
    world.run(["rewrap", "d.sobre", "--remove", &public_key()]).code(0);
    // The file opens the outer layer, and the home's vault the inner one; without that home nothing does.
    world.run(["verify", "d.sobre", "--key", &private_key()]).code(0);
    world.run(["verify", "d.sobre", "--key", &private_key(), "--home", "nowhere"]).code(10).warns("layer 1");
    world.sobre("verify d.sobre").code(0);
    world.sobre("rewrap s.sobre --layer platform --to customer/default").code(2).warns("one layer only");
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let world = World::double();
    world.write("junk", "junk");
    let ran = world.sobre("rewrap junk s.sobre missing d.sobre --to customer/default --json");
    ran.code(3).warns("2 of 4 snapshots failed");
    let object = ran.json();
    let results = object["snapshots"].as_array().expect("results");
    assert_eq!(results.len(), 4);
    assert_eq!(results[0]["error"]["exit_code"], 13);
    assert_eq!(results[0]["snapshot"], "junk");
    assert_eq!(results[1]["snapshot"], "s.sobre");
    assert_eq!(results[2]["error"]["exit_code"], 10);
    assert_eq!(world.read("junk"), b"junk");
    world.sobre("verify s.sobre d.sobre").code(0);
}

#[test]
fn a_damaged_head_is_told_and_mended() {
    for damage in [200_usize, 3] {
        let world = World::single();
        let whole = world.read("s.sobre");
        let mut bytes = whole.clone();
        bytes[damage] ^= 0x40;
        world.write("s.sobre", bytes);
        world.sobre("open s.sobre out").code(0).warns("head A is damaged").warns("rewrap --repair");
        assert_disk(&world, "out");
        world.sobre("verify s.sobre").code(13).warns("rewrap --repair");
        world.sobre("verify --keyless s.sobre").code(13).warns("rewrap --repair");
        world.sobre("inspect s.sobre").code(0).warns("rewrap --repair");
        world.sobre("rewrap --repair s.sobre").code(0).prints("mended");
        world.sobre("verify s.sobre").code(0);
        world.sobre("rewrap --repair s.sobre").code(0).prints("nothing to mend");
    }
}

/// Seals one snapshot and copies it, catalogued under each name.
fn many(world: &World, count: usize) -> Vec<String> {
    world.write("small.img", [5; 5000]);
    world.sobre("key create k --size 2048").code(0);
    world.sobre("seal small.img many-0.sobre --key k").code(0);
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}.sobre")).collect();
    for name in &names[1..] {
        std::fs::copy(world.path("many-0.sobre"), world.path(name)).expect("copies");
    }
    world.sobre(&format!("catalog add {}", names.join(" "))).code(0);
    world.write("list", names.join("\n"));
    world.sobre("key rotate k").code(0);
    names
}

/// The catalogue's word on who still needs a key.
fn needing(world: &World, key: &str) -> usize {
    let listed = world.sobre(&format!("catalog list --key {key} --json")).code(0).json();
    listed["snapshots"].as_array().expect("rows").len()
}

#[test]
fn the_catalogue_knows_what_a_stopped_rewrap_has_done() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let world = World::double();
        let names = many(&world, 40);
        assert_eq!(needing(&world, "k@1"), names.len());
        let before = world.read(&names[3]);
        let words = "rewrap --to k --files-from list --workers 1";
        let child = world.start(&mut world.command(words.split_whitespace()));
        let start = Instant::now();
        while world.read(&names[3]) == before {
            assert!(start.elapsed() < Duration::from_secs(30), "never began");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("fits")).expect("a process");
        kill_process(pid, signal).expect("is there");
        Ran::from(child.wait_with_output().expect("ends")).code(code).warns("stopped after").warns("of 40 snapshots");
        let moved = names.iter().filter(|name| world.read(name) != before).count();
        assert!((4..40).contains(&moved), "{moved} were moved");
        assert_eq!(needing(&world, "k@1"), names.len() - moved, "the catalogue knows of every one");
        world.sobre(words).code(0);
        assert_eq!(needing(&world, "k@1"), 0);
    }
}
