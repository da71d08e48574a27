//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod catalog;
pub(crate) mod config;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod open;
pub(crate) mod preflight;
pub(crate) mod rewrap;
pub(crate) mod seal;
pub(crate) mod set;
pub(crate) mod vault;
pub(crate) mod verify;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use sobre::Error;
use sobre::io::escaped_path;
use sobre::key::VaultName;
use sobre::manage::{Created, Environment, Home, HomeError, HomeSettings, Paths};

use crate::cli::args::Global;
use crate::cli::exit::Failure;
use crate::cli::passphrase::Passphrases;
use crate::cli::report::{Output, is_dash};

/// Opens the home that options and environment name.
fn open_home(global: &Global) -> Result<Home, Failure> {
    open_home_with(global, Passphrases::of(global))
}

fn open_home_with(global: &Global, passphrases: Passphrases) -> Result<Home, Failure> {
    let environment = Environment::of_process();
    let paths =
        Paths::decide(global.home.as_deref(), global.config.as_deref(), &environment).ok_or(HomeError::NoHome)?;
    let only = global.vault.as_deref().map(vault_name).transpose()?;
    let settings =
        HomeSettings { paths, only, role: global.role, passphrase: Arc::new(passphrases), deadline: global.deadline.0 };
    let home = Home::open(settings)?;
    // An option that names a file which is not there is a mistake, not a first use.
    if global.config.is_some() && home.is_fresh() {
        return Err(HomeError::NotSetUp { config: home.paths().config.clone() }.into());
    }
    Ok(home)
}

fn vault_name(text: &str) -> Result<VaultName, Failure> {
    text.parse().map_err(|source| HomeError::Name { text: text.to_owned(), source }.into())
}

/// Says with `-v` what will be used.
fn detail(home: &Home, workers: usize, output: &Output) {
    let paths = home.paths();
    output.detail(format_args!("config {}  [{}]", escaped_path(&paths.config), paths.config_origin));
    output.detail(format_args!("data {}  [{}]", escaped_path(&paths.data), paths.data_origin));
    if let Ok(names) = home.vault_names() {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        output.detail(format_args!("vaults {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
    }
    let backends: Vec<_> = sobre::xts::Backend::available().iter().map(ToString::to_string).collect();
    output.detail(format_args!("{workers} workers; AES by {} (best first)", backends.join(", ")));
}

/// Says what was made.
fn say_created(output: &Output, created: &[Created]) {
    for thing in created {
        match thing {
            Created::Config(path) => output.say(format_args!("wrote {}", escaped_path(path))),
            Created::Key(id) => output.say(format_args!("made key {id}")),
            Created::Vault(name, path) => output.say(format_args!("made vault '{name}' at {}", escaped_path(path))),
            _ => {}
        }
    }
}

/// The two lines that end every seal and every new key until there is a backup. Not silenced by `-q`.
fn nag(output: &Output) {
    output.warn(
        "warning: this key exists only on this machine: if it is lost, nothing sealed with it can be opened again.",
    );
    output.warn("         Run 'sobre vault backup FILE' and keep FILE somewhere else.");
}

/// Opens a snapshot for reading at any place. A named pipe must not block it.
fn open_snapshot(path: &Path) -> Result<File, Error> {
    let fail = |error| Error::Io(error).at(path);
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
    let kind = file.metadata().map_err(fail)?.file_type();
    let unsuitable = |kind| Err(Error::UnsuitableFile { kind, advice: "name a snapshot" }.at(path));
    match kind {
        kind if kind.is_dir() => unsuitable("folder"),
        kind if kind.is_fifo() => unsuitable("named pipe"),
        kind if kind.is_file() => Ok(file),
        _ => unsuitable("special file"),
    }
}

/// Names the pipe at which reading or writing failed; the library does not know what it is called.
fn stream_error(error: Error, source: &Path, target: &Path) -> Error {
    let name = match (is_dash(source), is_dash(target)) {
        (true, true) => "standard input or output",
        (true, false) => "standard input",
        (false, true) => "standard output",
        (false, false) => return error,
    };
    match error {
        Error::Io(_) => error.at(Path::new(name)),
        Error::PartlyWritten { valid, source } if matches!(*source, Error::Io(_)) => {
            Error::PartlyWritten { valid, source: Box::new(source.at(Path::new(name))) }
        }
        other => other,
    }
}

fn shown(path: &Path) -> String {
    if is_dash(path) { "standard input".to_owned() } else { escaped_path(path) }
}
