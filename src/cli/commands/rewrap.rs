//! `sobre rewrap`

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use sobre::engine::{Change, Control, LayerPolicy, RewrapReport};
use sobre::format::Layer;
use sobre::io::escaped_path;
use sobre::manage::Home;
use sobre::{Engine, Error};

use crate::cli::args::{Global, LayerName, RewrapArgs};
use crate::cli::commands::set::{in_pool, set_name};
use crate::cli::commands::{open_home, open_snapshot};
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::progress::Progress;
use crate::cli::report::{Output, error_object_of, is_dash};
use crate::cli::signals;
use crate::cli::units::count;

pub(crate) fn run(args: &RewrapArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let mut snapshots = args.snapshots.clone();
    if let Some(list) = &args.files_from {
        snapshots.extend(listed(list)?);
    }
    let home = open_home(global)?;
    let layer = match args.layer {
        LayerName::Customer => Layer::Inner,
        LayerName::Platform => Layer::Outer,
    };
    let change = change(&home, args, layer)?;
    if args.dry_run {
        return foresee(&snapshots, layer, &change, output);
    }
    let engine: Engine = home.engine(&args.key)?;
    if let Some(sidecar) = &args.envelope {
        return aside(&engine, &snapshots, sidecar, (layer, &change), output);
    }
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let progress = Progress::watch_snapshots(global, "re-wrapping", &ctl);
    let results: Vec<OnceLock<Result<RewrapReport, Failure>>> = snapshots.iter().map(|_| OnceLock::new()).collect();
    let many = snapshots.len() > 1;
    let noted = in_pool(args.workers, || {
        home.rewrap_each(&engine, &snapshots, layer, &change, &ctl, |place, result| {
            let (Some(path), Some(slot)) = (snapshots.get(place), results.get(place)) else { return };
            let result = open_snapshot(path).and(result).map_err(|error| Failure::from(error).at(path));
            if let (Err(failure), true) = (&result, many) {
                tell_failure(failure);
            }
            let _ = slot.set(result);
        })
    })?;
    drop(progress);
    if let Err(error) = noted {
        let failure = Failure::from(error);
        output.warn(format_args!("warning: the catalogue does not know of it: {}", failure.message));
    }
    if let Some(signal) = stopped.signal() {
        let done = results.iter().filter(|result| result.get().is_some()).count();
        let message = format!("stopped after {done} of {}", count(snapshots.len(), "snapshot"));
        return Err(Failure::signalled(signal, message, Some("the same command goes on".to_owned())));
    }
    let results: Vec<_> = results.into_iter().filter_map(OnceLock::into_inner).collect();
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for (path, result) in snapshots.iter().zip(results) {
        match result {
            Ok(report) => {
                output.say(format_args!("{}: {}", escaped_path(path), sentence(&change, &report)));
                rows.push(json!({
                    "snapshot": escaped_path(path),
                    "changed": report.changed,
                    "generation": report.generation,
                    "keys": report.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }));
            }
            Err(failure) => {
                rows.push(error_object_of(&failure, path));
                failures.push(failure);
            }
        }
    }
    if matches!(change, Change::Remove(_) | Change::To(_)) && failures.len() < snapshots.len() {
        output.say(
            "older copies of these files still open with the old key, and so does whoever kept the old wrapped key",
        );
    }
    match (failures.len(), snapshots.len()) {
        (0, _) => output.finish(json!({ "snapshots": rows })),
        (1, 1) => Err(failures.remove(0)),
        (failed, all) => {
            output.warn(format_args!("sobre: {failed} of {all} snapshots failed"));
            output.finish_with(json!({ "snapshots": rows }), SOME_FAILED)
        }
    }
}

/// Writes the new head into a file of its own.
fn aside(
    engine: &Engine,
    snapshots: &[PathBuf],
    sidecar: &Path,
    (layer, change): (Layer, &Change),
    output: &Output,
) -> Result<ExitCode, Failure> {
    let [snapshot] = snapshots else {
        return Err(Failure::usage("one file holds the head of one snapshot", "rewrap them one by one"));
    };
    open_snapshot(snapshot)?;
    let report = engine.rewrap_aside(snapshot, sidecar, layer, change)?;
    let (shown, head) = (escaped_path(snapshot), escaped_path(sidecar));
    output.say(format_args!("{head}: with it {shown} {}", sentence(change, &report)));
    output
        .say(format_args!("the snapshot itself is as it was; open it with: sobre open --envelope {head} {shown} DST"));
    output.finish(json!({ "snapshots": [{
        "snapshot": shown,
        "envelope": head,
        "changed": report.changed,
        "generation": report.generation,
        "keys": report.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }] }))
}

