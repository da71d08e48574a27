//! Changing who can open a snapshot: the heads change, the payload does not.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use sobre::engine::{Change, Control, PolicyError, SealPolicy, Warning, verify_keyless};
use sobre::format::{ChunkSize, Layer, Suite};
use sobre::io::CommitError;
use sobre::{Engine, Error, ErrorKind};

use crate::common::forge::{BODY, Forge, HEAD};
use crate::common::{CUSTOMER, LARGE, PLATFORM, SMALL_EXTRA, engine_with, named, oracle_layer, seal, wrapping_key};

/// A snapshot for these keys; `platform:` in front of a name makes it the platform's.
struct Snapshot {
    _folder: tempfile::TempDir,
    path: PathBuf,
    disk: Vec<u8>,
    root: [u8; 32],
}

impl Snapshot {
    fn of(layers: &[&[&str]]) -> Self {
        let folder = crate::common::folder();
        let disk = crate::common::disk_of(300_000, 77);
        let source = folder.path().join("disk");
        std::fs::write(&source, &disk).expect("writes");
        let policy = match layers {
            [one] => SealPolicy::new(oracle_layer(one)),
            [one, two] => SealPolicy::double(oracle_layer(one), oracle_layer(two)),
            _ => panic!("one or two layers"),
        }
        .chunk_size(ChunkSize::from_log2(16).expect("a size"));
        let path = folder.path().join("snapshot");
        let root = seal(&Engine::new(Vec::new()), &policy, &source, &path).expect("seals").root;
        Self { _folder: folder, path, disk, root }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("reads")
    }

    fn patch(&self, offset: usize, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(&self.path).expect("opens");
        file.write_all_at(bytes, offset as u64).expect("writes");
    }

    /// The keys open it, and it holds the disk; returns what was noticed.
    fn opens(&self, keys: &[&str]) -> Vec<Warning> {
        let reader = engine_with(keys).open(self.bytes()).unwrap_or_else(|error| panic!("{keys:?}: {error}"));
        let mut out = vec![1; self.disk.len()];
        assert_eq!(reader.read_at(&mut out, 0).expect("reads"), out.len());
        assert!(out == self.disk);
        assert_eq!(reader.root(), &self.root);
        reader.warnings().to_vec()
    }

    fn refuses(&self, keys: &[&str]) -> String {
        named(&engine_with(keys).open(self.bytes()).map(|_| ()).expect_err("the wrong keys"))
    }

    fn rewrap(&self, keys: &[&str], layer: Layer, change: &Change) -> Result<sobre::engine::RewrapReport, Error> {
        engine_with(keys).rewrap(&self.path, layer, change)
    }

    fn verify(&self, keys: &[&str]) -> String {
        let word = |result: Result<sobre::engine::Verdict, Error>| {
            result.map_or_else(|error| named(&error), |_| "ok".to_owned())
        };
        let without = word(verify_keyless(self.bytes(), Some(&self.root), 1, &Control::default()));
        let with = word(engine_with(keys).verify(self.bytes(), 1, &Control::default()));
        // Without keys it can't be told which of two heads is forged.
        assert_eq!(with == "ok", without == "ok");
        with
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_rewrap_changes_the_key_and_nothing_below_the_heads() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let before = snapshot.bytes();
    let report = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::To(oracle_layer(&[PLATFORM]))).expect("rewraps");
    assert_eq!((report.generation, report.changed, report.keys.len()), (2, true, 1));
    let after = snapshot.bytes();
    assert!(before[BODY..] == after[BODY..]);
    assert!(before[..1024] == after[..1024], "FIXED never changes");
    assert!(after[..HEAD] == after[HEAD..BODY], "both heads are the same at rest");
    assert_eq!(snapshot.opens(&[PLATFORM]), []);
    assert_eq!(snapshot.refuses(&[CUSTOMER]), "key-missing 1");
    assert_eq!(snapshot.verify(&[PLATFORM]), "ok");
}

#[test]
fn old_wrapped_keys_are_nowhere_in_the_file() {
    let snapshot = Snapshot::of(&[&[CUSTOMER, LARGE], &[PLATFORM]]);
    let forge = Forge::new(&snapshot.bytes());
    let section = forge.bytes[forge.sections[0].clone()].to_vec();
    let head = sobre::format::Head::decode(&forge.bytes[..HEAD], 0).expect("a head");
    let old: Vec<_> = head.envelope.section(Layer::Inner).expect("layer 1").0.entries.clone();
    snapshot.rewrap(&[CUSTOMER, PLATFORM], Layer::Inner, &Change::To(oracle_layer(&[SMALL_EXTRA]))).expect("rewraps");
    let after = snapshot.bytes();
    for entry in old {
        assert!(contains(&section, &entry.ciphertext), "it was there");
        assert!(!contains(&after, &entry.ciphertext[..32]) && !contains(&after, &entry.ciphertext[200..232]));
        assert!(!contains(&after, entry.thumbprint.as_bytes()));
    }
    assert_eq!(snapshot.opens(&[SMALL_EXTRA, PLATFORM]), []);
}

