//! To what something was done.

use std::fmt;

use crate::clock::UnixTime;
use crate::format::{Layer, SnapshotId};
use crate::io::Escaped;
use crate::key::{Thumbprint, VaultName};

/// To what something was done. Ids, names and numbers only: nothing here can hold a secret's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The operator accepted that data become unreadable, or that nobody knows whether they do.
    pub accepted_loss: bool,
    /// How many bytes were cut off or written.
    pub bytes: Option<u64>,
    /// How many DEKs, snapshots or keys it was done to.
    pub items: Option<u64>,
    /// The key, with its version where there is one.
    pub key: Option<Text>,
    /// The layer of double encryption.
    pub layer: Option<Layer>,
    /// The operator named this key where another one had been refused.
    pub overridden: bool,
    /// The encryption set.
    pub set: Option<Text>,
    /// The snapshot.
    pub snapshot: Option<SnapshotId>,
    /// The key that takes the place of `thumbprint`.
    pub successor: Option<Thumbprint>,
    /// The key's material.
    pub thumbprint: Option<Thumbprint>,
    /// The date that matters: expiry, end of retention, end of a delay.
    pub until: Option<UnixTime>,
    /// The vault.
    pub vault: Option<VaultName>,
}

impl Properties {
    /// Adds what `others` say and these don't.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            accepted_loss: self.accepted_loss || others.accepted_loss,
            bytes: self.bytes.or(others.bytes),
            items: self.items.or(others.items),
            key: self.key.or_else(|| others.key.clone()),
            layer: self.layer.or(others.layer),
            overridden: self.overridden || others.overridden,
            set: self.set.or_else(|| others.set.clone()),
            snapshot: self.snapshot.or(others.snapshot),
            successor: self.successor.or(others.successor),
            thumbprint: self.thumbprint.or(others.thumbprint),
            until: self.until.or(others.until),
            vault: self.vault.or_else(|| others.vault.clone()),
        }
    }
}

/// Text from elsewhere: at most 512 bytes, nothing in it that a terminal acts on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(String);

impl Text {
    /// Escapes `text` and cuts it where it is too long, with `...` at the cut.
    pub fn new(text: &str) -> Self {
        // No more than that can survive; what follows need not be escaped first.
        let beginning = prefix(text, MAX_TEXT + 1);
        let escaped = Escaped(beginning).to_string();
        if escaped.len() <= MAX_TEXT && beginning.len() == text.len() {
            return Self(escaped);
        }
        Self(format!("{}{CUT}", prefix(&escaped, MAX_TEXT - CUT.len())))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn prefix(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

const MAX_TEXT: usize = 512;
const CUT: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_bounded_and_harmless() {
        assert_eq!(Text::new("vault/key@3").as_str(), "vault/key@3");
        assert_eq!(Text::new("a\nb\u{1b}[31m").as_str(), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(Text::new(&"a".repeat(512)).as_str(), "a".repeat(512));
        for long in ["a".repeat(513), "ä".repeat(300), "\n".repeat(512), "\u{1f512}".repeat(100_000)] {
            let text = Text::new(&long);
            assert!(text.as_str().len() <= 512, "{}", text.as_str().len());
            assert!(text.as_str().ends_with("..."));
        }
    }
}
