use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::engine::{ErrorKind, SealOptions, SealPolicy, Source, Target};
use crate::provider::PemFiles;
use crate::testing;

struct Sealed {
    folder: tempfile::TempDir,
    engine: Engine,
    keys: Vec<WrappingKey>,
}

impl Sealed {
    /// A snapshot for the first `wrapped` of three keys.
    fn new(wrapped: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = Vec::new();
        let mut providers: Vec<Arc<dyn crate::provider::KeyProvider>> = Vec::new();
        for name in ["rsa2048", "rsa3072", "rsa4096"] {
            let mut files = PemFiles::new();
            let version = files.add(&testing::path(&format!("keys/test-{name}.pkcs8.pem"))).expect("a test key");
            let provider = Arc::new(files);
            providers.push(provider.clone());
            keys.push(WrappingKey { provider, version });
        }
        let policy = SealPolicy::new(LayerPolicy::new(keys.iter().take(wrapped).cloned().collect()).expect("keys"));
        let engine = Engine::new(providers);
        std::fs::write(folder.path().join("disk"), [7; 5000]).expect("writes");
        let sealed = Self { folder, engine, keys };
        let options = SealOptions::default();
        let (disk, target) = (sealed.folder.path().join("disk"), sealed.path());
        sealed
            .engine
            .seal(Source::Path(&disk), Target::Path(&target), &policy, &options, &Control::default())
            .expect("seals");
        sealed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    fn thumbprint(&self, key: usize) -> Thumbprint {
        self.keys[key].version.thumbprint
    }

    fn replace(&self, from: &[usize], to: usize) -> Result<RewrapReport, Error> {
        let from = from.iter().map(|&key| self.thumbprint(key)).collect();
        self.engine.rewrap(&self.path(), Layer::Inner, &Change::Replace { from, to: self.keys[to].clone() })
    }
}

#[test]
fn a_key_takes_the_place_of_another_and_leaves_the_rest() {
    let sealed = Sealed::new(2);
    let report = sealed.replace(&[0], 2).expect("replaces");
    assert_eq!(report.keys, [sealed.thumbprint(2), sealed.thumbprint(1)]);
    assert!(report.changed);
    let file = File::open(sealed.path()).expect("opens");
    for key in [1, 2] {
        let engine = sealed.engine.clone().with_keys(vec![sealed.thumbprint(key)]);
        assert_eq!(engine.open(&file).expect("opens").len(), 5000);
    }
    let old = sealed.engine.clone().with_keys(vec![sealed.thumbprint(0)]);
    assert_eq!(old.open(&file).expect_err("moved away").kind(), ErrorKind::WrongKey);
}

#[test]
fn what_was_replaced_already_is_not_written_again() {
    let sealed = Sealed::new(1);
    sealed.replace(&[0], 2).expect("replaces");
    let bytes = std::fs::read(sealed.path()).expect("reads");
    let report = sealed.replace(&[0, 1], 2).expect("nothing to do");
    assert!(!report.changed);
    assert_eq!(std::fs::read(sealed.path()).expect("reads"), bytes);
}

#[test]
fn an_interrupted_replacement_is_finished() {
    let sealed = Sealed::new(1);
    let before = std::fs::read(sealed.path()).expect("reads");
    sealed.replace(&[0], 2).expect("replaces");
    let after = std::fs::read(sealed.path()).expect("reads");
    // As if it had been killed between the heads.
    let torn = [&before[..HEAD_LEN], &after[HEAD_LEN..]].concat();
    std::fs::write(sealed.path(), torn).expect("writes");
    assert!(sealed.replace(&[0], 2).expect("finishes").changed);
    assert_eq!(std::fs::read(sealed.path()).expect("reads"), after);
}

#[test]
fn several_old_keys_give_way_to_one() {
    let sealed = Sealed::new(3);
    let report = sealed.replace(&[0, 1], 2).expect("replaces");
    assert_eq!(report.keys, [sealed.thumbprint(2)]);
}

#[test]
fn a_key_that_the_snapshot_has_not_is_replaced_by_nothing() {
    let sealed = Sealed::new(1);
    let bytes = std::fs::read(sealed.path()).expect("reads");
    let error = sealed.replace(&[1], 2).expect_err("not there");
    assert!(matches!(error.inner(), Error::Policy(PolicyError::NoSuchEntry)), "{error}");
    assert_eq!(std::fs::read(sealed.path()).expect("reads"), bytes);
}

#[test]
fn what_is_cancelled_is_not_begun() {
    let sealed = Sealed::new(1);
    let ctl = Control::default();
    ctl.cancel();
    let change = Change::To(LayerPolicy::new(vec![sealed.keys[1].clone()]).expect("one key"));
    let each = |_, _| panic!("it was cancelled");
    assert!(!sealed.engine.rewrap_each(&[sealed.path()], Layer::Inner, &change, &ctl, each));
    assert_eq!((ctl.done(), ctl.total()), (0, 1));
}

#[test]
fn a_sidecar_takes_the_new_key_and_the_snapshot_stays_as_it_is() {
    let sealed = Sealed::new(1);
    let before = std::fs::read(sealed.path()).expect("reads");
    let aside = sealed.folder.path().join("aside");
    let change =
        |to: usize, from: usize| Change::Replace { from: vec![sealed.thumbprint(from)], to: sealed.keys[to].clone() };
    let report = sealed.engine.rewrap_aside(&sealed.path(), &aside, Layer::Inner, &change(1, 0)).expect("rewraps");
    assert_eq!((report.changed, report.keys), (true, vec![sealed.thumbprint(1)]));
    // The next one goes on from the sidecar.
    let report = sealed.engine.rewrap_aside(&sealed.path(), &aside, Layer::Inner, &change(2, 1)).expect("rewraps");
    assert_eq!((report.generation, report.keys), (3, vec![sealed.thumbprint(2)]));
    assert_eq!(std::fs::read(sealed.path()).expect("reads"), before);
    let only = sealed.engine.clone().with_keys(vec![sealed.thumbprint(2)]);
    let options = crate::engine::OpenOptions { sidecar: Some(aside), ..crate::engine::OpenOptions::default() };
    let mut out = Vec::new();
    let path = sealed.path();
    only.open_whole(Source::Path(&path), Target::Stream(&mut out), &options, &Control::default()).expect("opens");
    assert_eq!(out, [7; 5000]);
}

#[test]
fn the_sidecar_of_another_snapshot_is_left_alone() {
    let (sealed, other) = (Sealed::new(1), Sealed::new(1));
    let aside = other.folder.path().join("aside");
    let change = Change::Replace { from: vec![sealed.thumbprint(0)], to: sealed.keys[1].clone() };
    other.engine.rewrap_aside(&other.path(), &aside, Layer::Inner, &change).expect("rewraps");
    let before = std::fs::read(&aside).expect("reads");
    let error = sealed.engine.rewrap_aside(&sealed.path(), &aside, Layer::Inner, &change).expect_err("another's");
    assert!(matches!(error.inner(), Error::Foreign), "{error}");
    assert_eq!(std::fs::read(&aside).expect("reads"), before);
    std::fs::write(&aside, b"something else").expect("writes");
    let error = sealed.engine.rewrap_aside(&sealed.path(), &aside, Layer::Inner, &change).expect_err("no head");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(std::fs::read(&aside).expect("reads"), b"something else");
}
