use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::clock::UnixTime;
use crate::engine::{Control, ErrorKind, SealOptions, SealPolicy, Source, Target, Warning, WrappingKey};
use crate::key::Thumbprint;
use crate::provider::{KeyProvider, PemFiles};
use crate::testing;

/// An engine with two keys, and a folder.
struct World {
    folder: tempfile::TempDir,
    engine: Engine,
    keys: Vec<WrappingKey>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = Vec::new();
        let mut providers: Vec<Arc<dyn KeyProvider>> = Vec::new();
        for name in ["rsa2048", "rsa3072"] {
            let mut files = PemFiles::new();
            let version = files.add(&testing::path(&format!("keys/test-{name}.pkcs8.pem"))).expect("a test key");
            let provider = Arc::new(files);
            providers.push(provider.clone());
            keys.push(WrappingKey { provider, version });
        }
        std::fs::write(folder.path().join("disk"), [7; 5000]).expect("writes");
        Self { folder, engine: Engine::new(providers), keys }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn epoch(&self, key: usize) -> Arc<EpochKey> {
        let policy = LayerPolicy::new(vec![self.keys[key].clone()]).expect("one key").of_set("prod").expect("a name");
        Arc::new(self.engine.make_epoch(Layer::Inner, &policy).expect("makes"))
    }

    /// Seals the disk under an epoch key, and puts its record beside the snapshot.
    fn seal(&self, epoch: &Arc<EpochKey>, kek: &WrappingKey) -> Result<PathBuf, Error> {
        let snapshot = self.path("snapshot.sobre");
        EpochFolder::of(&snapshot).put(epoch.record()).expect("puts");
        let layer = LayerPolicy::under_epoch(Arc::clone(epoch), kek.clone(), Vec::new()).expect("a policy");
        let (disk, options) = (self.path("disk"), SealOptions { force: true, ..SealOptions::default() });
        let (source, target) = (Source::Path(&disk), Target::Path(&snapshot));
        self.engine.seal(source, target, &SealPolicy::new(layer), &options, &Control::default())?;
        Ok(snapshot)
    }

    fn sealed(&self) -> (Arc<EpochKey>, PathBuf) {
        let epoch = self.epoch(0);
        let snapshot = self.seal(&epoch, &self.keys[0]).expect("seals");
        (epoch, snapshot)
    }

    fn thumbprint(&self, key: usize) -> Thumbprint {
        self.keys[key].version.thumbprint
    }

    fn moved(&self, record: &EpochRecord) -> EpochRecord {
        let change = Change::Replace { from: vec![self.thumbprint(0)], to: self.keys[1].clone() };
        self.engine.rewrap_epoch(record.clone(), &change).expect("moves")
    }
}

fn open(engine: &Engine, snapshot: &Path) -> Result<u64, Error> {
    let file = std::fs::File::open(snapshot).expect("opens");
    engine.beside(snapshot).open(&file).map(|reader| reader.len())
}

/// A place that always has these bytes.
#[derive(Debug)]
struct Elsewhere(EpochRecord);

impl EpochRecords for Elsewhere {
    fn find(&self, _: &EpochId) -> Result<Option<EpochRecord>, Error> {
        Ok(Some(self.0.clone()))
    }

    fn place(&self, _: &EpochId) -> PathBuf {
        "elsewhere".into()
    }
}

#[test]
fn a_snapshot_under_an_epoch_key_opens_with_the_record_beside_it() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    assert_eq!(open(&world.engine, &snapshot).expect("opens"), 5000);
    assert!(snapshot.with_file_name(epoch.id().file_name()).is_file());
}

#[test]
fn without_the_record_the_missing_file_is_named() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    std::fs::remove_file(snapshot.with_file_name(epoch.id().file_name())).expect("removes");
    let error = open(&world.engine, &snapshot).expect_err("no record");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&epoch.id().file_name()), "{error}");
}

#[test]
fn a_copy_from_elsewhere_serves_and_is_told() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let beside = snapshot.with_file_name(epoch.id().file_name());
    let engine = world.engine.clone().with_epochs(vec![Arc::new(Elsewhere(epoch.record().clone()))]);
    let mut damaged = std::fs::read(&beside).expect("reads");
    damaged[2000] ^= 1;
    for state in [None, Some(damaged)] {
        match state {
            None => std::fs::remove_file(&beside).expect("removes"),
            Some(bytes) => std::fs::write(&beside, bytes).expect("writes"),
        }
        let file = std::fs::File::open(&snapshot).expect("opens");
        let verdict = engine.beside(&snapshot).verify(&file, 1, &Control::default()).expect("verifies");
        assert_eq!(verdict.warnings, [Warning::EpochRecordAway(epoch.id())]);
    }
}

