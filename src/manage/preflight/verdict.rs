//! Whether a snapshot opens, as the engine would go about it.

use std::collections::BTreeMap;

use crate::catalog::{Snapshot, WrappedDek};
use crate::format::Layer;
use crate::key::{Thumbprint, VaultName};
use crate::manage::preflight::{NeededKey, algorithm_of};

/// Whether a snapshot opens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Not with what the vaults have now.
    DoesNotOpen {
        /// The key versions of the layers that nothing opens: of each layer, one is needed.
        missing: Vec<Thumbprint>,
    },
    /// As things are.
    Opens,
    /// Only when the operator says with what: a refusal never leads silently to another key (R55).
    OpensByChoice(Vec<Choice>),
}

/// What an operator has to name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The key of another wrapper.
    Key(String),
    /// Another vault that holds the same key.
    Vault(VaultName),
}

/// Decides, and returns the key versions that keep the snapshot from opening as things are.
pub(super) fn of(snapshot: &Snapshot, keys: &BTreeMap<Thumbprint, NeededKey>) -> (Verdict, Vec<Thumbprint>) {
    let (mut choices, mut missing, mut obstacles) = (Vec::new(), Vec::new(), Vec::new());
    for layer in [Layer::Inner, Layer::Outer] {
        let deks: Vec<&WrappedDek> = snapshot.deks.iter().filter(|dek| dek.layer == layer).collect();
        if deks.is_empty() {
            continue;
        }
        match of_layer(&deks, keys) {
            LayerVerdict::Opens => {}
            LayerVerdict::ByChoice { choice, refused } => {
                choices.push(choice);
                obstacles.push(refused);
            }
            LayerVerdict::Closed => missing.extend(deks.iter().map(|dek| dek.thumbprint)),
        }
    }
    obstacles.extend(&missing);
    obstacles.sort_unstable();
    obstacles.dedup();
    let verdict = match (missing.is_empty(), choices.is_empty()) {
        (false, _) => Verdict::DoesNotOpen { missing },
        (true, false) => Verdict::OpensByChoice(choices),
        (true, true) => Verdict::Opens,
    };
    (verdict, obstacles)
}

enum LayerVerdict {
    ByChoice { choice: Choice, refused: Thumbprint },
    Closed,
    Opens,
}

fn of_layer(deks: &[&WrappedDek], keys: &BTreeMap<Thumbprint, NeededKey>) -> LayerVerdict {
    let known = || deks.iter().filter(|dek| algorithm_of(dek).is_some()).filter_map(|dek| keys.get(&dek.thumbprint));
    // The engine takes the first wrapper whose key any vault has, from the first vault that has it, and stops at its refusal.
    let Some(first) = known().find(|key| !key.places.is_empty()) else { return LayerVerdict::Closed };
    if first.places.first().is_some_and(|place| place.is_usable()) {
        return LayerVerdict::Opens;
    }
    let refused = first.thumbprint;
    for key in known() {
        if let Some(place) = key.places.first().filter(|place| place.is_usable()) {
            return LayerVerdict::ByChoice { choice: Choice::Key(place.id.clone()), refused };
        }
    }
    match known().flat_map(|key| &key.places).find(|place| place.is_usable()) {
        Some(place) => LayerVerdict::ByChoice { choice: Choice::Vault(place.vault.clone()), refused },
        None => LayerVerdict::Closed,
    }
}
