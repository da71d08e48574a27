//! What is said before a restore, and before a key goes.

use super::world::{World, disk, public_key};

/// A home with both vaults of which every snapshot is known: `d.sobre` is double, `s.sobre` for the customer alone.
fn known() -> World {
    let world = World::double();
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(world.home().join(name));
    }
    std::fs::create_dir(world.path("snaps")).expect("makes");
    for name in ["d.sobre", "s.sobre"] {
        std::fs::rename(world.path(name), world.path("snaps").join(name)).expect("moves");
    }
    world.sobre("catalog add snaps").code(0);
    world
}

fn verified() -> World {
    let world = known();
    world.sobre("verify snaps/d.sobre snaps/s.sobre").code(0);
    world
}

#[test]
fn a_preflight_names_every_key_and_says_whether_it_is_there() {
    let world = known();
    let both = "preflight snaps/d.sobre snaps/s.sobre";
    world.sobre(both).code(0).prints("customer/default@1  enabled  for 2 snapshots").prints("access ok");
    world.sobre("preflight --all --challenge").code(0).prints("enabled, proved");
    world.sobre("preflight --set nope").code(10).warns("no set 'nope'");
    world.sobre("preflight").code(2);
    world.sobre("preflight snaps/s.sobre --all").code(2);
    world.sobre("key update platform/default --expires 2020-01-01").code(0);
    world.sobre(both).code(0).prints("expired on 2020-01-01T00:00:00Z, still unwraps");
    world.sobre("key delete platform/default -y --accept-loss").code(0);
    let refused = world.sobre(both);
    refused.code(14).prints("snaps/d.sobre: does not open; needs platform/default@1");
    refused
        .prints("access warning: platform/default@1: deleted, can be recovered until")
        .prints("sobre key recover platform/default");
    refused.prints("1 of 2 snapshots, sealed between").prints("does not open as things are");
    assert!(!refused.out.contains("s.sobre:"), "{refused:?}");
    let object = world.sobre(&format!("{both} --json")).code(14).json();
    assert_eq!((&object["access"], &object["snapshots"][0]["verdict"]), (&"warning".into(), &"does_not_open".into()));
    let message = object["azure_message"].as_str().expect("text");
    assert!(message.starts_with("Target server ") && message.ends_with("after restoring all AKV URIs"), "{message}");
    world.sobre("preflight snaps/s.sobre --role backup").code(14).prints("the role 'backup' has no right 'unwrap'");
}

#[test]
fn a_preflight_in_a_home_that_lost_its_vaults_names_what_is_missing() {
    let world = known();
    let other = World::fresh();
    std::fs::copy(world.path("snaps/d.sobre"), other.path("d.sobre")).expect("copies");
    let found = other.sobre("preflight d.sobre");
    found.code(14).prints("d.sobre: does not open; needs customer/default@1, platform/default@1");
    found.prints("in no vault").prints("sobre vault restore FILE");
    std::fs::remove_file(world.database("customer")).expect("removes");
    world.sobre("preflight snaps/s.sobre").code(14).prints("access warning: vault 'customer' can't be asked");
}

#[test]
fn what_is_no_snapshot_is_named_and_does_not_hide_the_rest() {
    let world = known();
    world.write("junk", "junk");
    let junk = world.sobre("preflight junk");
    assert!(!junk.code(13).out.contains("access ok"), "{junk:?}");
    world.sobre("preflight missing").code(10);
    world.sobre("preflight junk snaps/s.sobre").code(3).warns("junk").prints("access ok");
    let whole = world.read("snaps/s.sobre");
    world.write("cut", &whole[..whole.len() - 1]);
    world.sobre("preflight cut").code(13);
    // The catalogue's word stands for a file that is gone.
    std::fs::remove_file(world.path("snaps/s.sobre")).expect("removes");
    let object = world.sobre("preflight --all --json").code(3).json();
    assert_eq!(object["snapshots"][1]["from_catalog"], true);
    assert_eq!(object["unread"].as_array().expect("a list").len(), 1);
}

#[test]
fn a_refused_key_with_another_wrapper_is_opened_by_choice() {
    let world = known();
    world.sobre("key create spare --size 2048 --vault customer").code(0);
    world.sobre("rewrap snaps/s.sobre --add customer/spare").code(0);
    world.sobre("key disable customer/default --accept-loss").code(0);
    world.sobre("preflight snaps/s.sobre").code(14).prints("opens only with --key customer/spare@1");
    world.sobre("open snaps/s.sobre out").code(14);
    world.sobre("open snaps/s.sobre out --key customer/spare@1").code(0);
}

