//! Keys, sets and vaults in a world that does not play along.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::world::{Ran, World};

/// A home with two customers' vaults; the set `prod` seals with a key of the second one.
fn two_vaults() -> World {
    let world = World::fresh();
    world.write("small.img", [5; 5000]);
    for words in [
        "vault create first",
        "key create o --size 2048 --vault first",
        "vault create second",
        "key create k --size 2048 --vault second",
        "set create prod --type customer --key second/k",
        "seal --set prod small.img a.sobre",
    ] {
        world.sobre(words).code(0);
    }
    world
}

#[test]
fn of_many_rotations_of_a_key_at_once_each_makes_a_version_of_its_own() {
    let world = two_vaults();
    let children: Vec<_> =
        (0..4).map(|_| world.start(&mut world.command(["key", "rotate", "second/k", "--json"]))).collect();
    let mut made = BTreeSet::new();
    for child in children {
        let ran = Ran::from(child.wait_with_output().expect("ends"));
        let id = ran.code(0).json()["key"]["id"].as_str().expect("text").to_owned();
        assert!(made.insert(id), "{made:?}");
    }
    let expected: BTreeSet<String> = (2..=5).map(|number| format!("second/k@{number}")).collect();
    assert_eq!(made, expected);
    world.sobre("open a.sobre out").code(0);
    world.sobre("set rotate prod").code(0).prints("second/k@5 is the newest version");
    world.sobre("open a.sobre out --force").code(0);
    world.sobre("audit verify").code(0);
}

#[test]
fn what_is_no_name_is_a_usage_error_and_makes_nothing() {
    let world = World::fresh();
    world.write("small.img", [5; 5000]);
    let long = "a".repeat(255);
    let names: [&[u8]; 8] =
        [b"a\nb", b"../x", b"caf\xe9", long.as_bytes(), b"", b"a/b", b"\x1b[2J", "\u{202e}x".as_bytes()];
    for name in names {
        let name = OsStr::from_bytes(name);
        let mut label = name.to_owned();
        label.push("=v");
        let commands: [&[&OsStr]; 5] = [
            &["vault".as_ref(), "create".as_ref(), name],
            &["key".as_ref(), "create".as_ref(), name],
            &["key".as_ref(), "import".as_ref(), "small.img".as_ref(), name],
            &["set".as_ref(), "create".as_ref(), name, "--type".as_ref(), "platform".as_ref()],
            &["seal".as_ref(), "small.img".as_ref(), "n.sobre".as_ref(), "--label".as_ref(), &label],
        ];
        for words in commands {
            if words[0] == "seal" && matches!(name.as_bytes(), b"../x" | b"a/b") {
                // A label's key may be a path.
                continue;
            }
            let ran = world.run(words);
            ran.code(2);
            assert!(!ran.err.contains(['\x1b', '\u{202e}']), "{ran:#?}");
            assert!(!ran.err.contains("a\nb"), "{ran:#?}");
            assert!(!world.home().exists() && !world.has("n.sobre"), "{words:?}");
        }
    }
    // What may be one is one at its longest.
    let longest = |len: usize| OsString::from("a".repeat(len));
    world.run(["vault".as_ref(), "create".as_ref(), longest(24).as_os_str()]).code(0);
    world
        .run(["key".as_ref(), "create".as_ref(), longest(127).as_os_str(), "--size".as_ref(), "2048".as_ref()])
        .code(0);
    world.run(["key".as_ref(), "create".as_ref(), longest(128).as_os_str()]).code(2);
    let key = format!("{}/{}", "a".repeat(24), "a".repeat(127));
    let set = "s".repeat(80);
    world.run(["set", "create", &set, "--type", "customer", "--key", &key]).code(0);
    world.run(["seal", "--set", &set, "small.img", "n.sobre"]).code(0);
    world.sobre("open n.sobre out").code(0);
    world.sobre("audit verify").code(0);
}

#[test]
fn what_a_label_says_is_shown_and_not_obeyed() {
    let world = two_vaults();
    world.run(["seal", "--set", "prod", "small.img", "l.sobre", "--label", "x=a\n../b\x1b[2J"]).code(0);
    for words in ["inspect l.sobre", "catalog list", "preflight l.sobre", "set show prod"] {
        let ran = world.sobre(words);
        ran.code(0);
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:#?}");
    }
}

