//! `sobre vault`

mod check;

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sobre::io::{CommitError, escaped_path};
use sobre::manage::{Home, HomeError};
use sobre::provider::embedded::{
    Backup, BackupError, BackupFile, BackupLock, Owner, PassphraseCost, PassphraseError, Protection, Purpose,
    Retention, SoftDelete,
};
use sobre::provider::{BackupRecipient, BackupUnlock, KeyCensus, KeyProvider, PemKey};

use crate::cli::args::{Global, LayerName, VaultArgs, VaultCommand};
use crate::cli::commands::{open_home, open_home_with, say_created, vault_name};
use crate::cli::exit::Failure;
use crate::cli::passphrase::Passphrases;
use crate::cli::report::Output;
use crate::cli::units::count;

pub(crate) fn run(args: &VaultArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        VaultCommand::Create { name, owner, passphrase, retention_days, no_purge_protection, dry_run } => {
            let owner = match owner {
                LayerName::Customer => Owner::Customer,
                LayerName::Platform => Owner::Platform,
            };
            let usual = SoftDelete::of(owner);
            let soft_delete = SoftDelete {
                retention: Retention::of_days(*retention_days).unwrap_or(usual.retention),
                purge_protection: usual.purge_protection && !no_purge_protection,
            };
            if *dry_run {
                return would_create(name, owner, soft_delete, global, output);
            }
            create(name, owner, *passphrase, soft_delete, global, output)
        }
        VaultCommand::Update { name, dry_run, .. } => protect_from_purge(name, *dry_run, global, output),
        VaultCommand::Check { name } => check::run(name.as_deref(), global, output),
        VaultCommand::List => list(global, output),
        VaultCommand::Backup { file, to, force } => backup(file, to.as_deref(), *force, global, output),
        VaultCommand::Restore { file, key, dry_run } => restore(file, key.as_deref(), *dry_run, global, output),
        VaultCommand::Passphrase { remove, new_passphrase_file, dry_run } => {
            passphrase(*remove, new_passphrase_file.as_deref(), *dry_run, global, output)
        }
    }
}

fn would_create(
    name: &str,
    owner: Owner,
    soft_delete: SoftDelete,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let name = vault_name(name)?;
    let home = open_home(global)?;
    if home.config().vault.contains_key(name.as_str()) {
        return Err(HomeError::VaultExists(name.to_string()).into());
    }
    let whose = if owner == Owner::Platform { "platform's" } else { "customer's" };
    output.say(format_args!(
        "would make vault '{name}', the {whose}, which keeps deleted keys for {} days; nothing was changed",
        soft_delete.retention.days()
    ));
    output.finish(json!({ "dry_run": true, "vault": name.to_string(), "retention_days": soft_delete.retention.days() }))
}

fn create(
    name: &str,
    owner: Owner,
    passphrase: bool,
    soft_delete: SoftDelete,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let name = vault_name(name)?;
    let protection = if passphrase { Protection::Passphrase(PassphraseCost::default()) } else { Protection::KeyFile };
    let created = open_home(global)?.create_vault(&name, owner, protection, soft_delete)?;
    say_created(output, &created);
    output.finish(json!({
        "vault": name.to_string(),
        "retention_days": soft_delete.retention.days(),
        "purge_protection": soft_delete.purge_protection,
    }))
}

fn protect_from_purge(name: &str, dry_run: bool, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let vault = vault_name(name)?;
    if dry_run {
        let days = home.vault(&vault)?.soft_delete(&home.context()).map_err(HomeError::from)?.retention.days();
        output.say(format_args!(
            "vault '{name}' would keep deleted keys for {days} days, whoever wants to purge them; nothing was changed"
        ));
        return output.finish(json!({ "dry_run": true, "vault": name, "retention_days": days }));
    }
    home.protect_from_purge(&vault)?;
    let (vault, cx) = (home.vault(&vault)?, home.context());
    let days = vault.soft_delete(&cx).map_err(HomeError::from)?.retention.days();
    output.say(format_args!("vault '{name}' keeps deleted keys for {days} days now, whoever wants to purge them"));
    output.finish(json!({ "vault": name, "retention_days": days, "purge_protection": true }))
}

