//! A catalogue, what it finds, and what becomes of it in other people's hands.

mod files;
mod large;
mod rows;
mod scanning;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::clock::UnixTime;
use crate::format::{Layer, SnapshotId, Suite};
use crate::key::Thumbprint;

const WAIT: Duration = Duration::from_secs(30);

fn fresh() -> (tempfile::TempDir, Catalog) {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog::open_or_create(&folder.path().join("home/catalog.db"), WAIT).expect("a catalogue");
    (folder, catalog)
}

fn key(number: u8) -> Thumbprint {
    Thumbprint::from_bytes([number; 32])
}

fn dek(layer: Layer, slot: u8, kek: u8) -> WrappedDek {
    WrappedDek {
        layer,
        slot,
        thumbprint: key(kek),
        key_id: format!("prod/backup@{kek}"),
        algorithm: "RSA-OAEP-256".to_owned(),
        epoch: None,
    }
}

/// A snapshot that is not there.
fn snapshot(path: impl Into<PathBuf>, deks: Vec<WrappedDek>) -> Snapshot {
    Snapshot {
        path: path.into(),
        id: SnapshotId::from_bytes([9; 16]),
        suite: Suite::XtsGcm,
        disk_len: Some(1 << 40),
        file_len: 1 << 39,
        root: Some([4; 32]),
        sealed: UnixTime(1_700_000_000),
        set: Some("Prod-WEU".to_owned()),
        writable: true,
        verified: false,
        seen: UnixTime(1_800_000_000),
        deks,
    }
}

fn name(text: &str) -> SetName {
    text.parse().expect("a name")
}

fn set(text: &str) -> EncryptionSet {
    EncryptionSet {
        name: name(text),
        kind: SetKind::PlatformAndCustomer,
        keys: vec![
            SetKey { layer: Layer::Inner, thumbprint: key(1), key_id: "customer/a@1".into() },
            SetKey { layer: Layer::Outer, thumbprint: key(2), key_id: "platform/b@1".into() },
        ],
        links: vec![SetLink { thumbprint: key(3), key_id: "customer/a@0".into() }],
        location: Some("westeurope".into()),
        subscription: None,
        auto_rotate: true,
        epoch: false,
        recovery: true,
        generation: 1,
        created: UnixTime(1_800_000_000),
    }
}

fn paths(snapshots: &[Snapshot]) -> Vec<&Path> {
    snapshots.iter().map(|snapshot| snapshot.path.as_path()).collect()
}
