//! Keys over their whole life.

use super::world::{World, assert_disk, disk, private_key, public_key};

/// A home with both vaults, and a customer's key `k` for which `k.sobre` is sealed.
fn with_key() -> World {
    let world = World::double();
    world.sobre("key create k --size 2048").code(0);
    world.run(["seal", disk().to_str().expect("text"), "k.sobre", "--key", "k"]).code(0);
    world
}

#[test]
fn a_disabled_or_deleted_key_opens_nothing_until_it_is_back() {
    let world = with_key();
    world.sobre("key disable k --accept-loss").code(0).prints("customer/k@1 wraps and unwraps nothing");
    world.sobre("open k.sobre out").code(14).warns("is disabled");
    world.run(["seal", disk().to_str().expect("text"), "n.sobre", "--key", "k"]).code(14).warns("is disabled");
    world.sobre("key list").code(0).prints("customer/k@1        disabled");
    world.sobre("key enable k@1").code(0);
    world.sobre("open k.sobre out").code(0);
    assert_disk(&world, "out");
    world.sobre("key delete customer/k --accept-loss -y").code(0).prints("sobre key recover customer/k");
    world.sobre("open k.sobre out2").code(14).warns("is deleted").warns("sobre key recover");
    assert!(!world.has("out2") && !world.has("n.sobre"));
    let list = world.sobre("key list");
    list.code(0).prints("and 1 deleted key");
    assert!(!list.out.contains("customer/k"), "{list:?}");
    world.sobre("key list --deleted").code(0).prints("customer/k  1 version  deleted").prints("kept until");
    world.sobre("key show k").code(0).prints("state       deleted").prints("kept until");
    // The name stays taken, and the vault keeps it for 90 days.
    world.sobre("key create k").code(1).warns("has a key k already").warns("sobre key recover");
    world.sobre("key purge k --accept-loss -y").code(14).warns("purge protection keeps it until");
    world.sobre("key rotate k").code(14).warns("is deleted");
    world.sobre("key recover k").code(0);
    world.sobre("open k.sobre out2").code(0);
    assert_disk(&world, "out2");
}

#[test]
fn what_destroys_is_asked_for_and_without_a_terminal_refused() {
    let world = with_key();
    world.sobre("key delete k --accept-loss").code(2).warns("there is no terminal").warns("--yes");
    world.sobre("vault create loose --no-purge-protection --retention-days 7").code(0);
    world.sobre("key create gone --size 2048 --vault loose").code(0);
    world.sobre("key purge gone --accept-loss -y").code(1).warns("it is not deleted").warns("sobre key delete");
    world.sobre("key delete gone --accept-loss --yes").code(0);
    world.sobre("key purge gone --accept-loss").code(2).warns("there is no terminal");
    world.sobre("key purge gone --accept-loss -n").code(0).prints("nothing was changed");
    let purged = world.sobre("key purge gone --accept-loss -y --json");
    purged.code(0);
    assert_eq!(purged.json()["purged"].as_array().expect("a list").len(), 1);
    world.sobre("key show gone").code(10);
    world.sobre("key purge gone --accept-loss -y").code(10).warns("no key gone");
    // Switched on once and for all.
    world.sobre("vault update loose --purge-protection").code(0).prints("for 7 days");
    world.sobre("vault update loose").code(2);
    world.sobre("vault create x --retention-days 6").code(2);
    world.sobre("vault create x --retention-days 91").code(2);
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = with_key();
    let before = world.home_content();
    for (words, text) in [
        ("key create more -n", "would make more"),
        ("key rotate k -n", "would rotate customer/k"),
        ("key disable k --accept-loss --dry-run", "would disable customer/k@1"),
        ("key enable k -n", "would enable customer/k@1"),
        ("key update k --expires 2031-01-01 -n", "would update customer/k@1"),
        ("key update k --delete-lock on -n", "would update customer/k@1"),
        ("key policy k --rotate-every P1Y -n", "would change the policy of customer/k"),
        ("key delete k --accept-loss -n", "would delete customer/k"),
    ] {
        world.sobre(words).code(0).prints(text).prints("nothing was changed");
        assert_eq!(world.sobre(&format!("{words} --json")).json()["dry_run"], true, "{words}");
    }
    assert!(world.home_content() == before, "changed");
    // It fails where the deed would.
    world.sobre("key recover k -n").code(1).warns("it is not deleted");
    world.sobre("key purge k --accept-loss -n").code(1);
    world.sobre("key update k --delete-lock on").code(0);
    world.sobre("key delete k --accept-loss -n").code(14).warns("locked against deletion");
}