#[test]
fn keys_are_added_and_removed() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let report = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(wrapping_key(LARGE))).expect("adds");
    assert_eq!((report.generation, report.keys.len()), (2, 2));
    assert_eq!(snapshot.opens(&[CUSTOMER]), []);
    assert_eq!(snapshot.opens(&[LARGE]), []);
    let added = snapshot.rewrap(&[LARGE], Layer::Inner, &Change::Add(wrapping_key(LARGE)));
    assert!(matches!(added.expect_err("there already").inner(), Error::Policy(PolicyError::SameKeyTwice)));
    let gone = wrapping_key(CUSTOMER).version.thumbprint;
    let report = snapshot.rewrap(&[LARGE], Layer::Inner, &Change::Remove(gone)).expect("removes");
    assert_eq!((report.generation, report.keys), (3, vec![wrapping_key(LARGE).version.thumbprint]));
    assert_eq!(snapshot.refuses(&[CUSTOMER]), "key-missing 1");
    assert_eq!(snapshot.opens(&[LARGE]), []);
    let error = snapshot.rewrap(&[LARGE], Layer::Inner, &Change::Remove(gone)).expect_err("not there");
    assert!(matches!(error.inner(), Error::Policy(PolicyError::NoSuchEntry)));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let last = wrapping_key(LARGE).version.thumbprint;
    let before = snapshot.bytes();
    let error = snapshot.rewrap(&[LARGE], Layer::Inner, &Change::Remove(last)).expect_err("the last one");
    assert!(matches!(error.inner(), Error::Policy(PolicyError::LastKey)));
    assert!(snapshot.bytes() == before);
}

#[test]
fn the_ninth_key_is_refused() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    for count in 2..=9_u8 {
        // Eight keys are more than there are test keys: the same public half under other thumbprints does here.
        let mut key = wrapping_key(CUSTOMER);
        key.version.thumbprint = sobre::key::Thumbprint::from_bytes([count; 32]);
        key.provider = std::sync::Arc::new(crate::common::oracle::Unchecked(wrapping_key(CUSTOMER)));
        let added = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(key));
        match count {
            9 => assert!(matches!(added.expect_err("full").inner(), Error::Policy(PolicyError::KeyCount(9)))),
            _ => assert_eq!(added.expect("adds").keys.len(), usize::from(count)),
        }
    }
    assert_eq!(snapshot.opens(&[CUSTOMER]), []);
}

#[test]
fn the_platform_rewraps_its_layer_alone() {
    let snapshot = Snapshot::of(&[&[CUSTOMER], &["platform:test-rsa3072.pkcs8.pem"]]);
    let before = Forge::new(&snapshot.bytes());
    let inner = before.bytes[before.sections[0].clone()].to_vec();
    let change = Change::To(oracle_layer(&["platform:test-rsa4096.pkcs8.pem"]));
    let report = snapshot.rewrap(&[PLATFORM], Layer::Outer, &change).expect("needs no customer key");
    assert_eq!(report.generation, 2);
    let after = snapshot.bytes();
    assert!(after[before.sections[0].clone()] == inner, "the customer's section stays byte for byte");
    assert_eq!(snapshot.opens(&[CUSTOMER, LARGE]), []);
    assert_eq!(snapshot.refuses(&[CUSTOMER, PLATFORM]), "key-missing 2");
    // And the customer's alone, the other way round.
    let outer = after[before.sections[1].start..before.sections[1].start + 64].to_vec();
    snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(wrapping_key(SMALL_EXTRA))).expect("alone as well");
    assert!(contains(&snapshot.bytes()[..HEAD], &outer));
    assert_eq!(snapshot.opens(&[SMALL_EXTRA, LARGE]), []);
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let error = snapshot.rewrap(&[CUSTOMER], Layer::Outer, &Change::Repair).expect_err("one layer only");
    assert!(matches!(error.inner(), Error::Policy(PolicyError::NoSuchLayer)));
}

