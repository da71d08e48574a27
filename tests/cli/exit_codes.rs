//! One test per row of the table of exit codes; 130 and 143 are in `interrupted`.

use super::world::{World, assert_disk, disk, private_key, public_key};

#[test]
fn the_help_shows_the_table() {
    let world = World::fresh();
    let help = world.sobre("help exit-codes");
    help.code(0);
    for row in ["0 ", "1 ", "2 ", "3 ", "10 ", "11 ", "12 ", "13 ", "14 ", "15 ", "130 ", "143 "] {
        assert!(help.out.lines().any(|line| line.trim_start().starts_with(row)), "{row}: {}", help.out);
    }
    assert!(!help.out.contains("Usage"), "only the table: {}", help.out);
    world.sobre("exit-codes").code(0).prints("130  stopped by SIGINT");
}

#[test]
fn code_0_everything_is_as_it_should_be() {
    let world = World::single();
    world.sobre("open s.sobre out.img").code(0).prints("every byte verified");
    assert_disk(&world, "out.img");
    world.sobre("verify s.sobre").code(0).prints("authentic");
    world.sobre("--help").code(0);
    world.sobre("--version").code(0).prints("sobre 0.");
}

#[test]
fn code_1_failed() {
    let world = World::single();
    world.write("taken", "precious");
    world.sobre("open s.sobre taken").code(1).warns("taken exists already").warns("--force");
    assert_eq!(world.read("taken"), b"precious");
}

#[test]
fn code_2_the_words_make_no_sense() {
    let world = World::single();
    for words in ["", "frob", "seal", "seal a", "open s.sobre", "rewrap s.sobre", "seal --nope a b", "key create ../x"]
    {
        world.sobre(words).code(2);
    }
    assert!(!world.has("a"));
}

#[test]
fn code_3_some_of_several_failed() {
    let world = World::single();
    world.write("junk", [7; 100_000]);
    for command in ["verify", "verify --keyless", "inspect", "rewrap --repair"] {
        let ran = world.sobre(&format!("{command} s.sobre junk"));
        ran.code(3).warns("junk: not a sobre snapshot").warns("1 of 2 snapshots failed");
        world.sobre(&format!("{command} junk")).code(13);
    }
}

#[test]
fn code_10_a_file_key_or_vault_is_not_found() {
    let world = World::single();
    world.sobre("verify nothing.sobre").code(10).warns("nothing.sobre");
    world.sobre("open s.sobre out --key nope").code(10).warns("no key nope");
    world.sobre("key list --vault nope").code(10).warns("configured: platform");
    world.sobre("vault restore nothing").code(10).warns("nothing");
    // The keys of this snapshot are in another home.
    let other = World::double();
    std::fs::copy(world.path("s.sobre"), other.path("foreign.sobre")).expect("copies");
    other.sobre("open foreign.sobre out").code(10).warns("searched vaults customer").warns("vault restore");
}

#[test]
fn code_11_another_process_holds_it() {
    let world = World::single();
    let partial = std::fs::File::create(world.path("new.sobre.partial")).expect("creates");
    partial.lock().expect("locks");
    let disk = disk();
    let busy = world.run(["seal", disk.to_str().expect("text"), "new.sobre"]);
    busy.code(11).warns("is being written by another process");
    world.write("other.partial", "abandoned");
    drop(partial);
    world.run(["seal", disk.to_str().expect("text"), "new.sobre"]).code(0);
}

#[test]
fn code_12_the_wrong_key() {
    let world = World::fresh();
    world.run(["seal", disk().to_str().expect("text"), "k.sobre", "--key", &public_key()]).code(0);
    let other = super::world::key_file("test-rsa3072.pkcs8.pem");
    world.run(["open", "k.sobre", "out", "--key", &other]).code(12).warns("not sealed for this key");
    assert!(!world.has("out"));
    world.run(["open", "k.sobre", "out", "--key", &private_key()]).code(0);
    assert_disk(&world, "out");
}

#[test]
fn code_13_damaged() {
    let world = World::single();
    let mut bytes = world.read("s.sobre");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    world.write("s.sobre", bytes);
    world.sobre("verify s.sobre").code(13).warns("s.sobre");
    world.sobre("verify --keyless s.sobre").code(13);
    world.sobre("open s.sobre out").code(13);
    assert!(!world.has("out") && !world.has("out.partial"), "nothing under any name");
}

#[test]
fn code_14_refused() {
    let world = World::double();
    let before = world.read("s.sobre");
    world.sobre("rewrap s.sobre --to platform/default").code(14).warns("never goes back");
    world.sobre("rewrap s.sobre --add platform/default").code(14);
    assert!(world.read("s.sobre") == before, "unchanged");
    world.sobre("key disable customer/default --accept-loss").code(0);
    world.sobre("open s.sobre out").code(14).warns("is disabled").warns("ask the key's owner");
    world.sobre("key delete customer/default --accept-loss -y").code(0);
    world.sobre("open s.sobre out").code(14).warns("is deleted");
}

/// Only a remote vault can be out of reach, and there is none yet: the table is all there is to see.
#[test]
fn code_15_is_in_the_table() {
    World::fresh().sobre("help exit-codes").prints("15   a vault can't be reached or is throttled; try later");
}