fn list(global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let cx = home.context();
    let mut rows = Vec::new();
    for vault in home.vaults()? {
        let status = vault.backup_status(&cx).map_err(HomeError::from)?;
        let keys = vault.keys(&cx).map_err(HomeError::from)?.len();
        let owner = if vault.owner() == Owner::Platform { "platform" } else { "customer" };
        let protection = match vault.protection(&cx).map_err(HomeError::from)? {
            Protection::KeyFile => "key file",
            _ => "passphrase",
        };
        let backup = match (status.current, status.last_backup) {
            (true, Some(time)) => format!("backed up {time}"),
            (true, None) => "nothing to back up".to_owned(),
            (false, Some(time)) => format!("newer keys than the backup of {time}"),
            (false, None) => "never backed up".to_owned(),
        };
        let name = vault.name();
        output.say(format_args!(
            "{name}  {owner}  {}  {protection}  {backup}  {}",
            count(keys, "key"),
            escaped_path(vault.path())
        ));
        rows.push(json!({
            "name": name.to_string(), "owner": owner, "keys": keys, "protection": protection, "path": vault.path(),
            "last_backup": status.last_backup.map(|time| time.to_string()), "recoverable": status.current,
        }));
    }
    if rows.is_empty() {
        output.say("there are no vaults yet");
    }
    output.finish(json!({ "vaults": rows }))
}

fn backup(file: &Path, to: Option<&str>, force: bool, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let passphrases = Passphrases::of(global);
    let home = open_home(global)?;
    if home.vaults()?.is_empty() {
        return Err(HomeError::NotSetUp { config: home.paths().config.clone() }.into());
    }
    if !force && file.symlink_metadata().is_ok() {
        // Said before anyone has typed a passphrase twice.
        return Err(HomeError::from(BackupError::Write(CommitError::Exists(file.to_owned()))).into());
    }
    let recipient = recipient(to, &passphrases)?;
    let report = home.backup(&recipient, file, force)?;
    for (vault, versions) in &report.vaults {
        output.say(format_args!("backed up vault '{vault}': {}", count(*versions, "key version")));
    }
    if report.epochs > 0 {
        output.say(format_args!("with the records of {}", count(report.epochs, "epoch key")));
    }
    output.say(format_args!(
        "wrote {}; keep it on another machine, and try it: sobre --home EMPTY vault restore {}",
        escaped_path(file),
        escaped_path(file)
    ));
    output.finish(json!({
        "file": escaped_path(file),
        "bytes": report.bytes,
        "epoch_keys": report.epochs,
        "vaults": report.vaults.iter().map(|(vault, versions)| json!({
            "name": vault.to_string(), "versions": versions,
        })).collect::<Vec<_>>(),
    }))
}

fn restore(
    file: &Path,
    key: Option<&str>,
    dry_run: bool,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let passphrases = Passphrases::of(global);
    let backup = BackupFile::open(file).map_err(|error| Failure::from(HomeError::from(error)).at(file))?;
    let contents = opened(&backup, key, &passphrases).map_err(|failure| failure.at(file))?;
    let home = open_home(global)?;
    if dry_run {
        return would_restore(&home, &contents, output);
    }
    let (restored, created) = home.restore(&contents)?;
    say_created(output, &created);
    for vault in &restored {
        let (added, present) = (vault.report.added.len(), vault.report.present.len());
        output.say(format_args!(
            "vault '{}': {} restored, {present} there already",
            vault.vault,
            count(added, "key version")
        ));
    }
    output.finish(json!({ "vaults": restored.iter().map(|vault| json!({
        "name": vault.vault.to_string(),
        "added": vault.report.added.iter().map(|(name, number)| format!("{name}@{number}")).collect::<Vec<_>>(),
        "present": vault.report.present.iter().map(|(name, number)| format!("{name}@{number}")).collect::<Vec<_>>(),
    })).collect::<Vec<_>>() }))
}

