//! `sobre config`

use std::process::ExitCode;

use serde_json::json;
use sobre::io::{Escaped, escaped_path};
use sobre::manage::AuditFailure;

use crate::cli::args::{ConfigArgs, ConfigCommand, Global};
use crate::cli::commands::open_home;
use crate::cli::exit::Failure;
use crate::cli::report::Output;

pub(crate) fn run(args: &ConfigArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let ConfigCommand::Show = args.command;
    let home = open_home(global)?;
    let (paths, config) = (home.paths(), home.config());
    let there = if home.is_fresh() { " (does not exist yet)" } else { "" };
    output.say(format_args!("config        {}{there}  [{}]", escaped_path(&paths.config), paths.config_origin));
    output.say(format_args!("data          {}  [{}]", escaped_path(&paths.data), paths.data_origin));
    for (name, value) in
        [("key", &config.key), ("customer_key", &config.customer_key), ("platform_key", &config.platform_key)]
    {
        let value = value.as_ref().map_or("not set".to_owned(), |value| Escaped(value).to_string());
        output.say(format_args!("{name:13} {value}"));
    }
    for key in &config.recovery {
        output.say(format_args!("recovery      {}", Escaped(key)));
    }
    for (name, vault) in &config.vault {
        let path = paths.data.join(&vault.path);
        let there = if path.exists() { "" } else { "  (missing)" };
        output.say(format_args!("vault         {}  {}{there}", Escaped(name), escaped_path(&path)));
    }
    let on_failure = match config.audit_failure {
        Some(AuditFailure::Stderr) => "stderr",
        _ => "stop",
    };
    output.say(format_args!(
        "audit         {}  (when it can't be written: {on_failure})",
        escaped_path(home.audit().folder())
    ));
    output.say(format_args!("deadline      {}", global.deadline));
    output.finish(json!({
        "config": { "path": paths.config, "origin": paths.config_origin.to_string(), "exists": !home.is_fresh() },
        "data": { "path": paths.data, "origin": paths.data_origin.to_string() },
        "key": config.key,
        "customer_key": config.customer_key,
        "platform_key": config.platform_key,
        "recovery": config.recovery,
        "vaults": config.vault.iter().map(|(name, vault)| json!({
            "name": name, "owner": vault.owner, "path": paths.data.join(&vault.path),
            "exists": paths.data.join(&vault.path).exists(),
        })).collect::<Vec<_>>(),
        "audit": { "path": home.audit().folder(), "failure": on_failure },
        "deadline_seconds": global.deadline.0.as_secs_f64(),
    }))
}
