//! The commands, one file each.

pub(crate) mod config;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod open;
pub(crate) mod rewrap;
pub(crate) mod seal;
pub(crate) mod vault;
pub(crate) mod verify;

use std::path::Path;
use std::sync::Arc;

use sobre::io::escaped_path;
use sobre::key::VaultName;
use sobre::manage::{Created, Environment, Home, HomeError, HomeSettings, Paths};

use crate::cli::args::Global;
use crate::cli::exit::Failure;
use crate::cli::passphrase::Passphrases;
use crate::cli::report::Output;

/// Opens the home that options and environment name.
fn open_home(global: &Global) -> Result<Home, Failure> {
    open_home_with(global, Passphrases::of(global))
}

fn open_home_with(global: &Global, passphrases: Passphrases) -> Result<Home, Failure> {
    let environment = Environment::of_process();
    let paths =
        Paths::decide(global.home.as_deref(), global.config.as_deref(), &environment).ok_or(HomeError::NoHome)?;
    let only = global.vault.as_deref().map(vault_name).transpose()?;
    let settings = HomeSettings { paths, only, passphrase: Arc::new(passphrases), deadline: global.deadline.0 };
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

fn shown(path: &Path) -> String {
    if crate::cli::report::is_dash(path) { "standard input".to_owned() } else { escaped_path(path) }
}
