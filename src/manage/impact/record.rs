//! The record of a purge: written before it, completed after it.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::clock::UnixTime;
use crate::io::{PartialFile, escaped_path};
use crate::key::{KeyDetails, KeyVersion, VaultName};
use crate::manage::{HomeError, Impact};

/// A file that says what a purge destroys and what it can't know. It is on the disk before the purge begins, so that a purge that
/// was cut short is not one that nobody knows of.
#[derive(Debug)]
pub struct PurgeRecord {
    path: PathBuf,
    value: Value,
}

impl PurgeRecord {
    /// Writes the record with the status `intended`, durably. The file must not exist.
    ///
    /// # Errors
    ///
    /// [`HomeError::Commit`] when there is such a file, [`HomeError::Io`].
    pub fn begin(
        path: &Path,
        vault: &VaultName,
        key: &KeyDetails,
        versions: &[KeyVersion],
        impact: &Impact,
        now: UnixTime,
    ) -> Result<Self, HomeError> {
        let snapshots = |paths: Vec<&Path>| paths.into_iter().map(escaped_path).collect::<Vec<_>>();
        let value = json!({
            "schema": 1,
            "record": "purge of a key",
            "status": "intended",
            "intended": now.to_string(),
            "key": format!("{vault}/{}", key.name),
            "deleted": key.deletion.map(|deletion| deletion.deleted.to_string()),
            "recoverable_until": key.deletion.map(|deletion| deletion.recoverable_until.to_string()),
            "versions": versions.iter().map(|version| json!({
                "id": version.id,
                "thumbprint": version.thumbprint.to_string(),
                "bits": version.public.bits(),
                "created": version.created.map(|time| time.to_string()),
                "spki": Base64::encode_string(version.public.spki_der()),
            })).collect::<Vec<_>>(),
            "lost": snapshots(impact.lost.iter().map(|lost| lost.snapshot.path.as_path()).collect()),
            "still_open": snapshots(impact.survivors.iter().map(|one| one.snapshot.path.as_path()).collect()),
            "coverage": {
                "snapshots": impact.coverage.snapshots,
                "unverified": impact.coverage.unverified,
                "gone": impact.coverage.gone,
                "unreadable": impact.coverage.unreadable,
                "folders": impact.coverage.folders.iter().map(|folder| json!({
                    "folder": escaped_path(&folder.path),
                    "scanned": folder.scanned.to_string(),
                    "snapshots": folder.files,
                    "unreadable": folder.failures,
                })).collect::<Vec<_>>(),
            },
            "doubts": impact.doubts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "cannot_know": CANNOT_KNOW,
        });
        let record = Self { path: path.to_owned(), value };
        record.write(false)?;
        Ok(record)
    }

    /// Says in the file that the key is destroyed.
    ///
    /// # Errors
    ///
    /// [`HomeError::Commit`], [`HomeError::Io`]: then the file still says `intended`.
    pub fn complete(mut self, now: UnixTime) -> Result<(), HomeError> {
        self.set("status", "completed");
        self.set("completed", &now.to_string());
        self.write(true)
    }

    /// Says in the file that the vault did not do it.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub fn fail(mut self, why: &str) -> Result<(), HomeError> {
        self.set("status", "failed");
        self.set("failure", why);
        self.write(true)
    }

    fn set(&mut self, field: &str, text: &str) {
        if let Value::Object(fields) = &mut self.value {
            fields.insert(field.to_owned(), json!(text));
        }
    }

    fn write(&self, replace: bool) -> Result<(), HomeError> {
        let text = format!("{:#}\n", self.value);
        let partial = PartialFile::open(&self.path, 0o600, replace)?;
        let written = partial.file().set_len(0).and_then(|()| partial.file().write_all(text.as_bytes()));
        if let Err(source) = written {
            let path = partial.path().to_owned();
            let _ = partial.discard();
            return Err(HomeError::Io { path, source });
        }
        Ok(partial.commit()?)
    }
}

const CANNOT_KNOW: [&str; 4] = [
    "copies of the vault's database and key file: file system snapshots, machine backups, clones of the disk",
    "backups of the vault or of the key, and other vaults that hold the same key",
    "what flash memory and copy-on-write file systems keep of overwritten pages",
    "snapshots in folders that were never scanned, and copies of snapshots on other machines",
];
