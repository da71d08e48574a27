//! What the audit log says of the commands: every operation on a key, every refusal, and no secret.

use serde_json::Value;
use sobre::provider::{KeyProvider, OpContext, PemFiles, WrappedKey};

use super::world::{World, disk, private_key, public_key};

/// A home with a customer's key `k`, the platform's key, and a small disk.
fn world() -> World {
    let world = World::double();
    world.write("small.img", [5; 70_000]);
    world.sobre("key create k --size 2048").code(0);
    world
}

/// The records since `begin` records, as operation, outcome and properties.
fn since(world: &World, begin: usize) -> Vec<(String, String, Value)> {
    let shown = world.sobre("audit show --json").code(0).json();
    let records = shown["records"].as_array().expect("a list").iter().skip(begin);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    records
        .map(|record| {
            let properties = record["properties"].clone();
            (text(&record["operationName"]), text(&record["resultSignature"]), properties)
        })
        .collect()
}

fn count(world: &World) -> usize {
    since(world, 0).len()
}

#[track_caller]
fn only<'a>(records: &'a [(String, String, Value)], operation: &str, outcome: &str) -> &'a Value {
    let found: Vec<_> = records.iter().filter(|(name, how, _)| name == operation && how == outcome).collect();
    match found.as_slice() {
        [(_, _, properties)] => properties,
        _ => panic!("not one {operation} {outcome}: {records:#?}"),
    }
}

#[test]
fn a_seal_an_open_and_a_rewrap_name_the_snapshot() {
    let world = world();
    let begin = count(&world);
    let id = world.sobre("seal small.img a.sobre --key k --json").code(0).json()["id"].clone();
    let begin = {
        let sealed = since(&world, begin);
        let wrap = only(&sealed, "KeyWrap", "OK");
        assert_eq!((&wrap["snapshot"], &wrap["layer"], &wrap["key"]), (&id, &1.into(), &"customer/k@1".into()));
        begin + sealed.len()
    };
    world.sobre("open a.sobre out").code(0);
    let opened = since(&world, begin);
    assert_eq!(only(&opened, "KeyUnwrap", "OK")["snapshot"], id);
    let begin = begin + opened.len();
    world.run(["rewrap", "a.sobre", "--add", &public_key()]).code(0);
    let added = since(&world, begin);
    let rewrap = only(&added, "SnapshotRewrap", "OK");
    assert_eq!((&rewrap["snapshot"], &rewrap["layer"]), (&id, &1.into()));
    assert_eq!(rewrap["thumbprint"], only(&added, "KeyWrap", "OK")["thumbprint"]);
    let begin = begin + added.len();
    // A key that goes leaves no wrap behind: that it begins is on record first.
    world.run(["rewrap", "a.sobre", "--remove", &public_key()]).code(0);
    let removed = since(&world, begin);
    assert_eq!(only(&removed, "SnapshotRewrap", "Started")["thumbprint"], rewrap["thumbprint"]);
    assert_eq!(only(&removed, "SnapshotRewrap", "OK")["snapshot"], id);
    world.sobre("audit verify").code(0);
}

#[test]
fn every_layer_of_double_encryption_is_recorded_with_its_number() {
    let world = world();
    let begin = count(&world);
    world.sobre("open d.sobre out").code(0);
    let mut layers: Vec<_> = since(&world, begin)
        .into_iter()
        .filter(|(name, ..)| name == "KeyUnwrap")
        .map(|(_, _, properties)| properties["layer"].as_u64().expect("a number"))
        .collect();
    layers.sort_unstable();
    assert_eq!(layers, [1, 2]);
}

