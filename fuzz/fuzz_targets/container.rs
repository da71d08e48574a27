//! Damage to a whole snapshot: opening it fails, or gives exactly the disk that was sealed. No byte in between.
//!
//! The input is `suite u8 | mends u8 | commands`; see `mutate` and `snapshot::mend`.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sobre::engine::{Control, verify_keyless};
use sobre::format::{BODY_OFFSET, FOOTER_LEN, Suite};
use sobre::{Error, ErrorKind};
use sobre_fuzz::mutate;
use sobre_fuzz::snapshot::{Snapshot, mend};

fuzz_target!(|data: &[u8]| {
    static SNAPSHOTS: OnceLock<[Snapshot; 3]> = OnceLock::new();
    let snapshots = SNAPSHOTS.get_or_init(|| {
        let all = [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm].map(Snapshot::new);
        for snapshot in &all {
            assert!(read_all(snapshot, &snapshot.file).expect("opens") == snapshot.disk);
        }
        all
    });
    let Some((&[suite, mends], commands)) = data.split_first_chunk() else { return };
    let snapshot = &snapshots[usize::from(suite) % snapshots.len()];
    let mut file = snapshot.file.clone();
    mutate::apply(&mut file, &snapshot.anchors, commands);
    mend(&mut file, mends);

    match read_all(snapshot, &file) {
        Ok(disk) => assert!(disk == snapshot.disk, "another disk was opened"),
        Err(error) => refused(&error),
    }
    let body = BODY_OFFSET as usize;
    match snapshot.engine.verify(&file, 1, &Control::default()) {
        Ok(verdict) => {
            assert!(file[body..] == snapshot.file[body..], "a changed body verifies");
            assert!(file[..1024] == snapshot.file[..1024], "a changed header verifies");
            assert_eq!(verdict.root, snapshot.root);
        }
        Err(error) => refused(&error),
    }
    // Whoever knows the root needs no key, where the tags are hashes. The footer's MAC is not part of the root.
    let keyless = verify_keyless(&file, Some(&snapshot.root), 1, &Control::default());
    if suite % 3 == 0 && keyless.is_ok_and(|verdict| verdict.authentic) {
        let ending = snapshot.file.len() - FOOTER_LEN;
        assert!(file[body..ending] == snapshot.file[body..ending], "a changed body has the same root");
    }
    // The same damage to a manifest: its parts are the last bytes of the file.
    let fixed = file.get(..1024).unwrap_or_default();
    let manifest =
        [fixed, file.get(snapshot.file.len() - snapshot.manifest.len() + 1024..).unwrap_or_default()].concat();
    match snapshot.engine.open_parts(&snapshot.file[..32768], &manifest) {
        Ok(opener) => assert!(opener.disk_len() == snapshot.disk.len() as u64 && *opener.root() == snapshot.root),
        Err(error) => refused(&error),
    }
});

fn read_all(snapshot: &Snapshot, file: &Vec<u8>) -> Result<Vec<u8>, Error> {
    let reader = snapshot.engine.open(file)?;
    // An authenticated length: it can't ask for too much.
    assert_eq!(reader.len(), snapshot.disk.len() as u64);
    let mut disk = vec![0; snapshot.disk.len()];
    let count = reader.read_at(&mut disk, 0)?;
    assert_eq!(count, disk.len());
    Ok(disk)
}

/// What a file can cause: nothing that says "try again", and no failure of the machine.
fn refused(error: &Error) {
    let kind = error.kind();
    let from_file = matches!(
        kind,
        ErrorKind::Damaged | ErrorKind::Failed | ErrorKind::NotFound | ErrorKind::Usage | ErrorKind::WrongKey
    );
    assert!(from_file, "{error:?} is {kind:?}");
    assert!(!matches!(error.inner(), Error::Io(_)), "{error:?}");
}