/// Reads the names of snapshots: with NUL behind each where there is a NUL, else one on each line.
fn listed(list: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut bytes = Vec::new();
    if is_dash(list) {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(list).map_err(|error| Error::Io(error).at(list))?;
    }
    let separator = if bytes.contains(&0) { 0 } else { b'\n' };
    let names = bytes.split(|byte| *byte == separator).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
}

/// Says what would be done, as far as that can be said without a key.
fn foresee(snapshots: &[PathBuf], layer: Layer, change: &Change, output: &Output) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for path in snapshots {
        let looked = open_snapshot(path).and_then(|file| sobre::engine::inspect(&file).map_err(|error| error.at(path)));
        match looked {
            Ok(found) => {
                let section = found.sections.iter().find(|section| section.layer == layer);
                let entries = || section.iter().flat_map(|section| &section.entries);
                let shown = entries().map(|entry| match entry.epoch() {
                    Some(epoch) => format!("epoch key {epoch}"),
                    None => format!("jkt:{}", entry.thumbprint.short()),
                });
                let shown: Vec<_> = shown.collect();
                let keys = entries().filter(|entry| entry.epoch().is_none()).map(|entry| entry.thumbprint.to_string());
                output.say(format_args!(
                    "{}: would {}; opens with {} now",
                    escaped_path(path),
                    verb(change),
                    shown.join(" or ")
                ));
                rows.push(json!({
                    "snapshot": escaped_path(path),
                    "keys": keys.collect::<Vec<_>>(),
                }));
            }
            Err(error) => {
                let failure = Failure::from(error).at(path);
                tell_failure(&failure);
                rows.push(error_object_of(&failure, path));
                failures.push(failure);
            }
        }
    }
    output.say("nothing was changed");
    let code = if failures.is_empty() { 0 } else { SOME_FAILED };
    output.finish_with(json!({ "dry_run": true, "snapshots": rows }), code)
}

fn verb(change: &Change) -> String {
    match change {
        Change::Add(key) => format!("add {}", key.version.id),
        Change::Remove(key) => format!("remove jkt:{}", key.short()),
        Change::Repair => "mend its heads".to_owned(),
        _ => "move it to the key".to_owned(),
    }
}

/// From many threads at once, each line whole.
fn tell_failure(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "sobre: {}", failure.message);
}

fn change(home: &Home, args: &RewrapArgs, layer: Layer) -> Result<Change, Failure> {
    if let Some(set) = &args.set {
        let policy = home.keys_of_set(&set_name(set)?)?.layer(layer)?;
        // Records of epoch keys are there before what needs them.
        for snapshot in if args.dry_run { &[] } else { args.snapshots.as_slice() } {
            home.put_epochs(policy.epochs(), args.envelope.as_deref().unwrap_or(snapshot))?;
        }
        return Ok(Change::To(policy));
    }
    let find = |text: &String| -> Result<_, Failure> { Ok(home.find(&Home::key_ref(text)?)?) };
    Ok(match (&args.to, &args.add, &args.remove) {
        (Some(key), ..) => Change::To(LayerPolicy::new(vec![find(key)?]).map_err(Error::from)?),
        (_, Some(key), _) => Change::Add(find(key)?),
        (_, _, Some(key)) => Change::Remove(find(key)?.version.thumbprint),
        _ => Change::Repair,
    })
}

fn sentence(change: &Change, report: &RewrapReport) -> String {
    let keys: Vec<_> = report.keys.iter().map(|thumbprint| format!("jkt:{}", thumbprint.short())).collect();
    match change {
        Change::Repair if report.changed => "mended: both heads are the same again".to_owned(),
        Change::Repair => "both heads are whole; nothing to mend".to_owned(),
        _ => format!("opens with {} now", keys.join(" or ")),
    }
}
