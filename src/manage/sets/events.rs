//! What is recorded of a set.

use crate::audit::{Outcome, Properties, Text};
use crate::catalog::{EncryptionSet, SetKey, SetLink, SetName};

/// Names the set.
pub(in crate::manage) fn about(set: &SetName) -> Properties {
    Properties { set: Some(Text::new(set.as_str())), ..Properties::default() }
}

/// Names the keys that a new set seals with.
pub(super) fn made(set: &EncryptionSet) -> (Outcome, Properties) {
    let thumbprint = if let [only] = set.keys.as_slice() { Some(only.thumbprint) } else { None };
    let ids: Vec<_> = set.keys.iter().map(|key| key.key_id.as_str()).collect();
    let key = Some(Text::new(&ids.join(" + ")));
    (Outcome::Success, Properties { key, thumbprint, ..Properties::default() })
}

/// Names the first key that became active, and the one whose place it takes.
pub(super) fn changed(before: &[SetKey], set: &EncryptionSet) -> (Outcome, Properties) {
    let Some(key) = set.keys.iter().find(|key| !before.contains(key)) else {
        return (Outcome::Success, Properties::default());
    };
    let old = before.iter().find(|old| old.layer == key.layer);
    let about = Properties {
        key: Some(Text::new(&key.key_id)),
        layer: Some(key.layer),
        thumbprint: old.map(|old| old.thumbprint),
        successor: Some(key.thumbprint),
        ..Properties::default()
    };
    (Outcome::Success, about)
}

/// Names a linked key.
pub(super) fn linked(link: Option<&SetLink>) -> (Outcome, Properties) {
    let key = link.map(|link| Text::new(&link.key_id));
    (Outcome::Success, Properties { key, thumbprint: link.map(|link| link.thumbprint), ..Properties::default() })
}
