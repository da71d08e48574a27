//! `sobre key replace`: the runbook for a key that was stolen.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::engine::Control;
use sobre::io::escaped_path;
use sobre::key::KeyRef;
use sobre::manage::{Home, HomeError, ReplaceReport, Replacement};
use sobre::provider::{KeyAdmin, KeyProvider};

use crate::cli::args::{Change, Global};
use crate::cli::commands::key::confirm::{Deed, confirm};
use crate::cli::commands::key::{impact, whole, would};
use crate::cli::commands::{nag, open_home, say_created};
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::progress::Progress;
use crate::cli::report::Output;
use crate::cli::signals;
use crate::cli::units::count;

pub(super) fn run(
    key: &str,
    new: &str,
    (delete, accept_loss): (bool, bool),
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "replaced", "replace")?;
    let KeyRef::Named { vault: Some(new_vault), name: new_name, version: None } = Home::key_ref(new)? else {
        let advice = "as in: sobre key replace customer/backup --with other/backup";
        return Err(Failure::usage("the new key is named with its vault and without a version", advice));
    };
    let replacement = Replacement { vault: vault.name().clone(), name, new_vault, new_name };
    let id = format!("{}/{}", replacement.vault, replacement.name);
    if change.dry_run {
        let (sets, snapshots, impact) = home.plan_replacement(&replacement)?;
        for set in &sets {
            output.say(format_args!("set '{set}' would seal with {new}"));
        }
        output
            .say(format_args!("{} wrapped under {id} would move, where they can be written", snapshots_of(snapshots)));
        let more = json!({ "sets": sets, "snapshots": snapshots, "impact": impact::describe(&impact) });
        return would(output, "replace", &id, more);
    }
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let progress = Progress::watch_snapshots(global, "re-wrapping", &ctl);
    let report = home.replace_key(&replacement, &ctl)?;
    drop(progress);
    if let Some(signal) = stopped.signal() {
        let advice = Some("the same command goes on".to_owned());
        return Err(Failure::signalled(signal, format!("stopped before everything had left {id}"), advice));
    }
    tell(&report, &id, output);
    let failed = !report.failures.is_empty() || report.sets.iter().any(|set| set.failed > 0);
    let mut deleted = Value::Null;
    if delete && !failed {
        let meaning = format!("{id} unwraps nothing any more");
        let deed =
            Deed { verb: "delete", id: &id, meaning: &meaning, impact: Some(&report.impact), accept_loss, ask: false };
        confirm(deed, change, output)?;
        let deletion = vault.delete(&replacement.name, &home.context()).map_err(HomeError::from)?;
        output.say(format_args!("deleted {id}; it can be recovered until {} at least", deletion.recoverable_until));
        deleted = json!(deletion.recoverable_until.to_string());
    } else if !delete {
        output.say(format_args!("when nothing needs it any more: sobre key delete {id}"));
    }
    output.warn(format_args!(
        "warning: copies of heads from before still open with {id}, and data under a stolen key is known: seal it anew"
    ));
    if !report.created.is_empty() {
        nag(output);
    }
    let result = describe(&report, &id, &deleted);
    output.finish_with(result, if failed { SOME_FAILED } else { 0 })
}

fn tell(report: &ReplaceReport, id: &str, output: &Output) {
    say_created(output, &report.created);
    for set in &report.sets {
        output.say(format_args!(
            "set '{}' seals with {} now; re-wrapped {}",
            set.set,
            set.to,
            snapshots_of(set.rewrapped + set.covered)
        ));
        for (path, error) in &set.failures {
            output.warn(format_args!("sobre: {}: {error}", escaped_path(path)));
        }
    }
    output.say(format_args!("{id} seals nothing any more"));
    output.say(format_args!("re-wrapped {} outside of sets", snapshots_of(report.rewrapped)));
    for (path, error) in &report.failures {
        output.warn(format_args!("sobre: {}: {error}", escaped_path(path)));
    }
    output.say(format_args!("what still needs {id}:"));
    impact::tell(&report.impact, |line| output.say(line));
}

fn describe(report: &ReplaceReport, id: &str, deleted: &Value) -> Value {
    json!({
        "key": id,
        "to": report.to,
        "sets": report.sets.iter().map(|set| json!({
            "set": set.set.as_str(),
            "layer": set.layer.number(),
            "rewrapped": set.rewrapped,
            "under_epoch_keys": set.covered,
            "failed": set.failed,
        })).collect::<Vec<_>>(),
        "rewrapped": report.rewrapped,
        "failures": report.failures.iter().map(|(path, error)| json!({
            "snapshot": escaped_path(path), "error": error.to_string(),
        })).collect::<Vec<_>>(),
        "impact": impact::describe(&report.impact),
        "recoverable_until": deleted,
    })
}

fn snapshots_of(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "snapshot")
}