#[test]
fn a_key_does_not_go_while_a_snapshot_needs_it() {
    let world = verified();
    world.sobre("key impact customer/default").code(0).prints("2 snapshots become unreadable:").prints("snaps/d.sobre");
    for words in ["key disable customer/default", "key delete customer/default -y", "key delete customer/default -y -n"]
    {
        let refused = world.sobre(words);
        refused.code(14).warns("2 snapshots would be lost").warns("--accept-loss");
    }
    world.sobre("open snaps/s.sobre out").code(0);
    let object = world.sobre("key impact customer/default@1 --json").code(0).json();
    assert_eq!(object["impact"]["lost"].as_array().expect("a list").len(), 2);
    assert_eq!(object["impact"]["coverage"]["folders"].as_array().expect("a list").len(), 1);
    world
        .sobre("key delete customer/default -y --accept-loss")
        .code(0)
        .warns("accepted with --accept-loss: 2 snapshots would be lost");
    world.sobre("key recover customer/default").code(0);
    world.sobre("open snaps/s.sobre out2").code(0);
}

#[test]
fn a_key_that_nothing_needs_goes_when_everything_is_known() {
    let world = verified();
    world.sobre("key create spare --size 2048 --vault customer").code(0);
    world.sobre("key impact customer/spare").code(0).prints("no known snapshot becomes unreadable").prints("scanned ");
    world.sobre("key delete customer/spare -y").code(0).silent_on("accept-loss");
}

#[test]
fn what_was_never_verified_or_scanned_is_unknown_and_not_harmless() {
    let world = known();
    world.sobre("key create spare --size 2048 --vault customer").code(0);
    world.sobre("key delete customer/spare -y").code(14).warns("it is not known what is lost").warns("never verified");
    world.sobre("verify snaps/d.sobre snaps/s.sobre").code(0);
    // Changed behind the catalogue's back: rewrapped by another home, or forged.
    world.sobre("rewrap snaps/s.sobre --add customer/spare").code(0);
    world.sobre("key disable customer/default").code(14);
    world.sobre("verify snaps/s.sobre").code(0);
    let found = world.sobre("key impact customer/default").code(0).clone();
    found.prints("1 snapshot becomes unreadable").prints("1 snapshot stays readable through customer/spare@1");
    // Somebody who can write to a head can't make it count: the verification does not hold for it.
    let mut bytes = world.read("snaps/s.sobre");
    bytes[2000] ^= 1;
    world.write("snaps/s.sobre", bytes);
    world.sobre("key impact customer/default --json").code(0);
    std::fs::remove_file(world.home().join("catalog.db")).expect("removes");
    world.sobre("key disable customer/spare").code(14).warns("there is no catalogue");
    world.write("sobre/catalog.db", "junk");
    world.sobre("key disable customer/spare").code(14).warns("is damaged");
    world.sobre("key disable customer/spare --accept-loss").code(0).warns("accepted with --accept-loss");
}

#[test]
fn a_purge_is_on_record_before_it_is_done() {
    let world = verified();
    world.sobre("vault create loose --no-purge-protection --retention-days 7").code(0);
    world.sobre("key create gone --size 2048 --vault loose").code(0);
    world.run(["seal", disk().to_str().expect("text"), "snaps/g.sobre", "--key", "loose/gone"]).code(0);
    world.sobre("key delete loose/gone -y --accept-loss").code(0);
    world.sobre("key purge loose/gone -y --record gone.json").code(14).warns("1 snapshot would be lost");
    assert!(!world.has("gone.json"));
    world.sobre("key purge loose/gone -y --accept-loss --record no/such/gone.json").code(10);
    world.sobre("key show loose/gone").code(0);
    world.sobre("key purge loose/gone -y --accept-loss --record gone.json").code(0);
    let record: serde_json::Value = serde_json::from_slice(&world.read("gone.json")).expect("an object");
    assert_eq!((&record["status"], &record["key"]), (&"completed".into(), &"loose/gone".into()));
    assert!(record["lost"][0].as_str().expect("text").ends_with("snaps/g.sobre"));
    assert!(record["versions"][0]["spki"].as_str().expect("text").len() > 300);
    world.sobre("preflight snaps/g.sobre").code(14).prints("loose/gone@1  in no vault");
    let thumbprint = record["versions"][0]["thumbprint"].as_str().expect("text").to_owned();
    world.sobre(&format!("key impact jkt:{}", &thumbprint[..12])).code(0).prints("in no vault  1 snapshot");
    // A record of an earlier purge is not replaced.
    world.sobre(&format!("key impact {}", public_key())).code(0);
}
