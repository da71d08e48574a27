//! Losing a home and bringing everything back; passphrases.

use std::fs;

use super::world::{World, assert_disk, disk, key_file, private_key, public_key};

const WARNING: &str = "this key exists only on this machine";

fn seal(world: &World, name: &str, more: &str) -> super::world::Ran {
    let disk = disk();
    let words = ["seal", disk.to_str().expect("text"), name];
    let ran = world.run(words.into_iter().chain(more.split_whitespace()));
    ran.code(0);
    ran
}

#[test]
fn the_warning_lasts_until_a_backup_is_newer_than_every_key() {
    let world = World::single();
    world.write("pass", "right words\n");
    let quiet = seal(&world, "1.sobre", "-q");
    assert_eq!(quiet.err.lines().count(), 2, "{quiet:#?}");
    quiet.warns(WARNING);
    assert_eq!(quiet.out, "");
    let json = seal(&world, "2.sobre", "--json");
    json.warns(WARNING);
    assert_eq!(json.json()["recoverable"], false);
    world.sobre("vault backup keys.backup --passphrase-file pass").code(0).prints("1 key version").silent_on(WARNING);
    seal(&world, "3.sobre", "").silent_on(WARNING);
    assert_eq!(seal(&world, "4.sobre", "--json").json()["recoverable"], true);
    world.sobre("key rotate default").code(0).prints("platform/default@2").warns(WARNING);
    seal(&world, "5.sobre", "").warns(WARNING);
    let public = public_key();
    world.run(["vault", "backup", "new.backup", "--to", &public]).code(0).prints("2 key versions");
    seal(&world, "6.sobre", "").silent_on(WARNING);
}

#[test]
fn a_lost_home_comes_back_with_a_passphrase_or_a_recovery_key() {
    let world = World::double();
    world.write("pass", "right words\n");
    seal(&world, "g.sobre", "--integrity gmac");
    world.sobre("key rotate customer/default").code(0);
    seal(&world, "new.sobre", "");
    world.sobre("vault backup by-pass --passphrase-file pass").code(0);
    world.run(["vault", "backup", "by-key", "--to", &public_key()]).code(0);
    fs::remove_dir_all(world.home()).expect("removes");
    let private = private_key();
    for restore in [vec!["by-pass", "--passphrase-file", "pass"], vec!["by-key", "--key", &private]] {
        let elsewhere = world.copy();
        elsewhere.run(["vault", "restore"].into_iter().chain(restore.iter().copied())).code(0).prints("restored");
        for (n, name) in ["s", "d", "g", "new"].into_iter().enumerate() {
            elsewhere.sobre(&format!("open {name}.sobre {n}.img")).code(0);
            assert_disk(&elsewhere, &format!("{n}.img"));
        }
        // It goes on where it was: the same keys seal, and they are backed up.
        seal(&elsewhere, "again.sobre", "").silent_on(WARNING);
        seal(&elsewhere, "double.sobre", "--double").silent_on(WARNING);
        let again = elsewhere.run(["vault", "restore"].into_iter().chain(restore.iter().copied()));
        again.code(0).prints("0 key versions restored");
    }
}

#[test]
fn a_backup_opens_only_with_what_it_was_sealed_for() {
    let world = World::single();
    world.write("pass", "right words");
    world.write("wrong", "wrong words");
    world.write("empty", "");
    world.sobre("vault backup by-pass --passphrase-file pass").code(0);
    world.run(["vault", "backup", "by-key", "--to", &public_key()]).code(0);
    fs::remove_dir_all(world.home()).expect("removes");
    let other = key_file("test-rsa3072.pkcs8.pem");
    world.sobre("vault restore by-pass --passphrase-file wrong").code(12);
    world.sobre("vault restore by-pass --passphrase-file empty").code(12).warns("empty");
    world.sobre("vault restore by-pass --passphrase-file missing").code(12);
    world.run(["vault", "restore", "by-key", "--key", &other]).code(12);
    world.run(["vault", "restore", "by-key", "--key", &public_key()]).code(2).warns("public half");
    world.sobre("vault restore by-key").code(2).warns("--key file:PRIV.pem");
    world.sobre("vault restore missing --passphrase-file pass").code(10).warns("missing");
    assert!(!world.home().exists());
}

#[test]
fn a_damaged_backup_restores_nothing() {
    let world = World::single();
    world.run(["vault", "backup", "b", "--to", &public_key()]).code(0);
    let whole = world.read("b");
    fs::remove_dir_all(world.home()).expect("removes");
    let mut flipped = whole.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut longer = whole.clone();
    longer.push(0);
    for bytes in [flipped, longer, whole[..last].to_vec(), whole[..40].to_vec(), Vec::new(), b"hello, world".to_vec()] {
        world.write("b", bytes);
        world.run(["vault", "restore", "b", "--key", &private_key()]).code(13).warns("b");
    }
    assert!(!world.home().exists());
}

