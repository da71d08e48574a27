//! Changing who can open a snapshot.

use super::world::{World, assert_disk, private_key, public_key};

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
