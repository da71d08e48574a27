//! Keys by what others call them: every command that takes a KEY takes an alias.

use super::world::{World, assert_disk, disk, public_key};

const X5T: &str = "72E476889658275EF52EE97BFEE6277C390F5DF6";
const SPKI: &str = "c874c0e47a06f4d6c36a9b93ea5a75d92e8c49924dc0bf8beacb763430350d18";
const SPKI_PIN: &str = "yHTA5HoG9NbDapuT6lp12S6MSZJNwL+L6st2NDA1DRg=";
const URL: &str = "https://prod.vault.azure.net/keys/backup/0123456789abcdef0123456789abcdef";

/// A home with a key that came with its certificate, a token's id and a URL.
fn with_aliases() -> World {
    let world = World::double();
    let file = format!("{}/vectors/imports/modern-certificate.pfx", env!("CARGO_MANIFEST_DIR"));
    world.write("pass", "sobre-test\n");
    let words = format!(
        "key import {file} k --discard-certificates --import-passphrase-file pass --alias cka:0A0B --alias url:{URL}"
    );
    world
        .sobre(&words)
        .code(0)
        .prints(&format!("recorded x5t:{}  (certificate SHA-1)", X5T.to_lowercase()))
        .prints("recorded cka:0a0b  (PKCS#11 CKA_ID)");
    world
}

#[test]
fn every_command_that_takes_a_key_takes_its_aliases() {
    let world = with_aliases();
    let colons: Vec<String> = X5T.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    for key in [
        format!("spki:{SPKI}"),
        format!("spki:{}", &SPKI[..6]),
        format!("spki:{SPKI_PIN}"),
        format!("spki:{}", &SPKI_PIN[..7]),
        format!("x5t:{X5T}"),
        format!("x5t:{}", colons.join(":")),
        "x5t:cuR2iJZYJ171Lul7_uYnfDkPXfY".to_owned(),
        "cka:0a0b".to_owned(),
        format!("url:{}", URL.replace("prod", "PROD")),
    ] {
        world.run(["key", "show", &key, "--role", "run-time"]).code(0).prints("customer/k@1");
    }
    let source = disk();
    world.run(["seal", source.to_str().expect("text"), "k.sobre", "--key", "x5t:72e476"]).code(0);
    world.sobre("open k.sobre out --key spki:c874c0e4").code(0);
    assert_disk(&world, "out");
    world.sobre("verify k.sobre --key cka:0A:0B").code(0);
    world.sobre("rewrap s.sobre --add spki:c874c0e4").code(0);
    world.sobre("rewrap s.sobre --remove x5t:72e4768896").code(0);
    world.sobre("key impact x5t:72e4768896").code(0);
    world.sobre("catalog list --key cka:0a0b").code(0).prints("k.sobre");
    world.sobre("set create s --type customer --key x5t:72e4768896").code(0).prints("customer/k@1");
    world.sobre("key disable cka:0a0b --accept-loss").code(0).prints("customer/k@1 wraps and unwraps nothing");
    let audit = world.sobre("audit show --key spki:c874c0");
    audit.code(0).prints("customer/k@1");
    assert!(!audit.out.contains("customer/default"), "{audit:?}");
    // A key in a file is known by its public half alone.
    world.run(["key", "show", &public_key()]).code(0).prints(&format!("alias       spki:{SPKI}"));
}

#[test]
fn a_key_is_shown_with_all_its_names_and_their_algorithms() {
    let world = with_aliases();
    world
        .sobre("key show k")
        .code(0)
        .prints("(JWK SHA-256)")
        .prints(&format!("alias       spki:{SPKI}  (SPKI SHA-256)"))
        .prints(&format!("alias       x5t:{}  (certificate SHA-1)", X5T.to_lowercase()))
        .prints("alias       cka:0a0b  (PKCS#11 CKA_ID)")
        .prints(&format!("alias       url:{URL}  (Key Vault URL)"));
    let shown = world.sobre("key show k --json").json();
    let aliases = shown["key"]["aliases"].as_array().expect("a list");
    let algorithms: Vec<_> = aliases.iter().map(|alias| alias["algorithm"].as_str().expect("text")).collect();
    assert_eq!(algorithms, ["JWK SHA-256", "SPKI SHA-256", "certificate SHA-1", "PKCS#11 CKA_ID", "Key Vault URL"]);
    assert_eq!(aliases[1]["alias"], format!("spki:{SPKI}"));
}

#[test]
fn aliases_are_added_and_taken_away_and_what_fits_several_names_none() {
    let world = with_aliases();
    world.sobre("key update customer/default --alias cka:0a0b").code(0).prints("customer/default@1 is also spki:");
    world
        .sobre("key show cka:0a0b")
        .code(2)
        .warns("cka:0a0b fits several: customer/default@1, customer/k@1")
        .warns("VAULT/NAME@N");
    world.sobre("key show cka:0a0b --role run-time").code(2).warns("fits several");
    world.sobre("key update customer/default --remove-alias cka:0a0b").code(0);
    world.sobre("key show cka:0a0b").code(0).prints("customer/k@1");
    world.sobre("key update k --alias cka:09 -n").code(0).prints("nothing was changed");
    world.sobre("key show cka:09").code(10).warns("no key cka:09");
    world.sobre("key update k --alias cka:09 --role run-time").code(14);
    world.sobre(&format!("key update k --alias spki:{SPKI}")).code(1).warns("follows from the public key");
    for words in [
        "key show spki:abcde",
        "key show x5t:nonsense*",
        "key show url:https://prod.vault.azure.net/keys/backup",
        "key update k --alias x5t:72e476",
        "key update k --alias backup",
    ] {
        world.sobre(words).code(2);
    }
    let audit = world.sobre("audit show").out;
    assert!(audit.contains("KeyUpdate"), "{audit}");
}

#[test]
fn aliases_go_with_the_key_into_another_home() {
    let world = with_aliases();
    world.sobre(&format!("key backup k k.key --to {}", public_key())).code(0);
    let other = World::fresh();
    std::fs::copy(world.path("k.key"), other.path("k.key")).expect("copies");
    other.sobre("vault create mine").code(0);
    other.sobre(&format!("key restore k.key --key {}", super::world::private_key())).code(0);
    for key in ["x5t:72e476", "cka:0a0b", &format!("url:{URL}"), "spki:c874c0"] {
        other.run(["key", "show", key]).code(0).prints("mine/k@1");
    }
}