#[test]
fn a_refusal_before_a_vault_is_asked_is_recorded_too() {
    let world = world();
    world.sobre("seal small.img k.sobre --key k").code(0);
    for (change, words, operation, outcome) in [
        ("key update k --expires 2021-01-01", "seal small.img n.sobre --key k", "KeyWrap", "Expired"),
        ("key update k --expires 2099-01-01", "open k.sobre n --key platform/default", "KeyUnwrap", "NotFound"),
        (
            "key update k --not-before 2090-01-01",
            "seal small.img n.sobre --key k --label a=b",
            "KeyWrap",
            "NotYetValid",
        ),
        ("key update k --not-before none", "rewrap k.sobre --to platform/default", "SnapshotRewrap", "Denied"),
        ("key disable k --accept-loss", "seal small.img n.sobre --key k", "KeyWrap", "Disabled"),
        ("key enable k", "set create s --type customer --key platform/default", "SetCreate", "Denied"),
        ("key update k --delete-lock on", "key delete k --accept-loss -y", "KeyDelete", "Protected"),
        ("key update k --delete-lock off", "key delete k -y", "KeyDelete", "Protected"),
        ("key delete k --accept-loss -y", "key purge k --accept-loss -y", "KeyPurge", "Protected"),
        ("key recover k", "key purge k --accept-loss -y", "KeyPurge", "Unsupported"),
        ("key enable k", "key create more --vault platform", "KeyCreate", "Denied"),
    ] {
        world.sobre(change).code(0);
        let begin = count(&world);
        let ran = world.sobre(words);
        assert_ne!(ran.code, Some(0), "{words}");
        let records = since(&world, begin);
        let failure = only(&records, operation, outcome);
        assert!(failure["key"].is_string() || operation == "SetCreate", "{words}: {failure}");
        let named = matches!(operation, "KeyWrap" | "KeyUnwrap" | "SnapshotRewrap");
        assert_eq!(failure["snapshot"].is_string(), named, "{words}: {failure}");
        let failed = world.sobre("audit show --failed");
        failed.code(0).prints(operation).prints(outcome);
    }
    // What would be refused is no refusal.
    let begin = count(&world);
    world.sobre("key delete k -n").code(14);
    assert!(since(&world, begin).iter().all(|(name, ..)| name == "KeyGet"));
}

#[test]
fn an_accepted_loss_is_on_record() {
    let world = world();
    world.sobre("seal small.img k.sobre --key k").code(0);
    world.sobre("key disable k").code(14);
    world.sobre("key disable k --accept-loss").code(0);
    let disabled = since(&world, 0).into_iter().rev().find(|(name, ..)| name == "KeyUpdate").expect("a record");
    assert_eq!((&disabled.1[..], &disabled.2["acceptedLoss"]), ("OK", &true.into()));
    world.sobre("key enable k").code(0);
    let enabled = since(&world, 0).into_iter().rev().find(|(name, ..)| name == "KeyUpdate").expect("a record");
    assert_eq!(enabled.2["acceptedLoss"], Value::Null);
}

#[test]
fn a_key_that_the_operator_chose_over_another_is_on_record() {
    let world = world();
    world.run(["seal", "small.img", "k.sobre", "--key", "k", "--key", &public_key()]).code(0);
    let begin = count(&world);
    world.sobre("open k.sobre out").code(0);
    world.run(["open", "k.sobre", "out", "--force", "--key", &private_key()]).code(0);
    let chosen: Vec<_> = since(&world, begin)
        .into_iter()
        .filter(|(name, ..)| name == "KeyUnwrap")
        .map(|(_, _, properties)| properties["overridden"].as_bool().unwrap_or(false))
        .collect();
    assert_eq!(chosen, [false, true]);
}