#[test]
fn a_rotation_changes_the_record_and_no_snapshot() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let before = std::fs::read(&snapshot).expect("reads");
    let moved = world.moved(epoch.record());
    assert!(EpochFolder::of(&snapshot).put(&moved).expect("puts"));
    assert_eq!(moved.keys().collect::<Vec<_>>(), [world.thumbprint(1)]);
    let with = |key: usize| Engine::new(vec![Arc::clone(&world.keys[key].provider)]);
    assert_eq!(open(&with(1), &snapshot).expect("opens"), 5000);
    assert_eq!(open(&with(0), &snapshot).expect_err("moved away").kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read(&snapshot).expect("reads"), before);
}

#[test]
fn an_older_copy_never_takes_the_place_of_a_newer_one() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let moved = world.moved(epoch.record());
    let folder = EpochFolder::of(&snapshot);
    assert!(folder.put(&moved).expect("puts"));
    assert!(!folder.put(epoch.record()).expect("leaves it"));
    assert_eq!(folder.find(&epoch.id()).expect("reads"), Some(moved));
}

#[test]
fn the_nearest_copy_counts_and_the_operator_may_name_another_key() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let moved = world.moved(epoch.record());
    let engine = world.engine.clone().with_epochs(vec![Arc::new(Elsewhere(moved))]);
    assert_eq!(open(&engine, &snapshot).expect("opens"), 5000);
    assert_eq!(open(&engine.clone().with_keys(vec![world.thumbprint(1)]), &snapshot).expect("opens"), 5000);
    let stranger = engine.with_keys(vec![Thumbprint::from_bytes([1; 32])]);
    assert_eq!(open(&stranger, &snapshot).expect_err("not wanted").kind(), ErrorKind::WrongKey);
}

#[test]
fn what_a_missing_record_would_name_is_not_known() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let engine = world.engine.clone().with_keys(vec![world.thumbprint(0)]);
    std::fs::remove_file(snapshot.with_file_name(epoch.id().file_name())).expect("removes");
    let error = open(&engine, &snapshot).expect_err("no record");
    assert!(matches!(error.inner(), Error::EpochMissing { .. }), "{error}");
}

#[test]
fn a_foreign_record_is_passed_over_when_another_entry_opens() {
    let world = World::new();
    let (epoch, recovery) = (world.epoch(0), world.keys[1].clone());
    let layer = LayerPolicy::under_epoch(Arc::clone(&epoch), world.keys[0].clone(), vec![recovery]).expect("a policy");
    let (disk, snapshot) = (world.path("disk"), world.path("snapshot.sobre"));
    let (source, target) = (Source::Path(&disk), Target::Path(&snapshot));
    let options = SealOptions::default();
    world.engine.seal(source, target, &SealPolicy::new(layer), &options, &Control::default()).expect("seals");
    let other = world.epoch(0);
    std::fs::write(snapshot.with_file_name(epoch.id().file_name()), other.record().encode()).expect("writes");
    assert_eq!(open(&world.engine, &snapshot).expect("opens"), 5000);
}

#[test]
fn another_epochs_record_under_the_name_opens_nothing() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let other = world.epoch(0);
    let beside = snapshot.with_file_name(epoch.id().file_name());
    std::fs::write(&beside, other.record().encode()).expect("writes");
    assert_eq!(open(&world.engine, &snapshot).expect_err("foreign").kind(), ErrorKind::Damaged);
    // With the name in the header changed as well, nothing that hangs on the header's hash agrees any more.
    let mut forged = other.record().clone();
    forged.header.id = epoch.id();
    std::fs::write(&beside, forged.encode()).expect("writes");
    assert_eq!(open(&world.engine, &snapshot).expect_err("forged").kind(), ErrorKind::Damaged);
}

#[test]
fn an_expired_kek_seals_nothing_through_an_epoch_key_and_still_opens() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let mut expired = world.keys[0].clone();
    expired.version.not_after = Some(UnixTime(1));
    let error = world.seal(&epoch, &expired).expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(open(&world.engine, &snapshot).expect("opens"), 5000);
}

