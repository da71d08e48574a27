//! What makes a vault, and above all what does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::world::{Ran, World, assert_disk, disk, private_key, public_key};

#[test]
fn sealing_makes_a_vault_and_a_key_and_says_so() {
    let world = World::fresh();
    let ran = world.run(["seal".as_ref(), disk().as_os_str(), "s.sobre".as_ref()]);
    ran.code(0).prints("made vault 'platform'").prints("made key platform/default@1").prints("config.toml");
    ran.warns("this key exists only on this machine").warns("sobre vault backup FILE");
    for name in ["sobre/config.toml", "sobre/vaults/platform.db", "sobre/vaults/platform.db.key"] {
        let mode = fs::metadata(world.path(name)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    world.sobre("open s.sobre out").code(0);
    assert_disk(&world, "out");
}

#[test]
fn double_makes_both_vaults() {
    let world = World::double();
    assert!(world.database("customer").exists() && world.database("platform").exists());
    world.sobre("open d.sobre out").code(0);
    assert_disk(&world, "out");
    world.sobre("inspect d.sobre").code(0).prints("customer key").prints("platform key").prints("xts-gcm");
}

#[test]
fn only_sealing_sets_a_home_up() {
    let world = World::fresh();
    let snapshot = World::single().read("s.sobre");
    world.write("s.sobre", snapshot);
    world.write("pass", "words");
    world.sobre("open s.sobre out").code(10);
    world.sobre("verify s.sobre").code(10);
    world.sobre("verify --keyless s.sobre").code(0);
    world.sobre("inspect s.sobre").code(0);
    world.sobre("rewrap s.sobre --repair").code(10);
    world.sobre("rewrap s.sobre --to platform/default").code(10).warns("there are no vaults yet");
    world.sobre("key list").code(0).prints("there are no vaults yet");
    world.sobre("key show default").code(10);
    world.sobre("key rotate default").code(10);
    world.sobre("vault list").code(0).prints("there are no vaults yet");
    world.sobre("vault backup b --passphrase-file pass").code(10);
    world.sobre("config show").code(0).prints("does not exist yet");
    world.run(["open", "s.sobre", "out", "--key", &private_key()]).code(12);
    assert!(!world.home().exists() && !world.path("user").exists() && !world.has("out") && !world.has("b"));
}

#[test]
fn a_seal_that_can_not_work_sets_nothing_up() {
    let world = World::fresh();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("pipe"), rustix::fs::Mode::RUSR).expect("makes");
    fs::create_dir(world.path("folder")).expect("makes");
    world.write("src", "data");
    world.write("taken", "precious");
    world.sobre("seal missing s.sobre").code(10).warns("missing");
    world.sobre("seal pipe s.sobre").code(1).warns("named pipe").warns("standard input");
    world.sobre("seal folder s.sobre").code(1).warns("folder");
    world.sobre("seal src taken").code(1).warns("exists already");
    world.sobre("seal src no/such/folder").code(10).warns("no/such");
    world.sobre("seal src s.sobre --key nope").code(10);
    world.sobre("seal src s.sobre --label oops").code(2);
    world.sobre("seal src s.sobre --config elsewhere.toml").code(10).warns("elsewhere.toml does not exist");
    assert!(!world.home().exists(), "{:?}", world.home_content());
}

#[test]
fn a_key_in_a_file_needs_no_home() {
    let world = World::fresh();
    let disk = disk();
    let sealed = world.run(["seal", disk.to_str().expect("text"), "k.sobre", "--key", &public_key()]);
    sealed.code(0).silent_on("only on this machine");
    world.run(["open", "k.sobre", "out", "--key", &private_key()]).code(0);
    assert_disk(&world, "out");
    world.run(["verify", "k.sobre", "--key", &private_key()]).code(0);
    world.run(["open", "k.sobre", "out2", "--key", &public_key()]).code(1).warns("public half");
    assert!(!world.home().exists());
}

#[test]
fn sixteen_first_uses_at_once_make_one_vault() {
    let world = World::fresh();
    world.write("src", [1; 100_000]);
    let children: Vec<_> =
        (0..16).map(|n| world.start(&mut world.command(["seal", "src", &format!("{n}.sobre")]))).collect();
    let ran: Vec<Ran> = children.into_iter().map(|child| child.wait_with_output().expect("ends").into()).collect();
    for ran in &ran {
        ran.code(0);
    }
    assert_eq!(ran.iter().filter(|ran| ran.out.contains("made vault")).count(), 1, "one of them made it");
    let keys = world.sobre("key list --json").json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
    let names: Vec<String> = (0..16).map(|n| format!("{n}.sobre")).collect();
    world.run(["verify".to_owned()].iter().chain(&names)).code(0);
}

/// The volume with the database is not mounted: a new key would be minted, and hidden when the volume comes back.
#[test]
fn a_missing_database_is_not_made_anew() {
    let world = World::single();
    fs::rename(world.database("platform"), world.path("elsewhere")).expect("moves");
    let before = world.home_content();
    let disk = disk();
    for words in
        [vec!["seal", disk.to_str().expect("text"), "n.sobre"], vec!["open", "s.sobre", "out"], vec!["key", "list"]]
    {
        world.run(words).code(10).warns("platform.db").warns("mount it").warns("vault restore");
    }
    assert_eq!(world.home_content(), before);
    assert!(!world.has("n.sobre") && !world.has("n.sobre.partial"));
    fs::rename(world.path("elsewhere"), world.database("platform")).expect("moves");
    world.sobre("open s.sobre out").code(0);
}

#[test]
fn sealing_needs_only_the_vaults_of_its_keys() {
    let world = World::double();
    fs::rename(world.database("customer"), world.path("elsewhere")).expect("moves");
    let disk = disk();
    let words = ["seal", disk.to_str().expect("text"), "p.sobre", "--key", "platform/default"];
    world.run(words).code(0);
    world.sobre("verify p.sobre --vault platform").code(0);
    world.run(["seal", disk.to_str().expect("text"), "d2.sobre", "--double"]).code(10).warns("customer.db");
}

#[test]
fn a_vault_that_was_chosen_is_the_only_one() {
    let world = World::double();
    world.write("src", "data");
    world.sobre("--vault platform key show customer/default").code(10).warns("searched vaults platform");
    world.sobre("--vault platform seal --double src n").code(10).warns("customer/default");
    world.sobre("--vault customer key show default").code(0).prints("customer/default@1");
    assert!(!world.has("n"));
}

#[test]
fn a_missing_key_file_is_named() {
    let world = World::single();
    fs::rename(world.path("sobre/vaults/platform.db.key"), world.path("elsewhere")).expect("moves");
    world.sobre("open s.sobre out").code(10).warns("platform.db.key is missing").warns("copy the key file back");
    world.sobre("key rotate default").code(10);
    assert!(!world.has("sobre/vaults/platform.db.key"));
}

#[test]
fn files_open_to_others_are_refused_with_the_command_that_helps() {
    for name in ["platform.db", "platform.db.key"] {
        let world = World::single();
        let path = world.path("sobre/vaults").join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("sets");
        world.sobre("open s.sobre out").code(1).warns("mode 0644").warns(&format!("chmod 600 {}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets");
        world.sobre("open s.sobre out").code(0);
    }
}

#[test]
fn an_empty_or_half_written_database_is_damage_and_stays_as_it_is() {
    let world = World::single();
    let whole = fs::read(world.database("platform")).expect("reads");
    for len in [0, 100, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(world.database("platform"), &whole[..len]).expect("writes");
        let disk = disk();
        world.run(["seal", disk.to_str().expect("text"), "n.sobre"]).code(13).warns("vault restore");
        world.sobre("open s.sobre out").code(13);
        assert_eq!(fs::read(world.database("platform")).expect("reads").len(), len);
    }
    fs::write(world.database("platform"), b"this is a text file, not a database at all").expect("writes");
    world.sobre("open s.sobre out").code(13).warns("platform.db");
}

#[test]
fn a_vault_of_a_newer_sobre_is_left_alone() {
    let world = World::single();
    let database = rusqlite::Connection::open(world.database("platform")).expect("opens");
    database.pragma_update(None, "user_version", 99).expect("sets");
    drop(database);
    let before = world.home_content();
    world.sobre("open s.sobre out").code(1).warns("newer sobre").warns("schema 99");
    world.sobre("key rotate default").code(1).warns("newer sobre");
    assert_eq!(world.home_content(), before);
}

#[test]
fn a_locked_vault_is_busy_within_the_deadline() {
    let world = World::single();
    let database = rusqlite::Connection::open(world.database("platform")).expect("opens");
    database.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let start = Instant::now();
    let ran = world.sobre("key rotate default --deadline 700ms");
    ran.code(11).warns("in use by another process");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    // Reading goes on meanwhile.
    world.sobre("open s.sobre out --deadline 5s").code(0);
    database.execute_batch("ROLLBACK").expect("ends");
    world.sobre("key rotate default").code(0);
}

#[test]
fn an_invalid_configuration_is_named_with_its_line() {
    let world = World::single();
    for (line, says) in [("key = 3", "line 1"), ("recovry = \"x\"", "recovry"), ("[[[", "line 1")] {
        world.write("sobre/config.toml", line);
        let before = world.home_content();
        world.run(["seal".as_ref(), disk().as_os_str(), "n.sobre".as_ref()]).code(1).warns("config.toml").warns(says);
        assert_eq!(world.home_content(), before);
    }
    world.write("sobre/config.toml", "");
    world.run(["seal".as_ref(), disk().as_os_str(), "n.sobre".as_ref()]).code(2).warns("no key is named");
}