#[test]
fn a_set_whose_vault_is_gone_says_so_and_can_be_changed_and_removed() {
    for (is_forgotten, says) in [(false, "there is no vault"), (true, "no vault 'second'")] {
        let world = two_vaults();
        if is_forgotten {
            let config = String::from_utf8(world.read("sobre/config.toml")).expect("text");
            let (before, _) = config.split_once("[vault.second]").expect("is there");
            world.write("sobre/config.toml", before);
        } else {
            std::fs::remove_file(world.database("second")).expect("removes");
        }
        world.sobre("set list").code(0).prints("second/k@1");
        world.sobre("set show prod").code(0).prints("does not seal").prints(says);
        for words in ["set rotate prod", "set rotate prod -n", "set rotate --due", "seal --set prod small.img b.sobre"]
        {
            world.sobre(words).code(10).warns(says);
        }
        assert!(!world.has("b.sobre") && !world.has("b.sobre.partial"));
        for words in ["preflight --set prod", "preflight a.sobre"] {
            let ran = world.sobre(words);
            ran.code(14);
            assert!((ran.out.clone() + &ran.err).contains("second/k@1"), "{ran:#?}");
        }
        world.sobre("open a.sobre out").code(10);
        assert!(!world.has("out"));
        world.sobre("set update prod --location x").code(0);
        // Its next snapshots can have another key.
        world.sobre("set update prod --key first/o").code(0);
        world.sobre("seal --set prod small.img b.sobre").code(0);
        world.sobre("set delete prod").code(2).warns("2 snapshots");
        world.sobre("set delete prod --yes").code(0);
        world.sobre("set list").code(0).prints("no sets");
        world.sobre("audit verify").code(0);
    }
}

#[test]
fn a_purge_whose_record_has_no_place_is_not_begun() {
    let world = two_vaults();
    world.sobre("vault create loose --no-purge-protection --retention-days 7").code(0);
    world.sobre("key create gone --size 2048 --vault loose").code(0);
    world.sobre("key delete loose/gone --accept-loss -y").code(0);
    let purge = "key purge loose/gone --accept-loss -y --record";
    world.sobre(&format!("{purge} missing/record.json")).code(10).warns("missing");
    world.write("taken.json", "kept");
    world.sobre(&format!("{purge} taken.json")).code(1).warns("exists already");
    assert_eq!(world.read("taken.json"), b"kept");
    world.sobre(&format!("{purge} small.img/record.json")).code(1).warns("small.img");
    world.sobre("key list --deleted").code(0).prints("loose/gone");
    world.sobre("key recover loose/gone").code(0);
    world.sobre("key delete loose/gone --accept-loss -y").code(0);
    world.sobre(&format!("{purge} record.json")).code(0);
    let record = String::from_utf8(world.read("record.json")).expect("text");
    assert!(record.contains("\"completed\""), "{record}");
}

#[test]
fn a_purge_in_its_retention_names_the_date_and_the_key_comes_back() {
    let world = two_vaults();
    world.sobre("key delete second/k --accept-loss -y").code(0);
    let until = world.sobre("key list --deleted --json").code(0).json()["deleted"][0]["recoverable_until"].clone();
    let until = until.as_str().expect("a date");
    for words in ["key purge second/k --accept-loss -y", "key purge second/k --accept-loss -y --record r.json"] {
        world.sobre(words).code(14).warns("purge protection keeps it until").warns(until);
    }
    assert!(!world.has("r.json"), "nothing is on record that was never begun");
    world.sobre("key recover second/k").code(0);
    world.sobre("open a.sobre out").code(0);
}

#[test]
fn a_dry_run_of_a_vault_or_the_log_changes_nothing() {
    let world = World::single();
    let public = super::world::public_key();
    world.run(["vault", "backup", "keys.bak", "--to", &public]).code(0);
    let private = super::world::private_key();
    let before = world.home_content();
    world.sobre("vault create other -n").code(0).prints("would make vault 'other'");
    world.sobre("vault create platform -n --owner platform").code(1).warns("platform");
    world.sobre("vault update platform --purge-protection -n").code(0).prints("nothing was changed");
    world.sobre("vault passphrase -n").code(0).prints("would be protected by a passphrase");
    world.run(["vault", "restore", "keys.bak", "-n", "--key", &private]).code(0).prints("would get what it lacks of");
    let elsewhere = ["--home", "elsewhere", "vault", "restore", "keys.bak", "-n", "--key", &private];
    world.run(elsewhere).code(0).prints("would be made");
    assert!(!world.has("elsewhere"));
    world.sobre("audit restart -n").code(0).prints("nothing would be done");
    assert!(world.home_content() == before, "something was changed");
}
