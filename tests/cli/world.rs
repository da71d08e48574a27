//! A folder with a home of its own, and the command run in it.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which commands run; `sobre/` in it is the home.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// A machine on which sobre never ran.
    pub(crate) fn fresh() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// A home with the platform's vault and its key, and the snapshot `s.sobre` of [`disk`].
    pub(crate) fn single() -> Self {
        static MADE: OnceLock<World> = OnceLock::new();
        MADE.get_or_init(|| {
            let world = Self::fresh();
            world.run(["seal".as_ref(), disk().as_os_str(), "s.sobre".as_ref()]).code(0);
            world
        })
        .copy()
    }

    /// A home with both vaults and their keys, the double snapshot `d.sobre` and the single one `s.sobre`, for the customer.
    pub(crate) fn double() -> Self {
        static MADE: OnceLock<World> = OnceLock::new();
        MADE.get_or_init(|| {
            let world = Self::fresh();
            world.run(["seal".as_ref(), "--double".as_ref(), disk().as_os_str(), "d.sobre".as_ref()]).code(0);
            world.run(["seal".as_ref(), disk().as_os_str(), "s.sobre".as_ref()]).code(0);
            world
        })
        .copy()
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("sobre")
    }

    /// The database of a vault.
    pub(crate) fn database(&self, vault: &str) -> PathBuf {
        self.path(format!("sobre/vaults/{vault}.db"))
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).expect("writes");
        self.path(name)
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).expect("reads")
    }

    pub(crate) fn has(&self, name: impl AsRef<Path>) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// The command with a clean environment, ready to be changed.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sobre"));
        command.args(args).current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HOME", self.path("user")).env("SOBRE_HOME", self.home());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// Runs words that are separated by blanks.
    pub(crate) fn sobre(&self, words: &str) -> Ran {
        self.run(words.split_whitespace())
    }

    /// Runs the command with bytes on its standard input.
    pub(crate) fn sobre_with(&self, words: &str, input: &[u8]) -> Ran {
        use std::io::Write;
        let mut child = self.start(self.command(words.split_whitespace()).stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let ran = Ran::within_a_minute(child, words);
        writer.join().expect("ends");
        ran
    }

    pub(crate) fn start(&self, command: &mut Command) -> Child {
        command.spawn().expect("starts")
    }

    /// Another folder with the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::fresh();
        copy_folder(self.folder.path(), copy.folder.path());
        copy
    }

    /// Every file of the home with its content; empty when there is no home. Without the audit log: looking leaves a record too.
    pub(crate) fn home_content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.home(), &mut files);
        files.sort();
        files
    }

    pub(crate) fn add_to_config(&self, line: &str) {
        let config = String::from_utf8(self.read("sobre/config.toml")).expect("text");
        self.write("sobre/config.toml", format!("{line}\n{config}"));
    }
}

/// What a command did.
#[derive(Clone)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out: String = self.out.chars().take(4000).collect();
        write!(f, "exit code {:?}\n-- stdout --\n{out}\n-- stderr --\n{}", self.code, self.err)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout: output.stdout,
        }
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let text = format!("{command:?}");
        let child = command.spawn().expect("starts");
        Self::within_a_minute(child, &text)
    }

    /// Waits for a command's end. One that hangs is killed, so that it fails its own test and no other.
    fn within_a_minute(child: Child, text: &str) -> Self {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("fits")).expect("a process");
        let (ended, end) = channel::<()>();
        let watch = std::thread::spawn(move || {
            let hangs = end.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout);
            if hangs {
                let _ = kill_process(pid, Signal::KILL);
            }
            hangs
        });
        let output = child.wait_with_output().expect("ends");
        drop(ended);
        assert!(!watch.join().expect("ends"), "hangs: {text}");
        output.into()
    }

    /// Asserts the exit code, and that nothing panicked.
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert!(self.code == Some(code), "not {code}: {self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// Asserts that standard error has this text.
    #[track_caller]
    pub(crate) fn warns(&self, text: &str) -> &Self {
        assert!(self.err.contains(text), "no {text:?}: {self:#?}");
        self
    }

    /// Asserts that standard error has not this text.
    #[track_caller]
    pub(crate) fn silent_on(&self, text: &str) -> &Self {
        assert!(!self.err.contains(text), "{text:?}: {self:#?}");
        self
    }

    /// Asserts that standard output has this text.
    #[track_caller]
    pub(crate) fn prints(&self, text: &str) -> &Self {
        assert!(self.out.contains(text), "no {text:?}: {self:#?}");
        self
    }

    /// Parses standard output as the one object that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        assert_eq!(value["schema"], 1, "{self:#?}");
        value
    }
}

/// The disk image that most tests seal.
pub(crate) fn disk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/disks/ext4.img")
}

/// A key of `vectors/keys` as a KEY.
pub(crate) fn key_file(name: &str) -> String {
    format!("file:{}/vectors/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn public_key() -> String {
    key_file("test-rsa2048.spki.pem")
}

pub(crate) fn private_key() -> String {
    key_file("test-rsa2048.pkcs8.pem")
}

/// Asserts that a file is the disk, without printing 4 MiB when it is not.
#[track_caller]
pub(crate) fn assert_disk(world: &World, name: &str) {
    assert!(world.read(name) == fs::read(disk()).expect("reads"), "{name} is not the disk");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("sets");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() == "audit" || entry.file_name() == "audit.head" {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else if folder.ends_with("vaults") && entry.path().extension() == Some(OsStr::new("db")) {
            files.push((entry.path(), vault_mac(&entry.path())));
        } else if !matches!(entry.path().extension().and_then(OsStr::to_str), Some("db-wal" | "db-shm")) {
            files.push((entry.path(), fs::read(entry.path()).unwrap_or_default()));
        }
    }
}

/// What authenticates everything in a vault but the head of the audit log. What is no vault is taken as it is.
fn vault_mac(database: &Path) -> Vec<u8> {
    let mac = rusqlite::Connection::open(database)
        .and_then(|connection| connection.query_row("SELECT mac FROM meta", [], |row| row.get(0)));
    mac.unwrap_or_else(|_| fs::read(database).unwrap_or_default())
}
