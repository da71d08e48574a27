//! Passphrases: from a file, a command, a descriptor, or the terminal.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sobre::key::VaultName;
use sobre::provider::embedded::{PassphraseError, PassphraseSource, Purpose};
use sobre::secret::SecretBytes;

use crate::cli::args::Global;

/// Where passphrases come from.
#[derive(Debug)]
pub(crate) struct Passphrases {
    present: Option<Place>,
    new: Option<Place>,
}

#[derive(Clone, Debug)]
enum Place {
    Command(String),
    Descriptor(u32),
    File(PathBuf),
}

impl Passphrases {
    pub(crate) fn of(global: &Global) -> Self {
        let present = match (&global.passphrase_file, &global.passphrase_command, global.passphrase_fd) {
            (Some(file), _, _) => Some(Place::File(file.clone())),
            (_, Some(command), _) => Some(Place::Command(command.clone())),
            (_, _, Some(number)) => Some(Place::Descriptor(number)),
            _ => None,
        };
        Self { new: present.clone(), present }
    }

    /// Takes passphrases from this file, else from a person: for something that the global options are not about.
    pub(crate) fn of_file(file: Option<&Path>) -> Self {
        let present = file.map(|path| Place::File(path.to_owned()));
        Self { new: present.clone(), present }
    }

    /// Takes new passphrases from a file of their own: the options name the present one.
    pub(crate) fn with_new_from(mut self, file: Option<&Path>) -> Self {
        self.new = file.map(|path| Place::File(path.to_owned()));
        self
    }

    /// Asks for a passphrase for something that is no vault.
    pub(crate) fn ask(&self, what: &str, purpose: Purpose) -> Result<SecretBytes, PassphraseError> {
        let place = if purpose == Purpose::New { &self.new } else { &self.present };
        match place {
            Some(place) => place.read(),
            None => prompt(what, purpose),
        }
    }
}

impl PassphraseSource for Passphrases {
    fn passphrase(&self, vault: &VaultName, purpose: Purpose) -> Result<SecretBytes, PassphraseError> {
        self.ask(&format!("vault '{vault}'"), purpose)
    }
}

impl Place {
    fn read(&self) -> Result<SecretBytes, PassphraseError> {
        let secret = match self {
            Self::File(path) => File::open(path).and_then(read_line),
            Self::Command(command) => run(command),
            // Opening /dev/fd/N again works for pipes and files alike, and needs no unsafe code.
            Self::Descriptor(number) => File::open(format!("/dev/fd/{number}")).and_then(read_line),
        };
        let secret = secret.map_err(PassphraseError::Io)?;
        if secret.is_empty() { Err(PassphraseError::Empty) } else { Ok(secret) }
    }
}

fn run(command: &str) -> io::Result<SecretBytes> {
    let mut child =
        Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::inherit()).stdout(Stdio::piped()).spawn()?;
    let secret = child.stdout.take().map_or_else(|| Ok(SecretBytes::zeroed(0)), read_line);
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("the passphrase command failed: {status}")));
    }
    secret
}

/// Reads everything up to the first line's end, at most 4096 bytes, into locked memory.
fn read_line(mut reader: impl Read) -> io::Result<SecretBytes> {
    let mut secret = SecretBytes::zeroed(LONGEST + 1);
    let mut len = 0;
    while let Some(rest) = secret.expose_mut().get_mut(len..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if len > LONGEST {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let end = secret.expose().iter().take(len).position(|&byte| byte == b'\n').unwrap_or(len);
    let end = if secret.expose().get(..end).is_some_and(|line| line.ends_with(b"\r")) { end - 1 } else { end };
    secret.truncate(end);
    Ok(secret)
}

fn prompt(what: &str, purpose: Purpose) -> Result<SecretBytes, PassphraseError> {
    if !io::stdin().is_terminal() && File::open("/dev/tty").is_err() {
        return Err(PassphraseError::NotGiven);
    }
    let ask = |text: String| {
        rpassword::prompt_password(text).map(|line| SecretBytes::taken_from(line.into_bytes())).map_err(|error| {
            match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => PassphraseError::Cancelled,
                _ => PassphraseError::Io(error),
            }
        })
    };
    let secret = match purpose {
        Purpose::New => ask(format!("New passphrase for {what}: "))?,
        _ => ask(format!("Passphrase of {what}: "))?,
    };
    if secret.is_empty() {
        return Err(PassphraseError::Empty);
    }
    if purpose == Purpose::New && !secret.ct_eq(ask("The same again: ".to_owned())?.expose()) {
        return Err(PassphraseError::Mismatch);
    }
    Ok(secret)
}

const LONGEST: usize = 4096;
