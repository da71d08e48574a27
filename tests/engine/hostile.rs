//! Hostile containers: each is refused, with the error that its fault has, and leaves nothing behind.

use std::time::{Duration, Instant};

use sobre::Engine;
use sobre::engine::{Control, verify_keyless};

use crate::common::forge::{Forge, recipes};
use crate::common::{CUSTOMER, PLATFORM, engine_with, golden, named, names_in, open};

/// What opening, verifying with keys and verifying without say of `bytes`.
fn answers(engine: &Engine, bytes: &[u8]) -> [(&'static str, String); 3] {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = folder.path().join("snapshot");
    std::fs::write(&snapshot, bytes).expect("writes");
    let opened = open(engine, &snapshot, &folder.path().join("out"));
    if opened.is_err() {
        assert_eq!(names_in(folder.path()), ["snapshot"], "something was left behind");
    }
    let word = |result: Result<(), sobre::Error>| result.map_or_else(|error| named(&error), |()| "ok".to_owned());
    let ctl = Control::default();
    [
        ("open", word(opened.map(|_| ()))),
        ("verify", word(engine.verify(bytes, 1, &ctl).map(|_| ()))),
        ("keyless", word(verify_keyless(bytes, None, 1, &ctl).map(|_| ()))),
    ]
}

#[test]
fn every_hostile_container_gives_its_error() {
    let engine = engine_with(&[CUSTOMER, PLATFORM]);
    let recipes = recipes();
    assert!(recipes.len() > 200, "{} recipes", recipes.len());
    let mut wrong = Vec::new();
    for (name, recipe) in &recipes {
        let bytes = Forge::follow(recipe);
        assert!(bytes != golden::read(recipe["base"].as_str().expect("a base")), "{name} changes nothing");
        let begun = Instant::now();
        for (question, found) in answers(&engine, &bytes) {
            let expected = recipe[question].as_str().expect("an expectation");
            if found != expected {
                wrong.push(format!("FOUND\t{name}\t{question}\t{found}"));
            }
            // Whoever holds all the keys must notice, whatever it is.
            assert!(question != "verify" || found != "ok", "{name} is accepted");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{name} takes {:?}", begun.elapsed());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