#[test]
fn everything_that_happens_to_a_set_is_recorded() {
    let world = world();
    world.sobre("key create l --size 2048").code(0);
    let begin = count(&world);
    world.sobre("set create prod --type customer --key k -n").code(0);
    assert!(since(&world, begin).iter().all(|(name, ..)| name == "KeyGet"), "a dry run changes nothing");
    world.sobre("set create prod --type customer --key k").code(0);
    world.sobre("set create prod --type customer --key k").code(1);
    world.sobre("set update prod --location weu").code(0);
    world.sobre("set link prod l").code(0);
    world.sobre("set unlink prod l").code(0);
    world.sobre("set update prod --key l").code(0);
    let id = world.sobre("seal --set prod small.img a.sobre --json").code(0).json()["id"].clone();
    world.sobre("set rotate prod").code(0);
    world.sobre("set delete prod").code(2);
    world.sobre("set delete prod --yes").code(0);
    let records = since(&world, begin);
    let sets: Vec<_> = records.iter().filter(|(name, ..)| name.starts_with("Set")).collect();
    for (_, _, properties) in &sets {
        assert_eq!(properties["set"], "prod");
    }
    let ended: Vec<_> =
        sets.iter().map(|(name, how, _)| (name.as_str(), how.as_str())).filter(|(_, how)| *how != "Started").collect();
    assert_eq!(
        ended,
        [
            ("SetCreate", "OK"),
            ("SetCreate", "Exists"),
            ("SetUpdate", "OK"),
            ("SetLink", "OK"),
            ("SetUnlink", "OK"),
            ("SetUpdate", "OK"),
            ("SetRotate", "OK"),
            ("SetDelete", "Protected"),
            ("SetDelete", "OK"),
        ]
    );
    assert_eq!(sets.len(), 2 * ended.len(), "each began on record");
    let of = |operation: &str| {
        let found = records.iter().rev().find(|(name, how, _)| name == operation && how == "OK");
        found.map(|(_, _, properties)| properties.clone()).expect("a record")
    };
    assert_eq!(of("SetCreate")["key"], "customer/k@1");
    let protector = of("SetUpdate");
    assert_eq!(protector["key"], "customer/l@1");
    assert_eq!(protector["thumbprint"], of("SetCreate")["thumbprint"], "what it was");
    assert!(protector["successor"].is_string() && protector["successor"] != protector["thumbprint"]);
    let rotated = of("SetRotate");
    assert_eq!((&rotated["key"], &rotated["items"]), (&"customer/l@2".into(), &1.into()));
    let rewrapped = of("SnapshotRewrap");
    assert_eq!((&rewrapped["snapshot"], &rewrapped["thumbprint"]), (&id, &rotated["successor"]));
    world.sobre("audit show --key customer/l").code(0).prints("set prod");
}

#[test]
fn a_set_whose_vault_gives_other_material_is_suspicious() {
    let world = world();
    world.sobre("vault create loose --no-purge-protection --retention-days 7").code(0);
    world.sobre("key create k --size 2048 --vault loose").code(0);
    world.sobre("set create prod --type customer --key loose/k").code(0);
    // Somebody puts another key under the same name.
    world.sobre("key delete loose/k --accept-loss -y").code(0);
    world.sobre("key purge loose/k --accept-loss -y").code(0);
    world.sobre("key create k --size 2048 --vault loose").code(0);
    let begin = count(&world);
    world.sobre("seal --set prod small.img a.sobre").code(14).warns("nothing was sealed");
    assert!(!world.has("a.sobre"));
    let records = since(&world, begin);
    let found = only(&records, "KeyGet", "Lying");
    assert_eq!((&found["set"], &found["key"]), (&"prod".into(), &"loose/k@1".into()));
}

#[test]
fn a_key_that_expires_soon_is_on_record_when_it_seals() {
    let world = world();
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after").as_secs() + 864_000;
    let soon = sobre::clock::UnixTime(soon).to_string();
    world.sobre(&format!("key update k --expires {soon}")).code(0);
    for name in ["a.sobre", "b.sobre"] {
        world.sobre(&format!("seal small.img {name} --key k")).code(0);
    }
    let records = since(&world, 0);
    // Once a day.
    assert_eq!(only(&records, "KeyNearExpiry", "OK")["until"], soon);
}

