//! Keys that come from files of other tools and go into such files.

use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

use super::world::{Ran, World, assert_disk, disk, key_file, private_key, public_key};

/// A file of `vectors/`.
fn vector(name: &str) -> String {
    format!("{}/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A folder without a home, with the passphrase of the test files in `pass`, another one in `wrong`, and `k.sobre`, which
/// `test-rsa2048` opens.
fn outside() -> World {
    static SEALED: OnceLock<Vec<u8>> = OnceLock::new();
    let sealed = SEALED.get_or_init(|| {
        let world = World::fresh();
        world.run(["seal", disk().to_str().expect("text"), "k.sobre", "--key", &public_key()]).code(0);
        world.read("k.sobre")
    });
    let world = World::fresh();
    world.write("pass", "sobre-test\n");
    world.write("wrong", "sobre-tesT\n");
    world.write("k.sobre", sealed);
    world
}

fn import(world: &World, file: &str, more: &str) -> Ran {
    let words = ["key", "import", file, "k"].into_iter().chain(more.split_whitespace());
    world.run(words)
}

#[test]
fn every_format_comes_in_and_opens_what_the_same_key_has_sealed() {
    let passphrase = "--import-passphrase-file pass";
    for (file, more, format) in [
        ("keys/test-rsa2048.pkcs8.pem", "", "pem"),
        ("keys/test-rsa2048.pkcs1.pem", "", "pem"),
        ("keys/test-rsa2048.pkcs8-encrypted.pem", passphrase, "pem"),
        ("imports/pkcs8.der", "", "der"),
        ("imports/pkcs1.der", "", "der"),
        ("imports/pbes2-scrypt.der", passphrase, "der"),
        ("imports/modern.pfx", passphrase, "pfx"),
        ("imports/legacy.pfx", passphrase, "pfx"),
        ("imports/rsa2048.jwk", "", "jwk"),
    ] {
        let world = outside();
        let ran = import(&world, &vector(file), &format!("{more} --json"));
        ran.code(0);
        assert_eq!(ran.json()["format"], format, "{file}");
        world.sobre("open k.sobre out").code(0);
        assert_disk(&world, "out");
        let again = import(&world, &vector(file), more);
        again.code(1).warns("vault 'customer' has a key k already");
        world
            .run(["key", "import", &vector(file), "other"].into_iter().chain(more.split_whitespace()))
            .code(1)
            .warns("the same key is there already, as customer/k@1");
    }
}

#[test]
fn wrong_passphrases_and_damage_are_one_refusal() {
    let world = outside();
    for (file, noun) in [
        ("imports/modern.pfx", "PFX file"),
        ("imports/legacy.pfx", "PFX file"),
        ("imports/no-mac.pfx", "PFX file"),
        ("imports/pbes2-sha256-aes256.der", "DER key"),
        ("keys/test-rsa2048.pkcs8-encrypted.pem", "PEM file"),
    ] {
        let mut told = BTreeSet::new();
        world.write("empty", "\n");
        let wrong = import(&world, &vector(file), "--import-passphrase-file wrong");
        wrong.code(12);
        told.insert(wrong.err.replace(&vector(file), "FILE"));
        if !file.ends_with("pem") {
            let mut bytes = fs::read(vector(file)).expect("reads");
            bytes[700] ^= 0x10;
            let damaged = world.write("damaged", bytes);
            let ran = import(&world, damaged.to_str().expect("text"), "--import-passphrase-file pass");
            ran.code(12);
            told.insert(ran.err.replace(damaged.to_str().expect("text"), "FILE"));
        }
        let expected = format!("sobre: FILE: the passphrase is wrong, or the {noun} is damaged\n");
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [expected], "{file}");
        import(&world, &vector(file), "").code(12).warns("--import-passphrase-file");
    }
    assert!(!world.has("sobre/config.toml"), "no home was made for nothing");
}

#[test]
fn other_files_are_refused_with_their_reason() {
    let world = outside();
    let passphrase = "--import-passphrase-file pass";
    for (file, more, code, reason) in [
        ("keys/test-ec-p256.pkcs8.pem", "", 1, "the key is for EC; only RSA keys can wrap"),
        ("imports/ec.pfx", passphrase, 1, "the key is for EC; only RSA keys can wrap"),
        ("keys/test-ed25519.pkcs8.pem", "", 1, "the key is for Ed25519"),
        ("keys/test-rsapss2048.pkcs8.pem", "", 1, "the key is for RSA-PSS"),
        ("keys/test-rsa1024.pkcs8.pem", "", 1, "RSA keys must have 2048, 3072 or 4096 bits, not 1024"),
        ("keys/test-rsa2056.pkcs8.pem", "", 1, "not 2056"),
        ("keys/test-rsa2048-three-primes.pkcs8.pem", "", 1, "three primes or more"),
        ("keys/test-rsa2048-e3.pkcs8.pem", "", 1, "the public exponent must be odd, at least 65537"),
        ("imports/composite-prime.der", "", 1, "the numbers of the private key do not belong together"),
        ("keys/test-rsa2048.spki.pem", "", 1, "only the public half"),
        ("keys/test-key-and-certificate.pem", "", 1, "the key belongs to a certificate"),
        ("imports/modern-certificate.pfx", passphrase, 1, "the key belongs to a certificate"),
        ("imports/legacy-certificate.pfx", passphrase, 1, "--discard-certificates"),
        ("imports/legacy-rc4.pfx", passphrase, 1, "SHA-1 and RC4-128"),
        ("imports/two-keys.pfx", "", 1, "there are 2 private keys"),
        ("imports/cost-scrypt-memory.der", passphrase, 1, "costs too much"),
        ("imports/python.byok", "", 1, "--target KEY"),
        ("keys/test-truncated-body.pem", "", 1, "malformed"),
        ("keys/nothing.pem", "", 10, "No such file"),
        ("disks/ext4.img", "", 1, "too many for a key file"),
    ] {
        import(&world, &vector(file), more).code(code).warns(reason);
    }
    import(&world, &vector("imports/pkcs8.der"), "--format pfx").code(1).warns("not a PFX file, but a DER key");
    assert!(!world.has("sobre/config.toml"), "nothing was made");
}

#[test]
fn exponents_that_are_even_and_numbers_that_disagree_are_refused() {
    let world = outside();
    let text = fs::read_to_string(vector("imports/rsa2048.jwk")).expect("reads");
    let jwk: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (member, value, reason) in [
        ("e", "AQAA".to_owned(), "the public exponent must be odd"),
        ("e", "AQ".to_owned(), "the public exponent must be odd"),
        ("dp", jwk["dq"].as_str().expect("text").to_owned(), "do not belong together"),
        ("p", jwk["q"].as_str().expect("text").to_owned(), "do not belong together"),
        ("d", jwk["n"].as_str().expect("text").to_owned(), "do not belong together"),
        ("use", "sig".to_owned(), "does not allow unwrapping"),
    ] {
        let mut other = jwk.clone();
        other[member] = value.into();
        world.write("k.jwk", other.to_string());
        import(&world, "k.jwk", "").code(1).warns(reason);
    }
    world.write("k.jwk", format!("{text}{{}}"));
    import(&world, "k.jwk", "").code(1).warns("something follows the JWK");
    let pem = fs::read_to_string(vector("keys/test-rsa2048.pkcs8.pem")).expect("reads");
    world.write("k.pem", format!("{pem}more"));
    import(&world, "k.pem", "").code(1).warns("something follows the PEM file");
    let der = fs::read(vector("imports/pkcs8.der")).expect("reads");
    world.write("k.der", [der, vec![0]].concat());
    import(&world, "k.der", "").code(1).warns("something follows the DER key");
}

#[test]
fn a_key_goes_from_home_to_home_as_byok() {
    let world = outside();
    import(&world, &vector("imports/pkcs8.der"), "").code(0);
    let target = key_file("test-rsa3072.spki.pem");
    let export = format!("key export k k.byok --byok {target} --kid https://v.vault.azure.net/keys/t/1");
    world.sobre(&export).code(2).warns("there is no terminal").warns("--yes");
    world.sobre(&format!("{export} -n")).code(0).prints("would export customer/k@1");
    assert!(!world.has("k.byok"));
    world.sobre(&format!("{export} -y --role backup")).code(14).warns("no right 'administer'");
    world.sobre(&format!("{export} -y --role administrator")).code(14).warns("no right 'backup'");
    world.sobre(&format!("{export} -y")).code(0).prints("wrote customer/k@1 to k.byok");
    world.sobre(&format!("{export} -y")).code(1).warns("exists already");
    let file: serde_json::Value = serde_json::from_slice(&world.read("k.byok")).expect("JSON");
    assert_eq!(file["header"]["kid"], "https://v.vault.azure.net/keys/t/1");
    assert_eq!(file["header"]["enc"], "CKM_RSA_AES_KEY_WRAP");
    let other = outside();
    other.write("k.byok", world.read("k.byok"));
    import(&other, "k.byok", "").code(1).warns("https://v.vault.azure.net/keys/t/1").warns("--target KEY");
    import(&other, "k.byok", &format!("--target {}", private_key())).code(12).warns("written for another key");
    import(&other, "k.byok", &format!("--target {target}")).code(1);
    import(&other, "k.byok", &format!("--target {}", key_file("test-rsa3072.pkcs8.pem"))).code(0);
    other.sobre("open k.sobre out").code(0);
    assert_disk(&other, "out");
    world.sobre("key disable k --accept-loss").code(0);
    world.sobre(&format!("{export} -y --force")).code(14).warns("is disabled");
}

#[test]
fn copies_of_keys_that_are_not_ours_or_not_whole_are_told_apart() {
    let world = outside();
    for blob in ["&AzureKeyVaultKeyBackupV1.microsoft.com...", "JkF6dXJlS2V5VmF1bHRLZXlCYWNrdXBWMS5taWNyb3NvZnQuY29t"] {
        world.write("azure.blob", blob);
        import(&world, "azure.blob", "").code(1).warns("which only Key Vault can restore");
        let restore = world.sobre("key restore azure.blob --passphrase-file pass");
        restore.code(1).warns("azure.blob: this is a Key Vault backup, which only Key Vault can restore");
    }
    import(&world, &vector("imports/pkcs8.der"), "").code(0);
    world.sobre(&format!("key backup k k.key --to {}", key_file("test-rsa3072.spki.pem"))).code(0);
    import(&world, "k.key", "").code(1).warns("this is a backup made by sobre").warns("sobre key restore");
    let good = world.read("k.key");
    let restore = |bytes: &[u8]| {
        let other = outside();
        other.sobre("vault create customer").code(0);
        other.write("k.key", bytes);
        let ran = other.sobre(&format!("key restore k.key --key {}", key_file("test-rsa3072.pkcs8.pem")));
        (other, ran)
    };
    let mut newer = good.clone();
    newer[20] = 2;
    restore(&newer).1.code(1).warns("newer");
    let mut damaged = good.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for bytes in [&damaged[..], &good[..good.len() - 1], &good[..100], &good[..10], b"", &[&good[..], b"x"].concat()] {
        let (other, ran) = restore(bytes);
        ran.code(13);
        other.sobre("key list").code(0).prints("there are no keys");
    }
    let (other, ran) = restore(&good);
    ran.code(0).prints("restored customer/k with 1 version");
    other.sobre("open k.sobre out").code(0);
    let again = other.sobre(&format!("key restore k.key --key {}", key_file("test-rsa3072.pkcs8.pem")));
    again.code(1).warns("has a key k already");
}
