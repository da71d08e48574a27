//! `sobre key export`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sobre::io::{CommitError, escaped_path};
use sobre::manage::{Home, HomeError};
use sobre::provider::embedded::{BackupError, ByokRecipient};

use crate::cli::args::{Change, Global};
use crate::cli::commands::key::confirm::{Deed, confirm};
use crate::cli::commands::key::{describe, would};
use crate::cli::commands::open_home;
use crate::cli::exit::Failure;
use crate::cli::report::Output;

/// The key of the vault that the file is for, and what that vault calls it.
pub(super) struct Recipient<'a> {
    pub(super) key: &'a str,
    pub(super) kid: Option<&'a str>,
}

pub(super) fn run(
    key: &str,
    file: &Path,
    to: &Recipient<'_>,
    force: bool,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let found = home.find(&Home::key_ref(key)?)?;
    let target = home.find(&Home::key_ref(to.key)?)?.version;
    let version = found.version;
    if version.id.starts_with("file:") {
        return Err(Failure::usage("a key in a file is exported already", "name a key of a vault, as VAULT/NAME@N"));
    }
    if version.thumbprint == target.thumbprint {
        return Err(Failure::usage("a key can't be wrapped for itself", "name the other vault's key with --byok"));
    }
    if !force && file.symlink_metadata().is_ok() {
        return Err(HomeError::from(BackupError::Write(CommitError::Exists(file.to_owned()))).into());
    }
    let meaning = format!(
        "{} leaves the vault: whoever holds the private half of jkt:{} can open all that it seals, for ever",
        version.id, target.thumbprint
    );
    let deed = Deed { verb: "export", id: &version.id, meaning: &meaning, impact: None, accept_loss: false, ask: true };
    if !confirm(deed, change, output)? {
        return would(output, "export", &version.id, json!({ "target": target.thumbprint.to_string() }));
    }
    let vault = home.vault(found.provider.name())?;
    let recipient = ByokRecipient { target: &target.public, kid: to.kid.unwrap_or(&target.id) };
    let bytes = home.export_byok(&vault, &version, &recipient, file, force)?;
    output.say(format_args!("wrote {} to {}, for jkt:{}", version.id, escaped_path(file), target.thumbprint));
    output.finish(json!({
        "key": describe(&version), "target": target.thumbprint.to_string(), "file": escaped_path(file), "bytes": bytes,
    }))
}