#[test]
fn a_customers_disk_never_goes_to_a_platform_key() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let before = snapshot.bytes();
    let platform = "platform:test-rsa3072.pkcs8.pem";
    for change in [
        Change::Add(wrapping_key(platform)),
        Change::To(oracle_layer(&[platform])),
        Change::To(oracle_layer(&[LARGE, platform])),
    ] {
        let error = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &change).expect_err("refused");
        assert!(matches!(error.inner(), Error::Policy(PolicyError::CustomerToPlatform)), "{error}");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(snapshot.bytes() == before);
    }
    // A platform's disk may go to a customer, and then it stays there.
    let snapshot = Snapshot::of(&[&[platform]]);
    snapshot.rewrap(&[PLATFORM], Layer::Inner, &Change::Add(wrapping_key(CUSTOMER))).expect("to the customer");
    snapshot
        .rewrap(&[CUSTOMER], Layer::Inner, &Change::Remove(wrapping_key(platform).version.thumbprint))
        .expect("off the platform's");
    let back = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(wrapping_key(platform)));
    assert!(matches!(back.expect_err("never back").inner(), Error::Policy(PolicyError::CustomerToPlatform)));
}

#[test]
fn the_outer_layer_may_go_back_to_the_platform() {
    let platform = "platform:test-rsa3072.pkcs8.pem";
    let snapshot = Snapshot::of(&[&[CUSTOMER], &[platform]]);
    snapshot.rewrap(&[PLATFORM], Layer::Outer, &Change::To(oracle_layer(&[LARGE]))).expect("to somebody's key");
    snapshot.rewrap(&[LARGE], Layer::Outer, &Change::To(oracle_layer(&[platform]))).expect("and back");
    assert_eq!(snapshot.opens(&[CUSTOMER, PLATFORM]), []);
}

#[test]
fn an_interrupted_rewrap_opens_with_both_keys_and_is_finished_by_a_repair() {
    for old in [0, 1] {
        for suite in [Suite::XtsBlake3, Suite::XtsGcm] {
            let layers: &[&[&str]] = if suite == Suite::XtsGcm { &[&[CUSTOMER], &[PLATFORM]] } else { &[&[CUSTOMER]] };
            let snapshot = Snapshot::of(layers);
            let before = snapshot.bytes();
            let change = Change::To(oracle_layer(&[LARGE]));
            snapshot.rewrap(&[CUSTOMER, PLATFORM], Layer::Inner, &change).expect("rewraps");
            snapshot.patch(old * HEAD, &before[old * HEAD..(old + 1) * HEAD]);
            assert_eq!(snapshot.opens(&[LARGE, PLATFORM]), [Warning::RewrapUnfinished]);
            assert_eq!(snapshot.opens(&[CUSTOMER, PLATFORM]), [Warning::RewrapUnfinished], "old head {old}");
            let outdated = format!("only head {}", ["a", "b"][old]);
            assert_eq!(snapshot.verify(&[LARGE, PLATFORM]), outdated);
            let report = snapshot.rewrap(&[LARGE, PLATFORM], Layer::Inner, &Change::Repair).expect("repairs");
            assert_eq!((report.generation, report.changed), (2, true));
            assert_eq!(snapshot.opens(&[LARGE, PLATFORM]), []);
            assert_eq!(snapshot.refuses(&[CUSTOMER, PLATFORM]), "key-missing 1");
            assert_eq!(snapshot.verify(&[LARGE, PLATFORM]), "ok");
            let wrapped = before[1024..4096].windows(64).nth(200).expect("long enough");
            assert!(!contains(&snapshot.bytes()[..BODY], wrapped) || old > 1, "the old wrapper is gone");
        }
    }
}

#[test]
fn a_damaged_head_is_a_warning_and_a_repair_mends_it() {
    for head in [0_u8, 1] {
        let start = usize::from(head) * HEAD;
        for at in [0, 8, 40, 1024, 1030, 1100, 20_000, 32_736, 32_767] {
            let snapshot = Snapshot::of(&[&[CUSTOMER], &[PLATFORM]]);
            let good = snapshot.bytes();
            snapshot.patch(start + at, &[good[start + at] ^ 0x40]);
            assert_eq!(snapshot.opens(&[CUSTOMER, PLATFORM]), [Warning::HeadDamaged { head }], "at {at}");
            assert_eq!(snapshot.verify(&[CUSTOMER, PLATFORM]), format!("only head {}", ["a", "b"][usize::from(head)]));
            let report = snapshot.rewrap(&[PLATFORM], Layer::Outer, &Change::Repair).expect("repairs");
            assert!(report.changed);
            assert!(snapshot.bytes() == good);
            let report = snapshot.rewrap(&[PLATFORM], Layer::Outer, &Change::Repair).expect("nothing to do");
            assert!(!report.changed);
            assert_eq!(snapshot.verify(&[CUSTOMER, PLATFORM]), "ok");
        }
    }
}

