//! Which keys were said to expire soon, on which day: kept, so that the log is not filled with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::clock::UnixTime;
use crate::io::PartialFile;
use crate::key::Thumbprint;

/// What was said today.
#[derive(Debug, Default)]
pub(super) struct Notices {
    file: Option<PathBuf>,
    said: Mutex<BTreeMap<Thumbprint, u64>>,
}

impl Notices {
    /// Shares what was said through a file. It protects nothing: where it can't be read or written, things are said again.
    pub(super) fn at(file: PathBuf) -> Self {
        Self { file: Some(file), said: Mutex::default() }
    }

    /// Whether nobody has spoken of `key` yet on the day of `now`; from then on somebody has.
    pub(super) fn is_first(&self, key: &Thumbprint, now: UnixTime) -> bool {
        let today = now.0 / DAY;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(key) == Some(&today) {
            return false;
        }
        let mut shared = self.file.as_deref().map(read).unwrap_or_default();
        let first = shared.get(key) != Some(&today);
        said.insert(*key, today);
        if let (Some(file), true) = (&self.file, first) {
            shared.retain(|_, day| *day == today);
            shared.insert(*key, today);
            write(file, &shared);
        }
        first
    }
}

fn read(file: &Path) -> BTreeMap<Thumbprint, u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let entry = |line: &str| {
        let (day, key) = line.split_once(' ')?;
        Some((key.parse().ok()?, day.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

fn write(file: &Path, said: &BTreeMap<Thumbprint, u64>) {
    let text: String = said.iter().map(|(key, day)| format!("{day} {key}\n")).collect();
    let Ok(partial) = PartialFile::open(file, 0o600, true) else { return };
    if partial.file().set_len(0).and_then(|()| partial.file().write_all(text.as_bytes())).is_ok() {
        let _ = partial.commit();
    } else {
        let _ = partial.discard();
    }
}

/// Seconds.
const DAY: u64 = 86_400;
