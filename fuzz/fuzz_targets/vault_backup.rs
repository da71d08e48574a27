//! Vault backups. With the first byte of the input:
//!
//! 0: any file: parses or not, unlocks or not, and never panics.
//! 1: damage to a valid one: if a single byte changed, the passphrase gives no contents.
//! 2: any payload under a seal that holds: what only whoever knows the passphrase can write.
//! 3: damage to a valid payload under a seal that holds.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sobre::provider::BackupUnlock;
use sobre::provider::embedded::{Backup, BackupError, BackupFile};
use sobre::secret::SecretBytes;
use sobre_fuzz::{backup, mutate};

fuzz_target!(|data: &[u8]| {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let valid = backup::valid();
        let contents = unlock(&valid).expect("the other implementation agrees");
        assert_eq!(contents.vaults.len(), 1);
        assert_eq!(contents.vaults[0].keys[0].versions.len(), 1);
        valid
    });
    let Some((mode, data)) = data.split_first() else { return };
    match mode % 4 {
        0 => {
            if !backup::is_costly(data) {
                let _ = unlock(data);
            }
        }
        1 => {
            let mut file = valid.clone();
            mutate::apply(&mut file, &[0, 20, 36, 48, 80, 140, valid.len()], data);
            if file != *valid && !backup::is_costly(&file) {
                assert!(unlock(&file).is_err(), "a changed backup opens");
            }
        }
        2 => {
            let _ = unlock(&backup::seal(data));
        }
        _ => {
            let mut payload = backup::payload();
            let len = payload.len();
            mutate::apply(&mut payload, &[0, 8, 12, 17, 42, 48, 54, 81, 99, 115, 136, len], data);
            let _ = unlock(&backup::seal(&payload));
        }
    }
});

fn unlock(file: &[u8]) -> Result<Backup, BackupError> {
    let passphrase = SecretBytes::copied_from(backup::PASSPHRASE);
    BackupFile::parse(file.to_vec())?.unlock(BackupUnlock::Passphrase(&passphrase))
}
