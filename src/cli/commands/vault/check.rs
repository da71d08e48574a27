//! `sobre vault check`

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use sobre::io::escaped_path;
use sobre::manage::{HomeError, VaultCheck, VaultState, VaultWarning};
use sobre::provider::embedded::{Owner, Protection};

use crate::cli::args::Global;
use crate::cli::commands::{open_home, vault_name};
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::report::{Output, error_object};
use crate::cli::units::count;

pub(super) fn run(name: Option<&str>, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let names = match name {
        Some(name) => vec![vault_name(name)?],
        None => home.vault_names()?,
    };
    if names.is_empty() {
        return Err(HomeError::NotSetUp { config: home.paths().config.clone() }.into());
    }
    let all = names.len();
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let check = home.check(name)?;
        let mut row = describe(&check);
        let (vault, rights) = (check.vault.clone(), rights(&check));
        let warnings = check.warnings;
        match check.state {
            Ok(state) => {
                output.say(format_args!("vault '{vault}': {}", sentence(&state)));
                output.say(format_args!("vault '{vault}': {rights}"));
                row.insert("state".to_owned(), describe_state(&state));
            }
            Err(error) => {
                let failure = Failure::from(error);
                if all > 1 {
                    output.warn(format_args!("sobre: vault '{vault}': {}", failure.message));
                }
                if let Value::Object(error) = error_object(&failure) {
                    row.extend(error);
                }
                failures.push(failure);
            }
        }
        for warning in &warnings {
            output.warn(format_args!("warning: vault '{vault}': {warning}"));
        }
        rows.push(Value::Object(row));
    }
    match (failures.len(), all) {
        (0, _) => output.finish(json!({ "vaults": rows })),
        (1, 1) => Err(failures.remove(0)),
        (failed, all) => {
            output.warn(format_args!("sobre: {failed} of {all} vaults failed"));
            output.finish_with(json!({ "vaults": rows }), SOME_FAILED)
        }
    }
}

fn sentence(state: &VaultState) -> String {
    let verdict = &state.verdict;
    let sound = if verdict.authenticated { "every record authentic" } else { "no damage" };
    let protection = match verdict.protection {
        Protection::KeyFile => "a key file for its owner alone",
        _ => "a passphrase",
    };
    let backup = match (state.backup.current, state.backup.last_backup) {
        (true, Some(time)) => format!(", backed up {time}"),
        (true, None) => ", nothing to back up".to_owned(),
        (false, _) => String::new(),
    };
    let deleted = if verdict.deleted == 0 { String::new() } else { format!(", {} deleted", verdict.deleted) };
    format!(
        "{} with {}{deleted}; {sound}, {protection}{backup}",
        count(verdict.keys, "key"),
        count(verdict.versions, "version")
    )
}

fn rights(check: &VaultCheck) -> String {
    let named = |wanted: bool| {
        let rights: Vec<_> = check.rights().filter(|(_, has)| *has == wanted).map(|(right, _)| right.name()).collect();
        rights.join(", ")
    };
    match check.role {
        None => format!("may {}", named(true)),
        Some(role) => format!("the role '{role}' may {}; it may not {}", named(true), named(false)),
    }
}

fn describe(check: &VaultCheck) -> Map<String, Value> {
    let rights: Map<String, Value> = check.rights().map(|(right, has)| (right.name().to_owned(), json!(has))).collect();
    let fields = json!({
        "name": check.vault.to_string(),
        "path": escaped_path(&check.path),
        "owner": if check.owner == Owner::Platform { "platform" } else { "customer" },
        "ok": check.state.is_ok(),
        "role": check.role.map(|role| role.name()),
        "rights": rights,
        "warnings": check.warnings.iter().map(describe_warning).collect::<Vec<_>>(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn describe_warning(warning: &VaultWarning) -> Value {
    json!({ "kind": warning.name(), "key": warning.key(), "message": warning.to_string() })
}

fn describe_state(state: &VaultState) -> Value {
    let verdict = &state.verdict;
    json!({
        "keys": verdict.keys,
        "versions": verdict.versions,
        "deleted": verdict.deleted,
        "protection": if verdict.protection == Protection::KeyFile { "key file" } else { "passphrase" },
        "authenticated": verdict.authenticated,
        "retention_days": state.soft_delete.retention.days(),
        "purge_protection": state.soft_delete.purge_protection,
        "last_backup": state.backup.last_backup.map(|time| time.to_string()),
        "recoverable": state.backup.current,
    })
}
