//! Imports point down only (house rule 1): read off the source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Layers from the bottom; modules in one row may not import each other either, unless a row says so.
const LAYERS: &[&[&str]] = &[
    &["secret", "clock", "random", "io"],
    &["xts", "aead", "integrity", "oaep", "kdf"],
    &["key"],
    &["format"],
    &["audit"],
    &["provider"],
    &["engine"],
    &["catalog", "measure"],
    &["manage"],
];

/// Neighbours in one layer that may be imported.
const NEIGHBOURS: &[(&str, &str)] = &[("random", "secret")];

#[test]
fn imports_point_down_only() {
    let rank: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(rank, modules)| modules.iter().map(move |module| (*module, rank)))
        .collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("inside src").to_owned();
        let module = relative.iter().next().and_then(|first| first.to_str()).expect("a name").trim_end_matches(".rs");
        let text = std::fs::read_to_string(&file).expect("reads");
        if matches!(module, "lib" | "main" | "cli" | "testing") {
            continue;
        }
        let own = *rank.get(module).unwrap_or_else(|| panic!("{module} has no layer: add it to LAYERS"));
        let is_test = relative.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
        for imported in crate_paths(code_only(&text)) {
            seen += 1;
            if imported == module || (is_test && imported == "testing") {
                continue;
            }
            let Some(&other) = rank.get(imported) else { continue };
            let allowed = other < own || NEIGHBOURS.contains(&(module, imported));
            if !allowed {
                wrong.push(format!("{}: {module} imports {imported}", relative.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} imports were found: the test has gone blind");
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_command_sees_only_the_public_api() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&source.join("cli")) {
        let text = std::fs::read_to_string(&file).expect("reads");
        for imported in crate_paths(&text) {
            assert_eq!(imported, "cli", "{}: the command imports crate::{imported}", file.display());
        }
    }
}

#[test]
fn files_stay_short() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long: Vec<_> = rust_files(&source)
        .into_iter()
        .map(|file| (std::fs::read_to_string(&file).expect("reads").lines().count(), file))
        .filter(|(lines, _)| *lines > 500)
        .collect();
    assert!(long.is_empty(), "over 500 lines: {long:?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Cuts off the unit tests at the end of a file: they may use what they like.
fn code_only(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

/// Returns the module behind every `crate::`, also the several of `use crate::{a, b}`.
fn crate_paths(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in names {
                let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
                if end > 0 {
                    found.push(&name[..end]);
                }
            }
        }
    }
    found
}
