//! `vault check`: what is found before anything depends on a vault.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use sobre::clock::SystemClock;
use sobre::key::VaultName;
use sobre::provider::embedded::{EmbeddedVault, Owner, PassphraseError, PassphraseSource, Purpose, VaultSettings};
use sobre::provider::import::Importer;
use sobre::provider::{KeyAdmin, OpContext};
use sobre::random::SystemRandom;
use sobre::secret::SecretBytes;

use super::world::{World, public_key};

#[derive(Debug)]
struct Nobody;

impl PassphraseSource for Nobody {
    fn passphrase(&self, _: &VaultName, _: Purpose) -> Result<SecretBytes, PassphraseError> {
        Err(PassphraseError::NotGiven)
    }
}

#[test]
fn a_vault_that_is_as_it_should_be_says_so() {
    let world = World::double();
    world.sobre(&format!("vault backup all --to {}", public_key())).code(0);
    let before = world.home_content();
    let ran = world.sobre("vault check");
    ran.code(0)
        .prints(
            "vault 'customer': 1 key with 1 version; every record authentic, a key file for its owner alone, backed up",
        )
        .prints("vault 'customer': may get, wrap, unwrap, list, backup, administer, recover")
        .prints("vault 'platform': 1 key with 1 version");
    assert_eq!(ran.err, "");
    assert!(world.home_content() == before, "changed");
    let json = world.sobre("vault check customer --json").json();
    let vault = &json["vaults"][0];
    assert_eq!((&vault["ok"], &vault["state"]["authenticated"]), (&true.into(), &true.into()));
    assert_eq!((&vault["rights"]["unwrap"], &vault["rights"]["recover"]), (&true.into(), &true.into()));
    assert_eq!((&vault["state"]["purge_protection"], &vault["warnings"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(json["vaults"].as_array().expect("a list").len(), 1);
}

#[test]
fn warnings_name_what_needs_attention_and_leave_the_exit_code() {
    let world = World::double();
    let soon = "key update customer/default --expires 2999-01-01";
    world.sobre(soon).code(0);
    world.sobre("vault check customer").code(0).warns("it was never backed up").silent_on("expires on");
    world.sobre("key create near --size 2048").code(0);
    let near = near_future();
    world.sobre(&format!("key update near --expires {near}")).code(0);
    world.sobre("key policy near --notify-before P30D").code(0);
    let ran = world.sobre("vault check customer");
    ran.code(0)
        .warns(&format!("warning: vault 'customer': key customer/near@1 expires on {near}"))
        .warns("key customer/near@1: its policy wants you to know since");
    let json = world.sobre("vault check customer --json").json();
    let kinds: Vec<_> = json["vaults"][0]["warnings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|warning| warning["kind"].clone())
        .collect();
    assert_eq!(kinds, ["backup_outdated", "near_expiry", "notify_due"]);
    world.sobre("key update near --expires 2020-01-01").code(0);
    world.sobre("vault check").code(0).warns("key customer/near@1 expired on 2020-01-01T00:00:00Z");
    world.sobre("vault create loose --no-purge-protection").code(0);
    world.sobre("vault check loose").code(0).warns("deleted keys can be purged at once");
}

/// Ten days from now.
fn near_future() -> String {
    sobre::clock::Clock::now(&SystemClock).plus(10 * 86_400).to_string()
}

#[test]
fn a_role_is_shown_with_the_rights_that_it_has_not() {
    let world = World::double();
    for (role, has, lacks) in [
        ("run-time", "get, wrap, unwrap", "list, backup, administer, recover"),
        ("backup", "get, list, backup", "wrap, unwrap, administer, recover"),
        ("administrator", "get, list, administer", "wrap, unwrap, backup, recover"),
        ("recovery", "get, list, recover", "wrap, unwrap, backup, administer"),
    ] {
        let ran = world.sobre(&format!("vault check customer --role {role}"));
        ran.code(0).prints(&format!("the role '{role}' may {has}; it may not {lacks}"));
        assert_eq!(ran.err.contains("no key was looked at"), role == "run-time", "{ran:?}");
        let json = world.sobre(&format!("vault check customer --role {role} --json")).json();
        assert_eq!(json["vaults"][0]["rights"]["backup"], role == "backup");
    }
}

#[test]
fn vaults_that_can_t_be_used_end_with_their_own_exit_code() {
    World::fresh().sobre("vault check").code(10).warns("there are no vaults yet");
    let world = World::double();
    world.sobre("vault check nope").code(10).warns("no vault 'nope'");
    let key_file = world.path("sobre/vaults/customer.db.key");
    let mode = |mode| std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(mode)).expect("sets");
    mode(0o644);
    world.sobre("vault check customer").code(1).warns("customer.db.key");
    // The others are looked at all the same.
    let ran = world.sobre("vault check");
    ran.code(3).prints("vault 'platform': 1 key").warns("customer.db.key").warns("1 of 2 vaults failed");
    mode(0o600);
    let json = world.sobre("vault check --json").json();
    assert_eq!(json["vaults"][0]["ok"], true);
    let away = world.path("away.key");
    std::fs::rename(&key_file, &away).expect("moves");
    world.sobre("vault check customer").code(10).warns("customer.db.key");
    std::fs::rename(&away, &key_file).expect("moves");
    let connection = rusqlite::Connection::open(world.database("customer")).expect("opens");
    connection.execute_batch("UPDATE versions SET state = 2").expect("changes");
    drop(connection);
    world.sobre("vault check customer").code(13).warns("customer.db");
    std::fs::remove_file(world.database("customer")).expect("removes");
    let json = world.sobre("vault check --json");
    json.code(3);
    assert_eq!(
        (&json.json()["vaults"][0]["ok"], &json.json()["vaults"][0]["error"]["exit_code"]),
        (&false.into(), &10.into())
    );
}

#[test]
fn a_passphrase_that_is_not_given_is_no_failure_and_a_wrong_one_is() {
    let world = World::double();
    world.write("new", "correct horse\n");
    world.write("wrong", "battery\n");
    world.sobre("vault passphrase --vault customer --new-passphrase-file new").code(0);
    world
        .sobre("vault check customer")
        .code(0)
        .prints("no damage, a passphrase")
        .warns("its records were read but not authenticated");
    world.sobre("vault check customer --passphrase-file wrong").code(12);
    world.sobre("vault check customer --passphrase-file new").code(0).prints("every record authentic, a passphrase");
}

#[test]
fn a_customers_key_in_the_platforms_vault_is_found() {
    let world = World::double();
    let file = format!("{}/vectors/keys/test-rsa2048.pkcs8.pem", env!("CARGO_MANIFEST_DIR"));
    world.run(["key", "import", &file, "mine"]).code(0);
    world.sobre("vault check platform").code(0).silent_on("is the customer's key");
    let clock = Arc::new(SystemClock);
    let vault = EmbeddedVault::open(VaultSettings {
        path: world.database("platform"),
        name: "platform".parse().expect("a name"),
        owner: Owner::Platform,
        role: None,
        passphrase: Arc::new(Nobody),
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
    })
    .expect("opens");
    let key = Importer::new().read(&SecretBytes::taken_from(std::fs::read(file).expect("reads"))).expect("a key");
    let cx = OpContext::new(clock, Duration::from_secs(30));
    vault.import(&"stolen".parse().expect("a name"), &key.private, &cx).expect("imports");
    drop(vault);
    world
        .sobre("vault check platform")
        .code(0)
        .warns("platform/stolen@1 is the customer's key customer/mine@1: what the platform's vault may open");
}
