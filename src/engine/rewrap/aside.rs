//! Rewrapping where the snapshot can't be written: the new head goes into a file of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::engine::error::AtFile;
use crate::engine::rewrap::{Change, Changed, report_of};
use crate::engine::unlock::Heads;
use crate::engine::{Engine, Error, PolicyError, RewrapReport};
use crate::format::{Fault, HEAD_LEN, Head, Layer, Part};
use crate::io::{PartialFile, read_exact_at};

impl Engine {
    /// Rewraps one layer of the snapshot at `path` into `sidecar`, a head of its own (SPEC §8), and leaves the snapshot as it is: for
    /// write-once storage. A sidecar that is there already is what counts, and is replaced in one step.
    ///
    /// The snapshot itself still opens with its old key; with the sidecar it opens with the new one.
    ///
    /// # Errors
    ///
    /// As [`rewrap`](Self::rewrap); [`Error::Foreign`] when the sidecar is that of another snapshot.
    pub fn rewrap_aside(
        &self,
        path: &Path,
        sidecar: &Path,
        layer: Layer,
        change: &Change,
    ) -> Result<RewrapReport, Error> {
        let own = Heads::read(&File::open(path).at(path)?).at(path)?;
        let snapshot = own.header.id;
        let result = self.write_aside(own, (path, sidecar), layer, change);
        self.end_rewrap(snapshot, layer, change, &result);
        result
    }

    fn write_aside(
        &self,
        own: Heads,
        (path, sidecar): (&Path, &Path),
        layer: Layer,
        change: &Change,
    ) -> Result<RewrapReport, Error> {
        let heads = match read_sidecar(sidecar)? {
            Some(bytes) => {
                let heads = Heads::single(&bytes).at(sidecar)?;
                if heads.header != own.header {
                    return Err(Error::Foreign.at(sidecar));
                }
                heads
            }
            None => own,
        };
        let fresh = self.beside(path).rewrapped_head(&heads, layer, change).at(path)?;
        let (head, report) = match fresh {
            (Some(head), report) => (head, report),
            // What is as asked for already is still to be had aside.
            (None, report) => (heads.best().1.clone(), report),
        };
        if sidecar.symlink_metadata().is_err() || report.changed {
            self.start_rewrap(heads.header.id, layer, change)?;
            let partial = PartialFile::open(sidecar, 0o644, true)?;
            let written = partial.file().set_len(0).and_then(|()| partial.file().write_all_at(&head.encode(), 0));
            if let Err(error) = written {
                let _ = partial.discard();
                return Err(Error::Io(error).at(sidecar));
            }
            partial.commit()?;
        }
        Ok(report)
    }

    fn rewrapped_head(
        &self,
        heads: &Heads,
        layer: Layer,
        change: &Change,
    ) -> Result<(Option<Head>, RewrapReport), Error> {
        if !Layer::of(heads.header.suite).contains(&layer) {
            return Err(PolicyError::NoSuchLayer.into());
        }
        let unlocked = self.unlock(heads, &[layer])?;
        let (_, head) = &unlocked.head;
        let missing = || Error::damaged(Part::Section(layer.number()), Fault::Truncated);
        let (section, _) = head.envelope.section(layer).ok_or_else(missing)?;
        let (secret, keys) = unlocked.layers.first().ok_or_else(missing)?;
        match self.changed(section, secret.blob(), change, Some(heads.header.id))? {
            Changed::Nothing => Ok((None, report_of(section, false))),
            Changed::Section(updated) => {
                let bytes = updated.seal(&keys.envelope);
                let report = report_of(&updated, true);
                let envelope = head.envelope.replacing(*updated, bytes)?;
                Ok((Some(Head { header: head.header.clone(), envelope }), report))
            }
        }
    }
}

fn read_sidecar(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.at(path)?,
    };
    let found = file.metadata().at(path)?.len();
    if found != HEAD_LEN as u64 {
        let fault = Fault::Length { found, expected: HEAD_LEN as u64 };
        return Err(Error::damaged(Part::Head(0), fault).at(path));
    }
    let mut bytes = vec![0; HEAD_LEN];
    read_exact_at(&file, &mut bytes, 0).at(path)?;
    Ok(Some(bytes))
}
