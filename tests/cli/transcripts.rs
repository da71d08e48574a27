//! Whole conversations, compared with `tests/cmd/*.txt`. `SNAPSHOTS=overwrite cargo test --test cli` writes them anew.

use super::world::{World, disk};

/// Runs command lines one after the other and writes down what a person sees, without what differs from run to run.
fn transcript(world: &World, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let words = line.split_whitespace().map(|word| {
            let word = word.replace("DISK", &disk().display().to_string());
            word.replace("KEYS/", &vectors("keys")).replace("IMPORTS/", &vectors("imports"))
        });
        let ran = world.run(words);
        let code = ran
            .code
            .map_or_else(String::new, |code| if code == 0 { String::new() } else { format!("[exit {code}]\n") });
        text.push_str(&format!("$ sobre {line}\n{}{}{code}\n", ran.out, ran.err));
    }
    let text = text.replace(&disk().display().to_string(), "DISK");
    let text = text.replace(&vectors("keys"), "KEYS/").replace(&vectors("imports"), "IMPORTS/");
    let here = world.path("").display().to_string();
    redact(&text.replace(&here, "/here/").replace(here.trim_end_matches('/'), "/here"))
}

/// A folder of `vectors`.
fn vectors(name: &str) -> String {
    format!("{}/vectors/{name}/", env!("CARGO_MANIFEST_DIR"))
}

/// Replaces hashes, thumbprints and times.
fn redact(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let word = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
        if hex >= 32 && hex == word {
            result.push_str("[HEX]");
            rest = &rest[hex..];
        } else if let Some(after) = rest.strip_prefix("jkt:") {
            let len = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
            result.push_str(if len >= 12 { "jkt:[JKT]" } else { "jkt:" });
            rest = if len >= 12 { &after[len..] } else { after };
        } else if rest.len() >= 20 && rest.is_char_boundary(20) && is_time(&rest[..20]) {
            result.push_str("[TIME]");
            rest = &rest[20..];
        } else {
            // A whole word at once, so that no piece of it is taken for something else.
            let len = word.max(first.len_utf8());
            result.push_str(&rest[..len]);
            rest = &rest[len..];
        }
    }
    result
}

fn is_time(text: &str) -> bool {
    text.bytes().zip(b"0000-00-00T00:00:00Z").all(
        |(byte, &form)| {
            if form == b'0' { byte.is_ascii_digit() } else { byte == form }
        },
    )
}

#[track_caller]
fn compare(actual: String, expected: snapbox::Data) {
    snapbox::Assert::new().action_env("SNAPSHOTS").eq(actual, expected.raw());
}

#[test]
fn the_first_day() {
    let world = World::fresh();
    world.write("pass", "correct horse\n");
    let actual = transcript(
        &world,
        &[
            "seal DISK disk.sobre --label host=web1",
            "key list",
            "vault list",
            "vault backup keys.backup --passphrase-file pass",
            "vault list",
            "seal DISK again.sobre",
            "inspect disk.sobre",
            "verify disk.sobre again.sobre",
            "verify --keyless disk.sobre",
            "open disk.sobre restored.img",
            "open disk.sobre restored.img",
            "open disk.sobre part.img --range 1M:4K",
            "config show",
        ],
    );
    compare(actual, snapbox::file!["../cmd/first-day.txt"]);
}

#[test]
fn two_keys_and_their_changes() {
    let world = World::double();
    let actual = transcript(
        &world,
        &[
            "inspect d.sobre",
            "key rotate customer/default",
            "rewrap d.sobre --to customer/default",
            "rewrap d.sobre --layer platform --add platform/default",
            "rewrap d.sobre --remove customer/default@1",
            "rewrap d.sobre --to platform/default",
            "key show default",
            "key show customer/default@2",
        ],
    );
    compare(actual, snapbox::file!["../cmd/two-keys.txt"]);
}

#[test]
fn a_key_disabled_deleted_and_recovered() {
    let world = World::double();
    // The world is a copy, of which the catalogue knows the original.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(world.home().join(name));
    }
    world.write("pass", "correct horse\n");
    let actual = transcript(
        &world,
        &[
            "catalog add .",
            "verify d.sobre s.sobre",
            "preflight d.sobre s.sobre",
            "key impact customer/default",
            "key rotate customer/default",
            "key disable customer/default@1",
            "key disable customer/default@1 --accept-loss",
            "preflight d.sobre s.sobre",
            "open s.sobre out.img",
            "key enable customer/default@1",
            "key update customer/default --expires 2031-12-24",
            "key policy customer/default --rotate-every P1Y --notify-before P30D",
            "key update customer/default --delete-lock on",
            "key delete customer/default --accept-loss --yes",
            "key update customer/default --delete-lock off",
            "key delete customer/default --accept-loss --dry-run",
            "key delete customer/default --accept-loss",
            "key delete customer/default --accept-loss --yes",
            "key list",
            "key list --deleted",
            "open s.sobre out.img",
            "key purge customer/default --accept-loss --yes",
            "key recover customer/default",
            "open s.sobre out.img",
            "key show customer/default",
            "key backup customer/default default.key --passphrase-file pass",
            "key restore default.key --passphrase-file pass",
            "key rotate customer/default --role run-time",
        ],
    );
    compare(actual, snapbox::file!["../cmd/key-life.txt"]);
}