#[test]
fn dates_locks_and_policies_are_set_shown_and_taken_away() {
    let world = with_key();
    world
        .sobre("key update k --expires 2031-12-24T18:00:00Z --not-before 2020-01-01")
        .code(0)
        .prints("customer/k@1 wraps from 2020-01-01T00:00:00Z until 2031-12-24T18:00:00Z");
    world.sobre("key show k").code(0).prints("expires     2031-12-24T18:00:00Z").prints("not before  2020-01-01");
    world
        .sobre("key policy k --rotate-every P1Y --notify-before P30D")
        .code(0)
        .prints("customer/k: notify P30D before expiry, rotate P1Y after creation");
    world.sobre("key policy k").code(0).prints("customer/k@1: notify from 2031-11-24T18:00:00Z on");
    world.sobre("key policy k --rotate-every none").code(0).prints("customer/k: notify P30D before expiry\n");
    world.sobre("key update k --expires 2019-01-01").code(1).warns("it would expire before its time begins");
    world.sobre("key update k --expires 2021-01-01").code(0);
    world
        .run(["seal", disk().to_str().expect("text"), "n.sobre", "--key", "k"])
        .code(14)
        .warns("it expired on 2021-01-01");
    world.sobre("open k.sobre out").code(0);
    world.sobre("key update k --expires never --not-before none").code(0).prints("wraps, without end");
    world.sobre("key update k --delete-lock on").code(0).prints("customer/k can't be deleted");
    world.sobre("key show k").code(0).prints("delete lock on").prints("policy      notify P30D before expiry");
    world.sobre("key delete k --accept-loss -y").code(14).warns("locked against deletion").warns("--delete-lock off");
    world.sobre("key update k --delete-lock off").code(0);
    world.sobre("key delete k --accept-loss -y").code(0);
    for words in [
        "key update k",
        "key update k --expires tomorrow",
        "key update k --expires 2031-02-30",
        "key policy k --rotate-every P6D",
        "key policy k --rotate-every 30",
        "key policy k --rotate-every P1Y --rotate-before P1Y",
        "key policy k@1 --rotate-every P1Y",
        "key update k@1 --delete-lock on",
        "key delete k@1 --accept-loss -y",
    ] {
        world.sobre(words).code(2);
    }
    let file = public_key();
    world.sobre(&format!("key disable {file} --accept-loss")).code(2).warns("a key in a file has no state");
}

#[test]
fn one_key_goes_into_a_file_and_into_another_home() {
    let world = with_key();
    world.sobre(&format!("key backup k k.key --to {}", public_key())).code(0).prints("1 version of customer/k");
    world.sobre(&format!("key backup k k.key --to {}", public_key())).code(1).warns("exists already");
    let restore = format!("key restore k.key --key {}", private_key());
    world.sobre(&restore).code(1).warns("has a key k already");
    world.sobre("key delete k --accept-loss -y").code(0);
    world.sobre(&restore).code(1).warns("sobre key recover");
    let other = World::fresh();
    std::fs::copy(world.path("k.key"), other.path("k.key")).expect("copies");
    std::fs::copy(world.path("k.sobre"), other.path("k.sobre")).expect("copies");
    other.sobre(&restore).code(10);
    other.sobre("vault create mine").code(0);
    other.sobre(&format!("{restore} -n")).code(0).prints("would restore mine/k");
    other.sobre(&restore).code(0).prints("restored mine/k with 1 version");
    other.sobre("open k.sobre out").code(0);
    assert_disk(&other, "out");
    // A damaged one, a wrong key, and a backup of everything.
    let mut bytes = world.read("k.key");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    other.write("bad.key", bytes);
    other.sobre(&format!("key restore bad.key --key {}", private_key())).code(13);
    let wrong = super::world::key_file("test-rsa3072.pkcs8.pem");
    other.sobre(&format!("key restore k.key --key {wrong}")).code(12);
    world.sobre(&format!("vault backup all --to {}", public_key())).code(0);
    world.sobre(&format!("key restore all --key {}", private_key())).code(1).warns("sobre vault restore");
    // The vault's own files are never replaced.
    let database = world.database("customer");
    let words =
        ["key", "backup", "default", database.to_str().expect("text"), "--force", "--vault", "customer", "--to"];
    world.run(words.into_iter().chain([public_key().as_str()])).code(1).warns("exists already");
}

#[test]
fn a_role_does_what_it_may_and_nothing_else() {
    let world = with_key();
    world.sobre("open k.sobre out --role run-time").code(0);
    world.sobre("open k.sobre out2 --role backup").code(14).warns("the role 'backup' has no right 'unwrap'");
    world.sobre("key rotate k --role run-time").code(14).warns("no right 'administer'").warns("--role");
    let shown = world.sobre("key show k --json").json();
    let prefix = shown["key"]["thumbprint"].as_str().expect("text")[..12].to_owned();
    world.sobre(&format!("key show jkt:{prefix} --role run-time")).code(0).prints("customer/k@1");
    world.sobre("key list --role run-time").code(14).warns("no right 'list'");
    world.sobre("key list --role backup").code(0);
    world.sobre("key delete k --accept-loss -y --role recovery").code(14);
    world.sobre("key delete k --accept-loss -y --role administrator").code(0);
    world.sobre("key recover k --role administrator").code(14).warns("no right 'recover'");
    world.sobre("key recover k --role recovery").code(0);
    world
        .sobre("vault restore nothing --role root")
        .code(2)
        .warns("a role is administrator, backup, recovery or run-time");
    world.sobre(&format!("vault backup all --to {} --role run-time", public_key())).code(14).warns("no right 'backup'");
    world.sobre(&format!("vault backup all --to {} --role backup", public_key())).code(0);
    assert!(!world.has("out2"));
}
