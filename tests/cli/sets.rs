//! Encryption sets and their rotation.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use super::world::{Ran, World, assert_disk, disk, private_key, public_key};

/// A home with the key `backup` in a customer's vault, the set `prod` that seals with it, and a small disk.
fn prod() -> World {
    static MADE: OnceLock<World> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let world = World::fresh();
        world.write("small.img", [5; 70_000]);
        world.sobre("key create backup --size 2048").code(0);
        world.sobre("set create prod --type customer --key backup").code(0).prints("seals with customer/backup@1");
        world
    });
    made.copy()
}

/// The same with the set `both` of double encryption.
fn both() -> World {
    static MADE: OnceLock<World> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let world = prod();
        let made = world.sobre("set create both --type platform-and-customer --key backup");
        made.code(0).prints("made vault 'platform'").prints("made key platform/default@1");
        world
    });
    made.copy()
}

fn seal(world: &World, set: &str, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("{set}-{number}.sobre")).collect();
    for name in &names {
        world.sobre(&format!("seal -q --set {set} small.img {name}")).code(0);
    }
    names
}

fn keys_of(world: &World, snapshot: &str, layer: usize) -> Vec<String> {
    let object = world.sobre(&format!("inspect --json {snapshot}")).json();
    let keys = object["snapshots"][0]["layers"][layer]["keys"].as_array().expect("keys").clone();
    keys.iter().map(|key| key["locators"][0].as_str().expect("text").to_owned()).collect()
}

fn active(world: &World, set: &str) -> String {
    let object = world.sobre(&format!("set show {set} --json")).code(0).json();
    object["set"]["keys"][0]["id"].as_str().expect("text").to_owned()
}

fn verify(world: &World, names: &[String]) -> Ran {
    world.sobre(&format!("verify -q {}", names.join(" ")))
}

#[test]
fn a_set_seals_and_rotates_and_everything_opens() {
    let world = prod();
    let sealed = world.sobre("seal --json --set prod small.img a.sobre").code(0).json();
    assert_eq!((&sealed["set"], &sealed["keys"][0]["id"]), (&"prod".into(), &"customer/backup@1".into()));
    let names = seal(&world, "prod", 3);
    world.sobre("set rotate prod -n").code(0).prints("would make key customer/backup@2").prints("would re-wrap 4 snap");
    let rotated = world.sobre("set rotate prod").code(0).clone();
    rotated.prints("made key customer/backup@2").prints("re-wrapped 4 snapshots");
    verify(&world, &names).code(0);
    for name in &names {
        assert_eq!(keys_of(&world, name, 0), ["customer/backup@2"]);
    }
    let listed = world.sobre("catalog list --json").json();
    assert_eq!(listed["coverage"]["unverified"], 0, "the rewrap has authenticated them");
    // The catalogue's set and the set in the snapshot agree after the rewrap too.
    assert_eq!(world.sobre("set show prod --json").json()["set"]["snapshots"], 4);
    let again = world.sobre("set rotate prod --resume --json").code(0).json();
    assert_eq!(
        (&again["rewrapped"], &again["origin"], &again["remaining"]),
        (&0.into(), &"kept".into(), &serde_json::json!([]))
    );
}

#[test]
fn a_killed_rotation_goes_on_and_every_snapshot_opens_at_every_moment() {
    let world = prod();
    let names = seal(&world, "prod", 10);
    for round in 0..12 {
        let mut child = world.start(&mut world.command(["set", "rotate", "prod", "--quiet"]));
        std::thread::sleep(Duration::from_millis(15 + 35 * round));
        let _ = child.kill();
        child.wait().expect("ends");
        // A kill may cut the write of a head short, which verifying tells; the other head is whole, so that everything opens.
        for name in &names {
            world.sobre(&format!("open --force {name} out")).code(0);
            let verified = world.sobre(&format!("verify {name}"));
            let torn = verified.code == Some(13) && verified.err.contains("head") && verified.err.contains("intact");
            assert!(verified.code == Some(0) || torn, "{verified:#?}");
        }
    }
    world.sobre("set rotate prod --resume").code(0);
    let active = active(&world, "prod");
    for name in &names {
        assert_eq!(keys_of(&world, name, 0), [active.as_str()]);
    }
    verify(&world, &names).code(0);
    assert_eq!(world.sobre("set show prod --json").json()["set"]["keys"][0]["need_older_keys"], 0);
}

