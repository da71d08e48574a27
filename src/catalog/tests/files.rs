//! The file of the catalogue: damaged, newer, foreign, made by many at once.

use rusqlite::Connection;

use super::*;

fn open(path: &Path) -> Result<Catalog, CatalogError> {
    Catalog::open(path, WAIT)
}

/// A closed catalogue with one snapshot.
fn made() -> (tempfile::TempDir, PathBuf) {
    let (folder, catalog) = fresh();
    catalog.register(&[snapshot("/n/a.sobre", vec![dek(Layer::Inner, 0, 1)])]).expect("registers");
    let path = catalog.path().to_owned();
    (folder, path)
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).expect("opens").execute_batch(sql).expect("changes");
}

#[test]
fn a_catalogue_is_not_made_by_looking_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.db");
    assert!(matches!(open(&path), Err(CatalogError::NotFound(_))));
    assert!(!path.exists());
}

#[test]
fn what_is_no_catalogue_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.db");
    let foreign = folder.path().join("foreign.db");
    change(&foreign, "CREATE TABLE t (x); INSERT INTO t VALUES (1);");
    for bytes in [b"junk".to_vec(), vec![0; 8192], Vec::new(), std::fs::read(&foreign).expect("reads")] {
        std::fs::write(&path, &bytes).expect("writes");
        for error in [open(&path).err(), Catalog::open_or_create(&path, WAIT).err()] {
            let damage = CatalogDamage::NotACatalog;
            assert!(
                matches!(&error, Some(CatalogError::Damaged { damage: found, .. }) if *found == damage),
                "{error:?}"
            );
        }
        assert_eq!(std::fs::read(&path).expect("reads"), bytes);
    }
}

#[test]
fn a_newer_catalogue_and_changed_tables_are_told_apart() {
    let (_folder, path) = made();
    change(&path, "PRAGMA user_version = 2;");
    assert!(matches!(open(&path), Err(CatalogError::Newer { schema: 2, .. })));
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON snapshots BEGIN DELETE FROM sets; END;",
        "DROP INDEX snapshots_id;",
        "ALTER TABLE sets ADD COLUMN x TEXT;",
        "CREATE VIEW v AS SELECT 1;",
    ] {
        let (_folder, path) = made();
        change(&path, sql);
        let error = open(&path).expect_err("changed");
        assert!(matches!(error, CatalogError::Damaged { damage: CatalogDamage::Schema, .. }), "{sql}: {error:?}");
    }
}

#[test]
fn values_out_of_bounds_are_damage() {
    for sql in [
        "UPDATE snapshots SET sealed = -1;",
        "UPDATE snapshots SET id = x'00';",
        "UPDATE snapshots SET suite = 'rot13';",
        "UPDATE wrapped_deks SET layer = 3;",
        "UPDATE wrapped_deks SET thumbprint = x'';",
    ] {
        let (_folder, path) = made();
        change(&path, sql);
        let error = open(&path).expect("opens").snapshots().expect_err("out of bounds");
        assert!(matches!(error, CatalogError::Damaged { damage: CatalogDamage::Value, .. }), "{sql}: {error:?}");
    }
}

#[test]
fn no_overwritten_page_makes_it_panic() {
    let (_folder, path) = made();
    let good = std::fs::read(&path).expect("reads");
    let mut refused = 0;
    for page in 0..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096..(page + 1) * 4096].fill(0xa5);
        std::fs::write(&path, &bad).expect("writes");
        match open(&path).and_then(|catalog| catalog.snapshots()) {
            Err(CatalogError::Damaged { .. }) => refused += 1,
            Ok(_) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn sets_are_saved_from_a_damaged_catalogue() {
    let (_folder, catalog) = fresh();
    catalog.create_set(&set("a")).expect("creates");
    catalog.create_set(&set("b")).expect("creates");
    let path = catalog.path().to_owned();
    drop(catalog);
    change(&path, "DROP INDEX snapshots_id;");
    assert!(open(&path).is_err());
    let aside = Catalog::set_aside(&path).expect("renames");
    assert_eq!(Catalog::salvage_sets(&aside), Some(vec![set("a"), set("b")]));
    std::fs::write(&aside, b"junk").expect("writes");
    assert_eq!(Catalog::salvage_sets(&aside), None);
    assert_eq!(Catalog::salvage_sets(Path::new("/nowhere")), None);
}

#[test]
fn a_catalogue_that_is_set_aside_is_kept_and_makes_room() {
    let (folder, path) = made();
    std::fs::write(&path, b"junk").expect("writes");
    let aside = Catalog::set_aside(&path).expect("renames");
    assert_eq!(std::fs::read(&aside).expect("reads"), b"junk");
    Catalog::open_or_create(&path, WAIT).expect("a catalogue");
    assert_ne!(Catalog::set_aside(&path).expect("renames"), aside);
    assert_eq!(std::fs::read_dir(folder.path().join("home")).expect("lists").count(), 2);
}

#[test]
fn threads_that_make_one_at_once_make_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.db");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let catalog = Catalog::open_or_create(path, WAIT).expect("a catalogue");
                catalog.register(&[snapshot(format!("/n/{number}.sobre"), vec![])]).expect("registers");
            });
        }
    });
    assert_eq!(open(&path).expect("opens").snapshots().expect("reads").len(), 8);
    assert!(!crate::io::partial_path(&path).exists());
}
