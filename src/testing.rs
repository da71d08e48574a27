//! Reads `vectors/` for the tests, in the one shape that its README describes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The tests that share some values.
pub(crate) struct Group {
    pub(crate) shared: Fields,
    pub(crate) tests: Vec<Fields>,
}

/// The values of one test, or those that a group shares.
pub(crate) struct Fields(Value);

impl Fields {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {}", self.0))
    }

    pub(crate) fn number(&self, name: &str) -> usize {
        self.0[name].as_u64().and_then(|number| number.try_into().ok()).expect("a number")
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }

    pub(crate) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().expect("the length is the field's")
    }

    /// Whether the result is `valid`, as against `invalid`.
    pub(crate) fn is_valid(&self) -> bool {
        match self.text("result") {
            "valid" => true,
            "invalid" => false,
            other => panic!("unknown result {other}"),
        }
    }
}

/// Loads `vectors/FILE`, which must have `count` tests: a file that lost its entries does not pass.
pub(crate) fn load(file: &str, count: usize) -> Vec<Group> {
    let text = fs::read(path(file)).expect("the vectors are part of the repository");
    let mut json: Value = serde_json::from_slice(&text).expect("JSON");
    let Value::Array(groups) = json["groups"].take() else { panic!("no groups in {file}") };
    let groups: Vec<Group> = groups
        .into_iter()
        .map(|mut group| {
            let Value::Array(tests) = group["tests"].take() else { panic!("no tests in a group of {file}") };
            Group { shared: Fields(group), tests: tests.into_iter().map(Fields).collect() }
        })
        .collect();
    assert_eq!(groups.iter().map(|group| group.tests.len()).sum::<usize>(), count, "tests in {file}");
    groups
}

/// Returns where `vectors/FILE` is.
pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

/// Returns the DER in the PEM file `vectors/keys/test-NAME.pem`.
pub(crate) fn key_der(name: &str) -> Vec<u8> {
    let text = fs::read(path(&format!("keys/test-{name}.pem"))).expect("a test key");
    pem_rfc7468::decode_vec(&text).expect("PEM").1
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal");
    pairs.iter().map(|&[high, low]| u8::try_from(digit(high) * 16 + digit(low)).expect("two digits")).collect()
}