#[test]
fn a_rewrap_mends_a_damaged_head_on_its_way() {
    for head in [0, 1] {
        let snapshot = Snapshot::of(&[&[CUSTOMER]]);
        snapshot.patch(head * HEAD + 2000, b"!!!!");
        snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::To(oracle_layer(&[LARGE]))).expect("rewraps");
        assert_eq!(snapshot.opens(&[LARGE]), []);
        assert_eq!(snapshot.verify(&[LARGE]), "ok");
    }
}

#[test]
fn a_forged_head_with_a_higher_generation_does_not_hide_the_good_one() {
    // Anyone can write such a head; without the key it must not keep the owner out.
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let mut forge = Forge::new(&snapshot.bytes());
    forge.bytes[1024 + 8] = 200;
    let flag = forge.sections[0].start + 6;
    forge.bytes[flag] ^= 1;
    forge.mend_check(0);
    snapshot.patch(0, &forge.bytes[..HEAD]);
    assert_eq!(snapshot.opens(&[CUSTOMER]), [Warning::HeadDamaged { head: 0 }]);
    assert_eq!(snapshot.verify(&[CUSTOMER]), "only head a");
    snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Repair).expect("repairs");
    assert_eq!(snapshot.opens(&[CUSTOMER]), []);
}

#[test]
fn a_generation_that_can_not_be_raised_is_refused() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let mut forge = Forge::new(&snapshot.bytes());
    for head in [0, HEAD] {
        forge.bytes[head + 1024 + 8..head + 1024 + 16].fill(0xFF);
    }
    forge.mend(["checks"].into_iter());
    snapshot.patch(0, &forge.bytes[..BODY]);
    assert_eq!(snapshot.opens(&[CUSTOMER]), [], "it still opens");
    let error = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(wrapping_key(LARGE))).expect_err("no next one");
    assert_eq!(named(&error), "envelope range generation");
    let mut forge = Forge::new(&Snapshot::of(&[&[CUSTOMER]]).bytes());
    let section = forge.sections[0].start;
    for head in [0, HEAD] {
        forge.bytes[head + section + 8..head + section + 16].fill(0xFF);
    }
    forge.mend(["sections", "checks"].into_iter());
    std::fs::write(&snapshot.path, &forge.bytes).expect("writes");
    let error = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(wrapping_key(LARGE))).expect_err("no next one");
    assert_eq!(named(&error), "section-1 range generation");
}

#[test]
fn a_snapshot_that_is_being_rewrapped_is_busy() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let held = OpenOptions::new().write(true).open(&snapshot.path).expect("opens");
    held.try_lock().expect("free");
    let error = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Repair).expect_err("held");
    assert!(matches!(error, Error::Commit(CommitError::Busy(_))), "{error}");
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(held);
    snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Repair).expect("free again");
}

#[test]
fn the_wrong_key_changes_nothing() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let before = snapshot.bytes();
    let error = snapshot.rewrap(&[LARGE], Layer::Inner, &Change::To(oracle_layer(&[LARGE]))).expect_err("no key");
    assert_eq!(named(&error), "key-missing 1");
    assert!(snapshot.bytes() == before);
    let named_key = engine_with(&[CUSTOMER]).with_keys(vec![wrapping_key(LARGE).version.thumbprint]);
    let error = named_key.open(snapshot.bytes()).map(|_| ()).expect_err("not sealed for it");
    assert!(matches!(error.inner(), Error::KeyNotWanted { .. }));
    assert_eq!(error.kind(), ErrorKind::WrongKey);
}

#[test]
fn an_expired_key_may_not_be_added() {
    let snapshot = Snapshot::of(&[&[CUSTOMER]]);
    let before = snapshot.bytes();
    let mut key = wrapping_key(LARGE);
    key.version.not_after = Some(sobre::clock::UnixTime(1));
    let error = snapshot.rewrap(&[CUSTOMER], Layer::Inner, &Change::Add(key)).expect_err("expired");
    assert!(matches!(error.inner(), Error::Policy(PolicyError::KeyRefused { .. })), "{error}");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(snapshot.bytes() == before);
}
