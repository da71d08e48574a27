//! What a path leads to: files, block devices, and the things that can't be a disk.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom, seek};

/// What kind of thing a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A block device.
    BlockDevice,
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file.
    File,
    /// A character device, socket or anything else.
    Other,
}

impl SourceKind {
    /// Reads the kind off `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_file() {
            Self::File
        } else if kind.is_block_device() {
            Self::BlockDevice
        } else if kind.is_dir() {
            Self::Directory
        } else if kind.is_fifo() {
            Self::Fifo
        } else {
            Self::Other
        }
    }

    /// Names the kind in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockDevice => "block device",
            Self::Directory => "folder",
            Self::Fifo => "named pipe",
            Self::File => "file",
            Self::Other => "special file",
        }
    }
}

/// What tells one state of a file from another: any change of contents changes it, as far as the file system tells. Of a block
/// device only the length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the contents: seconds, nanoseconds.
    pub modified: (i64, i64),
    /// Last change of the inode: seconds, nanoseconds.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// Reads the identity of an open file.
    ///
    /// # Errors
    ///
    /// The error of `fstat`, or of finding the length.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if SourceKind::of(&metadata) == SourceKind::BlockDevice {
            // Number, inode and times are those of the node in /dev: they say nothing of the contents, and change with a reboot.
            let none = (0, 0);
            return Ok(Self { device: 0, inode: 0, len: length_of(file)?, modified: none, changed: none });
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: length_of(file)?,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Encodes the identity for hashing into a snapshot's source field. The inode's own change time is left out: taking
    /// a hard link or changing an owner between two runs leaves the contents alone.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let fields =
            [self.device, self.inode, self.len, self.modified.0.cast_unsigned(), self.modified.1.cast_unsigned()];
        for (to, field) in bytes.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// Returns the length of a file or block device in bytes. Seeking to the end answers for both; the `BLKGETSIZE64` ioctl
/// would need unsafe code for the same number.
///
/// # Errors
///
/// The error of `fstat` or `lseek`.
pub fn length_of(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if SourceKind::of(&metadata) == SourceKind::BlockDevice {
        return Ok(seek(file, SeekFrom::End(0))?);
    }
    Ok(metadata.len())
}

/// Opens a block device that nothing else uses: not mounted, no swap, no part of a device-mapper or RAID device.
///
/// # Errors
///
/// [`ResourceBusy`](io::ErrorKind::ResourceBusy) when it is in use (the kernel's own answer to `O_EXCL`).
pub fn open_exclusive(path: &Path, write: bool) -> io::Result<File> {
    let flags = i32::try_from((OFlags::EXCL | OFlags::CLOEXEC).bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
    OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
}

/// Returns where the block device with number `device`, or a partition of it, is mounted, as far as this process can see.
pub fn mount_point(device: u64) -> Option<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut numbers = vec![format!("{major}:{minor}")];
    if let Ok(entries) = std::fs::read_dir(format!("/sys/dev/block/{major}:{minor}")) {
        for entry in entries.flatten() {
            if let Ok(number) = std::fs::read_to_string(entry.path().join("dev")) {
                numbers.push(number.trim().to_owned());
            }
        }
    }
    table.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?;
        let point = fields.nth(1)?;
        numbers.iter().any(|known| known == number).then(|| point.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_has_another_identity() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let before = FileIdentity::of(file.as_file()).expect("identity");
        std::fs::write(file.path(), b"x").expect("writes");
        let after = FileIdentity::of(file.as_file()).expect("identity");
        assert_ne!(before, after);
        assert_ne!(before.to_bytes(), after.to_bytes());
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |path: &str| SourceKind::of(&std::fs::metadata(path).expect("exists"));
        assert_eq!(kind("/"), SourceKind::Directory);
        assert_eq!(kind("/dev/null"), SourceKind::Other);
        assert_eq!(kind("/proc/self/exe"), SourceKind::File);
    }
}
