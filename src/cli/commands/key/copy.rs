//! Copying single keys into files and back.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sobre::io::{CommitError, escaped_path};
use sobre::manage::HomeError;
use sobre::provider::embedded::{BackupError, BackupFile};
use sobre::provider::{KeyCensus, KeyProvider, KeyRefusal, ProviderError, ProviderErrorKind};

use crate::cli::args::{Change, Global};
use crate::cli::commands::key::{remind, whole, would};
use crate::cli::commands::{open_home, vault};
use crate::cli::exit::Failure;
use crate::cli::passphrase::Passphrases;
use crate::cli::report::Output;
use crate::cli::units::count;

pub(super) fn backup(
    key: &str,
    file: &Path,
    to: Option<&str>,
    force: bool,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "backed up", "backup")?;
    if !force && file.symlink_metadata().is_ok() {
        // Said before anyone has typed a passphrase twice.
        return Err(HomeError::from(BackupError::Write(CommitError::Exists(file.to_owned()))).into());
    }
    let recipient = vault::recipient(to, &Passphrases::of(global))?;
    let bytes = home.backup_key(&vault, &name, &recipient, file, force)?;
    let versions = vault.versions(&name, &home.context()).map_err(HomeError::from)?.len();
    let id = format!("{}/{name}", vault.name());
    output.say(format_args!("wrote {} of {id} to {}", count(versions, "version"), escaped_path(file)));
    output.say(format_args!("bring it back, here or in another vault, with: sobre key restore {}", escaped_path(file)));
    output.finish(json!({ "key": id, "versions": versions, "file": escaped_path(file), "bytes": bytes }))
}

pub(super) fn restore(
    file: &Path,
    key: Option<&str>,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let backup = BackupFile::open(file).map_err(|error| Failure::from(HomeError::from(error)).at(file))?;
    let contents = vault::opened(&backup, key, &Passphrases::of(global)).map_err(|failure| failure.at(file))?;
    let home = open_home(global)?;
    let ([from], [key]) = (contents.vaults.as_slice(), contents.vaults.first().map_or(&[][..], |vault| &vault.keys))
    else {
        let keys = contents.vaults.iter().map(|vault| vault.keys.len()).sum();
        let vault = contents.vaults.first().map(|vault| &vault.name);
        return Err(match vault {
            Some(name) => HomeError::from(
                ProviderError::new(ProviderErrorKind::Unsupported, name, "").because(KeyRefusal::NotOneKey(keys)),
            )
            .into(),
            None => HomeError::from(BackupError::NoVaults).into(),
        });
    };
    let versions = key.versions.len();
    if change.dry_run {
        let id = format!("{}/{}", home.vault_for(from)?, key.details.name);
        return would(output, "restore", &id, json!({ "versions": versions }));
    }
    let (vault, name) = home.restore_key(from)?;
    let id = format!("{}/{name}", vault.name());
    output.say(format_args!("restored {id} with {}", count(versions, "version")));
    remind(output);
    output.finish(json!({ "key": id, "versions": versions }))
}
