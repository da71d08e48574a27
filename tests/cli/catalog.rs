//! Which snapshots there are, and which keys they need.

use std::os::unix::fs::symlink;

use super::world::{World, disk, key_file, public_key};

#[test]
fn what_is_sealed_is_in_the_catalogue_and_verified() {
    let world = World::fresh();
    let sealed = world.run(["seal".as_ref(), "--json".as_ref(), disk().as_os_str(), "a.sobre".as_ref()]);
    assert_eq!(sealed.code(0).json()["catalogued"], true);
    let listed = world.sobre("catalog list --json").code(0).json();
    let row = &listed["snapshots"][0];
    assert_eq!(row["snapshot"], world.path("").canonicalize().expect("there").join("a.sobre").display().to_string());
    assert_eq!(
        (&row["verified"], &row["id"], &row["root"]),
        (&true.into(), &sealed.json()["id"], &sealed.json()["root"])
    );
    assert_eq!(row["keys"][0]["id"], "platform/default@1");
    assert_eq!(listed["coverage"]["unverified"], 0);
    world.sobre("catalog list --key platform/default").code(0).prints("1 of 1 snapshot need this key");
}

#[test]
fn a_seal_stands_when_the_catalogue_is_damaged() {
    let world = World::single();
    world.write("sobre/catalog.db", "junk");
    let sealed = world.run(["seal".as_ref(), disk().as_os_str(), "a.sobre".as_ref()]);
    sealed.code(0).warns("warning: the snapshot is sealed, but not in the catalogue").warns("catalog rebuild DIR");
    world.sobre("verify a.sobre").code(0);
    world.sobre("catalog list").code(13).warns("catalog rebuild");
    world.sobre("catalog add a.sobre").code(13);
    world.sobre("catalog rebuild . -n").code(0).prints("would set");
    assert_eq!(world.read("sobre/catalog.db"), b"junk");
    world.sobre("catalog rebuild nowhere").code(10);
    assert_eq!(world.read("sobre/catalog.db"), b"junk");
    world.sobre("catalog rebuild .").code(0).prints("added 2 snapshots");
    assert_eq!(world.read("sobre/catalog.db.lost1"), b"junk");
    assert_eq!(world.sobre("catalog list --json").json()["coverage"]["snapshots"], 2);
}

#[test]
fn a_home_that_was_never_set_up_gets_no_catalogue() {
    let world = World::fresh();
    let key = public_key();
    let disk = disk().display().to_string();
    assert_eq!(world.run(["seal", "--json", "--key", &key, &disk, "a.sobre"]).code(0).json()["catalogued"], false);
    assert!(!world.home().exists());
    world.sobre("catalog list").code(0).prints("there is no catalogue yet");
    world.sobre("catalog remove a.sobre").code(10);
    world.sobre("catalog add a.sobre -n").code(0).prints("would add");
    assert!(!world.home().exists());
    world.sobre("catalog add a.sobre").code(0);
    world.sobre("catalog list").code(0).prints("(not verified)");
}

#[test]
fn some_unreadable_files_are_named_and_the_rest_is_taken_in() {
    let world = World::single();
    std::fs::create_dir_all(world.path("backups/deep")).expect("makes");
    std::fs::rename(world.path("s.sobre"), world.path("backups/deep/s.sobre")).expect("moves");
    world.write("backups/junk.sobre", "junk");
    symlink(world.path("backups"), world.path("backups/deep/loop")).expect("links");
    let added = world.sobre("catalog add backups");
    added
        .code(3)
        .prints("added 1 snapshot")
        .prints("1 link not followed")
        .warns("junk.sobre")
        .warns("1 path could not be read");
    let object = world.sobre("catalog add backups --json").code(3).json();
    assert_eq!((&object["added"], &object["paths"][0]["unreadable"]), (&1.into(), &1.into()));
    assert_eq!(object["failures"][0]["error"]["exit_code"], 13);
    world.sobre("catalog add backups/junk.sobre").code(13);
    world.sobre("catalog add nowhere").code(10);
    // It was sealed elsewhere in this home: that place is noted, and stays until somebody says so.
    world.sobre("catalog remove backups/deep/s.sobre -n").code(0).prints("would forget");
    world.sobre("catalog remove backups/deep/s.sobre nowhere").code(3).warns("no snapshot nowhere");
    std::fs::remove_file(world.path("backups/junk.sobre")).expect("removes");
    world.sobre("catalog add backups").code(0);
    std::fs::remove_file(world.path("backups/deep/s.sobre")).expect("removes");
    world.sobre("catalog add backups").code(0).warns("is not there any more");
    world.sobre("catalog list").code(0).prints("backups/deep/s.sobre");
}

#[test]
fn losing_the_catalogue_loses_no_snapshot() {
    let world = World::single();
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(world.home().join(name));
    }
    world.sobre("open s.sobre out.img").code(0);
    let key = key_file("test-rsa2048.pkcs8.pem");
    world.run(["catalog", "list", "--key", &key]).code(0).prints("there is no catalogue yet");
    world.sobre("catalog rebuild .").code(0).prints("added 1 snapshot");
    world.run(["catalog", "list", "--key", &key]).code(0).prints("0 of 1 snapshot need this key");
    world.sobre("catalog list --key platform/default").code(0).prints("1 of 1 snapshot need this key");
}