#[test]
fn what_a_whole_session_says_and_records_has_no_secret() {
    let world = World::fresh();
    let passphrase = "correct horse battery staple 7";
    world.write("passphrase", format!("{passphrase}\n"));
    world.write("small.img", [5; 70_000]);
    let mut said = Vec::new();
    let pem = private_key();
    let pem = pem.trim_start_matches("file:");
    let disk = disk();
    for words in [
        "vault create mine",
        "key create k --size 2048 -v",
        &format!("key import {pem} imported -v"),
        "vault passphrase mine --passphrase-file passphrase",
        "seal small.img a.sobre --key k -v --passphrase-file passphrase",
        "seal small.img b.sobre --key imported -v --passphrase-file passphrase --json",
        "seal small.img e.sobre --key imported -v --passphrase-file passphrase",
        "open e.sobre out -v --passphrase-file passphrase",
        "open a.sobre out -v --passphrase-file passphrase",
        "open a.sobre out2 --passphrase-file small.img",
        "verify b.sobre --passphrase-file passphrase",
        "inspect a.sobre b.sobre --json",
        "set create prod --type customer --key k --passphrase-file passphrase",
        "seal --set prod small.img c.sobre --passphrase-file passphrase",
        "set rotate prod --passphrase-file passphrase --json",
        "key rotate imported --passphrase-file passphrase",
        "rewrap b.sobre --to imported --passphrase-file passphrase",
        &format!("key backup k k.key --to {} --passphrase-file passphrase", public_key()),
        &format!("key export k k.byok --byok {} -y --passphrase-file passphrase", public_key()),
        &format!("vault backup all --to {} --passphrase-file passphrase", public_key()),
        &format!("key restore k.key --key file:{pem} --passphrase-file passphrase"),
        "key disable imported --accept-loss --passphrase-file passphrase",
        "open b.sobre out3 --passphrase-file passphrase",
        "key list --json --passphrase-file passphrase",
        "preflight a.sobre b.sobre c.sobre --json --challenge --passphrase-file passphrase",
        "key delete imported --accept-loss -y --passphrase-file passphrase",
        "config show",
        "audit show --json --passphrase-file passphrase",
        "audit show --passphrase-file passphrase",
        "audit verify --passphrase-file passphrase",
    ] {
        let ran = world.sobre(words);
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
        said.extend_from_slice(&ran.stdout);
        said.extend_from_slice(ran.err.as_bytes());
    }
    assert!(disk.exists());
    for file in ["audit/audit.jsonl", "config.toml"] {
        said.extend(world.read(format!("sobre/{file}")));
    }
    assert!(said.len() > 20_000, "little was said: {}", said.len());
    // The private parts of the key that was imported, from the test's own reading of the file.
    let text = std::fs::read_to_string(pem).expect("reads");
    let body: String = text.lines().filter(|line| !line.starts_with("--")).collect();
    let der = base64(&body);
    let mut secrets: Vec<Vec<u8>> = vec![passphrase.as_bytes().to_vec()];
    // Behind the public numbers of PKCS#8, RSA-2048: every window of 24 bytes is private.
    secrets.extend((330..der.len() - 24).step_by(24).map(|at| der[at..at + 24].to_vec()));
    let dek = dek(&world, "e.sobre", pem);
    assert!(dek.len() >= 96, "{}", dek.len());
    secrets.extend(dek.chunks_exact(24).map(<[u8]>::to_vec));
    let audit_key = world.read("sobre/audit/audit.key");
    secrets.push(audit_key[16..48].to_vec());
    for secret in &secrets {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = vec![secret.clone(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
        // Base64 begins anew every three bytes: what stands at any of the three places shows in one of these.
        for shift in 0..3 {
            let whole = &secret[shift..];
            let text = to_base64(&whole[..whole.len() / 3 * 3]);
            forms.push(text.replace('+', "-").replace('/', "_").into_bytes());
            forms.push(text.into_bytes());
        }
        for form in forms {
            assert!(!said.windows(form.len()).any(|window| window == form), "{} is told", hex);
        }
    }
}

/// Unwraps what the DEK of a snapshot is derived from.
fn dek(world: &World, snapshot: &str, pem: &str) -> Vec<u8> {
    let mut files = PemFiles::new();
    let key = files.add(pem.as_ref()).expect("a key");
    let found = sobre::engine::inspect(&world.read(snapshot)).expect("a snapshot");
    let entry = &found.sections[0].entries[0];
    let wrapped = WrappedKey {
        thumbprint: key.thumbprint,
        id: key.id,
        algorithm: entry.usable().expect("known"),
        ciphertext: entry.ciphertext.clone(),
    };
    files.unwrap_key(&wrapped, &OpContext::default()).expect("unwraps").expose().to_vec()
}

fn base64(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(text).expect("base64")
}

fn to_base64(bytes: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(bytes)
}
