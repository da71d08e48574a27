//! Every column of every table, changed behind the vault's back.

use super::*;

/// A plausible other value for each column.
const CHANGES: &[&str] = &[
    "UPDATE meta SET vault = randomblob(16)",
    "UPDATE meta SET owner = 2",
    "UPDATE meta SET owner = 9",
    "UPDATE meta SET created = created + 1",
    "UPDATE meta SET created = -1",
    "UPDATE meta SET protection = 3",
    "UPDATE meta SET memory_kib = 64",
    "UPDATE meta SET passes = 1",
    "UPDATE meta SET lanes = 1",
    "UPDATE meta SET salt = randomblob(32)",
    "UPDATE meta SET salt = x''",
    "UPDATE meta SET root_key = randomblob(60)",
    "UPDATE meta SET root_key = zeroblob(1000000)",
    "UPDATE meta SET sequence = sequence + 1",
    "UPDATE meta SET sequence = sequence - 1",
    "UPDATE meta SET backed_up = sequence",
    "UPDATE meta SET backed_up = -1",
    "UPDATE meta SET backup_time = 1",
    "UPDATE meta SET retention_days = 7",
    "UPDATE meta SET retention_days = 6",
    "UPDATE meta SET purge_protection = 0",
    "UPDATE meta SET purge_protection = 2",
    "UPDATE meta SET mac = randomblob(32)",
    "UPDATE meta SET mac = x'00'",
    "DELETE FROM meta",
    "UPDATE keys SET id = 7 WHERE id = 1",
    "UPDATE keys SET name = 'Backup' WHERE id = 1",
    "UPDATE keys SET name = 'x' WHERE id = 1",
    "UPDATE keys SET name = '../x' WHERE id = 1",
    "UPDATE keys SET delete_lock = 1 WHERE id = 1",
    "UPDATE keys SET delete_lock = 2 WHERE id = 1",
    "UPDATE keys SET policy = 'rotate P1Y after creation' WHERE id = 1",
    "UPDATE keys SET policy = 'x' WHERE id = 1",
    "UPDATE keys SET deleted = 1, recoverable_until = 1 WHERE id = 1",
    "UPDATE keys SET deleted = 1 WHERE id = 1",
    "UPDATE keys SET recoverable_until = -1 WHERE id = 1",
    "INSERT INTO keys (name, delete_lock) VALUES ('more', 0)",
    "DELETE FROM keys WHERE id = 1",
    "DELETE FROM keys",
    "UPDATE versions SET key = 2 WHERE sequence = 2",
    "UPDATE versions SET key = 99 WHERE sequence = 1",
    "UPDATE versions SET number = 3 WHERE sequence = 1",
    "UPDATE versions SET number = 0 WHERE sequence = 1",
    "UPDATE versions SET number = 4294967296 WHERE sequence = 1",
    "UPDATE versions SET sequence = 99 WHERE sequence = 1",
    "UPDATE versions SET created = created + 1 WHERE sequence = 1",
    "UPDATE versions SET state = 2 WHERE sequence = 1",
    "UPDATE versions SET state = 3 WHERE sequence = 1",
    "UPDATE versions SET not_before = 5 WHERE sequence = 1",
    "UPDATE versions SET not_after = 5 WHERE sequence = 1",
    "UPDATE versions SET not_after = -5 WHERE sequence = 1",
    "UPDATE versions SET thumbprint = randomblob(32) WHERE sequence = 1",
    "UPDATE versions SET spki = randomblob(294) WHERE sequence = 1",
    "UPDATE versions SET spki = x'' WHERE sequence = 1",
    "UPDATE versions SET spki = zeroblob(100000000) WHERE sequence = 1",
    "UPDATE versions SET spki = (SELECT spki FROM versions WHERE sequence = 3) WHERE sequence = 1",
    "UPDATE versions SET private = randomblob(1200) WHERE sequence = 1",
    "UPDATE versions SET private = (SELECT private FROM versions WHERE sequence = 3) WHERE sequence = 1",
    "UPDATE versions SET mac = randomblob(32) WHERE sequence = 1",
    "UPDATE versions SET mac = (SELECT mac FROM versions WHERE sequence = 3) WHERE sequence = 1",
    "UPDATE versions SET spki_sha256 = randomblob(32) WHERE sequence = 1",
    "UPDATE versions SET spki_sha256 = (SELECT spki_sha256 FROM versions WHERE sequence = 3) WHERE sequence = 1",
    "INSERT INTO aliases VALUES (2, x'03', 3)",
    "UPDATE aliases SET value = x'03'",
    "UPDATE aliases SET value = zeroblob(100000)",
    "UPDATE aliases SET kind = 9",
    "UPDATE aliases SET version = 3",
    "DELETE FROM aliases",
    "DELETE FROM versions WHERE sequence = 1",
    "DELETE FROM versions WHERE sequence = 2",
    "DELETE FROM versions",
    // The public key of one, with its thumbprint, in the row of another: what somebody would do who wants us to seal to his key.
    "CREATE TEMP TABLE t AS SELECT * FROM versions WHERE sequence = 3; DELETE FROM versions WHERE sequence = 3;
     UPDATE versions SET spki = (SELECT spki FROM t), thumbprint = (SELECT thumbprint FROM t) WHERE sequence = 2",
];

