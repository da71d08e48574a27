//! A file that remembers a rejected PIN for all processes that use it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cryptoki::slot::TokenInfo;

use crate::kdf;
use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::{Fault, TokenError};
use crate::random::{Random, SystemRandom};
use crate::secret::SecretBytes;

/// The file, locked: no other process logs in meanwhile. Unlocked when it is dropped.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
    file: File,
    token: Vec<u8>,
    record: Vec<u8>,
}

impl Stamp {
    /// Waits for other processes until the deadline.
    pub(super) fn lock(path: &Path, token: &TokenInfo, until: Option<Instant>) -> Result<Self, Fault> {
        let identity = format!("{}\0{}", token.serial_number(), token.label()).into_bytes();
        Self::lock_for(path, identity, until)
    }

    fn lock_for(path: &Path, token: Vec<u8>, until: Option<Instant>) -> Result<Self, Fault> {
        let at = |error| fault(path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(at)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(at(error)),
                Err(TryLockError::WouldBlock) if until.is_some_and(|until| Instant::now() >= until) => {
                    return Err(Fault::plain(ProviderErrorKind::Timeout));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        let mut record = Vec::new();
        (&mut file).take(RECORD + 1).read_to_end(&mut record).map_err(at)?;
        Ok(Self { path: path.to_owned(), file, token, record })
    }

    /// Whether the file remembers this PIN, for this token. What is no record remembers nothing.
    pub(super) fn names(&self, pin: &SecretBytes) -> bool {
        let Some((salt, check)) = self.record.split_first_chunk::<SALT>() else { return false };
        check == self.check(salt, pin)
    }

    pub(super) fn write(mut self, pin: &SecretBytes) -> Result<(), Fault> {
        let mut salt = [0; SALT];
        SystemRandom.fill(&mut salt).map_err(|error| fault(&self.path, io::Error::other(error)))?;
        let record = [&salt[..], &self.check(&salt, pin)].concat();
        self.replace(&record).map_err(|error| fault(&self.path, error))
    }

    pub(super) fn clear(mut self) -> Result<(), Fault> {
        if self.record.is_empty() {
            return Ok(());
        }
        self.replace(&[]).map_err(|error| fault(&self.path, error))
    }

    fn replace(&mut self, record: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(record)?;
        self.file.sync_all()
    }

    /// So few bits that a short PIN can't be found by trying.
    fn check(&self, salt: &[u8; SALT], pin: &SecretBytes) -> [u8; CHECK] {
        let length = (self.token.len() as u64).to_le_bytes();
        let [first, second, ..] = kdf::sha256(&[b"sobre rejected PIN", salt, &length, &self.token, pin.expose()]);
        [first, second]
    }
}

fn fault(path: &Path, source: io::Error) -> Fault {
    Fault::of(ProviderErrorKind::Unavailable, TokenError::Stamp { path: path.to_owned(), source })
}

const SALT: usize = 16;
const CHECK: usize = 2;
const RECORD: u64 = 18;
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> SecretBytes {
        SecretBytes::copied_from(text.as_bytes())
    }

    fn lock(path: &Path, token: &str) -> Result<Stamp, Fault> {
        Stamp::lock_for(path, token.as_bytes().to_vec(), Some(Instant::now() + Duration::from_millis(50)))
    }

    #[test]
    fn rejected_pin_is_remembered_until_it_changes_or_is_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stamp");
        assert!(!lock(&path, "a").expect("locks").names(&pin("1234")));
        lock(&path, "a").expect("locks").write(&pin("1234")).expect("writes");
        let stamp = lock(&path, "a").expect("locks");
        assert!(stamp.names(&pin("1234")));
        let others = (0..200).filter(|number| stamp.names(&pin(&format!("other-{number}")))).count();
        assert!(others <= 2, "{others} of 200 other PINs");
        stamp.clear().expect("clears");
        assert!(!lock(&path, "a").expect("locks").names(&pin("1234")));
    }

    #[test]
    fn stamp_of_another_token_or_junk_names_no_pin() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stamp");
        lock(&path, "a").expect("locks").write(&pin("1234")).expect("writes");
        let written = std::fs::read(&path).expect("reads");
        assert_eq!(written.len(), 18);
        // One in 65,536 of these runs would meet the other token's check.
        assert!(
            (0..8).filter(|token| lock(&path, &format!("{token}")).expect("locks").names(&pin("1234"))).count() < 2
        );
        for junk in [&written[..17], &[&written[..], b"\n"].concat(), b"1234"] {
            std::fs::write(&path, junk).expect("writes");
            assert!(!lock(&path, "a").expect("locks").names(&pin("1234")));
        }
    }

    #[test]
    fn one_process_logs_in_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stamp");
        let held = lock(&path, "a").expect("locks");
        assert_eq!(lock(&path, "a").expect_err("held").kind, ProviderErrorKind::Timeout);
        drop(held);
        assert!(lock(&path, "a").is_ok());
    }
}
