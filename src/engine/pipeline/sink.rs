//! Where stored or opened bytes go.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::Error;
use crate::engine::error::AtFile;
use crate::io::{WriteBehind, write_zeros};

/// Takes bytes at offsets; every offset once.
pub(super) enum Sink<'a> {
    /// A file that began empty: what is not written is zero.
    File(Seekable<'a>),
    /// A device: zeros must be written.
    Device(Seekable<'a>),
    /// A pipe: whoever comes early waits.
    Stream(Stream<'a>),
}

/// A file, and how far it was written.
pub(super) struct Seekable<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    behind: WriteBehind,
}

/// A pipe and how much went into it.
pub(super) struct Stream<'a> {
    inner: Mutex<(u64, &'a mut (dyn Write + Send))>,
    moved: Condvar,
}

impl<'a> Sink<'a> {
    pub(super) fn file(file: &'a File, path: &'a Path) -> Self {
        Self::File(Seekable { file, path, behind: WriteBehind::default() })
    }

    pub(super) fn device(file: &'a File, path: &'a Path) -> Self {
        Self::Device(Seekable { file, path, behind: WriteBehind::default() })
    }

    pub(super) fn stream(writer: &'a mut (dyn Write + Send)) -> Self {
        Self::Stream(Stream { inner: Mutex::new((0, writer)), moved: Condvar::new() })
    }

    /// Writes `bytes` at `offset`. Into a pipe, waits until everything before was written; `false` when the work was stopped
    /// meanwhile, and nothing was written.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8], stop: &dyn Fn() -> bool) -> Result<bool, Error> {
        match self {
            Self::File(Seekable { file, path, behind }) | Self::Device(Seekable { file, path, behind }) => {
                file.write_all_at(bytes, offset).at(path)?;
                behind.passed(file, offset);
                Ok(true)
            }
            Self::Stream(stream) => stream.write(offset, bytes.len() as u64, stop, |writer| writer.write_all(bytes)),
        }
    }

    /// Makes `range` zeros; as [`write_at`](Self::write_at).
    pub(super) fn write_zeros(&self, range: Range<u64>, stop: &dyn Fn() -> bool) -> Result<bool, Error> {
        match self {
            Self::File(..) => Ok(true),
            Self::Device(Seekable { file, path, .. }) => write_zeros(file, range).at(path).map(|()| true),
            Self::Stream(stream) => stream.write(range.start, range.end - range.start, stop, |writer| {
                let zeros = [0; 8192];
                let mut left = range.end - range.start;
                while left > 0 {
                    let count = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
                    writer.write_all(zeros.get(..count).unwrap_or_default())?;
                    left -= count as u64;
                }
                Ok(())
            }),
        }
    }

    /// Ends a pipe: everything written so far leaves this process.
    pub(super) fn flush(&self) -> Result<(), Error> {
        match self {
            Self::File(..) | Self::Device(..) => Ok(()),
            Self::Stream(stream) => {
                let mut inner = stream.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.1.flush().map_err(Error::from)
            }
        }
    }
}

impl Stream<'_> {
    fn write<F>(&self, offset: u64, len: u64, stop: &dyn Fn() -> bool, write: F) -> Result<bool, Error>
    where
        F: FnOnce(&mut dyn Write) -> std::io::Result<()>,
    {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.0 != offset {
            if stop() {
                return Ok(false);
            }
            inner = self.moved.wait_timeout(inner, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        write(inner.1)?;
        inner.0 += len;
        drop(inner);
        self.moved.notify_all();
        Ok(true)
    }
}

const PATIENCE: Duration = Duration::from_millis(50);
