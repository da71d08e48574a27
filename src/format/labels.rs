//! Public key-value pairs in the header.

use std::collections::BTreeMap;
use std::fmt;

use crate::format::wire::{Fields, len_u16};
use crate::format::{Fault, FormatError, Part};

/// Public labels of a snapshot: at most 862 bytes as encoded (SPEC §3.1). Anyone can read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Adds a label.
    ///
    /// # Errors
    ///
    /// [`LabelError`] when the key or value breaks the rules, stands twice, or all labels together get too long.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), LabelError> {
        if !key_is_plain(key) {
            return Err(LabelError::Key(key.to_owned()));
        }
        if value.len() > MAX_VALUE {
            return Err(LabelError::Value(key.to_owned()));
        }
        if self.0.contains_key(key) {
            return Err(LabelError::Duplicate(key.to_owned()));
        }
        if self.encoded_len() + 3 + key.len() + value.len() > MAX_LABELS {
            return Err(LabelError::TooLong);
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Returns the pairs in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_LABELS);
        for (key, value) in &self.0 {
            bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&len_u16(value.len()));
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Labels, bytes);
        let mut labels = BTreeMap::<String, String>::new();
        while !fields.is_empty() {
            let len = fields.u8()?;
            let key = std::str::from_utf8(fields.bytes(len.into())?).map_err(|_| fields.error(Fault::Text("key")))?;
            if !key_is_plain(key) {
                return Err(fields.error(Fault::Text("key")));
            }
            let value = fields.text("value length", MAX_VALUE)?;
            if labels.last_key_value().is_some_and(|(last, _)| last.as_str() >= key) {
                return Err(fields.error(Fault::Text("order of keys")));
            }
            labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self(labels))
    }

    fn encoded_len(&self) -> usize {
        self.0.iter().map(|(key, value)| 3 + key.len() + value.len()).sum()
    }
}

/// Why a label is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelError {
    /// The key stands already.
    Duplicate(String),
    /// The key is not 1 to 64 characters of `A-Z a-z 0-9 . _ / -`.
    Key(String),
    /// All labels together have more than 862 bytes.
    TooLong,
    /// The value of this key has more than 512 bytes.
    Value(String),
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::io::Escaped;
        match self {
            Self::Duplicate(key) => write!(f, "the label '{}' is given twice", Escaped(key)),
            Self::Key(key) => {
                write!(f, "a label's key has 1 to 64 characters A-Z a-z 0-9 . _ / -, unlike '{}'", Escaped(key))
            }
            Self::TooLong => write!(f, "the labels have more than {MAX_LABELS} bytes together"),
            Self::Value(key) => write!(f, "the value of label '{}' has more than {MAX_VALUE} bytes", Escaped(key)),
        }
    }
}

impl std::error::Error for LabelError {}

fn key_is_plain(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-'))
}

pub(super) const MAX_LABELS: usize = 862;
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 512;