#[test]
fn one_layers_epoch_key_wraps_no_other_layers_dek() {
    let world = World::new();
    let epoch = world.epoch(0);
    let layer = |key: usize| LayerPolicy::new(vec![world.keys[key].clone()]).expect("one key");
    let under = LayerPolicy::under_epoch(epoch, world.keys[0].clone(), Vec::new()).expect("a policy");
    let policy = SealPolicy::double(layer(1), under);
    let error = world.engine.sealer(crate::engine::Geometry::disk(5000), &policy).expect_err("another layer's");
    assert!(matches!(error, Error::Policy(crate::engine::PolicyError::ForeignEpoch)), "{error}");
}

#[test]
fn rewrapping_to_a_key_makes_a_snapshot_direct_again() {
    let world = World::new();
    let (epoch, snapshot) = world.sealed();
    let to = Change::To(LayerPolicy::new(vec![world.keys[1].clone()]).expect("one key"));
    world.engine.rewrap(&snapshot, Layer::Inner, &to).expect("rewraps");
    std::fs::remove_file(snapshot.with_file_name(epoch.id().file_name())).expect("removes");
    assert_eq!(open(&world.engine, &snapshot).expect("opens"), 5000);
}

#[test]
fn a_recovery_key_beside_an_epoch_key_opens_without_its_record() {
    let world = World::new();
    let (epoch, recovery) = (world.epoch(0), world.keys[1].clone());
    let layer = LayerPolicy::under_epoch(epoch, world.keys[0].clone(), vec![recovery]).expect("a policy");
    let (disk, snapshot) = (world.path("disk"), world.path("snapshot.sobre"));
    let (source, target) = (Source::Path(&disk), Target::Path(&snapshot));
    let options = SealOptions::default();
    world.engine.seal(source, target, &SealPolicy::new(layer), &options, &Control::default()).expect("seals");
    assert_eq!(open(&world.engine, &snapshot).expect("opens"), 5000);
}

#[test]
fn what_is_no_record_is_refused() {
    let world = World::new();
    let bytes = world.epoch(0).record().encode();
    let fault = |bytes: &[u8]| EpochRecord::decode(bytes).expect_err("refused").fault;
    let sealed = |mut bytes: Vec<u8>| {
        bytes.truncate(crate::format::HEAD_LEN - 32);
        let check = crate::kdf::sha256(&[&bytes]);
        bytes.extend_from_slice(&check);
        bytes
    };
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        sealed(bytes)
    };
    assert_eq!(fault(b""), Fault::Truncated);
    assert_eq!(fault(&bytes[..1000]), Fault::Truncated);
    assert_eq!(fault(&[&bytes[..], &[0]].concat()), Fault::Length { found: 32769, expected: 32768 });
    assert_eq!(fault(&with(0, 0)), Fault::Magic);
    assert_eq!(fault(&with(8, 2)), Fault::Unsupported { field: "version", value: 2 });
    assert_eq!(fault(&with(10, 1)), Fault::Kind("a snapshot"));
    assert_eq!(fault(&with(10, 2)), Fault::Unsupported { field: "kind", value: 2 });
    assert_eq!(fault(&with(11, 1)), Fault::Unsupported { field: "suite", value: 1 });
    assert_eq!(fault(&with(12, 0)), Fault::Range { field: "layer", value: 0 });
    assert_eq!(fault(&with(12, 3)), Fault::Range { field: "layer", value: 3 });
    for at in [13, 15, 48, 160, 1023] {
        assert_eq!(fault(&with(at, 1)), Fault::NotZero, "byte {at}");
    }
    assert_eq!(fault(&with(16, 1)), Fault::Unsupported { field: "critical bits", value: 1 });
    let mut bent = bytes.clone();
    bent[5000] ^= 1;
    assert_eq!(fault(&bent), Fault::Check);
    let snapshot = crate::format::Head::decode(&bytes, 0).expect_err("no snapshot");
    assert_eq!(snapshot.fault, Fault::Kind("an epoch key"));
}

#[test]
fn a_record_reads_as_it_was_written() {
    let record = World::new().epoch(0).record().clone();
    assert_eq!(EpochRecord::decode(&record.encode()).expect("decodes"), record);
    assert_eq!(record.header.id.to_string().parse::<EpochId>().expect("an id"), record.header.id);
    for text in ["", "0", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
        assert!(text.parse::<EpochId>().is_err(), "{text}");
    }
}