/// Says what a restore would bring; keys that are there already are known only when it is done.
fn would_restore(home: &Home, contents: &Backup, output: &Output) -> Result<ExitCode, Failure> {
    let config = home.config();
    let mut rows = Vec::new();
    for vault in &contents.vaults {
        let versions: usize = vault.keys.iter().map(|key| key.versions.len()).sum();
        let made = !config.vault.contains_key(vault.name.as_str());
        let what = if made { "would be made, and get" } else { "would get what it lacks of" };
        output.say(format_args!("vault '{}' {what} {}", vault.name, count(versions, "key version")));
        rows.push(json!({ "name": vault.name.to_string(), "versions": versions, "made": made }));
    }
    output.say("nothing was changed");
    output.finish(json!({ "dry_run": true, "vaults": rows, "epoch_keys": contents.epochs.len() }))
}

fn passphrase(
    remove: bool,
    new: Option<&Path>,
    dry_run: bool,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home_with(global, Passphrases::of(global).with_new_from(new))?;
    let names = home.vault_names()?;
    let [name] = names.as_slice() else {
        return Err(Failure::usage("there are several vaults", "name one with --vault NAME"));
    };
    let protection = if remove { Protection::KeyFile } else { Protection::Passphrase(PassphraseCost::default()) };
    if dry_run {
        home.vault(name)?;
        let by = if remove { "its key file" } else { "a passphrase" };
        output.say(format_args!("vault '{name}' would be protected by {by}; nothing was changed"));
        return output.finish(json!({ "dry_run": true, "vault": name.to_string() }));
    }
    home.set_protection(name, protection)?;
    output.say(if remove {
        format!("vault '{name}' is protected by its key file now")
    } else {
        format!("vault '{name}' is protected by a passphrase now: without it, only a backup brings the keys back")
    });
    output.finish(json!({ "vault": name.to_string(), "protection": if remove { "key file" } else { "passphrase" } }))
}

/// Who will be able to open a backup: the key that was named, or whoever knows a passphrase.
pub(super) fn recipient(to: Option<&str>, passphrases: &Passphrases) -> Result<BackupRecipient, Failure> {
    match to {
        Some(key) => Ok(BackupRecipient::Key(pem_key(key)?.version.public)),
        None => {
            let secret = passphrases.ask("the backup", Purpose::New).map_err(|error| passphrase_failure(&error))?;
            Ok(BackupRecipient::Passphrase(secret))
        }
    }
}

/// Opens a backup with the key that was named, or with a passphrase.
pub(super) fn opened(backup: &BackupFile, key: Option<&str>, passphrases: &Passphrases) -> Result<Backup, Failure> {
    let opened = match (backup.lock(), key) {
        (_, Some(key)) => {
            let private = pem_key(key)?.into_private().ok_or_else(|| {
                Failure::usage("the file holds only the public half", "a backup opens with the private half")
            })?;
            backup.unlock(BackupUnlock::Key(&private))
        }
        (BackupLock::Key(thumbprint), None) => {
            return Err(Failure::usage(
                format!("the backup opens with the recovery key jkt:{thumbprint}"),
                "name its private half with --key file:PRIV.pem",
            ));
        }
        (_, None) => {
            let secret = passphrases.ask("the backup", Purpose::Open).map_err(|error| passphrase_failure(&error))?;
            backup.unlock(BackupUnlock::Passphrase(&secret))
        }
    };
    Ok(opened.map_err(HomeError::from)?)
}

fn pem_key(text: &str) -> Result<PemKey, Failure> {
    match Home::key_ref(text)? {
        sobre::key::KeyRef::File(path) => Ok(PemKey::read(&path).map_err(HomeError::from)?),
        _ => Err(Failure::usage("a backup is sealed for a key in a file", "name it as file:PATH.pem")),
    }
}

fn passphrase_failure(error: &PassphraseError) -> Failure {
    let advice = match error {
        PassphraseError::NotGiven => {
            Some("give it with --passphrase-file, --passphrase-command or --passphrase-fd".to_owned())
        }
        _ => None,
    };
    Failure { kind: "wrong_key", code: 12, message: format!("no passphrase for the backup: {error}"), advice }
}