#[test]
fn of_two_rotations_at_once_one_wins() {
    let world = prod();
    let names = seal(&world, "prod", 6);
    let children: Vec<_> = (0..3).map(|_| world.start(&mut world.command(["set", "rotate", "prod"]))).collect();
    let ran: Vec<Ran> = children.into_iter().map(|child| child.wait_with_output().expect("ends").into()).collect();
    let codes: Vec<_> = ran.iter().filter_map(|ran| ran.code).collect();
    assert!(codes.contains(&0) && codes.iter().all(|code| [0, 11].contains(code)), "{ran:#?}");
    for busy in ran.iter().filter(|ran| ran.code == Some(11)) {
        busy.warns("another process is rotating the set 'prod'");
    }
    verify(&world, &names).code(0);
    let active = active(&world, "prod");
    for name in &names {
        assert_eq!(keys_of(&world, name, 0), [active.as_str()]);
    }
}

#[test]
fn a_seal_that_ends_after_the_rotation_has_the_new_key() {
    let world = prod();
    let mut command = world.command(["seal", "--set", "prod", "-", "slow.sobre"]);
    let mut child = world.start(command.stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&[9; 600_000]).expect("writes");
    // The partial file is there: the keys were chosen.
    for _ in 0..200 {
        if std::fs::read_dir(world.path("")).expect("lists").count() > 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    world.sobre("set rotate prod").code(0).prints("re-wrapped 0 snapshots");
    drop(stdin);
    let ran: Ran = child.wait_with_output().expect("ends").into();
    ran.code(0).prints("rotated meanwhile");
    assert_eq!(keys_of(&world, "slow.sobre", 0), ["customer/backup@2"]);
    world.sobre("verify slow.sobre").code(0);
}

#[test]
fn either_key_of_a_double_set_rotates_alone() {
    let world = both();
    world.run(["seal".as_ref(), "--set".as_ref(), "both".as_ref(), disk().as_os_str(), "d.sobre".as_ref()]).code(0);
    world.sobre("seal --set both --integrity gmac small.img no.sobre").code(2);
    world.sobre("set rotate both --layer platform").code(0).prints("made key platform/default@2");
    assert_eq!(keys_of(&world, "d.sobre", 0), ["customer/backup@1"]);
    assert_eq!(keys_of(&world, "d.sobre", 1), ["platform/default@2"]);
    world.sobre("set rotate both").code(0).prints("made key customer/backup@2");
    assert_eq!(keys_of(&world, "d.sobre", 0), ["customer/backup@2"]);
    assert_eq!(keys_of(&world, "d.sobre", 1), ["platform/default@2"]);
    world.sobre("open d.sobre out").code(0);
    assert_disk(&world, "out");
    // Losing either key refuses.
    world.sobre("key disable platform/default@2").code(14);
    world.sobre("key disable platform/default@2 --accept-loss").code(0);
    world.sobre("verify d.sobre").code(14);
    world.sobre("set rotate prod --layer platform").code(2).warns("one layer only");
}

#[test]
fn linked_keys_never_wrap_and_what_they_sealed_moves() {
    let world = prod();
    world.sobre("key create other --size 2048").code(0);
    world.sobre("set link prod backup").code(1).warns("is the active key");
    world.sobre("set link prod other").code(0).prints("never seals");
    world.sobre("set link prod other").code(1).warns("linked to the set 'prod' already");
    let names = seal(&world, "prod", 1);
    assert_eq!(keys_of(&world, &names[0], 0), ["customer/backup@1"]);
    // The other way round: the set seals with the other key, and the first one is linked.
    world.sobre("set update prod --key other").code(0).prints("seals with customer/other@1");
    world.sobre("set rotate prod --resume").code(0).prints("re-wrapped 1 snapshot");
    assert_eq!(keys_of(&world, &names[0], 0), ["customer/other@1"]);
    world.sobre("set unlink prod customer/backup@1").code(0).prints("the key itself stays");
    world.sobre("set unlink prod backup").code(10).warns("is not linked");
    verify(&world, &names).code(0);
}

#[test]
fn a_customers_set_never_goes_to_the_platform() {
    let world = both();
    for set in ["prod", "both"] {
        world.sobre(&format!("set update {set} --key platform/default")).code(14).warns("never goes back");
    }
    world.sobre("set create x --type platform --key backup").code(2).warns("does not fit a set of type platform");
    world.sobre("set create x --type customer --key platform/default").code(2).warns("does not fit");
    world.sobre("set create x --type customer").code(2);
    world.run(["set", "create", "x", "--type", "customer", "--key", &private_key()]).code(2).warns("live in vaults");
    world.sobre("set update prod --platform-key platform/default").code(2);
    assert_eq!(active(&world, "prod"), "customer/backup@1");
}

#[test]
fn other_material_under_the_same_name_is_refused() {
    let (world, other) = (prod(), World::fresh());
    other.sobre("key create backup --size 2048").code(0);
    for file in std::fs::read_dir(other.path("sobre/vaults")).expect("lists") {
        let file = file.expect("lists");
        std::fs::copy(file.path(), world.path("sobre/vaults").join(file.file_name())).expect("copies");
    }
    world.sobre("seal --set prod small.img a.sobre").code(14).warns("pinned");
    assert!(!world.has("a.sobre"));
    world.sobre("set rotate prod").code(14);
}

#[test]
fn a_set_whose_vault_is_gone_is_told() {
    let world = prod();
    seal(&world, "prod", 1);
    for file in ["customer.db", "customer.db-wal", "customer.db-shm"] {
        let _ = std::fs::remove_file(world.path(format!("sobre/vaults/{file}")));
    }
    world.sobre("seal --set prod small.img a.sobre").code(10).warns("vault restore");
    world.sobre("set rotate prod").code(10);
    world.sobre("set show prod").code(0).prints("does not seal");
    world.sobre("set rotate --due").code(10);
    world.sobre("set delete prod").code(2).warns("knows 1 snapshot of").warns("--yes");
    world.sobre("set delete prod --yes").code(0).prints("keys and 1 snapshot stay");
}

#[test]
fn hostile_names_are_refused() {
    let world = prod();
    let long = "a".repeat(255);
    for name in ["", "a\nb", "../x", "a/b", ".hidden", "-x", "ä", "a b", &long] {
        world.run(["set", "show", "--", name]).code(2);
        world.run(["set", "create", "--type", "customer", "--key", "backup", "--", name]).code(2);
    }
    let bytes = std::ffi::OsStr::from_bytes(b"a\xff");
    world.run(["set".as_ref(), "show".as_ref(), bytes]).code(2);
    world.sobre("set show nope").code(10).warns("no set 'nope'");
    world.sobre("seal --set nope small.img a.sobre").code(10);
    world.sobre("set create PROD --type customer --key backup").code(1).warns("there is a set 'prod' already");
    world.sobre("set create x --type customer --key backup --location \u{1b}[2J").code(2).silent_on("\u{1b}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = prod();
    world.sobre("key create other --size 2048").code(0);
    world.sobre("set link prod other").code(0);
    let names = seal(&world, "prod", 2);
    let before = (world.home_content(), world.read(&names[0]));
    for words in [
        "set create x --type platform-and-customer --key backup -n",
        "set create x --type platform -n",
        "set update prod --key other --location weu -n",
        "set unlink prod other -n",
        "set rotate prod -n",
        "set rotate --due -n",
        "set delete prod -n",
        "rewrap prod-0.sobre --to other -n",
    ] {
        let ran = world.sobre(&format!("{words} --json"));
        ran.code(0);
        assert!(world.home_content() == before.0, "{words}");
    }
    assert!(world.read(&names[0]) == before.1);
    assert!(!world.home().join("vaults/platform.db").exists());
}

#[test]
fn what_is_due_is_rotated_and_nothing_else() {
    let world = prod();
    let names = seal(&world, "prod", 2);
    world.sobre("set rotate --due").code(0).prints("no set is due");
    world.sobre("key rotate backup").code(0);
    world.sobre("set rotate --due").code(0).prints("no set is due");
    world.sobre("set update prod --auto-rotate on").code(0);
    world.sobre("set rotate --due").code(0).prints("newer version").prints("re-wrapped 2 snapshots");
    assert_eq!(active(&world, "prod"), "customer/backup@2");
    world.sobre("set rotate --due").code(0).prints("no set is due");
    verify(&world, &names).code(0);
}

#[test]
fn snapshots_that_are_not_there_are_listed() {
    let world = prod();
    let names = seal(&world, "prod", 2);
    std::fs::rename(world.path(&names[0]), world.path("away")).expect("moves");
    let rotated = world.sobre("set rotate prod").code(0).clone();
    rotated.prints("re-wrapped 1 snapshot").prints("1 snapshot still needs customer/backup@1 (1 not where they were)");
    std::fs::rename(world.path("away"), world.path(&names[0])).expect("moves");
    verify(&world, &names).code(0);
    world.sobre("set show prod").code(0).prints("1 snapshot still needs older keys");
    world.sobre("set rotate --due").code(0).prints("still need an older key").prints("re-wrapped 1 snapshot");
    world.write(&names[1], "junk");
    world.sobre("set rotate prod").code(3).warns("prod-1.sobre").warns("1 snapshot could not be re-wrapped");
    assert_eq!(keys_of(&world, &names[0], 0), ["customer/backup@3"]);
}

#[test]
fn the_recovery_key_stays_after_a_rotation() {
    let world = prod();
    world.add_to_config(&format!("recovery = \"{}\"", public_key()));
    let names = seal(&world, "prod", 1);
    world.sobre("set rotate prod").code(0).prints("re-wrapped 1 snapshot");
    let keys = keys_of(&world, &names[0], 0);
    assert_eq!((keys.len(), keys[0].as_str()), (2, "customer/backup@2"));
    world.run(["verify", &names[0], "--key", &private_key()]).code(0);
}

#[test]
fn a_key_that_expires_soon_is_told_when_it_seals() {
    let world = prod();
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after").as_secs() + 864_000;
    let soon = sobre::clock::UnixTime(soon).to_string();
    world.sobre(&format!("key update backup --expires {soon}")).code(0);
    for how in ["--key backup", "--set prod"] {
        let sealed = world.sobre(&format!("seal --json --force {how} small.img a.sobre"));
        sealed.code(0).warns("customer/backup@1 expires on");
        assert_eq!(sealed.json()["warnings"][0]["kind"], "near_expiry");
    }
    world.sobre("key update backup --expires 2001-01-01").code(0);
    world.sobre("seal --set prod small.img b.sobre").code(14).warns("expired");
    // Rotating is the way out.
    world.sobre("set rotate prod").code(0).prints("re-wrapped 1 snapshot");
    world.sobre("seal --set prod small.img b.sobre").code(0);
}

#[test]
fn many_files_are_rewrapped_from_a_list() {
    let world = prod();
    let names = seal(&world, "prod", 3);
    std::fs::rename(world.path(&names[2]), world.path("new\nline.sobre")).expect("moves");
    world.sobre("key rotate backup").code(0);
    world.write("lines", format!("{}\n{}\n\n", names[0], names[1]));
    world.sobre("rewrap --to backup --files-from lines --workers 2").code(0).prints("prod-1.sobre: opens with");
    let ran = world.sobre_with("rewrap --to backup --files-from - --json", b"new\nline.sobre\0missing.sobre\0");
    ran.code(3).warns("missing.sobre");
    assert_eq!(ran.json()["snapshots"].as_array().expect("rows").len(), 2);
    for name in &names[..2] {
        assert_eq!(keys_of(&world, name, 0), ["customer/backup@2"]);
    }
    // The catalogue knows of it.
    world.sobre("catalog list --key backup@1").code(0).prints("1 of 3 snapshots need this key");
    world.sobre("rewrap --to backup --files-from nowhere").code(10);
    world.sobre("rewrap --to backup").code(2);
}

#[test]
fn a_set_keeps_its_type() {
    let world = both();
    let before = world.sobre("set show both --json").json();
    world.sobre("set update both --type customer").code(2);
    world.sobre("set create both --type customer --key customer/backup").code(1);
    assert_eq!(world.sobre("set show both --json").json(), before);
}

#[test]
fn a_snapshot_that_can_not_be_written_gets_its_new_head_aside() {
    let world = prod();
    seal(&world, "prod", 1);
    let before = world.read("prod-0.sobre");
    let aside = world.sobre("rewrap prod-0.sobre --add recovery --envelope head").clone();
    aside.code(10);
    world.sobre("key create other --size 2048").code(0);
    world
        .sobre("rewrap prod-0.sobre --to other --envelope head")
        .code(0)
        .prints("open it with: sobre open --envelope head");
    assert!(world.read("prod-0.sobre") == before, "the snapshot was written to");
    world.sobre("open prod-0.sobre out --envelope head --key other").code(0);
    world.sobre("open prod-0.sobre out --force --key other").code(12);
    world.sobre("rewrap prod-0.sobre --to other --envelope head prod-1.sobre").code(2);
}

#[test]
fn a_set_may_forbid_recovery_keys() {
    let world = prod();
    world.add_to_config(&format!("recovery = [\"{}\"]", public_key()));
    let wrapped = |world: &World, set: &str| {
        world.sobre(&format!("seal -q --force --set {set} small.img r.sobre")).code(0);
        world.sobre("inspect --json r.sobre").json()["snapshots"][0]["layers"][0]["keys"]
            .as_array()
            .expect("keys")
            .len()
    };
    assert_eq!(wrapped(&world, "prod"), 2);
    world.sobre("set create strict --type customer --key backup --no-recovery").code(0);
    assert_eq!(wrapped(&world, "strict"), 1);
    world.sobre("set show strict").prints("recovery keys are not added");
    world.sobre("set update strict --recovery on").code(0);
    assert_eq!(wrapped(&world, "strict"), 2);
}

#[test]
fn a_stolen_key_is_replaced_by_one_in_another_vault() {
    let world = both();
    let in_set = seal(&world, "prod", 2);
    seal(&world, "both", 1);
    world.sobre("seal -q small.img alone.sobre --key backup").code(0);
    world.sobre("set create many --type customer --key backup --epoch").code(0);
    std::fs::create_dir(world.path("m")).expect("makes");
    world.sobre("seal -q --set many small.img m/0.sobre").code(0);
    world.sobre("vault create safe").code(0);
    let same = world.sobre("key replace customer/backup --with customer/other").clone();
    same.code(2).warns("whoever took one may have taken the other");
    world
        .sobre("key replace customer/backup --with safe/backup -n")
        .code(0)
        .prints("set 'prod' would seal with safe/backup");
    let replaced = world.sobre("key replace customer/backup --with safe/backup").code(0).clone();
    replaced.prints("made key safe/backup@1").prints("set 'prod' seals with safe/backup@1 now; re-wrapped 2 snapshots");
    replaced
        .prints("set 'many' seals with safe/backup@1 now; re-wrapped 1 snapshot")
        .prints("re-wrapped 1 snapshot outside");
    replaced.prints("no known snapshot becomes unreadable").warns("seal it anew");
    world.sobre("seal small.img no.sobre --key customer/backup").code(14).warns("it expired on");
    let refused = world.sobre("key replace customer/backup --with safe/backup --delete").clone();
    refused.code(14).warns("no folder was ever scanned");
    world.sobre("catalog rebuild .").code(0);
    for name in [in_set[0].as_str(), &in_set[1], "alone.sobre", "m/0.sobre", "both-0.sobre"] {
        world.sobre(&format!("verify -q {name}")).code(0);
    }
    world.sobre("key replace customer/backup --with safe/backup --delete").code(0).prints("deleted customer/backup");
    for name in [in_set[0].as_str(), &in_set[1], "alone.sobre", "m/0.sobre", "both-0.sobre"] {
        world.sobre(&format!("verify -q {name}")).code(0);
    }
    world.sobre("seal -q --set prod small.img after.sobre").code(0);
    world.sobre("seal -q --set many small.img m/1.sobre").code(0);
}

#[test]
fn a_set_belongs_to_one_location() {
    let world = prod();
    world.sobre("set create weu --type customer --key backup --location westeurope").code(0);
    world.sobre("set show weu").prints("westeurope");
    world.sobre("set update weu --location eastus").code(0);
    assert_eq!(world.sobre("set show weu --json").json()["set"]["location"], "eastus");
    world.sobre("set create two --type customer --key backup --location a --location b").code(2);
}

#[test]
fn what_is_moved_to_a_set_belongs_to_it_and_else_keeps_its_own() {
    let world = prod();
    seal(&world, "prod", 1);
    world.sobre("key create other --size 2048").code(0);
    world.sobre("set create late --type customer --key other").code(0);
    world.sobre("set create epochal --type customer --key other --epoch").code(0);
    let set_of = |world: &World| {
        world.sobre("inspect --json prod-0.sobre").json()["snapshots"][0]["layers"][0]["set"]
            .as_str()
            .map(str::to_owned)
    };
    world.sobre("rewrap prod-0.sobre --add other").code(0);
    assert_eq!(set_of(&world).as_deref(), Some("prod"));
    world.sobre("rewrap prod-0.sobre --set late").code(0);
    assert_eq!(
        (set_of(&world).as_deref(), keys_of(&world, "prod-0.sobre", 0)),
        (Some("late"), vec!["customer/other@1".to_owned()])
    );
    world.sobre("rewrap prod-0.sobre --set epochal").code(0);
    world.sobre("verify prod-0.sobre").code(0);
    world.sobre("set rotate epochal").code(0).prints("over 1 snapshot");
    world.sobre("verify prod-0.sobre").code(0);
    world.sobre("rewrap prod-0.sobre --set none").code(10);
}