fn three_keys() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    vault.rotate(&name("backup"), &cx()).expect("rotates");
    make(&vault, "other");
    let id = "cka:0102".parse().expect("an alias");
    vault.change_aliases(&name("backup"), Some(VersionNumber::FIRST), &[id], &[], &cx()).expect("records");
    (folder, path)
}

#[test]
fn no_column_can_be_changed_while_the_vault_is_closed() {
    let (_folder, path) = three_keys();
    for sql in CHANGES {
        let (_copy_folder, copy) = copied(&path);
        open(&copy).expect("the copy is whole");
        tamper(&copy, sql);
        let result = open(&copy);
        assert!(damaged(result), "{sql}");
    }
}

#[test]
fn no_column_can_be_changed_while_the_vault_is_open() {
    let (_folder, path) = three_keys();
    for sql in CHANGES {
        let (_copy_folder, copy) = copied(&path);
        let vault = open(&copy).expect("the copy is whole");
        let names = ["backup@1", "backup@2", "backup", "other@1"];
        let before = names.map(|text| vault.version(&reference(text), &cx()).expect("finds"));
        let wrapped = before.clone().map(|kek| wrap(&vault, &kek));
        tamper(&copy, sql);
        let mut found = 0;
        for ((text, before), wrapped) in names.iter().zip(before).zip(&wrapped) {
            let read = vault.version(&reference(text), &cx());
            let unwrapped = vault.unwrap_key(wrapped, &cx());
            // A record that nobody touched still answers, and nothing else than before.
            if let Ok(now) = &read {
                assert_eq!(
                    (now.thumbprint, now.state, &now.id),
                    (before.thumbprint, before.state, &before.id),
                    "{sql}"
                );
            }
            let kinds = [read.err(), unwrapped.err()].map(|error| error.map(|error| error.kind));
            assert!(kinds.iter().flatten().all(|&kind| kind == ProviderErrorKind::Damaged), "{sql}: {kinds:?}");
            found += kinds.iter().flatten().count();
        }
        assert!(found > 0, "{sql}");
        // A change made meanwhile does not sign the damage.
        let _ = vault.rotate(&name("other"), &cx());
        drop(vault);
        assert!(damaged(open(&copy)), "{sql}");
    }
}

#[test]
fn a_row_put_back_as_it_was_is_found() {
    let (_folder, path) = three_keys();
    let (_copy_folder, copy) = copied(&path);
    drop(open(&path).expect("opens").rotate(&name("backup"), &cx()).expect("rotates"));
    // The whole table as it was before the rotation, with all its good MACs.
    tamper(
        &path,
        &format!(
            "ATTACH '{}' AS old; DELETE FROM main.versions; INSERT INTO main.versions SELECT * FROM old.versions",
            copy.display()
        ),
    );
    assert!(damaged(open(&path)));
}

#[test]
fn an_edited_row_never_unseals_even_without_its_mac() {
    let (_folder, path) = three_keys();
    let vault = open(&path).expect("opens");
    let root = vault.root_key(&cx()).expect("unlocked");
    let opens = vault.inspect(&cx(), |view| {
        let record = view.records(provider::NEWEST, ["backup"])?.remove(0);
        assert!(record.open(&view.meta, &root).is_ok());
        let edits: [fn(&mut Record); 6] = [
            |record| record.name = name("x"),
            |record| record.number = record.number.next().expect("a number"),
            |record| record.created = UnixTime(1),
            |record| record.enabled = false,
            |record| record.not_before = Some(UnixTime(0)),
            |record| record.not_after = Some(UnixTime(0)),
        ];
        let mut opened = 0;
        for edit in edits {
            let mut record = record.clone();
            edit(&mut record);
            opened += usize::from(record.open(&view.meta, &root).is_ok());
        }
        let mut other = view.meta.clone();
        other.owner = Owner::Platform;
        opened += usize::from(record.open(&other, &root).is_ok());
        let mut other = view.meta.clone();
        other.vault = [0; 16];
        Ok(opened + usize::from(record.open(&other, &root).is_ok()))
    });
    assert_eq!(opens.expect("reads"), 0);
}

#[test]
fn a_locked_vault_finds_tampering_when_it_is_unlocked() {
    for sql in CHANGES {
        // These give another passphrase's parameters: nobody can tell that from a wrong passphrase.
        let blind = ["owner", "vault", "created", "protection", "memory", "passes", "lanes", "salt", "root_key"];
        if blind.iter().any(|column| sql.starts_with(&format!("UPDATE meta SET {column}"))) {
            continue;
        }
        let (_copy_folder, copy) = locked_copy();
        tamper(&copy, sql);
        let answer = Answer::of("correct horse");
        let Ok(vault) = EmbeddedVault::open(settings(&copy, &answer)) else { continue };
        assert_eq!(answer.asked(), 0, "{sql}");
        assert!(damaged(vault.root_key(&cx())), "{sql}");
    }
}

fn locked_copy() -> (TempDir, PathBuf) {
    static LOCKED: std::sync::OnceLock<(TempDir, PathBuf)> = std::sync::OnceLock::new();
    let (_, path) = LOCKED.get_or_init(|| {
        let (folder, path) = three_keys();
        let vault = EmbeddedVault::open(settings(&path, &Answer::of("correct horse"))).expect("opens");
        vault.set_protection(cheap(), &cx()).expect("protects");
        (folder, path)
    });
    copied(path)
}