#[test]
fn mistakes() {
    let world = World::single();
    world.write("junk", "junk");
    let actual = transcript(
        &world,
        &[
            "open s.sobre",
            "open missing out",
            "open junk out",
            "open s.sobre out --key nope",
            "open s.sobre out --key nope/default",
            "open s.sobre out --key https://v.vault.azure.net/keys/k",
            "open s.sobre - --json",
            "seal DISK s.sobre",
            "seal DISK n.sobre --sector-size 1000",
            "seal DISK n.sobre --double",
            "seal DISK n.sobre --resume",
            "vault restore missing",
            "verify s.sobre junk",
            "key create mine",
        ],
    );
    compare(actual, snapbox::file!["../cmd/mistakes.txt"]);
}

#[test]
fn the_page_and_the_table() {
    let world = World::fresh();
    compare(transcript(&world, &["--help", "help exit-codes"]), snapbox::file!["../cmd/help.txt"]);
}

#[test]
fn snapshots_that_are_known() {
    let world = World::single();
    std::fs::create_dir(world.path("backups")).expect("makes");
    world.write("backups/junk.sobre", "junk");
    // The world is a copy, of which the catalogue knows the original.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(world.home().join(name));
    }
    let actual = transcript(
        &world,
        &[
            "catalog list",
            "seal DISK backups/a.sobre",
            "catalog add backups",
            "catalog list --key platform/default",
            "catalog remove backups/a.sobre",
            "catalog remove backups/a.sobre",
            "catalog rebuild backups -n",
        ],
    );
    compare(actual, snapbox::file!["../cmd/catalog.txt"]);
}

#[test]
fn sets_and_their_rotation() {
    let world = World::double();
    let actual = transcript(
        &world,
        &[
            "set list",
            "set create prod --type customer --key customer/default --location westeurope",
            "seal --set prod DISK a.sobre",
            "set rotate prod --dry-run",
            "set rotate prod",
            "set show prod",
            "set rotate prod --resume",
            "set rotate --due",
            "set update prod --key platform/default",
            "set unlink prod customer/default@1",
            "set link prod customer/default@1",
            "set delete prod",
            "set delete prod --yes",
            "open a.sobre out.img",
        ],
    );
    compare(actual, snapbox::file!["../cmd/sets.txt"]);
}

#[test]
fn what_happened_to_keys() {
    let world = super::audit::recorded();
    let actual = transcript(&world, &["audit show", "audit show --failed", "audit verify", "audit restart"]);
    compare(actual, snapbox::file!["../cmd/audit.txt"]);
}

#[test]
fn keys_from_elsewhere() {
    let world = World::fresh();
    world.write("pass", "sobre-test\n");
    world.write("wrong", "guess\n");
    world.write("blob", "JkF6dXJlS2V5VmF1bHRLZXlCYWNrdXBWMS5taWNyb3NvZnQuY29t");
    let actual = transcript(
        &world,
        &[
            "key import KEYS/test-ec-p256.pkcs8.pem k",
            "key import KEYS/test-rsa1024.pkcs8.pem k",
            "key import IMPORTS/modern.pfx k --import-passphrase-file wrong",
            "key import IMPORTS/legacy.pfx k --import-passphrase-file wrong",
            "key import IMPORTS/modern-certificate.pfx k --import-passphrase-file pass",
            "key import IMPORTS/modern-certificate.pfx k --import-passphrase-file pass --discard-certificates --alias cka:0A:0B",
            "key import KEYS/test-rsa2048.pkcs8.pem same",
            "key import IMPORTS/rsa3072.jwk other --alias cka:0a0b",
            "key show x5t:72E476",
            "key show cka:0a0b",
            "key update other --remove-alias cka:0a0b",
            "seal DISK disk.sobre --key spki:c874c0",
            "key export k k.byok --byok file:KEYS/test-rsa4096.spki.pem --kid transport",
            "key export k k.byok --byok file:KEYS/test-rsa4096.spki.pem --kid transport --yes",
            "--home elsewhere key import k.byok k",
            "--home elsewhere key import k.byok k --target file:KEYS/test-rsa2048.pkcs8.pem",
            "--home elsewhere key import k.byok k --target file:KEYS/test-rsa4096.pkcs8.pem",
            "--home elsewhere open disk.sobre restored.img",
            "key restore blob --passphrase-file pass",
            "key restore wrong --passphrase-file pass",
        ],
    );
    compare(actual, snapbox::file!["../cmd/import.txt"]);
}

#[test]
fn vaults_are_checked() {
    let world = World::double();
    let actual = transcript(
        &world,
        &[
            "vault check",
            "vault backup all --to file:KEYS/test-rsa2048.spki.pem",
            "key update customer/default --expires 2020-01-01",
            "vault check customer",
            "vault check platform --role run-time",
            "vault check nope",
        ],
    );
    compare(actual, snapbox::file!["../cmd/vault-check.txt"]);
}