#[test]
fn a_backup_never_replaces_other_keys() {
    let world = World::single();
    world.run(["vault", "backup", "b", "--to", &public_key()]).code(0);
    let other = World::fresh();
    other.write("b", world.read("b"));
    other.write("src", "data");
    other.sobre("seal src s.sobre").code(0);
    let before = other.home_content();
    other.run(["vault", "restore", "b", "--key", &private_key()]).code(1).warns("has another key default@1");
    assert_eq!(other.home_content(), before);
    other.sobre("verify s.sobre").code(0);
}

#[test]
fn a_backup_file_is_not_overwritten_by_mistake() {
    let world = World::single();
    world.write("b", "the only backup");
    let public = public_key();
    world.run(["vault", "backup", "b", "--to", &public]).code(1).warns("exists already").warns("--force");
    assert_eq!(world.read("b"), b"the only backup");
    seal(&world, "n.sobre", "").warns(WARNING);
    world.run(["vault", "backup", "b", "--to", &public, "--force"]).code(0);
    world.run(["vault", "backup", "no/such/b", "--to", &public]).code(10).warns("no/such/b");
    world.run(["vault", "backup", "c", "--to", "platform/default"]).code(2).warns("file:PATH.pem");
}

#[test]
fn a_recovery_key_in_the_configuration_opens_every_snapshot_alone() {
    let world = World::single();
    world.add_to_config(&format!("recovery = {:?}", public_key()));
    seal(&world, "r.sobre", "").silent_on(WARNING);
    let layers = world.sobre("inspect --json r.sobre").json();
    assert_eq!(layers["snapshots"][0]["layers"][0]["keys"].as_array().map(Vec::len), Some(2));
    fs::remove_dir_all(world.home()).expect("removes");
    world.run(["open", "r.sobre", "out", "--key", &private_key()]).code(0);
    assert_disk(&world, "out");
    assert!(!world.home().exists());
}

#[test]
fn a_double_snapshot_has_the_recovery_key_on_both_layers() {
    let world = World::double();
    world.add_to_config(&format!("recovery = [{:?}]", public_key()));
    seal(&world, "r.sobre", "--double");
    fs::remove_dir_all(world.home()).expect("removes");
    world.run(["open", "r.sobre", "out", "--key", &private_key()]).code(0);
    assert_disk(&world, "out");
}

#[test]
fn a_vault_under_a_passphrase_seals_without_and_opens_with_it() {
    let world = World::single();
    world.write("pass", "right words\n");
    world.write("wrong", "wrong words\n");
    world.sobre("vault passphrase --new-passphrase-file pass").code(0).prints("protected by a passphrase now");
    assert!(!world.has("sobre/vaults/platform.db.key"), "the key file is gone");
    seal(&world, "p.sobre", "").code(0);
    world.sobre("open p.sobre out --passphrase-file wrong").code(12).warns("is wrong");
    assert!(!world.has("out"));
    world.sobre("open p.sobre out --passphrase-file pass").code(0);
    assert_disk(&world, "out");
    world.run(["verify", "p.sobre", "s.sobre", "--passphrase-command", "printf 'right words'"]).code(0);
    world.run(["verify", "p.sobre", "--passphrase-command", "exit 3"]).code(12).warns("exit status: 3");
    // A descriptor that the shell opened.
    let mut shell = std::process::Command::new("/bin/sh");
    let line = format!("exec {} verify p.sobre --passphrase-fd 3 3<pass", env!("CARGO_BIN_EXE_sobre"));
    shell.args(["-c", &line]).current_dir(world.path("")).env("SOBRE_HOME", world.home());
    super::world::Ran::from(shell.output().expect("runs")).code(0);
    world.sobre("verify p.sobre --passphrase-fd 63").code(12);
    world.sobre("vault passphrase --remove --passphrase-file wrong").code(12);
    world.sobre("verify p.sobre --passphrase-file pass").code(0);
    world.sobre("vault passphrase --remove --passphrase-file pass").code(0).prints("key file");
    world.sobre("verify p.sobre").code(0);
}

#[test]
fn two_ways_to_give_a_passphrase_are_a_mistake() {
    let world = World::single();
    world.sobre("key list --passphrase-file a --passphrase-fd 3").code(2);
    world.sobre("key list --passphrase-command a --passphrase-file 3").code(2);
}

#[test]
#[ignore = "needs setsid (util-linux); run by tests/run.sh"]
fn without_a_terminal_a_passphrase_is_asked_for_by_naming_the_options() {
    let world = World::single();
    world.write("pass", "right words\n");
    world.sobre("vault passphrase --new-passphrase-file pass").code(0);
    let mut command = std::process::Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_sobre"), "open", "s.sobre", "out"]);
    command.current_dir(world.path("")).env("SOBRE_HOME", world.home()).stdin(std::process::Stdio::null());
    let ran = super::world::Ran::from(command.output().expect("runs"));
    ran.code(12).warns("no passphrase for vault 'platform'").warns("--passphrase-file").silent_on("is wrong");
}
